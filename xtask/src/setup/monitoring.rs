//! Prometheus and Alertmanager with their tools, from Debian: the release that people have, and the newest.
//!
//! They are unpacked into the user's cache directory: installed as packages they would start services.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{installing, ok};
use crate::command;
use crate::debian::{self, Apt};

/// The release that people have. Its programs do not change.
pub const STABLE: &str = "bookworm";
/// Where Debian puts what is new: what is there today may not be there tomorrow.
pub const MOVING: &str = "sid";
/// What is unpacked. Newer suites have `promtool` in a package of its own.
const PACKAGES: [&str; 2] = ["prometheus", "prometheus-alertmanager"];

/// The programs of one Debian release.
#[derive(Clone, Debug)]
pub struct Monitoring {
    /// Debian's name of the release.
    pub suite: &'static str,
    /// The directory of `prometheus`, `promtool`, `prometheus-alertmanager` and `amtool`.
    programs: PathBuf,
}

// === impl Monitoring ===

impl Monitoring {
    /// The Prometheus server.
    pub fn prometheus(&self) -> PathBuf {
        self.programs.join("prometheus")
    }

    /// Its tool that checks and tests rules.
    pub fn promtool(&self) -> PathBuf {
        self.programs.join("promtool")
    }

    /// The Alertmanager.
    pub fn alertmanager(&self) -> PathBuf {
        self.programs.join("prometheus-alertmanager")
    }

    /// Its tool that checks configurations and routes.
    pub fn amtool(&self) -> PathBuf {
        self.programs.join("amtool")
    }
}

/// Fetches what is not there of a suite's programs.
pub fn ensure(suite: &'static str) -> Result<Monitoring> {
    let place = debian::cache()?.join("monitoring").join(suite);
    let what = format!("prometheus and alertmanager of Debian {suite}");
    if !place.exists() {
        installing(&format!("{what} (unpacked from its packages)"));
        fetch(&Apt::new()?, suite, &place).with_context(|| format!("cannot fetch {what}"))?;
    }
    ok(&what);
    Ok(Monitoring {
        suite,
        programs: place.join("usr/bin"),
    })
}

fn fetch(apt: &Apt, suite: &str, place: &Path) -> Result<()> {
    // Named after this process: another one may do the same now.
    let work = place.with_extension(std::process::id().to_string());
    let result = (|| {
        for package in PACKAGES {
            apt.unpack(&format!("{package}/{suite}"), &work)?;
        }
        let programs = work.join("usr/bin");
        if !programs.join("promtool").exists() {
            apt.unpack(&format!("promtool/{suite}"), &work)?;
        }
        for program in ["prometheus", "promtool", "prometheus-alertmanager", "amtool"] {
            let mut version = Command::new(programs.join(program));
            command::output(version.arg("--version")).with_context(|| format!("{program} does not run here"))?;
        }
        match fs::rename(&work, place) {
            // Another process was faster.
            Err(_) if place.exists() => Ok(()),
            renamed => renamed.context("cannot keep it"),
        }
    })();
    // What is left of it is of no use; the error to show is the first one.
    let _ = fs::remove_dir_all(&work);
    result
}
