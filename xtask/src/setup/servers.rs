//! The servers of the servers' table that no package brings whole.

use super::{installing, ok, packages, python};
use crate::{command, paths};
use anyhow::{Context as _, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What belongs to the Express server. It is copied, so that its packages are not installed into the source tree.
const EXPRESS: [&str; 3] = ["package.json", "package-lock.json", "server.js"];

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
    ensure_express(&sources.join("express"), &express)?;
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

/// Installs the packages of the Express server, anew whenever one of its files has changed.
fn ensure_express(sources: &Path, installed: &Path) -> Result<()> {
    let same = |name: &str| {
        let (new, old) = (fs::read(sources.join(name)), fs::read(installed.join(name)));
        new.is_ok_and(|new| old.is_ok_and(|old| old == new))
    };
    // npm writes it last.
    let complete = installed.join("node_modules/.package-lock.json");
    if complete.exists() && EXPRESS.into_iter().all(same) {
        ok("packages of the Express server");
        return Ok(());
    }
    installing("packages of the Express server (npm)");
    fs::create_dir_all(installed).context("cannot make a directory for the Express server")?;
    // The copies are new already while the packages are old: if npm fails, they must not count as done.
    if complete.exists() {
        fs::remove_file(&complete).context("cannot remove the mark of the Express server's packages")?;
    }
    for name in EXPRESS {
        fs::copy(sources.join(name), installed.join(name)).with_context(|| format!("cannot copy {name}"))?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--omit=dev", "--no-audit", "--no-fund"]);
    command::run(npm.current_dir(installed))
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
