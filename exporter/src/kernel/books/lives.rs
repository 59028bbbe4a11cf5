//! Slots of services and series that are given, and given back.

use anyhow::Result;
use aya::maps::PerCpuValues;
use vigie_ebpf::{
    service::{ANSWERS, FULL, slot},
    types::{Exchanged, Killed, SchedValue, SeriesKey, SeriesValue},
};

use super::{Books, removed, route_key};

// === impl Books ===

impl Books {
    /// Gives a slot to a service, whose routes have this mode: what others have had counted there is gone before.
    ///
    /// # Errors
    ///
    /// If a map cannot be written.
    pub fn give_slot(&mut self, number: u16, mode: u32) -> Result<()> {
        let place = slot(number);
        self.in_flight
            .set(place, PerCpuValues::try_from(vec![0; self.cpus])?, 0)?;
        self.exchanged
            .set(place, PerCpuValues::try_from(vec![Exchanged::default(); self.cpus])?, 0)?;
        self.sched.set(
            place,
            PerCpuValues::try_from(vec![SchedValue::default(); self.cpus])?,
            0,
        )?;
        self.trouble
            .set(place, PerCpuValues::try_from(vec![Default::default(); self.cpus])?, 0)?;
        self.route_modes.set(place, mode, 0)?;
        self.killed.set(place, Killed::default(), 0)?;
        Ok(self.owners.set(place, u32::from(number), 0)?)
    }

    /// Says that a service has answered a request: from now on its children's work is its own.
    ///
    /// # Errors
    ///
    /// If the map cannot be written.
    pub fn note_answers(&mut self, number: u16) -> Result<()> {
        self.mark(number, ANSWERS)
    }

    /// Says that there is no room for more series of a service: requests that have none are counted as `other`, if that has one.
    ///
    /// # Errors
    ///
    /// If the map cannot be written.
    pub fn note_full(&mut self, number: u16) -> Result<()> {
        self.mark(number, FULL)
    }

    /// Says that there is room again.
    ///
    /// # Errors
    ///
    /// If the map cannot be written.
    pub fn note_room(&mut self, number: u16) -> Result<()> {
        let word = self.owners.get(&slot(number), 0)? & !FULL;
        Ok(self.owners.set(slot(number), word, 0)?)
    }

    fn mark(&mut self, number: u16, bit: u32) -> Result<()> {
        let word = self.owners.get(&slot(number), 0)? | bit;
        Ok(self.owners.set(slot(number), word, 0)?)
    }

    /// Takes a slot back: nothing is counted for its service any more.
    ///
    /// # Errors
    ///
    /// If the map cannot be written.
    pub fn take_slot(&mut self, number: u16) -> Result<()> {
        Ok(self.owners.set(slot(number), 0, 0)?)
    }

    /// Forgets the connections of services that carried no HTTP.
    ///
    /// # Errors
    ///
    /// If the map cannot be read or written.
    pub fn end_not_http(&mut self, numbers: &[u16]) -> Result<()> {
        let keys = self.not_http.keys().collect::<Result<Vec<_>, _>>()?;
        for key in keys.iter().filter(|key| numbers.contains(&key.service)) {
            removed(self.not_http.remove(key))?;
        }
        Ok(())
    }

    /// The last process of a service that was killed by a signal.
    ///
    /// # Errors
    ///
    /// If the map cannot be read.
    pub fn killed(&self, number: u16) -> Result<Killed> {
        Ok(self.killed.get(&slot(number), 0)?)
    }

    /// Ends series, and says what the kernel has counted for them.
    ///
    /// # Errors
    ///
    /// If a map cannot be read or written.
    pub fn end_series(&mut self, keys: &[SeriesKey], mut show: impl FnMut(&SeriesKey, &SeriesValue)) -> Result<()> {
        for key in keys {
            let Ok(values) = self.series.get(key, 0) else {
                continue;
            };
            removed(self.series.remove(key))?;
            values.iter().for_each(|value| show(key, value));
        }
        Ok(())
    }

    /// Forgets the waits of a route that has no series any more.
    ///
    /// # Errors
    ///
    /// If the map cannot be written.
    pub fn end_waits(&mut self, key: &SeriesKey) -> Result<()> {
        removed(self.waits.remove(&route_key(key)))
    }

    /// Gives the places of native histograms back, with their exemplars.
    ///
    /// # Errors
    ///
    /// If a map cannot be read or written.
    pub fn end_natives(&mut self, places: &[usize]) -> Result<()> {
        let mut stale = Vec::new();
        self.all_exemplars.for_each(|key, _| {
            if places.contains(&(key.place as usize)) {
                stale.push(*key);
            }
        })?;
        for key in stale {
            removed(self.exemplars.remove(&key))?;
        }
        places.iter().for_each(|place| self.native.clear(*place));
        Ok(())
    }

    /// Forgets all that was taught of the paths of these services.
    ///
    /// # Errors
    ///
    /// If a map cannot be read or written.
    pub fn end_shapes(&mut self, numbers: &[u16]) -> Result<()> {
        let mut stale = Vec::new();
        self.all_shapes.for_each(|key, _| {
            if numbers.iter().any(|number| u32::from(*number) == key.service) {
                stale.push(*key);
            }
        })?;
        for key in stale {
            removed(self.shapes.remove(&key))?;
        }
        Ok(())
    }
}
