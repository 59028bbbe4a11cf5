//! `cargo xtask churn`: a month of a host's life in minutes, and what it leaves behind in Vigie.
//!
//! A store gets steady load of known count. Beside it processes, listeners, containers, deployments and a kill come and go, and a
//! Prometheus with the project's rules watches. At the end every count has to be equal, nothing may have grown, nothing of what has ended
//! may be left, and no alert may have fired but the one for the kill.

#![expect(clippy::print_stdout, reason = "these lines are what the command shows")]

mod account;
mod alerts;
mod cgroups;
mod child;
mod footprint;
mod load;
mod plan;
mod programs;
mod report;
mod stand;
mod verdict;
mod work;

use crate::setup::{Monitoring, Tools};
use crate::{command, document, lab, paths};
use alerts::{Books, Facts, Fired, Machine};
use anyhow::{Result, ensure};
use cgroups::Shape;
pub use child::take_over;
use clap::Args;
use footprint::Footprint;
use load::Steady;
use plan::Plan;
use report::Report;
use stand::Stand;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use testkit::host::Host;
use testkit::stop;
use work::{VICTIM, Work, is_foreign};

/// Where the table stands in the document.
const START: &str = "<!-- churn: from here on written by `cargo xtask churn --write` -->";
const END: &str = "<!-- churn: up to here -->";
const DOCUMENT: &str = "docs/reliability.md";
/// Longer than Vigie keeps anything, by this.
const BEHIND: Duration = Duration::from_secs(5);
/// How long the last series of what has ended may take to go, and the counts to be right.
const SETTLE: Duration = Duration::from_secs(10);
/// How often a comparison of times is tried: other programs of the host can have the CPU meanwhile.
const TRIES: usize = 3;
const BETWEEN_TRIES: Duration = Duration::from_secs(2);
const SLICE: Duration = Duration::from_millis(100);

#[derive(Args, Debug)]
pub struct Options {
    /// A tenth of it, in less than two minutes, with shorter times in the rules
    #[arg(long)]
    short: bool,
    /// Write the table into docs/reliability.md, too
    #[arg(long, conflicts_with = "short")]
    write: bool,
    /// Do not wait until the host's other tests have ended; what the whole host has lost is not judged then
    #[arg(long)]
    beside_others: bool,
    /// Another program than that of this workspace, such as an older release
    #[arg(long, value_name = "FILE")]
    vigie: Option<PathBuf>,
    /// Repeats the choices of an earlier run
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

// === impl Options ===

impl Options {
    /// A short one, as part of all tests.
    pub fn short() -> Self {
        Self {
            short: true,
            write: false,
            beside_others: false,
            vigie: None,
            seed: 1,
        }
    }

    fn plan(&self) -> Plan {
        if self.short { Plan::SHORT } else { Plan::FULL }
    }
}

/// Runs it, and fails if anything is not as it has to be.
pub fn run(tools: &Tools, monitoring: &[Monitoring], options: &Options) -> Result<()> {
    let monitoring = lab::choose(monitoring, "bookworm")?;
    let program = match &options.vigie {
        Some(program) => program.clone(),
        None => command::build(&["vigie"])?.join("vigie"),
    };
    let plan = options.plan();
    let stop = stop::on_signal()?;
    let _host = match options.beside_others {
        true => Host::beside_others()?,
        false => Host::alone()?,
    };
    let stand = Stand::start(tools, &program, monitoring, &plan)?;
    for change in &stand.changes {
        println!("rules/{change}");
    }
    let run = Run {
        plan,
        stand: &stand,
        stop: &stop,
        begin: Instant::now(),
        judges_host: !options.beside_others,
    };
    let (report, problems) = run.go(options.seed)?;
    let table = report.markdown();
    println!("\n{table}");
    if options.write {
        document::write(&paths::root()?.join(DOCUMENT), START, Some(END), &table)?;
    }
    ensure!(problems.is_empty(), "after the churn:\n  {}", problems.join("\n  "));
    println!("all counts are equal, nothing has grown, and nothing of what has ended is left");
    Ok(())
}

/// A run.
struct Run<'a> {
    plan: Plan,
    stand: &'a Stand,
    stop: &'a AtomicBool,
    begin: Instant,
    /// Whether numbers of the whole host are this run's alone.
    judges_host: bool,
}

// === impl Run ===

impl Run<'_> {
    fn go(&self, seed: u64) -> Result<(Report, Vec<String>)> {
        let Self { plan, stand, .. } = self;
        let vigie = &stand.vigie;
        let steady = Steady::start(stand.store.address());
        let mut work = Work::start(stand, seed, self.stop)?;
        work.round(&Plan::FIRST)?;
        self.say("a little of everything was done once");
        self.sleep(plan.retention + BEHIND)?;
        let first = Footprint::measure(vigie, is_foreign)?;
        self.say("the beginning is measured");

        let (killed, machine) = self.rounds(&mut work)?;
        self.say("all rounds are over");
        self.sleep(plan.retention + BEHIND)?;
        let scrape = vigie.settled_within(SETTLE, |scrape| work.dead.series(scrape).is_none())?;
        let mut problems: Vec<String> = work.dead.series(&scrape).into_iter().collect();
        let (last, grown) = self.footprint_against(&first)?;
        problems.extend(grown);
        self.say("the end is measured");

        let mut answered = steady.end()?;
        load::add(&mut answered, &work.invented);
        let store = stand.store.port();
        let scrape = vigie.settled_within(SETTLE, |scrape| verdict::store(&answered, scrape, store).is_empty())?;
        problems.extend(verdict::store(&answered, &scrape, store));
        work.settle()?;
        problems.extend(work.account.problem());
        problems.append(&mut work.problems);
        if work.account.services().contains("other") {
            problems.push("a small server was called 'other'".to_owned());
        }
        if self.judges_host && !scrape.lost().is_empty() {
            problems.push(format!("lost: {}", scrape.lost_text()));
        }
        let (alerts, alert_after, wrong) = self.alerts(&work, killed, machine)?;
        problems.extend(wrong);
        stand.check()?;
        let report = Report {
            plan: *plan,
            minutes: self.begin.elapsed().as_secs_f64() / 60.0,
            shapes: Shape::ALL.len() * work.hierarchies(),
            store: (answered.values().sum(), scrape.requests(store).values().sum()),
            small: work.account.totals(),
            begin: first,
            end: last,
            lost: scrape.lost_text(),
            alerts,
            alert_after,
        };
        Ok((report, problems))
    }

    /// When the service was killed, in Unix seconds, and how busy the machine was.
    fn rounds(&self, work: &mut Work<'_>) -> Result<(f64, Machine)> {
        let (mut killed, mut machine) = (0.0, Machine::default());
        let store = self.stand.store.pid();
        let [same_port, other_port] = self.plan.deployments();
        for round in 0..self.plan.rounds {
            let (begin, before) = (Instant::now(), Books::read(store)?);
            work.round(&self.plan.round)?;
            let took = begin.elapsed();
            if round == same_port {
                work.deploy_on_the_same_port()?;
                self.say("a new instance has come on the same port, and the old one has gone");
            }
            if round == other_port {
                work.deploy_on_another_port()?;
                self.say("a new container has come on another port, and the old one has gone");
            }
            if round == self.plan.kill() {
                killed = unix_now();
                work.kill()?;
                self.say("a service was killed");
            }
            self.say(&format!(
                "round {} of {}: {:.1} s of work",
                round + 1,
                self.plan.rounds,
                took.as_secs_f64()
            ));
            self.sleep(self.plan.pace.saturating_sub(begin.elapsed()))?;
            machine = machine.max(Books::read(store)?.since(before));
        }
        Ok((killed, machine))
    }

    /// The footprint at the end, and what has grown: a comparison of times is right if it is once.
    fn footprint_against(&self, first: &Footprint) -> Result<(Footprint, Vec<String>)> {
        let mut last = Footprint::measure(&self.stand.vigie, is_foreign)?;
        for _ in 1..TRIES {
            if last.grown_since(first).is_empty() {
                break;
            }
            self.sleep(BETWEEN_TRIES)?;
            last = Footprint::measure(&self.stand.vigie, is_foreign)?;
        }
        let grown = last.grown_since(first);
        Ok((last, grown))
    }

    /// The alerts that fired, when the one for the kill did, and what is wrong with them.
    fn alerts(
        &self,
        work: &Work<'_>,
        killed: f64,
        machine: Machine,
    ) -> Result<(Vec<String>, Option<f64>, Vec<String>)> {
        let prometheus = self.stand.prometheus.client();
        let within = self.begin.elapsed();
        // Beside others a port can be another program's before and after.
        let nobodys = BTreeSet::new();
        let facts = Facts {
            killed: VICTIM,
            ports: if self.judges_host { &work.ports } else { &nobodys },
            machine,
        };
        let (texts, mut problems) = alerts::judge(&Fired::all(prometheus, within)?, &facts, is_foreign);
        let after = alerts::fired_after(prometheus, VICTIM, killed, within)?;
        let limit = self.plan.alert_within.as_secs_f64();
        if !after.is_some_and(|after| after <= limit) {
            let seen = after.map_or("not at all".to_owned(), |after| format!("{after:.0} s after it"));
            problems.push(format!(
                "{} has to fire within {limit:.0} s of the kill: it fired {seen}",
                alerts::DOWN
            ));
        }
        Ok((texts, after, problems))
    }

    fn say(&self, what: &str) {
        println!("{:>7.1} s  {what}", self.begin.elapsed().as_secs_f64());
    }

    fn sleep(&self, duration: Duration) -> Result<()> {
        let end = Instant::now() + duration;
        loop {
            ensure!(
                !self.stop.load(Ordering::Relaxed),
                "stopped before the churn was over: nothing is compared"
            );
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(SLICE));
        }
    }
}

fn unix_now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}
