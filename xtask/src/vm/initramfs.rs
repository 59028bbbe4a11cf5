//! The first file system of the machines: the programs to run, the libraries they need, and a shell that runs them.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use testkit::TempDir;

use super::cpio::Archive;
use crate::{command, paths};

/// What the lines begin with that are not a program's.
pub const MARK: &str = "@@vigie-vm ";

const DIRECTORIES: [&str; 8] = ["bin", "dev", "etc", "proc", "run", "sys", "tmp", "root"];

/// What the machines mount: type and place. Nothing is mounted on `/tmp`: the first file system is in memory already, and a clone of
/// this repository may lie there, whose programs a mount would hide.
const MOUNTS: [(&str, &str); 4] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("cgroup2", "/sys/fs/cgroup"),
];

/// A program to run in the machines.
#[derive(Clone, Debug)]
pub struct Payload {
    /// Its name, one word.
    pub name: &'static str,
    /// The program, on this machine; the others have it at the same place.
    pub binary: PathBuf,
    pub arguments: Vec<String>,
    /// More of its environment.
    pub environment: Vec<(String, String)>,
    /// After this it is killed, and has failed.
    pub limit: Duration,
    /// The kernels it is for, as they are asked for; none: all.
    pub only: &'static [&'static str],
}

// === impl Payload ===

impl Payload {
    /// A program with arguments, which has two minutes, on all kernels.
    pub fn new(name: &'static str, binary: &Path, arguments: &[&str]) -> Self {
        Self {
            name,
            binary: binary.to_owned(),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            environment: Vec::new(),
            limit: Duration::from_secs(900),
            only: &[],
        }
    }

    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn only(mut self, kernels: &'static [&'static str]) -> Self {
        self.only = kernels;
        self
    }

    /// Whether it is for a kernel.
    pub fn is_for(&self, kernel: &str) -> bool {
        self.only.is_empty() || self.only.contains(&kernel)
    }
}

/// The archive with these programs; `others` are programs that they start.
pub fn build(payloads: &[&Payload], others: &[&Path]) -> Result<Vec<u8>> {
    let busybox = paths::find_program("busybox").context("there is no busybox: install busybox-static")?;
    let mut archive = Archive::default();
    for directory in DIRECTORIES {
        archive.directory(directory);
    }
    archive.device("dev/console", 5, 1);
    archive.file("bin/busybox", &read(&busybox)?);
    archive.link("bin/sh", "busybox");
    ensure!(is_static(&busybox)?, "busybox is not static: install busybox-static");
    let mut files: BTreeSet<PathBuf> = BTreeSet::new();
    for binary in payloads
        .iter()
        .map(|payload| payload.binary.as_path())
        .chain(others.iter().copied())
    {
        if files.insert(binary.to_owned()) {
            not_hidden(binary)?;
            archive.file(&binary.to_string_lossy(), &stripped(binary)?);
        }
        for library in libraries(binary)? {
            if files.insert(library.clone()) {
                archive.file(&library.to_string_lossy(), &read(&library)?);
            }
        }
    }
    archive.file("init", script(payloads).as_bytes());
    Ok(archive.finish())
}

/// Fails for a program at a place that a mount hides.
fn not_hidden(binary: &Path) -> Result<()> {
    let hiding = MOUNTS.iter().find(|(_, place)| binary.starts_with(place));
    if let Some((_, place)) = hiding {
        bail!(
            "{} would be hidden in the machine, which mounts {place}: set CARGO_TARGET_DIR to a directory elsewhere",
            binary.display()
        );
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// A program without its debug information, which is most of it.
fn stripped(binary: &Path) -> Result<Vec<u8>> {
    let directory = TempDir::new()?;
    let work = directory.path().join("stripped");
    command::run(
        Command::new("strip")
            .arg("--strip-debug")
            .arg("-o")
            .arg(&work)
            .arg(binary),
    )?;
    read(&work)
}

/// Whether a program needs nothing but itself.
pub fn is_static(binary: &Path) -> Result<bool> {
    Ok(libraries(binary)?.is_empty())
}

/// The shared libraries of a program, and the loader.
fn libraries(binary: &Path) -> Result<Vec<PathBuf>> {
    // It fails for what is static.
    let output = Command::new("ldd").arg(binary).output().context("cannot run ldd")?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(PathBuf::from)
        .collect())
}

/// What the machine runs first, and last.
fn script(payloads: &[&Payload]) -> String {
    let mounts: String = MOUNTS
        .iter()
        .map(|(kind, place)| format!("mount -t {kind} {kind} {place}\n"))
        .collect();
    let mut script = format!(
        "#!/bin/busybox sh\n\
         /bin/busybox --install -s /bin\n\
         export PATH=/bin HOME=/root TMPDIR=/tmp\n\
         {mounts}\
         ip link set lo up\n\
         echo 1 > /proc/sys/kernel/printk\n\
         ulimit -n 65536\n\
         now() {{ cut -d ' ' -f 1 /proc/uptime; }}\n\
         run() {{\n\
         name=$1 limit=$2\n\
         shift 2\n\
         echo '{MARK}'begin $name\n\
         begin=$(now)\n\
         timeout -s KILL $limit \"$@\" 2>&1 < /dev/null\n\
         code=$?\n\
         echo\n\
         echo '{MARK}'end $name $code $(echo $begin $(now) | awk '{{ print $2 - $1 }}')\n\
         }}\n\
         echo '{MARK}'up\n"
    );
    for payload in payloads {
        let limit = payload.limit.as_secs();
        let environment = payload
            .environment
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let words: Vec<String> = environment
            .chain([payload.binary.to_string_lossy().into_owned()])
            .chain(payload.arguments.iter().cloned())
            .map(|word| quoted(&word))
            .collect();
        // Writing to a string cannot fail.
        let _ = writeln!(script, "run {} {limit} env {}", payload.name, words.join(" "));
    }
    let _ = write!(script, "echo '{MARK}'done\npoweroff -f\n");
    script
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_arrive_as_they_are() {
        let word = "it's \"$HOME\" `ls` \\ *";
        let output = command::output(Command::new("sh").args(["-c", &format!("printf %s {}", quoted(word))])).unwrap();
        assert_eq!(output, word);
    }

    /// A clone of this repository may lie under `/tmp`.
    #[test]
    fn no_mount_hides_a_program() {
        let script = script(&[]);
        let mounts = script.lines().filter_map(|line| line.strip_prefix("mount -t "));
        let places: Vec<&str> = mounts.filter_map(|words| words.split(' ').nth(2)).collect();
        assert_eq!(places, MOUNTS.map(|(_, place)| place));
        assert!(not_hidden(Path::new("/tmp/vigie/target/release/vigie")).is_ok());
        let error = not_hidden(Path::new("/dev/shm/target/release/vigie"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("which mounts /dev"), "{error}");
    }

    #[test]
    fn each_payload_has_its_line() {
        let one = Payload::new("one", Path::new("/x/y"), &["a b", "c"]).environment("E", "1");
        let two = Payload::new("two", Path::new("/x/z"), &[]).only(&["6.1"]);
        assert!(two.is_for("6.1") && !two.is_for("6.12") && one.is_for("6.12"));
        let script = script(&[&one, &two]);
        assert!(
            script.contains("\nrun one 900 env 'E=1' '/x/y' 'a b' 'c'\nrun two 900 env '/x/z'\n"),
            "{script}"
        );
    }
}
