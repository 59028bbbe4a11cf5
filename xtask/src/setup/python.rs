//! Python environments: one for the demo store, one for the servers' table.

use super::{installing, ok};
use crate::{command, paths};
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Fails in a Python that cannot make environments, or is older than what the store's requirements want.
const CHECK: &str = "import sys, venv, ensurepip; assert sys.version_info >= (3, 10), 'older than 3.10'";

/// What an environment was made of, and where.
const STAMP: &str = "requirements.stamp";

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

/// Makes an environment in the target directory, anew whenever its requirements or its place have changed, and gives its Python.
pub fn ensure_environment(whose: &str, requirements: &str, environment: &str) -> Result<PathBuf> {
    let file = paths::root()?.join(requirements);
    let requirements = fs::read_to_string(&file).with_context(|| format!("cannot read {requirements}"))?;
    let environment = paths::target()?.join(environment);
    let python = environment.join("bin/python");
    if is_ready(&environment, &requirements) {
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
    // Written last: an environment without it is not complete.
    let text = stamp(&environment, &requirements);
    fs::write(environment.join(STAMP), text).context("cannot write the environment's stamp")?;
    Ok(python)
}

/// Whether an environment is complete, has these requirements, and was made where it is.
fn is_ready(environment: &Path, requirements: &str) -> bool {
    let found = fs::read_to_string(environment.join(STAMP));
    environment.join("bin/python").exists() && found.is_ok_and(|found| found == stamp(environment, requirements))
}

/// The programs of an environment begin with the path of its Python: one that was moved or copied runs that of the other place.
fn stamp(environment: &Path, requirements: &str) -> String {
    format!("# {}\n{requirements}", environment.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::TempDir;

    /// The programs of an environment hold its path.
    #[test]
    fn an_environment_that_was_moved_is_made_anew() {
        let directory = TempDir::new().unwrap();
        let (old, new) = (directory.path().join("old"), directory.path().join("new"));
        fs::create_dir_all(old.join("bin")).unwrap();
        fs::write(old.join("bin/python"), "").unwrap();
        assert!(!is_ready(&old, "fastapi\n"));
        fs::write(old.join(STAMP), stamp(&old, "fastapi\n")).unwrap();
        assert!(is_ready(&old, "fastapi\n"));
        assert!(!is_ready(&old, "flask\n"));
        fs::rename(&old, &new).unwrap();
        assert!(!is_ready(&new, "fastapi\n"));
    }
}
