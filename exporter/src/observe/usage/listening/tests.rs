use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    os::{
        fd::{AsRawFd, BorrowedFd},
        unix::process::CommandExt as _,
    },
    process::{Child, Command},
};

use rustix::{
    io::{FdFlags, fcntl_setfd},
    net::sockopt,
};

use super::*;
use crate::{config::RETENTION, observe::process::ProcessInfo};

/// This process as a service that has answered on some ports.
struct Host {
    services: Services,
    processes: Processes,
    listening: Listening,
    number: u16,
}

// === impl Host ===

impl Host {
    fn new() -> Self {
        let own = std::process::id();
        let mut services = Services::new(Vec::new(), RETENTION, false);
        let number = services.identify(&ProcessInfo::read(own).unwrap(), 0, |_| true);
        Self {
            services,
            processes: Processes::start(),
            listening: Listening::new(),
            number,
        }
    }

    fn answer(&mut self, port: u16) {
        self.services.add_port(std::process::id(), port);
        self.services.note_answer(self.number, port);
    }

    /// What is shown while this process is one of the service, or not any more.
    fn look(&mut self, is_alive: bool) -> BTreeMap<u16, PortUsage> {
        let own = std::process::id();
        let number = self.number;
        let service_of = move |process| if is_alive && process == own { number } else { 0 };
        self.processes.collect(service_of, |_, _| ());
        let found = self.listening.collect(&mut self.services, service_of, &self.processes);
        found.into_iter().map(|((_, port), usage)| (port, usage)).collect()
    }
}

#[test]
fn a_port_is_listened_on_and_then_not() {
    let mut host = Host::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let _clients: Vec<_> = (0..2)
        .map(|_| TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).unwrap())
        .collect();
    host.services.add_port(std::process::id(), port);
    assert!(host.look(true).is_empty(), "it has answered nothing");
    host.answer(port);
    let expected = PortUsage {
        is_listening: Some(true),
        backlog: Some(2),
        limit: Some(128),
        overflows: Some(0),
        open: Some(2),
    };
    assert_eq!(host.look(true)[&port], expected);
    drop(listener);
    let expected = PortUsage {
        is_listening: Some(false),
        backlog: Some(0),
        limit: Some(0),
        overflows: Some(0),
        open: Some(0),
    };
    assert_eq!(host.look(true)[&port], expected);
}

/// Where the kernel does not answer, nothing is said of what cannot be known; and what was counted before is not counted again.
#[test]
fn what_cannot_be_known_has_no_value() {
    let mut host = Host::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let _clients: Vec<_> = (0..5)
        .map(|_| TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).unwrap())
        .collect();
    host.answer(port);
    let before = host.look(true)[&port];
    let answered = |host: &mut Host, diag: Option<Diag>| {
        let own = host.listening.own;
        host.listening.namespaces.get_mut(&own).unwrap().diag = diag;
        host.look(true)[&port]
    };
    assert_eq!(answered(&mut host, Some(Diag::silent())), PortUsage::default());
    // It has no answers for good: its file has some.
    let by_file = PortUsage {
        is_listening: Some(true),
        backlog: Some(5),
        ..PortUsage::default()
    };
    assert_eq!(answered(&mut host, None), by_file);
    assert_eq!(answered(&mut host, Some(Diag::here().unwrap())), before);
    drop(listener);
    assert_eq!(answered(&mut host, Some(Diag::silent())), PortUsage::default());
    let closed = answered(&mut host, Some(Diag::here().unwrap()));
    assert_eq!(closed.is_listening, Some(false));
    // What is known to be closed stays so.
    assert_eq!(answered(&mut host, Some(Diag::silent())).is_listening, Some(false));
}

/// Two addresses of a port, one of which is closed: somebody misses it.
#[test]
fn one_of_two_addresses_is_closed() {
    let mut host = Host::new();
    let one = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = one.local_addr().unwrap().port();
    let other = TcpListener::bind(("127.0.0.2", port)).unwrap();
    host.answer(port);
    assert_eq!(host.look(true)[&port].is_listening, Some(true));
    drop(other);
    assert_eq!(host.look(true)[&port].is_listening, Some(false));
}

/// A socket that a child has inherited from its dead parent: nobody accepts.
#[test]
fn listening_is_not_serving() {
    let mut host = Host::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    host.answer(port);
    assert_eq!(host.look(true)[&port].is_listening, Some(true));
    // The socket is there, and no process of the service.
    assert_eq!(host.look(false)[&port].is_listening, Some(false));
    assert_eq!(host.look(true)[&port].is_listening, Some(true));
}

/// A place that was listened on later takes the place of one that is closed.
#[test]
fn a_port_moves() {
    let mut host = Host::new();
    let old = TcpListener::bind("127.0.0.1:0").unwrap();
    let before = old.local_addr().unwrap().port();
    host.answer(before);
    host.look(true);
    host.listening.age(Duration::from_secs(60));
    let new = TcpListener::bind("127.0.0.1:0").unwrap();
    let after = new.local_addr().unwrap().port();
    host.answer(after);
    drop(old);
    let shown = host.look(true);
    assert_eq!(shown.keys().collect::<Vec<_>>(), [&after]);
    assert_eq!(shown[&after].is_listening, Some(true));
}

/// A child that inherits listeners keeps them open. Other tests of this process have sockets of their own: these alone are looked at.
#[test]
fn owners_of_sockets_are_forgotten_with_them() {
    for _ in 0..3 {
        let mut host = Host::new();
        let listeners: Vec<_> = (0..30).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let cookies: Vec<u64> = listeners
            .iter()
            .map(|listener| sockopt::socket_cookie(listener).unwrap())
            .collect();
        let ports: Vec<u16> = listeners
            .iter()
            .map(|listener| listener.local_addr().unwrap().port())
            .collect();
        let heir = Heir::start(&listeners);
        let (own, id, number) = (std::process::id(), heir.0.id(), host.number);
        let info = ProcessInfo::read(id).unwrap();
        let other = host.services.identify(&info, 0, |_| true);
        for port in &ports {
            host.answer(*port);
            host.services.add_port(id, *port);
            host.services.note_answer(other, *port);
        }
        let look = |host: &mut Host, is_heir_there: bool| {
            let service_of = move |process| match process {
                _ if process == own => number,
                _ if process == id && is_heir_there => other,
                _ => 0,
            };
            host.processes.collect(service_of, |_, _| ());
            let shown = host.listening.collect(&mut host.services, service_of, &host.processes);
            let shown = shown.iter().filter(|((_, port), _)| ports.contains(port));
            let owned = cookies
                .iter()
                .filter(|cookie| host.listening.owners.contains_key(cookie));
            (
                shown.filter(|(_, usage)| usage.is_listening == Some(true)).count(),
                owned.count(),
            )
        };
        assert_eq!(look(&mut host, true), (30, 30));
        drop((listeners, heir));
        // Another test may start a process between a socket's making and its end, which has it until it executes.
        let is_closed = (0..50).any(|_| {
            std::thread::sleep(Duration::from_millis(20));
            look(&mut host, false) == (0, 0)
        });
        assert!(is_closed, "{:?}", look(&mut host, false));
    }
}

/// A process that holds listeners of this one, until it is dropped.
struct Heir(Child);

// === impl Heir ===

impl Heir {
    fn start(listeners: &[TcpListener]) -> Self {
        let mut command = Command::new("sleep");
        command.arg("60");
        let sockets: Vec<_> = listeners.iter().map(AsRawFd::as_raw_fd).collect();
        // SAFETY: between fork and exec: `fcntl` may be called there. The descriptors are open.
        unsafe {
            command.pre_exec(move || {
                for socket in &sockets {
                    fcntl_setfd(BorrowedFd::borrow_raw(*socket), FdFlags::empty())?;
                }
                Ok(())
            });
        }
        Self(command.spawn().unwrap())
    }
}

impl Drop for Heir {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Thousands of ports that were listened on leave nothing behind.
#[test]
fn ports_that_are_gone_are_forgotten() {
    let mut host = Host::new();
    let kept = TcpListener::bind("127.0.0.1:0").unwrap();
    host.answer(kept.local_addr().unwrap().port());
    host.look(true);
    // More rounds for a child of another test, which has this process' sockets until it executes.
    for round in 0..60 {
        if round >= 20 && host.listening.ports.len() <= 3 {
            break;
        }
        let listeners: Vec<_> = (0..50).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        for listener in &listeners {
            host.services
                .add_port(std::process::id(), listener.local_addr().unwrap().port());
        }
        host.look(true);
        host.listening.age(Duration::from_secs(60));
        // Before the others are closed: the kernel might give it the port of one of them.
        let newer = TcpListener::bind("127.0.0.1:0").unwrap();
        host.services
            .add_port(std::process::id(), newer.local_addr().unwrap().port());
        drop(listeners);
        host.look(true);
    }
    assert!(host.listening.ports.len() <= 3, "{}", host.listening.ports.len());
    assert!(
        host.listening.candidates.len() <= 3,
        "{}",
        host.listening.candidates.len()
    );
    host.listening.forget(host.number);
    assert!(host.listening.ports.is_empty() && host.listening.candidates.is_empty());
}
