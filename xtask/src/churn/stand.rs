//! The store, Vigie, and a Prometheus with the rules.

use super::plan::Plan;
use crate::drill::shorten::shorten;
use crate::lab;
use crate::paths;
use crate::setup::{Monitoring, Tools};
use anyhow::{Context as _, Result};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use testkit::{Prometheus, Server, TempDir, Vigie, uvicorn_store, vigie};

/// The store's name in Vigie, by a rule.
pub const STORE: &str = "store";
/// The flag that says how long Vigie keeps what has ended. Older releases keep it for ever.
const RETENTION: &str = "--retention";
/// Keys of rule files, and the longest that their times may be in a short run. Prometheus begins to scrape up to 5 s after its
/// start: an alert that says so has to wait for longer.
const LONGEST: [(&str, u64); 3] = [("for", 10), ("keep_firing_for", 10), ("interval", 1)];
const READY: Duration = Duration::from_secs(60);

/// All of it. Everything ends when this is dropped.
#[derive(Debug)]
pub struct Stand {
    // Dropped in this order: who asks ends before who answers.
    pub prometheus: Prometheus,
    pub vigie: Vigie,
    pub store: Server,
    /// What was changed in the rules.
    pub changes: Vec<String>,
    _config: TempDir,
}

// === impl Stand ===

impl Stand {
    pub fn start(tools: &Tools, program: &Path, monitoring: &Monitoring, plan: &Plan) -> Result<Self> {
        // Vigie comes behind the requests that asked whether the store is ready: no client of the load sent them.
        let store = uvicorn_store(&tools.python, &paths::root()?.join("demo"), 1).context("cannot start the store")?;
        let config = TempDir::new()?;
        let text = format!("services:\n  - name: {STORE}\n    port: {}\n", store.port());
        let file = config.write("vigie.yml", text.as_bytes())?;
        let file = file.display().to_string();
        let mut arguments = vec!["--config.file", file.as_str()];
        let retention = format!("{}s", plan.retention.as_secs());
        if knows_retention(program)? {
            arguments.extend([RETENTION, retention.as_str()]);
        }
        let vigie = vigie(program, &arguments).context("cannot start Vigie")?;
        let (prometheus, changes) = start_prometheus(monitoring, vigie.server.port(), plan)?;
        let stand = Self {
            prometheus,
            vigie,
            store,
            changes,
            _config: config,
        };
        let has_scraped = || {
            let samples = stand.prometheus.query("vigie_build_info").ok()?;
            (!samples.is_empty()).then_some(())
        };
        stand
            .prometheus
            .server
            .wait_for(READY, has_scraped)
            .context("Prometheus does not scrape Vigie")?;
        Ok(stand)
    }

    /// Fails if something has ended, with the end of its log.
    pub fn check(&self) -> Result<()> {
        for (name, server) in [
            ("the store", &self.store),
            ("Vigie", &self.vigie.server),
            ("Prometheus", &self.prometheus.server),
        ] {
            server
                .wait_for(Duration::ZERO, || Some(()))
                .with_context(|| format!("{name} has ended"))?;
        }
        Ok(())
    }
}

fn knows_retention(program: &Path) -> Result<bool> {
    let help = crate::command::output(Command::new(program).args(["serve", "--help"]))?;
    Ok(help.contains(RETENTION))
}

fn start_prometheus(monitoring: &Monitoring, port: u16, plan: &Plan) -> Result<(Prometheus, Vec<String>)> {
    let dir = TempDir::new()?;
    let mut changes = Vec::new();
    for file in lab::rules()? {
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let name = file
            .file_name()
            .context("a file without a name")?
            .to_string_lossy()
            .into_owned();
        let text = match plan.real_rules {
            true => text,
            false => {
                let copy = shorten(&text, &LONGEST);
                changes.extend(copy.changes.iter().map(|change| format!("{name}: {change}")));
                copy.text
            }
        };
        dir.write(&format!("rules/{name}"), text.as_bytes())?;
    }
    let config = lab::files::prometheus(port, &format!("{}s", plan.interval), None)?;
    let prometheus =
        Prometheus::start(&monitoring.prometheus(), dir, &config, &[]).context("cannot start Prometheus")?;
    Ok((prometheus, changes))
}
