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
    /// It sees a Unix socket's requests or it does not: either none is counted, or every one.
    UnixSocket,
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
    /// The port that its requests come in on; 0 for a Unix socket.
    pub port: u16,
    pub view: View,
}

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

// === impl Watched ===

impl Watched {
    /// A server that answers the whole contract, and that Vigie sees.
    pub fn application(server: Server, title: &str, version: String, service: &'static str) -> Self {
        let side = Side {
            title: title.to_owned(),
            version,
            service,
            port: server.port(),
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
