//! A strict reader of the Prometheus text format 0.0.4, with the queries that tests ask.

mod check;
mod parse;
mod quantile;

use crate::Counts;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use thiserror::Error;

/// Label name to value.
pub type Labels = BTreeMap<String, String>;

/// The counter that [`Scrape::requests`] reads.
pub const REQUESTS: &str = "http_requests_total";
/// The histogram of request durations, in seconds.
pub const DURATION: &str = "http_request_duration_seconds";
/// The counter that [`Scrape::phases`] reads.
const PHASES: &str = "http_request_phase_seconds_total";
/// The gauge that [`Scrape::in_flight`] reads.
const IN_FLIGHT: &str = "http_requests_in_flight";
/// The counter that [`Scrape::aborted`] reads.
const ABORTED: &str = "http_requests_aborted_total";
/// The counter that [`Scrape::lost`] reads.
const LOST: &str = "vigie_lost_total";

/// What is wrong with a text, and where.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("line {line}: {problem}")]
pub struct ParseError {
    /// From 1. For a problem of a whole family, the line of its TYPE.
    pub line: usize,
    pub problem: String,
}

/// Several samples match where one was asked for.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{matches} samples of {name} match")]
pub struct Ambiguous {
    pub name: String,
    pub matches: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
    Summary,
    Untyped,
}

/// A family: what `# HELP` and `# TYPE` say. Its samples are in [`Scrape::samples`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    pub name: String,
    pub kind: Kind,
    /// Empty if there is no HELP line.
    pub help: String,
    line: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// As written: with `_bucket`, `_sum` or `_count` for a histogram.
    pub name: String,
    pub labels: Labels,
    pub value: f64,
}

impl Sample {
    /// Whether it has all these labels, and perhaps others. An absent label equals the empty string.
    fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels
            .iter()
            .all(|(name, value)| self.labels.get(*name).map_or("", String::as_str) == *value)
    }
}

/// A parsed and checked exposition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scrape {
    families: Vec<Family>,
    samples: Vec<Sample>,
}

impl Scrape {
    /// Parses a whole exposition. Besides bad syntax it refuses: a sample without a TYPE before it, a sample
    /// twice, a family in several pieces, a counter below 0, and a histogram whose buckets are unordered,
    /// not cumulative, without +Inf or at odds with `_count`.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let scrape = parse::parse(text)?;
        check::histograms(&scrape)?;
        Ok(scrape)
    }

    /// The families, in the order of the text.
    pub fn families(&self) -> &[Family] {
        &self.families
    }

    /// The family of that name.
    pub fn family(&self, name: &str) -> Option<&Family> {
        self.families.iter().find(|family| family.name == name)
    }

    /// All samples of all names, in the order of the text.
    pub fn every(&self) -> impl Iterator<Item = &Sample> {
        self.samples.iter()
    }

    /// All samples of that name, in the order of the text.
    pub fn samples<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| sample.name == name)
    }

    /// The value of the one sample with these labels (it may have others); `None` if there is none.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Result<Option<f64>, Ambiguous> {
        let values: Vec<f64> = self.matching(name, labels).map(|sample| sample.value).collect();
        match values[..] {
            [] => Ok(None),
            [value] => Ok(Some(value)),
            _ => Err(Ambiguous {
                name: name.to_owned(),
                matches: values.len(),
            }),
        }
    }

    /// The values of all samples with these labels, added up; 0 if there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        // Not Iterator::sum: without samples it gives -0.
        self.matching(name, labels).fold(0.0, |sum, sample| sum + sample.value)
    }

    /// The requests counted for the service on a port.
    pub fn requests(&self, port: impl Display) -> Counts {
        self.counts(REQUESTS, &[("port", &port.to_string())])
    }

    /// The durations observed for the service on a port.
    pub fn durations(&self, port: impl Display) -> Counts {
        self.counts(&format!("{DURATION}_count"), &[("port", &port.to_string())])
    }

    /// What the samples with these labels count. A status label that is no number counts as 0, which no correct exporter
    /// gives.
    pub fn counts(&self, name: &str, labels: &[(&str, &str)]) -> Counts {
        let mut counts = Counts::new();
        for sample in self.matching(name, labels) {
            let label = |name: &str| sample.labels.get(name).cloned().unwrap_or_default();
            let status = label("status").parse().unwrap_or(0);
            *counts.entry((label("handler"), label("method"), status)).or_default() += sample.value as u64;
        }
        counts
    }

    /// The requests with these labels that got no answer, by handler and method.
    pub fn aborted(&self, labels: &[(&str, &str)]) -> BTreeMap<(String, String), u64> {
        let mut counts = BTreeMap::new();
        for sample in self.matching(ABORTED, labels) {
            let label = |name: &str| sample.labels.get(name).cloned().unwrap_or_default();
            *counts.entry((label("handler"), label("method"))).or_default() += sample.value as u64;
        }
        counts
    }

    /// Where the time of the requests with these labels went, in seconds by phase.
    pub fn phases(&self, labels: &[(&str, &str)]) -> BTreeMap<String, f64> {
        let mut phases = BTreeMap::new();
        for sample in self.matching(PHASES, labels) {
            let phase = sample.labels.get("phase").cloned().unwrap_or_default();
            *phases.entry(phase).or_default() += sample.value;
        }
        phases
    }

    /// The phases of the requests with these labels and the sum of their durations, in seconds, if they differ by more than
    /// floats do.
    pub fn phases_not_adding_up(&self, labels: &[(&str, &str)]) -> Option<(f64, f64)> {
        let phases: f64 = self.phases(labels).values().sum();
        let durations = self.sum(&format!("{DURATION}_sum"), labels);
        ((phases - durations).abs() > 1e-6).then_some((phases, durations))
    }

    /// The requests in flight of the service that has handled requests on a port.
    pub fn in_flight(&self, port: impl Display) -> f64 {
        let port = port.to_string();
        let labels = [("port", port.as_str())];
        let services: BTreeSet<&str> = self
            .matching(REQUESTS, &labels)
            .filter_map(|sample| sample.labels.get("service").map(String::as_str))
            .collect();
        let counts = services
            .iter()
            .map(|service| self.sum(IN_FLIGHT, &[("service", service)]));
        counts.fold(0.0, |sum, count| sum + count)
    }

    /// What was lost on the whole host, by reason. What is 0 is not there.
    pub fn lost(&self) -> BTreeMap<&str, f64> {
        let lost = self.samples(LOST).filter(|sample| sample.value != 0.0);
        lost.map(|sample| (sample.labels.get("reason").map_or("", String::as_str), sample.value))
            .collect()
    }

    /// The same as a text; "0" if nothing was lost.
    pub fn lost_text(&self) -> String {
        let lost = self.lost();
        let parts: Vec<String> = lost.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        if parts.is_empty() {
            "0".to_owned()
        } else {
            parts.join(", ")
        }
    }

    /// A quantile of the histogram `name` (without suffix), summed over all series with these labels, as
    /// `histogram_quantile(q, sum by (le) (…))` gives it; `None` where that is NaN, as without observations.
    pub fn quantile(&self, name: &str, labels: &[(&str, &str)], q: f64) -> Option<f64> {
        let buckets = quantile::summed(self.matching(&format!("{name}_bucket"), labels));
        quantile::of_buckets(&buckets, q)
    }

    fn matching<'a>(&'a self, name: &'a str, labels: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = &'a Sample> {
        self.samples(name).filter(move |sample| sample.has(labels))
    }
}

#[cfg(test)]
mod tests;
