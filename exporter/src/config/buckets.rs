//! Bounds of the duration histograms.

use serde_saphyr::Spanned;

use super::error::Place;

const NANOS_PER_SECOND: f64 = 1e9;
/// Largest bound: above it a `f64` no longer holds every whole nanosecond.
const MAX_SECONDS: f64 = 9_007_199.0;
const MAX_BOUNDS: usize = vigie_ebpf::types::BOUNDS;

/// Upper bounds of the finite buckets, strictly increasing.
#[derive(Debug, Clone, PartialEq)]
pub struct Buckets {
    seconds: Vec<f64>,
    nanos: Vec<u64>,
}

impl Buckets {
    /// The bounds in seconds, as written.
    #[must_use]
    pub fn seconds(&self) -> &[f64] {
        &self.seconds
    }

    /// The bounds in whole nanoseconds.
    #[must_use]
    pub fn nanos(&self) -> &[u64] {
        &self.nanos
    }
}

impl Buckets {
    /// Bounds in seconds that are written in the program: each a whole number of nanoseconds.
    pub(super) fn of(seconds: &[f64]) -> Self {
        Self {
            seconds: seconds.to_vec(),
            nanos: seconds
                .iter()
                .map(|bound| (bound * NANOS_PER_SECOND).round() as u64)
                .collect(),
        }
    }
}

impl Default for Buckets {
    /// 2 s, 5 s and 10 s are what alerts and objectives are about: an objective's threshold has to be a bound.
    fn default() -> Self {
        let micros: [u32; 14] = [
            500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_000_000,
            5_000_000, 10_000_000,
        ];
        Self {
            seconds: micros.iter().map(|&bound| f64::from(bound) / 1e6).collect(),
            nanos: micros.iter().map(|&bound| u64::from(bound) * 1_000).collect(),
        }
    }
}

/// Checks the bounds written in the file.
pub(super) fn check(list: &Spanned<Vec<Spanned<f64>>>) -> Result<Buckets, Place> {
    if !(1..=MAX_BOUNDS).contains(&list.value.len()) {
        let problem = format!("buckets has {} bounds", list.value.len());
        return Err(Place::at(list, &problem, "give 1 to 27 bounds in seconds"));
    }
    let mut nanos = Vec::with_capacity(list.value.len());
    for bound in &list.value {
        let value = to_nanos(bound)?;
        if nanos.last().is_some_and(|&last| value <= last) {
            let problem = format!("bucket {} is not above the one before it", shown(bound.value));
            return Err(Place::at(bound, &problem, "sort the bounds, each one once"));
        }
        nanos.push(value);
    }
    Ok(Buckets {
        seconds: list.value.iter().map(|bound| bound.value).collect(),
        nanos,
    })
}

fn to_nanos(bound: &Spanned<f64>) -> Result<u64, Place> {
    let seconds = bound.value;
    let refuse =
        |problem: &str, hint: &str| Err(Place::at(bound, &format!("bucket {} {problem}", shown(seconds)), hint));
    if !seconds.is_finite() {
        return refuse("is not finite", "drop it, the +Inf bucket is always there");
    }
    if seconds <= 0.0 {
        return refuse("is not above zero", "give bounds in seconds, such as 0.005");
    }
    if seconds > MAX_SECONDS {
        return refuse("is too large", "give seconds, at most 9007199");
    }
    let exact = seconds * NANOS_PER_SECOND;
    let rounded = exact.round();
    // What the multiplication itself may lose, and no more.
    let slack = (exact * f64::EPSILON * 2.0).max(1e-6);
    if rounded < 1.0 || (exact - rounded).abs() > slack {
        return refuse("is not a whole number of nanoseconds", "use at most 9 decimals");
    }
    Ok(rounded as u64)
}

/// A number in its shorter form.
fn shown(seconds: f64) -> String {
    let (plain, scientific) = (seconds.to_string(), format!("{seconds:e}"));
    if plain.len() <= 12 { plain } else { scientific }
}
