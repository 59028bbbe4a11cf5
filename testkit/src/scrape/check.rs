//! What must hold within a histogram.

use super::{Family, Kind, Labels, ParseError, Scrape, parse};
use std::collections::BTreeMap;

/// The samples of one series of a histogram.
#[derive(Default)]
struct Series {
    /// (le, count) in the order of the text.
    buckets: Vec<(f64, f64)>,
    has_sum: bool,
    count: Option<f64>,
}

/// Checks every histogram. A family without samples is fine.
pub fn histograms(scrape: &Scrape) -> Result<(), ParseError> {
    for family in scrape.families.iter().filter(|family| family.kind == Kind::Histogram) {
        let error = |problem| ParseError {
            line: family.line,
            problem,
        };
        for (labels, series) in all_series(scrape, family).map_err(error)? {
            series
                .check()
                .map_err(|problem| error(format!("{}{labels:?}: {problem}", family.name)))?;
        }
    }
    Ok(())
}

fn all_series(scrape: &Scrape, family: &Family) -> Result<BTreeMap<Labels, Series>, String> {
    let mut all: BTreeMap<Labels, Series> = BTreeMap::new();
    let name = &family.name;
    for sample in scrape.samples(&format!("{name}_bucket")) {
        let mut labels = sample.labels.clone();
        let le = labels.remove("le").ok_or_else(|| format!("{name}_bucket without le"))?;
        all.entry(labels)
            .or_default()
            .buckets
            .push((parse::number(&le)?, sample.value));
    }
    for sample in scrape.samples(&format!("{name}_sum")) {
        all.entry(sample.labels.clone()).or_default().has_sum = true;
    }
    for sample in scrape.samples(&format!("{name}_count")) {
        all.entry(sample.labels.clone()).or_default().count = Some(sample.value);
    }
    Ok(all)
}

impl Series {
    fn check(&self) -> Result<(), &'static str> {
        // Written so that a NaN fails.
        if !self.buckets.windows(2).all(|pair| pair[0].0 < pair[1].0) {
            return Err("the buckets are not in increasing order of le");
        }
        if !self.buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1) {
            return Err("the buckets are not cumulative");
        }
        let Some((le, total)) = self.buckets.last() else {
            return Err("no buckets");
        };
        if *le != f64::INFINITY {
            return Err("no bucket +Inf");
        }
        if self.count != Some(*total) {
            return Err("_count is not the bucket +Inf");
        }
        if !self.has_sum {
            return Err("no _sum");
        }
        Ok(())
    }
}
