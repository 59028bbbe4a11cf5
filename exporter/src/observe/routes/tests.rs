use proptest::prelude::*;

use super::*;

/// A kernel, as far as routes go: what it was taught.
#[derive(Default)]
struct Kernel {
    shapes: HashMap<(u16, u64), u32>,
    levels: HashSet<(u16, u64)>,
    modes: HashMap<u16, u32>,
    asked: HashMap<(u16, u64), u32>,
    /// How many events there were.
    events: u64,
}

impl Kernel {
    fn learn(&mut self, lessons: impl IntoIterator<Item = Lesson>) {
        for lesson in lessons {
            match lesson {
                Lesson::Route {
                    service,
                    shape,
                    route: ROUTE_UNKNOWN,
                } => {
                    self.shapes.remove(&(service, shape));
                }
                Lesson::Route { service, shape, route } => {
                    self.shapes.insert((service, shape), route);
                }
                Lesson::Level {
                    service,
                    above,
                    is_collapsed: true,
                } => {
                    self.levels.insert((service, above));
                }
                Lesson::Level { service, above, .. } => {
                    self.levels.remove(&(service, above));
                }
                Lesson::Mode { service, mode } => {
                    self.modes.insert(service, mode);
                }
                Lesson::Epoch(_) => {}
            }
        }
    }

    fn taught(&self, service: u16, shape: u64) -> Option<u32> {
        let is_closed = self
            .modes
            .get(&service)
            .is_some_and(|mode| mode & route_mode::CLOSED != 0);
        let route = self.shapes.get(&(service, shape)).copied();
        route.filter(|route| *route != ROUTE_OTHER || is_closed)
    }

    /// As `vigie_find_shape()`: the route, the shape, and whether the path is shown, and as a busy one.
    fn find(&mut self, service: u16, path: &str) -> (u32, u64, bool, bool) {
        let mode = self.modes.get(&service).copied().unwrap_or_default();
        let mut whole = path::read(path.as_bytes());
        let mut shape = whole.close();
        let mut route = self.taught(service, shape);
        if route.is_none() && mode & route_mode::EXACT != 0 {
            shape = whole.exact();
            route = self.taught(service, shape);
        }
        if route.is_none() && mode & route_mode::COLLAPSES != 0 {
            let collapsed = whole.collapse(|above| self.levels.contains(&(service, above)));
            if collapsed != shape {
                route = self.taught(service, collapsed);
                if route.is_some_and(|route| route > ROUTE_OTHER) {
                    let asked = self.asked.entry((service, shape)).or_default();
                    *asked += 1;
                    if *asked >= vigie_ebpf::types::BUSY {
                        *asked = 0;
                        return (ROUTE_UNKNOWN, shape, true, true);
                    }
                }
                if route.is_some() {
                    shape = collapsed;
                }
            }
        }
        match route {
            None if mode & (route_mode::CLOSED | route_mode::TEMPLATED) == route_mode::CLOSED => {
                (ROUTE_OTHER, shape, false, false)
            }
            None => (ROUTE_UNKNOWN, shape, true, false),
            Some(ROUTE_NONE) => (ROUTE_UNKNOWN, shape, false, false),
            Some(route) => (route, shape, false, false),
        }
    }
}

/// Routes, the kernel that they teach, and what was counted.
struct Host {
    routes: Routes,
    kernel: Kernel,
    templates: Vec<Template>,
    counted: HashMap<u32, u64>,
    /// The series, by route and status.
    series: HashSet<(u32, u16)>,
    now: Instant,
}

impl Host {
    fn new(routes: Routes) -> Self {
        Self {
            routes,
            kernel: Kernel::default(),
            templates: Vec::new(),
            counted: HashMap::new(),
            series: HashSet::new(),
            now: Instant::now(),
        }
    }

    fn request(&mut self, path: &str, status: u16) -> String {
        self.request_of(1, path, status)
    }

    fn request_of(&mut self, service: u16, path: &str, status: u16) -> String {
        let (mut route, shape, is_shown, is_busy) = self.kernel.find(service, path);
        if is_shown {
            self.kernel.events += 1;
            let lesson = self
                .routes
                .seen(service, shape, path.as_bytes(), false, is_busy, &self.templates);
            self.kernel.learn(lesson);
        }
        // As `file()`.
        if route == ROUTE_UNKNOWN {
            route = self.kernel.taught(service, shape).unwrap_or(ROUTE_UNKNOWN);
        }
        if route == ROUTE_OTHER && !tells_of_path(status) {
            route = ROUTE_NONE;
        } else if route == ROUTE_NONE && tells_of_path(status) {
            route = ROUTE_UNKNOWN;
        }
        if !self.series.contains(&(route, status)) {
            self.kernel.events += 1;
            let mut lesson = None;
            if route == ROUTE_UNKNOWN || self.routes.is_stale(route) {
                (route, lesson) = self.routes.answered(service, shape, status);
            }
            self.routes.note(route, status);
            route = self.routes.counted_as(route);
            self.series.insert((route, status));
            self.kernel.learn(lesson);
            self.kernel.learn(self.routes.take_lessons());
        }
        *self.counted.entry(route).or_default() += 1;
        self.routes.handler(route).to_string()
    }

    fn tick(&mut self, seconds: u64) -> Vec<Dropped> {
        self.now += Duration::from_secs(seconds);
        for (route, requests) in &self.counted {
            self.routes.used(*route, *requests, self.now);
        }
        let lessons = self.routes.tick(self.now);
        self.kernel.learn(lessons);
        let dropped = self.routes.take_retired(self.now);
        for Dropped { route, into } in &dropped {
            let count = self.counted.remove(route).unwrap_or_default();
            if let Some(into) = into {
                *self.counted.entry(*into).or_default() += count;
            }
            self.series.retain(|(known, _)| known != route);
        }
        dropped
    }

    fn handlers(&self) -> HashMap<String, u64> {
        let mut handlers = HashMap::new();
        for (route, count) in &self.counted {
            *handlers.entry(self.routes.handler(*route).to_string()).or_default() += count;
        }
        handlers
    }
}

fn taught(lesson: Option<Lesson>) -> Option<u32> {
    match lesson {
        Some(Lesson::Route { route, .. }) => Some(route),
        _ => None,
    }
}

/// A name of letters that no rule takes for an identifier.
fn word(number: usize) -> String {
    let letter = |digit: usize| char::from(b'g' + u8::try_from(digit % 10).unwrap());
    [number / 1000, number / 100, number / 10, number]
        .map(letter)
        .iter()
        .collect()
}

fn request(routes: &mut Routes, path: &str, status: u16) -> String {
    let shape = path::shape(path.as_bytes());
    routes.seen(1, shape, path.as_bytes(), false, false, &[]);
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
    assert!(!routes.is_pending(routes.known(1, path::shape(b"/.env")).unwrap()));
}

fn closed(service: u16) -> Lesson {
    Lesson::Mode {
        service,
        mode: route_mode::CLOSED | route_mode::LIMITED,
    }
}

#[test]
fn past_the_cap_is_other() {
    let mut routes = Routes::new(2);
    assert_eq!(request(&mut routes, "/a", 200), "/a");
    assert_eq!(request(&mut routes, "/b", 500), "/b");
    assert_eq!(request(&mut routes, "/c", 200), OTHER);
    assert_eq!(request(&mut routes, "/a", 200), "/a");
    assert!(routes.take_lessons().contains(&closed(1)));
    assert_eq!(routes.take_lessons(), []);
}

#[test]
fn a_scanner_does_not_use_up_the_routes() {
    let mut routes = Routes::new(3);
    for i in 0..100 {
        assert_eq!(request(&mut routes, &format!("/x{}", "y".repeat(i % 40)), 404), NONE);
    }
    assert_eq!(request(&mut routes, "/real", 200), "/real");
    assert!(routes.count() < 10);
}

/// What a scanner has asked for goes when it has gone, and its counts are where they were shown.
#[test]
fn a_scanner_leaves_nothing_behind() {
    let mut routes = Routes::new(100).with_retention(Duration::from_secs(20));
    let begin = Instant::now();
    routes.tick(begin);
    let before = routes.count();
    for i in 0..80 {
        assert_eq!(request(&mut routes, &format!("/{}", word(i)), 404), NONE);
    }
    assert_eq!(request(&mut routes, "/real", 200), "/real");
    assert_eq!(routes.count(), before + 81);
    let later = begin + Duration::from_secs(30);
    routes.tick(later);
    let dropped = routes.take_retired(later + Duration::from_secs(2));
    assert!(dropped.iter().all(|route| route.into == Some(ROUTE_NONE)));
    assert_eq!((dropped.len(), routes.count()), (80, before + 1));
    assert_eq!(request(&mut routes, "/real", 200), "/real");
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
    let shape = path::shape(b"/late/1");
    let (route, lesson) = routes.answered(1, shape, 200);
    assert_eq!((route, taught(lesson)), (ROUTE_OTHER, Some(ROUTE_UNKNOWN)));
    assert_eq!(request(&mut routes, "/late/2", 200), "/late/{id}");
}

#[test]
fn a_pending_route_past_the_cap_closes_the_service() {
    let mut routes = Routes::new(1);
    assert_eq!(request(&mut routes, "/new", 404), NONE);
    assert_eq!(request(&mut routes, "/a", 200), "/a");
    assert_eq!(request(&mut routes, "/new", 201), OTHER);
    assert!(routes.take_lessons().contains(&closed(1)));
    let (route, _) = routes.answered(1, path::shape(b"/new"), 200);
    assert_eq!(routes.counted_as(route), ROUTE_OTHER);
}

#[test]
fn templates_come_first_and_outside_the_cap() {
    let templates = [Template::parse("/u/{name}").unwrap()];
    let mut routes = Routes::new(1);
    assert_eq!(request(&mut routes, "/a", 200), "/a");
    let shape = path::shape(b"/u/alice");
    let lesson = routes.seen(1, shape, b"/u/alice", false, false, &templates);
    let route = taught(lesson).expect("taught at once");
    assert_eq!(&*routes.handler(route), "/u/{name}");
    let other = routes.seen(1, path::shape(b"/u/bob"), b"/u/bob", false, false, &templates);
    assert_eq!(taught(other), Some(route));
}

/// Paths of one shape, some of which are one template's, some another's, and some none's: whatever comes first, each is counted where it belongs.
#[test]
fn templates_tell_paths_of_one_shape_apart() {
    let templates = [
        "/u/0",
        "/u/{n:int}",
        "/x/item_{n}",
        "/files/{path:path}",
        "/w/{id}.json",
    ];
    let paths = [
        ("/u/0", "/u/0"),
        ("/u/17", "/u/{n:int}"),
        ("/u/ada@example.org", "/u/{id}"),
        ("/u/18", "/u/{n:int}"),
        ("/x/17", "/x/{id}"),
        ("/x/item_17", "/x/item_{n}"),
        ("/x/item_x", "/x/item_{n}"),
        ("/files/a/17", "/files/{path:path}"),
        ("/files/", "/files/{path:path}"),
        ("/w/17.json", "/w/{id}.json"),
        ("/w/0123456789abcdef.json", "/w/{id}.json"),
        ("/w/0123456789abcdef.css", "/w/{id}"),
        ("/other/17", "/other/{id}"),
    ];
    for first in 0..paths.len() {
        let mut host = Host::new(Routes::new(50));
        host.templates = templates.map(|text| Template::parse(text).unwrap()).into();
        host.kernel.modes.insert(1, start_mode(&host.templates));
        for round in 0..3 {
            for (path, expected) in paths[first..].iter().chain(&paths[..first]) {
                assert_eq!(
                    host.request(path, 200),
                    *expected,
                    "{path} after {first}, round {round}"
                );
            }
        }
        // What is known costs nothing: each path once, and each series.
        let before = host.kernel.events;
        for (path, _) in paths {
            host.request(path, 200);
        }
        assert_eq!(host.kernel.events, before);
        // Of a shape that no template tells apart all paths are known.
        host.request("/other/18", 200);
        host.request("/files/a/18", 200);
        assert_eq!(host.kernel.events, before);
    }
}

#[test]
fn a_path_that_was_forgotten_is_counted_all_the_same() {
    let mut routes = Routes::new(1);
    for (status, route) in [(200, ROUTE_OTHER), (404, ROUTE_NONE)] {
        let (counted, lesson) = routes.answered(1, 5, status);
        // The kernel may know a number that was taken back.
        assert_eq!((counted, taught(lesson)), (route, Some(ROUTE_UNKNOWN)));
    }
    assert_eq!(routes.forgotten(), 2);
}

/// What a kind of value is called, the paths of it, and their status.
type Kind = (&'static str, fn(usize) -> String, u16);

/// Each kind of value that a stranger can invent any number of, and 20 real routes behind them.
#[test]
fn no_kind_of_value_uses_up_the_routes() {
    let kinds: [Kind; 18] = [
        ("login redirects", |i| format!("/{}", word(i)), 302),
        ("log in first", |i| format!("/{}", word(i)), 401),
        ("forbidden", |i| format!("/{}", word(i)), 403),
        ("not allowed", |i| format!("/{}", word(i)), 405),
        ("bad request", |i| format!("/{}", word(i)), 400),
        ("any word", |i| format!("/{}", word(i)), 200),
        ("owner and name", |i| format!("/{}/{}", word(i / 3), word(i)), 200),
        ("users", |i| format!("/u/{}/orders", word(i)), 200),
        ("e-mail", |i| format!("/users/{}@example.org", word(i)), 200),
        (
            "dates",
            |i| format!("/log/2026-{:02}-{:02}", i % 12 + 1, i % 28 + 1),
            200,
        ),
        ("coordinates", |i| format!("/map/{}.5,{}.25", i % 90, i % 180), 200),
        (
            "hashed assets",
            |i| format!("/assets/main.{:04x}{:04}.js", i * 17, i),
            200,
        ),
        ("file names", |i| format!("/files/{}.pdf", word(i)), 200),
        ("negative numbers", |i| format!("/balance/-{i}"), 200),
        ("prefixed ids", |i| format!("/customers/cus_x{i}"), 200),
        (
            "percent-encoded",
            |i| format!("/search/{}%20{}", word(i), word(i + 1)),
            200,
        ),
        (
            "catch-all pages",
            |i| format!("/{}/{}/{}", word(i), word(i + 7), word(i + 3)),
            200,
        ),
        (
            "words with children",
            |i| format!("/t/{}/{}", word(i), ["a", "b"][i % 2]),
            200,
        ),
    ];
    let real: Vec<String> = (0..20).map(|i| format!("/api/{}/17/items", word(5000 + i))).collect();
    for (kind, path, status) in kinds {
        let mut host = Host::new(Routes::new(200));
        let mut requests = 0;
        for i in 0..1000 {
            host.request(&path(i), status);
            requests += 1;
            if i % 100 == 99 {
                host.tick(1);
            }
        }
        for _ in 0..3 {
            host.tick(1);
        }
        for _ in 0..40 {
            for path in &real {
                host.request(path, 200);
                requests += 1;
            }
        }
        let handlers = host.handlers();
        for path in &real {
            let handler = path.replace("17", "{id}");
            assert!(
                handlers.get(&handler).is_some_and(|count| *count >= 20),
                "{kind}: {handler} {handlers:?}"
            );
        }
        assert_eq!(handlers.values().sum::<u64>(), requests, "{kind}");
        // In steady traffic of new values there are no events.
        let before = host.kernel.events;
        for i in 1000..3000 {
            host.request(&path(i), status);
        }
        let events = host.kernel.events - before;
        let most = if tells_of_path(status) { 0 } else { 4000 };
        assert!(events <= most, "{kind}: {events} events");
    }
}

/// True routes are never merged, however many there are at one level, while there is room and they are asked for.
#[test]
fn words_that_stay_are_not_merged() {
    let mut host = Host::new(Routes::new(200));
    for round in 0..100 {
        for i in 0..180 {
            assert_eq!(
                host.request(&format!("/api/{}", word(i)), 200),
                format!("/api/{}", word(i))
            );
        }
        // A stranger comes by.
        if round > 20 {
            for i in 0..50 {
                host.request(&format!("/api/{}", word(1000 + round * 50 + i)), 200);
            }
        }
        host.tick(5);
    }
    let handlers = host.handlers();
    for i in 0..180 {
        assert_eq!(handlers[&format!("/api/{}", word(i))], 100);
    }
}

#[test]
fn a_busy_word_of_a_collapsed_level_has_its_own_name() {
    let mut host = Host::new(Routes::new(200));
    for i in 0..300 {
        host.request(&format!("/{}", word(i)), 200);
    }
    host.tick(1);
    assert_eq!(host.request("/quiet", 200), "/{…}");
    let shown: Vec<String> = (0..30).map(|_| host.request("/checkout", 200)).collect();
    assert_eq!(shown.iter().filter(|handler| *handler == "/{…}").count(), 15);
    assert_eq!(shown[15..], ["/checkout"; 15].map(str::to_owned));
    // A busy word that is not found stays what it was.
    for _ in 0..100 {
        assert_eq!(host.request("/wp-login", 404), "/{…}");
    }
}

#[test]
fn busy_words_leave_room_for_others() {
    let mut host = Host::new(Routes::new(200));
    for i in 0..300 {
        host.request(&format!("/{}", word(i)), 200);
    }
    host.tick(1);
    for i in 1000..1300 {
        for _ in 0..40 {
            host.request(&format!("/{}", word(i)), 200);
        }
    }
    assert_eq!(host.routes.taken(1).busy, 100);
    assert_eq!(host.request("/api/new", 200), "/{…}/new");
    // The others are not asked about again.
    let before = host.kernel.events;
    for i in 1200..1300 {
        for _ in 0..40 {
            host.request(&format!("/{}", word(i)), 200);
        }
    }
    assert_eq!(host.kernel.events, before);
}

#[test]
fn an_idle_route_gives_its_place_to_a_new_one() {
    let mut host = Host::new(Routes::new(8));
    for i in 0..8 {
        host.request(&format!("/{}", word(i)), 200);
    }
    host.tick(1);
    assert_eq!(host.request("/new", 200), OTHER);
    for _ in 0..10 {
        for i in 1..8 {
            host.request(&format!("/{}", word(i)), 200);
        }
        assert_eq!(host.request("/new", 200), OTHER);
        host.tick(59);
    }
    host.tick(60);
    let idle = host.routes.by_name[&(1, format!("/{}", word(0)))];
    assert_eq!(host.request("/new", 200), "/new");
    // It is shown for a while, and then its number is nobody's.
    assert_eq!(host.routes.handler(idle).to_string(), format!("/{}", word(0)));
    assert_eq!(host.tick(299), []);
    assert_eq!(
        host.tick(1),
        [Dropped {
            route: idle,
            into: None
        }]
    );
    assert!(host.routes.is_stale(idle));
    assert_eq!(host.routes.counted_as(idle), ROUTE_OTHER);
    // Its slot is given again under another number.
    host.request("/newest", 200);
    for _ in 0..2 {
        host.tick(600);
        host.request("/new", 200);
    }
    assert_eq!(host.request("/newest", 200), "/newest");
    let newest = host.routes.by_name[&(1, "/newest".to_owned())];
    assert!(slot(newest) < 3 + 8 + 2 && newest > 0xffff, "{newest:#x}");
    assert_eq!(host.routes.folded()[2].0, "idle");
    assert!(host.routes.folded()[2].1 >= 1);
}

#[test]
fn a_retired_route_that_comes_back_goes_on() {
    let mut host = Host::new(Routes::new(2));
    host.request("/a", 200);
    host.request("/b", 200);
    host.request("/c", 200);
    let a = host.routes.by_name[&(1, "/a".to_owned())];
    host.tick(1);
    host.request("/b", 200);
    host.tick(600);
    // It has lost its place, and nobody has taken it.
    assert_eq!(host.routes.taken(1).named, 1);
    assert_eq!(
        (host.request("/a", 200), host.request("/a", 201)),
        ("/a".to_owned(), "/a".to_owned())
    );
    host.tick(1);
    host.tick(300);
    assert_eq!(
        (host.routes.by_name[&(1, "/a".to_owned())], host.routes.is_stale(a)),
        (a, false)
    );
    assert_eq!(host.handlers().values().sum::<u64>(), 6);
}

#[test]
fn few_redirects_are_routes_and_many_are_not() {
    let mut host = Host::new(Routes::new(200));
    assert_eq!(host.request("/logout", 302), "/logout");
    assert_eq!(host.request("/private", 401), "/private");
    for i in 0..1000 {
        host.request(&format!("/{}", word(i)), 302);
    }
    assert_eq!(host.handlers()[NONE], 982);
    // What says something has the place of what did not.
    for i in 2000..2200 {
        assert_eq!(
            host.request(&format!("/api/{}", word(i)), 200),
            format!("/api/{}", word(i))
        );
    }
    assert_eq!(
        host.routes.taken(1),
        Taken {
            named: 200,
            untold: 0,
            busy: 0,
            pending: 200
        }
    );
    assert_eq!(host.request("/late", 200), OTHER);
}

/// A client that invents paths and methods, at a service with a template.
#[test]
fn capped_routes_are_bounded_and_cost_nothing() {
    let mut host = Host::new(Routes::new(5));
    host.templates = vec![Template::parse("/stock/{name}").unwrap()];
    for i in 0..400 {
        host.request(&format!("/{}", word(i)), 404);
        host.request(&format!("/{}", word(i)), 201);
        host.request(&format!("/stock/{}", word(i)), 200);
        if i % 40 == 0 {
            host.tick(1);
        }
    }
    // Five of its own, five that are pending or came too late, none, other, the template; two statuses.
    assert!(host.series.len() <= 2 * 13, "{:?}", host.series);
    let handlers = host.handlers();
    assert!(handlers.len() <= 8, "{handlers:?}");
    assert_eq!((handlers["/stock/{name}"], handlers.values().sum::<u64>()), (400, 1200));
    let before = host.kernel.events;
    for i in 0..400 {
        host.request(&format!("/{}", word(i)), 404);
        host.request(&format!("/{}", word(i)), 201);
        host.request(&format!("/stock/{}", word(i)), 200);
    }
    assert_eq!(host.kernel.events, before);
}

#[test]
fn a_route_that_came_too_late_begins_anew_when_there_is_room() {
    let mut host = Host::new(Routes::new(1));
    host.request("/late", 404);
    host.request("/a", 200);
    assert_eq!(host.request("/late", 200), OTHER);
    let mut dropped = Vec::new();
    for _ in 0..12 {
        host.request("/late", 200);
        dropped.extend(host.tick(60));
    }
    assert_eq!(host.request("/late", 200), "/late");
    // What it had been shown as keeps the counts.
    dropped.extend(host.tick(200));
    dropped.extend(host.tick(200));
    assert!(
        dropped.iter().any(|dropped| dropped.into == Some(ROUTE_OTHER)),
        "{dropped:?}"
    );
    assert_eq!((host.handlers()[OTHER], host.handlers()["/late"]), (13, 2));
}

#[test]
fn a_collapsed_level_that_nobody_asks_for_is_as_it_was() {
    let mut host = Host::new(Routes::new(200));
    for i in 0..300 {
        host.request(&format!("/u/{}", word(i)), 200);
    }
    host.tick(1);
    assert_eq!(host.request("/u/alice", 200), "/u/{…}");
    assert_eq!(host.kernel.levels.len(), 1);
    // Something else takes all places.
    for i in 0..300 {
        host.request(&format!("/{}/{}", word(i % 15), word(i)), 200);
    }
    host.tick(1);
    for _ in 0..20 {
        host.tick(60);
    }
    assert_eq!(
        (host.kernel.levels.len(), host.kernel.modes[&1] & route_mode::COLLAPSES),
        (0, 0)
    );
}

#[test]
fn a_service_that_is_forgotten_leaves_nothing() {
    let mut host = Host::new(Routes::new(200));
    let empty = host.routes.count();
    for i in 0..300 {
        host.request(&format!("/u/{}", word(i)), 200);
        host.request(&format!("/v/{}", word(i)), 404);
    }
    host.tick(1);
    host.request("/u/a", 200);
    let numbers: HashSet<u32> = host
        .routes
        .numbers
        .iter()
        .map(|(number, _)| number)
        .filter(|number| *number > 2)
        .collect();
    let dropped = host.routes.forget_service(1);
    assert_eq!(
        dropped.iter().map(|dropped| dropped.route).collect::<HashSet<_>>(),
        numbers
    );
    let lessons = host.routes.take_lessons();
    host.kernel.learn(lessons);
    let Routes {
        by_name,
        shapes,
        services,
        retired,
        ..
    } = &host.routes;
    assert_eq!(
        (by_name.len(), shapes.len(), services.len(), retired.len()),
        (0, 0, 0, 0)
    );
    assert_eq!(host.routes.count(), empty);
    assert_eq!((host.kernel.levels.len(), host.kernel.modes[&1]), (0, 0));
    assert_eq!(host.tick(1000), []);
}

/// Strangers at many services: no more levels collapse than the kernel has room for, and they are given back.
#[test]
fn levels_that_collapse_are_bounded() {
    let mut host = Host::new(Routes::new(200));
    let services = 1..=10;
    for service in services.clone() {
        for level in 0..36 {
            for i in 0..220 {
                host.request_of(service, &format!("/{}/{}", word(level), word(1000 + i)), 200);
            }
            host.tick(1);
        }
    }
    let of = |host: &Host, service| host.kernel.levels.iter().filter(|(of, _)| *of == service).count();
    let counts: Vec<usize> = services.clone().map(|service| of(&host, service)).collect();
    assert_eq!(counts, [[32; 8].as_slice(), &[0, 0]].concat());
    let mut expected = counts.iter().sum::<usize>();
    for service in services {
        expected -= of(&host, service);
        host.routes.forget_service(service);
        let lessons = host.routes.take_lessons();
        host.kernel.learn(lessons);
        assert_eq!(host.kernel.levels.len(), expected);
    }
}

/// More routes than there are numbers for: what comes then is `other`, until a service goes.
#[test]
fn routes_of_the_host_are_bounded() {
    let mut routes = Routes::new(1000);
    let request = |routes: &mut Routes, service: u16, i: usize| {
        let path = format!("/{}", word(i));
        let shape = path::shape(path.as_bytes());
        routes.seen(service, shape, path.as_bytes(), false, false, &[]);
        let (route, _) = routes.answered(service, shape, 200);
        routes.handler(route).to_string()
    };
    let others = (1..=70).flat_map(|service| (0..1000).map(move |i| (service, i)));
    let others = others
        .filter(|(service, i)| request(&mut routes, *service, *i) == OTHER)
        .count();
    // The first three numbers have a meaning of their own.
    assert_eq!(others, 70_000 - (vigie_ebpf::traced::ROUTES - 3));
    assert_eq!(request(&mut routes, 71, 0), OTHER);
    routes.forget_service(1);
    for i in 1..=1000 {
        assert_eq!(request(&mut routes, 72, i), format!("/{}", word(i)));
    }
    assert_eq!(request(&mut routes, 73, 0), OTHER);
}

/// Month after month of strangers: the routes are bounded, and come back to what they were.
#[test]
fn routes_do_not_pile_up() {
    let mut host = Host::new(Routes::new(50));
    for hour in 0..200 {
        for i in 0..40 {
            let word = word(hour * 40 + i);
            host.request(&format!("/{word}"), [200, 404, 302, 405][i % 4]);
            host.request(&format!("/a/{word}/b"), 200);
            host.request("/real", 200);
        }
        for _ in 0..6 {
            host.tick(600);
        }
        let Routes {
            by_name,
            shapes,
            retired,
            ..
        } = &host.routes;
        assert!(host.routes.count() <= 3 + 2 * (50 + 50), "{}", host.routes.count());
        assert!(by_name.len() <= host.routes.count());
        assert!(retired.len() <= 200, "{}", retired.len());
        assert!(shapes.len() <= 16_384);
    }
    assert_eq!(host.handlers()["/real"], 200 * 40);
    assert!(host.counted.len() <= 3 + 200);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is requested: no request is lost, the cap holds, and the kernel and user space agree.
    #[test]
    fn any_stream_of_paths_keeps_the_books(
        cap in 1usize..60,
        stream in prop::collection::vec(
            (0usize..3000, 0usize..4, prop::sample::select(vec![200u16, 201, 302, 401, 404, 405, 500, 0]), 0u64..400), 1..1500),
    ) {
        let mut host = Host::new(Routes::new(cap));
        let mut dropped = 0;
        let mut requests = 0;
        for (number, form, status, seconds) in stream {
            let path = match form {
                0 => format!("/{}", word(number)),
                1 => format!("/u/{}/{}", word(number), word(number % 3)),
                2 => format!("/{}/{number}", word(number % 7)),
                _ => "/busy".to_owned(),
            };
            host.request(&path, if form == 3 { 200 } else { status });
            requests += 1;
            if seconds > 390 {
                let before: u64 = host.counted.values().sum();
                host.tick(seconds - 390);
                dropped += before - host.counted.values().sum::<u64>();
            }
            let taken = host.routes.taken(1);
            prop_assert!(taken.named <= cap && taken.pending <= cap, "{:?}", taken);
            prop_assert!(taken.untold <= UNTOLD && taken.busy <= cap);
        }
        prop_assert_eq!(host.counted.values().sum::<u64>() + dropped, requests);
        // Of each level that has collapsed, the kernel knows.
        let collapsed: HashSet<(u16, u64)> = host.routes.services[&1].collapsed.iter().map(|above| (1, *above)).collect();
        prop_assert_eq!(&host.kernel.levels, &collapsed);
        // No shape leads to a number that was taken back and given again.
        for route in host.kernel.shapes.values() {
            prop_assert!(*route <= ROUTE_OTHER || host.routes.is_stale(*route) || host.routes.numbers.get(*route).is_some());
        }
    }
}
