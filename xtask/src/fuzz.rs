//! `cargo xtask fuzz`: give what reads bytes of others any bytes, and look for panics and for parsers that disagree.
//!
//! With the compiler that builds the rest: the coverage that libFuzzer follows is a pass of LLVM, and what nightly compilers have besides
//! is the address sanitizer.

use crate::{command, paths};
use anyhow::{Context as _, Result};
use clap::Args;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The programs of the package.
const TARGETS: [&str; 3] = ["btf", "request", "response"];
/// Longer inputs find no more, and take longer.
const INPUT_BYTES: u32 = 1024;
/// What an input may take: these are parsers.
const INPUT_SECONDS: u32 = 10;
/// The short form's inputs, about ten seconds for all targets.
const SHORT_RUNS: u64 = 200_000;
/// Coverage by counters in line and the table of places that libFuzzer asks for, and the checks that a release build leaves out.
const FLAGS: [&str; 8] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Ccodegen-units=1",
    "-Cdebug-assertions",
    "-Coverflow-checks",
    "--cfg=fuzzing",
];

#[derive(Args, Debug)]
pub struct Options {
    /// Only these targets
    #[arg(value_parser = TARGETS)]
    targets: Vec<String>,
    /// How many inputs each target gets
    #[arg(long, value_name = "N", default_value_t = 10_000_000)]
    runs: u64,
    /// Start of the random numbers that inputs are made of
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    seed: u32,
    /// Give the target this input alone, as a finding left it
    #[arg(long, value_name = "FILE", requires = "targets", conflicts_with_all = ["runs", "seed"])]
    input: Option<PathBuf>,
}

// === impl Options ===

impl Options {
    /// What the test suite runs: the same inputs each time.
    pub fn short() -> Self {
        Self {
            targets: Vec::new(),
            runs: SHORT_RUNS,
            seed: 1,
            input: None,
        }
    }
}

/// Builds the targets and runs them, one after the other. The first finding ends it, and is kept in `fuzz/artifacts`.
#[expect(clippy::print_stdout, reason = "these lines are what the command shows")]
pub fn run(options: &Options) -> Result<()> {
    let programs = build()?;
    let targets: Vec<&str> = match options.targets.as_slice() {
        [] => TARGETS.to_vec(),
        some => some.iter().map(String::as_str).collect(),
    };
    for target in targets {
        let mut program = Command::new(programs.join(target));
        if let Some(input) = &options.input {
            program.arg(input);
        } else {
            let artifacts = paths::root()?.join("fuzz/artifacts").join(target);
            fs::create_dir_all(&artifacts).with_context(|| format!("cannot make {}", artifacts.display()))?;
            program
                .arg(format!("-runs={}", options.runs))
                .arg(format!("-seed={}", options.seed))
                .arg(format!("-max_len={INPUT_BYTES}"))
                .arg(format!("-timeout={INPUT_SECONDS}"))
                .arg(format!("-artifact_prefix={}/", artifacts.display()));
        }
        // What libFuzzer writes is of use with a finding.
        let shown = command::both_outputs(&mut program)?;
        let inputs = shown.lines().find(|line| line.starts_with("Done "));
        println!("{target:<10}{}", inputs.unwrap_or("passed"));
    }
    Ok(())
}

/// Builds the targets, and says where they are. Naming the host as the target keeps the flags from programs of the build.
fn build() -> Result<PathBuf> {
    let host = host()?;
    let directory = paths::target()?.join("fuzz");
    let manifest = Path::new("fuzz/Cargo.toml");
    let mut cargo = command::cargo(["build", "--release", "--locked", "--target", &host, "--manifest-path"])?;
    command::run(
        cargo
            .arg(manifest)
            .env("CARGO_TARGET_DIR", &directory)
            .env("RUSTFLAGS", FLAGS.join(" ")),
    )?;
    Ok(directory.join(host).join("release"))
}

/// The compiler's own target.
fn host() -> Result<String> {
    let version = command::output(Command::new("rustc").arg("-vV").current_dir(paths::root()?))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say what its host is")?.to_owned())
}
