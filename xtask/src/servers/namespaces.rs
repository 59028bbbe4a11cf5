//! A server in network, process and mount namespaces of its own, as in a container.

use super::python;
use super::watched::{READY_TIMEOUT, Watched};
use crate::setup::ServerTools;
use anyhow::{Context as _, Result};
use std::process::Command;
use testkit::namespace::{in_network_of, network, own_network};
use testkit::{Server, TempDir};

/// Nobody else is in the namespace: any port is free.
const PORT: u16 = 8000;
/// A new network namespace has a loopback interface that is down.
const SCRIPT: &str = "ip link set lo up && exec \"$0\" \"$@\"";

pub fn gunicorn(tools: &ServerTools) -> Result<Watched> {
    let inner = python::gunicorn(tools, &format!("127.0.0.1:{PORT}"), &["--workers", "2"]);
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("unshare");
    command
        .args(["--net", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["sh", "-c", SCRIPT])
        .arg(inner.get_program())
        .args(inner.get_args())
        .env("PATH", format!("{path}:/usr/sbin"));
    if let Some(directory) = inner.get_current_dir() {
        command.current_dir(directory);
    }
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let server = Server::start(command, TempDir::new()?, PORT)?;

    let own = own_network().context("cannot read the network namespace")?;
    let entered = || network(server.pid()).filter(|namespace| *namespace != own);
    server.wait_for(READY_TIMEOUT, entered)?;
    in_network_of(server.pid(), || server.wait_ready())?;

    let (title, version) = ("own namespaces (gunicorn)", python::gunicorn_version(tools)?);
    Ok(Watched {
        is_in_namespace: true,
        ..Watched::application(server, title, version, python::GUNICORN_SERVICE)
    })
}
