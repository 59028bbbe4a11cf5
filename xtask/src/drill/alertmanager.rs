//! A real Alertmanager.

use crate::setup::Monitoring;
use anyhow::Result;
use std::time::Duration;
use testkit::{Request, Server, TempDir, free_port};

const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// Starts it with the configuration `alertmanager.yml` in `dir`, which the server keeps, and waits until it is ready.
pub fn start(monitoring: &Monitoring, dir: TempDir) -> Result<Server> {
    let port = free_port()?;
    let mut command = monitoring.with_templates(&monitoring.alertmanager());
    command
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
