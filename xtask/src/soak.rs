//! `cargo xtask soak`: minutes of everything that connections can do, against real servers, and what it leaves behind in Vigie.
//!
//! Clients open, use, abort and reset connections at random, from a seed that is shown. They only abort where it is
//! decided what has to be counted: within a request line (that is no request), or behind a whole request (then it is
//! answered or aborted, one of both). So every count can be exact.

mod clients;
mod footprint;
mod targets;
mod verdict;

use crate::command;
use crate::setup::Tools;
use anyhow::{Context as _, Result, ensure};
use clap::Args;
use clients::Tally;
use footprint::Footprint;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use targets::Target;
use testkit::host::Host;
use testkit::{Vigie, stop, vigie};

/// How many clients there are at any time.
const CLIENTS: usize = 16;
/// What comes before the first look at Vigie's memory, at the most.
const WARM_UP: Duration = Duration::from_secs(60);

/// How often it is looked whether to stop.
const SLICE: Duration = Duration::from_millis(200);

#[derive(Args, Debug)]
pub struct Options {
    /// How long the load takes
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Repeats the choices of an earlier run
    #[arg(long)]
    seed: Option<u64>,
}

// === impl Options ===

impl Options {
    /// A short one, as part of all tests.
    pub fn short() -> Self {
        Self {
            minutes: 20.0 / 60.0,
            seed: None,
        }
    }

    fn duration(&self) -> Result<Duration> {
        let duration = Duration::try_from_secs_f64(self.minutes * 60.0).context("--minutes is no duration")?;
        ensure!(
            duration >= Duration::from_secs(10),
            "--minutes is too short: the load takes 10 s or more"
        );
        Ok(duration)
    }
}

/// Runs the load, and fails if a count differs or anything has grown.
#[expect(clippy::print_stdout, reason = "these lines are what the command shows")]
pub fn run(tools: &Tools, options: &Options) -> Result<()> {
    let duration = options.duration()?;
    let release = command::build(&["vigie"])?;
    let seed = options.seed.unwrap_or_else(now);
    println!(
        "seed {seed}: {:.1} minutes of {CLIENTS} clients",
        duration.as_secs_f64() / 60.0
    );
    let stop = stop::on_signal()?;
    let _host = Host::beside_others()?;
    let targets = targets::start(tools)?;
    let vigie = vigie(&release.join("vigie"), &[])?;
    let mut tallies = vec![clients::warm_up(&targets)?];
    let (warm, rest) = load(&targets, &vigie, seed, duration, &stop)?;
    ensure!(
        !stop.load(Ordering::Relaxed),
        "stopped before the load was over: nothing is compared"
    );
    tallies.extend(rest);
    let tally = Tally::sum(tallies);
    println!("{}", tally.summary());
    let scrape = verdict::settled(&vigie, &targets, &tally)?;
    let end = Footprint::measure(&vigie)?;
    println!("{}", footprint::table(&warm, &end));
    let mut problems = verdict::counts(&targets, &tally, &scrape);
    problems.extend(footprint::growth(&warm, &end));
    problems.extend(footprint::open_connections(&targets)?);
    ensure!(
        problems.is_empty(),
        "after the soak with seed {seed}:\n  {}",
        problems.join("\n  ")
    );
    println!("all counts are equal, and nothing has grown");
    Ok(())
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs()
}

/// The load: what Vigie holds once it is warm, and what each client did.
fn load(
    targets: &[Target],
    vigie: &Vigie,
    seed: u64,
    duration: Duration,
    stop: &AtomicBool,
) -> Result<(Footprint, Vec<Tally>)> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|index| {
                let is_over = &is_over;
                scope.spawn(move || clients::run(targets, seed.wrapping_add(index as u64), is_over))
            })
            .collect();
        let warm_up = WARM_UP.min(duration / 4);
        sleep(warm_up, stop);
        let warm = Footprint::measure(vigie);
        if warm.is_ok() {
            sleep(duration - warm_up, stop);
        }
        is_over.store(true, Ordering::Relaxed);
        let tallies = clients.into_iter().map(|client| client.join());
        let tallies: Vec<Tally> = tallies
            .collect::<Result<_, _>>()
            .map_err(|_| anyhow::anyhow!("a client panicked"))?;
        Ok((warm?, tallies))
    })
}

/// Sleeps until the time is over, or it is to stop.
fn sleep(duration: Duration, stop: &AtomicBool) {
    let end = Instant::now() + duration;
    while !stop.load(Ordering::Relaxed) && Instant::now() < end {
        thread::sleep(SLICE.min(end.saturating_duration_since(Instant::now())));
    }
}
