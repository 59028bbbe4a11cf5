//! The Debian packages.

use super::{installing, ok, python, say};
use crate::vm::{initramfs, machine};
use crate::{command, paths};
use anyhow::{Result, bail, ensure};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// There while Debian's nginx service runs.
const NGINX_SERVICE: &str = "/run/nginx.pid";
/// Where each of Debian's PHP services has a file named after it while it runs.
const PHP_SERVICES: &str = "/run/php";
/// Debian's Apache comes with no more modules than these, in files of their own.
pub const APACHE_MODULES: &str = "/usr/lib/apache2/modules";

/// A program that this project needs, and where it comes from if it is not there.
pub struct Need {
    name: &'static str,
    packages: &'static [&'static str],
    /// The program itself is looked for, not the package: it may be there without one.
    is_there: fn() -> bool,
}

/// For building.
pub const BUILD: [Need; 1] = [Need {
    name: "C compiler (links Rust programs)",
    packages: &["build-essential"],
    is_there: has_compiler,
}];

/// For the tests and the demo, besides.
pub const BASE: [Need; 7] = [
    Need {
        name: "nginx",
        packages: &["nginx-light"],
        is_there: has_nginx,
    },
    Need {
        name: "python3 with venv",
        packages: &["python3", "python3-venv"],
        is_there: has_python,
    },
    // What sends a server something else than requests.
    Need {
        name: "haproxy",
        packages: &["haproxy"],
        is_there: || paths::find_server("haproxy").is_some(),
    },
    Need {
        name: "openssl",
        packages: &["openssl"],
        is_there: || paths::find_program("openssl").is_some(),
    },
    Need {
        name: "curl",
        packages: &["curl"],
        is_there: || paths::find_program("curl").is_some(),
    },
    // A terminal and a browser: what people look at is tested in them.
    Need {
        name: "tmux",
        packages: &["tmux"],
        is_there: || paths::find_program("tmux").is_some(),
    },
    Need {
        name: "chromium",
        packages: &["chromium"],
        is_there: || paths::find_program("chromium").is_some(),
    },
];

/// For other kernels, on x86-64.
pub const VM: [Need; 2] = [
    Need {
        name: "qemu",
        packages: &["qemu-system-x86"],
        is_there: has_qemu,
    },
    Need {
        name: "static busybox",
        packages: &["busybox-static"],
        is_there: has_busybox,
    },
];

const NODE: Need = Need {
    name: "node with npm",
    packages: &["nodejs", "npm"],
    is_there: || paths::find_program("node").is_some() && paths::find_program("npm").is_some(),
};

/// For the libraries that the metric profiles are compared with.
pub const PROFILES: [Need; 1] = [NODE];

/// For the servers' table. What starts a system service upon its installation is avoided where there is a package
/// without one.
pub const SERVERS: [Need; 7] = [
    NODE,
    Need {
        name: "apache httpd",
        packages: &["apache2-bin"],
        is_there: || paths::find_server("apache2").is_some() && Path::new(APACHE_MODULES).is_dir(),
    },
    Need {
        name: "php-fpm",
        packages: &["php-fpm"],
        is_there: || php_fpm().is_some(),
    },
    Need {
        name: "java with its compiler",
        packages: &["default-jdk-headless"],
        is_there: || paths::find_program("java").is_some() && paths::find_program("javac").is_some(),
    },
    Need {
        name: "puma",
        packages: &["puma"],
        is_there: || paths::find_program("puma").is_some(),
    },
    Need {
        name: "go",
        packages: &["golang-go"],
        is_there: || paths::find_program("go").is_some(),
    },
    Need {
        name: "ip and unshare",
        packages: &["iproute2", "util-linux"],
        is_there: || paths::find_server("ip").is_some() && paths::find_program("unshare").is_some(),
    },
];

/// Debian's php-fpm: its name ends in a version.
pub fn php_fpm() -> Option<PathBuf> {
    let files = fs::read_dir("/usr/sbin").ok()?.flatten().map(|entry| entry.path());
    let is_fpm = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("php-fpm"))
    };
    files.filter(is_fpm).max()
}

fn has_nginx() -> bool {
    paths::find_server("nginx").is_some()
}

fn has_compiler() -> bool {
    paths::find_program("cc").is_some()
}

fn has_python() -> bool {
    python::interpreter().is_ok()
}

fn has_qemu() -> bool {
    paths::find_program(machine::PROGRAM).is_some()
}

fn has_busybox() -> bool {
    // Debian's package `busybox` has one that is not static.
    paths::find_program("busybox")
        .is_some_and(|busybox| initramfs::is_static(&busybox).is_ok_and(|is_static| is_static))
}

/// Installs the packages of the needs that are not met.
pub fn ensure(needs: &[Need]) -> Result<()> {
    let (met, unmet): (Vec<&Need>, Vec<&Need>) = needs.iter().partition(|need| (need.is_there)());
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
    let before = running_services();
    installing(&format!("{list} (apt-get)"));
    command::run(apt().arg("update"))?;
    let installed = command::run(apt().args(["install", "-y", "--no-install-recommends"]).args(&packages));
    // Some packages of those may be there although not all are.
    let stopped = stop_services_but(&before);
    installed?;
    stopped?;
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

/// Stops the services that the installation has started.
fn stop_services_but(before: &BTreeSet<String>) -> Result<()> {
    for service in running_services().difference(before) {
        say(
            "stopping",
            &format!("the {service} service that its package has started: the tests start their own"),
        );
        command::run(Command::new("service").args([service, "stop"]))?;
    }
    Ok(())
}

/// Those of the services that packages in these lists start by themselves.
fn running_services() -> BTreeSet<String> {
    let pid_files = fs::read_dir(PHP_SERVICES).into_iter().flatten().flatten();
    let mut services: BTreeSet<String> = pid_files
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "pid"))
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .collect();
    if Path::new(NGINX_SERVICE).exists() {
        services.insert("nginx".to_owned());
    }
    services
}

fn names(needs: &[&Need]) -> String {
    needs.iter().map(|need| need.name).collect::<Vec<_>>().join(", ")
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        // Another apt may be at work, as Debian's daily one: it is waited for this many seconds.
        .args(["-o", "DPkg::Lock::Timeout=600"]);
    command
}
