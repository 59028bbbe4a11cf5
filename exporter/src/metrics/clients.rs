//! The clients of Vigie: how many are connected.

use std::cell::Cell;

use super::model::{Family, Kind, counter, family, gauge, pair};

/// How many connections there are and were.
#[derive(Debug, Default)]
pub struct Clients {
    /// Those that are open.
    pub open: Cell<usize>,
    /// Those that were closed to make room for others.
    pub dropped: Cell<u64>,
    /// Those that were closed because their client did not take what it had asked for.
    pub stalled: Cell<u64>,
    /// Requests that found no place.
    pub refused: Cell<u64>,
}

// === impl Clients ===

impl Clients {
    /// The families that tell of the connections.
    pub fn families(&self) -> Vec<Family<'static>> {
        let closed =
            |reason: &'static str, count: &Cell<u64>| counter(vec![pair("reason", reason)], count.get() as f64);
        vec![
            family(
                "vigie_web_connections",
                Kind::Gauge,
                "Connections of clients to Vigie that are open.",
                vec![gauge(vec![], self.open.get() as f64)],
            ),
            family(
                "vigie_web_connections_dropped_total",
                Kind::Counter,
                "Connections of clients that Vigie closed because there were too many, or because the client took nothing.",
                vec![closed("too_many", &self.dropped), closed("stalled", &self.stalled)],
            ),
            family(
                "vigie_web_requests_refused_total",
                Kind::Counter,
                "Requests of clients that Vigie answered with 503 because too many were under way.",
                vec![counter(vec![], self.refused.get() as f64)],
            ),
        ]
    }
}
