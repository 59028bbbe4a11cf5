//! PHP-FPM behind nginx: Vigie sees nginx's side. What lies between them is FastCGI, and not HTTP.

use super::watched::{READY_TIMEOUT, Watched};
use super::{nginx, version};
use crate::setup::ServerTools;
use anyhow::{Context as _, Result};
use std::fs;
use std::process::Command;
use testkit::{Server, TempDir};

pub fn start(tools: &ServerTools) -> Result<Watched> {
    let version = version::of("PHP", Command::new(&tools.php_fpm).arg("--version"), "PHP")?;
    let version = format!("{version}, {}", nginx::nginx_version()?);
    let sources = tools.sources.join("php");
    let template = fs::read_to_string(sources.join("fpm.conf")).context("cannot read php/fpm.conf")?;

    // The pool runs as www-data, which may not be able to read the source tree.
    let dir = TempDir::new()?;
    fs::copy(sources.join("index.php"), dir.path().join("index.php")).context("cannot copy php/index.php")?;
    let config = template.replace("{dir}", &dir.path().display().to_string());
    let config = dir.write("fpm.conf", config.as_bytes())?;
    let mut command = Command::new(&tools.php_fpm);
    command.arg("--nodaemonize").arg("--fpm-config").arg(config);
    let (socket, script) = (dir.path().join("php.sock"), dir.path().join("index.php"));
    let fpm = Server::start(command, dir, 0)?;
    fpm.wait_for(READY_TIMEOUT, || socket.exists().then_some(()))?;

    let (socket, script) = (socket.display().to_string(), script.display().to_string());
    let values = [("{socket}", &*socket), ("{script}", &*script)];
    let server = nginx::server(tools, "php.conf", TempDir::new()?, &values)?;
    let mut watched = Watched::application(server, "PHP-FPM behind nginx", version, nginx::SERVICE);
    watched.servers.push(fpm);
    Ok(watched)
}
