//! Runs one row: Vigie, the servers, and their clients.

use super::catalogue::Row;
use super::client::Mix;
use super::report::Line;
use super::verdict::{Difference, Run, attributed, judge, wrongly_lost};
use super::watched::{View, Watched};
use crate::setup::ServerTools;
use anyhow::{Result, ensure};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use testkit::host::Host;
use testkit::namespace::in_network_of;
use testkit::scrape::DURATION;
use testkit::{Record, Records, Scrape, Vigie, shared_loop};

/// How many clients send at the same time.
pub const CONCURRENCIES: [usize; 3] = [1, 16, 128];
/// A machine may stall: a time is right if it is in one of this many runs. A count has to be right in every one.
const TIMED_RUNS: usize = 3;
/// A server that does not answer must not hold everything up.
const LONGEST_RUN: Duration = Duration::from_secs(30);
/// Before another such run: what stalls a machine often lasts for a while.
const PAUSE: Duration = Duration::from_secs(1);

/// What all rows share.
pub struct Bench {
    /// The release build of Vigie.
    pub vigie: PathBuf,
    pub tools: ServerTools,
    /// How many requests a run has.
    pub requests: usize,
    /// Ends everything soon.
    pub stop: Arc<AtomicBool>,
}

// === impl Bench ===

impl Bench {
    /// The lines of a row. What keeps it from being measured is a line, too.
    pub fn measure(&self, row: &Row) -> Vec<Line> {
        self.lines(row)
            .unwrap_or_else(|error| vec![Line::failed(row.name, &error)])
    }

    fn lines(&self, row: &Row) -> Result<Vec<Line>> {
        let _host = Host::alone()?;
        // Vigie comes first: it is there for all that the server does, beginning with its start.
        let vigie = testkit::vigie(&self.vigie, &[])?;
        let watched = (row.start)(&self.tools)?;
        let mut lines: Vec<Line> = watched.sides.iter().map(Line::new).collect();
        let mut differences = Vec::new();
        let mut last = vigie.scrape()?;
        for concurrency in CONCURRENCIES {
            let (records, after) = self.run(&vigie, &watched, &last, concurrency, &mut lines)?;
            if concurrency == 1 {
                differences.push(compare(&watched, &records, &last, &after));
            }
            last = after;
        }
        let is_timed = watched.sides.first().is_some_and(|side| side.view == View::Counted);
        while is_timed && differences.len() < TIMED_RUNS && !differences.iter().any(Difference::is_right) {
            thread::sleep(PAUSE);
            let (records, after) = self.run(&vigie, &watched, &last, 1, &mut lines)?;
            differences.push(compare(&watched, &records, &last, &after));
            last = after;
        }
        if let Some(line) = lines.first_mut() {
            line.lost = last.lost_text();
            if is_timed {
                line.time(&differences);
            }
        }
        Ok(lines)
    }

    /// Sends the requests, and compares when Vigie has counted them.
    fn run(
        &self,
        vigie: &Vigie,
        watched: &Watched,
        before: &Scrape,
        concurrency: usize,
        lines: &mut [Line],
    ) -> Result<(Records, Scrape)> {
        let records = self.load(watched, concurrency)?;
        let (sent, asked) = (records.len(), self.requests);
        ensure!(
            sent == asked,
            "{concurrency} clients have sent only {sent} of {asked} requests in {LONGEST_RUN:?}"
        );
        let judged = |after: &Scrape| -> Vec<Run> {
            let sides = watched.sides.iter();
            sides
                .map(|side| judge(side, &watched.sides, &records, before, after))
                .collect()
        };
        let after = vigie.settled(|scrape| judged(scrape).iter().all(|run| run.problems.is_empty()))?;
        if let Some(line) = lines.first_mut() {
            line.wrong(concurrency, wrongly_lost(&watched.sides, before, &after));
        }
        for (line, run) in lines.iter_mut().zip(judged(&after)) {
            line.add(concurrency, run);
        }
        for (line, side) in lines.iter_mut().zip(&watched.sides) {
            line.attribute(concurrency, attributed(side, before, &after));
        }
        Ok((records, after))
    }

    fn load(&self, watched: &Watched, concurrency: usize) -> Result<Records> {
        let mix: Mix = watched.mix;
        let send = || {
            let end = Instant::now() + LONGEST_RUN;
            let goes_on = || Instant::now() < end && !self.stop.load(Ordering::Relaxed);
            shared_loop(watched.address, concurrency, self.requests, true, |thread, index| {
                goes_on().then(|| mix.shot(thread, index))
            })
        };
        match watched.servers.first().filter(|_| watched.is_in_namespace) {
            Some(server) => in_network_of(server.pid(), send),
            None => send(),
        }
    }
}

/// Compares the means of the durations.
fn compare(watched: &Watched, records: &Records, before: &Scrape, after: &Scrape) -> Difference {
    let port = watched.address.port().to_string();
    let sum = |scrape: &Scrape| scrape.sum(&format!("{DURATION}_sum"), &[("port", &port)]);
    let vigie = sum(after) - sum(before);
    let client: f64 = records.list.iter().map(Record::seconds).sum();
    let waited: f64 = records.list.iter().map(|record| record.waited.as_secs_f64()).sum();
    let requests = records.len() as f64;
    Difference {
        client: client / requests,
        vigie: vigie / requests,
        waited: waited / requests,
    }
}
