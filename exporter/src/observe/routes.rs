//! The routes of the services, and which of them is which handler.
//!
//! A path becomes a route when its first response is known. One that answers 404 may be a route of the service with an
//! unknown identifier, or a path that does not exist: it gets a number of its own, but is shown under `none` until it
//! answers anything else. What was shown there by then stays there, so that no counter ever goes down. Where every path is to be
//! shown, it has its own handler from the start.

use std::{
    collections::{HashMap, HashSet},
    num::NonZeroUsize,
    rc::Rc,
};

use lru::LruCache;
use vigie_ebpf::types::{ROUTE_NONE, ROUTE_OTHER, ROUTE_UNKNOWN, STATUS_ABORTED};

use super::{
    handler,
    template::{Template, first_match},
};

/// The handler of paths that only ever answered 404.
pub const NONE: &str = "none";
/// The handler of paths past a service's cap.
pub const OTHER: &str = "other";

/// How many paths wait for their first response, or answered 404, are remembered.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();
const NOT_FOUND: u16 = 404;
/// How many routes there can be on a host, pending and capped ones included.
const MAX_ROUTES: usize = 65_536;

/// Whether a status says that there is something at the path: 404 does not, nor does no answer at all.
pub fn is_found(status: u16) -> bool {
    status != NOT_FOUND && status != STATUS_ABORTED
}

/// What is known of a path's shape in a service.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    /// Its handler, while no response has come.
    Handler(String),
    /// Its route.
    Route(u32),
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// It has only answered 404.
    Pending,
    Named,
    /// It came after the service had its routes.
    Capped,
}

#[derive(Debug)]
struct Route {
    service: u16,
    handler: Rc<str>,
    state: State,
}

/// What the kernel has to be taught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lesson {
    /// The route of this shape in this service.
    pub service: u16,
    /// The hash of the shape.
    pub shape: u64,
    /// The route.
    pub route: u32,
}

/// The routes of all services.
#[derive(Debug)]
pub struct Routes {
    cap: usize,
    shows_not_found: bool,
    list: Vec<Route>,
    numbers: HashMap<(u16, String), u32>,
    shapes: LruCache<(u16, u64), Known>,
    named: HashMap<u16, usize>,
    pending: HashMap<u16, usize>,
    full: HashSet<u16>,
    forgotten: u64,
}

// === impl Routes ===

impl Routes {
    /// No route yet; at most `cap` named ones for each service.
    pub fn new(cap: usize) -> Self {
        // The numbers that have a meaning of their own come first: 0 is unknown.
        let reserved = ["", NONE, OTHER].map(|handler| Route {
            service: 0,
            handler: handler.into(),
            state: State::Named,
        });
        Self {
            cap,
            shows_not_found: false,
            list: reserved.into(),
            numbers: HashMap::new(),
            shapes: LruCache::new(REMEMBERED),
            named: HashMap::new(),
            pending: HashMap::new(),
            full: HashSet::new(),
            forgotten: 0,
        }
    }

    /// The same; whether paths have a handler of their own that have only answered 404: as many as there may be named ones.
    pub fn with_not_found(self, shows_not_found: bool) -> Self {
        Self {
            shows_not_found,
            ..self
        }
    }

    /// A path that the kernel does not know was requested. The result is what to teach at once, if its route is known.
    pub fn seen(
        &mut self,
        service: u16,
        shape: u64,
        path: &[u8],
        truncated: bool,
        templates: &[Template],
    ) -> Option<Lesson> {
        let template = if truncated {
            None
        } else {
            first_match(templates, handler::path(path))
        };
        let name = template.map_or_else(
            || handler::automatic(path, truncated),
            |template| template.as_str().to_owned(),
        );
        if let Some(Known::Route(route)) = self.shapes.get(&(service, shape)) {
            return Some(Lesson {
                service,
                shape,
                route: *route,
            });
        }
        let route = self.numbers.get(&(service, name.clone())).copied();
        let route = match (route, template) {
            (None, Some(_)) => Some(self.add(service, name.clone(), State::Named, false)),
            (route, _) => route,
        };
        match route {
            Some(route) => {
                self.shapes.put((service, shape), Known::Route(route));
                Some(Lesson { service, shape, route })
            }
            None => {
                self.shapes.put((service, shape), Known::Handler(name));
                None
            }
        }
    }

    /// The route of a request that the kernel could not name, now that its response is known; and what to teach.
    pub fn answered(&mut self, service: u16, shape: u64, status: u16) -> (u32, Option<Lesson>) {
        let route = match self.shapes.get(&(service, shape)).cloned() {
            Some(Known::Route(ROUTE_NONE)) if is_found(status) => {
                // It was past the limit of pending ones, and its path is not kept. The kernel forgets it, too, so that its
                // next request shows the path again.
                self.shapes.pop(&(service, shape));
                let lesson = Lesson {
                    service,
                    shape,
                    route: ROUTE_UNKNOWN,
                };
                return (ROUTE_OTHER, Some(lesson));
            }
            Some(Known::Route(route)) => route,
            Some(Known::Handler(name)) => self.decide(service, name, status),
            None => {
                self.forgotten += 1;
                return (if is_found(status) { ROUTE_OTHER } else { ROUTE_NONE }, None);
            }
        };
        self.shapes.put((service, shape), Known::Route(route));
        (route, Some(Lesson { service, shape, route }))
    }

    fn decide(&mut self, service: u16, name: String, status: u16) -> u32 {
        if let Some(route) = self.numbers.get(&(service, name.clone())) {
            return *route;
        }
        if !is_found(status) {
            let pending = self.pending.entry(service).or_default();
            if *pending >= self.cap || self.list.len() >= MAX_ROUTES {
                return ROUTE_NONE;
            }
            *pending += 1;
            return self.add(service, name, State::Pending, false);
        }
        if self.named.get(&service).copied().unwrap_or_default() >= self.cap || self.list.len() >= MAX_ROUTES {
            self.full.insert(service);
            return ROUTE_OTHER;
        }
        self.add(service, name, State::Named, true)
    }

    fn add(&mut self, service: u16, handler: String, state: State, counts: bool) -> u32 {
        let number = u32::try_from(self.list.len()).unwrap_or(ROUTE_OTHER);
        if counts {
            *self.named.entry(service).or_default() += 1;
        }
        self.numbers.insert((service, handler.clone()), number);
        self.list.push(Route {
            service,
            handler: handler.into(),
            state,
        });
        number
    }

    /// A request of this route was answered with this status.
    pub fn note(&mut self, route: u32, status: u16) {
        let Some(found) = self.list.get_mut(route as usize) else {
            return;
        };
        if found.state != State::Pending || !is_found(status) {
            return;
        }
        let service = found.service;
        let named = self.named.entry(service).or_default();
        if *named >= self.cap && self.shows_not_found {
            // It is shown already, and stays; so does its place among those that have only answered 404.
            found.state = State::Named;
            return;
        }
        if *named >= self.cap {
            found.state = State::Capped;
            self.full.insert(service);
        } else {
            found.state = State::Named;
            *named += 1;
        }
        if let Some(pending) = self.pending.get_mut(&service) {
            *pending = pending.saturating_sub(1);
        }
    }

    /// The route that requests of a route are counted under from now on: its own, or that of all that came past the cap.
    pub fn counted_as(&self, route: u32) -> u32 {
        match self.list.get(route as usize) {
            Some(Route {
                state: State::Capped, ..
            })
            | None => ROUTE_OTHER,
            Some(_) => route,
        }
    }

    /// The handler that a route is shown as.
    pub fn handler(&self, route: u32) -> Rc<str> {
        let shown = if self.is_pending(route) {
            ROUTE_NONE
        } else {
            self.counted_as(route)
        };
        let route = self.list.get(shown as usize);
        route.map_or_else(|| OTHER.into(), |route| Rc::clone(&route.handler))
    }

    /// The route of a path's shape, if it has one.
    pub fn known(&self, service: u16, shape: u64) -> Option<u32> {
        match self.shapes.peek(&(service, shape)) {
            Some(Known::Route(route)) => Some(*route),
            Some(Known::Handler(_)) | None => None,
        }
    }

    /// The numbers of the routes that are shown as the same handler from now on, with that handler.
    pub fn settled(&self) -> impl Iterator<Item = (usize, &str)> {
        let routes = self.list.iter().enumerate().skip(ROUTE_UNKNOWN as usize + 1);
        routes.filter_map(|(number, route)| match route.state {
            State::Pending if !self.shows_not_found => None,
            State::Pending | State::Named => Some((number, &*route.handler)),
            State::Capped => Some((number, OTHER)),
        })
    }

    /// How many routes there are.
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// Whether a route is shown as `none` for the time being.
    pub fn is_pending(&self, route: u32) -> bool {
        let is_pending = |route: &Route| route.state == State::Pending;
        !self.shows_not_found && self.list.get(route as usize).is_some_and(is_pending)
    }

    /// The services that have reached their cap since the last call.
    pub fn take_full(&mut self) -> HashSet<u16> {
        std::mem::take(&mut self.full)
    }

    /// How many requests had a path that was not remembered any more.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(routes: &mut Routes, path: &str, status: u16) -> String {
        let shape = vigie_ebpf::path::shape(path.as_bytes());
        routes.seen(1, shape, path.as_bytes(), false, &[]);
        let (route, _) = routes.answered(1, shape, status);
        routes.note(route, status);
        routes.handler(route).to_string()
    }

    #[test]
    fn a_path_that_is_not_found_is_none_until_it_is() {
        let mut routes = Routes::new(10);
        assert_eq!(request(&mut routes, "/a/1", 404), NONE);
        assert_eq!(request(&mut routes, "/a/2", 404), NONE);
        assert_eq!(request(&mut routes, "/a/3", 200), "/a/{id}");
        assert_eq!(request(&mut routes, "/a/4", 404), "/a/{id}");
        assert_eq!(request(&mut routes, "/.env", 404), NONE);
    }

    #[test]
    fn a_path_that_is_not_found_is_shown_if_it_is_to_be() {
        let mut routes = Routes::new(2).with_not_found(true);
        assert_eq!(request(&mut routes, "/.env", 404), "/.env");
        assert_eq!(request(&mut routes, "/a/1", 404), "/a/{id}");
        assert_eq!(request(&mut routes, "/wp-login.php", 404), NONE);
        assert_eq!(request(&mut routes, "/a/3", 200), "/a/{id}");
        for path in ["/b", "/c"] {
            request(&mut routes, path, 200);
        }
        // What is shown is not taken back.
        assert_eq!(request(&mut routes, "/.env", 200), "/.env");
        assert_eq!(request(&mut routes, "/d", 200), OTHER);
        assert!(!routes.is_pending(routes.known(1, vigie_ebpf::path::shape(b"/.env")).unwrap()));
    }

    #[test]
    fn past_the_cap_is_other() {
        let mut routes = Routes::new(2);
        assert_eq!(request(&mut routes, "/a", 200), "/a");
        assert_eq!(request(&mut routes, "/b", 500), "/b");
        assert_eq!(request(&mut routes, "/c", 200), OTHER);
        assert_eq!(request(&mut routes, "/a", 200), "/a");
        assert_eq!(routes.take_full(), HashSet::from([1]));
        assert!(routes.take_full().is_empty());
    }

    #[test]
    fn a_scanner_does_not_use_up_the_routes() {
        let mut routes = Routes::new(3);
        for i in 0..100 {
            assert_eq!(request(&mut routes, &format!("/x{}", "y".repeat(i % 40)), 404), NONE);
        }
        assert_eq!(request(&mut routes, "/real", 200), "/real");
        assert!(routes.list.len() < 10);
    }

    #[test]
    fn no_answer_says_nothing_about_a_path() {
        let mut routes = Routes::new(1);
        assert_eq!(request(&mut routes, "/probe", STATUS_ABORTED), NONE);
        assert_eq!(request(&mut routes, "/real", 200), "/real");
        assert_eq!(request(&mut routes, "/real", STATUS_ABORTED), "/real");
    }

    /// A scanner has used up the pending places. A route that answers 404 first still gets its name in the end.
    #[test]
    fn a_route_past_the_pending_ones_is_found_all_the_same() {
        let mut routes = Routes::new(2);
        for path in ["/x", "/y", "/late/1"] {
            assert_eq!(request(&mut routes, path, 404), NONE);
        }
        let shape = vigie_ebpf::path::shape(b"/late/1");
        let (route, lesson) = routes.answered(1, shape, 200);
        assert_eq!(
            (route, lesson.map(|lesson| lesson.route)),
            (ROUTE_OTHER, Some(ROUTE_UNKNOWN))
        );
        assert_eq!(request(&mut routes, "/late/2", 200), "/late/{id}");
    }

    #[test]
    fn a_pending_route_past_the_cap_closes_the_service() {
        let mut routes = Routes::new(1);
        assert_eq!(request(&mut routes, "/new", 404), NONE);
        assert_eq!(request(&mut routes, "/a", 200), "/a");
        assert_eq!(request(&mut routes, "/new", 201), OTHER);
        assert_eq!(routes.take_full(), HashSet::from([1]));
        let (route, _) = routes.answered(1, vigie_ebpf::path::shape(b"/new"), 200);
        assert_eq!(routes.counted_as(route), ROUTE_OTHER);
    }

    #[test]
    fn templates_come_first_and_outside_the_cap() {
        let templates = [Template::parse("/u/{name}").unwrap()];
        let mut routes = Routes::new(1);
        assert_eq!(request(&mut routes, "/a", 200), "/a");
        let shape = vigie_ebpf::path::shape(b"/u/alice");
        let lesson = routes
            .seen(1, shape, b"/u/alice", false, &templates)
            .expect("taught at once");
        assert_eq!(&*routes.handler(lesson.route), "/u/{name}");
        let other = routes.seen(1, vigie_ebpf::path::shape(b"/u/bob"), b"/u/bob", false, &templates);
        assert_eq!(other.map(|lesson| lesson.route), Some(lesson.route));
    }

    #[test]
    fn a_path_that_was_forgotten_is_counted_all_the_same() {
        let mut routes = Routes::new(1);
        assert_eq!(routes.answered(1, 5, 200), (ROUTE_OTHER, None));
        assert_eq!(routes.answered(1, 5, 404), (ROUTE_NONE, None));
        assert_eq!(routes.forgotten(), 2);
    }
}
