//! The JDK's own HTTP server.

use super::version;
use super::watched::{Watched, launch};
use crate::setup::ServerTools;
use anyhow::Result;
use std::process::Command;
use testkit::free_port;

pub fn start(tools: &ServerTools) -> Result<Watched> {
    let port = free_port()?;
    let mut command = Command::new("java");
    command
        .args(["-Dsun.net.httpserver.nodelay=true", "Server.java", &port.to_string()])
        .current_dir(tools.sources.join("java"));
    let server = launch(command, port)?;
    let version = version::of("OpenJDK", Command::new("java").arg("--version"), "openjdk")?;
    Ok(Watched::application(
        server,
        "JDK HttpServer",
        version,
        "java/Server.java",
    ))
}
