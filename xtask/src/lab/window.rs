//! What Prometheus says about a piece of the run.
//!
//! A piece begins and ends with a scrape, so what happened in it is the difference of two samples, and nothing is extrapolated, as
//! `rate()` does. A series that was not there at the beginning was 0 then.

use anyhow::{Context as _, Result, ensure};
use testkit::prometheus::Api;

/// Behind a scrape by less than the next one, and by more than its time is rounded.
const BEHIND: f64 = 0.05;

/// From one scrape of Vigie to a later one, in Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    pub end: f64,
    /// A multiple of the time between two scrapes.
    pub seconds: u64,
}

/// A window, and who can be asked about it.
#[derive(Clone, Copy, Debug)]
pub struct View {
    prometheus: Api,
    pub window: Window,
}

// === impl Window ===

impl Window {
    /// The largest window from `begin` to `end`, where the last scrape before `end` was at `last`.
    fn between(begin: f64, last: f64, interval: u64) -> Result<Self> {
        let scrapes = ((last - begin) / interval as f64).floor();
        ensure!(scrapes >= 1.0, "there are no two scrapes in {:.0} s", last - begin);
        Ok(Self {
            end: last,
            seconds: scrapes as u64 * interval,
        })
    }

    pub fn begin(&self) -> f64 {
        self.end - self.seconds as f64
    }
}

// === impl View ===

impl View {
    /// The largest window within this time.
    pub fn between(prometheus: Api, begin: f64, end: f64, interval: u64) -> Result<Self> {
        let last = last_scrape(prometheus, end)?.context("Prometheus did not scrape Vigie")?;
        let window = Window::between(begin, last, interval)?;
        Ok(Self { prometheus, window })
    }

    /// By how much the series that a selector selects have grown together.
    pub fn grown(&self, name: &str, labels: &str) -> Result<f64> {
        let seconds = self.window.seconds;
        let query = format!("sum({name}{{{labels}}}) - (sum({name}{{{labels}}} offset {seconds}s) or vector(0))");
        Ok(self.ask(&query)?.unwrap_or_default())
    }

    /// The same per second.
    pub fn rate(&self, name: &str, labels: &str) -> Result<f64> {
        Ok(self.grown(name, labels)? / self.window.seconds as f64)
    }

    /// The mean of what a histogram observed; none if it was nothing.
    pub fn mean(&self, histogram: &str, labels: &str) -> Result<Option<f64>> {
        let count = self.grown(&format!("{histogram}_count"), labels)?;
        let sum = self.grown(&format!("{histogram}_sum"), labels)?;
        Ok((count > 0.0).then(|| sum / count))
    }

    /// A quantile of what a histogram observed.
    pub fn quantile(&self, histogram: &str, labels: &str, quantile: f64) -> Result<Option<f64>> {
        let seconds = self.window.seconds;
        let buckets = format!("sum by (le) ({histogram}_bucket{{{labels}}}");
        self.ask(&format!(
            "histogram_quantile({quantile}, {buckets}) - ({buckets} offset {seconds}s) or {buckets}) * 0))"
        ))
    }

    /// The value of a query at the end; none if there is no sample, or no number.
    pub fn ask(&self, query: &str) -> Result<Option<f64>> {
        let samples = self.prometheus.query_at(query, self.window.end + BEHIND)?;
        Ok(samples
            .first()
            .map(|sample| sample.value)
            .filter(|value| !value.is_nan()))
    }
}

/// When Prometheus last scraped Vigie before a time.
pub fn last_scrape(prometheus: Api, before: f64) -> Result<Option<f64>> {
    // `timestamp(up == 1)` would be the time of the query.
    let query = "timestamp(up{job=\"vigie\"}) and up{job=\"vigie\"} == 1";
    let samples = prometheus.query_at(query, before)?;
    Ok(samples.first().map(|sample| sample.value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_holds_whole_intervals() {
        let window = Window::between(100.0, 117.0, 5).unwrap();
        assert_eq!(
            window,
            Window {
                end: 117.0,
                seconds: 15
            }
        );
        assert_eq!(window.begin(), 102.0);
        assert!(Window::between(100.0, 104.9, 5).is_err());
    }
}
