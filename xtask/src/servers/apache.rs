//! Apache httpd.

use super::client::Mix;
use super::watched::{Watched, launch_in};
use super::{nginx, version};
use crate::paths;
use crate::setup::ServerTools;
use anyhow::{Context as _, Result};
use std::process::Command;
use testkit::{TempDir, free_port};

pub fn start(tools: &ServerTools) -> Result<Watched> {
    let program = paths::find_server("apache2").context("apache2 is gone")?;
    let version = version::of("Apache httpd", Command::new(&program).arg("-v"), "Apache/")?;
    let (dir, port) = (TempDir::new()?, free_port()?);
    nginx::write_files(&dir)?;
    dir.write("www/status/200", b"fine\n")?;
    let mut command = Command::new(program);
    command
        .arg("-DFOREGROUND")
        .arg("-d")
        .arg(dir.path())
        .arg("-f")
        .arg(tools.sources.join("apache/httpd.conf"))
        .env("DIR", dir.path())
        .env("PORT", port.to_string());
    let server = launch_in(dir, command, port)?;
    Ok(Watched {
        mix: Mix::Files,
        ..Watched::application(server, "Apache, event", version, "apache2")
    })
}
