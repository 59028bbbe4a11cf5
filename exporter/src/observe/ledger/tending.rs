//! Room for routes, and what the kernel has to be taught of them.

use std::time::{Duration, Instant};

use anyhow::Result;
use foldhash::{HashMap, HashMapExt as _};
use log::warn;
use vigie_ebpf::types::{SeriesKey, SeriesValue};

use super::{Ledger, add};
use crate::observe::routes::Lesson;

/// How long a path that was turned away waits at the least until room is made for it.
const PAUSE: Duration = Duration::from_secs(1);

impl Ledger {
    pub(super) fn teach(&mut self, lesson: Lesson) -> Result<()> {
        match lesson {
            Lesson::Route { service, shape, route } => self.books.teach(service, shape, route),
            Lesson::Level {
                service,
                above,
                is_collapsed,
            } => self.books.collapse(service, above, is_collapsed),
            Lesson::Mode { service, mode } if self.is_known(service) => self.books.set_route_mode(service, mode),
            // Its slot may be another's by now.
            Lesson::Mode { .. } => Ok(()),
            Lesson::Epoch(epoch) => self.books.set_route_epoch(epoch),
        }
    }

    /// Teaches what has come of a request, and says in the log what was folded.
    pub(super) fn teach_routes(&mut self) -> Result<()> {
        for (service, fold) in self.routes.take_notes() {
            let name = self
                .services
                .get(service)
                .map_or("", |service| &*service.identity.service);
            warn!("the service {name} {}", fold.note());
        }
        for lesson in self.routes.take_lessons() {
            self.teach(lesson)?;
        }
        Ok(())
    }

    /// Makes room for routes, if a path was turned away for lack of it.
    pub(super) fn make_room_for_routes(&mut self) -> Result<()> {
        if !self.routes.is_crowded() || self.tended.elapsed() < PAUSE {
            return Ok(());
        }
        let counted = self.counted.iter().map(|(key, counted)| (*key, counted.value));
        let mut values: HashMap<SeriesKey, SeriesValue> = counted.collect();
        self.books.series(|key, value| {
            if let Some(sum) = values.get_mut(key) {
                add(sum, value);
            }
        })?;
        self.tend_routes(&values)
    }

    /// Makes room for routes where it is short, with these requests so far.
    pub(super) fn tend_routes(&mut self, values: &HashMap<SeriesKey, SeriesValue>) -> Result<()> {
        let now = Instant::now();
        self.tended = now;
        let mut requests = HashMap::<u32, u64>::new();
        for (key, value) in values {
            *requests.entry(key.route).or_default() += value.buckets.iter().sum::<u64>();
        }
        for (route, requests) in requests {
            self.routes.used(route, requests, now);
        }
        for lesson in self.routes.tick(now) {
            self.teach(lesson)?;
        }
        self.teach_routes()
    }
}
