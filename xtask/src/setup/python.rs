//! Python environments: one for the demo store, one for the servers' table.

use super::{installing, ok};
use crate::{command, paths};
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Fails in a Python that cannot make environments, or is older than what the store's requirements want.
const CHECK: &str = "import sys, venv, ensurepip; assert sys.version_info >= (3, 10), 'older than 3.10'";

/// The `python3` to make the environment with: the one in `PATH`, or else the system's.
pub fn interpreter() -> Result<PathBuf> {
    let mut candidates: Vec<PathBuf> = paths::find_program("python3").into_iter().collect();
    candidates.push("/usr/bin/python3".into());
    let check = |python: &PathBuf| command::output(Command::new(python).args(["-c", CHECK])).is_ok();
    match candidates.into_iter().find(check) {
        Some(python) => Ok(python),
        None => bail!("there is no python3 of version 3.10 or newer with the module venv"),
    }
}

/// Makes an environment in the target directory, anew whenever its requirements have changed, and gives its Python.
pub fn ensure_environment(whose: &str, requirements: &str, environment: &str) -> Result<PathBuf> {
    let file = paths::root()?.join(requirements);
    let requirements = fs::read(&file).with_context(|| format!("cannot read {requirements}"))?;
    let environment = paths::target()?.join(environment);
    let python = environment.join("bin/python");
    // Written last: an environment without it is not complete.
    let stamp = environment.join("requirements.stamp");

    if python.exists() && fs::read(&stamp).is_ok_and(|done| done == requirements) {
        ok(&format!("python environment for {whose}"));
        return Ok(python);
    }
    installing(&format!("python environment for {whose} (pip)"));
    command::run(
        Command::new(interpreter()?)
            .args(["-m", "venv", "--clear"])
            .arg(&environment),
    )?;
    let mut pip = Command::new(&python);
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
        "--requirement",
    ]);
    command::run(pip.arg(&file))?;
    fs::write(&stamp, &requirements).context("cannot write the environment's stamp")?;
    Ok(python)
}
