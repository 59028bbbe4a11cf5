//! The table of a run, for a person and for `docs/reliability.md`.

use super::footprint::Footprint;
use super::plan::{Plan, STORM};
use std::time::Duration;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Report {
    pub plan: Plan,
    pub minutes: f64,
    pub shapes: usize,
    /// Requests to the store: sent, counted.
    pub store: (u64, u64),
    /// Requests to small servers: sent, counted.
    pub small: (u64, u64),
    pub begin: Footprint,
    pub end: Footprint,
    /// What was lost on the host, as a text.
    pub lost: String,
    /// The alerts that fired, with how they are judged.
    pub alerts: Vec<String>,
    /// Seconds from the kill to its alert.
    pub alert_after: Option<f64>,
}

// === impl Report ===

impl Report {
    /// As Markdown.
    pub fn markdown(&self) -> String {
        let total = |number| group(self.plan.total(number));
        let mut lines = vec![
            format!(
                "{} rounds in {:.0} minutes, `--retention {}s`, a scrape every {} s.\n",
                self.plan.rounds,
                self.minutes,
                self.plan.retention.as_secs(),
                self.plan.interval
            ),
            "| what happened beside the store | how often |".to_owned(),
            "|---|---:|".to_owned(),
        ];
        let mut row = |what: &str, number: String| lines.push(format!("| {what} | {number} |"));
        row("processes that run and end", total(|round| round.processes));
        row(
            "processes that listen, never answer, and end; half of them in containers",
            total(|round| round.listeners),
        );
        row(
            &format!(
                "containers that answer 1 or 2 requests and are replaced, in {} shapes of cgroups",
                self.shapes
            ),
            total(|round| round.containers),
        );
        row(
            "process ids that return as another service's",
            total(|round| round.returns),
        );
        let execs = format!("{} × {}", self.plan.rounds, group(self.plan.round.execs.min(STORM)));
        row("a process that becomes another program, again and again", execs);
        row(
            "requests with invented paths and methods",
            total(|round| round.invented),
        );
        row(
            "rolling deployments: on the same port, in a new container on another",
            "2".to_owned(),
        );
        row(
            "`kill -9` of a service in a container, which is not replaced",
            "1".to_owned(),
        );
        lines.push(String::new());
        lines.push("| what is compared | clients, or before | Vigie, or after | |".to_owned());
        lines.push("|---|---:|---:|---|".to_owned());
        let mut row = |what: &str, before: String, after: String, verdict: String| {
            lines.push(format!("| {what} | {before} | {after} | {verdict} |"));
        };
        let equal = |(sent, counted): (u64, u64)| if sent == counted { "equal" } else { "**differs**" }.to_owned();
        row(
            "requests to the store",
            group(self.store.0),
            group(self.store.1),
            equal(self.store),
        );
        row(
            "requests to all small servers",
            group(self.small.0),
            group(self.small.1),
            equal(self.small),
        );
        let (begin, end) = (&self.begin, &self.end);
        row(
            "CPU time of a scrape",
            time(begin.cpu),
            time(end.cpu),
            ratio(begin.cpu.as_secs_f64(), end.cpu.as_secs_f64()),
        );
        row(
            "duration of a scrape",
            time(begin.wall),
            time(end.wall),
            ratio(begin.wall.as_secs_f64(), end.wall.as_secs_f64()),
        );
        row(
            "bytes of a scrape",
            group(begin.body),
            group(end.body),
            ratio(begin.body as f64, end.body as f64),
        );
        row(
            "resident memory",
            kibibytes(begin.process),
            kibibytes(end.process),
            ratio(begin.process as f64, end.process as f64),
        );
        row(
            "memory of the maps",
            kibibytes(begin.maps),
            kibibytes(end.maps),
            ratio(begin.maps as f64, end.maps as f64),
        );
        row("lost", "0".to_owned(), self.lost.clone(), String::new());
        lines.push(String::new());
        lines.push(match self.alert_after {
            Some(seconds) => {
                format!("The alert for the killed service fired {seconds:.0} s after the kill. Alerts that fired:\n")
            }
            None => "The alert for the killed service did not fire. Alerts that fired:\n".to_owned(),
        });
        if self.alerts.is_empty() {
            lines.push("- none".to_owned());
        }
        lines.extend(self.alerts.iter().map(|alert| format!("- {alert}")));
        lines.join("\n") + "\n\n"
    }
}

fn time(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

fn kibibytes(bytes: u64) -> String {
    format!("{} KiB", group(bytes / 1024))
}

fn ratio(before: f64, after: f64) -> String {
    format!("× {:.2}", after / before)
}

/// A number with a comma between groups of three digits.
fn group(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && index % 3 == first {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn numbers_are_grouped() {
        let texts = [0, 12, 123, 1234, 123_456, 1_234_567].map(group);
        assert_eq!(texts, ["0", "12", "123", "1,234", "123,456", "1,234,567"]);
    }

    #[test]
    fn a_difference_is_seen_in_the_table() {
        let footprint = Footprint {
            cpu: Duration::from_micros(1500),
            wall: Duration::from_micros(2500),
            body: 50_000,
            services: BTreeMap::new(),
            process: 20 << 20,
            maps: 10 << 20,
        };
        let mut report = Report {
            plan: Plan::FULL,
            minutes: 12.0,
            shapes: 5,
            store: (7000, 7000),
            small: (2000, 2000),
            begin: footprint.clone(),
            end: Footprint {
                body: 55_000,
                ..footprint
            },
            lost: "0".to_owned(),
            alerts: vec!["P1 ServiceDown churn-victim 80".to_owned()],
            alert_after: Some(71.4),
        };
        let text = report.markdown();
        for expected in [
            "| processes that run and end | 20,000 |",
            "| bytes of a scrape | 50,000 | 55,000 | × 1.10 |",
            "| requests to the store | 7,000 | 7,000 | equal |",
            "fired 71 s after the kill",
            "- P1 ServiceDown churn-victim 80",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
        report.small.1 = 1999;
        report.alerts.clear();
        assert!(report.markdown().contains("| 2,000 | 1,999 | **differs** |"));
        assert!(report.markdown().contains("- none"));
    }
}
