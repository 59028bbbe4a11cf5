//! Services begin, end, come back, and are forgotten.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use super::{Service, Services};

/// A service that ends within this time of a process of it that was killed was killed: its other processes follow.
const FOLLOWS: Duration = Duration::from_secs(20);

/// How long an event of a process that has ended may be on its way.
const ON_THE_WAY: Duration = Duration::from_secs(2);

/// How long a better name is looked for.
const LOOKED_AGAIN: Duration = Duration::from_secs(300);

/// Signals that end a process because somebody wants it to end: SIGHUP, SIGINT, SIGQUIT, SIGPIPE and SIGTERM.
const POLITE: [u64; 5] = [1, 2, 3, 13, 15];

/// Whether a service runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It has a process.
    Alive,
    /// It has none.
    Ended {
        /// Since when that is known.
        since: Instant,
        /// Whether it was killed: by the kernel, by a fault of its own, by somebody without asking.
        is_killed: bool,
    },
}

/// A process of a service that was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kill {
    /// How long ago.
    pub age: Duration,
    /// The signal.
    pub signal: u64,
}

// === impl Service ===

impl Service {
    /// Whether it has a process.
    pub fn is_alive(&self) -> bool {
        self.life == Life::Alive
    }

    /// Whether somebody misses it now that it has ended: a unit or a container was to run, and what was killed was not to end. Who has
    /// started a server by hand, and ends it, knows.
    pub fn is_missed(&self) -> bool {
        match self.life {
            Life::Alive => false,
            Life::Ended { is_killed, .. } => is_killed || self.is_managed || self.rule.is_some(),
        }
    }

    /// Whether this is shown as a service that requests are sent to: it has answered one, or the config names it.
    pub fn is_server(&self) -> bool {
        self.has_answered || self.rule.is_some()
    }
}

// === impl Services ===

impl Services {
    /// How long those that have ended are kept from now on.
    pub fn set_retention(&mut self, retention: Duration) {
        self.retention = retention;
    }

    /// Looks who has ended, and forgets who has ended long ago. `alive`: how many processes each service has, by number;
    /// `killed`: the process of a service that was killed last.
    pub fn tick(&mut self, now: Instant, alive: &HashMap<u16, u64>, killed: impl Fn(u16) -> Option<Kill>) {
        // It has ended at any time since it was last looked.
        let since_last = self
            .ticked
            .map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.ticked = Some(now);
        for (number, service) in &mut self.services {
            let is_alive = alive.get(number).is_some_and(|processes| *processes > 0);
            match (service.life, is_alive) {
                (Life::Alive, true) => {}
                (Life::Ended { .. }, true) => service.life = Life::Alive,
                (Life::Alive, false) => {
                    let is_killed = killed(*number)
                        .is_some_and(|kill| kill.age < FOLLOWS + since_last && !POLITE.contains(&kill.signal));
                    service.life = Life::Ended { since: now, is_killed };
                }
                (Life::Ended { .. }, false) => {}
            }
        }
        // A service and its parts are shown as one, and go together.
        let kept: BTreeSet<u16> = self
            .services
            .iter()
            .filter(|(_, service)| self.is_kept(service, now))
            .map(|(number, service)| service.part_of.unwrap_or(*number))
            .collect();
        let freed: Vec<u16> = self
            .services
            .iter()
            .filter(|(number, service)| !kept.contains(&service.part_of.unwrap_or(**number)))
            .map(|(number, _)| *number)
            .collect();
        freed.into_iter().for_each(|number| self.free(number));
    }

    fn is_kept(&self, service: &Service, now: Instant) -> bool {
        let Life::Ended { since, .. } = service.life else {
            return true;
        };
        if !service.is_server() {
            // A request of it may be on its way yet.
            return now.saturating_duration_since(since) < ON_THE_WAY;
        }
        let is_asked_for = service.rule.is_some() && !self.is_replaced(service);
        is_asked_for || now.saturating_duration_since(since) < self.retention
    }

    /// Whether another instance of a service runs on this host.
    pub fn is_replaced(&self, service: &Service) -> bool {
        let name = |service: &Service| (service.identity.service.clone(), service.identity.namespace.clone());
        self.services.values().any(|other| {
            !std::ptr::eq(other, service) && other.is_alive() && other.is_server() && name(other) == name(service)
        })
    }

    /// The services whose name is not certain, and that have a process: for a while a better name is looked for.
    pub fn weak(&self, now: Instant) -> Vec<u16> {
        let is_young = |service: &Service| now.saturating_duration_since(service.since) < LOOKED_AGAIN;
        let weak = self.services.iter();
        weak.filter(|(_, service)| service.is_weak && service.is_alive() && is_young(service))
            .map(|(number, _)| *number)
            .collect()
    }
}
