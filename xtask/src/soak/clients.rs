//! What the clients do, and what they know of it.

use super::targets::{Path, Target};
use anyhow::{Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use testkit::counts::counted_method;
use testkit::socket::reset_on_close;
use testkit::{Client, CountKey, Counts, Random, Request, Shot};

/// How long a client waits between two connections, in milliseconds.
const PAUSE: std::ops::Range<u64> = 0..30;
/// The most requests of one connection that are answered in full.
const REQUESTS: std::ops::Range<u64> = 0..12;

/// What was sent and answered, by target.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Requests that were answered in full: Vigie has to count exactly these.
    pub answered: BTreeMap<usize, Counts>,
    /// Requests that were sent whole by clients who did not wait for the whole answer: answered or aborted.
    pub left: BTreeMap<(usize, Path), u64>,
    connections: u64,
    resets: u64,
    partial: u64,
    /// What no client expected.
    pub failures: Vec<String>,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Close,
    Reset,
    /// Within a request line.
    Partial,
    /// Behind a whole request.
    Abandon,
    /// Within an answer.
    Cut,
}

// === impl Tally ===

impl Tally {
    pub fn sum(tallies: Vec<Self>) -> Self {
        let mut sum = Self::default();
        for tally in tallies {
            let Self {
                answered,
                left,
                connections,
                resets,
                partial,
                failures,
            } = tally;
            for (target, counts) in answered {
                for (key, count) in counts {
                    *sum.answered.entry(target).or_default().entry(key).or_default() += count;
                }
            }
            for (key, count) in left {
                *sum.left.entry(key).or_default() += count;
            }
            sum.connections += connections;
            sum.resets += resets;
            sum.partial += partial;
            sum.failures.extend(failures);
        }
        sum
    }

    pub fn summary(&self) -> String {
        let answered: u64 = self.answered.values().flat_map(Counts::values).sum();
        let left: u64 = self.left.values().sum();
        format!(
            "{} connections, {} of them reset by the client; {answered} requests were answered in full, {left} left by their \
             clients, {} broken off within the request line",
            self.connections, self.resets, self.partial
        )
    }

    fn answer(&mut self, target: usize, shot: &Shot, status: u16) {
        let method = counted_method(&shot.request.method, status).to_owned();
        let key: CountKey = (shot.handler.to_owned(), method, status);
        *self.answered.entry(target).or_default().entry(key).or_default() += 1;
    }

    fn leave(&mut self, target: usize, path: Path) {
        *self.left.entry((target, path)).or_default() += 1;
    }
}

/// One request of every kind, in order, so that all series and handlers are there.
pub fn warm_up(targets: &[Target]) -> Result<Tally> {
    let mut tally = Tally::default();
    for (index, target) in targets.iter().enumerate() {
        let mut random = Random::new(1);
        let mut kinds = BTreeSet::new();
        for _ in 0..target.kinds {
            let shot = (target.shot)(&mut random);
            if kinds.insert((shot.handler, shot.request.method.clone(), shot.expected)) {
                let response = target.server.connect()?.send(&shot.request)?;
                ensure!(
                    shot.expected == Some(response.status),
                    "{} answered {}",
                    target.name,
                    response.status
                );
                tally.answer(index, &shot, response.status);
            }
        }
        for path in target.cut.into_iter().chain([target.abandoned]) {
            let response = target.server.connect()?.send(&Request::get(path))?;
            ensure!(
                response.status == 200,
                "{} answered {} at {path}",
                target.name,
                response.status
            );
            tally.leave(index, path);
        }
    }
    Ok(tally)
}

/// A client, until it has to stop.
pub fn run(targets: &[Target], seed: u64, stop: &AtomicBool) -> Tally {
    let mut random = Random::new(seed);
    let mut tally = Tally::default();
    while !stop.load(Ordering::Relaxed) {
        let index = random.below(targets.len() as u64) as usize;
        tally.connections += 1;
        if let Err(error) = connection(index, &targets[index], &mut random, &mut tally) {
            tally.failures.push(format!("{}: {error:#}", targets[index].name));
        }
        thread::sleep(Duration::from_millis(random.range(PAUSE)));
    }
    tally
}

fn connection(index: usize, target: &Target, random: &mut Random, tally: &mut Tally) -> Result<()> {
    let mut client = target.server.connect()?;
    for _ in 0..random.range(REQUESTS) {
        let shot = (target.shot)(random);
        let response = client.send(&shot.request)?;
        tally.answer(index, &shot, response.status);
        ensure!(
            shot.expected == Some(response.status),
            "{} {} was answered {}",
            shot.request.method,
            shot.handler,
            response.status
        );
        // A server may close after a 5xx without announcing it, and would not read a request sent meanwhile.
        if !client.is_open() || response.status >= 500 {
            return Ok(());
        }
    }
    let ending = match random.below(100) {
        0..40 => Ending::Close,
        40..60 => Ending::Reset,
        60..75 => Ending::Partial,
        75..90 => Ending::Abandon,
        _ => Ending::Cut,
    };
    end(ending, client, (index, target), random, tally)
}

fn end(
    ending: Ending,
    mut client: Client,
    (index, target): (usize, &Target),
    random: &mut Random,
    tally: &mut Tally,
) -> Result<()> {
    match (ending, target.cut) {
        (Ending::Close, _) | (Ending::Cut, None) => {}
        (Ending::Reset, _) => reset(&client, tally)?,
        (Ending::Partial, _) => {
            let line = b"GET /abandoned/within/its/line?x=1 HTTP/1.1\r\n";
            let length = random.range(1..line.len() as u64) as usize;
            client.send_raw(&line[..length])?;
            tally.partial += 1;
            if target.guesses || random.below(2) == 0 {
                reset(&client, tally)?;
            }
        }
        (Ending::Abandon, _) => {
            // A close and no reset: the server reads the request before it can see the end.
            client.send_raw(&get(target.abandoned))?;
            tally.leave(index, target.abandoned);
        }
        (Ending::Cut, Some(path)) => {
            client.send_raw(&get(path))?;
            // Once there is an answer, the request was read.
            client.stream().read_exact(&mut [0; 20])?;
            tally.leave(index, path);
            reset(&client, tally)?;
        }
    }
    Ok(())
}

fn get(path: Path) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: soak\r\n\r\n").into_bytes()
}

fn reset(client: &Client, tally: &mut Tally) -> io::Result<()> {
    tally.resets += 1;
    reset_on_close(client.stream())
}
