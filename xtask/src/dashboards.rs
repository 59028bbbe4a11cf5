//! `cargo xtask dashboards`: Grafana's dashboards, from one source.
//!
//! `boards/` says what is on each of them. Written to `dashboards/grafana/`, they are committed, so that nobody needs this to use
//! them. Without `--write` nothing is written: what is committed must be what the source says, must keep the rules of `lint`,
//! and each query must give data in a Prometheus that scraped a Vigie at work.

#![expect(clippy::print_stdout, reason = "these lines are what the command shows")]

mod boards;
mod grafana;
mod layout;
mod lint;
mod live;
mod model;
mod panels;
mod promql;

use crate::paths;
use crate::setup::{self, Monitoring, Tools};
use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct Options {
    /// Write the dashboards to dashboards/grafana/, and check nothing else
    #[arg(long)]
    write: bool,
    /// Only what needs no servers: that the files are up to date, and the rules
    #[arg(long, conflicts_with = "write")]
    lint: bool,
}

/// Writes the dashboards, or checks them.
pub fn run(options: &Options) -> Result<()> {
    if options.write {
        for (path, text) in &files()? {
            fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
            println!("wrote {}", path.display());
        }
        return Ok(());
    }
    check()?;
    if options.lint {
        return Ok(());
    }
    check_live(&setup::ensure()?, &setup::ensure_monitoring()?)
}

/// Checks that the files are up to date, and the rules.
pub fn check() -> Result<()> {
    let files = files()?;
    for (path, text) in &files {
        let committed = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        if committed != *text {
            bail!(
                "{} is not what its source says: run `cargo xtask dashboards --write`",
                path.display()
            );
        }
    }
    let dashboards = committed()?;
    let mut problems: Vec<String> = dashboards.iter().flat_map(lint::problems).collect();
    problems.extend(lint::problems_together(&dashboards));
    if !problems.is_empty() {
        bail!("against the rules:\n  {}", problems.join("\n  "));
    }
    println!(
        "{} dashboards are up to date and keep {} rules, but for:",
        dashboards.len(),
        lint::rules().len()
    );
    for exception in lint::EXCEPTIONS {
        println!("  {} in {}: {}", exception.rule, exception.uid, exception.reason);
    }
    Ok(())
}

/// Checks each query with the data of these Prometheus servers.
pub fn check_live(tools: &Tools, monitoring: &[Monitoring]) -> Result<()> {
    live::run(tools, monitoring, &committed()?)
}

/// The files that are written: a dashboard each, and what the original linter has to know.
fn files() -> Result<Vec<(PathBuf, String)>> {
    let dir = dir()?;
    let mut files = vec![(dir.join(".lint"), lint::exceptions_file())];
    for dashboard in boards::all() {
        let text = serde_json::to_string_pretty(&grafana::dashboard(&dashboard))?;
        files.push((dir.join(format!("{}.json", dashboard.uid)), text + "\n"));
    }
    Ok(files)
}

/// All dashboards as they are committed, whoever put them there.
fn committed() -> Result<Vec<Value>> {
    let dir = dir()?;
    let mut paths: Vec<PathBuf> = fs::read_dir(&dir)
        .with_context(|| format!("cannot read {}", dir.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path)?;
        serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))
    };
    paths.into_iter().map(read).collect()
}

fn dir() -> Result<PathBuf> {
    Ok(paths::root()?.join("dashboards/grafana"))
}
