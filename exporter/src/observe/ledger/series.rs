//! A request series, as a scrape shows it.

use vigie_ebpf::types::SeriesValue;

use super::add;

/// What was counted under some labels, and since when they are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Series {
    /// What was counted.
    pub value: SeriesValue,
    /// When the labels were first there, by the monotonic clock, in nanoseconds.
    pub born: u64,
}

// === impl Series ===

impl Series {
    /// Adds another one with the same labels: they are there since the first of the two.
    pub fn add(&mut self, other: &Self) {
        let Self { value, born } = other;
        add(&mut self.value, value);
        self.born = self.born.min(*born);
    }
}
