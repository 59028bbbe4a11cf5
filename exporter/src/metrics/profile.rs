//! The request metrics under names that people have already: those of the libraries that measure inside of a service.
//!
//! A profile adds up Vigie's series by the labels that its library has, so that queries, alerts and dashboards which were made for that
//! library go on to work. `service` and `port` come on top: one Vigie watches many services, and a library only its own.
//!
//! What a library counts and what can be seen from outside are not always the same; `docs/profiles.md` says where.

mod express;
mod fastapi;
mod otel;

use std::{borrow::Cow, collections::BTreeMap, rc::Rc};

use vigie_ebpf::types::{BOUNDS, STATUS_ABORTED, SeriesValue};

use super::{
    families::NANOSECONDS,
    labels::identity_and,
    model::{Bounds, Family, LabelSet, Metric, histogram, pair},
    routes,
};
use crate::{
    config::Profile,
    observe::{
        identity::Identity,
        ledger::{Labels, Snapshot},
    },
};

/// What the kernel's latency buckets are.
#[derive(Debug)]
pub struct Latency {
    /// All bounds, in seconds.
    seconds: Vec<f64>,
    /// The same for histograms.
    bounds: Rc<Bounds>,
}

/// Requests, added up.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    requests: u64,
    /// By duration: see [`SeriesValue::buckets`].
    buckets: [u64; BOUNDS + 1],
    /// Nanoseconds.
    duration: u64,
    request_bytes: u64,
    response_bytes: u64,
}

/// Requests by the labels of a family.
struct Table<'a, const N: usize> {
    names: [&'static str; N],
    rows: BTreeMap<Key<'a, N>, Sums>,
}

/// The families of the requests, as a profile names them. Vigie's own are made elsewhere: this gives none.
pub fn families<'a>(profile: Profile, snapshot: &'a Snapshot, latency: &Latency) -> Vec<Family<'a>> {
    match profile {
        Profile::Vigie => Vec::new(),
        Profile::Fastapi => fastapi::families(snapshot, latency),
        Profile::Express => express::families(snapshot, latency),
        Profile::Otel => otel::families(snapshot, latency),
    }
}

/// Whether a library in the service would see it as a request at all: an upgrade leaves HTTP before it comes to a handler.
fn is_request(labels: &Labels) -> bool {
    labels.status != 101
}

fn is_aborted(labels: &Labels) -> bool {
    labels.status == STATUS_ABORTED
}

/// Requests by where they came in, and by `N` more labels.
type Key<'a, const N: usize> = (&'a Identity, u16, [Cow<'a, str>; N]);

// === impl Latency ===

impl Latency {
    /// These bounds, in seconds.
    pub fn new(seconds: &[f64]) -> Self {
        Self {
            seconds: seconds.to_vec(),
            bounds: Bounds::new(seconds.iter().copied()),
        }
    }

    /// A histogram with all of them.
    fn all<'a>(&self, labels: LabelSet<'a>, sums: &Sums) -> Metric<'a> {
        let ends = (1..=self.seconds.len()).collect::<Vec<_>>();
        histogram(labels, &self.bounds, split(&sums.buckets, &ends), sums.seconds())
    }

    /// The places behind some of them: where the bucket of each ends. A bound that is not there is left out.
    fn ends(&self, some: &[f64]) -> Vec<usize> {
        // Whole nanoseconds, which is what they are in the kernel, however they were written.
        let nanoseconds = |bound: f64| (bound * NANOSECONDS).round() as u64;
        let place = |wanted: &f64| {
            let mut bounds = self.seconds.iter();
            bounds.position(|bound| nanoseconds(*bound) == nanoseconds(*wanted))
        };
        some.iter().filter_map(place).map(|place| place + 1).collect()
    }
}

/// The counts of fewer and wider buckets, which end before these places; all the rest is the last one.
fn split(buckets: &[u64], ends: &[usize]) -> Vec<u64> {
    let mut begin = 0;
    let mut counts = Vec::with_capacity(ends.len() + 1);
    for end in ends.iter().copied().chain([buckets.len()]) {
        counts.push(buckets[begin..end].iter().sum());
        begin = end;
    }
    counts
}

// === impl Sums ===

impl Sums {
    fn add(&mut self, value: &SeriesValue) {
        let SeriesValue {
            buckets,
            phases,
            request_bytes,
            response_bytes,
            native: _,
        } = value;
        for (sum, count) in self.buckets.iter_mut().zip(buckets) {
            *sum += count;
            self.requests += count;
        }
        self.duration += phases.duration();
        self.request_bytes += request_bytes;
        self.response_bytes += response_bytes;
    }

    fn seconds(&self) -> f64 {
        self.duration as f64 / NANOSECONDS
    }
}

// === impl Table ===

impl<'a, const N: usize> Table<'a, N> {
    fn new(names: [&'static str; N]) -> Self {
        Self {
            names,
            rows: BTreeMap::new(),
        }
    }

    /// Adds requests of a series to those with the same labels.
    fn add(&mut self, series: &'a Labels, labels: [Cow<'a, str>; N], value: &SeriesValue) {
        let key = (&*series.identity, series.port, labels);
        self.rows.entry(key).or_default().add(value);
    }

    /// Metrics of all of them. An empty label is none.
    fn metrics(&self, metric: impl Fn(LabelSet<'a>, &Sums) -> Metric<'a>) -> Vec<Metric<'a>> {
        let rows = self.rows.iter().map(|((identity, port, values), sums)| {
            let mut all = identity_and(identity, pair("port", routes::port(*port)));
            let pairs = self.names.iter().zip(values).filter(|(_, value)| !value.is_empty());
            all.extend(pairs.map(|(name, value)| pair(name, value.clone())));
            metric(all.into(), sums)
        });
        rows.collect()
    }
}

#[cfg(test)]
mod tests;
