//! The clock of a client, and how far an observer of its requests may be from it.

use std::io;
use std::time::{Duration, Instant};

use crate::sched::Sched;

/// A clock that runs on the client's thread.
#[derive(Debug)]
pub struct Stopwatch {
    start: Instant,
    waited: Duration,
}

/// What the clock has measured, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    pub seconds: f64,
    /// How much of it the client waited for a CPU. An answer that is there waits with it, and only the client's clock goes on.
    pub waited: f64,
}

// === impl Stopwatch ===

impl Stopwatch {
    pub fn start() -> io::Result<Self> {
        let waited = Sched::of_this_thread()?.waited();
        let start = Instant::now();
        Ok(Self { start, waited })
    }

    /// The time since the start. It has to be the thread that started it.
    pub fn measure(&self) -> io::Result<Measured> {
        let seconds = self.start.elapsed().as_secs_f64();
        let waited = Sched::of_this_thread()?.waited().saturating_sub(self.waited);
        Ok(Measured {
            seconds,
            waited: waited.as_secs_f64(),
        })
    }
}

// === impl Measured ===

impl Measured {
    /// Whether another clock agrees, but for `slack` seconds. It may be less by what the client waited for a CPU.
    pub fn agrees(&self, seen: f64, slack: f64) -> bool {
        seen <= self.seconds + slack && seen >= self.seconds - self.waited - slack
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_clock_may_be_behind_by_the_wait_alone() {
        let (seconds, waited) = (0.5, 0.1);
        let measured = Measured { seconds, waited };
        for (seen, agrees) in [
            (0.396, false),
            (0.399, true),
            (0.5, true),
            (0.501, true),
            (0.503, false),
        ] {
            assert_eq!(measured.agrees(seen, 0.002), agrees, "{seen}");
        }
    }

    #[test]
    fn it_measures() {
        let measured = Stopwatch::start().unwrap().measure().unwrap();
        assert!(measured.seconds > 0.0 && measured.waited >= 0.0);
    }
}
