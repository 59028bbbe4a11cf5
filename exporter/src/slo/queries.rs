//! What is asked of Prometheus: how many requests were bad, and how many there were.

use super::objectives::{Bad, Objective, escape};

/// Bad requests in a window: `function` is `rate` or `increase`. Absent if a status has never been seen.
pub(super) fn bad(slo: &Objective, function: &str, window: &str) -> String {
    let selector = &slo.selector;
    match &slo.bad {
        Bad::Status(pattern) => {
            let pattern = escape(pattern);
            format!("sum({function}(http_requests_total{{{selector},status=~\"{pattern}\"}}[{window}]))")
        }
        Bad::Slower(bound) => format!(
            "({} - sum({function}(http_request_duration_seconds_bucket{{{selector},le=\"{bound}\"}}[{window}])))",
            all(slo, function, window)
        ),
    }
}

/// All requests that count, in the same way.
pub(super) fn all(slo: &Objective, function: &str, window: &str) -> String {
    let name = match &slo.bad {
        Bad::Status(_) => "http_requests_total",
        Bad::Slower(_) => "http_request_duration_seconds_count",
    };
    format!("sum({function}({name}{{{}}}[{window}]))", slo.selector)
}

/// The error ratio: 0 where nothing was bad, absent where there was no request.
pub(super) fn ratio(slo: &Objective, window: &str) -> String {
    let all = all(slo, "rate", window);
    format!("{}\n/\n({all} > 0)", bad_or_zero(slo, window))
}

/// Bad requests per second, 0 where there were requests and none was bad.
pub(super) fn bad_or_zero(slo: &Objective, window: &str) -> String {
    let bad = bad(slo, "rate", window);
    match &slo.bad {
        Bad::Status(_) => format!("({bad} or {} * 0)", all(slo, "rate", window)),
        Bad::Slower(_) => bad,
    }
}
