//! All counts of this host: what the kernel has added up, and what had to travel through the ring buffer.
//!
//! The kernel counts a request if it knows its series, and sends it here otherwise. Here it is counted, and its series is
//! started in the kernel. So every request is counted once, by one of the two.

mod batch;
mod by_labels;
mod exemplars;
mod lives;
mod names;
mod processes;
mod retired;
mod room;
mod series;
mod tending;
mod totals;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashSet},
    rc::Rc,
    time::Instant,
};

use anyhow::{Result, ensure};
use aya::maps::{MapData, RingBuf};
use foldhash::{HashMap, HashMapExt as _};
use log::error;
use lru::LruCache;
use vigie_ebpf::{
    attribution::REASON_NAMES,
    method,
    native::Native,
    phases::Phases,
    preface,
    request::PATH,
    types::{
        EVENTS_BYTES, Exchanged, Lost, PathEvent, ProcessEvent, ROUTE_NONE, ROUTE_UNKNOWN, RequestEvent,
        SERVICE_IGNORED, SERVICE_UNKNOWN, STATUS_ABORTED, SchedValue, SeriesKey, SeriesValue, Waits, event,
        tells_of_path,
    },
};

use self::{
    batch::{Batch, Limit, Whole},
    lives::{Natives, PERIOD, SHORT_PERIOD},
    processes::MET,
    room::Room,
};
pub use self::{
    by_labels::ByLabels,
    exemplars::Example,
    series::Series,
    totals::{CLASSES, Totals},
};
use super::{
    identity::Identity,
    listeners::{Listeners, listeners},
    routes::{NOT_FOUND, OTHER, Routes},
    services::{Dropped, Services},
    traced::{WallClock, monotonic},
    usage::{Usage, UsageSnapshot},
    waits::{self, Shown, WaitBuckets},
};
use crate::{
    config::Config,
    descriptors,
    kernel::{
        books::{Books, route_key},
        load::padded_bounds,
    },
};

/// The labels of a request series, in the order of the text format.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels {
    /// The service, and which instance of it.
    pub identity: Rc<Identity>,
    /// The local TCP port; 0 for a unix socket.
    pub port: u16,
    /// The route's template.
    pub handler: Rc<str>,
    /// The method.
    pub method: &'static str,
    /// The status; 0 stands for an aborted request.
    pub status: u16,
}

/// How many events came through the ring buffer, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// A process that was not known.
    pub process: u64,
    /// A process that listens.
    pub listen: u64,
    /// A path that was not known.
    pub path: u64,
    /// A request that the kernel could not count.
    pub request: u64,
    /// Records of no known kind or size.
    pub unknown: u64,
}

/// Connections that carried no HTTP.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NotHttp {
    /// Their service.
    pub service: Rc<Identity>,
    /// The local port, 0 for a unix socket. `None`: of those that there was no room for.
    pub port: Option<u16>,
    /// What their first bytes look like.
    pub looks: &'static str,
}

/// Everything that a scrape shows of requests, services and the kernel side.
#[derive(Debug)]
pub struct Snapshot {
    /// When this was taken, by the monotonic clock, in nanoseconds: series that are not in it are born later.
    pub taken: u64,
    /// What tells the time of day when something was born.
    pub clock: WallClock,
    /// Requests. Streams of events are among them, each in the first bucket.
    pub requests: ByLabels<Series>,
    /// All requests by service, also of series that are gone.
    pub totals: Vec<(Rc<Identity>, Totals)>,
    /// The same requests by duration, in native buckets, for as many series as there is room for. Empty if not asked for.
    pub native: ByLabels<Box<Native>>,
    /// Requests whose traces can be looked up. Empty if not asked for.
    pub exemplars: ByLabels<Vec<Example>>,
    /// How long requests have waited, by route: the status is 0.
    pub waits: ByLabels<WaitBuckets>,
    /// Requests in flight, by service.
    pub in_flight: Vec<(Rc<Identity>, u64)>,
    /// What services have exchanged with their clients, by service.
    pub exchanged: Vec<(Rc<Identity>, Exchanged)>,
    /// Connections that carried no HTTP, by service, port and what their first bytes look like.
    pub not_http: Vec<(NotHttp, u64)>,
    /// Time that is not attributed, in nanoseconds, by reason.
    pub unattributed: Vec<(&'static str, u64)>,
    /// The handlers of each service, by its name, whose durations are not shown.
    pub long_lived: BTreeMap<String, BTreeSet<String>>,
    /// The scheduler's books, by service.
    pub sched: Vec<(Rc<Identity>, SchedValue)>,
    /// What was lost, by reason.
    pub lost: Vec<(&'static str, u64)>,
    /// Events.
    pub events: Events,
    /// Threads that run or wait, by CPU.
    pub runnable: Option<Vec<(u32, u32)>>,
    /// How many series the kernel keeps.
    pub series: usize,
    /// How many routes were folded into others, by reason.
    pub folded: Vec<(&'static str, u64)>,
    /// How many there may be, and how many were refused for want of room.
    pub room: (usize, u64),
    /// Services that lost their numbers before their time.
    pub dropped: Dropped,
    /// How services and the host use what they have.
    pub usage: UsageSnapshot,
}

// === impl Snapshot ===

impl Snapshot {
    /// Whether the config says that these requests last as long as their clients like.
    pub fn is_long_lived(&self, labels: &Labels) -> bool {
        let handlers = self.long_lived.get(&*labels.identity.service);
        handlers.is_some_and(|handlers| handlers.contains(&*labels.handler))
    }

    /// Those of the requests of a series that have durations, if any have. The bytes are those of all.
    pub fn timed<'a>(&self, labels: &Labels, series: &'a Series) -> Option<Cow<'a, Series>> {
        if self.is_long_lived(labels) {
            None
        } else {
            series.timed()
        }
    }
}

/// The counts, and everything needed to keep them.
pub struct Ledger {
    books: Books,
    ring: RingBuf<MapData>,
    bounds: [u64; vigie_ebpf::types::BOUNDS],
    services: Services,
    routes: Routes,
    /// What was counted here. Every series that the kernel keeps has an entry.
    counted: BTreeMap<SeriesKey, Counted>,
    /// Which native histograms are nobody's.
    natives: Natives,
    /// What was counted for each service in series that have ended.
    ended: HashMap<u16, Totals>,
    /// How many series there may be.
    room: Room,
    /// What was shown as `none` of a route, when it was.
    shown_as_none: HashMap<SeriesKey, SeriesValue>,
    /// The native histograms that were shown as `none` of a route, when it was.
    native_as_none: HashMap<SeriesKey, Box<Native>>,
    /// The long waits that were counted here, by route.
    waits: HashMap<SeriesKey, Waits>,
    /// What was last shown of each route's short waits.
    shown_waits: Shown,
    /// The waits that were shown as `none` of a route, when it was.
    waits_as_none: HashMap<SeriesKey, WaitBuckets>,
    events: Events,
    /// Every port that somebody has listened on: a connection there is picked up when its beginning was missed.
    ports: HashSet<u16>,
    cpus: Vec<u32>,
    usage: Usage,
    /// The service that a process was found to be of, of those that were met last.
    met: LruCache<u32, u16>,
    /// What tells when exemplars were.
    clock: WallClock,
    /// When it was last looked who has ended.
    ticked: Option<Instant>,
    /// When what is gone was last forgotten.
    forgot: Instant,
    /// Whether memory was given up since that was asked for last.
    has_forgotten: bool,
    /// When room was last made for routes.
    tended: Instant,
}

/// A series, as far as it was counted here.
#[derive(Debug, Default)]
struct Counted {
    /// Its native histogram alone is counted in the kernel's map, which is shared.
    value: SeriesValue,
    /// The place of its native histogram, or 0.
    native: usize,
    /// Whether the kernel counts it, too.
    is_started: bool,
    /// When its labels were first there, by the monotonic clock, in nanoseconds.
    born: u64,
    /// The same of the labels that it was shown under as long as its route was `none`.
    born_as_none: u64,
}

// === impl Counted ===

impl Counted {
    fn new(native: usize, now: u64) -> Self {
        Self {
            native,
            born: now,
            born_as_none: now,
            ..Self::default()
        }
    }
}

/// Adds what was counted elsewhere.
pub fn add(sum: &mut SeriesValue, value: &SeriesValue) {
    for (total, count) in sum.buckets.iter_mut().zip(value.buckets) {
        *total += count;
    }
    sum.phases.add(&value.phases);
    sum.request_bytes += value.request_bytes;
    sum.response_bytes += value.response_bytes;
}

fn subtract(value: &SeriesValue, part: &SeriesValue) -> SeriesValue {
    let mut rest = *value;
    for (count, less) in rest.buckets.iter_mut().zip(part.buckets) {
        *count -= less;
    }
    rest.phases = rest.phases.without(&part.phases);
    rest.request_bytes -= part.request_bytes;
    rest.response_bytes -= part.response_bytes;
    rest
}

/// The values of services, each identity once: a service that turned out to be another is a part of that.
fn by_identity<V>(mut all: Vec<(Rc<Identity>, V)>, mut add: impl FnMut(&mut V, &V)) -> Vec<(Rc<Identity>, V)> {
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    all.dedup_by(|(identity, value), (before, sum)| {
        let is_same = identity == before;
        if is_same {
            add(sum, value);
        }
        is_same
    });
    all
}

/// Reads a record of the ring buffer as one of the event types.
fn record<T: Copy>(bytes: &[u8]) -> Result<T> {
    ensure!(bytes.len() >= size_of::<T>(), "a record of {} bytes", bytes.len());
    // SAFETY: there are enough bytes, and any bytes are a value: the event types are made of integers. The kernel side
    // was built from the same definition.
    Ok(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// A record of the ring buffer.
enum Event {
    Process(ProcessEvent),
    Path(Box<PathEvent>),
    Request(RequestEvent),
    Unknown,
}

// === impl Event ===

impl Event {
    fn read(bytes: &[u8]) -> Result<Self> {
        Ok(match record::<u32>(bytes)? {
            event::PROCESS | event::LISTEN => Self::Process(record(bytes)?),
            event::PATH => Self::Path(Box::new(record(bytes)?)),
            event::REQUEST => Self::Request(record(bytes)?),
            _ => Self::Unknown,
        })
    }
}

// === impl Ledger ===

impl Ledger {
    /// Starts with what listens on this host now.
    ///
    /// # Errors
    ///
    /// If the maps cannot be written.
    pub fn new(mut books: Books, ring: RingBuf<MapData>, config: &Config) -> Result<Self> {
        books.processes.set(std::process::id(), SERVICE_IGNORED);
        let Listeners { held, ports } = listeners();
        books.adopt_ports(ports.iter().copied())?;
        let room = Room::new(books.possible_cpus());
        let mut ledger = Self {
            usage: Usage::new(),
            services: Services::new(config.services.clone(), config.retention, config.merges_instances),
            natives: Natives::default(),
            ended: HashMap::new(),
            room,
            ticked: None,
            forgot: Instant::now(),
            has_forgotten: false,
            books,
            ring,
            bounds: padded_bounds(config.buckets.nanos()),
            routes: Routes::new(config.max_routes as usize)
                .with_not_found(config.profile.shows_not_found())
                .with_retention(config.retention),
            counted: BTreeMap::new(),
            shown_as_none: HashMap::new(),
            native_as_none: HashMap::new(),
            waits: HashMap::new(),
            shown_waits: Shown::default(),
            waits_as_none: HashMap::new(),
            events: Events::default(),
            ports,
            cpus: online_cpus(),
            met: LruCache::new(MET),
            clock: WallClock::now(),
            tended: Instant::now(),
        };
        for (process, port) in &held {
            ledger.services.add_port(*process, *port);
        }
        for (process, port) in held {
            if ledger.books.processes.get(process) == SERVICE_UNKNOWN {
                ledger.meet_process(process, port)?;
            }
        }
        ledger.usage.start(&ledger.books);
        Ok(ledger)
    }

    /// Handles what waits in the ring buffer, up to a batch. An event that cannot be handled is logged, and the others are all the
    /// same: what is left in the ring buffer would fill it. `true`: there may be more.
    pub fn drain_batch(&mut self) -> bool {
        let has_more = self.handle_events(&mut Batch::new());
        self.look_after();
        has_more
    }

    /// Handles everything that waits in the ring buffer now. What comes meanwhile is left there: it may come for ever.
    pub fn drain(&mut self) {
        self.handle_events(&mut Whole::new(EVENTS_BYTES));
        self.look_after();
    }

    fn handle_events(&mut self, limit: &mut impl Limit) -> bool {
        // The record's bytes are copied out at once: handling it needs all of `self`.
        while let Some((length, event)) = self.next_event() {
            if let Err(failure) = event.and_then(|event| self.handle(event)) {
                error!("cannot handle an event: {failure:#}");
            }
            if limit.is_reached(length) {
                return true;
            }
        }
        false
    }

    fn look_after(&mut self) {
        if let Err(failure) = self.tick(PERIOD) {
            error!("cannot look who has ended: {failure:#}");
        }
        if let Err(failure) = self.make_room_for_routes() {
            error!("cannot make room for routes: {failure:#}");
        }
    }

    /// The next event, and the length of its record.
    fn next_event(&mut self) -> Option<(usize, Result<Event>)> {
        let item = self.ring.next()?;
        Some((item.len(), Event::read(&item)))
    }

    fn handle(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Process(event) => self.meet(&event),
            Event::Path(event) => self.see(&event),
            Event::Request(event) => self.count(event),
            Event::Unknown => {
                self.events.unknown += 1;
                Ok(())
            }
        }
    }

    fn is_known(&self, service: u16) -> bool {
        self.services.get(service).is_some()
    }

    fn see(&mut self, event: &PathEvent) -> Result<()> {
        let PathEvent {
            kind: _,
            process,
            shape,
            length,
            service,
            is_busy,
            path,
        } = event;
        self.events.path += 1;
        let service = if self.is_known(*service) {
            *service
        } else {
            self.service_of(*process, 0)?
        };
        let length = *length as usize;
        let path = &path[..length.min(PATH)];
        match self.routes.seen(
            service,
            *shape,
            path,
            length > PATH,
            *is_busy != 0,
            self.services.templates(service),
        ) {
            Some(lesson) => self.teach(lesson),
            None => Ok(()),
        }
    }

    fn count(&mut self, event: RequestEvent) -> Result<()> {
        let RequestEvent {
            kind: _,
            process,
            shape,
            mut key,
            is_rest,
            finished,
        } = event;
        self.events.request += 1;
        let is_rest = is_rest != 0;
        if is_rest && !self.is_known(key.service) {
            // What it was counted for is gone.
            return Ok(());
        }
        if !self.is_known(key.service) {
            key.service = self.service_of(process, key.port)?;
        }
        if key.service == SERVICE_IGNORED {
            return Ok(());
        }
        // How a method that nobody knows, or that is refused, is answered says nothing of the path: no more than 404 does.
        let said = match key.method {
            method::NAMELESS if !tells_of_path(key.status) => NOT_FOUND,
            _ => key.status,
        };
        let mut lesson = None;
        if is_rest {
            // Routes have learnt from it when it was counted.
            if key.route == ROUTE_UNKNOWN || self.routes.is_stale(key.route) {
                key.route = self.route_of(key.service, shape, key.status);
            }
        } else if key.route == ROUTE_UNKNOWN || self.routes.is_stale(key.route) {
            (key.route, lesson) = self.routes.answered(key.service, shape, said);
        }
        let now = monotonic();
        if !is_rest {
            let was_pending = self.routes.is_pending(key.route);
            self.routes.note(key.route, said);
            if was_pending && !self.routes.is_pending(key.route) {
                self.is_born_again(key.route, now);
            }
        }
        key.route = self.routes.counted_as(key.route);
        if key.status != STATUS_ABORTED && self.services.note_answer(key.service, key.port) {
            self.books.note_answers(key.service)?;
            self.adopt_children(process, key.service);
        }
        self.make_room(&mut key)?;
        // The request is counted first: whatever fails below is tried again with the next.
        if key.status != STATUS_ABORTED && !key.is_stream() {
            let Phases { queue, runqueue, .. } = finished.phases;
            waits::count_request(self.waits.entry(route_key(&key)).or_default(), queue, runqueue);
        }
        let natives = &mut self.natives;
        let counted = self.counted.entry(key).or_insert_with(|| {
            let place = if key.is_stream() { 0 } else { natives.take() };
            Counted::new(place, now)
        });
        if key.is_stream() {
            counted.value.count_stream(u64::from(!is_rest), &finished);
        } else {
            counted.value.count(&self.bounds, &finished);
        }
        if counted.native != 0 {
            self.books.native.count(counted.native, finished.phases.duration());
        }
        if !counted.is_started {
            counted.is_started = self.books.start_series(key, counted.native)?;
        }
        if let Some(lesson) = lesson {
            self.teach(lesson)?;
        }
        self.teach_routes()
    }

    /// The totals of services by number become those of identities: several numbers can have the same.
    fn totals_by_identity(&self, totals: BTreeMap<u16, Totals>) -> Vec<(Rc<Identity>, Totals)> {
        let mut all = BTreeMap::<Rc<Identity>, Totals>::new();
        for (number, totals) in totals {
            if let Some(service) = self.services.get(number) {
                let sum = all.entry(Rc::clone(&service.identity));
                sum.and_modify(|sum| sum.merge(&totals)).or_insert(totals);
            }
        }
        all.into_iter().collect()
    }

    /// The series of a route have other labels from now on.
    fn is_born_again(&mut self, route: u32, now: u64) {
        let first = SeriesKey {
            route,
            ..SeriesKey::default()
        };
        for (_, counted) in self
            .counted
            .range_mut(first..)
            .take_while(|(key, _)| key.route == route)
        {
            counted.born = now;
        }
    }

    /// Everything as it is now; native histograms and exemplars only if asked for.
    ///
    /// # Errors
    ///
    /// If the maps cannot be read.
    pub fn snapshot(&mut self, with_native: bool, with_exemplars: bool) -> Result<Snapshot> {
        self.drain();
        self.tick(SHORT_PERIOD)?;
        let taken = monotonic();
        // Whatever has a time has the same in every scrape: Prometheus takes it for another one else.
        let clock = WallClock::now();
        if clock.is_far_from(&self.clock) {
            self.clock = clock;
        }
        let long_lived = self.services.long_lived();
        let mut totals: BTreeMap<u16, Totals> = self
            .services
            .iter()
            .map(|(number, service)| (number, self.totals_of_ended(number, service.born)))
            .collect();
        // Series that are known, and have nothing to show under labels of their own yet.
        let mut unborn = Vec::new();
        let mut requests = Vec::with_capacity(self.counted.len());
        let mut answered = BTreeMap::<SeriesKey, u64>::new();
        let series = self.counted.len();
        let mut values: HashMap<SeriesKey, SeriesValue> = self
            .counted
            .iter()
            .map(|(key, counted)| (*key, counted.value))
            .collect();
        self.books.series(|key, value| {
            if let Some(sum) = values.get_mut(key) {
                add(sum, value);
            }
        })?;
        self.tend_routes(&values)?;
        for (key, counted) in &self.counted {
            let mut value = values.get(key).copied().unwrap_or_default();
            if key.status != STATUS_ABORTED && !key.is_stream() {
                *answered.entry(route_key(key)).or_default() += value.buckets.iter().sum::<u64>();
            }
            let labels = self.labels(key, key.route);
            if let Some(totals) = totals.get_mut(&key.service) {
                let handlers = long_lived.get(&*labels.identity.service);
                let is_long_lived = handlers.is_some_and(|handlers| handlers.contains(&*labels.handler));
                let is_long_lived = is_long_lived || key.is_stream();
                totals.add(&value, key.status, is_long_lived);
            }
            let is_pending = self.routes.is_pending(key.route);
            let mut born = counted.born;
            if is_pending {
                born = counted.born_as_none;
                self.shown_as_none.insert(*key, value);
                if let Some(native) = self.books.native.get(counted.native) {
                    self.native_as_none.insert(*key, native);
                }
            } else if let Some(shown) = self.shown_as_none.get(key) {
                value = subtract(&value, shown);
                let as_none = Series::new(key, *shown, counted.born_as_none);
                requests.push((self.labels(key, ROUTE_NONE), as_none));
                if value == SeriesValue::default() {
                    unborn.push(*key);
                    continue;
                }
            }
            requests.push((labels, Series::new(key, value, born)));
        }
        for key in unborn {
            if let Some(counted) = self.counted.get_mut(&key) {
                counted.born = taken + 1;
            }
        }
        let native = match with_native {
            true => self.native(),
            false => ByLabels::default(),
        };
        let exemplars = match with_exemplars {
            // They are an extra: the metrics are shown without them.
            true => self.exemplars().unwrap_or_else(|failure| {
                error!("cannot read the exemplars: {failure:#}");
                ByLabels::default()
            }),
            false => ByLabels::default(),
        };
        let waits = self.waits_of(&answered)?;
        let mut sched = Vec::new();
        let (mut in_flight, mut exchanged) = (Vec::new(), Vec::new());
        for (number, service) in self.services.iter() {
            in_flight.push((Rc::clone(&service.identity), self.books.in_flight(number)?));
            exchanged.push((Rc::clone(&service.identity), self.books.exchanged(number)?));
            sched.push((Rc::clone(&service.identity), self.books.sched(number)?));
        }
        let counts = self.books.lost()?;
        let mut folded = self.routes.folded().to_vec();
        folded.push(("budget", counts[Lost::OverBudget as usize]));
        let mut lost: Vec<_> = [
            ("ring_full", Lost::RingFull),
            ("no_socket_state", Lost::NoSocketState),
            ("fault", Lost::Fault),
            ("unreadable", Lost::Unreadable),
            ("unmatched", Lost::Unmatched),
            ("thread_collision", Lost::ThreadCollision),
            ("unseen_end", Lost::UnseenEnd),
            ("unfinished", Lost::Unfinished),
        ]
        .into_iter()
        .map(|(name, reason)| (name, counts[reason as usize]))
        .collect();
        lost.push(("reentered", self.books.missed()?));
        lost.push(("descriptors", descriptors::missed()));
        lost.push(("path_forgotten", self.routes.forgotten()));
        let usage = self.usage.collect(&self.books, &mut self.services, &self.cpus)?;
        Ok(Snapshot {
            taken,
            clock: self.clock,
            requests: ByLabels::new(requests, Series::add),
            totals: self.totals_by_identity(totals),
            native,
            exemplars,
            waits,
            in_flight: by_identity(in_flight, |sum, count| *sum += count),
            exchanged: by_identity(exchanged, |sum, Exchanged { received, sent }| {
                sum.received += received;
                sum.sent += sent;
            }),
            not_http: self.not_http()?,
            unattributed: REASON_NAMES.into_iter().zip(self.books.unattributed()?).collect(),
            long_lived,
            sched: by_identity(sched, SchedValue::add),
            lost,
            events: self.events,
            runnable: self.books.runnable(&self.cpus)?,
            series,
            folded,
            room: (self.room.most(), self.room.refused),
            dropped: self.services.dropped(),
            usage,
        })
    }

    /// Connections that carried no HTTP.
    fn not_http(&self) -> Result<Vec<(NotHttp, u64)>> {
        let nobody = Rc::new(Identity::of(OTHER));
        let mut all: BTreeMap<_, u64> = BTreeMap::new();
        for (key, count) in self.books.not_http()? {
            let service = self.services.get(key.service);
            let identity = service.map_or(&nobody, |service| &service.identity);
            let looks = preface::NAMES.get(key.looks as usize).unwrap_or(&preface::NAMES[0]);
            // What had no place of its own.
            let is_rest = key.service == SERVICE_UNKNOWN && key.port == 0;
            let port = (!is_rest).then_some(key.port);
            let kind = NotHttp {
                service: Rc::clone(identity),
                port,
                looks,
            };
            *all.entry(kind).or_default() += count;
        }
        Ok(all.into_iter().collect())
    }

    /// The native histograms. They are read after the requests themselves, and so may differ by what was counted meanwhile.
    fn native(&self) -> ByLabels<Box<Native>> {
        let mut all = Vec::new();
        // Several series can have the same labels, as `other`. Where one of them has none, there is none: half of the requests would be wrong.
        let mut partial = HashSet::new();
        for (key, counted) in &self.counted {
            if key.status == STATUS_ABORTED || key.is_stream() {
                continue;
            }
            if counted.native == 0 {
                partial.extend([ROUTE_NONE, key.route].map(|route| self.labels(key, route)));
                continue;
            }
            let Some(mut counts) = self.books.native.get(counted.native) else {
                continue;
            };
            if let Some(shown) = self.native_as_none.get(key) {
                all.push((self.labels(key, ROUTE_NONE), shown.clone()));
                if self.routes.is_pending(key.route) {
                    continue;
                }
                counts
                    .iter_mut()
                    .zip(shown.iter())
                    .for_each(|(count, shown)| *count -= shown);
                if counts.iter().all(|count| *count == 0) {
                    continue;
                }
            }
            all.push((self.labels(key, key.route), counts));
        }
        all.retain(|(labels, _)| !partial.contains(labels));
        ByLabels::new(all, |sum, counts| {
            sum.iter_mut().zip(counts.iter()).for_each(|(sum, count)| *sum += count);
        })
    }

    /// How long the requests of each route have waited, of which so many are answered.
    fn waits_of(&mut self, answered: &BTreeMap<SeriesKey, u64>) -> Result<ByLabels<WaitBuckets>> {
        let mut all = Vec::new();
        let in_kernel = self.books.waits()?;
        for (route, requests) in answered {
            let mut long = in_kernel.get(route).copied().unwrap_or_default();
            if let Some(counted) = self.waits.get(route) {
                waits::add(&mut long, counted);
            }
            let mut buckets = self.shown_waits.complete(*route, *requests, &long);
            if self.routes.is_pending(route.route) {
                self.waits_as_none.insert(*route, buckets);
            } else if let Some(shown) = self.waits_as_none.get(route) {
                buckets = buckets.without(shown);
                all.push((self.labels(route, ROUTE_NONE), *shown));
                if buckets == WaitBuckets::default() {
                    continue;
                }
            }
            all.push((self.labels(route, route.route), buckets));
        }
        Ok(ByLabels::new(all, WaitBuckets::add))
    }

    /// The labels of a series that is shown as one of this route.
    fn labels(&self, key: &SeriesKey, route: u32) -> Labels {
        Labels {
            identity: self
                .services
                .get(key.service)
                .map_or_else(Rc::default, |service| Rc::clone(&service.identity)),
            port: key.port,
            handler: self.routes.handler(route),
            method: method::name(key.method),
            status: key.status,
        }
    }
}

/// The CPUs that are online, from `/sys/devices/system/cpu/online`; CPU 0 alone if that cannot be read.
fn online_cpus() -> Vec<u32> {
    aya::util::online_cpus().unwrap_or_else(|_| vec![0])
}
