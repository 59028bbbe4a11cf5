//! How many events are handled at a time.
//!
//! Events may come faster than they are handled, and for as long as their maker likes: then a ring buffer never is empty. Signals, scrapes
//! and pages wait meanwhile, for all of them are served by one thread.

use std::time::{Duration, Instant};

/// How many events are handled before others get their turn.
const EVENTS: usize = 1024;
/// How long that may take, after which no other event is begun: most events take microseconds, but one of a process that is named takes
/// milliseconds.
const TIME: Duration = Duration::from_millis(5);

/// When to stop.
pub trait Limit {
    /// A record of so many bytes was handled. `true`: no more now.
    fn is_reached(&mut self, length: usize) -> bool;
}

/// A batch between which others get their turn.
#[derive(Debug)]
pub struct Batch {
    begin: Instant,
    events: usize,
}

// === impl Batch ===

impl Batch {
    /// It begins now.
    pub fn new() -> Self {
        Self {
            begin: Instant::now(),
            events: 0,
        }
    }
}

impl Limit for Batch {
    fn is_reached(&mut self, _: usize) -> bool {
        self.events += 1;
        self.events >= EVENTS || self.begin.elapsed() >= TIME
    }
}

/// All that was in a ring buffer at one moment. Where it ends is not known, but it was no more than the ring buffer holds.
#[derive(Debug)]
pub struct Whole {
    left: usize,
}

// === impl Whole ===

impl Whole {
    /// A ring buffer holds so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self { left: bytes }
    }
}

impl Limit for Whole {
    fn is_reached(&mut self, length: usize) -> bool {
        self.left = self.left.saturating_sub(place_of(length));
        self.left == 0
    }
}

/// How many bytes of a ring buffer a record takes: behind a header, and up to the next multiple of eight (`__bpf_ringbuf_reserve()` in
/// kernel/bpf/ringbuf.c).
fn place_of(length: usize) -> usize {
    (8 + length).next_multiple_of(8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many events of so many bytes are handled of those that never end.
    fn handled(mut limit: impl Limit, length: usize) -> usize {
        (1..).find(|_| limit.is_reached(length)).unwrap()
    }

    #[test]
    fn a_batch_ends() {
        let slow = Batch {
            begin: Instant::now().checked_sub(TIME).unwrap(),
            events: 0,
        };
        assert_eq!(handled(slow, 40), 1);
        let soon = Batch {
            begin: Instant::now() + 1000 * TIME,
            events: 0,
        };
        assert_eq!(handled(soon, 40), EVENTS);
    }

    #[test]
    fn all_that_was_there_is_handled_and_not_what_comes_for_ever() {
        // As many as find room, and no fewer.
        assert_eq!(handled(Whole::new(4096), 40), 86);
        assert_eq!(handled(Whole::new(4096), 56), 64);
        assert_eq!(handled(Whole::new(4096), 57), 57);
        assert_eq!(handled(Whole::new(4096), 1), 256);
    }
}
