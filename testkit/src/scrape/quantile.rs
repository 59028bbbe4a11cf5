//! Prometheus' `histogram_quantile` for classic buckets.

use super::Sample;

/// An upper bound, and the observations at or below it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    pub le: f64,
    pub count: f64,
}

/// Adds up buckets of the same bound; the result is in increasing order.
pub fn summed<'a>(samples: impl Iterator<Item = &'a Sample>) -> Vec<Bucket> {
    let mut buckets: Vec<Bucket> = Vec::new();
    for sample in samples {
        let Some(le) = sample.labels.get("le").and_then(|le| le.parse::<f64>().ok()) else {
            continue;
        };
        match buckets.iter_mut().find(|bucket| bucket.le == le) {
            Some(bucket) => bucket.count += sample.value,
            None => buckets.push(Bucket {
                le,
                count: sample.value,
            }),
        }
    }
    buckets.sort_by(|a, b| a.le.total_cmp(&b.le));
    buckets
}

/// Interpolates linearly in the bucket that holds the quantile; the first one begins at 0 if its bound is
/// positive. `None` where Prometheus gives NaN.
pub fn of_buckets(buckets: &[Bucket], q: f64) -> Option<f64> {
    let [finite @ .., total] = buckets else {
        return None;
    };
    if total.le != f64::INFINITY || finite.is_empty() || q.is_nan() {
        return None;
    }
    if !(0.0..=1.0).contains(&q) {
        return Some(if q < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    if total.count == 0.0 {
        return None;
    }
    let rank = q * total.count;
    let Some(index) = finite.iter().position(|bucket| bucket.count >= rank) else {
        return Some(finite[finite.len() - 1].le);
    };
    let bucket = finite[index];
    let (begin, below) = match index.checked_sub(1).map(|previous| finite[previous]) {
        Some(previous) => (previous.le, previous.count),
        None if bucket.le <= 0.0 => return Some(bucket.le),
        None => (0.0, 0.0),
    };
    let share = (rank - below) / (bucket.count - below);
    let value = begin + (bucket.le - begin) * share;
    (!value.is_nan()).then_some(value)
}
