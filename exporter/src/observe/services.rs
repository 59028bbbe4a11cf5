//! The services of this host: their numbers, names, ports, and which process belongs to which.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    num::NonZeroUsize,
    path::Path,
    rc::Rc,
};

use vigie_ebpf::types::{SERVICE_UNKNOWN, SERVICES};

use super::{
    containers::ContainerFiles,
    naming::{Remembered, describe, namer},
    process::ProcessInfo,
    template::Template,
};
use crate::config::ServiceRule;

/// The service that everything belongs to once there are more services than numbers.
const REST: &str = "other";

/// Processes whose names are kept for when they lose what names them.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// One service.
#[derive(Debug)]
pub struct Service {
    /// Its name, a label value.
    pub name: Rc<str>,
    /// The rule of the config that named it.
    pub rule: Option<usize>,
}

/// All services.
#[derive(Debug)]
pub struct Services {
    rules: Vec<ServiceRule>,
    files: ContainerFiles,
    remembered: Remembered,
    list: Vec<Service>,
    numbers: HashMap<String, u16>,
    /// What a process listens on, and when that process started: its id may come again.
    ports: HashMap<u32, (u64, BTreeSet<u16>)>,
}

// === impl Services ===

impl Services {
    /// No service yet.
    pub fn new(rules: Vec<ServiceRule>) -> Self {
        Self {
            rules,
            files: ContainerFiles::new(Path::new("/")),
            remembered: Remembered::new(REMEMBERED),
            list: Vec::new(),
            numbers: HashMap::new(),
            ports: HashMap::new(),
        }
    }

    /// A process listens on a TCP port.
    pub fn add_port(&mut self, process: u32, port: u16) {
        let start = ProcessInfo::read(process).map_or(0, |info| info.start_ticks);
        let known = self.ports.entry(process).or_insert_with(|| (start, BTreeSet::new()));
        if known.0 != start {
            *known = (start, BTreeSet::new());
        }
        known.1.insert(port);
    }

    /// The processes that have begun to listen, alive or not, with their ports.
    pub fn listening(&self) -> impl Iterator<Item = (u32, &BTreeSet<u16>)> {
        self.ports.iter().map(|(process, (_, ports))| (*process, ports))
    }

    /// Whether a rule asks for a port.
    pub fn has_port_rules(&self) -> bool {
        self.rules.iter().any(|rule| !rule.ports.is_empty())
    }

    fn ports_of(&self, info: &ProcessInfo) -> BTreeSet<u16> {
        let known = self
            .ports
            .get(&info.pid)
            .filter(|(start, _)| *start == info.start_ticks);
        known.map(|(_, ports)| ports.clone()).unwrap_or_default()
    }

    /// Finds the service of a process. `command` is its name in case that it is gone already.
    pub fn identify(&mut self, process: u32, command: &str, port: u16) -> u16 {
        let info = ProcessInfo::read(process).unwrap_or_else(|_| ProcessInfo::from_parts(process, command, Vec::new()));
        let parent = if info.ppid > 1 {
            ProcessInfo::read(info.ppid).ok()
        } else {
            None
        };
        let mut ports = self.ports_of(&info);
        ports.insert(port);
        // A worker may accept on a socket that its master listens on. A supervisor's own ports are not its children's.
        if let Some(master) = parent
            .as_ref()
            .filter(|parent| parent.exe.is_some() && parent.exe == info.exe)
        {
            ports.extend(self.ports_of(master));
        }
        let parent = namer(&info);
        let ports: Vec<u16> = ports.into_iter().filter(|port| *port != 0).collect();
        let described = describe(&info, parent.as_ref(), &ports, &self.rules, &self.files);
        let described = self.remembered.settle(&info, described);
        let rule = described.rule.as_ref().map(|(index, _)| *index);
        self.number(described.identity(false).service.to_string(), rule)
    }

    fn number(&mut self, name: String, rule: Option<usize>) -> u16 {
        if let Some(number) = self.numbers.get(&name) {
            return *number;
        }
        // Numbers start at 1: SERVICE_UNKNOWN is none. The last is for what comes when all are given.
        let next = self.list.len() + 1 + SERVICE_UNKNOWN as usize;
        let last = SERVICES - 1;
        if next > last {
            return u16::try_from(last).unwrap_or(SERVICE_UNKNOWN);
        }
        let (name, rule) = if next == last {
            (REST.to_owned(), None)
        } else {
            (name, rule)
        };
        let number = u16::try_from(next).unwrap_or(SERVICE_UNKNOWN);
        self.numbers.insert(name.clone(), number);
        self.list.push(Service {
            name: name.into(),
            rule,
        });
        number
    }

    /// A service by number.
    pub fn get(&self, number: u16) -> Option<&Service> {
        self.list.get(usize::from(number).checked_sub(1)?)
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
            Some((service.name.to_string(), handlers.collect()))
        };
        self.list.iter().filter_map(handlers).collect()
    }

    /// All services with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &Service)> {
        (1..).zip(&self.list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_run_out_gracefully() {
        let mut services = Services::new(Vec::new());
        let mut number = |name: &str| services.number(name.to_owned(), None);
        assert_eq!((number("a"), number("b"), number("a")), (1, 2, 1));
        let numbers: Vec<u16> = (0..300).map(|i| number(&format!("s{i}"))).collect();
        assert_eq!(numbers[252], 255);
        assert_eq!(numbers[299], 255);
        assert_eq!(services.get(255).map(|service| &*service.name), Some(REST));
        assert_eq!(services.iter().count(), 255);
    }
}
