//! The store and the Vigie that watches it.

use crate::{paths, port};
use anyhow::{Context as _, Result};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use testkit::{Server, TempDir, Vigie, uvicorn_store};

const DEFAULT_PORT: u16 = 10_190;
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
        let port = port::choose(port, DEFAULT_PORT)?;
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

fn start_vigie(binary: &Path, port: u16) -> Result<Vigie> {
    let mut command = Command::new(binary);
    command.args(["serve", "--web.listen-address", &format!("127.0.0.1:{port}")]);
    let server = Server::start(command, TempDir::new()?, port)?;
    server.wait_for(READY_TIMEOUT, || {
        server.log().contains("listening on http://").then_some(())
    })?;
    Ok(Vigie { server })
}
