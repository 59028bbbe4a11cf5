//! The rules of objectives, with the names and labels that Sloth gives to its own: so dashboards for Sloth show them.
//!
//! One thing is better than there: the error budget of the period is that of requests, not of time. Sloth takes the mean of
//! the error ratio of each moment, in which a bad minute at night weighs as much as one at noon. Here the numbers of bad and of all
//! requests are recorded and added up.

use super::{
    objectives::{Bad, Objective, Objectives},
    queries,
    windows::{self, Pair},
    yaml::{self, Group, Kind, Rule},
};

const COMMENT: [&str; 2] = [
    "Written by `vigie slo generate`: change the file of the objectives instead.",
    "Names and labels are those of Sloth (https://sloth.dev), so its dashboards show them, too.",
];
const ALERT: &str = "SloBudgetBurn";

/// The rules of all objectives, as a file for Prometheus.
pub fn text(objectives: &Objectives) -> String {
    let groups: Vec<Group> = objectives
        .slos
        .iter()
        .flat_map(|slo| Maker { objectives, slo }.groups())
        .collect();
    yaml::write(&COMMENT, &groups)
}

/// Makes the rules of one objective.
struct Maker<'a> {
    objectives: &'a Objectives,
    slo: &'a Objective,
}

// === impl Maker ===

impl Maker<'_> {
    fn groups(&self) -> [Group; 3] {
        let group = |kind: &str, rules| Group {
            name: format!("vigie-slo-{kind}-{}", self.slo.id()),
            rules,
        };
        [
            group("sli", self.indicators()),
            group("meta", self.meta()),
            group("alerts", self.alerts()),
        ]
    }

    fn indicators(&self) -> Vec<Rule> {
        let mut rules: Vec<Rule> = windows::ALL
            .iter()
            .map(|window| {
                let name = format!("slo:sli_error:ratio_rate{window}");
                self.record(&name, queries::ratio(self.slo, window), &[("sloth_window", window)])
            })
            .collect();
        rules.push(self.record("slo:sli_bad:rate5m", queries::bad_or_zero(self.slo, "5m"), &[]));
        rules.push(self.record("slo:sli_all:rate5m", queries::all(self.slo, "rate", "5m"), &[]));
        rules
    }

    fn meta(&self) -> Vec<Rule> {
        let days = self.objectives.period_days;
        let period = format!("{days}d");
        let matching = self.matching();
        let number = |value: f64| format!("vector({value})");
        let over = |name: &str| format!("sum_over_time({name}{matching}[{period}])");
        let of_budget = |name: &str| {
            format!(
                "{name}{matching}\n/ on (sloth_id, sloth_service, sloth_slo) group_left ()\nslo:error_budget:ratio{matching}"
            )
        };
        let error_ratio = format!("slo:sli_error:ratio_rate{period}");
        vec![
            self.record("slo:objective:ratio", number(self.slo.ratio()), &[]),
            self.record("slo:error_budget:ratio", number(self.slo.budget()), &[]),
            self.record("slo:time_period:days", number(f64::from(days)), &[]),
            self.record(
                "slo:current_burn_rate:ratio",
                of_budget("slo:sli_error:ratio_rate5m"),
                &[],
            ),
            self.record(
                &error_ratio,
                format!(
                    "{}\n/\n({} > 0)",
                    over("slo:sli_bad:rate5m"),
                    over("slo:sli_all:rate5m")
                ),
                &[("sloth_window", &period)],
            ),
            self.record("slo:period_burn_rate:ratio", of_budget(&error_ratio), &[]),
            self.record(
                "slo:period_error_budget_remaining:ratio",
                format!("1 - slo:period_burn_rate:ratio{matching}"),
                &[],
            ),
            self.record(
                "sloth_slo_info",
                number(1.0),
                &[
                    ("sloth_mode", "vigie"),
                    ("sloth_objective", &self.slo.percent().to_string()),
                    ("sloth_spec", "vigie"),
                    ("sloth_version", env!("CARGO_PKG_VERSION")),
                ],
            ),
        ]
    }

    fn alerts(&self) -> Vec<Rule> {
        let page = self.alert("page", "P1", &windows::PAGE);
        let ticket = self.alert("ticket", "P3", &windows::TICKET);
        page.into_iter().chain(ticket).collect()
    }

    /// None if no error ratio would be high enough for it, as it is for objectives of a few percent.
    fn alert(&self, kind: &str, severity: &str, pairs: &[Pair; 2]) -> Option<Rule> {
        let pairs: Vec<Pair> = pairs.iter().copied().filter(|&pair| self.can_fire(pair)).collect();
        if pairs.is_empty() {
            return None;
        }
        let conditions: Vec<String> = pairs.iter().map(|&pair| self.condition(pair)).collect();
        let factors: Vec<String> = pairs
            .iter()
            .map(|pair| format!("{} times over {} and {}", self.factor(*pair), pair.long, pair.short))
            .collect();
        let category = match self.slo.bad {
            Bad::Status(_) => "errors",
            Bad::Slower(_) => "latency",
        };
        let mut labels = self.labels(&[]);
        let own = [
            ("category", category),
            ("service", self.slo.service.as_str()),
            ("severity", severity),
            ("sloth_severity", kind),
        ];
        // By `service` and `namespace` Alertmanager knows which alerts are about the same service.
        let is_given = self.objectives.labels.contains_key("namespace");
        let namespace = self.slo.namespace.as_ref().filter(|_| !is_given);
        let namespace = namespace.map(|name| ("namespace", name.as_str()));
        labels.extend(
            own.into_iter()
                .chain(namespace)
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let (service, name) = (&self.slo.service, &self.slo.name);
        let what = match &self.slo.bad {
            Bad::Status(pattern) => format!("were answered with {pattern}"),
            Bad::Slower(bound) => format!("took longer than {} s", bound.trim_end_matches(".0")),
        };
        Some(Rule {
            kind: Kind::Alert,
            name: ALERT.to_owned(),
            // Without the window: an alert stays the same when one pair takes over from the other.
            expression: format!(
                "max without (sloth_window) (\n{}\n)",
                conditions.join("\nor ignoring (sloth_window)\n")
            ),
            labels,
            annotations: vec![
                (
                    "summary",
                    format!(
                        "{} burns the error budget of its objective {} too fast",
                        plain(service),
                        plain(name)
                    ),
                ),
                (
                    "description",
                    format!(
                        "{{{{ $value | humanizePercentage }}}} of the requests to {} {}, where {} % of {} days are allowed. The budget burns \
                         faster than evenly by {}.",
                        plain(service),
                        plain(&what),
                        shown(self.slo.budget() * 100.0),
                        self.objectives.period_days,
                        factors.join(", or ")
                    ),
                ),
                ("runbook_url", format!("{}/{ALERT}.md", self.objectives.runbooks)),
            ],
        })
    }

    /// Both windows burn, and not for the sake of a handful of requests.
    fn condition(&self, pair: Pair) -> String {
        let matching = self.matching();
        let above = |window: &str| {
            format!(
                "slo:sli_error:ratio_rate{window}{matching} > ({} * {})",
                self.factor(pair),
                self.slo.budget()
            )
        };
        format!(
            "(\n  {}\n  and ignoring (sloth_window)\n  {}\n  and on ()\n  {} >= {}\n)",
            above(pair.short),
            above(pair.long),
            queries::bad(self.slo, "increase", pair.long),
            self.objectives.min_failures
        )
    }

    fn factor(&self, pair: Pair) -> f64 {
        pair.factor(self.objectives.period_days)
    }

    /// An error ratio is 1 at the most.
    fn can_fire(&self, pair: Pair) -> bool {
        self.factor(pair) * self.slo.budget() < 1.0
    }

    fn record(&self, name: &str, expression: String, more: &[(&str, &str)]) -> Rule {
        Rule {
            kind: Kind::Record,
            name: name.to_owned(),
            expression,
            labels: self.labels(more),
            annotations: Vec::new(),
        }
    }

    fn labels(&self, more: &[(&str, &str)]) -> Vec<(String, String)> {
        let id = self.slo.id();
        let own = [
            ("sloth_id", id.as_str()),
            ("sloth_service", &self.slo.service),
            ("sloth_slo", &self.slo.name),
        ];
        let given = self.objectives.labels.iter();
        let given = given.map(|(name, value)| (name.as_str(), value.as_str()));
        let mut labels: Vec<(String, String)> = own
            .into_iter()
            .chain(more.iter().copied())
            .chain(given)
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        labels.sort();
        labels
    }

    fn matching(&self) -> String {
        format!("{{sloth_id=\"{}\"}}", super::objectives::escape(&self.slo.id()))
    }
}

/// A text that Prometheus' templates leave as it is.
fn plain(text: &str) -> String {
    text.replace("{{", "{ {")
}

/// A percentage without the noise of binary fractions.
fn shown(percent: f64) -> String {
    let text = format!("{percent:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests;
