//! What was seen in a while.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use crate::view::{
    interval::{Interval, Service},
    scrape::Scrape,
    work::{Route, Work},
};

/// Everything from the first scrape to the last.
#[derive(Clone, Debug)]
pub struct Record {
    /// When the first scrape was.
    pub begin: SystemTime,
    /// What happened from each scrape to the next.
    pub intervals: Vec<Interval>,
    /// The version of the Vigie that watched.
    pub version: String,
    /// Scrapes that could not be had.
    pub missed: usize,
    last: Scrape,
}

// === impl Record ===

impl Record {
    /// Begins with a scrape.
    pub fn new(first: Scrape) -> Self {
        Self {
            begin: first.clock,
            intervals: Vec::new(),
            version: first.version().unwrap_or_default(),
            missed: 0,
            last: first,
        }
    }

    /// Takes the next scrape.
    pub fn take(&mut self, scrape: Scrape) {
        let mut interval = Interval::between(&self.last, &scrape);
        // Most routes of a large host are idle most of the time.
        interval.routes.retain(|_, work| {
            work.requests() > 0.0 || work.phases.is_some_and(|seconds| seconds.iter().sum::<f64>() > 0.0)
        });
        self.intervals.push(interval);
        self.last = scrape;
    }

    /// When the last scrape was.
    pub fn end(&self) -> SystemTime {
        self.intervals.last().map_or(self.begin, |interval| interval.end)
    }

    /// From the first scrape to the last, in seconds.
    pub fn seconds(&self) -> f64 {
        self.intervals.iter().map(|interval| interval.seconds).sum()
    }

    /// All requests of each route.
    pub fn routes(&self) -> BTreeMap<&Route, Work> {
        let mut routes: BTreeMap<&Route, Work> = BTreeMap::new();
        for (route, work) in self.intervals.iter().flat_map(|interval| &interval.routes) {
            routes.entry(route).or_default().add(work);
        }
        routes
    }

    /// The services, by name.
    pub fn services(&self) -> BTreeSet<&str> {
        let services = self.intervals.iter().flat_map(|interval| interval.services.keys());
        services.map(String::as_str).collect()
    }

    /// What was lost, by reason; what is 0 is not there.
    pub fn lost(&self) -> BTreeMap<&str, f64> {
        let mut lost: BTreeMap<&str, f64> = BTreeMap::new();
        for (reason, count) in self.intervals.iter().flat_map(|interval| &interval.lost) {
            *lost.entry(reason).or_default() += count;
        }
        lost.retain(|_, count| *count > 0.0);
        lost
    }

    /// Whether another Vigie went on within this time.
    pub fn has_restarted(&self) -> bool {
        self.intervals.iter().any(|interval| interval.is_restart)
    }

    /// A number of each interval.
    pub fn each(&self, value: impl Fn(&Interval) -> Option<f64>) -> Vec<Option<f64>> {
        self.intervals.iter().map(value).collect()
    }

    /// A number of a service in each interval.
    pub fn each_of(&self, service: &str, value: impl Fn(&Service, &Interval) -> Option<f64>) -> Vec<Option<f64>> {
        self.each(|interval| value(interval.services.get(service)?, interval))
    }
}
