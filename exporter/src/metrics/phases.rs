//! Families that say where requests' time went.

use vigie_ebpf::{phases::PHASE_NAMES, types::PHASE_BOUNDS_NS};

use super::{
    families::NANOSECONDS,
    labels::identity,
    model::{Bounds, Family, Kind, counter, family, gauge, histogram, pair},
    routes::{Route, Shown, is_new},
};
use crate::observe::{
    ledger::{Labels, Snapshot},
    waits::WaitBuckets,
};

/// The families, of which the new ones are shown with 0. They are of those requests that have durations, so that the phases of a route add up to these.
pub fn families<'a>(routes: &[Route<'a>], snapshot: &'a Snapshot, shown: Shown) -> Vec<Family<'a>> {
    let mut phases = Vec::with_capacity(PHASE_NAMES.len() * routes.len());
    let [mut queue, mut runqueue] = [(); 2].map(|()| Vec::with_capacity(routes.len()));
    let bounds = Bounds::new(PHASE_BOUNDS_NS.iter().map(|bound| *bound as f64 / NANOSECONDS));
    for route in routes {
        if !route.is_timed() {
            continue;
        }
        let sum = &route.phases;
        let created = snapshot.clock.seconds_at(route.born);
        for (name, time) in PHASE_NAMES.iter().zip(sum.list()) {
            let labels = route.labels.with("phase", *name);
            phases.push(counter(labels, time as f64 / NANOSECONDS).created(created));
        }
        let key = Labels {
            status: 0,
            ..route.series.clone()
        };
        let buckets = match is_new(route.born, shown) {
            true => WaitBuckets::default(),
            false => snapshot.waits.get(&key).copied().unwrap_or_default(),
        };
        for (metrics, counts, time) in [
            (&mut queue, buckets.queue, sum.queue),
            (&mut runqueue, buckets.runqueue, sum.runqueue),
        ] {
            let time = time as f64 / NANOSECONDS;
            metrics.push(histogram(route.labels.clone(), &bounds, counts, time).created(created));
        }
    }
    let in_flight = snapshot
        .in_flight
        .iter()
        .map(|(service, count)| gauge(identity(service), *count as f64))
        .collect();
    let unattributed = snapshot
        .unattributed
        .iter()
        .map(|(reason, time)| counter(vec![pair("reason", *reason)], *time as f64 / NANOSECONDS))
        .collect();
    vec![
        family(
            "http_request_phase_seconds_total",
            Kind::Counter,
            "Where the durations of answered requests went; the phases of a route add up to the sum of its durations.",
            phases,
        ),
        family(
            "http_request_queue_seconds",
            Kind::Histogram,
            "Time that requests were readable and nobody read them, without the reader's wait for a CPU.",
            queue,
        ),
        family(
            "http_request_runqueue_seconds",
            Kind::Histogram,
            "Time that requests waited because the thread that read or handled them waited for a CPU, as far as it is known.",
            runqueue,
        ),
        family(
            "http_requests_in_flight",
            Kind::Gauge,
            "Requests that were read and are not answered yet.",
            in_flight,
        ),
        family(
            "vigie_unattributed_seconds_total",
            Kind::Counter,
            "Time of answered requests that could not be attributed to a phase, by reason.",
            unattributed,
        ),
    ]
}
