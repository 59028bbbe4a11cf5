//! The scheduler's clock, and the one that everything else is measured with.
//!
//! `sched_info.last_arrival` says when a thread got its CPU, by the clock of the run queues; no program can read that clock.
//! But no thread acts before it has got its CPU: the smallest difference that is ever seen between the time of an event
//! and the last arrival of its thread is that between the clocks, and a little more, since a thread that sleeps until data comes
//! reads it within microseconds. The clocks drift apart by some millionths, so old differences are forgotten.

/// How long a difference is believed, at the least, in nanoseconds.
const WINDOW: u64 = 1_000_000_000;

/// The difference between the clocks: monotonic time minus that of the run queues. All zero is: not known.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offset {
    /// The smallest in this window.
    pub current: u64,
    /// The smallest in the window before.
    pub previous: u64,
    /// When this window began.
    pub since: u64,
}

/// Which of two differences is smaller. They may be below zero.
#[inline(always)]
fn smaller(a: u64, b: u64) -> u64 {
    if (a.wrapping_sub(b) as i64) < 0 { a } else { b }
}

// === impl Offset ===

impl Offset {
    /// A thread that arrived at `arrived`, by the run queues' clock, acts at `time`. Says when it arrived by the clock of
    /// `time`: then or a little later.
    #[inline(always)]
    pub fn translate(&mut self, arrived: u64, time: u64) -> u64 {
        let difference = time.wrapping_sub(arrived);
        if time.wrapping_sub(self.since) > WINDOW {
            self.previous = if self.since == 0 { difference } else { self.current };
            self.current = difference;
            self.since = time;
        } else if smaller(difference, self.current) != self.current {
            self.current = difference;
        }
        arrived.wrapping_add(smaller(self.current, self.previous))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_difference_counts() {
        for origin in [0u64, 5_000_000, 0u64.wrapping_sub(7_000_000_000)] {
            let mut offset = Offset::default();
            let base = 100_000_000_000u64;
            let arrived = |time: u64| time.wrapping_sub(origin);
            assert_eq!(offset.translate(arrived(base), base + 500), base + 500);
            assert_eq!(offset.translate(arrived(base + 1_000), base + 1_020), base + 1_020);
            assert_eq!(offset.translate(arrived(base + 2_000), base + 9_000), base + 2_020);
            // Two windows later it is forgotten.
            let later = base + 3 * WINDOW;
            assert_eq!(offset.translate(arrived(later), later + 300), later + 20);
            let later = later + 2 * WINDOW;
            assert_eq!(offset.translate(arrived(later), later + 400), later + 300);
        }
    }
}
