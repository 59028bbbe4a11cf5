//! What was sent and answered.

use crate::Counts;
use crate::counts::counted_method;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// One finished request, on the client's clock.
#[derive(Clone, Debug)]
pub struct Record {
    pub handler: &'static str,
    pub method: String,
    /// 0 = transport error: no complete response.
    pub status: u16,
    /// Right before the request was written.
    pub start: Instant,
    /// Right after the read that returned the response's last byte.
    pub end: Instant,
    /// How long the client's own thread waited for a CPU meanwhile, which is no part of what the server did.
    pub waited: Duration,
    pub expected: Option<u16>,
}

impl Record {
    /// Seconds from the request's first byte out to the response's last byte in.
    pub fn seconds(&self) -> f64 {
        self.end.duration_since(self.start).as_secs_f64()
    }

    /// Whether the status is the expected one. A transport error never is.
    pub fn is_expected(&self) -> bool {
        self.status != 0 && self.expected.is_none_or(|expected| expected == self.status)
    }
}

/// The requests of a run, in no particular order. Times leave transport errors out; counts do not.
#[derive(Clone, Debug, Default)]
pub struct Records {
    pub list: Vec<Record>,
}

impl Records {
    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Requests by (handler, method, status), with transport errors under status 0, and the method as Vigie counts it.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::new();
        for record in &self.list {
            *counts
                .entry((
                    record.handler.to_owned(),
                    counted_method(&record.method, record.status).to_owned(),
                    record.status,
                ))
                .or_default() += 1;
        }
        counts
    }

    /// The number of requests without a complete response.
    pub fn transport_errors(&self) -> usize {
        self.list.iter().filter(|record| record.status == 0).count()
    }

    /// The records whose status is not the expected one, transport errors among them.
    pub fn unexpected(&self) -> Vec<&Record> {
        self.list.iter().filter(|record| !record.is_expected()).collect()
    }

    /// The records of each handler.
    pub fn by_handler(&self) -> BTreeMap<&'static str, Vec<&Record>> {
        let mut handlers: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for record in &self.list {
            handlers.entry(record.handler).or_default().push(record);
        }
        handlers
    }

    /// The durations of a handler's requests added up, in seconds.
    pub fn sum(&self, handler: &str) -> f64 {
        self.durations(handler).iter().sum()
    }

    /// The mean duration of a handler's requests, in seconds; `None` without requests.
    pub fn mean(&self, handler: &str) -> Option<f64> {
        let durations = self.durations(handler);
        (!durations.is_empty()).then(|| durations.iter().sum::<f64>() / durations.len() as f64)
    }

    /// The exact quantile (nearest rank, `q` in 0..=1) of a handler's durations, in seconds.
    pub fn quantile(&self, handler: &str, q: f64) -> Option<f64> {
        let mut durations = self.durations(handler);
        durations.sort_by(f64::total_cmp);
        let rank = (q * durations.len() as f64).ceil().max(1.0) as usize;
        durations.get(rank - 1).copied()
    }

    /// Seconds from the first request's start to the last one's end; 0 without requests.
    pub fn elapsed(&self) -> f64 {
        let first = self.list.iter().map(|record| record.start).min();
        let last = self.list.iter().map(|record| record.end).max();
        first
            .zip(last)
            .map_or(0.0, |(first, last)| last.duration_since(first).as_secs_f64())
    }

    fn durations(&self, handler: &str) -> Vec<f64> {
        self.list
            .iter()
            .filter(|record| record.handler == handler && record.status != 0)
            .map(Record::seconds)
            .collect()
    }
}
