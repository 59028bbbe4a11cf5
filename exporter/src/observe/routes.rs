//! The routes of the services, and which of them is which handler.
//!
//! A path becomes a route when a response says that there is something of its own at it, see [`tells_of_path`]. Until then it
//! has a number of its own, but is shown under `none`. What was shown there by then stays there, so that no counter ever goes down.
//! Where every path is to be shown, it has its own handler from the start. The first few paths of a service that are answered, but
//! by nothing that says so, as `/logout` by a redirect, are routes all the same.
//!
//! A service has places for so many routes. When they are taken, what is new is counted as `other` until the next
//! [`Routes::tick`] makes room: a level of paths with very many words that are seldom asked for collapses into one route, or else idle
//! routes go (see `tending`).

mod levels;
mod numbers;
mod tending;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    num::NonZeroUsize,
    rc::Rc,
    time::{Duration, Instant},
};

use lru::LruCache;
use vigie_ebpf::{
    path,
    types::{ROUTE_NONE, ROUTE_OTHER, ROUTE_UNKNOWN, STATUS_ABORTED, route_mode, tells_of_path},
};

use self::numbers::{Numbers, slot};
use super::{
    handler,
    template::{Found, Template, find, tell_values},
};

/// The handler of paths whose answers said nothing about them.
pub const NONE: &str = "none";
/// The handler of paths past a service's cap.
pub const OTHER: &str = "other";

/// How many shapes of paths are remembered: what they are, or where they wait for their first response.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();
pub const NOT_FOUND: u16 = 404;
/// How many paths of a service are routes although their answers said nothing about them.
const UNTOLD: usize = 20;
/// How long nobody asks for a route that gives its place to another.
const IDLE: Duration = Duration::from_secs(600);
/// How long a route is shown that has given its place to another.
const RETENTION: Duration = Duration::from_secs(300);

/// What is known of a path's shape in a service.
#[derive(Debug)]
enum Known {
    /// No response has come.
    Path(Box<Path>),
    /// Its route.
    Route(u32),
}

/// A path on its way to become a route.
#[derive(Debug)]
struct Path {
    handler: String,
    /// The hash of its shape, with those levels collapsed that have.
    shape: u64,
    /// The hashes of its segments; none if its levels cannot collapse.
    segments: Box<[u64]>,
    /// The levels that have collapsed.
    levels: Box<[u64]>,
    /// The route of its collapsed shape, if it is asked for so often that it may have a route of its own.
    collapsed: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No answer has said that there is something at it.
    Pending,
    /// No answer has, but it is one of the first few that were answered.
    Untold,
    Named,
    /// It was pending, and came after the service had its routes.
    Capped,
}

/// What a route takes one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Templates are as many as the config has.
    Free,
    Named,
    Pending,
}

#[derive(Debug)]
struct Route {
    service: u16,
    handler: Rc<str>,
    state: State,
    place: Place,
    shape: u64,
    segments: Box<[u64]>,
    levels: Box<[u64]>,
    /// Whether it has a place of its own although its level has collapsed.
    is_busy: bool,
    /// Whether it was answered by anything but "not found".
    is_answered: bool,
    /// How many of its requests have travelled.
    heard: u64,
    /// How many there were in all at the last tick, and since when.
    requests: u64,
    since: Instant,
    /// Since when it has no place any more.
    retired: Option<Instant>,
}

/// What there is of a service's routes.
#[derive(Debug, Default)]
struct Service {
    /// All of them, retired ones included.
    routes: Vec<u32>,
    /// The levels that have collapsed.
    collapsed: HashSet<u64>,
    is_templated: bool,
    /// Whether its templates tell paths of one shape apart.
    is_exact: bool,
    /// Whether paths are turned away because all places are taken.
    is_closed: bool,
    /// Whether the places of pending paths are taken.
    is_limited: bool,
    /// Whether one was turned away since the last tick.
    is_crowded: bool,
    /// What the kernel was told of this.
    mode: u32,
    /// What was logged.
    noted: HashSet<Fold>,
}

/// How many places are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Taken {
    named: usize,
    untold: usize,
    busy: usize,
    pending: usize,
}

/// Why a path has no handler of its own, or no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fold {
    /// All places are taken.
    Cap,
    /// Its level has collapsed.
    Collapsed,
    /// Nobody has asked for it for long, and another needed its place.
    Idle,
}

// === impl Fold ===

impl Fold {
    /// As a label value.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cap => "cap",
            Self::Collapsed => "collapsed",
            Self::Idle => "idle",
        }
    }

    /// What the log says of it, with what to do.
    pub fn note(self) -> &'static str {
        match self {
            Self::Cap => {
                "has max_routes routes: new paths are handler=\"other\" until one has room; raise max_routes, or name its routes"
            }
            Self::Collapsed => {
                "has very many paths at one level: those that are seldom asked for are one route with {…}; name its routes to say which"
            }
            Self::Idle => {
                "has max_routes routes: idle ones give their places to new ones; raise max_routes to keep all"
            }
        }
    }
}

/// What the kernel has to be taught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lesson {
    /// The route of this shape in this service; [`ROUTE_UNKNOWN`]: it has none any more.
    Route {
        /// The service.
        service: u16,
        /// The hash of the shape.
        shape: u64,
        /// The route.
        route: u32,
    },
    /// Whether a level has collapsed.
    Level {
        /// The service.
        service: u16,
        /// The hash of what is above it.
        above: u64,
        /// Whether it has.
        is_collapsed: bool,
    },
    /// Bits of [`route_mode`] for a service.
    Mode {
        /// The service.
        service: u16,
        /// The bits.
        mode: u32,
    },
    /// Routes of raw paths that are remembered from before this are wrong.
    Epoch(u32),
}

/// A route whose number was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// The number that it had.
    pub route: u32,
    /// The route that it was shown as, with others: its counts belong there, so that no counter goes down. `None`: it had a handler of
    /// its own, whose series end.
    pub into: Option<u32>,
}

/// The routes of all services.
#[derive(Debug)]
pub struct Routes {
    cap: usize,
    shows_not_found: bool,
    idle: Duration,
    retention: Duration,
    numbers: Numbers,
    by_name: HashMap<(u16, String), u32>,
    shapes: LruCache<(u16, u64), Known>,
    services: HashMap<u16, Service>,
    /// When which number was retired, in order.
    retired: VecDeque<(Instant, u32)>,
    /// The same, of those that were shown with others.
    hidden: VecDeque<(Instant, u32)>,
    lessons: Vec<Lesson>,
    notes: Vec<(u16, Fold)>,
    epoch: u32,
    folded: [u64; 3],
    forgotten: u64,
    /// When the last tick was.
    now: Instant,
}

// === impl Route ===

impl Route {
    fn new(service: u16, handler: &str, state: State, place: Place, now: Instant) -> Self {
        Self {
            service,
            handler: handler.into(),
            state,
            place,
            shape: 0,
            segments: Box::default(),
            levels: Box::default(),
            is_busy: false,
            is_answered: false,
            heard: 0,
            requests: 0,
            since: now,
            retired: None,
        }
    }

    /// What it is shown as if not by its own name.
    fn shown_as(&self) -> Option<u32> {
        match self.state {
            State::Pending => Some(ROUTE_NONE),
            State::Capped => Some(ROUTE_OTHER),
            State::Untold | State::Named => None,
        }
    }
}

// === impl Routes ===

impl Routes {
    /// No route yet; at most `cap` named ones for each service.
    pub fn new(cap: usize) -> Self {
        let now = Instant::now();
        // The numbers that have a meaning of their own come first: 0 is unknown.
        let reserved = ["", NONE, OTHER].map(|handler| Route::new(0, handler, State::Named, Place::Free, now));
        Self {
            cap,
            shows_not_found: false,
            idle: IDLE,
            retention: RETENTION,
            numbers: Numbers::new(reserved),
            by_name: HashMap::new(),
            shapes: LruCache::new(REMEMBERED),
            services: HashMap::new(),
            retired: VecDeque::new(),
            hidden: VecDeque::new(),
            lessons: Vec::new(),
            notes: Vec::new(),
            epoch: 0,
            folded: [0; 3],
            forgotten: 0,
            now,
        }
    }

    /// The same; whether paths have a handler of their own whose answers said nothing: as many as there may be named ones.
    pub fn with_not_found(self, shows_not_found: bool) -> Self {
        Self {
            shows_not_found,
            ..self
        }
    }

    /// The same; how long a route is shown that has given its place to another.
    pub fn with_retention(self, retention: Duration) -> Self {
        Self { retention, ..self }
    }

    /// A path was requested that the kernel does not know, or that is asked for often below a level that has collapsed. The result is what to teach
    /// at once, if its route is known.
    pub fn seen(
        &mut self,
        service: u16,
        shape: u64,
        path: &[u8],
        truncated: bool,
        is_busy: bool,
        templates: &[Template],
    ) -> Option<Lesson> {
        let of_service = self.services.entry(service).or_default();
        let is_closed = of_service.is_closed;
        if of_service.is_templated == templates.is_empty() {
            of_service.is_templated = !templates.is_empty();
            of_service.is_exact = tell_values(templates);
            self.tell_mode(service);
        }
        if !is_busy
            && let Some(Known::Route(route)) = self.shapes.get(&(service, shape))
            && stands(&self.numbers, is_closed, *route)
        {
            return Some(Lesson::Route {
                service,
                shape,
                route: *route,
            });
        }
        let Found { template, by_value } = find(templates, handler::path(path), truncated);
        // What all paths of a shape are is taught for it. Else it holds for this path, by whose own hash the kernel asks then.
        let taught = if by_value {
            shape
        } else {
            path::shape_of(path, truncated)
        };
        if let Some(template) = template {
            let route = self.templated(service, template.as_str())?;
            self.shapes.put((service, shape), Known::Route(route));
            self.shapes.put((service, taught), Known::Route(route));
            return Some(Lesson::Route {
                service,
                shape: taught,
                route,
            });
        }
        let path = self.path(service, taught, path, truncated, is_busy);
        let known = self.by_name.get(&(service, path.handler.clone())).copied();
        if let Some(route) = known.filter(|route| stands(&self.numbers, is_closed, *route)) {
            self.shapes.put((service, shape), Known::Route(route));
            let shape = path.shape;
            self.shapes.put((service, shape), Known::Route(route));
            return Some(Lesson::Route { service, shape, route });
        }
        self.shapes.put((service, shape), Known::Path(Box::new(path)));
        None
    }

    /// A path with those levels collapsed that have; if it is asked for often, with none, but its collapsed route.
    fn path(&self, service: u16, shape: u64, target: &[u8], truncated: bool, is_busy: bool) -> Path {
        let handler = handler::automatic(target, truncated);
        let mut path = Path {
            handler,
            shape,
            segments: Box::default(),
            levels: Box::default(),
            collapsed: None,
        };
        if truncated || target.first() != Some(&b'/') {
            return path;
        }
        let mut whole = path::read(target);
        path.segments = whole.segments().into();
        let Some(collapsed) = self.services.get(&service).map(|service| &service.collapsed) else {
            return path;
        };
        let (handler, levels) = levels::collapse(&path.handler, &path.segments, collapsed);
        if levels.is_empty() {
            return path;
        }
        if is_busy {
            path.collapsed = self.by_name.get(&(service, handler)).copied();
        } else {
            path.shape = whole.collapse(|above| collapsed.contains(&above));
            path.handler = handler;
            path.levels = levels.into();
        }
        path
    }

    fn templated(&mut self, service: u16, handler: &str) -> Option<u32> {
        let name = (service, handler.to_owned());
        if let Some(route) = self.by_name.get(&name) {
            if let Some(found) = self.numbers.get_mut(*route) {
                // It was a route before there was a template of its name.
                found.state = State::Named;
                found.place = Place::Free;
                found.retired = None;
            }
            return Some(*route);
        }
        self.add(Route::new(service, handler, State::Named, Place::Free, self.now))
    }

    fn add(&mut self, route: Route) -> Option<u32> {
        let (service, handler) = (route.service, route.handler.to_string());
        let number = self.numbers.add(route)?;
        self.by_name.insert((service, handler), number);
        self.services.entry(service).or_default().routes.push(number);
        Some(number)
    }

    /// The route of a request that the kernel could not name, or named by a number that was taken back, now that its response is known; and what to teach.
    pub fn answered(&mut self, service: u16, shape: u64, status: u16) -> (u32, Option<Lesson>) {
        let tells = tells_of_path(status);
        let is_closed = self.services.get(&service).is_some_and(|service| service.is_closed);
        let fallback = if tells { ROUTE_OTHER } else { ROUTE_NONE };
        let forget = Lesson::Route {
            service,
            shape,
            route: ROUTE_UNKNOWN,
        };
        match self.shapes.pop(&(service, shape)) {
            // It was past the limit of pending ones, and its path is not kept. The kernel forgets it, too, so that its next
            // request shows the path again.
            Some(Known::Route(ROUTE_NONE)) if tells && !is_closed => (ROUTE_OTHER, Some(forget)),
            Some(Known::Route(ROUTE_NONE)) if tells => {
                self.turn_away(service);
                let route = ROUTE_OTHER;
                self.shapes.put((service, shape), Known::Route(route));
                (route, Some(Lesson::Route { service, shape, route }))
            }
            Some(Known::Route(route)) if stands(&self.numbers, is_closed, route) => {
                self.shapes.put((service, shape), Known::Route(route));
                (route, Some(Lesson::Route { service, shape, route }))
            }
            Some(Known::Path(path)) => self.settle(service, shape, *path, status),
            Some(Known::Route(_)) => (fallback, Some(forget)),
            None => {
                self.forgotten += 1;
                (fallback, Some(forget))
            }
        }
    }

    fn settle(&mut self, service: u16, exact: u64, path: Path, status: u16) -> (u32, Option<Lesson>) {
        let shape = path.shape;
        let collapsed = path.collapsed.filter(|route| stands(&self.numbers, true, *route));
        if let Some(route) = collapsed
            && (!tells_of_path(status) || self.taken(service).busy >= self.cap / 2)
        {
            self.shapes.put((service, exact), Known::Route(route));
            // What has said nothing may do so at another time. What had no place is not asked about again.
            let lesson = tells_of_path(status).then_some(Lesson::Route { service, shape, route });
            return (route, lesson);
        }
        let mut route = self.decide(service, path, status);
        if let (ROUTE_OTHER | ROUTE_NONE, Some(collapsed)) = (route, collapsed) {
            route = collapsed;
        }
        self.shapes.put((service, exact), Known::Route(route));
        self.shapes.put((service, shape), Known::Route(route));
        (route, Some(Lesson::Route { service, shape, route }))
    }

    fn decide(&mut self, service: u16, path: Path, status: u16) -> u32 {
        let tells = tells_of_path(status);
        let known = self.by_name.get(&(service, path.handler.clone())).copied();
        let known = known.filter(|route| self.numbers.get(*route).is_some());
        if let Some(route) = known
            && stands(&self.numbers, true, route)
        {
            return route;
        }
        let taken = self.taken(service);
        let state = match status {
            _ if tells => State::Named,
            NOT_FOUND | STATUS_ABORTED => State::Pending,
            _ if taken.untold < UNTOLD && taken.named < self.cap => State::Untold,
            _ => State::Pending,
        };
        if state == State::Pending {
            if taken.pending >= self.cap || self.numbers.is_full() {
                self.services.entry(service).or_default().is_limited = true;
                self.tell_mode(service);
                return ROUTE_NONE;
            }
        } else if !self.has_room(service, state) || self.numbers.is_full() {
            self.turn_away(service);
            return ROUTE_OTHER;
        }
        let place = match state {
            State::Pending => Place::Pending,
            _ => Place::Named,
        };
        if let Some(route) = known {
            self.revive(route, place);
            return route;
        }
        let Path {
            handler,
            shape,
            segments,
            levels,
            collapsed,
        } = path;
        let route = Route {
            shape,
            segments,
            levels,
            is_busy: collapsed.is_some(),
            is_answered: !matches!(status, NOT_FOUND | STATUS_ABORTED),
            ..Route::new(service, &handler, state, place, self.now)
        };
        self.add(route).unwrap_or(ROUTE_OTHER)
    }

    /// A route that is still shown gets its place back, and goes on.
    fn revive(&mut self, route: u32, place: Place) {
        if let Some(found) = self.numbers.get_mut(route) {
            found.retired = None;
            found.place = place;
            found.since = self.now;
        }
    }

    fn taken(&self, service: u16) -> Taken {
        let mut taken = Taken::default();
        for route in self.of_service(service) {
            taken.busy += usize::from(route.is_busy);
            match (route.place, route.state) {
                (Place::Named, State::Untold) => {
                    taken.named += 1;
                    taken.untold += 1;
                }
                (Place::Named, _) => taken.named += 1,
                (Place::Pending, _) => taken.pending += 1,
                (Place::Free, _) => {}
            }
        }
        taken
    }

    /// The routes of a service that have a place.
    fn of_service(&self, service: u16) -> impl Iterator<Item = &Route> {
        let routes = self.services.get(&service).map_or(&[][..], |service| &service.routes);
        let routes = routes.iter().filter_map(|number| self.numbers.get(*number));
        routes.filter(|route| route.retired.is_none())
    }

    /// Whether there is room for one more route. One whose answers said nothing gives its place to one whose did.
    fn has_room(&mut self, service: u16, state: State) -> bool {
        if self.taken(service).named < self.cap {
            return true;
        }
        if state != State::Named {
            return false;
        }
        let Some(of_service) = self.services.get(&service) else {
            return false;
        };
        let untold = of_service.routes.iter().filter_map(|number| {
            let route = self.numbers.get(*number)?;
            let goes = route.state == State::Untold && route.place == Place::Named && route.retired.is_none();
            goes.then_some((route.requests.max(route.heard), *number))
        });
        let Some((_, number)) = untold.min() else {
            return false;
        };
        self.retire(number);
        self.fold(service, Fold::Cap);
        self.begin_epoch();
        true
    }

    fn turn_away(&mut self, service: u16) {
        let of_service = self.services.entry(service).or_default();
        of_service.is_closed = true;
        of_service.is_crowded = true;
        self.fold(service, Fold::Cap);
        self.tell_mode(service);
    }

    fn fold(&mut self, service: u16, reason: Fold) {
        self.folded[reason as usize] += 1;
        if self.services.entry(service).or_default().noted.insert(reason) {
            self.notes.push((service, reason));
        }
    }

    fn tell_mode(&mut self, service: u16) {
        let Some(of_service) = self.services.get_mut(&service) else {
            return;
        };
        let collapses = !of_service.collapsed.is_empty();
        let is_limited = of_service.is_closed || of_service.is_limited || collapses;
        let bits = [
            (of_service.is_closed, route_mode::CLOSED),
            (collapses, route_mode::COLLAPSES),
            (of_service.is_templated, route_mode::TEMPLATED),
            (is_limited, route_mode::LIMITED),
        ];
        let bits = bits.into_iter().filter(|(is_set, _)| *is_set && is_limited);
        let exact = if of_service.is_exact { route_mode::EXACT } else { 0 };
        let mode = bits.fold(exact, |mode, (_, bit)| mode | bit);
        if mode != of_service.mode {
            of_service.mode = mode;
            self.lessons.push(Lesson::Mode { service, mode });
        }
    }

    /// A request of this route was answered with this status.
    pub fn note(&mut self, route: u32, status: u16) {
        let Some(found) = self.numbers.get_mut(route) else {
            return;
        };
        found.heard += 1;
        if found.retired.is_some() {
            return;
        }
        let service = found.service;
        let tells = tells_of_path(status);
        match found.state {
            State::Untold if tells => found.state = State::Named,
            State::Pending if tells => self.name(route, service, State::Named),
            State::Pending if !matches!(status, NOT_FOUND | STATUS_ABORTED) => {
                found.is_answered = true;
                let taken = self.taken(service);
                if taken.untold < UNTOLD && taken.named < self.cap {
                    self.name(route, service, State::Untold);
                }
            }
            State::Pending | State::Untold | State::Named | State::Capped => {}
        }
    }

    /// A pending route gets a handler of its own, or comes too late.
    fn name(&mut self, route: u32, service: u16, state: State) {
        let has_room = self.has_room(service, state);
        if !has_room && !self.shows_not_found {
            self.turn_away(service);
        }
        let shows_not_found = self.shows_not_found;
        let Some(found) = self.numbers.get_mut(route) else {
            return;
        };
        found.state = match has_room || shows_not_found {
            true => state,
            // It keeps its place among the pending ones, so that there are not more and more of them.
            false => State::Capped,
        };
        if has_room {
            found.place = Place::Named;
        }
        if found.state == State::Capped {
            // Its number has no series for the kernel to count in: each request would travel.
            let (shape, route) = (found.shape, ROUTE_OTHER);
            self.shapes.put((service, shape), Known::Route(route));
            self.lessons.push(Lesson::Route { service, shape, route });
        }
    }

    /// The route that requests of a route are counted under from now on: its own, or that of all that came past the cap.
    pub fn counted_as(&self, route: u32) -> u32 {
        match self.numbers.get(route) {
            Some(Route {
                state: State::Capped, ..
            })
            | None => ROUTE_OTHER,
            Some(_) => route,
        }
    }

    /// Whether a number was taken back.
    pub fn is_stale(&self, route: u32) -> bool {
        self.numbers.get(route).is_none()
    }

    /// The handler that a route is shown as.
    pub fn handler(&self, route: u32) -> Rc<str> {
        let shown = if self.is_pending(route) {
            ROUTE_NONE
        } else {
            self.counted_as(route)
        };
        let route = self.numbers.get(shown);
        route.map_or_else(|| OTHER.into(), |route| Rc::clone(&route.handler))
    }

    /// The route of a path's shape, if it has one.
    pub fn known(&self, service: u16, shape: u64) -> Option<u32> {
        match self.shapes.peek(&(service, shape)) {
            Some(Known::Route(route)) => Some(*route),
            Some(Known::Path(_)) | None => None,
        }
    }

    /// The slots of the routes that are shown as the same handler from now on, with that handler.
    pub fn settled(&self) -> impl Iterator<Item = (usize, &str)> {
        let routes = self.numbers.iter().filter(|(number, _)| *number != ROUTE_UNKNOWN);
        routes.filter_map(|(number, route)| match route.state {
            State::Pending if !self.shows_not_found => None,
            State::Pending | State::Untold | State::Named => Some((slot(number), &*route.handler)),
            State::Capped => Some((slot(number), OTHER)),
        })
    }

    /// How many routes there are.
    pub fn count(&self) -> usize {
        self.numbers.count()
    }

    /// Whether a route is shown as `none` for the time being.
    pub fn is_pending(&self, route: u32) -> bool {
        let is_pending = |route: &Route| route.state == State::Pending;
        !self.shows_not_found && self.numbers.get(route).is_some_and(is_pending)
    }

    /// What else the kernel has to be taught.
    pub fn take_lessons(&mut self) -> Vec<Lesson> {
        std::mem::take(&mut self.lessons)
    }

    /// Of which services something was folded for the first time, and why.
    pub fn take_notes(&mut self) -> Vec<(u16, Fold)> {
        std::mem::take(&mut self.notes)
    }

    /// How many routes were folded, by reason: paths that found no room, and routes that have collapsed or given their places to others.
    pub fn folded(&self) -> [(&'static str, u64); 3] {
        [Fold::Cap, Fold::Collapsed, Fold::Idle].map(|reason| (reason.name(), self.folded[reason as usize]))
    }

    /// How many requests had a path that was not remembered any more.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

/// What the kernel has to know of a service's routes before its first request.
pub fn start_mode(templates: &[Template]) -> u32 {
    if tell_values(templates) { route_mode::EXACT } else { 0 }
}

/// Whether what is known of a shape still holds.
fn stands(numbers: &Numbers, is_closed: bool, route: u32) -> bool {
    match route {
        ROUTE_NONE => true,
        ROUTE_OTHER => is_closed,
        route => numbers.get(route).is_some_and(|route| route.retired.is_none()),
    }
}

#[cfg(test)]
mod tests;
