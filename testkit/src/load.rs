//! The load generator: closed loops and stages of virtual users, with a record of every request.

mod closed_loop;
mod records;
mod stages;

pub use closed_loop::{closed_loop, shared_loop};
pub use records::{Record, Records};
pub use stages::run_stages;

use crate::http::{Client, Request};
use crate::schedule::waited_for_cpu;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// One planned request, with what a correct observer must say about it.
#[derive(Clone, Debug)]
pub struct Shot {
    /// The true route template.
    pub handler: &'static str,
    pub request: Request,
    /// The status a correct server answers; `None` if any will do.
    pub expected: Option<u16>,
}

/// Gives a connection on which a request may be sent: the old one, or a new one if the server closed it.
fn connection(slot: &mut Option<Client>, address: SocketAddr) -> io::Result<&mut Client> {
    if slot.as_ref().is_some_and(|client| !client.is_reusable()) {
        *slot = None;
    }
    match slot {
        Some(client) => Ok(client),
        None => Ok(slot.insert(Client::connect(address)?)),
    }
}

/// Sends once. Whatever goes wrong becomes a record of status 0.
fn fire(client: &mut Client, shot: Shot) -> Record {
    let begin = Instant::now();
    let before = waited_for_cpu();
    match client.send(&shot.request) {
        Ok(response) => Record {
            waited: waited_for_cpu() - before,
            ..record(shot, response.status, response.start, response.end)
        },
        Err(_) => failed(shot, begin),
    }
}

/// The record of a request that got no complete response.
fn failed(shot: Shot, begin: Instant) -> Record {
    record(shot, 0, begin, Instant::now())
}

fn record(shot: Shot, status: u16, start: Instant, end: Instant) -> Record {
    Record {
        handler: shot.handler,
        method: shot.request.method,
        status,
        start,
        end,
        waited: Duration::ZERO,
        expected: shot.expected,
    }
}

#[cfg(test)]
mod tests;
