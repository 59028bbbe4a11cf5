//! Routes that have given their places back: their series end.
//!
//! No counter goes down. What was shown with others, as `other` or `none`, is moved there: counts, native histograms and waits. The totals of the
//! service go on from what had a handler of its own.

use std::{collections::HashMap, time::Instant};

use anyhow::Result;
use vigie_ebpf::{
    native::Native,
    types::{ROUTE_NONE, STATUS_ABORTED, SeriesKey, SeriesValue, Waits},
};

use super::{Counted, Ledger, add, monotonic, subtract, waits};
use crate::kernel::books::route_key;

/// What a series has counted that ends.
struct Ending {
    key: SeriesKey,
    native: Option<Box<Native>>,
    /// What of it was shown as `none`.
    as_none: Option<(SeriesValue, Option<Box<Native>>)>,
}

/// How long requests of a route have waited that ends: all of them, and those that were shown as `none`.
struct EndingWaits {
    route: SeriesKey,
    all: Waits,
    as_none: Option<Waits>,
}

impl Ledger {
    /// Forgets the routes that have given their places back long ago.
    ///
    /// # Errors
    ///
    /// If the maps cannot be read or written.
    pub(super) fn end_routes(&mut self, now: Instant) -> Result<()> {
        let retired = self.routes.take_retired(now);
        if retired.is_empty() {
            return Ok(());
        }
        let into: HashMap<u32, Option<u32>> = retired.iter().map(|route| (route.route, route.into)).collect();
        let keys = self.counted.keys().filter(|key| into.contains_key(&key.route));
        let keys: Vec<SeriesKey> = keys.copied().collect();
        let endings: Vec<Ending> = keys.iter().map(|key| self.ending(key)).collect();
        let ending_waits = self.ending_waits(&keys)?;
        let values = self.end_series(&keys)?;
        for Ending { key, native, as_none } in endings {
            let value = values.get(&key).copied().unwrap_or_default();
            let (mut value, mut native) = (value, native);
            let into = into.get(&key.route).copied().flatten();
            if let Some((part, of_part)) = as_none.filter(|_| into != Some(ROUTE_NONE)) {
                let none = SeriesKey {
                    route: ROUTE_NONE,
                    ..key
                };
                self.move_to(none, &part, of_part.as_deref());
                value = subtract(&value, &part);
                if let (Some(native), Some(of_part)) = (&mut native, &of_part) {
                    let counts = native.iter_mut().zip(of_part.iter());
                    counts.for_each(|(count, less)| *count = count.saturating_sub(*less));
                }
            }
            match into {
                Some(route) => self.move_to(SeriesKey { route, ..key }, &value, native.as_deref()),
                None => self.count_as_ended(&key, &value),
            }
        }
        for EndingWaits {
            route: key,
            all,
            as_none,
        } in ending_waits
        {
            let into = into.get(&key.route).copied().flatten();
            let as_none = as_none.filter(|_| into != Some(ROUTE_NONE));
            let rest = into.map(|route| (route, as_none.map_or(all, |part| waits::without(&all, &part))));
            for (route, moved) in as_none.map(|part| (ROUTE_NONE, part)).into_iter().chain(rest) {
                waits::add(self.waits.entry(SeriesKey { route, ..key }).or_default(), &moved);
            }
        }
        self.teach_routes()
    }

    fn ending(&self, key: &SeriesKey) -> Ending {
        let place = self.counted.get(key).map_or(0, |counted| counted.native);
        let as_none = self.shown_as_none.get(key);
        Ending {
            key: *key,
            native: self.books.native.get(place).filter(|_| place != 0),
            as_none: as_none.map(|part| (*part, self.native_as_none.get(key).cloned())),
        }
    }

    fn ending_waits(&self, keys: &[SeriesKey]) -> Result<Vec<EndingWaits>> {
        let answered = keys.iter().filter(|key| key.status != STATUS_ABORTED);
        let mut routes: Vec<SeriesKey> = answered.map(route_key).collect();
        routes.sort_unstable();
        routes.dedup();
        let in_kernel = self.books.waits()?;
        let ending = |route: SeriesKey| {
            let mut all = in_kernel.get(&route).copied().unwrap_or_default();
            if let Some(counted) = self.waits.get(&route) {
                waits::add(&mut all, counted);
            }
            let as_none = self.waits_as_none.get(&route).map(waits::WaitBuckets::long);
            EndingWaits { route, all, as_none }
        };
        Ok(routes.into_iter().map(ending).collect())
    }

    /// Adds what an ended series has counted to another.
    fn move_to(&mut self, key: SeriesKey, value: &SeriesValue, native: Option<&Native>) {
        let (room, natives) = (&mut self.room, &mut self.natives);
        let counted = self.counted.entry(key).or_insert_with(|| {
            room.take_anyway(key.service);
            let place = if key.is_stream() { 0 } else { natives.take() };
            Counted::new(place, monotonic())
        });
        add(&mut counted.value, value);
        if let Some(native) = native.filter(|_| counted.native != 0) {
            self.books.native.add(counted.native, native);
        }
    }
}
