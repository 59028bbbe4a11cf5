//! `cargo xtask rules`: the rules for Prometheus and the configuration of Alertmanager do what they say.
//!
//! `promtool` checks and tests the rules, a check of our own looks that no alert is without a test, a runbook or an annotation,
//! `amtool` checks the configuration and who gets what, a real Alertmanager delivers alerts, and a real Prometheus evaluates the
//! rules on what a real Vigie says. All of it with the programs of each
//! Debian release that setup has fetched.

mod coverage;
mod delivery;
mod expression;
mod files;
mod live;
mod routes;
mod runbooks;

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{command, paths, setup::Monitoring};

/// Runs all checks, until the first that fails.
#[expect(clippy::print_stdout, reason = "these lines are what the command shows")]
pub fn run(releases: &[Monitoring]) -> Result<()> {
    let files = files::Files::find(&paths::root()?)?;
    let alerts = coverage::check(&files)?;
    println!("{alerts} alerts have annotations, a runbook, and a test that they fire, not a step before, and resolve");
    let vigie = command::build(&["vigie"])?.join("vigie");
    for release in releases {
        promtool(release, &files).with_context(|| format!("promtool of Debian {}", release.suite))?;
        routes::check(&release.amtool(), &files).with_context(|| format!("amtool of Debian {}", release.suite))?;
        delivery::check(&release.alertmanager(), &files)
            .with_context(|| format!("Alertmanager of Debian {}", release.suite))?;
        live::check(&release.prometheus(), &vigie, &files)
            .with_context(|| format!("Prometheus of Debian {}", release.suite))?;
        println!("Debian {}: rules, routes and delivery are right", release.suite);
    }
    Ok(())
}

fn promtool(release: &Monitoring, files: &files::Files) -> Result<()> {
    let mut check = Command::new(release.promtool());
    command::run(check.args(["check", "rules"]).args(&files.rules))?;
    let mut test = Command::new(release.promtool());
    command::run(test.args(["test", "rules"]).args(&files.tests))?;
    runbooks::check(&release.promtool(), files)
}
