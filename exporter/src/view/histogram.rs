//! Histograms, and their quantiles as Prometheus gives them.

/// Observations by upper bound.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Upper bounds in increasing order, the last one infinite; beside each, the observations at or below it.
    buckets: Vec<(f64, f64)>,
    /// The sum of all observations.
    pub sum: f64,
}

/// A quantile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Quantile {
    /// There are no observations.
    None,
    /// The value, interpolated in its bucket.
    At(f64),
    /// It is above the last finite bound, which is all that is known.
    Above(f64),
}

// === impl Histogram ===

impl Histogram {
    /// Adds what stands in a line: the observations at or below a bound.
    pub fn add_bucket(&mut self, bound: f64, count: f64) {
        let place = self.buckets.partition_point(|(other, _)| *other < bound);
        match self.buckets.get_mut(place) {
            Some((other, sum)) if *other == bound => *sum += count,
            _ => self.buckets.insert(place, (bound, count)),
        }
    }

    /// Adds the observations of another, with the same bounds.
    pub fn add(&mut self, other: &Self) {
        let Self { buckets, sum } = other;
        for (bound, count) in buckets {
            self.add_bucket(*bound, *count);
        }
        self.sum += sum;
    }

    /// All observations.
    pub fn count(&self) -> f64 {
        self.buckets.last().map_or(0.0, |(_, count)| *count)
    }

    /// The mean; `None` without observations.
    pub fn mean(&self) -> Option<f64> {
        (self.count() > 0.0).then(|| self.sum / self.count())
    }

    /// The observations of each bucket alone: its bounds, and how many.
    pub fn slices(&self) -> impl Iterator<Item = (f64, f64, f64)> {
        let below = [(0.0, 0.0)].into_iter().chain(self.buckets.iter().copied());
        below
            .zip(&self.buckets)
            .map(|((from, under), (to, count))| (from, *to, count - under))
    }

    /// A quantile in 0..=1, interpolated as `histogram_quantile` does: linearly in the bucket that holds it, the first of
    /// which begins at 0.
    pub fn quantile(&self, quantile: f64) -> Quantile {
        let rank = quantile * self.count();
        if self.count() <= 0.0 {
            return Quantile::None;
        }
        let mut last = 0.0;
        let mut under = 0.0;
        for (bound, count) in &self.buckets {
            if *count >= rank && *count > under {
                if bound.is_infinite() {
                    return Quantile::Above(last);
                }
                return Quantile::At(last + (bound - last) * (rank - under) / (count - under));
            }
            (last, under) = (*bound, *count);
        }
        Quantile::Above(last)
    }
}

// === impl Quantile ===

impl Quantile {
    /// The number, for plots and sorting.
    pub fn value(self) -> Option<f64> {
        match self {
            Self::None => None,
            Self::At(value) | Self::Above(value) => Some(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(buckets: &[(f64, f64)]) -> Histogram {
        let mut histogram = Histogram::default();
        for (bound, count) in buckets.iter().rev() {
            histogram.add_bucket(*bound, *count);
        }
        histogram
    }

    #[test]
    fn quantiles_are_those_of_prometheus() {
        let some = histogram(&[(0.1, 10.0), (0.2, 30.0), (1.0, 30.0), (f64::INFINITY, 40.0)]);
        assert_eq!(some.count(), 40.0);
        assert_eq!(some.quantile(0.125), Quantile::At(0.05));
        assert_eq!(some.quantile(0.25), Quantile::At(0.1));
        assert_eq!(some.quantile(0.5), Quantile::At(0.1 + 0.1 * 0.5));
        assert_eq!(some.quantile(0.75), Quantile::At(0.2));
        assert_eq!(some.quantile(0.99), Quantile::Above(1.0));
        assert_eq!(Histogram::default().quantile(0.5), Quantile::None);
        assert_eq!(
            histogram(&[(0.1, 0.0), (f64::INFINITY, 0.0)]).quantile(0.5),
            Quantile::None
        );
    }

    /// The reader that judges Vigie says the same.
    #[test]
    fn quantiles_are_those_of_the_testkit() {
        let text = "# TYPE h histogram\nh_bucket{le=\"0.001\"} 3\nh_bucket{le=\"0.5\"} 17\nh_bucket{le=\"2.0\"} 90\n\
                    h_bucket{le=\"+Inf\"} 100\nh_sum 80\nh_count 100\n";
        let other = testkit::Scrape::parse(text).unwrap();
        let own = histogram(&[(0.001, 3.0), (0.5, 17.0), (2.0, 90.0), (f64::INFINITY, 100.0)]);
        for percent in 1..=100 {
            let q = f64::from(percent) / 100.0;
            let (own, other) = (own.quantile(q).value().unwrap(), other.quantile("h", &[], q).unwrap());
            assert!((own - other).abs() < 1e-12, "{q}: {own} {other}");
        }
    }

    #[test]
    fn slices_and_sums() {
        let mut sum = histogram(&[(0.1, 1.0), (f64::INFINITY, 3.0)]);
        sum.add(&histogram(&[(0.1, 2.0), (f64::INFINITY, 2.0)]));
        let slices: Vec<_> = sum.slices().collect();
        assert_eq!(slices, [(0.0, 0.1, 3.0), (0.1, f64::INFINITY, 2.0)]);
    }
}
