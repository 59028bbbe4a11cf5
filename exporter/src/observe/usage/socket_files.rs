//! The listening sockets of a network namespace, from a file of a process in it (proc_pid_net(5)).
//!
//! Anybody may read it, where entering the namespace takes a privilege and asking the kernel takes a module of it. What the file does not say has no value.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader},
};

use super::diag::Socket;
use crate::descriptors;

/// In the cookie of a socket that a file has told of: the kernel counts its own from 1.
const FROM_FILE: u64 = 1 << 63;
/// `TCP_LISTEN`, as the files have it.
const LISTENING: &str = "0A";

/// Hands out the TCP sockets that listen in the network namespace of a process.
///
/// # Errors
///
/// If the process has ended, or there are too many open files.
pub fn listening(process: u32, mut each: impl FnMut(&Socket)) -> io::Result<()> {
    let mut files = Vec::new();
    for name in ["tcp", "tcp6"] {
        match descriptors::note(File::open(format!("/proc/{process}/net/{name}"))) {
            Ok(file) => files.push(file),
            // There is no IPv6 here.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !files.is_empty() => {}
            Err(error) => return Err(error),
        }
    }
    for file in files {
        for line in BufReader::new(file).lines().skip(1) {
            // Connections are listed behind what listens (`tcp_seek_last_pos()` in the kernel).
            let Some(socket) = parse(&line?) else { break };
            each(&socket);
        }
    }
    Ok(())
}

/// A socket that listens. A line of any other is none.
fn parse(line: &str) -> Option<Socket> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (address, port) = fields.next()?.split_once(':')?;
    if fields.nth(1)? != LISTENING {
        return None;
    }
    let (_, waiting) = fields.next()?.split_once(':')?;
    let inode: u32 = fields.nth(4)?.parse().ok()?;
    let mut socket = Socket {
        port: u16::from_str_radix(port, 16).ok()?,
        address: [0; 16],
        // Another socket may have it later; none that the kernel itself has a number for has one with this bit.
        cookie: u64::from(inode) | FROM_FILE,
        inode,
        backlog: u32::from_str_radix(waiting, 16).ok()?,
        limit: None,
        drops: None,
    };
    for (place, word) in socket
        .address
        .chunks_exact_mut(4)
        .zip(address.as_bytes().chunks_exact(8))
    {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        place.copy_from_slice(&word.to_ne_bytes());
    }
    Some(socket)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::{
        super::diag::{Diag, LISTEN},
        *,
    };

    /// What the file has is what the kernel answers when it is asked.
    #[test]
    fn the_file_has_what_the_kernel_answers() {
        for address in ["127.0.0.1:0", "127.0.0.2:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let local = listener.local_addr().unwrap();
            let _clients: Vec<_> = (0..3).map(|_| TcpStream::connect(local).unwrap()).collect();
            let (mut in_file, mut asked) = (Vec::new(), Vec::new());
            let mut keep = |socket: &Socket| {
                if socket.port == local.port() {
                    in_file.push(*socket);
                }
            };
            listening(std::process::id(), &mut keep).unwrap();
            let diag = Diag::here().unwrap();
            diag.tcp(LISTEN, &mut Vec::new(), |socket| {
                if socket.port == local.port() {
                    asked.push(*socket);
                }
            })
            .unwrap();
            assert_eq!((in_file.len(), asked.len()), (1, 1), "{address}");
            let expected = Socket {
                cookie: u64::from(asked[0].inode) | FROM_FILE,
                limit: None,
                drops: None,
                ..asked[0]
            };
            assert_eq!(in_file[0], expected, "{address}");
            assert_eq!(in_file[0].backlog, 3);
        }
        assert!(listening(u32::MAX, |_| ()).is_err());
    }
}
