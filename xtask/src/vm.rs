//! `cargo xtask vm`: other kernels than this machine's, each in a virtual machine.
//!
//! In each, `vigie doctor` loads the programs as `vigie serve` does: on the tracepoints and on the functions, with and
//! without the log of the kernel side. What the verifier makes of them differs by kernel. Then real requests are counted.

mod cpio;
pub mod initramfs;
pub mod kernels;
pub mod machine;
mod report;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{command, setup};
use initramfs::Payload;
use machine::Ended;
use testkit::{TempDir, stop};

/// All kernels that are tried.
pub const KERNELS: [&str; 3] = ["6.1", "6.12", kernels::NEWEST];
/// The kernels that have both hooks. In 7.2 `tcp_recvmsg` has other arguments: only its tracepoints are left.
const BOTH_HOOKS: &[&str] = &["6.12"];

/// Has Vigie hear of every event twice, as it does on 7.x.
const TWICE: &str = "VIGIE_TWICE";
/// Has Vigie try functions before tracepoints.
const FUNCTIONS: &str = "VIGIE_HOOK_FUNCTIONS";

/// By how much times may differ in an emulated machine, and where the tests look for it.
const SLOW: &str = "0.1";
const TOLERANCE: &str = "VIGIE_TIME_TOLERANCE";

#[derive(Args, Debug)]
pub struct Options {
    /// Debian kernels, as "6.12", or "newest" [default: 6.1 6.12 newest]
    kernels: Vec<String>,
    /// Look for newer packages of the kernels
    #[arg(long)]
    update: bool,
    /// Run only this program in the machines; may be given several times
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// How long a machine may take
    #[arg(long, value_name = "SECONDS", default_value_t = 1500)]
    limit: u64,
}

// === impl Options ===

impl Options {
    /// All programs on these kernels.
    pub fn new(kernels: &[&str]) -> Self {
        Self {
            kernels: kernels.iter().map(|&kernel| kernel.to_owned()).collect(),
            update: false,
            only: Vec::new(),
            limit: 1500,
        }
    }

    /// Loading the programs and counting requests on these kernels, without the truth suite: its many scrapes take a long time in a
    /// machine that is emulated.
    pub fn short(kernels: &[&str]) -> Self {
        Self {
            only: ["doctor", "doctor-log", "requests"].map(str::to_owned).to_vec(),
            ..Self::new(kernels)
        }
    }

    /// What uses the functions although there are tracepoints.
    pub fn functions() -> Self {
        Self {
            only: ["doctor-functions", "requests-functions"].map(str::to_owned).to_vec(),
            ..Self::new(BOTH_HOOKS)
        }
    }
}

/// What a kernel did.
#[derive(Debug)]
pub struct Outcome {
    /// As it was asked for.
    kernel: String,
    version: String,
    time: Duration,
    ended: Vec<Ended>,
}

/// Builds, boots the kernels one after the other, and prints tables.
pub fn run(options: &Options) -> Result<()> {
    if std::env::consts::ARCH != "x86_64" {
        bail!(
            "the machines are x86-64 ones, and Vigie is built here for {}",
            std::env::consts::ARCH
        );
    }
    setup::ensure_build()?;
    setup::ensure_vm()?;
    let wanted = match options.kernels.as_slice() {
        [] => KERNELS.map(str::to_owned).to_vec(),
        kernels => kernels.to_vec(),
    };
    let kernels = wanted.iter().map(|kernel| kernels::get(kernel, options.update));
    let kernels = kernels.collect::<Result<Vec<_>>>()?;
    let (vigie, payloads) = payloads()?;
    let stop = stop::on_signal()?;
    let mut outcomes = Vec::new();
    for kernel in kernels {
        let is_wanted = |payload: &&Payload| {
            payload.is_for(&kernel.wanted)
                && (options.only.is_empty() || options.only.iter().any(|name| name == payload.name))
        };
        let payloads: Vec<&Payload> = payloads.iter().filter(is_wanted).collect();
        if payloads.is_empty() {
            bail!("no such program for Linux {}", kernel.version);
        }
        report::kernel(&kernel);
        let directory = TempDir::new()?;
        let initramfs = directory
            .write("initramfs.cpio", &initramfs::build(&payloads, &[&vigie])?)
            .context("cannot write the machine's files")?;
        let begin = Instant::now();
        let limit = Duration::from_secs(options.limit);
        let ended = machine::run(&kernel, &initramfs, limit, &stop, report::line)
            .with_context(|| format!("on Linux {}", kernel.version))?;
        // The machine has run them in this order, or said that it could not.
        let names: Vec<&str> = ended.iter().map(|ended| ended.name.as_str()).collect();
        if names != payloads.iter().map(|payload| payload.name).collect::<Vec<_>>() {
            bail!("Linux {} has run only {}", kernel.version, names.join(", "));
        }
        outcomes.push(Outcome {
            kernel: kernel.wanted,
            version: kernel.version,
            time: begin.elapsed(),
            ended,
        });
    }
    report::tables(&outcomes);
    report::verdict(&outcomes)
}

/// Vigie, and the programs that are run.
fn payloads() -> Result<(PathBuf, Vec<Payload>)> {
    let release = command::build(&["vigie", "truth"])?;
    let (vigie, truth) = (release.join("vigie"), release.join("vigie-truth"));
    let place = vigie.to_string_lossy();
    let hooks = test_program("hooks")?;
    let verbose = ["doctor", "--log.kernel-level", "trace"];
    let payloads = vec![
        Payload::new("doctor", &vigie, &["doctor"]),
        Payload::new("doctor-log", &vigie, &verbose),
        Payload::new("doctor-functions", &vigie, &["doctor"])
            .environment(FUNCTIONS, "1")
            .only(BOTH_HOOKS),
        Payload::new("doctor-functions-log", &vigie, &verbose)
            .environment(FUNCTIONS, "1")
            .only(BOTH_HOOKS),
        Payload::new("doctor-twice", &vigie, &["doctor"])
            .environment(TWICE, "1")
            .only(BOTH_HOOKS),
        Payload::new("requests-twice", &hooks, &["--nocapture", "--test-threads", "1"])
            .environment(TOLERANCE, SLOW)
            .environment(TWICE, "1")
            .only(BOTH_HOOKS),
        Payload::new("requests", &hooks, &["--nocapture", "--test-threads", "1"]).environment(TOLERANCE, SLOW),
        Payload::new("requests-functions", &hooks, &["--nocapture", "--test-threads", "1"])
            .environment(TOLERANCE, SLOW)
            .environment(FUNCTIONS, "1")
            .only(BOTH_HOOKS),
        Payload::new(
            "truth",
            &truth,
            &["--vigie", &place, "--core", "--time-tolerance", SLOW, "--json"],
        ),
    ];
    Ok((vigie, payloads))
}

/// The program of a test file of the exporter.
fn test_program(name: &str) -> Result<PathBuf> {
    let mut build = command::cargo(["test", "--release", "--package", "vigie", "--no-run", "--test", name])?;
    let messages = command::output(build.args(["--message-format", "json"]))?;
    executable(&messages, name)
        .map(PathBuf::from)
        .filter(|path| Path::new(path).exists())
        .with_context(|| format!("cargo does not say where the test program {name} is"))
}

/// The path in cargo's message about that test program.
fn executable<'a>(messages: &'a str, name: &str) -> Option<&'a str> {
    let line = messages
        .lines()
        .find(|line| line.contains(&format!("\"name\":\"{name}\"")) && line.contains("\"executable\":\""))?;
    line.split_once("\"executable\":\"")?.1.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_program_is_found() {
        let messages = "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"other\"},\"executable\":\"/t/other-1\"}\n\
            {\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"hooks\"},\"executable\":null}\n\
            {\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"hooks\"},\"executable\":\"/t/hooks-1\",\"fresh\":true}\n";
        assert_eq!(executable(messages, "hooks"), Some("/t/hooks-1"));
        assert_eq!(executable(messages, "protocol"), None);
    }
}
