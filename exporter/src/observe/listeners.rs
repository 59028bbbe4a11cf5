//! Who listens on which TCP port right now, in every network namespace that can be seen.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::Path,
};

/// `TCP_LISTEN`, as `/proc/net/tcp` writes it.
const LISTEN: &str = "0A";

/// The processes that hold a listening TCP socket, with its port.
///
/// What cannot be read (a process that ended meanwhile, or one that may not be looked at) is left out.
pub fn listeners() -> HashSet<(u32, u16)> {
    let mut namespaces = HashSet::new();
    let mut ports = HashMap::new();
    let processes = processes();
    for process in &processes {
        let root = format!("/proc/{process}");
        let namespace = fs::read_link(format!("{root}/ns/net")).ok();
        if namespaces.insert(namespace) {
            for table in ["tcp", "tcp6"] {
                let text = fs::read_to_string(format!("{root}/net/{table}")).unwrap_or_default();
                ports.extend(text.lines().skip(1).filter_map(listening));
            }
        }
    }
    let mut found = HashSet::new();
    for process in processes {
        for inode in sockets(Path::new(&format!("/proc/{process}/fd"))) {
            if let Some(port) = ports.get(&inode) {
                found.insert((process, *port));
            }
        }
    }
    found
}

fn processes() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// The inode and the port of a line of `/proc/net/tcp`, if the socket listens.
fn listening(line: &str) -> Option<(u64, u16)> {
    let mut fields = line.split_ascii_whitespace();
    let local = fields.nth(1)?;
    if fields.nth(1)? != LISTEN {
        return None;
    }
    let (_, port) = local.rsplit_once(':')?;
    let inode = fields.nth(5)?.parse().ok()?;
    Some((inode, u16::from_str_radix(port, 16).ok()?))
}

/// The inodes of the sockets in a directory of file descriptors.
fn sockets(directory: &Path) -> Vec<u64> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let link = fs::read_link(entry.path()).ok()?;
            link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_line_of_the_table() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1 0 100 0 0 10 0";
        assert_eq!(listening(line), Some((12345, 8080)));
        assert_eq!(listening(&line.replace(" 0A ", " 01 ")), None);
        assert_eq!(listening("junk"), None);
    }

    #[test]
    fn this_process_is_found() {
        let four = TcpListener::bind("127.0.0.1:0").unwrap();
        let found = listeners();
        assert!(found.contains(&(std::process::id(), four.local_addr().unwrap().port())));
    }
}
