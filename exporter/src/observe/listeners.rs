//! Who listens on which TCP port right now, in every network namespace that can be seen.

use std::collections::{HashMap, HashSet};

use procfs::{
    ProcError,
    net::TcpState,
    process::{FDTarget, Process},
};
use rustix::fs::CWD;

use super::{process::network_namespace, usage::processes::process_ids};
use crate::descriptors;

/// Who listens.
#[derive(Debug, Default)]
pub struct Listeners {
    /// The processes that hold a listening TCP socket, with its port.
    pub held: HashSet<(u32, u16)>,
    /// All ports that are listened on, also by those that do not show what they hold.
    pub ports: HashSet<u16>,
}

/// Looks at everybody.
///
/// What cannot be read (a process that ended meanwhile, or one that may not be looked at) is left out.
pub fn listeners() -> Listeners {
    let mut namespaces = HashSet::new();
    let mut ports = HashMap::new();
    let mut held = Vec::new();
    for id in process_ids().unwrap_or_default() {
        // One at a time: each has its directory open.
        let Some(process) = open(id) else {
            continue;
        };
        let namespace = network_namespace(CWD, &format!("/proc/{id}/"));
        if namespaces.insert(namespace) {
            ports.extend(listening(&process));
        }
        held.push((id, sockets(&process)));
    }
    let mut found = Listeners::default();
    for (id, sockets) in held {
        let its = sockets.iter().filter_map(|inode| ports.get(inode));
        found.held.extend(its.map(|port| (id, *port)));
    }
    found.ports.extend(ports.into_values());
    found
}

fn open(id: u32) -> Option<Process> {
    match Process::new(id.cast_signed()) {
        Ok(process) => Some(process),
        Err(ProcError::Io(error, _)) => descriptors::note(Err(error)).ok(),
        Err(_) => None,
    }
}

/// The inodes and ports of the sockets that listen in a process's network namespace.
fn listening(process: &Process) -> Vec<(u64, u16)> {
    let tables = [process.tcp(), process.tcp6()];
    let entries = tables.into_iter().flatten().flatten();
    let entries = entries.filter(|entry| entry.state == TcpState::Listen);
    entries.map(|entry| (entry.inode, entry.local_address.port())).collect()
}

/// The inodes of a process's sockets.
fn sockets(process: &Process) -> Vec<u64> {
    let descriptors = process.fd().into_iter().flatten().flatten();
    let inodes = descriptors.filter_map(|descriptor| match descriptor.target {
        FDTarget::Socket(inode) => Some(inode),
        _ => None,
    });
    inodes.collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn this_process_is_found() {
        let listeners_here = ["127.0.0.1:0", "[::1]:0"].map(|address| TcpListener::bind(address).unwrap());
        let found = listeners();
        for listener in listeners_here {
            let port = listener.local_addr().unwrap().port();
            assert!(found.held.contains(&(std::process::id(), port)) && found.ports.contains(&port));
        }
    }
}
