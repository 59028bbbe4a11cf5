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
    routes::{self, Shown, is_new},
};
use crate::{
    config::Profile,
    observe::{
        identity::Identity,
        ledger::{Labels, Series, Snapshot},
        traced::WallClock,
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
#[derive(Clone, Copy, Debug)]
struct Sums {
    requests: u64,
    /// By duration: see [`SeriesValue::buckets`].
    buckets: [u64; BOUNDS + 1],
    /// Nanoseconds.
    duration: u64,
    request_bytes: u64,
    response_bytes: u64,
    /// When the first of them was counted, by the monotonic clock, in nanoseconds.
    born: u64,
}

/// Requests by the labels of a family.
struct Table<'a, const N: usize> {
    names: [&'static str; N],
    clock: WallClock,
    shown: Shown,
    rows: BTreeMap<Key<'a, N>, Sums>,
}

/// The families of the requests, as a profile names them. Vigie's own are made elsewhere: this gives none.
pub fn families<'a>(profile: Profile, snapshot: &'a Snapshot, latency: &Latency, shown: Shown) -> Vec<Family<'a>> {
    match profile {
        Profile::Vigie => Vec::new(),
        Profile::Fastapi => fastapi::families(snapshot, latency, shown),
        Profile::Express => express::families(snapshot, latency, shown),
        Profile::Otel => otel::families(snapshot, latency, shown),
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
        self.histogram(labels, &sums.buckets, sums.duration)
    }

    /// A histogram of the kernel's buckets, and of the sum of the durations in nanoseconds.
    pub fn histogram<'a>(&self, labels: LabelSet<'a>, buckets: &[u64], sum: u64) -> Metric<'a> {
        // The kernel side counts above the last bound wherever no bound is in use.
        let (below, above) = buckets.split_at(self.seconds.len());
        let counts: Vec<u64> = below.iter().copied().chain([above.iter().sum()]).collect();
        histogram(labels, &self.bounds, counts, sum as f64 / NANOSECONDS)
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
    /// None that were born at this time.
    fn new(born: u64) -> Self {
        Self {
            requests: 0,
            buckets: [0; BOUNDS + 1],
            duration: 0,
            request_bytes: 0,
            response_bytes: 0,
            born,
        }
    }

    fn add(
        &mut self,
        Series {
            value,
            streams: _,
            born,
        }: &Series,
    ) {
        let SeriesValue {
            buckets,
            phases,
            request_bytes,
            response_bytes,
            native: _,
        } = value;
        self.born = self.born.min(*born);
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
    fn new(names: [&'static str; N], snapshot: &Snapshot, shown: Shown) -> Self {
        Self {
            names,
            clock: snapshot.clock,
            shown,
            rows: BTreeMap::new(),
        }
    }

    /// Adds requests of a series to those with the same labels.
    fn add(&mut self, labels: &'a Labels, series: &Series, values: [Cow<'a, str>; N]) {
        let key = (&*labels.identity, labels.port, values);
        let sums = self.rows.entry(key).or_insert_with(|| Sums::new(series.born));
        sums.add(series);
    }

    /// Metrics of all of them; the new ones with 0. An empty label is none.
    fn metrics(&self, metric: impl Fn(LabelSet<'a>, &Sums) -> Metric<'a>) -> Vec<Metric<'a>> {
        let rows = self.rows.iter().map(|((identity, port, values), sums)| {
            let mut all = identity_and(identity, pair("port", routes::port(*port)));
            let pairs = self.names.iter().zip(values).filter(|(_, value)| !value.is_empty());
            all.extend(pairs.map(|(name, value)| pair(name, value.clone())));
            let nothing = Sums::new(sums.born);
            let shown = match is_new(sums.born, self.shown) {
                true => &nothing,
                false => sums,
            };
            metric(all.into(), shown).created(self.clock.seconds_at(sums.born))
        });
        rows.collect()
    }
}

#[cfg(test)]
mod tests;
