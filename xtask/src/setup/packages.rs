//! The Debian packages.

use super::{installing, ok, python, say};
use crate::{command, paths};
use anyhow::{Result, bail, ensure};
use std::path::Path;
use std::process::Command;

const NGINX: &str = "/usr/sbin/nginx";
/// There while Debian's nginx service runs.
const NGINX_SERVICE: &str = "/run/nginx.pid";

/// A program that this project needs, and where it comes from if it is not there.
struct Need {
    name: &'static str,
    packages: &'static [&'static str],
    /// The program itself is looked for, not the package: it may be there without one.
    is_there: fn() -> bool,
}

const NEEDS: [Need; 3] = [
    Need {
        name: "nginx",
        packages: &["nginx-light"],
        is_there: has_nginx,
    },
    Need {
        name: "C compiler (links Rust programs)",
        packages: &["build-essential"],
        is_there: has_compiler,
    },
    Need {
        name: "python3 with venv",
        packages: &["python3", "python3-venv"],
        is_there: has_python,
    },
];

fn has_nginx() -> bool {
    Path::new(NGINX).exists() || paths::find_program("nginx").is_some()
}

fn has_compiler() -> bool {
    paths::find_program("cc").is_some()
}

fn has_python() -> bool {
    python::interpreter().is_ok()
}

/// Installs the packages of the needs that are not met.
pub fn ensure() -> Result<()> {
    let (met, unmet): (Vec<&Need>, Vec<&Need>) = NEEDS.iter().partition(|need| (need.is_there)());
    for need in met {
        ok(need.name);
    }
    if unmet.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = unmet.iter().flat_map(|need| need.packages).copied().collect();
    let list = packages.join(" ");
    if paths::find_program("apt-get").is_none() {
        bail!(
            "missing: {}; there is no apt-get here: install what Debian calls {list}",
            names(&unmet)
        );
    }
    // SAFETY: the function has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        bail!(
            "missing: {}; run this as root, or install it: apt-get install {list}",
            names(&unmet)
        );
    }
    let runs_nginx = Path::new(NGINX_SERVICE).exists();
    installing(&format!("{list} (apt-get)"));
    command::run(apt().arg("update"))?;
    command::run(apt().args(["install", "-y", "--no-install-recommends"]).args(&packages))?;
    if !runs_nginx && Path::new(NGINX_SERVICE).exists() {
        say(
            "stopping",
            "the nginx service that the package has started: the tests start their own",
        );
        command::run(Command::new("service").args(["nginx", "stop"]))?;
    }
    let (met, unmet): (Vec<&Need>, Vec<&Need>) = unmet.into_iter().partition(|need| (need.is_there)());
    for need in met {
        ok(need.name);
    }
    ensure!(
        unmet.is_empty(),
        "still missing after the installation of {list}: {}",
        names(&unmet)
    );
    Ok(())
}

fn names(needs: &[&Need]) -> String {
    needs.iter().map(|need| need.name).collect::<Vec<_>>().join(", ")
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}
