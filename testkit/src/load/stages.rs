//! Virtual users that come in stages.

use super::{Record, Records, Shot, connection, failed, fire};
use crate::random::Random;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const STACK_BYTES: usize = 128 * 1024;
/// The shortest wait after a failed connect, so that a dead server is not flooded with records.
const RECONNECT_WAIT: Duration = Duration::from_millis(100);
const PROGRESS_PERIOD: Duration = Duration::from_secs(1);
/// The longest time until a waiting user or the stage clock sees that it must end.
const LONGEST_SLEEP: Duration = Duration::from_millis(50);

/// What the users share.
struct Run<'a> {
    address: SocketAddr,
    think: Range<Duration>,
    stop: &'a AtomicBool,
    /// Users with this index or a higher one must end.
    wanted: AtomicUsize,
    /// Requests finished so far.
    finished: AtomicUsize,
    records: Mutex<Vec<Record>>,
}

/// Runs stages of (users, duration), one after the other.
///
/// At the start of a stage users are added, or ended, until there are as many as it says; all end after the
/// last stage, or soon after `stop` is set. An ending user finishes its request. Each user has its own thread,
/// its own `Random` (seeded with its index) and a keep-alive connection, and waits a time in `think` after each
/// request. The connection is opened again only once the server closed it, and after a 5xx: a server may close
/// after one without announcing it, as uvicorn does, and would not read a request sent meanwhile. A failed
/// connect is a record of status 0.
///
/// `progress` gets (stage index, users, requests finished so far) at each stage's start, every second, and
/// once after the last request.
pub fn run_stages(
    address: SocketAddr,
    stages: &[(usize, Duration)],
    think: Range<Duration>,
    stop: &AtomicBool,
    shot: impl Fn(&mut Random) -> Shot + Sync,
    mut progress: impl FnMut(usize, usize, usize),
) -> Records {
    let run = Run {
        address,
        think,
        stop,
        wanted: AtomicUsize::new(0),
        finished: AtomicUsize::new(0),
        records: Mutex::new(Vec::new()),
    };
    let (run_ref, shot) = (&run, &shot);
    thread::scope(|scope| {
        let _end = EndAll(&run.wanted);
        let mut users = Vec::new();
        for (stage, (wanted, duration)) in stages.iter().enumerate() {
            run.wanted.store(*wanted, Ordering::Relaxed);
            for leaving in users.drain((*wanted).min(users.len())..) {
                join(leaving);
            }
            for index in users.len()..*wanted {
                let user = thread::Builder::new()
                    .stack_size(STACK_BYTES)
                    .name(format!("user-{index}"))
                    .spawn_scoped(scope, move || run_ref.user(index, shot));
                match user {
                    Ok(user) => users.push(user),
                    Err(error) => panic!("cannot start user {index}: {error}"),
                }
            }
            run.wait(*duration, || {
                progress(stage, *wanted, run.finished.load(Ordering::Relaxed))
            });
        }
        run.wanted.store(0, Ordering::Relaxed);
        users.into_iter().for_each(join);
    });
    let list = run
        .records
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    progress(stages.len().saturating_sub(1), 0, list.len());
    Records { list }
}

/// Lets all users end, also when `progress` panics: the scope waits for them.
struct EndAll<'a>(&'a AtomicUsize);

impl Drop for EndAll<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// A user's panic (a failed assertion in its `shot`) becomes the caller's.
fn join(user: thread::ScopedJoinHandle<'_, ()>) {
    if let Err(panic) = user.join() {
        std::panic::resume_unwind(panic);
    }
}

impl Run<'_> {
    fn user(&self, index: usize, shot: &impl Fn(&mut Random) -> Shot) {
        let mut random = Random::new(index as u64);
        let mut records = Vec::new();
        let mut kept = None;
        while !self.must_end(index) {
            let shot = shot(&mut random);
            let begin = Instant::now();
            let mut wait = random.duration(&self.think);
            let record = match connection(&mut kept, self.address) {
                Ok(client) => fire(client, shot),
                Err(_) => {
                    wait = wait.max(RECONNECT_WAIT);
                    failed(shot, begin)
                }
            };
            if record.status >= 500 {
                kept = None;
            }
            records.push(record);
            self.finished.fetch_add(1, Ordering::Relaxed);
            let until = Instant::now() + wait;
            sleep_until(until, || self.must_end(index));
        }
        self.records
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .append(&mut records);
    }

    fn must_end(&self, index: usize) -> bool {
        self.stop.load(Ordering::Relaxed) || index >= self.wanted.load(Ordering::Relaxed)
    }

    /// Waits for a stage to end and calls `progress` at its start and every second.
    fn wait(&self, duration: Duration, mut progress: impl FnMut()) {
        let end = Instant::now() + duration;
        let stopped = || self.stop.load(Ordering::Relaxed);
        while !stopped() && Instant::now() < end {
            progress();
            sleep_until(end.min(Instant::now() + PROGRESS_PERIOD), stopped);
        }
    }
}

/// Sleeps until then, or until `ended` says so.
fn sleep_until(then: Instant, ended: impl Fn() -> bool) {
    loop {
        let left = then.saturating_duration_since(Instant::now());
        if left.is_zero() || ended() {
            return;
        }
        thread::sleep(left.min(LONGEST_SLEEP));
    }
}
