//! The steps of `cargo xtask test`. Each runs, also after one that failed, unless it needs that one; a table says in the end what each
//! came to.

#![expect(clippy::print_stdout, reason = "these lines are what the command shows")]

use anyhow::{Result, bail};
use std::time::{Duration, Instant};
use testkit::table::Table;

/// What a step came to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    /// With the error.
    Failed(String),
    /// A failure that does not decide, with the error.
    Reported(String),
    /// With the reason.
    Skipped(String),
    /// With the step that it needs, which did not pass.
    NotRun(&'static str),
}

/// A step that is over.
#[derive(Debug)]
struct Done {
    name: &'static str,
    time: Duration,
    outcome: Outcome,
    /// How many of its tests were ignored.
    ignored: u64,
}

/// The steps so far.
#[derive(Debug, Default)]
pub struct Steps {
    done: Vec<Done>,
}

// === impl Outcome ===

impl Outcome {
    /// In a word, and what there is to say about it.
    fn words(&self) -> (&'static str, String) {
        match self {
            Self::Passed => ("passed", String::new()),
            Self::Failed(error) => ("FAILED", error.clone()),
            Self::Reported(error) => ("reported", error.clone()),
            Self::Skipped(reason) => ("skipped", reason.clone()),
            Self::NotRun(needed) => ("not run", format!("needs {needed}")),
        }
    }
}

// === impl Steps ===

impl Steps {
    /// Runs a step if those that it needs have passed. `None`: it has not passed.
    pub fn run<T>(&mut self, name: &'static str, needs: &[&'static str], run: impl FnOnce() -> Result<T>) -> Option<T> {
        self.step(name, needs, Outcome::Failed, run)
    }

    /// The same for what changes without a change of Vigie, such as the newest kernel: its failure is shown, and fails nothing.
    pub fn report<T>(
        &mut self,
        name: &'static str,
        needs: &[&'static str],
        run: impl FnOnce() -> Result<T>,
    ) -> Option<T> {
        self.step(name, needs, Outcome::Reported, run)
    }

    /// A step of tests, which says how many of them were ignored.
    pub fn tests(&mut self, name: &'static str, needs: &[&'static str], run: impl FnOnce() -> Result<u64>) {
        let ignored = self.run(name, needs, run);
        if let (Some(ignored), Some(done)) = (ignored, self.done.last_mut()) {
            done.ignored = ignored;
        }
    }

    /// A step that cannot run here.
    pub fn skip(&mut self, name: &'static str, reason: &str) {
        println!("\n=== {name}: skipped: {reason}");
        self.add(name, Duration::ZERO, Outcome::Skipped(reason.to_owned()));
    }

    /// Shows the table. An error if a step has failed or, with `no_skips`, was skipped.
    pub fn end(&self, no_skips: bool) -> Result<()> {
        let mut table = Table::new(3, ["step", "result", "", "s"]);
        for done in &self.done {
            let (word, mut more) = done.outcome.words();
            if done.ignored > 0 {
                more = format!("{} tests ignored", done.ignored);
            }
            // What does not fit a line is above, where the step ended.
            let more = more.lines().next().unwrap_or_default().chars().take(100).collect();
            table.add([
                done.name.to_owned(),
                word.to_owned(),
                more,
                format!("{:.1}", done.time.as_secs_f64()),
            ]);
        }
        println!("\n{}", table.render());
        println!("{}", self.counts());
        let wrong = self.wrong(no_skips);
        if !wrong.is_empty() {
            bail!("not passed: {}", wrong.join(", "));
        }
        Ok(())
    }

    fn step<T>(
        &mut self,
        name: &'static str,
        needs: &[&'static str],
        failure: fn(String) -> Outcome,
        run: impl FnOnce() -> Result<T>,
    ) -> Option<T> {
        if let Some(needed) = needs.iter().find(|needed| !self.has_passed(needed)) {
            println!("\n=== {name}: not run: needs {needed}");
            self.add(name, Duration::ZERO, Outcome::NotRun(needed));
            return None;
        }
        println!("\n=== {name}");
        let begin = Instant::now();
        let result = run();
        let time = begin.elapsed();
        let (value, outcome) = match result {
            Ok(value) => (Some(value), Outcome::Passed),
            Err(error) => (None, failure(format!("{error:#}"))),
        };
        let (word, more) = outcome.words();
        println!("=== {name}: {word}  {:.1} s  {more}", time.as_secs_f64());
        self.add(name, time, outcome);
        value
    }

    fn add(&mut self, name: &'static str, time: Duration, outcome: Outcome) {
        self.done.push(Done {
            name,
            time,
            outcome,
            ignored: 0,
        });
    }

    fn has_passed(&self, name: &str) -> bool {
        let found = self.done.iter().find(|done| done.name == name);
        found.is_some_and(|done| done.outcome == Outcome::Passed)
    }

    /// `3 passed, 1 FAILED, …`, with the time of all.
    fn counts(&self) -> String {
        let words = ["passed", "FAILED", "reported", "skipped", "not run"];
        let counts = words.map(|word| {
            (
                word,
                self.done.iter().filter(|done| done.outcome.words().0 == word).count(),
            )
        });
        let counts = counts.iter().filter(|(_, count)| *count > 0);
        let mut parts: Vec<String> = counts.map(|(word, count)| format!("{count} {word}")).collect();
        let ignored: u64 = self.done.iter().map(|done| done.ignored).sum();
        if ignored > 0 {
            parts.push(format!("{ignored} tests ignored"));
        }
        let time: Duration = self.done.iter().map(|done| done.time).sum();
        format!("{}  {:.1} s", parts.join(", "), time.as_secs_f64())
    }

    /// The steps that fail the run. One that was not run is not among them: what it needs is, or does not decide.
    fn wrong(&self, no_skips: bool) -> Vec<&'static str> {
        let is_wrong = |done: &&Done| match done.outcome {
            Outcome::Failed(_) => true,
            Outcome::Skipped(_) => no_skips,
            Outcome::Passed | Outcome::Reported(_) | Outcome::NotRun(_) => false,
        };
        self.done.iter().filter(is_wrong).map(|done| done.name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_stops_only_what_needs_it() {
        let mut steps = Steps::default();
        assert_eq!(steps.run("a", &[], || Ok(1)), Some(1));
        steps.run("b", &["a"], || -> Result<()> { bail!("the reason") });
        steps.run("c", &["a", "b"], || -> Result<()> { panic!("it needs b") });
        steps.run("d", &["c"], || -> Result<()> { panic!("it needs c") });
        steps.tests("e", &["a"], || Ok(3));
        assert_eq!(steps.done[1].outcome, Outcome::Failed("the reason".to_owned()));
        assert_eq!(steps.done[2].outcome, Outcome::NotRun("b"));
        assert_eq!(steps.done[3].outcome, Outcome::NotRun("c"));
        assert_eq!(steps.end(false).unwrap_err().to_string(), "not passed: b");
        assert!(
            steps
                .counts()
                .starts_with("2 passed, 1 FAILED, 2 not run, 3 tests ignored  ")
        );
    }

    #[test]
    fn what_is_reported_does_not_decide() {
        let mut steps = Steps::default();
        steps.report("newest", &[], || -> Result<()> { bail!("it has changed") });
        steps.report("with the newest", &["newest"], || Ok(()));
        assert!(steps.end(true).is_ok());
        assert!(steps.counts().starts_with("1 reported, 1 not run  "));
    }

    #[test]
    fn a_skip_fails_where_none_is_allowed() {
        let mut steps = Steps::default();
        steps.skip("machines", "not on this processor");
        assert!(steps.end(false).is_ok());
        assert_eq!(steps.end(true).unwrap_err().to_string(), "not passed: machines");
    }
}
