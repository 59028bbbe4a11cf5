//! The store and the Vigie that watches it.

use crate::paths;
use anyhow::{Context as _, Result, ensure};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use testkit::{Server, TempDir, Vigie, uvicorn_store};

const DEFAULT_PORT: u16 = 10_190;
/// How many ports are tried.
const PORTS: u16 = 100;
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// As many as uvicorn has by default.
const WORKERS: usize = 1;

/// Both end when this is dropped.
#[derive(Debug)]
pub struct Servers {
    // Dropped in this order: Vigie first.
    pub vigie: Vigie,
    pub store: Server,
}

impl Servers {
    /// Starts the store, then Vigie on `port` or on a free one.
    pub fn start(python: &Path, vigie: &Path, port: Option<u16>) -> Result<Self> {
        let port = free_port(port)?;
        let demo = paths::root()?.join("demo");
        // The store comes first: the requests that say whether it is ready are not part of the comparison.
        let store = uvicorn_store(python, &demo, WORKERS).context("cannot start the store")?;
        let vigie = start_vigie(vigie, port).context("cannot start Vigie")?;
        Ok(Self { vigie, store })
    }

    /// Fails if one of them has ended, with the end of its log.
    pub fn check(&self) -> Result<()> {
        let check = |server: &Server| server.wait_for(Duration::ZERO, || Some(()));
        check(&self.store).context("the store has ended")?;
        check(&self.vigie.server).context("Vigie has ended")
    }
}

fn free_port(asked: Option<u16>) -> Result<u16> {
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    match asked {
        Some(port) => {
            ensure!(
                is_free(&port),
                "cannot listen on port {port}: is another program there?"
            );
            Ok(port)
        }
        None => (DEFAULT_PORT..DEFAULT_PORT + PORTS).find(is_free).with_context(|| {
            format!(
                "no port from {DEFAULT_PORT} to {} is free: give one with --port",
                DEFAULT_PORT + PORTS - 1
            )
        }),
    }
}

fn start_vigie(binary: &Path, port: u16) -> Result<Vigie> {
    let mut command = Command::new(binary);
    command.args(["serve", "--web.listen-address", &format!("127.0.0.1:{port}")]);
    let server = Server::start(command, TempDir::new()?, port)?;
    server.wait_for(READY_TIMEOUT, || {
        server.log().contains("listening on http://").then_some(())
    })?;
    Ok(Vigie { server })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_refused_or_passed_over() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = free_port(Some(port)).unwrap_err().to_string();
        assert!(error.contains(&format!("port {port}")), "{error}");
        let _default = TcpListener::bind((Ipv4Addr::LOCALHOST, DEFAULT_PORT));
        assert_ne!(free_port(None).unwrap(), DEFAULT_PORT);
    }
}
