//! What must not be passed while a load runs.

use super::reading::Reading;
use clap::Args;
use std::fmt;
use std::time::Duration;

/// So many errors there must be at the least: one of the first ten requests of a load stops nothing. The alerts have it so, too.
const MIN_FAILED: f64 = 5.0;

#[derive(Args, Clone, Copy, Debug)]
pub struct Limits {
    /// Stop the load when the p95 of the durations is above this
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = positive)]
    pub max_p95: f64,
    /// Stop the load when more of the answers than this are errors (status 5xx)
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0, value_parser = positive)]
    pub max_errors: f64,
}

/// The limit that was passed, and by what.
#[derive(Clone, Debug, PartialEq)]
pub enum Breach {
    P95 {
        seconds: f64,
        limit: f64,
    },
    /// The p95 is above the highest bound of the buckets; where the limit is above that, too, nobody can say more.
    P95Beyond {
        bound: f64,
        limit: f64,
    },
    Errors {
        percent: f64,
        limit: f64,
    },
    /// Requests are in flight, and none has been answered for as long as this: a p95 is only of what was answered.
    Stalled {
        seconds: f64,
        in_flight: f64,
    },
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err("it has to be a number above 0".to_owned()),
    }
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_p95: 10.0,
            max_errors: 5.0,
        }
    }
}

impl Limits {
    /// The first limit that the reading passes, the errors before the p95: what fails fast looks quick. `stalled` is how long
    /// nothing has been answered though something was asked, and `patience` how long that may be.
    pub fn judge(&self, reading: &Reading, stalled: Duration, patience: Duration) -> Option<Breach> {
        if let Some(percent) = reading.errors.map(|share| share * 100.0)
            && percent > self.max_errors
            && reading.failed >= MIN_FAILED
        {
            let limit = self.max_errors;
            return Some(Breach::Errors { percent, limit });
        }
        if let Some(seconds) = reading.p95
            && seconds > self.max_p95
        {
            let limit = self.max_p95;
            return Some(Breach::P95 { seconds, limit });
        }
        if let Some(bound) = reading.p95
            && reading.is_beyond
        {
            let limit = self.max_p95;
            return Some(Breach::P95Beyond { bound, limit });
        }
        (stalled > patience).then_some(Breach::Stalled {
            seconds: stalled.as_secs_f64(),
            in_flight: reading.in_flight,
        })
    }
}

// === impl Breach ===

impl fmt::Display for Breach {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::P95 { seconds, limit } => write!(out, "p95 {seconds:.3} s > {limit} s"),
            Self::P95Beyond { bound, limit } if bound >= limit => {
                write!(out, "p95 above {bound} s, the highest bucket, and so > {limit} s")
            }
            Self::P95Beyond { bound, limit } => {
                write!(
                    out,
                    "p95 above {bound} s, the highest bucket: whether it is above {limit} s cannot be seen"
                )
            }
            Self::Errors { percent, limit } => write!(out, "errors {percent:.1} % > {limit} %"),
            Self::Stalled { seconds, in_flight } => {
                write!(out, "no answer for {seconds:.0} s with {in_flight} requests in flight")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: f64 = 10.0;
    const PATIENCE: Duration = Duration::from_secs(30);

    fn judge(p95: Option<f64>, errors: Option<f64>, stalled: u64) -> Option<String> {
        let reading = Reading {
            p95,
            is_beyond: p95 == Some(BOUND),
            errors,
            failed: errors.unwrap_or_default() * 1000.0,
            in_flight: 7.0,
            is_answering: true,
        };
        let breach = Limits::default().judge(&reading, Duration::from_secs(stalled), PATIENCE);
        breach.map(|breach| breach.to_string())
    }

    #[test]
    fn a_limit_itself_may_be_reached() {
        assert_eq!(judge(Some(9.9), Some(0.05), 30), None);
        assert_eq!(judge(None, None, 0), None);
        let few = Reading {
            errors: Some(0.5),
            failed: 4.0,
            ..Reading::default()
        };
        assert_eq!(Limits::default().judge(&few, Duration::ZERO, PATIENCE), None);
        assert_eq!(
            judge(Some(BOUND), None, 0).unwrap(),
            "p95 above 10 s, the highest bucket, and so > 10 s"
        );
        assert_eq!(judge(Some(10.5), None, 0).unwrap(), "p95 10.500 s > 10 s");
        assert_eq!(judge(Some(10.5), Some(0.051), 0).unwrap(), "errors 5.1 % > 5 %");
        assert_eq!(
            judge(None, None, 31).unwrap(),
            "no answer for 31 s with 7 requests in flight"
        );
    }

    #[test]
    fn only_numbers_above_0_are_limits() {
        assert_eq!(positive("0.5"), Ok(0.5));
        for text in ["0", "-1", "NaN", "inf", "5%"] {
            assert!(positive(text).is_err(), "{text}");
        }
    }
}
