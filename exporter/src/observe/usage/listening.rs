//! Who listens where, how full the backlogs are, and how many connections are open.
//!
//! The kernel side and Vigie's start say which process has begun to listen on a port, and the sockets themselves come from the
//! kernel's own lists, one for each network namespace. A socket belongs to the service of a process that listens on its
//! port; where there are several such services, to that of the process that holds it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fs::File,
    io,
    os::fd::AsFd as _,
    time::Duration,
};

use log::warn;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, statat};

use super::{
    diag::{CLOSE_WAIT, Diag, ESTABLISHED, LISTEN, Socket},
    growing::Growing,
    is_service,
    processes::Processes,
    unix_listening::{UnixListening, holds},
};

/// How much CPU time a scrape may take to count open connections: each namespace has the kernel go through its whole table.
/// When it is used up, the namespaces that are left show what they had, and are first at the next scrape.
const BUDGET: Duration = Duration::from_millis(5);

/// How many ports that nobody listens on any more are remembered.
const STOPPED: usize = 1000;

/// What is known of one port of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortUsage {
    /// Whether it listens there.
    pub is_listening: bool,
    /// Connections that wait to be accepted.
    pub backlog: u64,
    /// How many may wait.
    pub limit: u64,
    /// What the kernel has dropped because it could not wait, or for any other reason.
    pub overflows: Option<u64>,
    /// Connections that are open; those in the backlog are.
    pub open: Option<u64>,
}

/// A network namespace.
#[derive(Debug)]
struct Namespace {
    diag: Diag,
    /// The number of the scrape at which its connections were counted.
    counted: u64,
    /// How many there were, by service and port.
    open: HashMap<(u16, u16), u64>,
}

/// A process that has listened.
#[derive(Debug)]
struct Holder {
    /// The network namespace it was in.
    namespace: u64,
    /// Its service, when it last had one.
    service: u16,
    is_alive: bool,
}

/// A port of a service: its sockets, and what they have dropped, by cookie.
#[derive(Debug, Default)]
struct Port {
    usage: PortUsage,
    overflows: Growing<u64>,
    sockets: HashSet<u64>,
    /// The number of the scrape at which it was last listened on.
    last: u64,
}

/// What is kept between scrapes.
#[derive(Debug)]
pub struct Listening {
    /// Vigie's own network namespace.
    own: u64,
    namespaces: HashMap<u64, Namespace>,
    holders: HashMap<u32, Holder>,
    ports: BTreeMap<(u16, u16), Port>,
    /// Whose a listening socket is, by cookie, where more than one service could be.
    owners: HashMap<u64, u16>,
    unix: UnixListening,
    scrape: u64,
    has_warned: bool,
    buffer: Vec<u8>,
}

/// Those who may have a socket on a port: process and service.
type Candidates = HashMap<(u64, u16), Vec<(u32, u16)>>;

// === impl Listening ===

impl Listening {
    /// Nobody is known to listen.
    pub fn new() -> Self {
        Self {
            own: namespace_of("/proc/self/ns/net").unwrap_or(0),
            namespaces: HashMap::new(),
            holders: HashMap::new(),
            ports: BTreeMap::new(),
            owners: HashMap::new(),
            unix: UnixListening::default(),
            scrape: 0,
            has_warned: false,
            buffer: Vec::new(),
        }
    }

    /// Every port of every service. `listeners`: the processes that have begun to listen, with their ports; `unix`: the
    /// services that have answered on unix sockets.
    pub fn collect<'a>(
        &mut self,
        listeners: impl Iterator<Item = (u32, &'a BTreeSet<u16>)>,
        service_of: impl Fn(u32) -> u16,
        processes: &Processes,
        unix: &BTreeSet<u16>,
    ) -> Vec<((u16, u16), PortUsage)> {
        self.scrape += 1;
        for port in self.ports.values_mut() {
            port.usage = PortUsage::default();
            port.sockets.clear();
        }
        let candidates = self.candidates(listeners, service_of, processes);
        let wanted: BTreeSet<u64> = candidates.keys().map(|(namespace, _)| *namespace).collect();
        for namespace in wanted {
            self.open(namespace);
        }
        let mut empty = Vec::new();
        let mut namespaces: Vec<_> = self.namespaces.drain().collect();
        namespaces.sort_unstable_by_key(|(number, namespace)| (namespace.counted, *number));
        let begin = cpu_time();
        for (number, namespace) in &mut namespaces {
            let has_time = cpu_time().saturating_sub(begin) < BUDGET;
            match self.look(*number, namespace, &candidates, has_time) {
                Ok(true) => {}
                Ok(false) => empty.push(*number),
                Err(error) => self.warn("the kernel does not list its sockets", &error),
            }
        }
        self.namespaces.extend(namespaces);
        // A namespace lives as long as there is a socket in it: without a listener there is no need for ours.
        self.namespaces.retain(|namespace, _| !empty.contains(namespace));
        if !unix.is_empty() {
            let own = Diag::here();
            match own.and_then(|diag| self.unix.collect(&diag, processes, unix, &mut self.buffer)) {
                Ok(found) => {
                    for (service, socket) in found {
                        self.add(service, &socket);
                    }
                }
                Err(error) => self.warn("the kernel does not list its unix sockets", &error),
            }
        }
        self.forget();
        let usage = |((service, number), port): (&(u16, u16), &Port)| {
            let mut usage = port.usage;
            if *number != 0 {
                usage.overflows = Some(port.overflows.total());
                usage.open = Some(usage.open.unwrap_or(0));
            }
            ((*service, *number), usage)
        };
        self.ports.iter().map(usage).collect()
    }

    fn warn(&mut self, what: &str, error: &io::Error) {
        if !self.has_warned {
            self.has_warned = true;
            warn!("{what}: {error}; without that, backlogs and open connections are missing");
        }
    }

    /// Who may hold a socket on each port, and a place for each port of a service.
    fn candidates<'a>(
        &mut self,
        listeners: impl Iterator<Item = (u32, &'a BTreeSet<u16>)>,
        service_of: impl Fn(u32) -> u16,
        processes: &Processes,
    ) -> Candidates {
        let mut candidates = Candidates::new();
        for (process, ports) in listeners {
            let service = service_of(process);
            let namespace = processes.network_namespace(process);
            let holder = self.holders.entry(process).or_insert(Holder {
                namespace: 0,
                service: 0,
                is_alive: false,
            });
            holder.is_alive = namespace.is_some();
            if let Some(namespace) = namespace {
                holder.namespace = namespace;
            }
            if is_service(service) {
                holder.service = service;
            }
            if !is_service(holder.service) {
                continue;
            }
            if holder.namespace == 0 {
                // It has ended before it was looked at: its children may hold what it listened on.
                let heirs = processes.of(holder.service);
                let namespace = heirs.filter_map(|(heir, _)| processes.network_namespace(heir)).next();
                holder.namespace = namespace.unwrap_or(self.own);
            }
            for port in ports.iter().filter(|port| **port != 0) {
                let key = (holder.namespace, *port);
                candidates.entry(key).or_default().push((process, holder.service));
                self.ports.entry((holder.service, *port)).or_default();
            }
        }
        for candidates in candidates.values_mut() {
            // Who is gone holds nothing. If all are gone, one of them has left its socket to others of its service.
            let is_alive = |process: &u32| self.holders.get(process).is_some_and(|holder| holder.is_alive);
            if candidates.iter().any(|(process, _)| is_alive(process)) {
                candidates.retain(|(process, _)| is_alive(process));
            }
        }
        candidates
    }

    /// Makes sure that there is a netlink socket in a namespace, if a process is there to lead into it.
    fn open(&mut self, namespace: u64) {
        if self.namespaces.contains_key(&namespace) {
            return;
        }
        let diag = if namespace == self.own {
            Diag::here()
        } else {
            let mut holders = self.holders.iter();
            let guide = holders.find(|(_, holder)| holder.is_alive && holder.namespace == namespace);
            let Some((process, _)) = guide else {
                return;
            };
            File::open(format!("/proc/{process}/ns/net")).and_then(|file| Diag::inside(file.as_fd()))
        };
        match diag {
            Ok(diag) => {
                let place = Namespace {
                    diag,
                    counted: 0,
                    open: HashMap::new(),
                };
                self.namespaces.insert(namespace, place);
            }
            Err(error) => self.warn("a network namespace cannot be entered", &error),
        }
    }

    /// Takes what the kernel lists in a namespace. `false`: nobody listens there.
    fn look(
        &mut self,
        number: u64,
        namespace: &mut Namespace,
        candidates: &Candidates,
        has_time: bool,
    ) -> io::Result<bool> {
        let Namespace { diag, counted, open } = namespace;
        let mut sockets = Vec::new();
        diag.tcp(LISTEN, &mut self.buffer, |socket| sockets.push(*socket))?;
        let mut owned: HashMap<u16, Vec<(u16, [u8; 16])>> = HashMap::new();
        for socket in &sockets {
            let Some(candidates) = candidates.get(&(number, socket.port)) else {
                continue;
            };
            if let Some(service) = self.owner(socket, candidates) {
                self.add(service, socket);
                owned.entry(socket.port).or_default().push((service, socket.address));
            }
        }
        if !owned.is_empty() && has_time {
            open.clear();
            diag.tcp(ESTABLISHED | CLOSE_WAIT, &mut self.buffer, |socket| {
                let Some(owners) = owned.get(&socket.port) else {
                    return;
                };
                // Services that share a port have different addresses of it.
                let exact = owners.iter().find(|(_, address)| *address == socket.address);
                let owner = exact.or_else(|| owners.iter().find(|(_, address)| *address == [0; 16]));
                if let Some((service, _)) = owner.or_else(|| owners.first()) {
                    *open.entry((*service, socket.port)).or_default() += 1;
                }
            })?;
            *counted = self.scrape;
        }
        for (key, count) in open.iter() {
            if let Some(port) = self.ports.get_mut(key).filter(|port| port.usage.is_listening) {
                *port.usage.open.get_or_insert(0) += count;
            }
        }
        Ok(!sockets.is_empty())
    }

    /// The service of a listening socket.
    fn owner(&mut self, socket: &Socket, candidates: &[(u32, u16)]) -> Option<u16> {
        let (_, first) = candidates.first()?;
        if candidates.iter().all(|(_, service)| service == first) {
            return Some(*first);
        }
        if let Some(owner) = self.owners.get(&socket.cookie)
            && candidates.iter().any(|(_, service)| service == owner)
        {
            return Some(*owner);
        }
        let holder = candidates.iter().find(|(process, _)| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let directory = openat(CWD, format!("/proc/{process}"), flags, Mode::empty());
            directory.is_ok_and(|directory| holds(&directory).contains(&socket.inode))
        });
        let (_, service) = holder?;
        self.owners.insert(socket.cookie, *service);
        Some(*service)
    }

    fn add(&mut self, service: u16, socket: &Socket) {
        let port = self.ports.entry((service, socket.port)).or_default();
        port.last = self.scrape;
        port.usage.is_listening = true;
        port.usage.backlog += u64::from(socket.backlog);
        port.usage.limit += u64::from(socket.limit);
        port.overflows.see(socket.cookie, u64::from(socket.drops));
        port.sockets.insert(socket.cookie);
    }

    /// Drops what is no longer needed: sockets that are gone, and the ports that stopped first.
    fn forget(&mut self) {
        let mut sockets = HashSet::new();
        for port in self.ports.values_mut() {
            let Port {
                overflows,
                sockets: own,
                ..
            } = port;
            overflows.keep(|cookie| own.contains(cookie));
            sockets.extend(own.iter().copied());
        }
        self.owners.retain(|cookie, _| sockets.contains(cookie));
        let mut stopped: Vec<(u64, (u16, u16))> = self
            .ports
            .iter()
            .filter(|(_, port)| !port.usage.is_listening)
            .map(|(key, port)| (port.last, *key))
            .collect();
        if stopped.len() > STOPPED {
            stopped.sort_unstable();
            for (_, key) in &stopped[..stopped.len() - STOPPED] {
                self.ports.remove(key);
            }
        }
    }
}

/// The CPU time of this thread.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time is written to a place of the right type.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The number of a network namespace, by its file.
fn namespace_of(path: &str) -> Option<u64> {
    statat(CWD, path, AtFlags::empty()).ok().map(|stat| stat.st_ino)
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream};

    use super::*;

    /// This process as service 3, which listens on some ports.
    fn look(listening: &mut Listening, ports: &[u16]) -> BTreeMap<(u16, u16), PortUsage> {
        let own = std::process::id();
        let ports: BTreeSet<u16> = ports.iter().copied().collect();
        let service_of = |process| if process == own { 3 } else { 0 };
        let found = listening.collect(
            [(own, &ports)].into_iter(),
            service_of,
            &Processes::start(),
            &BTreeSet::new(),
        );
        found.into_iter().collect()
    }

    #[test]
    fn a_port_is_listened_on_and_then_not() {
        let mut listening = Listening::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let _clients: Vec<_> = (0..2)
            .map(|_| TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).unwrap())
            .collect();
        let expected = PortUsage {
            is_listening: true,
            backlog: 2,
            limit: 128,
            overflows: Some(0),
            open: Some(2),
        };
        assert_eq!(look(&mut listening, &[port])[&(3, port)], expected);
        drop(listener);
        let expected = PortUsage {
            overflows: Some(0),
            open: Some(0),
            ..PortUsage::default()
        };
        assert_eq!(look(&mut listening, &[port])[&(3, port)], expected);
    }

    #[test]
    fn what_a_socket_dropped_stays() {
        let mut listening = Listening::new();
        let socket = |cookie, drops| Socket {
            port: 80,
            cookie,
            drops,
            ..Socket::default()
        };
        listening.add(3, &socket(1, 5));
        listening.add(3, &socket(2, 1));
        listening.forget();
        assert_eq!(look(&mut listening, &[80])[&(3, 80)].overflows, Some(6));
        listening.add(3, &socket(3, 2));
        assert_eq!(listening.ports[&(3, 80)].overflows.total(), 8);
    }

    #[test]
    fn ports_that_stopped_first_are_forgotten_first() {
        let mut listening = Listening::new();
        for port in 1..=(STOPPED as u16 + 5) {
            listening.scrape = u64::from(port);
            let socket = Socket {
                port,
                ..Socket::default()
            };
            listening.add(1, &socket);
        }
        for port in listening.ports.values_mut() {
            port.usage.is_listening = false;
        }
        listening.forget();
        assert_eq!(listening.ports.len(), STOPPED);
        assert!(!listening.ports.contains_key(&(1, 5)) && listening.ports.contains_key(&(1, 6)));
    }
}
