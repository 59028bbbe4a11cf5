//! Asking the kernel for its sockets (`sock_diag(7)`), in the network namespace of one's choice.
//!
//! One request lists all sockets in the states asked for. There is a crate for these messages, which makes a list of
//! attributes of each socket; here the few numbers that matter are read in place, because a busy host has tens of thousands of
//! connections.

use std::{
    cell::Cell,
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    thread,
};

use rustix::{
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

/// `TCP_ESTABLISHED`, as a bit of a request.
pub const ESTABLISHED: u32 = 1 << 1;
/// `TCP_CLOSE_WAIT`: the client has sent its last byte, the server perhaps not.
pub const CLOSE_WAIT: u32 = 1 << 8;
/// `TCP_LISTEN`.
pub const LISTEN: u32 = 1 << 10;

/// `SOCK_DIAG_BY_FAMILY`, the type of requests and answers.
const BY_FAMILY: u16 = 20;
/// `TCPDIAG_GETSOCK`, an older type of both.
const GET_SOCKETS: u16 = 18;
/// `INET_DIAG_SKMEMINFO`, the attribute with a socket's memory, and how much it has dropped.
const MEMORY: u16 = 7;
/// `SK_MEMINFO_DROPS`, the index in it.
const DROPS: usize = 8;
/// `UDIAG_SHOW_RQLEN` and the attribute that it asks for, `UNIX_DIAG_RQLEN`.
const SHOW_QUEUE: u32 = 0x10;
const QUEUE: u16 = 4;
/// `sizeof(struct nlmsghdr)`, `sizeof(struct inet_diag_msg)`, `sizeof(struct unix_diag_msg)`.
const HEADER: usize = 16;
const INET: usize = 72;
const UNIX: usize = 16;
/// How long an answer is waited for. The kernel has it at hand.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);

/// A socket, as the kernel lists it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Socket {
    /// The local port; 0 for a unix socket.
    pub port: u16,
    /// The local address, an IPv4 one in the first four bytes.
    pub address: [u8; 16],
    /// Its number, which no other socket ever has.
    pub cookie: u64,
    /// The inode by which processes hold it; 0: nobody does.
    pub inode: u32,
    /// Of a listening socket: the connections that wait to be accepted.
    pub backlog: u32,
    /// Of a listening socket: how many may wait, if that is known.
    pub limit: Option<u32>,
    /// Of a listening socket: what it has dropped, if that is known. The kernel's counter has 32 bits.
    pub drops: Option<u32>,
}

/// A netlink socket in a network namespace, which lives as long as it does.
#[derive(Debug)]
pub struct Diag {
    socket: OwnedFd,
    /// The number of the last request. Its answers have the same; those of an earlier one that was given up may come before.
    sequence: Cell<u32>,
}

// === impl Diag ===

impl Diag {
    /// In Vigie's own namespace.
    ///
    /// # Errors
    ///
    /// If the kernel has no `sock_diag`.
    pub fn here() -> io::Result<Self> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(netlink::SOCK_DIAG),
        )?;
        rustix::net::sockopt::set_socket_timeout(&socket, rustix::net::sockopt::Timeout::Recv, Some(PATIENCE))?;
        Ok(Self {
            socket,
            sequence: Cell::new(0),
        })
    }

    /// One whose answers never come.
    #[cfg(test)]
    pub fn silent() -> Self {
        let (socket, kernel) = std::os::unix::net::UnixDatagram::pair().unwrap();
        socket.set_nonblocking(true).unwrap();
        std::mem::forget(kernel);
        Self {
            socket: socket.into(),
            sequence: Cell::new(0),
        }
    }

    /// In the namespace of this file, `/proc/<pid>/ns/net`.
    ///
    /// # Errors
    ///
    /// If it may not be entered, which takes CAP_SYS_ADMIN.
    pub fn inside(namespace: BorrowedFd<'_>) -> io::Result<Self> {
        // A thread is in a namespace, and a socket is of the one that its thread was in when it made it.
        let inside = || {
            move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?;
            Self::here()
        };
        thread::scope(|scope| scope.spawn(inside).join())
            .unwrap_or_else(|_| Err(io::Error::other("the thread that should enter a namespace failed")))
    }

    /// Lists the TCP sockets in these states, of IPv4 and IPv6.
    ///
    /// Today's request is for one family, and the kernel looks at every bucket of its table of connections for it: a
    /// quarter of a million on a common host, which takes a millisecond or two. The old request is for both at once.
    ///
    /// # Errors
    ///
    /// If the kernel does not answer.
    pub fn tcp(&self, states: u32, buffer: &mut Vec<u8>, mut each: impl FnMut(&Socket)) -> io::Result<()> {
        let extensions = if states & LISTEN != 0 { 1 << (MEMORY - 1) } else { 0 };
        let mut has_come = false;
        let mut take = |message: &[u8]| {
            has_come = true;
            if let Some(socket) = parse_inet(message) {
                each(&socket);
            }
        };
        // `struct inet_diag_req`: family, lengths of addresses, extensions, an address that may be anything, states.
        let mut request = [0; HEADER + 60];
        request[HEADER + 3] = extensions;
        request[HEADER + 52..HEADER + 56].copy_from_slice(&states.to_ne_bytes());
        let result = self.list(GET_SOCKETS, &mut request, buffer, &mut take);
        if result.is_ok() || has_come {
            // What has come would come once more.
            return result;
        }
        for family in [libc::AF_INET, libc::AF_INET6] {
            let mut request = [0; HEADER + 56];
            // `struct inet_diag_req_v2`: family, protocol, extensions, padding, states, and an address.
            request[HEADER] = family as u8;
            request[HEADER + 1] = libc::IPPROTO_TCP as u8;
            request[HEADER + 2] = extensions;
            request[HEADER + 4..HEADER + 8].copy_from_slice(&states.to_ne_bytes());
            self.list(BY_FAMILY, &mut request, buffer, |message| {
                if let Some(socket) = parse_inet(message) {
                    each(&socket);
                }
            })?;
        }
        Ok(())
    }

    /// Lists the unix sockets that listen.
    ///
    /// # Errors
    ///
    /// If the kernel does not answer: it may be built without.
    pub fn unix(&self, buffer: &mut Vec<u8>, mut each: impl FnMut(&Socket)) -> io::Result<()> {
        let mut request = [0; HEADER + 24];
        // `struct unix_diag_req`: family, protocol, padding, states, inode, what to show, cookie.
        request[HEADER] = libc::AF_UNIX as u8;
        request[HEADER + 4..HEADER + 8].copy_from_slice(&LISTEN.to_ne_bytes());
        request[HEADER + 12..HEADER + 16].copy_from_slice(&SHOW_QUEUE.to_ne_bytes());
        self.list(BY_FAMILY, &mut request, buffer, |message| {
            if let Some(socket) = parse_unix(message) {
                each(&socket);
            }
        })
    }

    /// Sends a request, whose header is filled in here, and hands out the answers.
    fn list(&self, kind: u16, request: &mut [u8], buffer: &mut Vec<u8>, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let length = u32::try_from(request.len()).map_err(io::Error::other)?;
        let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
        request[..4].copy_from_slice(&length.to_ne_bytes());
        request[4..6].copy_from_slice(&kind.to_ne_bytes());
        request[6..8].copy_from_slice(&flags.to_ne_bytes());
        let sequence = self.sequence.get().wrapping_add(1);
        self.sequence.set(sequence);
        request[8..12].copy_from_slice(&sequence.to_ne_bytes());
        send(self.socket.as_fd(), request, SendFlags::empty())?;
        buffer.resize(64 * 1024, 0);
        loop {
            let (count, _) = recv(self.socket.as_fd(), &mut buffer[..], RecvFlags::empty())?;
            if answers(&buffer[..count], sequence, &mut each)? {
                return Ok(());
            }
        }
    }
}

/// Hands out the messages of a datagram that answer the request of this number. `true`: there are no more.
///
/// # Errors
///
/// If the kernel refuses, or says that its list has changed while it was read (`NLM_F_DUMP_INTR`): some may be missing.
fn answers(mut bytes: &[u8], sequence: u32, each: &mut impl FnMut(&[u8])) -> io::Result<bool> {
    const DONE: u16 = libc::NLMSG_DONE as u16;
    const ERROR: u16 = libc::NLMSG_ERROR as u16;
    const INTERRUPTED: u16 = libc::NLM_F_DUMP_INTR as u16;
    while let (Some(length), Some(kind), Some(flags), Some(number)) =
        (u32_at(bytes, 0), u16_at(bytes, 4), u16_at(bytes, 6), u32_at(bytes, 8))
    {
        let length = length as usize;
        let Some(message) = bytes.get(HEADER..length) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        match kind {
            _ if number != sequence => {}
            _ if flags & INTERRUPTED != 0 => return Err(io::ErrorKind::Interrupted.into()),
            DONE => return Ok(true),
            ERROR => {
                let error = u32_at(message, 0).unwrap_or_default().cast_signed();
                return Err(io::Error::from_raw_os_error(-error));
            }
            BY_FAMILY | GET_SOCKETS => each(message),
            _ => {}
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

fn u16_at(bytes: &[u8], place: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(place..place + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], place: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(place..place + 4)?.try_into().ok()?))
}

fn cookie_at(bytes: &[u8], place: usize) -> Option<u64> {
    Some(u64::from(u32_at(bytes, place)?) | u64::from(u32_at(bytes, place + 4)?) << 32)
}

/// An attribute of this kind.
fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)?;
        let value = bytes.get(4..length)?;
        if kind == wanted {
            return Some(value);
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
}

/// `struct inet_diag_msg`, and its attributes.
fn parse_inet(message: &[u8]) -> Option<Socket> {
    let drops = attribute(message.get(INET..)?, MEMORY).and_then(|memory| u32_at(memory, 4 * DROPS));
    Some(Socket {
        port: u16::from_be_bytes(message.get(4..6)?.try_into().ok()?),
        address: message.get(8..24)?.try_into().ok()?,
        cookie: cookie_at(message, 44)?,
        inode: u32_at(message, 68)?,
        backlog: u32_at(message, 56)?,
        limit: Some(u32_at(message, 60)?),
        drops: Some(drops.unwrap_or(0)),
    })
}

/// `struct unix_diag_msg`, and its attributes.
fn parse_unix(message: &[u8]) -> Option<Socket> {
    let queue = attribute(message.get(UNIX..)?, QUEUE)?;
    Some(Socket {
        cookie: cookie_at(message, 8)?,
        inode: u32_at(message, 4)?,
        backlog: u32_at(queue, 0)?,
        limit: Some(u32_at(queue, 4)?),
        ..Socket::default()
    })
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        os::unix::net::{UnixListener, UnixStream},
    };

    use super::*;

    fn listening(diag: &Diag, port: u16) -> Vec<Socket> {
        let mut found = Vec::new();
        let mut keep = |socket: &Socket| {
            if socket.port == port {
                found.push(*socket);
            }
        };
        diag.tcp(LISTEN, &mut Vec::new(), &mut keep).unwrap();
        found
    }

    #[test]
    fn a_listening_socket_and_its_connections() {
        let diag = Diag::here().unwrap();
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let local = listener.local_addr().unwrap();
            let _clients: Vec<_> = (0..3).map(|_| TcpStream::connect(local).unwrap()).collect();
            let found = listening(&diag, local.port());
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(
                (found[0].backlog, found[0].limit, found[0].drops),
                (3, Some(128), Some(0))
            );
            assert!(found[0].inode != 0 && found[0].cookie != 0);
            let mut open = 0;
            diag.tcp(ESTABLISHED | CLOSE_WAIT, &mut Vec::new(), |socket| {
                open += u32::from(socket.port == local.port());
            })
            .unwrap();
            assert_eq!(open, 3);
            drop(listener);
            assert_eq!(listening(&diag, local.port()), []);
        }
    }

    #[test]
    fn a_unix_socket() {
        let path = std::env::temp_dir().join(format!("vigie-diag-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let _client = UnixStream::connect(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let inode = rustix::fs::fstat(&listener).unwrap().st_ino;
        let mut found = Vec::new();
        Diag::here()
            .unwrap()
            .unix(&mut Vec::new(), |socket| {
                if u64::from(socket.inode) == inode {
                    found.push(*socket);
                }
            })
            .unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].backlog, 1);
        assert!(found[0].limit >= Some(128));
    }

    fn header(length: u32, kind: u16, flags: u16, sequence: u32) -> Vec<u8> {
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes
    }

    /// What is left of a request that was given up is not taken for the next one's, and a list that changed while it was read is no list.
    #[test]
    fn answers_of_another_request_are_left_out() {
        let mut count = 0;
        let mut take = |_: &[u8]| count += 1;
        let done = libc::NLMSG_DONE as u16;
        let stale = [
            header(16, BY_FAMILY, 0, 6),
            header(16, done, 0, 6),
            header(16, BY_FAMILY, 0, 7),
        ]
        .concat();
        assert!(!answers(&stale, 7, &mut take).unwrap());
        let interrupted = [
            header(16, BY_FAMILY, 0, 7),
            header(16, done, libc::NLM_F_DUMP_INTR as u16, 7),
        ]
        .concat();
        let error = answers(&interrupted, 7, &mut take).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
        assert_eq!(count, 2);
    }

    #[test]
    fn a_request_that_was_given_up_does_not_spoil_the_next() {
        let diag = Diag::here().unwrap();
        // The answers of this one are not read.
        let mut request = [0; HEADER + 60];
        request[..4].copy_from_slice(&(HEADER as u32 + 60).to_ne_bytes());
        request[4..6].copy_from_slice(&GET_SOCKETS.to_ne_bytes());
        request[6..8].copy_from_slice(&((libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16).to_ne_bytes());
        request[HEADER + 52..HEADER + 56].copy_from_slice(&LISTEN.to_ne_bytes());
        send(diag.socket.as_fd(), &request, SendFlags::empty()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(listening(&diag, listener.local_addr().unwrap().port()).len(), 1);
    }

    #[test]
    fn broken_answers_are_refused() {
        let mut none = |_: &[u8]| panic!("there is no message");
        assert!(answers(&header(100, BY_FAMILY, 0, 7), 7, &mut none).is_err());
        assert!(answers(&header(3, BY_FAMILY, 0, 7), 7, &mut none).is_err());
        assert!(answers(&header(16, libc::NLMSG_DONE as u16, 0, 7), 7, &mut none).unwrap());
        let mut error = header(20, libc::NLMSG_ERROR as u16, 0, 7);
        error.extend((-libc::ENOENT).to_ne_bytes());
        assert_eq!(
            answers(&error, 7, &mut none).unwrap_err().raw_os_error(),
            Some(libc::ENOENT)
        );
        assert_eq!(attribute(&[3, 0, 7, 0], 7), None);
        assert_eq!(parse_inet(&[0; INET - 1]), None);
    }
}
