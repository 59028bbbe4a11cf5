//! The unix sockets that services listen on.
//!
//! Nothing tells of them as they begin. A service that has answered a request on one is looked at: whichever listening
//! sockets its processes hold are its own. That takes reading their descriptors, and is done again only when there is
//! another socket or another process.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::fd::OwnedFd,
};

use rustix::fs::{Dir, Mode, OFlags, openat, readlinkat};

use super::{
    diag::{Diag, Socket},
    processes::{Processes, directory_of},
};

/// Whose the sockets are.
#[derive(Debug, Default)]
pub struct UnixListening {
    /// The sockets and processes that were there when it was last found out.
    sockets: BTreeSet<u64>,
    processes: BTreeSet<u32>,
    /// The service of a socket, by inode.
    owners: BTreeMap<u32, u16>,
}

// === impl UnixListening ===

impl UnixListening {
    /// The listening unix sockets of these services.
    ///
    /// # Errors
    ///
    /// If the kernel does not list them.
    pub fn collect(
        &mut self,
        diag: &Diag,
        processes: &Processes,
        services: &BTreeSet<u16>,
        buffer: &mut Vec<u8>,
    ) -> io::Result<Vec<(u16, Socket)>> {
        let mut sockets = Vec::new();
        diag.unix(buffer, |socket| sockets.push(*socket))?;
        let cookies = sockets.iter().map(|socket| socket.cookie).collect();
        let mut members = BTreeSet::new();
        for service in services {
            members.extend(processes.of(*service));
        }
        if self.sockets != cookies || self.processes != members {
            let inodes: BTreeSet<u32> = sockets.iter().map(|socket| socket.inode).collect();
            self.owners.clear();
            for service in services {
                for process in processes.of(*service) {
                    let held = directory_of(process).map_or_else(|_| BTreeSet::new(), |directory| holds(&directory));
                    let own = held.intersection(&inodes).map(|inode| (*inode, *service));
                    self.owners.extend(own);
                }
            }
            (self.sockets, self.processes) = (cookies, members);
        }
        let owned = sockets.into_iter().filter_map(|socket| {
            let service = self.owners.get(&socket.inode)?;
            Some((*service, socket))
        });
        Ok(owned.collect())
    }
}

/// The inodes of the sockets that a process holds, by its directory in `/proc`.
pub fn holds(directory: &OwnedFd) -> BTreeSet<u32> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(files) = openat(directory, "fd", flags, Mode::empty()) else {
        return BTreeSet::new();
    };
    let Ok(entries) = Dir::read_from(&files) else {
        return BTreeSet::new();
    };
    let inode = |target: &str| target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
    entries
        .flatten()
        .filter_map(|entry| inode(readlinkat(&files, entry.file_name(), Vec::new()).ok()?.to_str().ok()?))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn the_sockets_of_a_service_are_found() {
        let path = std::env::temp_dir().join(format!("vigie-unix-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let _clients: Vec<_> = (0..2).map(|_| UnixStream::connect(&path).unwrap()).collect();
        std::fs::remove_file(&path).unwrap();
        let own = std::process::id();
        let mut processes = Processes::start();
        processes.collect(|process| if process == own { 4 } else { 0 }, |_, _| ());
        let mut unix = UnixListening::default();
        let mut backlogs = |services: &[u16]| {
            let services = services.iter().copied().collect();
            let found = unix.collect(&Diag::here().unwrap(), &processes, &services, &mut Vec::new());
            let inode = rustix::fs::fstat(&listener).unwrap().st_ino;
            let found = found
                .unwrap()
                .into_iter()
                .filter(|(_, socket)| u64::from(socket.inode) == inode);
            found
                .map(|(service, socket)| (service, socket.backlog))
                .collect::<Vec<_>>()
        };
        assert_eq!(backlogs(&[4]), [(4, 2)]);
        assert_eq!(backlogs(&[5]), []);
    }
}
