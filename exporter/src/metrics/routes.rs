//! Request series, grouped by route.

use std::sync::LazyLock;

use vigie_ebpf::{
    native::Native,
    phases::Phases,
    types::{STATUS_ABORTED, SeriesValue},
};

use super::model::{LabelSet, pair};
use crate::observe::ledger::{Example, Labels, Snapshot};

/// All requests of one service, port, handler and method.
#[derive(Debug)]
pub struct Route<'a> {
    /// The labels of its first series.
    pub series: &'a Labels,
    /// What its metrics have in common: service, port, method and handler.
    pub labels: LabelSet<'a>,
    /// What was answered, by status.
    pub answered: Vec<Answered<'a>>,
    /// What was not.
    pub aborted: Option<&'a SeriesValue>,
    /// Whether its requests last as long as their clients like.
    pub is_long_lived: bool,
}

/// What was answered with one status.
#[derive(Debug)]
pub struct Answered<'a> {
    /// The status.
    pub status: u16,
    /// What was added up.
    pub value: &'a SeriesValue,
    /// How many of them are streams of events, which have no durations. They are in the first bucket.
    pub streams: u64,
    /// The durations in native buckets, where that was asked for.
    pub native: Option<&'a Native>,
    /// Some of the requests, where that was asked for.
    pub exemplars: &'a [Example],
}

/// The texts of status codes, so that none is made for each series.
static STATUSES: LazyLock<Vec<String>> = LazyLock::new(|| (0..1000).map(|status: u16| status.to_string()).collect());

/// All routes, in the order of their labels.
pub fn routes(snapshot: &Snapshot) -> Vec<Route<'_>> {
    let mut routes = Vec::<Route<'_>>::new();
    for (series, value) in &snapshot.requests {
        // They are sorted by what makes a route before the status.
        if !routes.last().is_some_and(|route| route.has(series)) {
            routes.push(Route::new(series, snapshot.is_long_lived(series)));
        }
        if let Some(route) = routes.last_mut() {
            match series.status {
                STATUS_ABORTED => route.aborted = Some(value),
                status => route.answered.push(Answered {
                    status,
                    value,
                    streams: snapshot.streams(series),
                    native: snapshot.native.get(series).map(|native| &**native),
                    exemplars: snapshot.exemplars.get(series).map_or(&[], |examples| examples),
                }),
            }
        }
    }
    routes
}

/// A port, as labels have it.
pub fn port(port: u16) -> String {
    match port {
        // A server on a unix socket has none.
        0 => "unix".to_owned(),
        port => port.to_string(),
    }
}

// === impl Route ===

impl<'a> Route<'a> {
    fn new(series: &'a Labels, is_long_lived: bool) -> Self {
        let pairs = vec![
            pair("service", &*series.service),
            pair("port", port(series.port)),
            pair("method", series.method),
            pair("handler", &*series.handler),
        ];
        Self {
            series,
            labels: pairs.into(),
            answered: Vec::new(),
            aborted: None,
            is_long_lived,
        }
    }

    fn has(&self, other: &Labels) -> bool {
        let Labels {
            service,
            port,
            handler,
            method,
            status: _,
        } = self.series;
        (service, port, handler, method) == (&other.service, &other.port, &other.handler, &other.method)
    }

    /// The labels of what was answered with a status.
    pub fn with_status(&self, status: u16) -> LabelSet<'a> {
        match STATUSES.get(usize::from(status)) {
            Some(text) => self.labels.with("status", text.as_str()),
            None => self.labels.with("status", status.to_string()),
        }
    }

    /// Whether there are requests with durations.
    pub fn is_timed(&self) -> bool {
        let is_timed = |answered: &Answered<'_>| answered.value.buckets.iter().sum::<u64>() != answered.streams;
        !self.is_long_lived && self.answered.iter().any(is_timed)
    }

    /// Where the durations of what was answered went.
    pub fn phases(&self) -> Phases {
        let mut sum = Phases::default();
        for answered in &self.answered {
            sum.add(&answered.value.phases);
        }
        sum
    }
}
