//! Looking again and again, until the load has ended or must.

use super::limits::{Breach, Limits};
use super::reading::{Queries, Reading};
use std::fmt;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use testkit::prometheus::Api;

/// How many looks in a row may fail. A guard that sees nothing must not let the load go on.
const MAX_BLIND: usize = 3;
/// How often it is looked whether the load has ended.
const SLICE: Duration = Duration::from_millis(50);

/// Who watches what.
#[derive(Clone, Debug)]
pub struct Patrol {
    pub prometheus: Api,
    pub queries: Queries,
    pub limits: Limits,
    /// The time between two looks.
    pub every: Duration,
    /// How long no answer may come while requests are in flight.
    pub patience: Duration,
}

/// How it went.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub end: End,
    /// The largest numbers that were read.
    pub worst: Reading,
    /// From the first look on.
    pub after: Duration,
    pub when: SystemTime,
}

#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// The load has ended by itself.
    Ended,
    Breach(Breach),
    /// Prometheus could not be asked.
    Blind(String),
}

// === impl Patrol ===

impl Patrol {
    /// Looks until a limit is passed, or until `ended`.
    pub fn run(&self, ended: impl Fn() -> bool) -> Outcome {
        let begin = Instant::now();
        let mut worst = Reading::default();
        let mut blind = 0;
        let mut answered = begin;
        let end = loop {
            if wait(self.every, &ended) {
                break End::Ended;
            }
            match self.queries.ask(self.prometheus) {
                Err(error) if blind + 1 == MAX_BLIND => break End::Blind(format!("{error:#}")),
                Err(_) => blind += 1,
                Ok(reading) => {
                    blind = 0;
                    if reading.is_answering || reading.in_flight <= 0.0 {
                        answered = Instant::now();
                    }
                    worst = worst.and(&reading);
                    if let Some(breach) = self.limits.judge(&reading, answered.elapsed(), self.patience) {
                        break End::Breach(breach);
                    }
                }
            }
        };
        Outcome {
            end,
            worst,
            after: begin.elapsed(),
            when: SystemTime::now(),
        }
    }
}

/// Whether it has ended meanwhile.
fn wait(time: Duration, ended: &impl Fn() -> bool) -> bool {
    let until = Instant::now() + time;
    while !ended() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        thread::sleep(left.min(SLICE));
    }
    true
}

// === impl Reading ===

impl Reading {
    /// The larger number of both.
    fn and(self, other: &Self) -> Self {
        let larger = |one: Option<f64>, other: Option<f64>| one.into_iter().chain(other).reduce(f64::max);
        Self {
            p95: larger(self.p95, other.p95),
            is_beyond: self.is_beyond || other.is_beyond,
            errors: larger(self.errors, other.errors),
            failed: self.failed.max(other.failed),
            in_flight: self.in_flight.max(other.in_flight),
            is_answering: self.is_answering || other.is_answering,
        }
    }
}

// === impl Outcome ===

impl fmt::Display for Outcome {
    /// The last line of a guard.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.after.as_secs_f64();
        let when = time_of_day(self.when);
        match &self.end {
            End::Ended => {
                write!(
                    out,
                    "guard: the load ended by itself after {seconds:.0} s, within the limits: the highest p95 was "
                )?;
                match self.worst.p95 {
                    Some(p95) => write!(out, "{p95:.3} s, ")?,
                    None => write!(out, "not seen, ")?,
                }
                match self.worst.errors {
                    Some(share) => write!(out, "the most errors {:.1} %", share * 100.0),
                    None => write!(out, "the share of errors neither"),
                }
            }
            End::Breach(breach) => write!(
                out,
                "guard: stopped the load after {seconds:.0} s, at {when} UTC: {breach}"
            ),
            End::Blind(error) => {
                write!(
                    out,
                    "guard: stopped the load after {seconds:.0} s, at {when} UTC: cannot watch it: {error}"
                )
            }
        }
    }
}

fn time_of_day(when: SystemTime) -> String {
    let seconds = when.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()) % 86_400;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn outcome(end: End) -> String {
        let worst = Reading {
            p95: Some(0.5),
            errors: Some(0.01),
            ..Reading::default()
        };
        Outcome {
            end,
            worst,
            after: Duration::from_millis(34_400),
            when: UNIX_EPOCH + Duration::from_secs(86_400 + 3_723),
        }
        .to_string()
    }

    #[test]
    fn the_last_line_says_which_limit_and_when() {
        let percent = 12.34;
        assert_eq!(
            outcome(End::Breach(Breach::Errors { percent, limit: 5.0 })),
            "guard: stopped the load after 34 s, at 01:02:03 UTC: errors 12.3 % > 5 %"
        );
        assert_eq!(
            outcome(End::Ended),
            "guard: the load ended by itself after 34 s, within the limits: the highest p95 was 0.500 s, the most errors 1.0 %"
        );
    }

    /// Nobody listens on port 1.
    #[test]
    fn without_prometheus_the_load_does_not_go_on() {
        let patrol = Patrol {
            prometheus: Api {
                address: SocketAddr::from(([127, 0, 0, 1], 1)),
            },
            queries: Queries::new(None, 30),
            limits: Limits::default(),
            every: Duration::from_millis(1),
            patience: Duration::from_secs(1),
        };
        let outcome = patrol.run(|| false);
        assert!(matches!(outcome.end, End::Blind(_)), "{outcome}");
        assert_eq!(patrol.run(|| true).end, End::Ended);
    }
}
