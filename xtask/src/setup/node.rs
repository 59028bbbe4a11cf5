//! Node applications with packages from npm.

use super::{installing, ok};
use crate::command;
use anyhow::{Context as _, Result};
use std::fs;
use std::path::Path;
use std::process::Command;

/// What belongs to such an application. It is copied, so that its packages are not installed into the source tree.
const FILES: [&str; 3] = ["package.json", "package-lock.json", "server.js"];

/// Installs the packages of an application, anew whenever one of its files has changed.
pub fn ensure_packages(whose: &str, sources: &Path, installed: &Path) -> Result<()> {
    let same = |name: &str| {
        let (new, old) = (fs::read(sources.join(name)), fs::read(installed.join(name)));
        new.is_ok_and(|new| old.is_ok_and(|old| old == new))
    };
    // npm writes it last.
    let complete = installed.join("node_modules/.package-lock.json");
    if complete.exists() && FILES.into_iter().all(same) {
        ok(&format!("packages of {whose}"));
        return Ok(());
    }
    installing(&format!("packages of {whose} (npm)"));
    fs::create_dir_all(installed).with_context(|| format!("cannot make a directory for {whose}"))?;
    // The copies are new already while the packages are old: if npm fails, they must not count as done.
    if complete.exists() {
        fs::remove_file(&complete).with_context(|| format!("cannot remove the mark of the packages of {whose}"))?;
    }
    for name in FILES {
        fs::copy(sources.join(name), installed.join(name)).with_context(|| format!("cannot copy {name}"))?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--omit=dev", "--no-audit", "--no-fund"]);
    command::run(npm.current_dir(installed))
}
