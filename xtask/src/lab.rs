//! `cargo xtask lab`: three instances of the store behind nginx under load, then two, then one, as Prometheus sees it through Vigie.

mod agreement;
mod deaths;
mod figures;
pub mod files;
mod report;
mod scaling;
pub mod stand;
mod window;

use crate::guard::{self, Patrol, Queries};
use crate::setup::{Monitoring, Tools};
use crate::{command, paths, progress::Progress};
use agreement::Accounts;
use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use deaths::Death;
use figures::{BALANCER, Figures, Requests};
use stand::{End, INSTANCES, Plan, Stand};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use testkit::prometheus::{Api, Sample};
use testkit::{Counts, Records, run_stages, stop, store};
use window::{View, last_scrape};

/// Virtual users of each stage: those of the store's load, and then as many again with three, two and one instances.
const USERS: [usize; 7] = [10, 30, 60, 100, 100, 100, 100];
/// The first stage whose numbers are shown.
const FIRST: usize = 4;
/// How many times a stage's duration each of those takes.
const LONGER: u64 = 3;
/// Seconds between two scrapes, as in `demo/prometheus.yml`.
const INTERVAL: u64 = 5;
/// Between the last answer and the scrape that has to hold it. A client can have an answer before nginx' call that sent it has
/// returned, which is when Vigie counts it.
const SETTLE: Duration = Duration::from_millis(500);
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Args, Debug)]
pub struct Options {
    /// Duration of each of the four stages with more and more users; three, two and one instances then take three times as long each
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(4..=3600))]
    stage_seconds: u64,
    /// Port of nginx [default: 8081, or the next free one]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// How an instance is made to end
    #[arg(long, value_enum, default_value_t = End::Kill)]
    end: End,
    /// The Debian release whose Prometheus is used: bookworm or sid
    #[arg(long, default_value = "bookworm")]
    suite: String,
    /// Watch the load, and stop it when a limit is passed
    #[arg(long)]
    guard: bool,
    #[command(flatten)]
    limits: guard::Limits,
}

// === impl Options ===

impl Options {
    /// A short one, as part of all tests.
    pub fn short() -> Self {
        Self {
            stage_seconds: 4,
            port: None,
            end: End::Kill,
            suite: "bookworm".to_owned(),
            guard: true,
            limits: guard::Limits::default(),
        }
    }

    fn stages(&self) -> [(usize, Duration); USERS.len()] {
        let mut stage = 0;
        USERS.map(|users| {
            let times = if stage < FIRST { 1 } else { LONGER };
            stage += 1;
            (users, Duration::from_secs(self.stage_seconds * times))
        })
    }
}

/// Runs the lab, and fails if counts differ that must agree, or if the guard has stopped the load.
pub fn run(tools: &Tools, monitoring: &[Monitoring], options: &Options) -> Result<()> {
    let monitoring = choose(monitoring, &options.suite)?;
    let vigie = command::build(&["vigie"])?.join("vigie");
    let stop = stop::on_signal()?;
    let rules = rules()?;
    let mut stand = Stand::start(&Plan {
        tools,
        vigie: &vigie,
        monitoring,
        port: options.port,
        interval: &format!("{INTERVAL}s"),
        rules: &rules,
        alertmanager: None,
    })?;
    report::stand(&stand, monitoring.suite);
    let prometheus = stand.prometheus.client();

    let guard = options.guard.then(|| Guard::start(prometheus, options.limits, &stop));
    let load = load(&mut stand, options, &stop)?;
    if let Some(guard) = guard {
        guard.end()?;
    }
    ensure!(
        !stop.load(Ordering::Relaxed),
        "stopped before the load was over: nothing is compared"
    );
    thread::sleep(SETTLE);
    let last = wait_for_scrape(prometheus, unix(SystemTime::now()))?;
    stand.check()?;
    tell(&stand, &load, last)
}

/// The rule files of `dashboards/`: the lab's Prometheus evaluates them, as everybody's does.
pub fn rules() -> Result<Vec<PathBuf>> {
    let dir = paths::root()?.join("dashboards/prometheus/rules");
    let mut files = Vec::new();
    for entry in fs::read_dir(&dir).into_iter().flatten() {
        let path = entry.with_context(|| format!("cannot read {}", dir.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "yml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The programs of a Debian release.
pub fn choose<'a>(monitoring: &'a [Monitoring], suite: &str) -> Result<&'a Monitoring> {
    let known: Vec<&str> = monitoring.iter().map(|one| one.suite).collect();
    let found = monitoring.iter().find(|one| one.suite == suite);
    found.with_context(|| format!("there is no suite '{suite}': give one of {}", known.join(", ")))
}

/// What came of the load.
struct Load {
    records: Records,
    /// When each stage began, and when the last one ended.
    begins: Vec<(Instant, SystemTime)>,
    /// The instances that were ended, in order.
    ended: Vec<String>,
}

/// The stages. With the last ones, one instance after the other ends.
fn load(stand: &mut Stand, options: &Options, stop: &AtomicBool) -> Result<Load> {
    let mut progress = Progress::new(&USERS);
    let mut begins: Vec<(Instant, SystemTime)> = Vec::new();
    let mut ended = Vec::new();
    let mut failure = None;
    let address = stand.balancer.address();
    let records = run_stages(
        address,
        &options.stages(),
        store::THINK,
        stop,
        store::store_shot,
        |stage, users, finished| {
            progress.update(stage, users, finished);
            if users > 0 && stage == begins.len() {
                begins.push((Instant::now(), SystemTime::now()));
                if let Some(index) = INSTANCES
                    .checked_sub(stage.saturating_sub(FIRST))
                    .filter(|left| *left < INSTANCES)
                {
                    report::ending(&stand.instances[index].name, options.end);
                    ended.push(stand.instances[index].name.clone());
                    failure = failure.take().or(stand.end(index, options.end).err());
                }
            }
            failure = failure.take().or(stand.check().err());
            if failure.is_some() {
                stop.store(true, Ordering::Relaxed);
            }
        },
    );
    begins.push((Instant::now(), SystemTime::now()));
    match failure {
        Some(error) => Err(error.context("the load was stopped")),
        None => Ok(Load { records, begins, ended }),
    }
}

/// Compares and prints everything.
fn tell(stand: &Stand, load: &Load, last: f64) -> Result<()> {
    let prometheus = stand.prometheus.client();
    let clock = load.begins.first().copied().context("the load has not begun")?;
    let names: Vec<String> = stand.instances.iter().map(|instance| instance.name.clone()).collect();
    let mut all = Vec::new();
    let mut deaths = Vec::new();
    for (stage, pair) in load.begins.windows(2).enumerate().skip(FIRST) {
        let [(begin, begin_time), (end, end_time)] = pair else {
            continue;
        };
        let (begin_time, end_time) = (unix(*begin_time), unix(*end_time));
        let left = INSTANCES - (stage - FIRST);
        let view = View::between(prometheus, begin_time, end_time, INTERVAL)
            .with_context(|| format!("with {left} instances: is --stage-seconds too short?"))?;
        let (from, to) = (instant(clock, view.window.begin()), instant(clock, view.window.end));
        let client = Requests::of(&load.records, from, to);
        all.push(Figures::ask(&view, &names[..left], client)?);
        if left < INSTANCES {
            let is_last = stage + 1 == USERS.len();
            let until = if is_last { last + 0.01 } else { end_time };
            let view = View::between(prometheus, begin_time - INTERVAL as f64, until, INTERVAL)?;
            let end = if is_last { *end + SETTLE } else { *end };
            deaths.push(Death::ask(&view, &names[left], &load.records, *begin, end)?);
        }
    }
    report::figures(&all);
    report::deaths(&deaths);
    let balancer = counts(prometheus, &format!("service=\"{BALANCER}\""), last)?;
    let series = balancer.len();
    let instances = counts(prometheus, "service=~\"store-.*\"", last)?;
    let accounts = Accounts::new(&load.records, balancer, instances, load.ended.len() as u64);
    report::accounts(&accounts);
    report::scaling(&all);
    report::alerts(&fired(prometheus, last)?);
    accounts.check()?;
    report::agree(&accounts, series);
    Ok(())
}

/// All that Vigie counted up to a scrape, by handler, method and status.
fn counts(prometheus: Api, labels: &str, at: f64) -> Result<Counts> {
    let query = format!(
        "sum by (handler, method, status) ({}{{{labels}}})",
        testkit::scrape::REQUESTS
    );
    let mut counts = Counts::new();
    for sample in prometheus.query_at(&query, at + 0.05)? {
        let status = sample.label("status").parse().context("a status that is no number")?;
        let key = (
            sample.label("handler").to_owned(),
            sample.label("method").to_owned(),
            status,
        );
        counts.insert(key, sample.value as u64);
    }
    Ok(counts)
}

/// The alerts of the rules that have fired, with their level and what they are about.
fn fired(prometheus: Api, at: f64) -> Result<Vec<String>> {
    // Not those of other services of this host.
    let labels = format!("alertstate=\"firing\",service=~\"store-.*|{BALANCER}|\"");
    let query = format!("max by (alertname, severity, service) (max_over_time(ALERTS{{{labels}}}[2h]))");
    let samples = prometheus.query_at(&query, at + 0.05)?;
    let text = |sample: &Sample| {
        let [name, severity, service] = ["alertname", "severity", "service"].map(|name| sample.label(name));
        format!("{severity} {name} {service}").trim().to_owned()
    };
    let mut fired: Vec<String> = samples.iter().map(text).collect();
    fired.sort();
    Ok(fired)
}

/// Waits until Prometheus has scraped Vigie after a time, and says when it did.
fn wait_for_scrape(prometheus: Api, after: f64) -> Result<f64> {
    let end = Instant::now() + SCRAPE_TIMEOUT;
    loop {
        if let Some(last) = last_scrape(prometheus, unix(SystemTime::now()))?
            && last > after
        {
            return Ok(last);
        }
        if Instant::now() > end {
            bail!("Prometheus does not scrape Vigie: see its targets");
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn unix(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// A Unix time on the clock of the records.
fn instant((instant, time): (Instant, SystemTime), unix_seconds: f64) -> Instant {
    let seconds = unix_seconds - unix(time);
    if seconds >= 0.0 {
        instant + Duration::from_secs_f64(seconds)
    } else {
        instant
            .checked_sub(Duration::from_secs_f64(-seconds))
            .unwrap_or(instant)
    }
}

/// A guard beside the lab's own load.
struct Guard {
    is_over: Arc<AtomicBool>,
    thread: thread::JoinHandle<guard::Outcome>,
}

// === impl Guard ===

impl Guard {
    fn start(prometheus: Api, limits: guard::Limits, stop: &Arc<AtomicBool>) -> Self {
        let window = 6 * INTERVAL;
        let patrol = Patrol {
            prometheus,
            queries: Queries::new(Some(BALANCER), window),
            limits,
            every: Duration::from_secs(INTERVAL),
            patience: Duration::from_secs(window),
        };
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, stop) = (Arc::clone(&is_over), Arc::clone(stop));
        let thread = thread::spawn(move || {
            let outcome = patrol.run(|| over.load(Ordering::Relaxed));
            if outcome.end != guard::End::Ended {
                stop.store(true, Ordering::Relaxed);
            }
            outcome
        });
        Self { is_over, thread }
    }

    /// Fails if it has stopped the load.
    #[expect(clippy::print_stdout, reason = "this line is what the command shows")]
    fn end(self) -> Result<()> {
        self.is_over.store(true, Ordering::Relaxed);
        let outcome = self.thread.join().ok().context("the guard has panicked")?;
        if outcome.end != guard::End::Ended {
            bail!("{outcome}");
        }
        println!("{outcome}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_run_takes_less_than_90_seconds() {
        let all: Duration = Options::short().stages().iter().map(|(_, duration)| *duration).sum();
        assert!(all <= Duration::from_secs(60), "{all:?}");
    }

    #[test]
    fn unix_times_and_instants_are_the_same_times() {
        let clock = (
            Instant::now() + Duration::from_secs(100),
            UNIX_EPOCH + Duration::from_secs(1000),
        );
        assert_eq!(instant(clock, 1002.5), clock.0 + Duration::from_millis(2500));
        assert_eq!(instant(clock, 990.0) + Duration::from_secs(10), clock.0);
    }
}
