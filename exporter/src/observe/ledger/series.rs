//! A request series, as a scrape shows it.

use std::borrow::Cow;

use vigie_ebpf::types::{SeriesKey, SeriesValue};

use super::add;

/// What was counted under some labels, and since when they are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Series {
    /// What was counted.
    pub value: SeriesValue,
    /// How many of the requests are streams of events, which have no durations. They are in the first bucket.
    pub streams: u64,
    /// When the labels were first there, by the monotonic clock, in nanoseconds.
    pub born: u64,
}

// === impl Series ===

impl Series {
    /// What was counted for a series of the kernel side.
    pub fn new(key: &SeriesKey, value: SeriesValue, born: u64) -> Self {
        let streams = if key.is_stream() { value.buckets.iter().sum() } else { 0 };
        Self { value, streams, born }
    }

    /// Those of the requests that have durations, if any have. The bytes are those of all.
    pub fn timed(&self) -> Option<Cow<'_, Self>> {
        if self.streams == 0 {
            return Some(Cow::Borrowed(self));
        }
        if self.value.buckets.iter().sum::<u64>() == self.streams {
            return None;
        }
        let mut timed = *self;
        timed.value.buckets[0] -= self.streams;
        timed.streams = 0;
        Some(Cow::Owned(timed))
    }

    /// Adds another one with the same labels: they are there since the first of the two.
    pub fn add(&mut self, other: &Self) {
        let Self { value, streams, born } = other;
        add(&mut self.value, value);
        self.streams += streams;
        self.born = self.born.min(*born);
    }
}
