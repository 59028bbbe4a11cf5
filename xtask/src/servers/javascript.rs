//! Servers on Node.

use super::version;
use super::watched::{Watched, launch};
use crate::setup::ServerTools;
use anyhow::Result;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use testkit::{Server, TempDir, free_port};

const NODE_SERVICE: &str = "node/node-http/server.js";

fn command(directory: &Path, host: &str, port: u16) -> Command {
    let mut command = Command::new("node");
    command
        .arg("server.js")
        .current_dir(directory)
        .env("HOST", host)
        .env("PORT", port.to_string());
    command
}

fn node_version() -> Result<String> {
    version::of("Node", Command::new("node").arg("--version"), "")
}

fn node_at(tools: &ServerTools, title: &str, host: &str, reached_at: IpAddr) -> Result<Watched> {
    let port = free_port()?;
    let command = command(&tools.sources.join("node-http"), host, port);
    let mut server = Server::start(command, TempDir::new()?, port)?;
    server.set_address(SocketAddr::from((reached_at, port)));
    server.wait_ready()?;
    Ok(Watched::application(server, title, node_version()?, NODE_SERVICE))
}

pub fn node(tools: &ServerTools) -> Result<Watched> {
    node_at(tools, "Node http", "127.0.0.1", [127, 0, 0, 1].into())
}

pub fn node_on_ipv6(tools: &ServerTools) -> Result<Watched> {
    node_at(tools, "IPv6 (Node)", "::1", Ipv6Addr::LOCALHOST.into())
}

/// An IPv6 socket whose clients come over IPv4, as with servers that listen on `::`.
pub fn node_on_mapped_ipv4(tools: &ServerTools) -> Result<Watched> {
    let title = "IPv4 to an IPv6 socket (Node)";
    node_at(tools, title, "::ffff:127.0.0.1", [127, 0, 0, 1].into())
}

pub fn express(tools: &ServerTools) -> Result<Watched> {
    let port = free_port()?;
    let server = launch(command(&tools.express, "127.0.0.1", port), port)?;
    let mut ask = Command::new("node");
    ask.args(["--print", "require('express/package.json').version"])
        .current_dir(&tools.express);
    let version = version::of("Express", &mut ask, "")?;
    Ok(Watched::application(
        server,
        "Express",
        version,
        "node/express/server.js",
    ))
}
