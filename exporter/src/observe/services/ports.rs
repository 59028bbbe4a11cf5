//! What processes have begun to listen on.

use std::collections::{BTreeMap, HashMap};

use crate::observe::process::ProcessInfo;

/// How many processes are remembered; further ones are known once they answer.
const MOST: usize = 8192;
/// How often in a row a port may not be found in the kernel's lists until it is forgotten.
const MISSED: u8 = 2;

/// A process that listens.
#[derive(Debug, Default)]
struct Listener {
    /// When it started: its id may come again.
    start: u64,
    /// The ports, and how often in a row each was not found.
    ports: BTreeMap<u16, u8>,
}

/// The processes that have begun to listen.
#[derive(Debug, Default)]
pub struct Ports(HashMap<u32, Listener>);

// === impl Ports ===

impl Ports {
    /// A process listens on a TCP port. The start is in clock ticks since boot.
    pub fn add(&mut self, process: u32, start: u64, port: u16) {
        if self.0.len() >= MOST && !self.0.contains_key(&process) {
            return;
        }
        let listener = self.0.entry(process).or_default();
        if listener.start != start {
            *listener = Listener {
                start,
                ..Listener::default()
            };
        }
        listener.ports.insert(port, 0);
    }

    /// The ports of a process.
    pub fn of(&self, info: &ProcessInfo) -> impl Iterator<Item = u16> {
        let listener = self
            .0
            .get(&info.pid)
            .filter(|listener| listener.start == info.start_ticks);
        listener.into_iter().flat_map(|listener| listener.ports.keys().copied())
    }

    /// All processes with their ports.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u16)> {
        let all = self.0.iter();
        all.flat_map(|(process, listener)| listener.ports.keys().map(|port| (*process, *port)))
    }

    /// The kernel's lists were read, and have these ports.
    pub fn found(&mut self, is_listened: impl Fn(u32, u16) -> bool) {
        for (process, listener) in &mut self.0 {
            listener.ports.retain(|port, missed| {
                *missed = if is_listened(*process, *port) { 0 } else { *missed + 1 };
                *missed < MISSED
            });
        }
        self.0.retain(|_, listener| !listener.ports.is_empty());
    }

    /// Forgets the processes that are gone. What each listened on goes to its heir, who may have the socket still.
    pub fn forget_gone(&mut self, heir: impl Fn(u32) -> Option<u32>, mut forgotten: impl FnMut(u32, u64)) {
        let mut left = Vec::new();
        self.0.retain(|process, listener| {
            let is_there = ProcessInfo::read_start(*process).is_ok_and(|start| start == listener.start);
            if !is_there {
                forgotten(*process, listener.start);
                left.push((*process, std::mem::take(&mut listener.ports)));
            }
            is_there
        });
        for (process, ports) in left {
            let Some(heir) = heir(process) else {
                continue;
            };
            if let Ok(start) = ProcessInfo::read_start(heir) {
                ports.into_keys().for_each(|port| self.add(heir, start, port));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Thousands of processes that listen on thousands of ports, one after the other.
    #[test]
    fn what_is_gone_is_forgotten() {
        let mut ports = Ports::default();
        for process in 1..20_000 {
            ports.add(u32::MAX - process, 1, 80);
        }
        assert_eq!(ports.0.len(), MOST);
        ports.forget_gone(|_| None, |_, _| ());
        assert!(ports.0.is_empty());
        let own = std::process::id();
        let start = ProcessInfo::read_start(own).unwrap();
        for port in 1..60_000 {
            ports.add(own, start, port);
            if port % 100 == 0 {
                ports.found(|_, listened| listened == port);
            }
        }
        assert!(ports.iter().count() <= 300, "{}", ports.iter().count());
        ports.found(|_, _| false);
        ports.found(|_, _| false);
        assert!(ports.0.is_empty());
    }

    /// A server that listens, forks and ends, as a daemon does.
    #[test]
    fn an_heir_has_what_was_left() {
        let mut ports = Ports::default();
        let own = std::process::id();
        ports.add(u32::MAX, 1, 80);
        ports.forget_gone(|process| (process == u32::MAX).then_some(own), |_, _| ());
        assert_eq!(ports.iter().collect::<Vec<_>>(), [(own, 80)]);
    }
}
