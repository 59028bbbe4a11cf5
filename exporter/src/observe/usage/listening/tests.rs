use std::{
    io::Read as _,
    net::{SocketAddr, TcpListener, TcpStream},
    os::{
        fd::{AsRawFd as _, BorrowedFd},
        unix::process::CommandExt as _,
    },
};

use rustix::{
    io::{FdFlags, fcntl_setfd},
    thread::{UnshareFlags, unshare_unsafe},
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
        is_listening: true,
        backlog: 2,
        limit: 128,
        overflows: Some(0),
        open: Some(2),
    };
    assert_eq!(host.look(true)[&port], expected);
    drop(listener);
    let expected = PortUsage {
        overflows: Some(0),
        open: Some(0),
        ..PortUsage::default()
    };
    assert_eq!(host.look(true)[&port], expected);
}

/// Two addresses of a port, one of which is closed: somebody misses it.
#[test]
fn one_of_two_addresses_is_closed() {
    let mut host = Host::new();
    let one = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = one.local_addr().unwrap().port();
    let other = TcpListener::bind(("127.0.0.2", port)).unwrap();
    host.answer(port);
    assert!(host.look(true)[&port].is_listening);
    drop(other);
    assert!(!host.look(true)[&port].is_listening);
}

/// A socket that a child has inherited from its dead parent: nobody accepts.
#[test]
fn listening_is_not_serving() {
    let mut host = Host::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    host.answer(port);
    assert!(host.look(true)[&port].is_listening);
    // The socket is there, and no process of the service.
    assert!(!host.look(false)[&port].is_listening);
    assert!(host.look(true)[&port].is_listening);
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
    assert!(shown[&after].is_listening);
}

/// Sockets that processes of two services hold: whose they are is found out, and forgotten when they are closed.
#[test]
fn owners_of_sockets_are_forgotten_with_them() {
    let mut host = Host::new();
    let own = std::process::id();
    for _ in 0..3 {
        let listeners: Vec<_> = (0..30).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let mut command = std::process::Command::new("sleep");
        command.arg("60");
        let sockets: Vec<_> = listeners.iter().map(|listener| listener.as_raw_fd()).collect();
        // SAFETY: between fork and exec: `fcntl` may be called there. The descriptors are open.
        unsafe {
            command.pre_exec(move || {
                for socket in &sockets {
                    fcntl_setfd(BorrowedFd::borrow_raw(*socket), FdFlags::empty())?;
                }
                Ok(())
            });
        }
        let mut child = command.spawn().unwrap();
        let heir = child.id();
        let info = ProcessInfo::read(heir).unwrap();
        let other = host.services.identify(&info, 0, |_| true);
        for listener in &listeners {
            let port = listener.local_addr().unwrap().port();
            host.answer(port);
            host.services.add_port(heir, port);
            host.services.note_answer(other, port);
        }
        let number = host.number;
        let mut look = |is_there: bool| {
            let service_of = move |process| match process {
                _ if process == own => number,
                _ if process == heir && is_there => other,
                _ => 0,
            };
            host.processes.collect(service_of, |_, _| ());
            let shown = host.listening.collect(&mut host.services, service_of, &host.processes);
            shown.iter().filter(|(_, port)| port.is_listening).count()
        };
        assert_eq!(look(true), 30);
        let known = host.listening.owners.len();
        child.kill().unwrap();
        child.wait().unwrap();
        drop(listeners);
        let look = |host: &mut Host| {
            let service_of = move |process| if process == own { number } else { 0 };
            host.processes.collect(service_of, |_, _| ());
            host.listening.collect(&mut host.services, service_of, &host.processes);
        };
        look(&mut host);
        assert_eq!((known, host.listening.owners.len()), (30, 0));
    }
}

/// Listeners in network namespaces of their own: one socket of Vigie's in each of these, while somebody listens there.
#[test]
fn sockets_in_namespaces_are_closed() {
    let mut host = Host::new();
    let kept = TcpListener::bind("127.0.0.1:0").unwrap();
    host.answer(kept.local_addr().unwrap().port());
    host.look(true);
    let before = host.listening.namespaces.len();
    let mut servers = Vec::new();
    for _ in 0..20 {
        let mut command = std::process::Command::new("python3");
        let code = "import socket; s = socket.create_server(('', 80)); print(flush=True); s.accept()";
        command
            .args(["-S", "-E", "-c", code])
            .stdout(std::process::Stdio::piped());
        // SAFETY: between fork and exec: `unshare` may be called there, and the process has one thread.
        unsafe {
            command.pre_exec(|| Ok(unshare_unsafe(UnshareFlags::NEWNET)?));
        }
        let mut server = command.spawn().unwrap();
        server.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        host.services.add_port(server.id(), 80);
        servers.push(server);
    }
    let info = ProcessInfo::read(servers[0].id()).unwrap();
    let other = host.services.identify(&info, 0, |_| true);
    host.services.note_answer(other, 80);
    let (own, number) = (std::process::id(), host.number);
    let mut look = |servers: &[std::process::Child]| {
        let ids: Vec<u32> = servers.iter().map(std::process::Child::id).collect();
        let service_of = move |process| match process {
            _ if process == own => number,
            _ if ids.contains(&process) => other,
            _ => 0,
        };
        host.processes.collect(&service_of, |_, _| ());
        host.listening.collect(&mut host.services, &service_of, &host.processes);
        host.listening.namespaces.len()
    };
    assert_eq!(look(&servers), before + 20);
    for mut server in servers.drain(..) {
        server.kill().unwrap();
        server.wait().unwrap();
    }
    // A place in a namespace is missed until another scrape has not found it.
    look(&servers);
    assert_eq!(look(&servers), before);
}

/// Thousands of ports that were listened on leave nothing behind.
#[test]
fn ports_that_are_gone_are_forgotten() {
    let mut host = Host::new();
    let kept = TcpListener::bind("127.0.0.1:0").unwrap();
    host.answer(kept.local_addr().unwrap().port());
    host.look(true);
    for _ in 0..20 {
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
