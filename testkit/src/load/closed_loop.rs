//! As many requests as asked, each thread sending its next one as soon as the last is answered.

use super::{Record, Records, Shot, connection, fire};
use crate::http::Client;
use anyhow::{Context, Result, anyhow};
use std::net::SocketAddr;
use std::thread;

/// Sends exactly `threads * per_thread` requests and records each one. `next` gets (thread, index in thread).
///
/// With `keep_alive` each thread has one connection, and opens another only once the server has closed it.
/// Without, every request has its own connection and says `connection: close`.
/// A failed request is not sent again: it is a record of status 0. Only a failed connect is an error.
pub fn closed_loop(
    address: SocketAddr,
    threads: usize,
    per_thread: usize,
    keep_alive: bool,
    next: impl Fn(usize, usize) -> Shot + Sync,
) -> Result<Records> {
    let next = |thread, index| Some(next(thread, index));
    shared_loop(address, threads, threads * per_thread, keep_alive, next)
}

/// Same as [`closed_loop`], with the number of all requests: the threads share them as evenly as they can. A thread for
/// which `next` has nothing sends no more.
pub fn shared_loop(
    address: SocketAddr,
    threads: usize,
    total: usize,
    keep_alive: bool,
    next: impl Fn(usize, usize) -> Option<Shot> + Sync,
) -> Result<Records> {
    let next = &next;
    let share = |thread: usize| total / threads + usize::from(thread < total % threads);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || run(address, share(thread), keep_alive, |index| next(thread, index))))
            .collect();
        // Every thread is joined before the first error is returned.
        let finished: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        let mut list = Vec::with_capacity(total);
        for result in finished {
            list.extend(result.map_err(|_| anyhow!("a load thread panicked"))??);
        }
        Ok(Records { list })
    })
}

fn run(
    address: SocketAddr,
    count: usize,
    keep_alive: bool,
    next: impl Fn(usize) -> Option<Shot>,
) -> Result<Vec<Record>> {
    let mut records = Vec::with_capacity(count);
    let mut kept: Option<Client> = None;
    for index in 0..count {
        let Some(mut shot) = next(index) else {
            break;
        };
        if !keep_alive {
            kept = None;
            if !shot.request.has_header("connection") {
                shot.request = shot.request.header("connection", "close");
            }
        }
        let client = connection(&mut kept, address).with_context(|| format!("connecting to {address}"))?;
        records.push(fire(client, shot));
    }
    Ok(records)
}
