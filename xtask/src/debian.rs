//! Packages of other Debian releases, unpacked beside the system and not installed.
//!
//! The machine's own apt says where its Debian mirror is. A second apt, with all its files in the user's cache
//! directory, looks there for more suites: so nothing of the machine's apt changes, and apt checks signatures and
//! checksums.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::command;

/// Debian 12 (Linux 6.1), 13 (6.12), and what becomes the next one (the newest).
pub const SUITES: [&str; 3] = ["bookworm", "trixie", "sid"];
const KEYRINGS: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
];

/// The user's cache directory for this project.
pub fn cache() -> Result<PathBuf> {
    let not_empty = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = not_empty("XDG_CACHE_HOME").or_else(|| Some(not_empty("HOME")?.join(".cache")));
    Ok(base.context("neither XDG_CACHE_HOME nor HOME is set")?.join("vigie"))
}

/// An apt with files of its own.
pub struct Apt {
    options: Vec<String>,
}

// === impl Apt ===

impl Apt {
    /// Fetches the lists of the suites.
    pub fn new() -> Result<Self> {
        let directory = cache()?.join("apt");
        for inside in ["state/lists/partial", "cache/archives/partial", "etc"] {
            fs::create_dir_all(directory.join(inside))?;
        }
        let mirror = mirror()?;
        let keyring = KEYRINGS.into_iter().find(|file| Path::new(file).exists());
        let signed = keyring.map_or_else(String::new, |file| format!("[signed-by={file}] "));
        let sources: String = SUITES
            .iter()
            .map(|suite| format!("deb {signed}{mirror} {suite} main\n"))
            .collect();
        let list = directory.join("etc/sources.list");
        fs::write(&list, sources)?;
        let directory = directory.display();
        let options = [
            format!("Dir::State={directory}/state"),
            format!("Dir::Cache={directory}/cache"),
            format!("Dir::Etc::SourceList={}", list.display()),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
            // The user's cache is not open to apt's own user.
            "APT::Sandbox::User=root".to_owned(),
        ];
        let apt = Self {
            options: options
                .into_iter()
                .flat_map(|option| ["-o".to_owned(), option])
                .collect(),
        };
        command::output(apt.command("apt-get").args(["--quiet=2", "update"]))?;
        Ok(apt)
    }

    /// A program of apt's, with these files.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(&self.options);
        command
    }

    /// Fetches a package (`name=version` or `name/suite`), and unpacks it into a directory, which is made.
    pub fn unpack(&self, package: &str, into: &Path) -> Result<()> {
        // Named after this process: another one may fetch the same now.
        let work = into.with_extension(format!("deb.{}", std::process::id()));
        fs::create_dir_all(&work)?;
        let result = (|| {
            let mut download = self.command("apt-get");
            command::output(download.args(["--quiet=2", "download", package]).current_dir(&work))?;
            let file = only_file(&work, ".deb")?;
            command::run(Command::new("dpkg-deb").arg("-x").arg(&file).arg(into))
        })();
        // What is left of it is of no use; the error to show is the first one.
        let _ = fs::remove_dir_all(&work);
        result
    }
}

fn only_file(directory: &Path, end: &str) -> Result<PathBuf> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(end) {
            return Ok(path);
        }
    }
    bail!("apt has downloaded no {end}")
}

/// The machine's own Debian mirror.
fn mirror() -> Result<String> {
    let ask = || {
        command::output(Command::new("apt-get").args([
            "indextargets",
            "--format",
            "$(ORIGIN) $(LABEL) $(COMPONENT) $(REPO_URI)",
            "Created-By: Packages",
        ]))
    };
    let pick = |text: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix("Debian Debian main "));
        line.map(str::to_owned)
    };
    if let Some(mirror) = pick(&ask()?) {
        return Ok(mirror);
    }
    // Origins are known once the lists are there.
    command::run(Command::new("apt-get").args(["--quiet=2", "update"]))?;
    pick(&ask()?).context("this machine's apt knows no Debian mirror")
}
