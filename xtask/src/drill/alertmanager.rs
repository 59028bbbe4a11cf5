//! A real Alertmanager.
//!
//! Debian's looks for its own templates in `/usr/share/prometheus`, where its package would have put them. Here it is unpacked elsewhere, so
//! it gets a mount namespace of its own, in which they are there, too.

use anyhow::{Context as _, Result};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use testkit::{Request, Server, TempDir, free_port};

const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// Lays a directory over `/usr/share`, and becomes the program.
const SCRIPT: &str = r#"mount -t overlay overlay -o "lowerdir=$0:/usr/share" /usr/share && exec "$@""#;

/// Starts it with the configuration `alertmanager.yml` in `dir`, which the server keeps, and waits until it is ready.
pub fn start(program: &Path, dir: TempDir) -> Result<Server> {
    let port = free_port()?;
    // Of `usr/bin/prometheus-alertmanager`.
    let share = program
        .parent()
        .and_then(Path::parent)
        .context("the program has no place")?;
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT])
        .arg(share.join("share"))
        .arg(program)
        .arg(format!(
            "--config.file={}",
            dir.path().join("alertmanager.yml").display()
        ))
        .arg(format!("--storage.path={}", dir.path().join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        // It is alone.
        .arg("--cluster.listen-address=");
    let server = Server::start(command, dir, port)?;
    server.wait_for(READY_TIMEOUT, || {
        let answer = server.connect().ok()?.send(&Request::get("/-/ready")).ok()?;
        (answer.status == 200).then_some(())
    })?;
    Ok(server)
}
