//! Over which times the burning of an error budget is looked at.
//!
//! A budget that burns at rate 1 is just used up at the end of the period. An alert looks at two windows: the long one says
//! that it matters, the short one that it still goes on. See "Alerting on SLOs" in Google's SRE workbook.

/// Each window that an alert looks at: what an error ratio is recorded for.
pub(super) const ALL: [&str; 7] = ["5m", "30m", "1h", "2h", "6h", "1d", "3d"];

/// A pair of windows, and which share of the budget is burnt in the long one when the alert fires.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub(super) short: &'static str,
    pub(super) long: &'static str,
    long_hours: u32,
    percent: u32,
}

/// Two pairs that make one alert: fast burning, and less fast.
pub(super) const PAGE: [Pair; 2] = [
    Pair {
        short: "5m",
        long: "1h",
        long_hours: 1,
        percent: 2,
    },
    Pair {
        short: "30m",
        long: "6h",
        long_hours: 6,
        percent: 5,
    },
];
/// Slow burning.
pub(super) const TICKET: [Pair; 2] = [
    Pair {
        short: "2h",
        long: "1d",
        long_hours: 24,
        percent: 10,
    },
    Pair {
        short: "6h",
        long: "3d",
        long_hours: 72,
        percent: 10,
    },
];

// === impl Pair ===

impl Pair {
    /// How many times faster than evenly the budget has to burn: 14.4, 6, 3 and 1 for a period of 30 days.
    pub(super) fn factor(self, period_days: u32) -> f64 {
        let thousandths = self.percent * 10 * period_days * 24 / self.long_hours;
        f64::from(thousandths) / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factors_are_those_of_the_workbook() {
        let factors = |days| {
            PAGE.iter()
                .chain(&TICKET)
                .map(|pair| pair.factor(days))
                .collect::<Vec<_>>()
        };
        assert_eq!(factors(30), [14.4, 6.0, 3.0, 1.0]);
        assert_eq!(factors(28), [13.44, 5.6, 2.8, 0.933]);
    }

    #[test]
    fn every_window_is_recorded() {
        for pair in PAGE.iter().chain(&TICKET) {
            assert!(ALL.contains(&pair.short) && ALL.contains(&pair.long));
        }
    }
}
