//! The families of `prometheus_fastapi_instrumentator`, as it exposes them with its defaults.

use std::borrow::Cow;

use super::{Latency, Shown, Table, is_aborted, is_request, split};
use crate::{
    metrics::model::{Bounds, Family, Kind, counter, family, histogram, summary},
    observe::ledger::Snapshot,
};

/// The bounds of its histogram with labels, in seconds.
const FEW: [f64; 3] = [0.1, 0.5, 1.0];
/// Its groups of status codes, by the first digit.
const GROUPS: [&str; 10] = ["0xx", "1xx", "2xx", "3xx", "4xx", "5xx", "6xx", "7xx", "8xx", "9xx"];

/// The families.
pub(super) fn families<'a>(snapshot: &'a Snapshot, latency: &Latency, shown: Shown) -> Vec<Family<'a>> {
    let mut total = Table::new(["method", "status", "handler"], snapshot, shown);
    let mut sizes = Table::new(["handler"], snapshot, shown);
    let mut durations = Table::new(["method", "handler"], snapshot, shown);
    let mut all_durations = Table::new([], snapshot, shown);
    for (labels, counted) in &snapshot.requests {
        if is_aborted(labels) || !is_request(labels) {
            continue;
        }
        let method = || Cow::Borrowed(labels.method);
        let handler = || Cow::Borrowed(&*labels.handler);
        let group = GROUPS[usize::from(labels.status / 100) % GROUPS.len()].into();
        total.add(labels, counted, [method(), group, handler()]);
        sizes.add(labels, counted, [handler()]);
        if let Some(timed) = snapshot.timed(labels, counted) {
            durations.add(labels, &timed, [method(), handler()]);
            all_durations.add(labels, &timed, []);
        }
    }
    let few = Bounds::new(FEW);
    let ends = latency.ends(&FEW);
    vec![
        family(
            "http_requests_total",
            Kind::Counter,
            "Total number of requests by method, status and handler.",
            total.metrics(|labels, sums| counter(labels, sums.requests as f64)),
        ),
        family(
            "http_request_size_bytes",
            Kind::Summary,
            "Bytes that the service read for requests by handler, heads included.",
            sizes.metrics(|labels, sums| summary(labels, sums.requests, sums.request_bytes)),
        ),
        family(
            "http_response_size_bytes",
            Kind::Summary,
            "Bytes that the service wrote in answer to requests by handler, heads included.",
            sizes.metrics(|labels, sums| summary(labels, sums.requests, sums.response_bytes)),
        ),
        family(
            "http_request_duration_highr_seconds",
            Kind::Histogram,
            "Durations of all requests of a service, with many buckets.",
            all_durations.metrics(|labels, sums| latency.all(labels, sums)),
        ),
        family(
            "http_request_duration_seconds",
            Kind::Histogram,
            "Durations of requests by handler, with few buckets.",
            durations.metrics(|labels, sums| histogram(labels, &few, split(&sums.buckets, &ends), sums.seconds())),
        ),
    ]
}
