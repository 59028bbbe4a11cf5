//! Running the rows: three times each, those that wait beside each other, the others alone.

use crate::judge::judge;
use crate::report::Line;
use crate::rows::{GROUPS, Pace, Row};
use crate::run::{Finished, Run};
use anyhow::{Result, bail, ensure};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use testkit::{Scrape, Vigie};

/// A count must be right in all of them, a time in one.
const RUNS: usize = 3;
/// How many rows that wait run beside each other.
const THREADS: usize = 6;

/// Which rows to run.
#[derive(Debug)]
pub struct Choice {
    pub core_only: bool,
    /// Parts of the names of rows and groups; none means all rows.
    pub names: Vec<String>,
}

/// A row with its place in the table and its runs so far.
struct Task {
    group: &'static str,
    row: &'static Row,
    runs: Mutex<Runs>,
}

#[derive(Default)]
struct Runs {
    finished: Vec<Finished>,
    /// Runs that did not come to their end, and why.
    failed: Vec<String>,
}

// === impl Choice ===

impl Choice {
    fn tasks(&self) -> Result<Vec<Task>> {
        let all: Vec<(&'static str, &'static Row)> = GROUPS
            .iter()
            .flat_map(|group| group.rows.iter().map(|row| (group.title, row)))
            .filter(|(_, row)| row.is_core || !self.core_only)
            .collect();
        let fits = |(group, row): &(&str, &Row), name: &String| {
            let name = name.to_lowercase();
            [group, row.name].iter().any(|text| text.to_lowercase().contains(&name))
        };
        if let Some(unknown) = self.names.iter().find(|name| !all.iter().any(|row| fits(row, name))) {
            bail!("no row and no group has a name with '{unknown}' in it");
        }
        let chosen = all
            .into_iter()
            .filter(|row| self.names.is_empty() || self.names.iter().any(|name| fits(row, name)));
        let task = |(group, row)| Task {
            group,
            row,
            runs: Mutex::default(),
        };
        Ok(chosen.map(task).collect())
    }
}

/// Runs the chosen rows and judges them. `stop` ends it after the rows that are under way.
pub fn run(vigie: &Vigie, choice: &Choice, tolerance: f64, stop: &AtomicBool) -> Result<(Vec<Line>, Scrape)> {
    let tasks = choice.tasks()?;
    // The runs of one row do not meet each other.
    let waiting: Vec<&Task> = (0..RUNS)
        .flat_map(|_| tasks.iter().filter(|task| task.row.pace == Pace::Waits))
        .collect();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed)
                    && let Some(task) = waiting.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    task.run(vigie);
                }
            });
        }
    });
    for task in tasks.iter().filter(|task| task.row.pace == Pace::Works) {
        for _ in 0..RUNS {
            ensure!(!stop.load(Ordering::Relaxed), "stopped before all rows have run");
            task.run(vigie);
        }
    }
    ensure!(!stop.load(Ordering::Relaxed), "stopped before all rows have run");
    // All connections are closed, and all rows' requests are of one service: this process.
    let in_flight = |scrape: &Scrape| {
        let ports = tasks
            .iter()
            .filter_map(|task| task.runs().finished.first().map(|run| run.port));
        ports.map(|port| scrape.in_flight(port)).fold(0.0, f64::max)
    };
    let scrape =
        vigie.settled(|scrape| in_flight(scrape) == 0.0 && tasks.iter().all(|task| task.counts_fit(scrape)))?;
    ensure!(
        in_flight(&scrape) == 0.0,
        "{} requests are said to be in flight after all rows",
        in_flight(&scrape)
    );
    let lines = tasks.iter().map(|task| task.line(&scrape, tolerance));
    Ok((lines.collect(), scrape))
}

// === impl Task ===

impl Task {
    fn run(&self, vigie: &Vigie) {
        let mut run = match Run::new(vigie) {
            Ok(run) => run,
            Err(error) => return self.runs().failed.push(format!("{error:#}")),
        };
        let done = catch_unwind(AssertUnwindSafe(|| (self.row.script)(&mut run)));
        let mut runs = self.runs();
        match done {
            Ok(Ok(())) => {}
            Ok(Err(error)) => runs.failed.push(format!("{error:#}")),
            Err(_) => runs.failed.push("the row itself panicked".to_owned()),
        }
        match run.finish() {
            Ok(finished) => runs.finished.push(finished),
            Err(error) => runs.failed.push(format!("{error:#}")),
        }
    }

    fn runs(&self) -> MutexGuard<'_, Runs> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts_fit(&self, scrape: &Scrape) -> bool {
        let runs = self.runs();
        runs.finished
            .iter()
            .all(|run| run.truth.difference(scrape, run.port).is_none())
    }

    fn line(&self, scrape: &Scrape, tolerance: f64) -> Line {
        let runs = self.runs();
        let mut verdict = judge(&runs.finished, scrape, tolerance);
        let failures = runs.failed.iter().map(|failure| format!("a run failed: {failure}"));
        verdict.problems.extend(failures);
        verdict.problems.dedup();
        Line {
            group: self.group,
            row: self.row,
            verdict,
        }
    }
}
