//! The servers of the servers' table that no package brings whole.

use super::{node, ok, packages, python};
use crate::{command, paths};
use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where everything is.
#[derive(Debug)]
pub struct ServerTools {
    /// The sources: `servers` in the workspace.
    pub sources: PathBuf,
    /// The programs of a Python environment with the Python servers.
    pub python_programs: PathBuf,
    /// Debian's php-fpm.
    pub php_fpm: PathBuf,
    /// The Express server with its packages.
    pub express: PathBuf,
    /// The Go server.
    pub go: PathBuf,
    /// The Rust servers.
    pub rust_programs: PathBuf,
}

/// Installs and builds what is missing.
pub fn ensure() -> Result<ServerTools> {
    let sources = paths::root()?.join("servers");
    let target = paths::target()?.join("servers");
    let python = python::ensure_environment("the servers", "servers/requirements.txt", "servers/venv")?;
    let express = target.join("express");
    node::ensure_packages("the Express server", &sources.join("express"), &express)?;
    let go = target.join("contract-go");
    build_go(&sources.join("go"), &target, &go)?;
    build_rust(&sources, &target.join("rust"))?;
    Ok(ServerTools {
        python_programs: python.parent().context("a python without a directory")?.to_owned(),
        php_fpm: packages::php_fpm().context("php-fpm is gone")?,
        rust_programs: target.join("rust/release"),
        sources,
        express,
        go,
    })
}

/// Builds the Go server from the standard library alone.
fn build_go(sources: &Path, target: &Path, program: &Path) -> Result<()> {
    let mut go = Command::new("go");
    go.args(["build", "-o"])
        .arg(program)
        .arg(".")
        .current_dir(sources)
        .env("GOCACHE", target.join("go-cache"))
        .env("GOPROXY", "off")
        .env("GOTOOLCHAIN", "local")
        .env("GOFLAGS", "-buildvcs=false");
    command::run(&mut go)?;
    ok("the Go server");
    Ok(())
}

fn build_rust(sources: &Path, target: &Path) -> Result<()> {
    let mut cargo = command::cargo(["build", "--quiet", "--release", "--locked"])?;
    cargo.current_dir(sources).env("CARGO_TARGET_DIR", target);
    command::run(&mut cargo)?;
    ok("the Rust servers");
    Ok(())
}
