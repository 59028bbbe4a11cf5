//! What clients send to the store: its steady load, and what a scanner invents.

use anyhow::{Context as _, Result, anyhow, ensure};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use testkit::store::store_shot;
use testkit::{Random, Records, Request, Shot, run_stages, shared_loop};

/// So few that the machine has time for the rest.
const USERS: usize = 3;
const THINK: std::ops::Range<Duration> = Duration::from_millis(100)..Duration::from_millis(300);
/// Longer than any run: the load ends when it is told to.
const FOR_EVER: Duration = Duration::from_secs(24 * 3600);
/// What scanners ask for.
const WORDS: [&str; 8] = [
    "admin",
    "backup",
    "wp-login.php",
    "config",
    "api",
    ".env",
    "v2",
    "console",
];
/// Methods of HTTP that the store has for no path, and some that nobody has.
const METHODS: [&str; 6] = ["GET", "PUT", "DELETE", "PATCH", "FROB", "INVENT"];

/// Numbers of answers by status; 0 is for none.
pub type Statuses = BTreeMap<u16, u64>;

/// The steady load, in a thread of its own.
#[derive(Debug)]
pub struct Steady {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Records>>,
}

// === impl Steady ===

impl Steady {
    pub fn start(store: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let stop = Arc::clone(&stop);
            move || run_stages(store, &[(USERS, FOR_EVER)], THINK, &stop, healthy_shot, |_, _, _| {})
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }

    /// Ends it, and gives how many requests were answered with what. Fails if one was not answered as it had to be.
    pub fn end(mut self) -> Result<Statuses> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("it has ended")?;
        let records = thread.join().map_err(|_| anyhow!("a client panicked"))?;
        let unexpected = records.unexpected();
        ensure!(
            unexpected.is_empty(),
            "{} of {} requests to the store were not answered as they should be, as {:?}",
            unexpected.len(),
            records.len(),
            unexpected.first()
        );
        Ok(statuses(&records))
    }
}

impl Drop for Steady {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The store's mix without what it answers with 500: no alert has to fire.
fn healthy_shot(random: &mut Random) -> Shot {
    loop {
        let shot = store_shot(random);
        if shot.expected.is_none_or(|status| status < 500) {
            return shot;
        }
    }
}

/// Sends so many requests with invented paths and methods, and says how they were answered.
pub fn invent(store: SocketAddr, requests: u64, random: &mut Random) -> Result<Statuses> {
    let shots: Vec<Shot> = (0..requests).map(|_| invented_shot(random)).collect();
    let next = |_, index: usize| shots.get(index).cloned();
    let records = shared_loop(store, 1, shots.len(), true, next)?;
    let statuses = statuses(&records);
    ensure!(
        statuses.keys().all(|status| [400, 404, 405].contains(status)),
        "invented requests were answered {statuses:?}"
    );
    Ok(statuses)
}

fn invented_shot(random: &mut Random) -> Shot {
    let method = METHODS[random.below(METHODS.len() as u64) as usize];
    let path = match random.below(4) {
        // A path that is there, with a method that is not.
        0 if method != "GET" => format!("/api/produits/{}", random.range(1..500)),
        _ => {
            let word = |random: &mut Random| WORDS[random.below(WORDS.len() as u64) as usize];
            format!("/{}/{:x}/{}", word(random), random.next_u64(), word(random))
        }
    };
    Shot {
        handler: "invented",
        request: Request::new(method, path),
        expected: None,
    }
}

fn statuses(records: &Records) -> Statuses {
    let mut statuses = Statuses::new();
    for record in &records.list {
        *statuses.entry(record.status).or_default() += 1;
    }
    statuses
}

/// Adds numbers of answers to others.
pub fn add(sum: &mut Statuses, more: &Statuses) {
    for (status, count) in more {
        *sum.entry(*status).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steady_load_has_no_failures_and_everything_else() {
        let mut random = Random::new(1);
        let expected: Statuses = (0..2000).fold(Statuses::new(), |mut sum, _| {
            let status = healthy_shot(&mut random).expected.unwrap();
            *sum.entry(status).or_default() += 1;
            sum
        });
        assert_eq!(
            expected.keys().copied().collect::<Vec<_>>(),
            [200, 201, 401, 403, 404, 422]
        );
    }

    #[test]
    fn nothing_that_is_invented_is_there() {
        let mut random = Random::new(1);
        for _ in 0..1000 {
            let request = invented_shot(&mut random).request;
            assert!(
                request.method != "GET" || !request.path.starts_with("/api/produits/"),
                "{request:?}"
            );
        }
    }

    #[test]
    fn answers_are_added_up() {
        let mut sum = Statuses::from([(200, 1)]);
        add(&mut sum, &Statuses::from([(200, 2), (404, 1)]));
        assert_eq!(sum, Statuses::from([(200, 3), (404, 1)]));
    }
}
