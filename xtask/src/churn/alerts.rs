//! Every alert that fired, as Prometheus remembers it, and which of them were right.

use anyhow::Result;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;
use testkit::Sched;
use testkit::prometheus::{Api, Sample};

/// The one alert that the churn has to raise.
pub const DOWN: &str = "ServiceDown";
/// The alert that says that the machine has no CPU to spare. The churn itself may bring it about.
const HOST_CPU: &str = "HostCpu";
/// The share of the machine's CPU time above which it is right, at its lowest level.
const BUSY: f64 = 0.70;
/// The alert that says that requests wait for a CPU.
const WAITS: &str = "ServiceWaitsForCpu";
/// The share of the requests' time above which it is right.
const WAITING: f64 = 0.3;

/// An alert that fired.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fired {
    pub name: String,
    pub severity: String,
    pub service: String,
    pub port: String,
}

/// How an alert is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The one for the service that was killed.
    Wanted,
    /// It says what is so.
    True,
    /// It is about a program that is not the churn's.
    Foreign,
    False,
}

/// What is known of the run, to judge by.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// What the killed service's name contains.
    pub killed: &'a str,
    /// The ports of the churn's servers.
    pub ports: &'a BTreeSet<u16>,
    pub machine: Machine,
}

/// How busy the machine was, as the kernel says and not Vigie: the highest of all parts of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Machine {
    /// The share of its CPU time that was used.
    pub busy: f64,
    /// The share of the time in which the store could have run and had no CPU.
    pub waiting: f64,
}

// === impl Fired ===

impl Fired {
    /// All that fired within this time, until now.
    pub fn all(prometheus: Api, within: Duration) -> Result<BTreeSet<Self>> {
        let query = format!(
            "last_over_time(ALERTS{{alertstate=\"firing\"}}[{}s])",
            within.as_secs() + 1
        );
        Ok(prometheus.query(&query)?.iter().map(Self::of).collect())
    }

    fn of(sample: &Sample) -> Self {
        let label = |name| sample.label(name).to_owned();
        Self {
            name: label("alertname"),
            severity: label("severity"),
            service: label("service"),
            port: label("port"),
        }
    }

    /// Judges it. `is_foreign` says whether a service is none of the churn's.
    pub fn judge(&self, facts: &Facts<'_>, is_foreign: impl Fn(&str) -> bool) -> Verdict {
        let is_own_port = self.port.parse().is_ok_and(|port| facts.ports.contains(&port));
        if self.name == DOWN && self.severity == "P1" && self.service.contains(facts.killed) {
            Verdict::Wanted
        } else if self.name == HOST_CPU && facts.machine.busy > BUSY
            // The others share the store's CPUs.
            || self.name == WAITS && !is_foreign(&self.service) && facts.machine.waiting > WAITING
        {
            Verdict::True
        } else if !self.service.is_empty() && !is_own_port && is_foreign(&self.service) {
            Verdict::Foreign
        } else {
            Verdict::False
        }
    }

    /// As a person reads it.
    pub fn text(&self) -> String {
        format!("{} {} {}", self.severity, self.name, self.about())
            .trim_end()
            .to_owned()
    }

    /// What it is about.
    fn about(&self) -> String {
        [&self.service, &self.port]
            .map(String::as_str)
            .join(" ")
            .trim()
            .to_owned()
    }
}

/// How long after a moment (Unix seconds) the alert for a killed service first fired; none if it did not.
pub fn fired_after(prometheus: Api, killed: &str, moment: f64, within: Duration) -> Result<Option<f64>> {
    let query = format!(
        "min(min_over_time(timestamp(ALERTS{{alertname=\"{DOWN}\",alertstate=\"firing\",service=~\".*{killed}.*\"}})[{}s:1s]))",
        within.as_secs() + 1
    );
    Ok(prometheus.query(&query)?.first().map(|sample| sample.value - moment))
}

/// The kernel's books at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// CPU time that the machine has had, in ticks.
    all: u64,
    /// What of it nobody used.
    idle: u64,
    /// Those of a process.
    process: Sched,
}

// === impl Books ===

impl Books {
    /// The books of the machine and of a process.
    pub fn read(process: u32) -> Result<Self> {
        Ok(Self {
            process: Sched::of_process(process)?,
            ..Self::machine(&fs::read_to_string("/proc/stat")?)
        })
    }

    /// The first line of `/proc/stat` (proc_stat(5)): what a hypervisor took (steal) was used.
    fn machine(text: &str) -> Self {
        let line = text.lines().next().unwrap_or_default();
        // user, nice, system, idle, iowait, irq, softirq, steal; the guests' time after them is part of user and nice.
        let numbers = line.split_whitespace().skip(1).take(8);
        let numbers: Vec<u64> = numbers.filter_map(|number| number.parse().ok()).collect();
        Self {
            all: numbers.iter().sum(),
            idle: numbers.iter().skip(3).take(2).sum(),
            process: Sched::default(),
        }
    }

    /// How busy the machine was since then.
    pub fn since(self, before: Self) -> Machine {
        let share = |part: u64, all: u64| part as f64 / all.max(1) as f64;
        let all = self.all.saturating_sub(before.all);
        let idle = self.idle.saturating_sub(before.idle);
        let ran = self.process.ran.saturating_sub(before.process.ran);
        let waited = self.process.waited.saturating_sub(before.process.waited);
        Machine {
            busy: share(all.saturating_sub(idle), all),
            waiting: share(waited, waited + ran),
        }
    }
}

// === impl Machine ===

impl Machine {
    /// The higher one of each number.
    pub fn max(self, other: Self) -> Self {
        Self {
            busy: self.busy.max(other.busy),
            waiting: self.waiting.max(other.waiting),
        }
    }
}

/// The alerts that fired, and what is wrong with them.
pub fn judge(
    fired: &BTreeSet<Fired>,
    facts: &Facts<'_>,
    is_foreign: impl Fn(&str) -> bool,
) -> (Vec<String>, Vec<String>) {
    let mut groups: BTreeMap<(Verdict, &str, &str), Vec<&Fired>> = BTreeMap::new();
    for alert in fired {
        let key = (
            alert.judge(facts, &is_foreign),
            alert.severity.as_str(),
            alert.name.as_str(),
        );
        groups.entry(key).or_default().push(alert);
    }
    let (mut texts, mut problems) = (Vec::new(), Vec::new());
    for ((verdict, _, _), alerts) in groups {
        let Some(first) = alerts.first() else {
            continue;
        };
        let text = match alerts.len() {
            1 => first.text(),
            number => format!("{number} × {} {}, as {}", first.severity, first.name, first.about()),
        };
        texts.push(match verdict {
            Verdict::Wanted => format!("{text}: the service that was killed"),
            Verdict::True if first.name == WAITS => {
                let waiting = facts.machine.waiting * 100.0;
                format!("{text}: so it was, without a CPU for {waiting:.0} % of the time in which it could run")
            }
            Verdict::True => format!("{text}: so it was, {:.0} % busy", facts.machine.busy * 100.0),
            Verdict::Foreign => format!("{text}: of another program of the host"),
            Verdict::False => {
                problems.push(format!("fired without a reason: {text}"));
                format!("**{text}**")
            }
        });
    }
    (texts, problems)
}

#[cfg(test)]
mod tests {
    use super::super::stand::STORE;
    use super::*;

    fn fired(name: &str, severity: &str, service: &str, port: &str) -> Fired {
        Fired {
            name: name.to_owned(),
            severity: severity.to_owned(),
            service: service.to_owned(),
            port: port.to_owned(),
        }
    }

    #[test]
    fn only_the_killed_service_may_be_down() {
        let ports = BTreeSet::from([80]);
        let facts = Facts {
            killed: "victim",
            ports: &ports,
            machine: Machine {
                busy: 0.5,
                waiting: 0.2,
            },
        };
        let judge = |alert: Fired| alert.judge(&facts, |service| !service.starts_with("churn-") && service != STORE);
        assert_eq!(judge(fired(DOWN, "P1", "churn-victim", "80")), Verdict::Wanted);
        assert_eq!(judge(fired(DOWN, "P2", "churn-victim", "80")), Verdict::False);
        assert_eq!(judge(fired(DOWN, "P1", "churn-web", "80")), Verdict::False);
        assert_eq!(judge(fired(DOWN, "P1", "python3", "81")), Verdict::Foreign);
        // Whatever it is called, it is on a port of the churn's.
        assert_eq!(judge(fired(DOWN, "P1", "python3", "80")), Verdict::False);
        assert_eq!(judge(fired("VigieLosingEvents", "P2", "", "")), Verdict::False);
        assert_eq!(judge(fired(HOST_CPU, "P1", "", "")), Verdict::False);
        assert_eq!(judge(fired(WAITS, "P3", STORE, "")), Verdict::False);
        let busy = Facts {
            machine: Machine {
                busy: 0.9,
                waiting: 0.5,
            },
            ..facts.clone()
        };
        let judge = |alert: Fired| alert.judge(&busy, |_| false);
        assert_eq!(judge(fired(HOST_CPU, "P1", "", "")), Verdict::True);
        assert_eq!(judge(fired(WAITS, "P3", STORE, "")), Verdict::True);
        assert_eq!(judge(fired(WAITS, "P3", "churn-cart", "")), Verdict::True);
    }

    #[test]
    fn an_alert_is_told_with_what_it_has() {
        assert_eq!(fired(DOWN, "P1", "a", "80").text(), "P1 ServiceDown a 80");
        assert_eq!(fired(HOST_CPU, "P3", "", "").text(), "P3 HostCpu");
    }

    #[test]
    fn many_alerts_are_told_as_one() {
        let ports = BTreeSet::from([80, 81]);
        let facts = Facts {
            killed: "victim",
            ports: &ports,
            machine: Machine::default(),
        };
        let all = BTreeSet::from([
            fired(DOWN, "P1", "churn-victim", "82"),
            fired(DOWN, "P1", "churn-a", "80"),
            fired(DOWN, "P1", "churn-a", "81"),
        ]);
        let (texts, problems) = judge(&all, &facts, |_| false);
        assert_eq!(
            texts,
            [
                "P1 ServiceDown churn-victim 82: the service that was killed",
                "**2 × P1 ServiceDown, as churn-a 80**"
            ]
        );
        assert_eq!(problems, ["fired without a reason: 2 × P1 ServiceDown, as churn-a 80"]);
    }

    #[test]
    fn the_kernels_books_are_read() {
        let before = Books {
            process: Sched { ran: 100, waited: 50 },
            ..Books::machine("cpu  10 0 10 70 10 0 0 0 0 0\ncpu0 1 1 1 1\n")
        };
        let after = Books {
            process: Sched { ran: 130, waited: 120 },
            ..Books::machine("cpu  30 0 20 80 10 0 5 5 9 9\n")
        };
        assert_eq!((before.all, before.idle), (100, 80));
        let machine = after.since(before);
        assert_eq!((machine.busy, machine.waiting), (0.8, 0.7));
        assert_eq!(before.since(before), Machine::default());
        assert!(Books::read(std::process::id()).unwrap().all > 0);
    }
}
