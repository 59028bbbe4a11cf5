//! `cargo xtask test`: everything that a change has to pass.

#![expect(clippy::print_stdout, reason = "these lines are what the command shows")]

use crate::setup::{self, Monitoring, ProfileTools, Tools};
use crate::vm::{self, kernels};
use crate::{churn, command, compose, dashboards, demo, drill, fuzz, guard, lab, paths, rules, servers, soak, truth};
use anyhow::{Context as _, Result, ensure};
use clap::Args;
use std::{env, time::Instant};

/// The oldest kernel that can be tested, which has hooks of its own, and the newest.
const OTHER_KERNELS: [&str; 2] = ["6.1", kernels::NEWEST];
/// Whether this machine can run them.
const HAS_OTHER_KERNELS: bool = cfg!(target_arch = "x86_64");
/// Duration of the demo's stages.
const STAGE_SECONDS: u64 = 5;

#[derive(Args, Debug)]
pub struct Options {
    /// Only the format, the lints and the unit tests: what needs no rights and no server
    #[arg(long)]
    quick: bool,
}

/// Runs the steps in order.
///
/// The exporter is linted, built and tested with `--release` alone: it is what users run, and one build of it and of
/// its eBPF programs serves all steps. The other packages are tested in the dev profile, with overflow checks.
pub fn run(options: &Options) -> Result<()> {
    let begin = Instant::now();
    // What the last steps need is not missed only then.
    let tools = step("setup", || match options.quick {
        true => setup::ensure_build().map(|()| None),
        false => ensure_all().map(Some),
    })?;
    step("format", || {
        cargo("fmt --all --check")?;
        cargo("fmt --manifest-path fuzz/Cargo.toml --all --check")?;
        cargo("fmt --manifest-path servers/Cargo.toml --all --check")
    })?;
    step("lints", || {
        cargo("clippy --release --workspace --all-targets -- -D warnings")?;
        lint_servers()
    })?;
    step("tests of the libraries and tools", || {
        cargo("test --workspace --exclude vigie")
    })?;
    // From here on each step is of its own: one that fails leaves the others to say what they know.
    let mut failed = Vec::new();
    let mut try_step = |name: &'static str, run: &mut dyn FnMut() -> Result<()>| {
        if let Err(error) = step(name, run) {
            println!("=== {error:#}");
            failed.push(name);
        }
    };
    try_step("fuzz", &mut || fuzz::run(&fuzz::Options::short()));
    if let Some((tools, monitoring, profiles)) = &tools {
        step("build of vigie", || cargo("build --release --package vigie"))?;
        try_step("tests of vigie", &mut || test_vigie(tools, monitoring, profiles));
        try_step("truth", &mut || truth::run(&truth::Options::default()));
        try_step("soak", &mut || soak::run(tools, &soak::Options::short()));
        try_step("churn", &mut || churn::run(tools, monitoring, &churn::Options::short()));
        if HAS_OTHER_KERNELS {
            try_step("other kernels", &mut || vm::run(&vm::Options::short(&OTHER_KERNELS)));
            try_step("functions where there are tracepoints", &mut || {
                vm::run(&vm::Options::functions())
            });
        }
        try_step("demo", &mut || {
            demo::run(
                tools,
                &demo::Options {
                    once: true,
                    stage_seconds: STAGE_SECONDS,
                    port: None,
                },
            )
        });
        try_step("lab", &mut || lab::run(tools, monitoring, &lab::Options::short()));
        try_step("guard", &mut || guard::trial(tools, &monitoring[0]));
        try_step("alert drill", &mut || {
            drill::run(tools, monitoring, &drill::Options::default())
        });
        try_step("containers", &mut || compose::check(monitoring));
        try_step("servers", &mut || servers::run(&servers::Options::all()));
        try_step("rules", &mut || rules::run(monitoring));
        try_step("dashboards", &mut || dashboards::run(&dashboards::Options::default()));
    } else {
        try_step("unit tests of vigie", &mut || {
            cargo("test --release --package vigie --bins")
        });
        try_step("dashboards", &mut || dashboards::run(&dashboards::Options::quick()));
    }
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    println!("\nall passed  {:.1} s", begin.elapsed().as_secs_f64());
    Ok(())
}

/// Installs what is missing for all steps.
fn ensure_all() -> Result<(Tools, [Monitoring; 2], ProfileTools)> {
    let tools = setup::ensure()?;
    if HAS_OTHER_KERNELS {
        setup::ensure_vm()?;
    }
    setup::ensure_servers()?;
    Ok((tools, setup::ensure_monitoring()?, setup::ensure_profiles()?))
}

/// Announces a step, runs it, and says how long it took.
fn step<T>(name: &str, run: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("\n=== {name}");
    let begin = Instant::now();
    let value = run().with_context(|| format!("step '{name}' failed after {:.1} s", begin.elapsed().as_secs_f64()))?;
    println!("=== {name}: passed  {:.1} s", begin.elapsed().as_secs_f64());
    Ok(value)
}

fn cargo(arguments: &str) -> Result<()> {
    command::run(&mut command::cargo(arguments.split(' '))?)
}

/// The servers that are watched have a workspace, and a target directory, of their own.
fn lint_servers() -> Result<()> {
    let arguments =
        "clippy --release --locked --manifest-path servers/Cargo.toml --workspace --all-targets -- -D warnings";
    let mut command = command::cargo(arguments.split(' '))?;
    command::run(command.env("CARGO_TARGET_DIR", paths::target()?.join("servers/rust")))
}

/// The unit tests of the exporter and the tests of its program, which find what they need in the environment.
fn test_vigie(tools: &Tools, monitoring: &[Monitoring; 2], profiles: &ProfileTools) -> Result<()> {
    let mut command = command::cargo(["test", "--release", "--no-fail-fast", "--package", "vigie"])?;
    let servers = env::join_paths(monitoring.iter().map(Monitoring::prometheus))?;
    command
        .env("VIGIE_DEMO_PYTHON", &tools.python)
        .env("VIGIE_PROMETHEUS", servers)
        .env("VIGIE_PROFILES_PYTHON", &profiles.python)
        .env("VIGIE_PROFILES_EXPRESS", &profiles.express);
    command::run(&mut command)
}
