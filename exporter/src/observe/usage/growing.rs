//! A counter whose parts come and go, and that never goes down: what a part had when it was last seen stays.

use std::{collections::HashMap, hash::Hash};

/// A sum over parts, each of which only grows.
#[derive(Debug)]
pub struct Growing<K> {
    total: u64,
    last: HashMap<K, u64>,
}

// === impl Growing ===

impl<K> Default for Growing<K> {
    fn default() -> Self {
        Self {
            total: 0,
            last: HashMap::new(),
        }
    }
}

impl<K: Eq + Hash> Growing<K> {
    /// A part is this large now. If that is less than it was, it is another part by the same name, and counts whole.
    pub fn see(&mut self, part: K, value: u64) {
        let last = self.last.entry(part).or_insert(0);
        self.total += value.checked_sub(*last).unwrap_or(value);
        *last = value;
    }

    /// A part that is only ever itself is this large now, by a counter of 32 bits: if that is less than it was, it has started over at 2^32.
    ///
    /// What it counts between two looks has to be below 2^32.
    pub fn see_wrapping(&mut self, part: K, value: u32) {
        let last = self.last.entry(part).or_insert(0);
        let growth = value.wrapping_sub(*last as u32);
        self.total += u64::from(growth);
        *last = u64::from(value);
    }

    /// Forgets the parts that are gone; what they had stays.
    pub fn keep(&mut self, mut is_there: impl FnMut(&K) -> bool) {
        self.last.retain(|part, _| is_there(part));
    }

    /// The sum.
    pub fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_never_goes_down() {
        let mut sum = Growing::default();
        sum.see("a", 5);
        sum.see("b", 2);
        sum.see("a", 9);
        assert_eq!(sum.total(), 11);
        sum.keep(|part| *part == "b");
        assert_eq!(sum.total(), 11);
        // Another "a", and "b" began anew.
        sum.see("a", 1);
        sum.see("b", 1);
        assert_eq!(sum.total(), 13);
    }

    #[test]
    fn a_counter_of_32_bits_starts_over() {
        let mut sum = Growing::default();
        sum.see_wrapping(1, u32::MAX - 1);
        sum.see_wrapping(1, 3);
        assert_eq!(sum.total(), (1 << 32) + 3);
        sum.see_wrapping(1, 3);
        sum.see_wrapping(2, 7);
        sum.keep(|part| *part == 1);
        sum.see_wrapping(1, 2);
        // Another whole turn but for one.
        assert_eq!(sum.total(), (2 << 32) + 2 + 7);
    }
}
