//! Servers that run, and what Vigie must say about them.

use super::client::Mix;
use anyhow::Result;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;
use testkit::{Server, TempDir};

/// For what is not waited for by connecting.
pub const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// How Vigie sees one of the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// It counts every request.
    Counted,
    /// It cannot read what the server's system calls move: it counts no request, and says that it lost some.
    Unreadable,
}

/// One server of a row, and how it must be seen.
#[derive(Clone, Debug)]
pub struct Side {
    /// What the table calls it.
    pub title: String,
    /// Its own name and version.
    pub version: String,
    /// What Vigie must call it.
    pub service: &'static str,
    /// The label of the port that its requests come in on; [`UNIX`] for a Unix socket.
    pub port: String,
    pub view: View,
}

/// What Vigie gives Unix sockets for a port: all of them.
pub const UNIX: &str = "unix";

/// A row's servers. They end when this is dropped, the first one first.
#[derive(Debug)]
pub struct Watched {
    pub servers: Vec<Server>,
    /// What the clients connect to.
    pub address: SocketAddr,
    /// The first one is what the clients talk to: its durations are theirs.
    pub sides: Vec<Side>,
    pub mix: Mix,
    /// Whether the clients have to be in the network namespace of the first server.
    pub is_in_namespace: bool,
}

// === impl Side ===

impl Side {
    /// What its requests are looked for under. A port is one server's; Unix sockets of others on this host are told apart by the
    /// service.
    pub fn labels(&self) -> Vec<(&str, &str)> {
        let service = self.is_on_unix_socket().then_some(("service", self.service));
        [("port", self.port.as_str())].into_iter().chain(service).collect()
    }

    pub fn is_on_unix_socket(&self) -> bool {
        self.port == UNIX
    }
}

// === impl Watched ===

impl Watched {
    /// A server that answers the whole contract, and that Vigie sees.
    pub fn application(server: Server, title: &str, version: String, service: &'static str) -> Self {
        let side = Side {
            title: title.to_owned(),
            version,
            service,
            port: server.port().to_string(),
            view: View::Counted,
        };
        Self {
            address: server.address(),
            servers: vec![server],
            sides: vec![side],
            mix: Mix::Application,
            is_in_namespace: false,
        }
    }

    /// The same with another server behind it.
    pub fn before(mut self, server: Server, side: Side) -> Self {
        self.servers.push(server);
        self.sides.push(side);
        self
    }
}

/// Starts a server, and waits until it accepts connections.
pub fn launch(command: Command, port: u16) -> Result<Server> {
    launch_in(TempDir::new()?, command, port)
}

/// The same with a directory that it needs.
pub fn launch_in(dir: TempDir, command: Command, port: u16) -> Result<Server> {
    let server = Server::start(command, dir, port)?;
    server.wait_ready()?;
    Ok(server)
}
