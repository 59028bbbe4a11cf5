//! `cargo xtask setup`: installs what is missing, and says what it does.

mod packages;
mod python;
mod rust;
mod servers;

use anyhow::Result;
pub use servers::ServerTools;
use std::path::PathBuf;

/// What setup found or made, for the other commands.
#[derive(Debug)]
pub struct Tools {
    /// The Python of an environment that has the demo store's requirements.
    pub python: PathBuf,
}

/// Installs what is missing. Takes a second when nothing is.
pub fn ensure() -> Result<Tools> {
    packages::ensure(&packages::BASE)?;
    rust::ensure_components()?;
    rust::ensure_bpf_linker()?;
    let python = python::ensure_environment("the demo store", "demo/requirements.txt", "demo-venv")?;
    Ok(Tools { python })
}

/// Installs and builds what is missing of the servers of the servers' table. Takes a second when nothing is.
pub fn ensure_servers() -> Result<ServerTools> {
    packages::ensure(&packages::SERVERS)?;
    servers::ensure()
}

#[expect(clippy::print_stdout, reason = "these lines are what the command shows")]
fn say(state: &str, what: &str) {
    println!("{state:<12}{what}");
}

fn ok(what: &str) {
    say("ok", what);
}

fn installing(what: &str) {
    say("installing", what);
}
