//! Servers for Rack applications.

use super::version;
use super::watched::{Watched, launch};
use crate::setup::ServerTools;
use anyhow::Result;
use std::process::Command;
use testkit::free_port;

pub fn puma(tools: &ServerTools) -> Result<Watched> {
    let port = free_port()?;
    let mut command = Command::new("puma");
    command
        .args(["--bind", &format!("tcp://127.0.0.1:{port}")])
        .current_dir(tools.sources.join("ruby"));
    let server = launch(command, port)?;
    let version = version::of("puma", Command::new("puma").arg("--version"), "")?;
    Ok(Watched::application(server, "puma", version, "puma/ruby"))
}
