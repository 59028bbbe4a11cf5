//! The addresses of a port, and what becomes of them.
//!
//! Down is what somebody misses. An address that was listened on and is not any more is missed while its service runs, unless the service
//! has begun to listen elsewhere since: then it has moved. When the service has ended it is missed if it was to run: it was killed, or is in a unit or a
//! container, and no other instance of it runs on this host. All others just go.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use super::{
    super::{diag::Socket, growing::Growing},
    PortUsage, Scene,
};

/// A network namespace, and an address in it.
type Address = (u64, [u8; 16]);

/// An address that is, or was, listened on.
#[derive(Clone, Copy, Debug)]
struct Endpoint {
    since: Instant,
    /// When it was first seen that there is no socket any more.
    lost: Option<Instant>,
    /// Whether there is a socket.
    is_there: bool,
    /// Whether somebody could accept.
    is_served: bool,
}

/// What is not known of a port, because some of its sockets do not tell.
#[derive(Clone, Copy, Debug, Default)]
struct Unknown {
    /// Whether anything listens.
    listening: bool,
    /// How many may wait, what was dropped, and who is connected.
    details: bool,
}

/// A port of a service: its addresses, its sockets, and what they have dropped, by cookie.
#[derive(Debug, Default)]
pub struct Port {
    usage: PortUsage,
    unknown: Unknown,
    overflows: Growing<u64>,
    sockets: HashSet<u64>,
    endpoints: HashMap<Address, Endpoint>,
}

// === impl Port ===

impl Port {
    /// A scrape begins.
    pub fn begin(&mut self) {
        (self.usage, self.unknown) = (PortUsage::default(), Unknown::default());
        self.sockets.clear();
        for endpoint in self.endpoints.values_mut() {
            (endpoint.is_there, endpoint.is_served) = (false, false);
        }
    }

    /// There is a socket that listens.
    pub fn add(&mut self, namespace: u64, socket: &Socket, is_served: bool, now: Instant) {
        *self.usage.backlog.get_or_insert(0) += u64::from(socket.backlog);
        match (socket.limit, socket.drops) {
            (Some(limit), drops) => {
                *self.usage.limit.get_or_insert(0) += u64::from(limit);
                // No other socket ever has its cookie, and the kernel never sets its counter back.
                self.overflows.see_wrapping(socket.cookie, drops.unwrap_or(0));
            }
            (None, _) => self.unknown.details = true,
        }
        self.sockets.insert(socket.cookie);
        let endpoint = self.endpoints.entry((namespace, socket.address)).or_insert(Endpoint {
            since: now,
            lost: None,
            is_there: true,
            is_served,
        });
        if endpoint.lost.take().is_some() {
            endpoint.since = now;
        }
        endpoint.is_there = true;
        endpoint.is_served |= is_served;
    }

    /// It was listened on somewhere, and is not any more.
    pub fn miss(&mut self, namespace: u64, now: Instant) {
        let endpoint = Endpoint {
            since: now,
            lost: Some(now),
            is_there: false,
            is_served: false,
        };
        self.endpoints.insert((namespace, [0; 16]), endpoint);
    }

    /// There are open connections.
    pub fn add_open(&mut self, count: u64) {
        if !self.sockets.is_empty() {
            *self.usage.open.get_or_insert(0) += count;
        }
    }

    /// Forgets sockets that are gone. The result is those that are there. Where it could not be looked, all are kept.
    pub fn keep_sockets(&mut self, unseen: &HashSet<u64>) -> impl Iterator<Item = u64> {
        let Self {
            overflows,
            sockets,
            endpoints,
            ..
        } = self;
        let may_be_there = |(namespace, _): &Address| unseen.contains(namespace);
        if !endpoints.keys().any(may_be_there) {
            overflows.keep(|cookie| sockets.contains(cookie));
        }
        self.sockets.iter().copied()
    }

    /// Decides about the addresses that nobody listens on any more. `false`: this port has gone.
    pub fn settle(&mut self, key: (u16, u16), scene: &Scene<'_>, newest: Option<Instant>) -> bool {
        let (service, _) = key;
        let Some(service_of_port) = scene.services.get(service) else {
            return false;
        };
        let is_alive = scene.is_alive(service);
        let is_missed = service_of_port.is_missed() && !scene.services.is_replaced(service_of_port);
        let is_to_run = service_of_port.is_managed || service_of_port.rule.is_some();
        self.endpoints.retain(|(namespace, _), endpoint| {
            if endpoint.is_there {
                return true;
            }
            if endpoint.lost.is_none() && is_alive && scene.unseen.contains(namespace) {
                self.unknown.listening = true;
                return true;
            }
            let lost = *endpoint.lost.get_or_insert(scene.now);
            if !is_alive {
                // When it has ended is found out apart: until then it is there.
                return is_missed || service_of_port.is_alive();
            }
            // One of two servers of the same name that somebody has started by hand has ended.
            if !is_to_run && !scene.claims.contains(&key) {
                return false;
            }
            let has_moved =
                |newest: Instant| newest >= lost || newest.saturating_duration_since(endpoint.since) > scene.together;
            !newest.is_some_and(has_moved)
        });
        let is_known = |(namespace, _): &Address| !scene.unseen.contains(namespace);
        let mut known = self
            .endpoints
            .iter()
            .filter(|(address, one)| one.lost.is_some() || is_known(address));
        let all_serve = known.all(|(_, one)| one.is_served);
        self.usage.is_listening =
            (!all_serve || !self.unknown.listening).then_some(all_serve && !self.endpoints.is_empty());
        !self.endpoints.is_empty()
    }

    /// Makes all that is known older.
    #[cfg(test)]
    pub fn age(&mut self, time: std::time::Duration) {
        for endpoint in self.endpoints.values_mut() {
            endpoint.since = endpoint.since.checked_sub(time).unwrap_or(endpoint.since);
        }
    }

    /// When it was last begun to listen on an address that is listened on.
    pub fn newest(&self) -> Option<Instant> {
        let there = self.endpoints.values().filter(|endpoint| endpoint.is_there);
        there.map(|endpoint| endpoint.since).max()
    }

    /// Whether there is a socket.
    pub fn is_there(&self) -> bool {
        !self.sockets.is_empty()
    }

    /// What is known of it; 0 is the port of unix sockets.
    pub fn usage(&self, port: u16) -> PortUsage {
        let mut usage = self.usage;
        if self.unknown.listening {
            // A part is not the whole.
            return PortUsage {
                is_listening: usage.is_listening,
                ..PortUsage::default()
            };
        }
        usage.backlog.get_or_insert(0);
        if self.unknown.details {
            (usage.limit, usage.open) = (None, None);
            return usage;
        }
        usage.limit.get_or_insert(0);
        if port != 0 {
            usage.overflows = Some(self.overflows.total());
            usage.open.get_or_insert(0);
        }
        usage
    }
}
