//! What was seen so far.

use std::{
    collections::{BTreeMap, VecDeque},
    time::SystemTime,
};

use crate::view::{
    interval::Interval,
    scrape::Scrape,
    work::{Route, Work},
};

/// How many intervals the small plots show.
const HISTORY: usize = 120;

/// What was seen since the first scrape.
#[derive(Clone, Debug, Default)]
pub struct Data {
    last: Option<Scrape>,
    /// When the first scrape was.
    pub since: Option<SystemTime>,
    /// The last interval.
    pub interval: Option<Interval>,
    /// All requests since the first scrape: answers by status, and aborts.
    pub totals: BTreeMap<Route, Totals>,
    /// What was lost since then, by reason.
    pub lost: BTreeMap<String, f64>,
    /// The latest points of each route, the newest last.
    history: BTreeMap<Route, VecDeque<Point>>,
}

/// Requests of a route.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Answers by status.
    pub statuses: BTreeMap<u16, f64>,
    /// Requests without one.
    pub aborted: f64,
}

/// A point of the small plots.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// Requests in a second.
    pub rate: f32,
    /// The 95th percentile of their durations, in seconds.
    pub p95: f32,
}

// === impl Data ===

impl Data {
    /// Takes a scrape.
    pub fn take(&mut self, scrape: Scrape) {
        match &self.last {
            None => self.since = Some(scrape.clock),
            Some(last) => {
                let interval = Interval::between(last, &scrape);
                for (route, work) in &interval.routes {
                    self.count(route, work, interval.seconds);
                }
                for (reason, count) in &interval.lost {
                    *self.lost.entry(reason.clone()).or_default() += count;
                }
                self.interval = Some(interval);
            }
        }
        self.last = Some(scrape);
    }

    fn count(&mut self, route: &Route, work: &Work, seconds: f64) {
        let history = self.history.entry(route.clone()).or_default();
        if history.len() == HISTORY {
            history.pop_front();
        }
        history.push_back(Point {
            rate: (work.requests() / seconds) as f32,
            p95: work.durations().quantile(0.95).value().unwrap_or(0.0) as f32,
        });
        if work.requests() > 0.0 {
            let totals = self.totals.entry(route.clone()).or_default();
            for (status, answers) in &work.statuses {
                *totals.statuses.entry(*status).or_default() += answers.count;
            }
            totals.aborted += work.aborted;
        }
    }

    /// The latest points of the routes that fit, added up: rates as they are, quantiles by their largest.
    pub fn history(&self, fits: impl Fn(&Route) -> bool) -> Vec<Point> {
        let mut sum = vec![Point::default(); HISTORY];
        for (_, points) in self.history.iter().filter(|(route, _)| fits(route)) {
            for (sum, point) in sum.iter_mut().rev().zip(points.iter().rev()) {
                sum.rate += point.rate;
                sum.p95 = sum.p95.max(point.p95);
            }
        }
        sum
    }
}

// === impl Totals ===

impl Totals {
    /// All requests.
    pub fn requests(&self) -> f64 {
        self.statuses.values().fold(self.aborted, |sum, count| sum + count)
    }
}
