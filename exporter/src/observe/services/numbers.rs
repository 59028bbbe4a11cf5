//! Which numbers are given.

use std::collections::VecDeque;

use vigie_ebpf::service::{GENERATIONS, LAST_SLOT, SLOTS, number, slot};

/// The slots, and how often each was given.
#[derive(Debug)]
pub struct Numbers {
    generations: [u8; SLOTS],
    /// Those that are nobody's: the one that was given back first is given first.
    free: VecDeque<u8>,
    version: u64,
}

// === impl Numbers ===

impl Default for Numbers {
    fn default() -> Self {
        Self {
            generations: [0; SLOTS],
            free: (1..LAST_SLOT).collect(),
            version: 0,
        }
    }
}

impl Numbers {
    /// The number of all services that have none of their own.
    pub const REST: u16 = number(0, LAST_SLOT);

    /// A number that is nobody's.
    pub fn give(&mut self) -> Option<u16> {
        let place = self.free.pop_front()?;
        self.version += 1;
        Some(number(self.generations[usize::from(place)], place))
    }

    /// A number is nobody's from now on: the next one in its slot is another.
    pub fn take_back(&mut self, number: u16) {
        self.version += 1;
        let place = slot(number) as u8;
        if number == Self::REST {
            return;
        }
        let generation = &mut self.generations[usize::from(place)];
        *generation = (*generation + 1) % GENERATIONS;
        self.free.push_back(place);
    }

    /// Whether there is a number that is nobody's.
    pub fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// How often a number was given or taken back.
    pub fn version(&self) -> u64 {
        self.version
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// A slot has another number each time, and all are given before one comes again.
    #[test]
    fn a_number_does_not_come_again_soon() {
        let mut numbers = Numbers::default();
        let mut seen = HashSet::new();
        for _ in 0..usize::from(LAST_SLOT - 1) * usize::from(GENERATIONS) {
            let number = numbers.give().unwrap();
            assert!(seen.insert(number) && number != Numbers::REST);
            numbers.take_back(number);
        }
        assert!(seen.contains(&numbers.give().unwrap()));
    }

    #[test]
    fn numbers_run_out() {
        let mut numbers = Numbers::default();
        let given: Vec<u16> = std::iter::from_fn(|| numbers.give()).collect();
        assert_eq!(given.len(), usize::from(LAST_SLOT) - 1);
        assert!(!numbers.has_room());
        numbers.take_back(given[7]);
        assert!(
            numbers
                .give()
                .is_some_and(|number| number != given[7] && slot(number) == slot(given[7]))
        );
    }
}
