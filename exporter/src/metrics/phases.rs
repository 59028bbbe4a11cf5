//! Families that say where requests' time went.

use std::collections::BTreeMap;

use prometheus::proto::{MetricFamily, MetricType};
use vigie_ebpf::{
    phases::{PHASE_NAMES, Phases},
    types::{PHASE_BOUNDS_NS, STATUS_ABORTED},
};

use super::families::{NANOSECONDS, counter, family, gauge, histogram, labels, pair};
use crate::observe::ledger::{Labels, Snapshot};

/// The phases of each route's answered requests: those that have durations, so that they add up to these.
fn by_route(snapshot: &Snapshot) -> BTreeMap<Labels, Phases> {
    let mut routes = BTreeMap::<Labels, Phases>::new();
    for (key, value) in &snapshot.requests {
        if key.status != STATUS_ABORTED && !snapshot.is_long_lived(key) {
            let route = Labels {
                status: 0,
                ..key.clone()
            };
            routes.entry(route).or_default().add(&value.phases);
        }
    }
    routes
}

/// The families.
pub fn families(snapshot: &Snapshot) -> Vec<MetricFamily> {
    let (mut phases, mut queue, mut runqueue) = (Vec::new(), Vec::new(), Vec::new());
    for (route, sum) in by_route(snapshot) {
        for (name, time) in PHASE_NAMES.iter().zip(sum.list()) {
            let mut pairs = labels(&route, false);
            pairs.push(pair("phase", *name));
            phases.push(counter(pairs, time as f64 / NANOSECONDS));
        }
        let bounds = || PHASE_BOUNDS_NS.iter().map(|bound| *bound as f64 / NANOSECONDS);
        let buckets = snapshot.waits.get(&route).copied().unwrap_or_default();
        queue.push(histogram(labels(&route, false), bounds(), &buckets.queue, sum.queue));
        runqueue.push(histogram(
            labels(&route, false),
            bounds(),
            &buckets.runqueue,
            sum.runqueue,
        ));
    }
    let in_flight = snapshot
        .in_flight
        .iter()
        .map(|(service, count)| gauge(vec![pair("service", service)], *count as f64))
        .collect();
    let unattributed = snapshot
        .unattributed
        .iter()
        .map(|(reason, time)| counter(vec![pair("reason", *reason)], *time as f64 / NANOSECONDS))
        .collect();
    vec![
        family(
            "http_request_phase_seconds_total",
            MetricType::COUNTER,
            "Where the durations of answered requests went; the phases of a route add up to the sum of its durations.",
            phases,
        ),
        family(
            "http_request_queue_seconds",
            MetricType::HISTOGRAM,
            "Time that requests were readable and nobody read them, without the reader's wait for a CPU.",
            queue,
        ),
        family(
            "http_request_runqueue_seconds",
            MetricType::HISTOGRAM,
            "Time that requests waited because the thread that read or handled them waited for a CPU, as far as it is known.",
            runqueue,
        ),
        family(
            "http_requests_in_flight",
            MetricType::GAUGE,
            "Requests that were read and are not answered yet.",
            in_flight,
        ),
        family(
            "vigie_unattributed_seconds_total",
            MetricType::COUNTER,
            "Time of answered requests that could not be attributed to a phase, by reason.",
            unattributed,
        ),
    ]
}
