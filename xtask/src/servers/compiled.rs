//! Servers in Rust and in Go.

use super::version;
use super::watched::{View, Watched, launch};
use crate::setup::ServerTools;
use anyhow::Result;
use std::path::Path;
use std::process::Command;
use testkit::{Server, free_port};

fn server(program: &Path) -> Result<Server> {
    let port = free_port()?;
    let mut command = Command::new(program);
    command.env("ADDRESS", format!("127.0.0.1:{port}"));
    launch(command, port)
}

pub fn axum(tools: &ServerTools) -> Result<Watched> {
    let server = server(&tools.rust_programs.join("contract-axum"))?;
    let parts = ["axum", "hyper", "tokio"].map(|name| version::locked(&tools.sources, name));
    let version = parts.into_iter().collect::<Result<Vec<_>>>()?.join(", ");
    Ok(Watched::application(
        server,
        "axum, tokio threads",
        version,
        "contract-axum",
    ))
}

/// It reads and writes by `io_uring`.
pub fn monoio(tools: &ServerTools) -> Result<Watched> {
    let server = server(&tools.rust_programs.join("contract-monoio"))?;
    let version = version::locked(&tools.sources, "monoio")?;
    let mut watched = Watched::application(server, "monoio, io_uring", version, "contract-monoio");
    for side in &mut watched.sides {
        side.view = View::Unreadable;
    }
    Ok(watched)
}

pub fn go(tools: &ServerTools) -> Result<Watched> {
    let server = server(&tools.go)?;
    let version = version::of("Go", Command::new("go").arg("version"), "go version go")?;
    Ok(Watched::application(server, "Go net/http", version, "contract-go"))
}
