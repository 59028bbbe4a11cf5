//! What is given back: the numbers of services that are gone, and all that was counted for them.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use anyhow::Result;
use log::debug;
use vigie_ebpf::types::{NATIVES, SERVICE_UNKNOWN, SeriesKey, SeriesValue};

use super::{Ledger, Totals, add};
use crate::{
    kernel::books::route_key,
    observe::{
        process::ProcessInfo,
        routes,
        services::{Change, Kill},
        traced::monotonic,
        usage::{Living, living},
    },
};

/// How often it is looked who has ended, while events come.
pub const PERIOD: Duration = Duration::from_secs(10);
/// How many series are started again at a time.
const STARTED_AGAIN: usize = 64;
/// How often, when somebody asks for the metrics.
pub const SHORT_PERIOD: Duration = Duration::from_millis(500);

/// The native histograms that are nobody's.
#[derive(Debug, Default)]
pub struct Natives {
    /// How many were ever given.
    given: usize,
    /// Those that were given back.
    free: Vec<usize>,
}

// === impl Natives ===

impl Natives {
    /// A place for a series, or 0: there is none. The first place is nobody's.
    pub fn take(&mut self) -> usize {
        if let Some(place) = self.free.pop() {
            return place;
        }
        if self.given + 1 >= NATIVES {
            return 0;
        }
        self.given += 1;
        self.given
    }

    /// Places are nobody's again.
    fn give_back(&mut self, places: Vec<usize>) {
        self.free.extend(places);
    }
}

// === impl Ledger ===

impl Ledger {
    /// Looks who has ended, if that was longer ago than `period`.
    ///
    /// # Errors
    ///
    /// If the maps cannot be read or written.
    pub(super) fn tick(&mut self, period: Duration) -> Result<()> {
        let now = Instant::now();
        if self
            .ticked
            .is_some_and(|ticked| now.saturating_duration_since(ticked) < period)
        {
            return Ok(());
        }
        let is_long_ago = self
            .ticked
            .is_none_or(|_| now.saturating_duration_since(self.forgot) >= PERIOD);
        self.ticked = Some(now);
        let Living {
            all,
            handlers,
            children,
            stale,
        } = match living(&self.books.processes, |number| self.is_known(number)) {
            Ok(living) => living,
            // Who is not seen now has not ended for that.
            Err(error) => {
                debug!("cannot list the processes: {error}");
                return Ok(());
            }
        };
        // An entry whose number is nobody's would be the next one's who gets it.
        for (process, entry) in stale {
            self.books.processes.replace(process, entry, SERVICE_UNKNOWN);
        }
        let alive = handlers
            .iter()
            .map(|(number, processes)| (*number, processes.len() as u64))
            .collect();
        let up = monotonic();
        let books = &self.books;
        self.services.tick(now, &alive, |number| {
            let killed = books.killed(number).ok().filter(|killed| killed.time != 0)?;
            Some(Kill {
                age: Duration::from_nanos(up.saturating_sub(killed.time)),
                signal: killed.signal,
            })
        });
        for number in self.services.weak(now) {
            let process = handlers.get(&number).and_then(|processes| processes.first());
            let info = process.and_then(|process| ProcessInfo::read(*process).ok());
            // It may have ended since, and its id be another's: then the kernel side has changed the entry.
            let is_its = |info: &ProcessInfo| self.books.processes.get(info.pid) == number && info.is_unchanged();
            if let Some(info) = info.filter(is_its) {
                self.services
                    .look_again(number, &info, |number| handlers.contains_key(&number));
            }
        }
        // What found no number is named anew when there is one.
        if let Some(rest) = self.services.nameless().filter(|_| self.services.has_room()) {
            for process in handlers.get(&rest).into_iter().flatten() {
                self.books.processes.replace(*process, rest, SERVICE_UNKNOWN);
            }
        }
        self.settle()?;
        if is_long_ago {
            self.forgot = now;
            let met = &self.met;
            self.services.forget_gone(|process| {
                let number = met.peek(&process)?;
                handlers.get(number)?.first().copied()
            });
            // A server that has become another program, and has its socket still, is a server and nobody's child.
            let servers: Vec<(u32, u16)> = self
                .services
                .ports()
                .iter()
                .filter(|(process, _)| children.contains(process))
                .collect();
            for (process, port) in servers {
                self.meet_process(process, port)?;
            }
            // No event is on its way any more: the ring buffer was emptied before.
            let gone: Vec<u32> = self
                .met
                .iter()
                .map(|(process, _)| *process)
                .filter(|process| !all.contains(process))
                .collect();
            self.has_forgotten |= !gone.is_empty();
            for process in gone {
                self.met.pop(&process);
            }
            self.services.forget_names(|process| all.contains(&process));
            self.start_again()?;
        }
        self.end_ports()?;
        self.end_routes(now)?;
        self.close_ports()
    }

    /// Whether memory was given up since the last call.
    pub fn take_forgotten(&mut self) -> bool {
        std::mem::take(&mut self.has_forgotten)
    }

    /// Starts the series that the kernel had no memory for.
    fn start_again(&mut self) -> Result<()> {
        let waiting = self.counted.iter_mut().filter(|(_, counted)| !counted.is_started);
        for (key, counted) in waiting.take(STARTED_AGAIN) {
            counted.is_started = self.books.start_series(*key, counted.native)?;
        }
        Ok(())
    }

    /// Forgets the series of ports that a living service has closed long ago. Its totals go on.
    fn end_ports(&mut self) -> Result<()> {
        let closed: HashSet<(u16, u16)> = self.services.take_closed().into_iter().collect();
        if closed.is_empty() {
            return Ok(());
        }
        let keys = self
            .counted
            .keys()
            .filter(|key| closed.contains(&(key.service, key.port)));
        let keys: Vec<SeriesKey> = keys.copied().collect();
        for (key, value) in self.end_series(&keys)? {
            self.count_as_ended(&key, &value);
        }
        Ok(())
    }

    /// Forgets ports that nobody listens on any more: a client's connection may have the same number.
    fn close_ports(&mut self) -> Result<()> {
        let listening = self.services.ports().iter().map(|(_, port)| port);
        let answered = self
            .services
            .iter()
            .flat_map(|(_, service)| service.answered.keys().copied());
        let ports: HashSet<u16> = listening.chain(answered).collect();
        if ports != self.ports {
            self.books.adopt_ports(ports.iter().copied())?;
            self.ports = ports;
        }
        Ok(())
    }

    /// Does what has to be done where numbers were given and freed.
    ///
    /// # Errors
    ///
    /// If the maps cannot be written.
    pub(super) fn settle(&mut self) -> Result<()> {
        let changes = self.services.take_changes();
        if changes.is_empty() {
            return Ok(());
        }
        let mut freed = Vec::new();
        for change in &changes {
            if let Change::Freed(number) = change {
                self.books.take_slot(*number)?;
                freed.push(*number);
            }
        }
        let ended = if freed.is_empty() {
            Ok(())
        } else {
            self.end_services(&freed)
        };
        // Whatever has failed: nothing is counted for a service that has no slot.
        for change in &changes {
            if let Change::Given(number) = change
                && self.services.get(*number).is_some()
            {
                let mode = routes::start_mode(self.services.templates(*number));
                self.books.give_slot(*number, mode)?;
            }
        }
        ended
    }

    /// Forgets all that was counted for services.
    fn end_services(&mut self, numbers: &[u16]) -> Result<()> {
        let is_theirs = |key: &SeriesKey| numbers.contains(&key.service);
        let keys: Vec<SeriesKey> = self.counted.keys().filter(|key| is_theirs(key)).copied().collect();
        self.end_series(&keys)?;
        self.books.end_shapes(numbers)?;
        self.books.end_not_http(numbers)?;
        for number in numbers {
            // Their series have ended already.
            self.routes.forget_service(*number);
            self.ended.remove(number);
            self.usage.forget(*number);
        }
        Ok(())
    }

    /// Forgets series. The result is what was counted for them.
    pub(super) fn end_series(&mut self, keys: &[SeriesKey]) -> Result<HashMap<SeriesKey, SeriesValue>> {
        self.has_forgotten |= !keys.is_empty();
        let mut values: HashMap<SeriesKey, SeriesValue> = HashMap::new();
        self.books.end_series(keys, |key, value| {
            add(values.entry(*key).or_default(), value);
        })?;
        let mut places = Vec::new();
        for key in keys {
            if let Some(counted) = self.counted.remove(key) {
                add(values.entry(*key).or_default(), &counted.value);
                if counted.native != 0 {
                    places.push(counted.native);
                }
            }
            self.room.leave(key.service);
            self.shown_as_none.remove(key);
            self.native_as_none.remove(key);
        }
        for number in self.room.take_full() {
            if self.services.get(number).is_some() {
                self.books.note_room(number)?;
            }
        }
        if !places.is_empty() {
            self.books.end_natives(&places)?;
            self.natives.give_back(places);
        }
        // The waits of a route are those of all its series.
        let left: HashSet<SeriesKey> = self.counted.keys().map(route_key).collect();
        let gone: HashSet<SeriesKey> = keys.iter().map(route_key).filter(|key| !left.contains(key)).collect();
        for key in gone {
            self.books.end_waits(&key)?;
            self.waits.remove(&key);
            self.shown_waits.forget(&key);
            self.waits_as_none.remove(&key);
        }
        Ok(values)
    }

    /// The totals of a service go on from what was counted in a series that has ended.
    pub(super) fn count_as_ended(&mut self, key: &SeriesKey, value: &SeriesValue) {
        let labels = self.labels(key, key.route);
        let long_lived = self.services.long_lived();
        let handlers = long_lived.get(&*labels.identity.service);
        let is_long_lived = handlers.is_some_and(|handlers| handlers.contains(&*labels.handler));
        let totals = self.ended.entry(key.service).or_default();
        totals.add(value, key.status, is_long_lived || key.is_stream());
    }

    /// What was counted for a service in series that have ended: its totals go on from there.
    pub(super) fn totals_of_ended(&self, number: u16, born: u64) -> Totals {
        let mut totals = Totals::born(born);
        if let Some(ended) = self.ended.get(&number) {
            totals.merge(&Totals { born, ..*ended });
        }
        totals
    }

    /// How long those that have ended are kept from now on.
    pub fn set_retention(&mut self, retention: Duration) {
        self.services.set_retention(retention);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_again() {
        let mut natives = Natives::default();
        let given: Vec<usize> = std::iter::from_fn(|| Some(natives.take()).filter(|place| *place != 0)).collect();
        assert_eq!(given, (1..NATIVES).collect::<Vec<_>>());
        assert_eq!(natives.take(), 0);
        natives.give_back(vec![7, 8]);
        assert_eq!([(); 3].map(|()| natives.take()), [8, 7, 0]);
    }
}
