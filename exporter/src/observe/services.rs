//! The services of this host: their numbers, names, ports, and which process belongs to which.
//!
//! A number lives as long as its service does on this host, and a while longer, so that its last counts are scraped. Then it is
//! given to another. There are few numbers: where they run out, those go first that nobody would miss.

mod life;
mod numbers;
mod ports;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    num::NonZeroUsize,
    path::Path,
    rc::Rc,
    time::{Duration, Instant},
};

use log::info;

use self::numbers::Numbers;
pub use self::{
    life::{Kill, Life},
    ports::Ports,
};
use super::{
    containers::ContainerFiles,
    identity::Identity,
    naming::{Described, Remembered, describe, namer},
    process::ProcessInfo,
    template::Template,
    traced::monotonic,
};
use crate::config::ServiceRule;

/// The service that everything belongs to while there are more services than numbers.
const REST: &str = "other";

/// Processes whose names are kept for when they lose what names them.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// One service.
#[derive(Debug)]
pub struct Service {
    /// Its name, and which instance it is.
    pub identity: Rc<Identity>,
    /// The rule of the config that named it.
    pub rule: Option<usize>,
    /// Whether somebody has asked for it to run: it is in a unit or in a container.
    pub is_managed: bool,
    /// Whether it has answered a request.
    pub has_answered: bool,
    /// The ports that it has answered requests on, and when each was last listened on; 0 for unix sockets.
    pub answered: BTreeMap<u16, Option<Instant>>,
    /// Whether it runs.
    pub life: Life,
    /// The unit that its processes are in, and the application that they are.
    application: (Option<String>, String),
    /// Whether a better name may be seen.
    is_weak: bool,
    /// The service that this one turned out to be: it is shown as a part of that one, as long as that is there.
    part_of: Option<u16>,
    /// When it was given its number.
    since: Instant,
    /// The same by the monotonic clock, in nanoseconds.
    pub born: u64,
}

/// What has happened to a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is a service's from now on.
    Given(u16),
    /// It is nobody's any more.
    Freed(u16),
}

/// How numbers went before their time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Services that had ended, and were still shown.
    pub ended: u64,
    /// Services that only listened.
    pub silent: u64,
    /// Processes whose service found no number: they are `other`.
    pub nameless: u64,
}

/// All services.
#[derive(Debug)]
pub struct Services {
    rules: Vec<ServiceRule>,
    is_merged: bool,
    retention: Duration,
    numbers: Numbers,
    services: BTreeMap<u16, Service>,
    by_identity: HashMap<Identity, u16>,
    files: ContainerFiles,
    remembered: Remembered,
    ports: Ports,
    /// When the kernel's lists of sockets were last read.
    listed: Instant,
    /// When it was last looked who has ended.
    ticked: Option<Instant>,
    changes: Vec<Change>,
    dropped: Dropped,
    has_warned: bool,
}

// === impl Services ===

impl Services {
    /// No service yet. Those that have ended are kept for `retention`; instances of a service are one if `is_merged`.
    pub fn new(rules: Vec<ServiceRule>, retention: Duration, is_merged: bool) -> Self {
        Self {
            rules,
            is_merged,
            retention,
            numbers: Numbers::default(),
            services: BTreeMap::new(),
            by_identity: HashMap::new(),
            files: ContainerFiles::new(Path::new("/")),
            remembered: Remembered::new(REMEMBERED),
            ports: Ports::default(),
            listed: Instant::now(),
            ticked: None,
            changes: Vec::new(),
            dropped: Dropped::default(),
            has_warned: false,
        }
    }

    /// A process listens on a TCP port.
    pub fn add_port(&mut self, process: u32, port: u16) {
        if let Ok(start) = ProcessInfo::read_start(process) {
            self.ports.add(process, start, port);
        }
    }

    /// What processes have begun to listen on.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// The kernel's lists were read, and have these ports of these processes and services.
    pub fn found(&mut self, is_listened: impl Fn(u32, u16) -> bool, listening: impl Iterator<Item = (u16, u16)>) {
        self.ports.found(is_listened);
        let now = Instant::now();
        self.listed = now;
        for (number, port) in listening {
            if let Some(service) = self.services.get_mut(&number)
                && let Some(seen) = service.answered.get_mut(&port)
            {
                *seen = Some(now);
            }
        }
    }

    /// The ports that services have answered on, have listened on, and have not for as long as what has ended is kept. They are
    /// forgotten with this.
    pub fn take_closed(&mut self) -> Vec<(u16, u16)> {
        let (listed, retention) = (self.listed, self.retention);
        let mut closed = Vec::new();
        for (number, service) in &mut self.services {
            if !service.is_alive() {
                continue;
            }
            service.answered.retain(|port, seen| {
                let is_closed = seen.is_some_and(|seen| listed.saturating_duration_since(seen) > retention);
                if is_closed {
                    closed.push((*number, *port));
                }
                !is_closed
            });
        }
        closed
    }

    /// Forgets what processes listened on that are gone. `heir`: a process of the same service.
    pub fn forget_gone(&mut self, heir: impl Fn(u32) -> Option<u32>) {
        let remembered = &mut self.remembered;
        self.ports
            .forget_gone(heir, |process, start| remembered.forget(process, start));
    }

    /// Forgets what processes were called that are gone.
    pub fn forget_names(&mut self, is_there: impl Fn(u32) -> bool) {
        self.remembered.keep(is_there);
    }

    /// Whether a rule asks for a port.
    pub fn has_port_rules(&self) -> bool {
        self.rules.iter().any(|rule| !rule.ports.is_empty())
    }

    /// Finds the service of a process. `is_running`: whether a service has a process right now. What became of numbers on the way
    /// is for [`Self::take_changes`].
    pub fn identify(&mut self, info: &ProcessInfo, port: u16, is_running: impl Fn(u16) -> bool) -> u16 {
        let described = self.describe(info, port);
        self.number(described, is_running)
    }

    /// What is known of the service of a process, which has been seen on a port, or on none (0).
    fn describe(&mut self, info: &ProcessInfo, port: u16) -> Described {
        let parent = if info.ppid > 1 {
            ProcessInfo::read(info.ppid).ok()
        } else {
            None
        };
        let mut ports: BTreeSet<u16> = self.ports.of(info).collect();
        ports.insert(port);
        // A worker may accept on a socket that its master listens on. A supervisor's own ports are not its children's.
        if let Some(master) = parent
            .as_ref()
            .filter(|parent| parent.exe.is_some() && parent.exe == info.exe)
        {
            ports.extend(self.ports.of(master));
        }
        let parent = namer(info);
        let ports: Vec<u16> = ports.into_iter().filter(|port| *port != 0).collect();
        let described = describe(info, parent.as_ref(), &ports, &self.rules, &self.files);
        self.remembered.settle(info, described)
    }

    /// The number of a service, which is given one if it has none.
    fn number(&mut self, described: Described, is_running: impl Fn(u16) -> bool) -> u16 {
        let is_shared = self.is_shared(&described, is_running);
        let identity = self.shown(described.identity(is_shared));
        let known = self.of_application(&described, &identity);
        if let Some(number) = known.or_else(|| self.by_identity.get(&identity).copied()) {
            if let Some(service) = self.services.get_mut(&number) {
                service.life = Life::Alive;
                service.is_weak &= described.is_weak;
                service.is_managed |= described.is_managed();
                service.rule = service.rule.or(described.rule.map(|(rule, _)| rule));
                if !described.is_weak {
                    service.application = (described.unit, described.app);
                }
            }
            return number;
        }
        let Some(number) = self.numbers.give().or_else(|| self.make_room()) else {
            return self.rest();
        };
        self.add(number, identity, described);
        number
    }

    /// The service of an application in a unit, whatever it is called: it keeps its name when another application of the unit ends.
    fn of_application(&self, described: &Described, identity: &Identity) -> Option<u16> {
        let unit = described.unit.as_ref().filter(|_| described.rule.is_none())?;
        let is_same = |service: &Service| {
            let (of_unit, app) = &service.application;
            let instance = |one: &Identity| (one.container.clone(), one.namespace.clone(), one.pod.clone());
            service.rule.is_none()
                && of_unit.as_ref() == Some(unit)
                && *app == described.app
                && service.part_of.is_none()
                && instance(&service.identity) == instance(identity)
        };
        self.services
            .iter()
            .find(|(_, service)| is_same(service))
            .map(|(number, _)| *number)
    }

    fn shown(&self, identity: Identity) -> Identity {
        if self.is_merged { identity.merged() } else { identity }
    }

    fn add(&mut self, number: u16, identity: Identity, described: Described) {
        let is_managed = described.is_managed();
        let Described {
            rule,
            unit,
            app,
            is_weak,
            ..
        } = described;
        self.by_identity.insert(identity.clone(), number);
        self.services.insert(
            number,
            Service {
                identity: Rc::new(identity),
                rule: rule.map(|(rule, _)| rule),
                is_managed,
                has_answered: false,
                answered: BTreeMap::new(),
                life: Life::Alive,
                application: (unit, app),
                is_weak,
                part_of: None,
                since: Instant::now(),
                born: monotonic(),
            },
        );
        self.changes.push(Change::Given(number));
    }

    /// Whether the unit of a process runs several applications right now, and so names none of them. One that it has named so far gets a
    /// name of its own. What has ended, or has no name yet, does not count: the next deployment may run another program.
    fn is_shared(&mut self, described: &Described, is_running: impl Fn(u16) -> bool) -> bool {
        let Some(unit) = described
            .unit
            .as_ref()
            .filter(|_| described.rule.is_none() && !described.is_weak)
        else {
            return false;
        };
        let is_another = |number: u16, service: &Service| {
            let (of_unit, app) = &service.application;
            service.rule.is_none()
                && of_unit.as_ref() == Some(unit)
                && *app != described.app
                && service.is_alive()
                && !service.is_weak
                && is_running(number)
        };
        let is_shared = self
            .services
            .iter()
            .any(|(number, service)| is_another(*number, service));
        if is_shared {
            self.rename_in(unit);
        }
        is_shared
    }

    /// A unit turned out to run several applications: what it has named is named after its application.
    fn rename_in(&mut self, unit: &str) {
        let of_unit = |service: &Service| {
            service.application.0.as_deref() == Some(unit) && service.rule.is_none() && service.is_alive()
        };
        let numbers: Vec<u16> = self
            .services
            .iter()
            .filter(|(_, service)| of_unit(service))
            .map(|(number, _)| *number)
            .collect();
        for number in numbers {
            if let Some(service) = self.services.get(&number) {
                let better = Identity {
                    service: service.application.1.as_str().into(),
                    ..(*service.identity).clone()
                };
                self.rename(number, better);
            }
        }
    }

    /// A service has a better name. Its counts are shown under that from now on.
    fn rename(&mut self, number: u16, better: Identity) {
        let Some(service) = self.services.get_mut(&number) else {
            return;
        };
        if *service.identity == better {
            return;
        }
        info!(
            "the service {} is called {} from now on",
            service.identity.service, better.service
        );
        if self.by_identity.get(&*service.identity) == Some(&number) {
            self.by_identity.remove(&*service.identity);
        }
        service.identity = Rc::new(better.clone());
        let other = *self.by_identity.entry(better).or_insert(number);
        service.part_of = (other != number).then_some(other);
    }

    /// Looks for a better name of a service, by one of its processes.
    pub fn look_again(&mut self, number: u16, info: &ProcessInfo, is_running: impl Fn(u16) -> bool) {
        let described = self.describe(info, 0);
        if described.is_weak {
            return;
        }
        let is_shared = self.is_shared(&described, is_running);
        let better = self.shown(described.identity(is_shared));
        if let Some(service) = self.services.get_mut(&number) {
            service.is_weak = false;
            service.is_managed |= described.is_managed();
            service.rule = service.rule.or(described.rule.as_ref().map(|(rule, _)| *rule));
            service.application = (described.unit, described.app);
        }
        self.rename(number, better);
    }

    /// A number that is taken from a service which nobody would miss, if there is one.
    fn make_room(&mut self) -> Option<u16> {
        let rank = |service: &Service| {
            if service.rule.is_some() || service.identity.service.as_ref() == REST {
                return None;
            }
            match (service.life, !service.has_answered) {
                (Life::Ended { since, .. }, true) => Some((0, since)),
                (Life::Alive, true) => Some((1, service.since)),
                (Life::Ended { since, .. }, false) => Some((2, since)),
                (Life::Alive, false) => None,
            }
        };
        let ranked = self.services.iter();
        let ranked = ranked.filter_map(|(number, service)| Some((rank(service)?, *number)));
        let ((rank, _), number) = ranked.min()?;
        if rank == 1 {
            self.dropped.silent += 1;
        } else {
            self.dropped.ended += 1;
        }
        self.free(number);
        self.numbers.give()
    }

    /// The number of what finds no number of its own.
    fn rest(&mut self) -> u16 {
        self.dropped.nameless += 1;
        if !self.has_warned {
            self.has_warned = true;
            log::warn!(
                "there are more services on this host than Vigie tells apart: further ones are called {REST} until others end"
            );
        }
        let number = Numbers::REST;
        if !self.services.contains_key(&number) {
            self.add(number, Identity::of(REST), Described::default());
        }
        number
    }

    /// Gives a number back.
    fn free(&mut self, number: u16) {
        let Some(service) = self.services.remove(&number) else {
            return;
        };
        if self.by_identity.get(&*service.identity) == Some(&number) {
            self.by_identity.remove(&*service.identity);
        }
        // What was a part of it is on its own.
        let parts = self
            .services
            .iter_mut()
            .filter(|(_, other)| other.part_of == Some(number));
        for (part, service) in parts {
            service.part_of = None;
            self.by_identity.entry((*service.identity).clone()).or_insert(*part);
        }
        self.numbers.take_back(number);
        self.changes.push(Change::Freed(number));
    }

    /// A service has answered a request on a port. `true`: it is the first.
    pub fn note_answer(&mut self, number: u16, port: u16) -> bool {
        let Some(service) = self.services.get_mut(&number) else {
            return false;
        };
        let is_first = !service.has_answered;
        service.has_answered = true;
        service.answered.entry(port).or_insert(None);
        is_first
    }

    /// What became of numbers since the last call, in order.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// How numbers went before their time.
    pub fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// Whether there is a number for another service.
    pub fn has_room(&self) -> bool {
        self.numbers.has_room()
    }

    /// The number of what finds no number of its own, if there is any.
    pub fn nameless(&self) -> Option<u16> {
        self.services.contains_key(&Numbers::REST).then_some(Numbers::REST)
    }

    /// A service by number.
    pub fn get(&self, number: u16) -> Option<&Service> {
        self.services.get(&number)
    }

    /// The route templates of a service, from the config.
    pub fn templates(&self, number: u16) -> &[Template] {
        let rule = self
            .get(number)
            .and_then(|service| service.rule)
            .and_then(|rule| self.rules.get(rule));
        rule.map_or(&[], |rule| &rule.routes)
    }

    /// The handlers of each service, by its name, whose durations are not wanted.
    pub fn long_lived(&self) -> BTreeMap<String, BTreeSet<String>> {
        let handlers = |service: &Service| {
            let rule = self.rules.get(service.rule?)?;
            let handlers = rule.long_lived.iter().map(|template| template.as_str().to_owned());
            Some((service.identity.service.to_string(), handlers.collect()))
        };
        self.services.values().filter_map(handlers).collect()
    }

    /// All services with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &Service)> {
        self.services.iter().map(|(number, service)| (*number, service))
    }

    /// Something that changes whenever a number is given or taken back.
    pub fn version(&self) -> u64 {
        self.numbers.version()
    }
}

#[cfg(test)]
mod tests;
