//! What is asked of Prometheus: how many requests were bad, and how many there were.
//!
//! Two kinds of families can be asked. Those of services (`service_http_…`) have few labels, and are there at 0 before a service's first
//! request, so its first failures are an increase at once. Those of routes (`http_…`) know methods, routes and each status; a series of
//! theirs begins with its first request, so what has never failed is absent, and not 0.

use super::objectives::{Bad, Objective, Source, escape};

/// Bad requests in a window: `function` is `rate` or `increase`. Of route families absent if a status has never been seen.
pub(super) fn bad(slo: &Objective, function: &str, window: &str) -> String {
    let selector = &slo.selector;
    match &slo.bad {
        Bad::Status(pattern) => {
            let (name, matcher) = match &slo.source {
                Source::Services { classes } => ("service_http_requests_total", classes_matcher(classes)),
                Source::Routes => ("http_requests_total", format!("status=~\"{}\"", escape(pattern))),
            };
            format!("sum({function}({name}{{{selector},{matcher}}}[{window}]))")
        }
        Bad::Slower(bound) => format!(
            "({} - sum({function}({}_bucket{{{selector},le=\"{bound}\"}}[{window}])))",
            all(slo, function, window),
            durations(slo)
        ),
    }
}

/// All requests that count, in the same way.
pub(super) fn all(slo: &Objective, function: &str, window: &str) -> String {
    let selector = &slo.selector;
    match (&slo.bad, &slo.source) {
        (Bad::Status(_), Source::Services { .. }) => {
            // Requests that were not answered are in no status either.
            format!("sum({function}(service_http_requests_total{{{selector},class!=\"aborted\"}}[{window}]))")
        }
        (Bad::Status(_), Source::Routes) => format!("sum({function}(http_requests_total{{{selector}}}[{window}]))"),
        (Bad::Slower(_), _) => format!("sum({function}({}_count{{{selector}}}[{window}]))", durations(slo)),
    }
}

/// The error ratio: 0 where nothing was bad, absent where there was no request.
pub(super) fn ratio(slo: &Objective, window: &str) -> String {
    let all = all(slo, "rate", window);
    format!("{}\n/\n({all} > 0)", bad_or_zero(slo, window))
}

/// Bad requests per second, 0 where there were requests and none was bad.
pub(super) fn bad_or_zero(slo: &Objective, window: &str) -> String {
    let bad = bad(slo, "rate", window);
    match (&slo.bad, &slo.source) {
        (Bad::Status(_), Source::Routes) => format!("({bad} or {} * 0)", all(slo, "rate", window)),
        (Bad::Status(_), Source::Services { .. }) | (Bad::Slower(_), _) => bad,
    }
}

/// The histogram of the durations.
fn durations(slo: &Objective) -> &'static str {
    match slo.source {
        Source::Services { .. } => "service_http_request_duration_seconds",
        Source::Routes => "http_request_duration_seconds",
    }
}

/// `class="5xx"`, or `class=~"4xx|5xx"`.
fn classes_matcher(classes: &[&str]) -> String {
    let sign = if classes.len() == 1 { "=" } else { "=~" };
    format!("class{sign}\"{}\"", classes.join("|"))
}
