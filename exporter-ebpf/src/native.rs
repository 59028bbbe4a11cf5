//! Prometheus' native histograms: buckets that grow by the same factor, whatever the config says.
//!
//! Of schema 3, which has eight buckets for each doubling: bucket `i` counts what is above 2^((i-1)/8) seconds and not
//! above 2^(i/8) seconds. Source: `prometheus/client_model`, `metrics.proto`.

use crate::bytes::{at_least, select, unbranched};

/// How many buckets are kept: the zero bucket, and those that follow it.
pub const NATIVE_BUCKETS: usize = 256;

/// The schema.
pub const NATIVE_SCHEMA: i32 = 3;

/// What Prometheus calls the bucket of place 0 is the zero bucket here: all that is not above its bound of 2^-17 s, or 7.6 µs.
pub const NATIVE_FIRST: i32 = -17 * 8;

/// Counts by duration: place 0 is the zero bucket, and place `i` what Prometheus calls bucket `NATIVE_FIRST + i`. The last one
/// counts all that is longer, too: more than 8 hours.
pub type Native = [u64; NATIVE_BUCKETS];

/// The bounds, in nanoseconds, rounded down: a duration of whole nanoseconds is above one if it is above the other.
static BOUNDS_NS: [u64; NATIVE_BUCKETS] = bounds();

/// 2^(k/8), with 60 bits behind the point.
const EIGHTHS: [u64; 8] = [
    1_152_921_504_606_846_976,
    1_257_269_815_929_830_108,
    1_371_062_456_318_104_877,
    1_495_154_210_581_915_421,
    1_630_477_228_166_597_776,
    1_778_048_025_250_290_523,
    1_938_975_120_585_633_118,
    2_114_467_362_444_183_333,
];

const fn bounds() -> [u64; NATIVE_BUCKETS] {
    let mut bounds = [0; NATIVE_BUCKETS];
    let mut place = 0;
    while place < NATIVE_BUCKETS {
        let index = NATIVE_FIRST + place as i32;
        let nanoseconds = EIGHTHS[index.rem_euclid(8) as usize] as u128 * 1_000_000_000;
        bounds[place] = (nanoseconds >> (60 - index.div_euclid(8))) as u64;
        place += 1;
    }
    // What is longer than the last bound counts there, too.
    bounds[NATIVE_BUCKETS - 1] = i64::MAX as u64 - 1;
    bounds
}

/// The place of a duration of so many nanoseconds, less than 2^63. Without branches: the verifier would follow each way through.
#[inline(always)]
pub fn native_place(nanoseconds: u64) -> usize {
    let mut place = 0;
    let mut step = NATIVE_BUCKETS / 2;
    while step > 0 {
        // SAFETY: places add up to less than NATIVE_BUCKETS, whatever steps are taken.
        let bound = unsafe { *BOUNDS_NS.as_ptr().add(masked(place + step - 1)) };
        place += select(at_least(nanoseconds, bound + 1), step as u64, 0) as usize;
        step /= 2;
    }
    masked(place)
}

/// The same place. The compiler knows that it needs no mask, and the verifier of 6.1 does not.
#[inline(always)]
fn masked(place: usize) -> usize {
    unbranched(place as u64) as usize & (NATIVE_BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether 2^(index/8) seconds are at least so many nanoseconds, by whole numbers: n <= 2^(i/8) * 10^9 if
    /// n^8 <= 2^i * 10^72. Numbers of 512 bits in words of 32.
    fn is_at_least(index: i32, nanoseconds: u64) -> bool {
        let times = |number: &mut [u64; 24], factor: u64| {
            let mut carry = 0;
            for word in number.iter_mut() {
                let product = u128::from(*word) * u128::from(factor) + carry;
                *word = product as u32 as u64;
                carry = product >> 32;
            }
            assert_eq!(carry, 0);
        };
        let one = || {
            let mut number = [0u64; 24];
            number[0] = 1;
            number
        };
        let (mut left, mut right) = (one(), one());
        for _ in 0..8 {
            times(&mut left, nanoseconds);
            times(&mut right, 1_000_000_000);
        }
        for _ in 0..index.unsigned_abs() {
            times(if index < 0 { &mut left } else { &mut right }, 2);
        }
        left.iter().rev().le(right.iter().rev())
    }

    #[test]
    fn bounds_are_exact() {
        // The last one has no end.
        for (index, bound) in (NATIVE_FIRST..).zip(&BOUNDS_NS[..NATIVE_BUCKETS - 1]) {
            let bound = *bound;
            assert!(is_at_least(index, bound), "{index} {bound}");
            assert!(!is_at_least(index, bound + 1), "{index} {bound}");
        }
    }

    #[test]
    fn bounds_are_inclusive_above() {
        assert_eq!([0, 1, BOUNDS_NS[0]].map(native_place), [0; 3]);
        for place in 1..NATIVE_BUCKETS {
            assert_eq!(native_place(BOUNDS_NS[place - 1] + 1), place);
            assert_eq!(native_place(BOUNDS_NS[place]), place);
        }
        // One second, and a nanosecond more.
        assert_eq!(NATIVE_FIRST + native_place(1_000_000_000) as i32, 0);
        assert_eq!(NATIVE_FIRST + native_place(1_000_000_001) as i32, 1);
        assert_eq!(native_place(i64::MAX as u64 - 1), NATIVE_BUCKETS - 1);
    }
}
