//! The families of traces.

use super::model::{Family, Kind, counter, family, gauge, pair};
use crate::observe::tracers::Totals;

/// The families, by name.
pub fn families(totals: &Totals) -> Vec<Family<'static>> {
    let Totals {
        clients,
        shown,
        not_shown,
    } = totals;
    let not_shown = not_shown
        .list()
        .map(|(reason, count)| counter(vec![pair("reason", reason)], count as f64));
    vec![
        family(
            "vigie_trace_clients",
            Kind::Gauge,
            "Traces that are open. While there is none, the kernel side shows no single requests.",
            vec![gauge(vec![], *clients as f64)],
        ),
        family(
            "vigie_trace_not_shown_total",
            Kind::Counter,
            "Requests that a trace asked for and was not shown, by reason.",
            not_shown.into(),
        ),
        family(
            "vigie_trace_shown_total",
            Kind::Counter,
            "Requests that a trace was shown.",
            vec![counter(vec![], *shown as f64)],
        ),
    ]
}
