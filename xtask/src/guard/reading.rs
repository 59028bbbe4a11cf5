//! What Prometheus says about a service under load.

use anyhow::{Result, ensure};
use testkit::prometheus::Api;

const QUANTILE: f64 = 0.95;

/// The errors and the p95 of the last moments.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// In seconds; none if nothing was answered.
    pub p95: Option<f64>,
    /// The p95 is above the highest bound of the buckets, and Prometheus says that bound instead.
    pub is_beyond: bool,
    /// The share of the answers that are errors, from 0 to 1; none if nothing was answered.
    pub errors: Option<f64>,
    /// How many errors that is.
    pub failed: f64,
    /// Requests in flight.
    pub in_flight: f64,
    /// Whether anything was answered.
    pub is_answering: bool,
}

/// The queries of a [`Reading`].
#[derive(Clone, Debug)]
pub struct Queries {
    p95: String,
    buckets: String,
    errors: String,
    failed: String,
    in_flight: String,
    /// What Prometheus must know for any of this to mean something.
    is_seen: String,
}

// === impl Queries ===

impl Queries {
    /// About one service, or about all, over the last `window` seconds.
    pub fn new(service: Option<&str>, window: u64) -> Self {
        let labels = service.map_or_else(String::new, |service| format!("service=\"{}\"", quoted(service)));
        let requests = |more: &str| {
            let labels: Vec<&str> = [labels.as_str(), more]
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect();
            format!("sum(rate(http_requests_total{{{}}}[{window}s]))", labels.join(","))
        };
        let buckets = format!("sum by (le) (rate(http_request_duration_seconds_bucket{{{labels}}}[{window}s]))");
        Self {
            p95: format!("histogram_quantile({QUANTILE}, {buckets})"),
            buckets,
            // A status that was never seen has no series, which is no errors and not an unknown number of them.
            errors: format!("({} or vector(0)) / {}", requests("status=~\"5..\""), requests("")),
            failed: format!("{} * {window}", requests("status=~\"5..\"")),
            in_flight: format!("sum(http_requests_in_flight{{{labels}}})"),
            is_seen: "count(vigie_build_info)".to_owned(),
        }
    }

    /// # Errors
    ///
    /// If Prometheus does not answer, or has no fresh sample of Vigie.
    pub fn ask(&self, prometheus: Api) -> Result<Reading> {
        let seen = value(prometheus, &self.is_seen)?;
        ensure!(seen.is_some(), "Prometheus has no metrics of Vigie");
        let errors = value(prometheus, &self.errors)?;
        let buckets = prometheus.query(&self.buckets)?;
        let buckets = buckets
            .iter()
            .map(|bucket| (bucket.label("le").parse().unwrap_or(f64::NAN), bucket.value));
        Ok(Reading {
            p95: value(prometheus, &self.p95)?,
            is_beyond: is_beyond(&buckets.collect::<Vec<_>>()),
            errors,
            failed: value(prometheus, &self.failed)?.unwrap_or_default(),
            in_flight: value(prometheus, &self.in_flight)?.unwrap_or_default(),
            is_answering: errors.is_some(),
        })
    }
}

/// Whether the quantile of these buckets (bound, rate) is in the last one, which has no upper bound.
fn is_beyond(buckets: &[(f64, f64)]) -> bool {
    let bounded = buckets.iter().filter(|(bound, _)| bound.is_finite());
    let highest = bounded.max_by(|one, other| one.0.total_cmp(&other.0));
    let all = buckets.iter().find(|(bound, _)| *bound == f64::INFINITY);
    highest
        .zip(all)
        .is_some_and(|((_, highest), (_, all))| *highest < QUANTILE * all)
}

/// The one value of a query; none if there is no sample, or no number.
fn value(prometheus: Api, query: &str) -> Result<Option<f64>> {
    let samples = prometheus.query(query)?;
    Ok(samples
        .first()
        .map(|sample| sample.value)
        .filter(|value| !value.is_nan()))
}

/// A label's value as it stands in a query.
fn quoted(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten seconds are the limit and the highest bound by default: without this they would never be passed.
    #[test]
    fn a_p95_above_all_bounds_is_seen() {
        assert!(is_beyond(&[(10.0, 9.4), (f64::INFINITY, 10.0), (5.0, 9.0)]));
        assert!(!is_beyond(&[(10.0, 9.5), (f64::INFINITY, 10.0), (5.0, 9.0)]));
        assert!(!is_beyond(&[]));
        assert!(!is_beyond(&[(10.0, 0.0), (f64::INFINITY, 0.0)]));
    }

    #[test]
    fn a_service_is_a_label_of_each_query() {
        let queries = Queries::new(Some("a \"b\""), 30);
        assert_eq!(
            queries.errors,
            "(sum(rate(http_requests_total{service=\"a \\\"b\\\"\",status=~\"5..\"}[30s])) or vector(0)) / \
             sum(rate(http_requests_total{service=\"a \\\"b\\\"\"}[30s]))"
        );
        let all = Queries::new(None, 30);
        assert_eq!(all.in_flight, "sum(http_requests_in_flight{})");
        assert!(
            all.errors
                .starts_with("(sum(rate(http_requests_total{status=~\"5..\"}[30s]))"),
            "{}",
            all.errors
        );
    }
}
