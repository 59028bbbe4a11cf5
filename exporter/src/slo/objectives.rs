//! The checked objectives.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use regex::Regex;
use serde_saphyr::Spanned;

use super::raw::{RawObjective, RawObjectives};
use crate::config::{
    self, Buckets, Config, ConfigError,
    error::Place,
    text::{one_line, quoted},
};

const DEFAULT_PERIOD_DAYS: u32 = 30;
/// Shorter, and the slowest alert would fire at a rate that the budget outlasts; longer, and the fastest could not fire.
const PERIOD_DAYS: std::ops::RangeInclusive<u32> = 28..=92;
const DEFAULT_MIN_FAILURES: u32 = 5;
const MIN_FAILURES: std::ops::RangeInclusive<i64> = 1..=1_000_000;
const DEFAULT_RUNBOOKS: &str = "docs/runbooks";
const MAX_NAME: usize = 64;
/// Labels that tell the requests of one service apart: only the families of routes have them.
const ROUTE_LABELS: [&str; 3] = ["handler", "method", "port"];
/// The classes of statuses, as the label `class` has them, from 100 on.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// Labels that the rules set themselves.
const OWN_LABELS: [&str; 9] = [
    "__name__",
    "category",
    "le",
    "service",
    "severity",
    "sloth_id",
    "sloth_service",
    "sloth_slo",
    "sloth_window",
];

/// All that a file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Objectives {
    /// How long an error budget has to last.
    pub(super) period_days: u32,
    /// Bad requests in an alert's long window, below which it does not fire.
    pub(super) min_failures: u32,
    /// Where the runbooks are.
    pub(super) runbooks: String,
    /// Labels that are put on every rule.
    pub(super) labels: BTreeMap<String, String>,
    pub(super) slos: Vec<Objective>,
}

/// One objective.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Objective {
    pub(super) service: String,
    pub(super) name: String,
    /// The objective in hundred-millionths: 99.9 % are 99,900,000. So its budget has no rounding in it.
    objective: u32,
    pub(super) bad: Bad,
    /// Which requests count, as PromQL between braces.
    pub(super) selector: String,
    /// The families that are asked.
    pub(super) source: Source,
    /// The namespace of the service, if the objective is about one.
    pub(super) namespace: Option<String>,
}

/// Which requests are bad.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Bad {
    /// Those answered with a status that this expression matches.
    Status(String),
    /// Those slower than this bound, as the label `le` has it.
    Slower(String),
}

/// Which of Vigie's families know what an objective asks.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Source {
    /// Those of services. `classes` are those of the bad statuses; there are none if slow requests are the bad ones.
    Services { classes: Vec<&'static str> },
    /// Those of routes: the objective is about some of a service's requests, or about statuses that are no whole classes.
    Routes,
}

// === impl Objectives ===

impl Objectives {
    /// Reads and checks a file.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, as one line.
    pub fn load(path: &Path, vigie: &Config) -> Result<Self, ConfigError> {
        let text = config::read(path, "--config")?;
        Self::parse(&text, &path.display().to_string(), vigie)
    }

    /// Checks a text; `origin` names it in errors.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, as one line.
    pub fn parse(text: &str, origin: &str, vigie: &Config) -> Result<Self, ConfigError> {
        let raw: RawObjectives = config::yaml(text, origin)?;
        Self::check(&raw, vigie).map_err(|problem| problem.of(origin))
    }

    fn check(raw: &RawObjectives, vigie: &Config) -> Result<Self, Place> {
        if raw.slos.value.is_empty() {
            return Err(Place::at(&raw.slos, "slos is empty", "give at least one objective"));
        }
        let mut slos = Vec::new();
        let mut ids = BTreeSet::new();
        for slo in &raw.slos.value {
            let objective = check_objective(&slo.value, vigie)?;
            if !ids.insert(objective.id()) {
                let problem = format!("a second objective {}", quoted(&objective.id()));
                return Err(Place::at(
                    &slo.value.name,
                    &problem,
                    "give each of a service's another name",
                ));
            }
            slos.push(objective);
        }
        let min_failures = match &raw.min_failures {
            None => DEFAULT_MIN_FAILURES,
            Some(number) => u32::try_from(number.value)
                .ok()
                .filter(|_| MIN_FAILURES.contains(&number.value))
                .ok_or_else(|| Place::at(number, "min_failures is out of range", "use 1 to 1000000"))?,
        };
        Ok(Self {
            period_days: raw.period.as_ref().map_or(Ok(DEFAULT_PERIOD_DAYS), check_period)?,
            min_failures,
            runbooks: raw.runbooks.as_ref().map_or_else(
                || DEFAULT_RUNBOOKS.to_owned(),
                |place| place.value.trim_end_matches('/').to_owned(),
            ),
            labels: check_labels(raw.labels.as_ref())?,
            slos,
        })
    }
}

// === impl Objective ===

impl Objective {
    /// Sloth's name of it.
    pub(super) fn id(&self) -> String {
        format!("{}-{}", self.service, self.name)
    }

    /// The objective, from 0 to 1.
    pub(super) fn ratio(&self) -> f64 {
        f64::from(self.objective) / 1e8
    }

    /// The objective in percent.
    pub(super) fn percent(&self) -> f64 {
        f64::from(self.objective) / 1e6
    }

    /// The share of bad requests that is allowed.
    pub(super) fn budget(&self) -> f64 {
        f64::from(100_000_000 - self.objective) / 1e8
    }
}

fn check_period(period: &Spanned<String>) -> Result<u32, Place> {
    let days = period.value.strip_suffix('d').and_then(|days| days.parse().ok());
    days.filter(|days| PERIOD_DAYS.contains(days)).ok_or_else(|| {
        let problem = format!("period {} is no number of days that will do", quoted(&period.value));
        Place::at(period, &problem, "use 28d to 92d, such as 30d")
    })
}

fn check_objective(raw: &RawObjective, vigie: &Config) -> Result<Objective, Place> {
    let bad = match (&raw.errors, &raw.faster_than) {
        (Some(errors), None) => Bad::Status(check_regex(errors, "errors")?),
        (None, Some(threshold)) => Bad::Slower(check_threshold(threshold, &vigie.buckets)?),
        (Some(_), Some(both)) => {
            let hint = "make two objectives of it";
            return Err(Place::at(both, "an objective with both errors and faster_than", hint));
        }
        (None, None) => {
            let problem = format!("objective {} does not say what is bad", quoted(&raw.name.value));
            let hint = "add errors: '5..', or faster_than: 2s";
            return Err(Place::at(&raw.name, &problem, hint));
        }
    };
    let service = check_name(&raw.service, "service", |_| true)?;
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    Ok(Objective {
        name: check_name(&raw.name, "name", is_plain)?,
        objective: check_percent(&raw.objective)?,
        selector: selector(vigie.service_label, &service, raw.matching.as_ref())?,
        source: source(&bad, raw.matching.as_ref()),
        namespace: namespace(raw.matching.as_ref()),
        service,
        bad,
    })
}

/// The families of services, if they know what is asked.
fn source(bad: &Bad, matching: Option<&BTreeMap<String, Spanned<String>>>) -> Source {
    let is_of_routes = |label: &String| ROUTE_LABELS.contains(&label.as_str());
    if matching.is_some_and(|labels| labels.keys().any(is_of_routes)) {
        return Source::Routes;
    }
    match bad {
        Bad::Status(pattern) => classes(pattern).map_or(Source::Routes, |classes| Source::Services { classes }),
        Bad::Slower(_) => Source::Services { classes: Vec::new() },
    }
}

/// The classes of which a pattern matches all statuses, if it matches no others, and at least one.
fn classes(pattern: &str) -> Option<Vec<&'static str>> {
    // Prometheus anchors a pattern at both ends.
    let regex = Regex::new(&format!("^(?s:{pattern})$")).ok()?;
    let mut whole = Vec::new();
    for (name, first) in CLASSES.into_iter().zip((100..).step_by(100)) {
        let count = (first..first + 100_u32)
            .filter(|status| regex.is_match(&status.to_string()))
            .count();
        match count {
            100 => whole.push(name),
            0 => {}
            _ => return None,
        }
    }
    (!whole.is_empty()).then_some(whole)
}

/// The namespace, if the pattern is a name of one (RFC 1123: letters, digits and '-'), and matches nothing else.
fn namespace(matching: Option<&BTreeMap<String, Spanned<String>>>) -> Option<String> {
    let pattern = &matching?.get("namespace")?.value;
    let is_name = |character: char| character.is_ascii_alphanumeric() || character == '-';
    pattern.chars().all(is_name).then(|| pattern.clone())
}

fn check_name(name: &Spanned<String>, what: &str, is_allowed: fn(char) -> bool) -> Result<String, Place> {
    let is_right = |text: &str| (1..=MAX_NAME).contains(&text.chars().count()) && !text.contains(char::is_control);
    if is_right(&name.value) && name.value.chars().all(is_allowed) {
        return Ok(name.value.clone());
    }
    let hint = match what {
        "name" => "use 1 to 64 letters, digits, '-', '_' and '.'",
        _ => "use 1 to 64 printable characters",
    };
    Err(Place::at(name, &format!("bad {what} {}", quoted(&name.value)), hint))
}

fn check_percent(objective: &Spanned<f64>) -> Result<u32, Place> {
    let refuse = |problem: &str, hint: &str| {
        let problem = format!("objective {} {problem}", objective.value);
        Err(Place::at(objective, &problem, hint))
    };
    let millionths = objective.value * 1e6;
    if !(millionths > 0.0 && objective.value < 100.0) {
        return refuse("is not between 0 and 100", "give a percentage such as 99.9");
    }
    let rounded = millionths.round();
    if (millionths - rounded).abs() > 1e-3 || !(1.0..1e8).contains(&rounded) {
        return refuse("is too exact", "use at most 6 decimals");
    }
    Ok(rounded as u32)
}

fn check_regex(pattern: &Spanned<String>, what: &str) -> Result<String, Place> {
    if pattern.value.is_empty() {
        return Err(Place::at(
            pattern,
            &format!("{what} is empty"),
            "give a regular expression",
        ));
    }
    // Prometheus uses RE2's syntax, as this crate does but for what hardly anybody writes.
    Regex::new(&pattern.value).map_err(|error| {
        let text = error.to_string();
        let reason = text.rsplit_once("error: ").map_or(text.as_str(), |(_, last)| last);
        let problem = format!("bad regex {}, {}", quoted(&pattern.value), one_line(reason));
        Place::at(pattern, &problem, "fix it, or escape the special characters with '\\'")
    })?;
    Ok(pattern.value.clone())
}

/// A threshold must be a bound of the histogram: only there is it known how many requests were faster.
fn check_threshold(threshold: &Spanned<String>, buckets: &Buckets) -> Result<String, Place> {
    let text = threshold.value.as_str();
    let seconds = match text.strip_suffix("ms") {
        Some(millis) => millis.trim().parse::<f64>().map(|millis| millis / 1000.0),
        None => text.strip_suffix('s').unwrap_or(text).trim().parse(),
    };
    let Some(seconds) = seconds.ok().filter(|seconds| seconds.is_finite() && *seconds > 0.0) else {
        let problem = format!("faster_than {} is no duration", quoted(text));
        return Err(Place::at(threshold, &problem, "write it like 2s or 250ms"));
    };
    // The bounds are whole nanoseconds: compared so, 250ms is 0.25.
    let nanos = (seconds * 1e9).round();
    let found = buckets
        .seconds()
        .iter()
        .zip(buckets.nanos())
        .find(|&(_, &bound)| bound as f64 == nanos);
    if let Some((bound, _)) = found {
        return Ok(as_le(*bound));
    }
    let bounds: Vec<String> = buckets.seconds().iter().map(f64::to_string).collect();
    let problem = format!("faster_than {} is no bound of the latency buckets", quoted(text));
    let hint = format!(
        "use one of {}, or add it to buckets and give that file with --config.file",
        bounds.join(", ")
    );
    Err(Place::at(threshold, &problem, &hint))
}

/// A bound as the label `le` has it.
fn as_le(bound: f64) -> String {
    match bound.fract() == 0.0 {
        true => format!("{bound}.0"),
        false => bound.to_string(),
    }
}

fn selector(label: &str, service: &str, matching: Option<&BTreeMap<String, Spanned<String>>>) -> Result<String, Place> {
    let mut parts = Vec::new();
    if !matching.is_some_and(|labels| labels.contains_key(label)) {
        parts.push(format!("{label}=\"{}\"", escape(service)));
    }
    for (label, pattern) in matching.into_iter().flatten() {
        let is_own = ["class", "le", "status", "__name__"].contains(&label.as_str());
        if !is_label(label) || is_own {
            let problem = format!("match has a label {}", quoted(label));
            let hint = "use labels of requests, such as service, handler, method, port, namespace, job";
            return Err(Place::at(pattern, &problem, hint));
        }
        let pattern = check_regex(pattern, "match")?;
        parts.push(format!("{label}=~\"{}\"", escape(&pattern)));
    }
    Ok(parts.join(","))
}

fn check_labels(labels: Option<&BTreeMap<String, Spanned<String>>>) -> Result<BTreeMap<String, String>, Place> {
    let mut checked = BTreeMap::new();
    for (label, value) in labels.into_iter().flatten() {
        if !is_label(label) || OWN_LABELS.contains(&label.as_str()) || label.starts_with("sloth_") {
            let problem = format!("labels has a label {}", quoted(label));
            let hint = "use letters, digits and '_', and no label that the rules set themselves";
            return Err(Place::at(value, &problem, hint));
        }
        checked.insert(label.clone(), value.value.clone());
    }
    Ok(checked)
}

fn is_label(name: &str) -> bool {
    let mut characters = name.chars();
    let is_begin = |character: char| character.is_ascii_alphabetic() || character == '_';
    characters.next().is_some_and(is_begin)
        && characters.all(|character| is_begin(character) || character.is_ascii_digit())
        && !name.starts_with("__")
}

/// A text within double quotes of PromQL.
pub(super) fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests;
