//! All requests of a service, by the class of their answer.
//!
//! What a route's series count begins with the route's first request. These families are there with the value 0 from the moment a
//! service is known, so that its first errors are an increase to Prometheus; and they keep what was counted in series that are gone.

use super::{
    labels::identity,
    model::{Family, Kind, LabelSet, counter, family},
    profile::Latency,
    routes::{Shown, is_new},
};
use crate::observe::ledger::{CLASSES, Snapshot, Totals};

/// The families. Those of services that are new are shown with 0.
pub fn families<'a>(snapshot: &'a Snapshot, latency: &Latency, shown: Shown) -> Vec<Family<'a>> {
    let mut requests = Vec::with_capacity(snapshot.totals.len() * CLASSES.len());
    let mut durations = Vec::with_capacity(snapshot.totals.len());
    for (service, totals) in &snapshot.totals {
        let nothing = Totals::default();
        let Totals {
            classes,
            buckets,
            duration_sum,
            born: _,
        } = match is_new(totals.born, shown) {
            true => &nothing,
            false => totals,
        };
        let created = snapshot.clock.seconds_at(totals.born);
        let labels = LabelSet::from(identity(service));
        for (class, count) in CLASSES.into_iter().zip(classes) {
            requests.push(counter(labels.with("class", class), *count as f64).created(created));
        }
        durations.push(latency.histogram(labels, buckets, *duration_sum).created(created));
    }
    vec![
        family(
            "service_http_requests_total",
            Kind::Counter,
            "Requests of a service by the class of their status, and those that were not answered.",
            requests,
        ),
        family(
            "service_http_request_duration_seconds",
            Kind::Histogram,
            "Durations of all answered requests of a service.",
            durations,
        ),
    ]
}
