//! How many series there may be.
//!
//! A series takes room for each possible CPU, so what is limited is bytes. The first half of it is for whoever comes first. Of the
//! other half each service may have a 32nd at the most, so that one that takes all it can get leaves something to the others.

use std::collections::{BTreeSet, HashMap};

use anyhow::Result;
use vigie_ebpf::types::{ROUTE_OTHER, SeriesKey, SeriesValue, Waits};

use super::Ledger;

/// How many bytes the kernel's maps of series may take.
const BYTES: usize = 48 << 20;
/// How many series there may be at the most, however few CPUs there are.
const MOST: usize = 20_000;
/// Among how many services the second half is shared.
const SHARERS: usize = 32;
/// What an element of a hash map takes beside its value, about.
const OVERHEAD: usize = 96;

/// How many series there are, and may be.
#[derive(Debug)]
pub struct Room {
    most: usize,
    all: usize,
    by_service: HashMap<u16, usize>,
    /// The services that were refused a series since the last one ended.
    full: BTreeSet<u16>,
    /// Series that were not made: their requests are counted as `other`.
    pub refused: u64,
}

// === impl Room ===

impl Room {
    /// Room for the series of a host with so many possible CPUs.
    pub fn new(cpus: usize) -> Self {
        let each = size_of::<SeriesValue>() * cpus + size_of::<Waits>() + 2 * OVERHEAD;
        Self {
            most: (BYTES / each).min(MOST),
            all: 0,
            by_service: HashMap::new(),
            full: BTreeSet::new(),
            refused: 0,
        }
    }

    /// How many there may be.
    pub fn most(&self) -> usize {
        self.most
    }

    /// How many series a service may have when the first half is taken.
    fn share(&self) -> usize {
        self.most / 2 / SHARERS
    }

    /// Takes room for a series of a service. `false`: there is none for it.
    pub fn take(&mut self, service: u16) -> bool {
        let own = self.by_service.get(&service).copied().unwrap_or_default();
        if self.all >= self.most || (self.all >= self.most / 2 && own >= self.share()) {
            self.refused += 1;
            self.full.insert(service);
            return false;
        }
        self.all += 1;
        *self.by_service.entry(service).or_default() += 1;
        true
    }

    /// Takes room for a series that has to be there: all those that there is no room for are counted in it.
    pub fn take_anyway(&mut self, service: u16) {
        self.all += 1;
        *self.by_service.entry(service).or_default() += 1;
    }

    /// The services that were refused a series, and may have one now.
    pub fn take_full(&mut self) -> BTreeSet<u16> {
        std::mem::take(&mut self.full)
    }

    /// A series of a service has ended.
    pub fn leave(&mut self, service: u16) {
        self.all = self.all.saturating_sub(1);
        if let Some(own) = self.by_service.get_mut(&service) {
            *own -= 1;
            if *own == 0 {
                self.by_service.remove(&service);
            }
        }
    }
}

impl Ledger {
    /// Makes sure that there is room for a series, or has its requests counted as `other`.
    pub(super) fn make_room(&mut self, key: &mut SeriesKey) -> Result<()> {
        if self.counted.contains_key(key) || self.room.take(key.service) {
            return Ok(());
        }
        // From here on the kernel side does the same by itself, if it has that series.
        self.books.note_full(key.service)?;
        key.route = ROUTE_OTHER;
        if !self.counted.contains_key(key) {
            self.room.take_anyway(key.service);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_is_kept_on_any_number_of_cpus() {
        for cpus in [1, 2, 16, 128, 512, 4096] {
            let room = Room::new(cpus);
            let bytes = room.most() * (cpus * size_of::<SeriesValue>() + size_of::<Waits>());
            assert!(bytes <= BYTES && room.most() >= 40, "{cpus}: {}", room.most());
        }
        assert_eq!(Room::new(2).most(), MOST);
        assert!(Room::new(128).most() >= 1000);
    }

    /// One takes all it can get; twenty others get their share, and it shrinks again.
    #[test]
    fn nobody_takes_it_all() {
        let mut room = Room::new(128);
        let greedy = (0..100_000).filter(|_| room.take(1)).count();
        assert!(greedy <= room.most() / 2 + 1, "{greedy}");
        for service in 2..22 {
            let share = (0..100_000).filter(|_| room.take(service)).count();
            assert_eq!(share, room.share(), "{service}");
        }
        for service in 22..200 {
            for _ in 0..1000 {
                room.take(service);
            }
        }
        assert!(room.all <= room.most(), "{}", room.all);
        for _ in 0..greedy {
            room.leave(1);
        }
        assert!(!room.by_service.contains_key(&1));
        assert!(room.take(300));
    }
}
