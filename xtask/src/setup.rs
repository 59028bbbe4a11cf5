//! `cargo xtask setup`: installs what is missing, and says what it does.

mod monitoring;
mod moved;
mod node;
mod packages;
mod profiles;
mod python;
mod rust;
mod servers;

use anyhow::Result;
pub use monitoring::Monitoring;
pub use profiles::ProfileTools;
pub use servers::ServerTools;
use std::path::PathBuf;

/// What setup found or made, for the other commands.
#[derive(Debug)]
pub struct Tools {
    /// The Python of an environment that has the demo store's requirements.
    pub python: PathBuf,
}

/// Installs what is missing for building, the tests of the exporter and the demo. Takes a second when nothing is.
pub fn ensure() -> Result<Tools> {
    ensure_build()?;
    packages::ensure(&packages::BASE)?;
    let python = python::ensure_environment("the demo store", "demo/requirements.txt", "demo-venv")?;
    Ok(Tools { python })
}

/// Installs what is missing for building alone.
pub fn ensure_build() -> Result<()> {
    packages::ensure(&packages::BUILD)?;
    rust::ensure_components()?;
    rust::ensure_bpf_linker()?;
    moved::ensure()
}

/// Installs what is missing for running other kernels, which are x86-64 ones.
pub fn ensure_vm() -> Result<()> {
    packages::ensure(&packages::VM)
}

/// Fetches what is missing of Prometheus and Alertmanager: those that people have, and the newest.
pub fn ensure_monitoring() -> Result<[Monitoring; 2]> {
    Ok([ensure_stable_monitoring()?, ensure_moving_monitoring()?])
}

/// Those of Debian bookworm.
pub fn ensure_stable_monitoring() -> Result<Monitoring> {
    monitoring::ensure(monitoring::STABLE)
}

/// Those of Debian sid, which change.
pub fn ensure_moving_monitoring() -> Result<Monitoring> {
    monitoring::ensure(monitoring::MOVING)
}

/// Installs what is missing of the libraries that the metric profiles are compared with.
pub fn ensure_profiles() -> Result<ProfileTools> {
    packages::ensure(&packages::PROFILES)?;
    profiles::ensure()
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
