//! All requests of a service, by the class of their answer: what alerts and objectives stand on.

use vigie_ebpf::types::{BOUNDS, STATUS_ABORTED, SeriesValue};

/// The classes, as labels have them. All of them are always shown.
pub const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "aborted"];
/// The place of requests that were not answered.
const ABORTED: usize = CLASSES.len() - 1;
/// The place of the server's errors.
const SERVER_ERRORS: usize = ABORTED - 1;

/// All requests of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many there are, by [`CLASSES`].
    pub classes: [u64; CLASSES.len()],
    /// Those that have durations, by these: see [`SeriesValue::buckets`].
    pub buckets: [u64; BOUNDS + 1],
    /// The sum of these durations, in nanoseconds.
    pub duration_sum: u64,
    /// When the service was known, by the monotonic clock, in nanoseconds.
    pub born: u64,
}

/// The place of a status's class. What is no class is an error of the server (RFC 9110, 15: clients take it as 5xx).
fn class(status: u16) -> usize {
    match status {
        STATUS_ABORTED => ABORTED,
        status => usize::from(status / 100).wrapping_sub(1).min(SERVER_ERRORS),
    }
}

// === impl Totals ===

impl Totals {
    /// No requests yet of a service that is known since then.
    pub fn born(born: u64) -> Self {
        Self {
            born,
            ..Self::default()
        }
    }

    /// Adds a series with this status; whether its requests last as long as their clients like.
    pub fn add(&mut self, value: &SeriesValue, status: u16, is_long_lived: bool) {
        self.classes[class(status)] += value.buckets.iter().sum::<u64>();
        if status != STATUS_ABORTED && !is_long_lived {
            for (sum, count) in self.buckets.iter_mut().zip(value.buckets) {
                *sum += count;
            }
            self.duration_sum += value.phases.duration();
        }
    }

    /// Adds the requests of another one.
    pub fn merge(&mut self, other: &Self) {
        let Self {
            classes,
            buckets,
            duration_sum,
            born,
        } = other;
        for (sum, count) in self.classes.iter_mut().zip(classes) {
            *sum += count;
        }
        for (sum, count) in self.buckets.iter_mut().zip(buckets) {
            *sum += count;
        }
        self.duration_sum += duration_sum;
        self.born = self.born.min(*born);
    }
}

#[cfg(test)]
mod tests {
    use vigie_ebpf::phases::Phases;

    use super::*;

    fn requests(bucket: usize, count: u64, nanoseconds: u64) -> SeriesValue {
        let mut value = SeriesValue {
            phases: Phases {
                cpu: nanoseconds,
                ..Phases::default()
            },
            ..SeriesValue::default()
        };
        value.buckets[bucket] = count;
        value
    }

    #[test]
    fn each_status_has_a_class() {
        for (status, expected) in [
            (101, "1xx"),
            (200, "2xx"),
            (299, "2xx"),
            (304, "3xx"),
            (404, "4xx"),
            (499, "4xx"),
            (500, "5xx"),
            (599, "5xx"),
            (600, "5xx"),
            (999, "5xx"),
            (STATUS_ABORTED, "aborted"),
        ] {
            assert_eq!(CLASSES[class(status)], expected, "{status}");
        }
    }

    #[test]
    fn durations_are_those_of_answers_that_end() {
        let mut totals = Totals::born(7);
        totals.add(&requests(0, 3, 30), 200, false);
        totals.add(&requests(BOUNDS, 2, 20), 503, false);
        totals.add(&requests(1, 5, 500), 200, true);
        totals.add(&requests(1, 4, 400), STATUS_ABORTED, false);
        let mut expected = Totals {
            classes: [0, 8, 0, 0, 2, 4],
            duration_sum: 50,
            ..Totals::born(7)
        };
        expected.buckets[0] = 3;
        expected.buckets[BOUNDS] = 2;
        assert_eq!(totals, expected);
        totals.merge(&expected);
        assert_eq!(
            (totals.classes, totals.duration_sum, totals.born),
            ([0, 16, 0, 0, 4, 8], 100, 7)
        );
        assert_eq!((totals.buckets[0], totals.buckets[BOUNDS]), (6, 4));
    }
}
