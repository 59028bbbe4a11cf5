//! A real Alertmanager, that alerts are given to.

use crate::http::Request;
use crate::process::{Server, free_port};
use crate::temp_dir::TempDir;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// A running Alertmanager. Stopped on drop, its data with it.
#[derive(Debug)]
pub struct Alertmanager {
    /// Its process and its address.
    pub server: Server,
}

// === impl Alertmanager ===

impl Alertmanager {
    /// Starts the program with a configuration (`alertmanager.yml`), and waits until it is ready.
    ///
    /// Paths in the configuration are relative to `dir`: templates may lie there. It talks to no other Alertmanager.
    pub fn start(program: &Path, dir: TempDir, config: &str) -> Result<Self> {
        let port = free_port()?;
        let file = dir.write("alertmanager.yml", config.as_bytes())?;
        let mut command = command(program)?;
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--cluster.listen-address=");
        let server = Server::start(command, dir, port)?;
        server.wait_for(READY_TIMEOUT, || {
            let response = server.connect().ok()?.send(&Request::get("/-/ready")).ok()?;
            (response.status == 200).then_some(())
        })?;
        Ok(Self { server })
    }

    /// Gives it alerts, as Prometheus does: a list of objects with `labels`, `annotations`, `startsAt`, `endsAt`.
    ///
    /// # Errors
    ///
    /// If it does not take them.
    pub fn post(&self, alerts: &Value) -> Result<()> {
        let request = Request::post("/api/v2/alerts", alerts.to_string()).header("content-type", "application/json");
        let response = self.server.connect()?.send(&request)?;
        ensure!(
            response.status == 200,
            "Alertmanager refuses alerts ({}): {}",
            response.status,
            String::from_utf8_lossy(&response.body)
        );
        Ok(())
    }
}

/// Debian's Alertmanager reads templates of its own from there. A program that was unpacked and not installed has them beside itself.
const TEMPLATES: &str = "prometheus/alertmanager/default.tmpl";
const SHARE: &str = "/usr/share";

/// The program, in a mount namespace of its own in which its templates are where it looks for them: nothing of the host changes.
fn command(program: &Path) -> Result<Command> {
    let program = program
        .canonicalize()
        .with_context(|| format!("no {}", program.display()))?;
    let share = program.ancestors().nth(2).map(|directory| directory.join("share"));
    match share {
        Some(share) if share.join(TEMPLATES).exists() && !Path::new(SHARE).join(TEMPLATES).exists() => {
            let mut command = Command::new("unshare");
            let script = format!("mount -t overlay overlay -o lowerdir=\"$0\":{SHARE} {SHARE} && exec \"$@\"");
            command.args(["--mount", "sh", "-c", &script]).arg(share).arg(program);
            Ok(command)
        }
        _ => Ok(Command::new(program)),
    }
}
