//! Who listens where, how full the backlogs are, and how many connections are open.
//!
//! The sockets come from the kernel's own lists, one for each network namespace. A socket belongs to a service that has begun
//! to listen on its port, or has answered there; where there are several such services, to the one that has answered, and then to
//! that of the process that holds it. What becomes of a port when nobody listens on it any more is decided in [`endpoints`].

mod endpoints;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fs::File,
    io,
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use log::warn;
use rustix::fs::CWD;

use self::endpoints::Port;
use super::{
    diag::{CLOSE_WAIT, Diag, ESTABLISHED, LISTEN, Socket},
    is_service,
    processes::{Processes, directory_of},
    socket_files,
    unix_listening::{UnixListening, holds},
};
use crate::{
    descriptors,
    observe::{process::network_namespace, services::Services},
};

/// How much CPU time a scrape may take to count open connections: each namespace has the kernel go through its whole table.
/// When it is used up, the namespaces that are left show what they had, and are first at the next scrape.
const BUDGET: Duration = Duration::from_millis(5);
/// See [`Scene::together`]: at the least.
const TOGETHER: Duration = Duration::from_secs(10);

/// What is known of one port of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortUsage {
    /// Whether it listens there, and somebody accepts. What cannot be known is none of the two, here and below.
    pub is_listening: Option<bool>,
    /// Connections that wait to be accepted.
    pub backlog: Option<u64>,
    /// How many may wait.
    pub limit: Option<u64>,
    /// What the kernel has dropped because it could not wait, or for any other reason.
    pub overflows: Option<u64>,
    /// Connections that are open; those in the backlog are.
    pub open: Option<u64>,
}

// === impl PortUsage ===

impl PortUsage {
    /// Adds the same port of another part of the service.
    pub fn add(&mut self, other: &Self) {
        let Self {
            is_listening,
            backlog,
            limit,
            overflows,
            open,
        } = other;
        self.is_listening = self.is_listening.max(*is_listening);
        for (sum, count) in [
            (&mut self.backlog, backlog),
            (&mut self.limit, limit),
            (&mut self.overflows, overflows),
            (&mut self.open, open),
        ] {
            if let Some(count) = count {
                *sum.get_or_insert(0) += count;
            }
        }
    }
}

/// Sockets of the unix domain are in no network namespace.
const UNIX: u64 = 0;

/// A network namespace.
#[derive(Debug)]
struct Namespace {
    /// `None`: it may not be entered, or the kernel does not answer there. Its files tell of what listens.
    diag: Option<Diag>,
    /// The number of the scrape at which its connections were counted.
    counted: u64,
    /// How many there were, by service and port.
    open: HashMap<(u16, u16), u64>,
}

/// What is kept between scrapes.
#[derive(Debug)]
pub struct Listening {
    /// Vigie's own network namespace.
    own: u64,
    namespaces: HashMap<u64, Namespace>,
    /// The services that may have a socket on a port of a network namespace.
    candidates: BTreeMap<(u64, u16), BTreeSet<u16>>,
    ports: BTreeMap<(u16, u16), Port>,
    /// Whose a listening socket is, by cookie, where more than one service could be.
    owners: HashMap<u64, u16>,
    unix: UnixListening,
    scrape: u64,
    /// When the last scrape was.
    looked: Instant,
    has_warned: bool,
    buffer: Vec<u8>,
}

/// What a scrape knows of the services beside.
struct Scene<'a> {
    services: &'a Services,
    processes: &'a Processes,
    /// The processes that handle the requests of each service.
    handlers: HashMap<u16, Vec<u32>>,
    /// The ports that a living process of a service has begun to listen on.
    claims: HashSet<(u16, u16)>,
    /// The namespaces that could not be looked at, although there are processes in them.
    unseen: HashSet<u64>,
    now: Instant,
    /// Addresses that are listened on within this time of one another are listened on together: none of them takes another's place.
    together: Duration,
}

// === impl Scene ===

impl Scene<'_> {
    /// Whether a service has a process that could accept.
    fn is_alive(&self, service: u16) -> bool {
        self.handlers.get(&service).is_some_and(|handlers| !handlers.is_empty())
    }

    /// A process that leads into a network namespace.
    fn guide(&self, namespace: u64) -> Option<u32> {
        let mut handlers = self.handlers.values().flatten().copied();
        handlers.find(|process| self.processes.network_namespace(*process) == Some(namespace))
    }

    fn has_answered(&self, service: u16, port: u16) -> bool {
        let service = self.services.get(service);
        service.is_some_and(|service| service.answered.contains_key(&port))
    }
}

// === impl Listening ===

impl Listening {
    /// Nobody is known to listen.
    pub fn new() -> Self {
        Self {
            own: network_namespace(CWD, "/proc/self/").unwrap_or(UNIX),
            namespaces: HashMap::new(),
            candidates: BTreeMap::new(),
            ports: BTreeMap::new(),
            owners: HashMap::new(),
            unix: UnixListening::default(),
            scrape: 0,
            looked: Instant::now(),
            has_warned: false,
            buffer: Vec::new(),
        }
    }

    /// A service is no more.
    pub fn forget(&mut self, service: u16) {
        self.ports.retain(|(owner, _), _| *owner != service);
        self.candidates.retain(|_, candidates| {
            candidates.remove(&service);
            !candidates.is_empty()
        });
        self.owners.retain(|_, owner| *owner != service);
        for namespace in self.namespaces.values_mut() {
            namespace.open.retain(|(owner, _), _| *owner != service);
        }
    }

    /// Every port of every service that requests are sent to. `handler_of`: the service whose requests a process handles.
    pub fn collect(
        &mut self,
        services: &mut Services,
        handler_of: impl Fn(u32) -> u16,
        processes: &Processes,
    ) -> Vec<((u16, u16), PortUsage)> {
        self.scrape += 1;
        let now = Instant::now();
        let mut scene = Scene {
            services,
            processes,
            handlers: HashMap::new(),
            claims: HashSet::new(),
            unseen: HashSet::new(),
            now,
            // What was seen for the first time at two scrapes in a row may have come together.
            together: TOGETHER.max(2 * now.saturating_duration_since(self.looked)),
        };
        self.looked = now;
        for process in processes.ids() {
            let service = handler_of(process);
            if is_service(service) {
                scene.handlers.entry(service).or_default().push(process);
            }
        }
        for (process, port) in services.ports().iter() {
            let service = handler_of(process);
            if is_service(service) {
                scene.claims.insert((service, port));
            }
        }
        self.ports.values_mut().for_each(Port::begin);
        self.find_candidates(&scene, &handler_of);
        let wanted: BTreeSet<u64> = self.candidates.keys().map(|(namespace, _)| *namespace).collect();
        for namespace in &wanted {
            if !self.open(*namespace, &scene) {
                scene.unseen.insert(*namespace);
            }
        }
        let mut seen = HashSet::new();
        let mut listed = HashSet::new();
        let mut empty = Vec::new();
        let mut namespaces: Vec<_> = self.namespaces.drain().collect();
        namespaces.sort_unstable_by_key(|(number, namespace)| (namespace.counted, *number));
        let begin = cpu_time();
        for (number, namespace) in &mut namespaces {
            let has_time = cpu_time().saturating_sub(begin) < BUDGET;
            match self.look(*number, namespace, &scene, has_time, &mut seen) {
                Ok(is_used) => {
                    listed.insert(*number);
                    if !is_used {
                        empty.push(*number);
                    }
                }
                Err(error) => {
                    scene.unseen.insert(*number);
                    self.warn("the sockets of a network namespace cannot be listed", &error);
                }
            }
        }
        self.namespaces.extend(namespaces);
        // A namespace lives as long as there is a socket in it: without a listener there is no need for ours.
        self.namespaces.retain(|namespace, _| !empty.contains(namespace));
        if !self.look_at_unix(&scene) {
            scene.unseen.insert(UNIX);
        }
        self.miss_unseen(&scene);
        self.forget_sockets(&seen, &scene.unseen);
        let mut newest = HashMap::<u16, Instant>::new();
        for ((service, _), port) in &self.ports {
            if let Some(since) = port.newest() {
                let known = newest.entry(*service).or_insert(since);
                *known = since.max(*known);
            }
        }
        self.ports
            .retain(|(service, number), port| port.settle((*service, *number), &scene, newest.get(service).copied()));
        let shown = self.show(&scene);
        let found = |process: u32, port: u16| {
            let namespace = processes.network_namespace(process);
            namespace.is_none_or(|namespace| !listed.contains(&namespace) || seen.contains(&(namespace, port)))
        };
        let listening = self.ports.iter().filter(|(_, port)| port.is_there());
        services.found(found, listening.map(|(key, _)| *key));
        shown
    }

    fn show(&self, scene: &Scene<'_>) -> Vec<((u16, u16), PortUsage)> {
        let shown = self.ports.iter().filter(|((service, _), _)| {
            let service = scene.services.get(*service);
            service.is_some_and(|service| service.is_server())
        });
        shown
            .map(|((service, port), endpoints)| ((*service, *port), endpoints.usage(*port)))
            .collect()
    }

    /// What has answered, and was killed before a scrape has seen it listen, is missed where it has answered.
    fn miss_unseen(&mut self, scene: &Scene<'_>) {
        for (number, service) in scene.services.iter() {
            if !service.is_missed() || self.ports.range((number, 0)..=(number, u16::MAX)).next().is_some() {
                continue;
            }
            for port in service.answered.keys() {
                let ports = self.ports.entry((number, *port)).or_default();
                ports.miss(self.own, scene.now);
            }
        }
    }

    /// `false`: it could not be looked.
    fn look_at_unix(&mut self, scene: &Scene<'_>) -> bool {
        let services = scene.services.iter();
        let unix: BTreeSet<u16> = services
            .filter(|(_, service)| service.answered.contains_key(&0))
            .map(|(number, _)| number)
            .collect();
        if unix.is_empty() {
            return true;
        }
        let own = Diag::here();
        match own.and_then(|diag| self.unix.collect(&diag, scene.processes, &unix, &mut self.buffer)) {
            Ok(found) => {
                for (service, socket) in found {
                    self.add(service, UNIX, &socket, scene.is_alive(service), scene.now);
                }
                true
            }
            Err(error) => {
                self.warn("the kernel does not list its unix sockets", &error);
                false
            }
        }
    }

    /// Makes all that is known older.
    #[cfg(test)]
    fn age(&mut self, time: Duration) {
        self.ports.values_mut().for_each(|port| port.age(time));
    }

    fn warn(&mut self, what: &str, error: &io::Error) {
        if !self.has_warned {
            self.has_warned = true;
            warn!("{what}: {error}; without that, backlogs and open connections are missing");
        }
    }

    /// Who may hold a socket on which port: who has begun to listen there, and who has answered there.
    fn find_candidates(&mut self, scene: &Scene<'_>, handler_of: &impl Fn(u32) -> u16) {
        for (process, port) in scene.services.ports().iter() {
            let service = handler_of(process);
            if !is_service(service) || port == 0 {
                continue;
            }
            let Some(namespace) = scene.processes.network_namespace(process) else {
                continue;
            };
            self.candidates.entry((namespace, port)).or_default().insert(service);
        }
        for (number, service) in scene.services.iter() {
            let ports = service.answered.keys().filter(|port| **port != 0);
            let mut handlers = scene.handlers.get(&number).into_iter().flatten();
            let namespace = handlers.find_map(|process| scene.processes.network_namespace(*process));
            if let Some(namespace) = namespace {
                for port in ports {
                    self.candidates.entry((namespace, *port)).or_default().insert(number);
                }
            }
        }
    }

    /// Makes sure that there is a netlink socket in a namespace, if a process is there to lead into it. `false`: there is one, and no socket.
    fn open(&mut self, namespace: u64, scene: &Scene<'_>) -> bool {
        if self.namespaces.contains_key(&namespace) {
            return true;
        }
        let diag = if namespace == self.own {
            Diag::here()
        } else if self.namespaces.len() >= descriptors::share() {
            descriptors::note_missed(1);
            return false;
        } else {
            let Some(process) = scene.guide(namespace) else {
                return true;
            };
            File::open(format!("/proc/{process}/ns/net")).and_then(|file| Diag::inside(file.as_fd()))
        };
        let diag = match descriptors::note(diag) {
            Ok(diag) => Some(diag),
            Err(error) if descriptors::is_want(&error) => return false,
            Err(error) => {
                self.warn("a network namespace cannot be entered", &error);
                None
            }
        };
        let place = Namespace {
            diag,
            counted: 0,
            open: HashMap::new(),
        };
        self.namespaces.insert(namespace, place);
        true
    }

    /// Lists what listens in a namespace: as the kernel answers, or as a file of a process in it has it.
    fn listening(&mut self, number: u64, namespace: &mut Namespace, scene: &Scene<'_>) -> io::Result<Vec<Socket>> {
        let mut sockets = Vec::new();
        if let Some(diag) = &namespace.diag {
            match diag.tcp(LISTEN, &mut self.buffer, |socket| sockets.push(*socket)) {
                Ok(()) => return Ok(sockets),
                // It is there, and will answer the next time.
                Err(error) if is_passing(&error) => return Err(error),
                Err(error) => {
                    self.warn("the kernel does not list its sockets", &error);
                    namespace.diag = None;
                    namespace.open.clear();
                    sockets.clear();
                }
            }
        }
        let guide = if number == self.own {
            Some(std::process::id())
        } else {
            scene.guide(number)
        };
        // Without one, nobody is left there.
        if let Some(process) = guide {
            socket_files::listening(process, |socket| sockets.push(*socket))?;
        }
        Ok(sockets)
    }

    /// Takes what the kernel lists in a namespace. `false`: nobody listens there.
    fn look(
        &mut self,
        number: u64,
        namespace: &mut Namespace,
        scene: &Scene<'_>,
        has_time: bool,
        seen: &mut HashSet<(u64, u16)>,
    ) -> io::Result<bool> {
        let sockets = self.listening(number, namespace, scene)?;
        let Namespace { diag, counted, open } = namespace;
        let mut owned: HashMap<u16, Vec<(u16, [u8; 16])>> = HashMap::new();
        for socket in &sockets {
            let Some(candidates) = self.candidates.get(&(number, socket.port)) else {
                continue;
            };
            seen.insert((number, socket.port));
            let candidates: Vec<u16> = candidates.iter().copied().collect();
            if let Some(service) = self.owner(socket, &candidates, scene) {
                // An activator holds the socket for a service that is started when somebody comes.
                let is_served = candidates.iter().any(|candidate| scene.is_alive(*candidate));
                self.add(service, number, socket, is_served, scene.now);
                owned.entry(socket.port).or_default().push((service, socket.address));
            }
        }
        if let Some(diag) = diag
            && !owned.is_empty()
            && has_time
        {
            let mut now = HashMap::new();
            let counted_all = diag.tcp(ESTABLISHED | CLOSE_WAIT, &mut self.buffer, |socket| {
                let Some(owners) = owned.get(&socket.port) else {
                    return;
                };
                // Services that share a port have different addresses of it.
                let exact = owners.iter().find(|(_, address)| *address == socket.address);
                let owner = exact.or_else(|| owners.iter().find(|(_, address)| *address == [0; 16]));
                if let Some((service, _)) = owner.or_else(|| owners.first()) {
                    *now.entry((*service, socket.port)).or_default() += 1;
                }
            });
            // Else what there was is shown: what listens is known all the same.
            if counted_all.is_ok() {
                *open = now;
                *counted = self.scrape;
            }
        }
        for (key, count) in open.iter() {
            if let Some(port) = self.ports.get_mut(key) {
                port.add_open(*count);
            }
        }
        Ok(!sockets.is_empty())
    }

    /// The service of a listening socket.
    fn owner(&mut self, socket: &Socket, candidates: &[u16], scene: &Scene<'_>) -> Option<u16> {
        let alone = |services: &[u16]| (services.len() == 1).then(|| services.first().copied()).flatten();
        let narrow = |wanted: &dyn Fn(u16) -> bool, among: &[u16]| -> Vec<u16> {
            let some: Vec<u16> = among.iter().copied().filter(|service| wanted(*service)).collect();
            if some.is_empty() { among.to_vec() } else { some }
        };
        if let Some(service) = alone(candidates) {
            self.owners.entry(socket.cookie).or_insert(service);
            return Some(service);
        }
        let candidates = narrow(&|service| scene.has_answered(service, socket.port), candidates);
        let candidates = narrow(&|service| scene.is_alive(service), &candidates);
        if let Some(service) = alone(&candidates) {
            return Some(service);
        }
        if let Some(owner) = self
            .owners
            .get(&socket.cookie)
            .filter(|owner| candidates.contains(owner))
        {
            return Some(*owner);
        }
        let holder = candidates.iter().copied().find(|service| {
            let handlers = scene.handlers.get(service).into_iter().flatten();
            handlers.into_iter().any(|process| {
                let directory = directory_of(*process);
                directory.is_ok_and(|directory| holds(&directory).contains(&socket.inode))
            })
        })?;
        self.owners.insert(socket.cookie, holder);
        Some(holder)
    }

    fn add(&mut self, service: u16, namespace: u64, socket: &Socket, is_served: bool, now: Instant) {
        let port = self.ports.entry((service, socket.port)).or_default();
        port.add(namespace, socket, is_served, now);
    }

    /// Drops what is no longer needed: sockets that are gone, and candidates for ports that nobody has.
    fn forget_sockets(&mut self, seen: &HashSet<(u64, u16)>, unseen: &HashSet<u64>) {
        let mut sockets = HashSet::new();
        for port in self.ports.values_mut() {
            sockets.extend(port.keep_sockets(unseen));
        }
        self.owners.retain(|cookie, _| sockets.contains(cookie));
        self.candidates.retain(|place, _| seen.contains(place));
    }
}

/// The CPU time of this thread.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time is written to a place of the right type.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Whether the kernel may answer the next time: it was too slow, had no room, or its list has changed.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, OutOfMemory, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | OutOfMemory | TimedOut | WouldBlock)
        || error.raw_os_error() == Some(libc::ENOBUFS)
}

#[cfg(test)]
mod tests;
