//! What makes room for routes, from time to time.

use std::time::{Duration, Instant};

use vigie_ebpf::types::{BUSY, COLLAPSED_LEVELS, ROUTE_UNKNOWN};

use super::{Dropped, Fold, Known, Lesson, Place, Route, Routes, State, UNTOLD, levels};

/// How many levels of a service can have collapsed.
const LEVELS: usize = 32;
/// A level collapses if more words stand there that are seldom asked for than this: a quarter of the cap, but between these.
const FEWEST_WORDS: usize = 20;
const MOST_WORDS: usize = 50;
/// How long a route that is shown with others still counts after it was taken from the kernel.
const HIDDEN: Duration = Duration::from_secs(1);
/// Idle routes go in parts of so many: an eighth of the cap.
const PART: usize = 8;

impl Routes {
    /// How many requests of a route there have been in all. To be told of each before a [`Routes::tick`].
    pub fn used(&mut self, route: u32, requests: u64, now: Instant) {
        if let Some(found) = self.numbers.get_mut(route)
            && found.requests != requests
        {
            found.requests = requests;
            found.since = now;
        }
    }

    /// Whether a path was turned away since the last tick: another may make room.
    pub fn is_crowded(&self) -> bool {
        self.services.values().any(|service| service.is_crowded)
    }

    /// Makes room where it is short. What the result says is to be taught.
    pub fn tick(&mut self, now: Instant) -> Vec<Lesson> {
        self.now = now;
        let mut services: Vec<u16> = self.services.keys().copied().collect();
        services.sort_unstable();
        let before = self.lessons.len();
        for service in services {
            self.tend(service);
        }
        if self.lessons.len() > before {
            self.begin_epoch();
        }
        self.take_lessons()
    }

    fn tend(&mut self, service: u16) {
        let is_closed = self.services.get(&service).is_some_and(|service| service.is_closed);
        if is_closed && !self.collapse_widest(service) {
            self.retire_idle(service, Place::Named);
        }
        if self.taken(service).pending >= self.cap {
            self.retire_idle(service, Place::Pending);
        }
        self.retire_unasked(service);
        self.readmit(service);
        self.name_untold(service);
        self.expand(service);
        let taken = self.taken(service);
        let cap = self.cap;
        if let Some(of_service) = self.services.get_mut(&service) {
            of_service.is_closed &= taken.named >= cap;
            of_service.is_limited &= taken.pending >= cap;
            of_service.is_crowded = false;
        }
        self.tell_mode(service);
    }

    /// Collapses the level that takes the most places with words that are seldom asked for. `false`: there is none.
    fn collapse_widest(&mut self, service: u16) -> bool {
        let levels: usize = self.services.values().map(|service| service.collapsed.len()).sum();
        let Some(of_service) = self.services.get_mut(&service) else {
            return false;
        };
        if of_service.collapsed.len() >= LEVELS || levels >= COLLAPSED_LEVELS {
            return false;
        }
        let numbers: Vec<u32> = of_service.routes.clone();
        let mut collapsed = of_service.collapsed.clone();
        let most = (self.cap / 4).clamp(FEWEST_WORDS, MOST_WORDS);
        let named = numbers.iter().filter_map(|number| {
            let route = self.numbers.get(*number)?;
            let counts = route.retired.is_none() && route.place == Place::Named;
            counts.then(|| (&*route.segments, is_seldom(route)))
        });
        let Some(levels::Level { above, .. }) = levels::widest(named, &collapsed, most) else {
            return false;
        };
        // A word is kept if one of the routes below it is asked for often.
        let kept: Vec<u64> = numbers
            .iter()
            .filter_map(|number| self.numbers.get(*number))
            .filter(|route| route.retired.is_none() && route.place == Place::Named && !is_seldom(route))
            .flat_map(|route| levels::words(&route.segments, &collapsed))
            .filter_map(|(place, word)| (place == above).then_some(word))
            .collect();
        let merged: Vec<u32> = numbers
            .iter()
            .copied()
            .filter(|number| {
                let route = self.numbers.get(*number);
                let route = route.filter(|route| route.retired.is_none() && route.place != Place::Free);
                route.is_some_and(|route| {
                    levels::words(&route.segments, &collapsed)
                        .any(|(place, word)| place == above && !kept.contains(&word))
                })
            })
            .collect();
        collapsed.insert(above);
        of_service.collapsed.insert(above);
        self.lessons.push(Lesson::Level {
            service,
            above,
            is_collapsed: true,
        });
        for number in merged {
            self.merge(service, number);
        }
        true
    }

    /// A route goes, and the one of its collapsed shape comes, if it is not there yet.
    fn merge(&mut self, service: u16, number: u32) {
        let Some(of_service) = self.services.get(&service) else {
            return;
        };
        let Some(route) = self.numbers.get(number) else {
            return;
        };
        let is_named = matches!(route.state, State::Named | State::Untold);
        let (handler, below) = levels::collapse(&route.handler, &route.segments, &of_service.collapsed);
        let shape = levels::shape(&route.segments, &of_service.collapsed);
        let segments = route.segments.clone();
        self.retire(number);
        self.fold(service, Fold::Collapsed);
        if !is_named || self.numbers.is_full() || self.taken(service).named >= self.cap {
            return;
        }
        if let Some(route) = self.by_name.get(&(service, handler.clone())).copied() {
            if self.numbers.get(route).is_some_and(|route| route.retired.is_some()) {
                self.revive(route, Place::Named);
                self.lessons.push(Lesson::Route { service, shape, route });
            }
            return;
        }
        let route = Route {
            shape,
            segments,
            levels: below.into(),
            ..Route::new(service, &handler, State::Named, Place::Named, self.now)
        };
        if let Some(route) = self.add(route) {
            self.shapes.put((service, shape), Known::Route(route));
            self.lessons.push(Lesson::Route { service, shape, route });
        }
    }

    /// Takes the places of those that nobody has asked for, the longest first; of a part of them, because they may be asked for yet.
    fn retire_idle(&mut self, service: u16, place: Place) {
        let Some(of_service) = self.services.get(&service) else {
            return;
        };
        let mut idle: Vec<(Instant, u32)> = of_service
            .routes
            .iter()
            .filter_map(|number| {
                let route = self.numbers.get(*number)?;
                let goes = route.retired.is_none()
                    && route.place == place
                    && self.now.saturating_duration_since(route.since) >= self.idle;
                goes.then_some((route.since, *number))
            })
            .collect();
        idle.sort_unstable();
        for (_, number) in idle.into_iter().take((self.cap / PART).max(1)) {
            self.retire(number);
            self.fold(service, Fold::Idle);
        }
    }

    /// Paths that were not found, and that nobody has asked for since as long as anything is kept, go: a scanner's.
    fn retire_unasked(&mut self, service: u16) {
        let Some(of_service) = self.services.get(&service) else {
            return;
        };
        let is_unasked = |number: &u32| {
            self.numbers.get(*number).is_some_and(|route| {
                route.retired.is_none()
                    && route.state == State::Pending
                    && self.now.saturating_duration_since(route.since) >= self.retention
            })
        };
        let unasked: Vec<u32> = of_service.routes.iter().copied().filter(is_unasked).collect();
        unasked.into_iter().for_each(|number| self.retire(number));
    }

    /// Routes that came too late can begin anew under their own names, if there is room now: what was counted stays in `other`.
    fn readmit(&mut self, service: u16) {
        let room = self.cap.saturating_sub(self.taken(service).named);
        let Some(of_service) = self.services.get(&service).filter(|_| room > 0) else {
            return;
        };
        let late = of_service.routes.iter().copied().filter(|number| {
            let route = self.numbers.get(*number);
            route.is_some_and(|route| route.state == State::Capped && route.retired.is_none())
        });
        for number in late.take(room).collect::<Vec<_>>() {
            self.retire(number);
        }
    }

    /// Paths that were answered, if only by what says nothing, are routes while there are few of them.
    fn name_untold(&mut self, service: u16) {
        let taken = self.taken(service);
        let room = UNTOLD
            .min(self.cap.saturating_sub(taken.named))
            .saturating_sub(taken.untold);
        let Some(of_service) = self.services.get(&service).filter(|_| room > 0) else {
            return;
        };
        let mut waiting: Vec<(u64, u32)> = of_service
            .routes
            .iter()
            .filter_map(|number| {
                let route = self.numbers.get(*number)?;
                let waits = route.retired.is_none() && route.state == State::Pending && route.is_answered;
                waits.then_some((route.requests.max(route.heard), *number))
            })
            .collect();
        waiting.sort_unstable_by(|one, other| other.cmp(one));
        for (_, number) in waiting.into_iter().take(room) {
            self.name(number, service, State::Untold);
        }
    }

    /// A level that nobody asks for any more is as it was.
    fn expand(&mut self, service: u16) {
        let Some(of_service) = self.services.get(&service) else {
            return;
        };
        let is_used = |above: &u64| self.of_service(service).any(|route| route.levels.contains(above));
        let unused: Vec<u64> = of_service
            .collapsed
            .iter()
            .copied()
            .filter(|above| !is_used(above))
            .collect();
        if let Some(of_service) = self.services.get_mut(&service) {
            for above in unused {
                of_service.collapsed.remove(&above);
                self.lessons.push(Lesson::Level {
                    service,
                    above,
                    is_collapsed: false,
                });
            }
        }
    }

    /// A route gives its place back. It is shown for a while.
    pub(super) fn retire(&mut self, number: u32) {
        let now = self.now;
        let Some(route) = self.numbers.get_mut(number) else {
            return;
        };
        route.retired = Some(now);
        let (service, shape) = (route.service, route.shape);
        if route.shown_as().is_some() {
            // It has not been shown by its name: under that, it can begin anew.
            let name = (service, route.handler.to_string());
            self.by_name.remove(&name);
        }
        // What is shown with others can be counted there at once.
        let is_hidden = route.shown_as().is_some() && (!self.shows_not_found || route.state == State::Capped);
        let queue = if is_hidden { &mut self.hidden } else { &mut self.retired };
        queue.push_back((now, number));
        self.shapes.pop(&(service, shape));
        self.lessons.push(Lesson::Route {
            service,
            shape,
            route: ROUTE_UNKNOWN,
        });
    }

    pub(super) fn begin_epoch(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        self.lessons.push(Lesson::Epoch(self.epoch));
    }

    /// The routes that have given their places back so long ago that their series can go. Their numbers are nobody's from now on.
    pub fn take_retired(&mut self, now: Instant) -> Vec<Dropped> {
        let mut dropped = Vec::new();
        let retention = self.retention;
        let mut due = Vec::new();
        for (queue, delay) in [
            (&mut self.retired, retention),
            (&mut self.hidden, HIDDEN.min(retention)),
        ] {
            while let Some((since, number)) = queue.front().copied() {
                if now.saturating_duration_since(since) < delay {
                    break;
                }
                queue.pop_front();
                due.push((since, number));
            }
        }
        for (since, number) in due {
            // It may have got its place back, and given it back again.
            let is_still = self
                .numbers
                .get(number)
                .is_some_and(|route| route.retired == Some(since));
            if is_still {
                dropped.extend(self.drop_route(number));
            }
        }
        dropped
    }

    fn drop_route(&mut self, number: u32) -> Option<Dropped> {
        let route = self.numbers.remove(number)?;
        let name = (route.service, route.handler.to_string());
        if self.by_name.get(&name) == Some(&number) {
            self.by_name.remove(&name);
        }
        if let Some(of_service) = self.services.get_mut(&route.service) {
            of_service.routes.retain(|known| *known != number);
        }
        let into = route
            .shown_as()
            .filter(|_| !self.shows_not_found || route.state == State::Capped);
        Some(Dropped { route: number, into })
    }

    /// A service's number is given back: all of its routes go at once. What the kernel has to forget is in
    /// [`Routes::take_lessons`].
    pub fn forget_service(&mut self, service: u16) -> Vec<Dropped> {
        let Some(of_service) = self.services.get(&service) else {
            return Vec::new();
        };
        let numbers = of_service.routes.clone();
        let levels: Vec<u64> = of_service.collapsed.iter().copied().collect();
        let is_told = of_service.mode != 0;
        let mut dropped = Vec::new();
        for number in numbers {
            if let Some(route) = self.numbers.get(number) {
                self.lessons.push(Lesson::Route {
                    service,
                    shape: route.shape,
                    route: ROUTE_UNKNOWN,
                });
            }
            dropped.extend(self.drop_route(number));
        }
        self.lessons.extend(levels.into_iter().map(|above| Lesson::Level {
            service,
            above,
            is_collapsed: false,
        }));
        if is_told {
            self.lessons.push(Lesson::Mode { service, mode: 0 });
        }
        self.services.remove(&service);
        let shapes: Vec<(u16, u64)> = self
            .shapes
            .iter()
            .map(|(key, _)| *key)
            .filter(|key| key.0 == service)
            .collect();
        for key in shapes {
            self.shapes.pop(&key);
        }
        self.retired.retain(|(_, number)| self.numbers.get(*number).is_some());
        self.begin_epoch();
        dropped
    }
}

/// Whether a route is asked for so seldom that it can be merged with others.
fn is_seldom(route: &Route) -> bool {
    route.requests.max(route.heard) < u64::from(BUSY)
}
