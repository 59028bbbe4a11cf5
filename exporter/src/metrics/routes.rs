//! Request series, grouped by route.

use std::sync::LazyLock;

use vigie_ebpf::{
    native::{NATIVE_BUCKETS, Native},
    phases::Phases,
    types::{BOUNDS, STATUS_ABORTED, SeriesValue},
};

use super::{
    labels::identity_and,
    model::{LabelSet, pair},
};
use crate::observe::ledger::{Example, Labels, Series, Snapshot};

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
    pub aborted: Option<Aborted>,
    /// Where the durations of what was answered went. All 0 if nothing of it was ever shown.
    pub phases: Phases,
    /// When the first answer was counted, by the monotonic clock.
    pub born: u64,
    /// Whether its requests last as long as their clients like.
    pub is_long_lived: bool,
}

/// What was not answered.
#[derive(Clone, Copy, Debug)]
pub struct Aborted {
    /// How many requests.
    pub count: u64,
    /// When the series began, in seconds since 1970.
    pub created: f64,
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
    /// Whether others have.
    pub is_timed: bool,
    /// The durations in native buckets, where that was asked for.
    pub native: Option<&'a Native>,
    /// Some of the requests, where that was asked for.
    pub exemplars: &'a [Example],
    /// When the series began, in seconds since 1970.
    pub created: f64,
}

/// What a series has counted that is shown for the first time.
static NOTHING: SeriesValue = SeriesValue {
    buckets: [0; BOUNDS + 1],
    phases: Phases {
        queue: 0,
        runqueue: 0,
        cpu: 0,
        blocked: 0,
        send: 0,
        unattributed: 0,
    },
    request_bytes: 0,
    response_bytes: 0,
    native: 0,
};
static NO_NATIVE: Native = [0; NATIVE_BUCKETS];

/// Which series are shown with the value 0: those that are younger than what was shown before, as a monotonic time in nanoseconds.
/// `None`: none are.
pub type Shown = Option<u64>;

/// Whether something that was born at this time has never been shown.
pub fn is_new(born: u64, shown: Shown) -> bool {
    shown.is_some_and(|shown| born > shown)
}

/// The texts of status codes, so that none is made for each series.
static STATUSES: LazyLock<Vec<String>> = LazyLock::new(|| (0..1000).map(|status: u16| status.to_string()).collect());

/// All routes, in the order of their labels.
pub fn routes(snapshot: &Snapshot, shown: Shown) -> Vec<Route<'_>> {
    let mut routes = Vec::<Route<'_>>::new();
    for (series, counted) in &snapshot.requests {
        let Series { value, streams, born } = counted;
        // They are sorted by what makes a route before the status.
        if !routes.last().is_some_and(|route| route.has(series)) {
            routes.push(Route::new(series, snapshot.is_long_lived(series)));
        }
        if let Some(route) = routes.last_mut() {
            let is_new = is_new(*born, shown);
            let created = snapshot.clock.seconds_at(*born);
            if series.status == STATUS_ABORTED {
                let count = if is_new { 0 } else { value.buckets.iter().sum() };
                route.aborted = Some(Aborted { count, created });
                continue;
            }
            route.phases.add(&value.phases);
            route.born = route.born.min(*born);
            let native = snapshot.native.get(series);
            let (value, streams, native, exemplars) = match is_new {
                true => (&NOTHING, 0, native.map(|_| &NO_NATIVE), &[][..]),
                false => {
                    let exemplars = snapshot.exemplars.get(series).map_or(&[][..], |examples| examples);
                    (value, *streams, native.map(|native| &**native), exemplars)
                }
            };
            route.answered.push(Answered {
                status: series.status,
                value,
                streams,
                is_timed: counted.timed().is_some(),
                native,
                exemplars,
                created,
            });
        }
    }
    for route in &mut routes {
        if is_new(route.born, shown) {
            route.phases = Phases::default();
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
        let mut pairs = identity_and(&series.identity, pair("port", port(series.port)));
        pairs.extend([pair("method", series.method), pair("handler", &*series.handler)]);
        Self {
            series,
            labels: pairs.into(),
            answered: Vec::new(),
            aborted: None,
            phases: Phases::default(),
            born: u64::MAX,
            is_long_lived,
        }
    }

    fn has(&self, other: &Labels) -> bool {
        let Labels {
            identity,
            port,
            handler,
            method,
            status: _,
        } = self.series;
        (identity, port, handler, method) == (&other.identity, &other.port, &other.handler, &other.method)
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
        !self.is_long_lived && self.answered.iter().any(|answered| answered.is_timed)
    }
}
