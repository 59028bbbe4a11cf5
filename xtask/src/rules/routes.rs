//! Who gets which alert, by Alertmanager's own tool.

use std::{path::Path, process::Command};

use anyhow::{Result, ensure};

use super::files::Files;
use crate::command;

/// Labels of alerts, and who gets them.
const ROUTES: [(&[&str], &str); 6] = [
    (&["severity=P1", "alertname=ServiceDown", "service=store"], "p1"),
    (&["severity=P1", "alertname=VigieDown", "instance=h:10190"], "p1"),
    (&["severity=P2", "alertname=ServiceErrors", "service=store"], "p2"),
    (&["severity=P3", "alertname=ServiceThrottled", "service=store"], "p3"),
    (
        &[
            "severity=P3",
            "alertname=SloBudgetBurn",
            "service=store",
            "sloth_severity=ticket",
        ],
        "p3",
    ),
    // One that somebody else's rules have made.
    (&["severity=critical", "alertname=Other"], "p3"),
];

/// Checks the configuration and its routes.
pub fn check(amtool: &Path, files: &Files) -> Result<()> {
    let config = files.alertmanager().join("alertmanager.yml");
    command::output(Command::new(amtool).arg("check-config").arg(&config))?;
    for (labels, expected) in ROUTES {
        let mut test = Command::new(amtool);
        test.args(["config", "routes", "test", "--config.file"])
            .arg(&config)
            .args(labels);
        let found = command::output(&mut test)?;
        ensure!(
            found == expected,
            "{} goes to '{found}', and not to {expected}",
            labels.join(" ")
        );
    }
    Ok(())
}
