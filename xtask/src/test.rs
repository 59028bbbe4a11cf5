//! `cargo xtask test`: everything that a change has to pass.

mod steps;

use crate::setup::{self, Monitoring, ProfileTools, Tools};
use crate::vm::{self, kernels};
use crate::{churn, command, compose, dashboards, demo, drill, fuzz, guard, lab, paths, rules, servers, soak, truth};
use anyhow::{Context as _, Result};
use clap::Args;
use std::env;
use std::path::Path;
use steps::Steps;

/// The oldest kernel that can be tested, which has hooks of its own.
const OLDEST_KERNEL: &str = "6.1";
/// Duration of the demo's stages.
const STAGE_SECONDS: u64 = 5;

/// The tests of the program that find the most in the least time: every call that reads or writes, what is and is not HTTP, counts,
/// the program itself, and the scheduler's books.
const FAST: [&str; 5] = ["hooks", "protocol", "counts", "program", "scheduler"];
/// The tests that ask a Prometheus.
const ASK_PROMETHEUS: [&str; 4] = ["births", "exemplars", "formats", "profiles_queries"];

// What other steps need is named in both places.
const SETUP: &str = "setup";
const PROGRAMS: &str = "setup of servers and clients";
const MONITORING: &str = "setup of Prometheus";
const MOVING: &str = "setup of Debian sid's Prometheus";
const PROFILES: &str = "setup of the metric profiles";
const MACHINES: &str = "setup of virtual machines";
const SERVERS: &str = "setup of the servers' table";
const BUILD: &str = "build of vigie";

#[derive(Args, Debug)]
pub struct Options {
    /// Only the format, the lints, the unit tests and a few tests of the program: three minutes when everything is built
    #[arg(long)]
    fast: bool,
    /// Fail if a step is skipped
    #[arg(long)]
    no_skips: bool,
}

/// Runs the steps in order.
///
/// The exporter is linted, built and tested with `--release` alone: it is what users run, and one build of it and of
/// its eBPF programs serves all steps. The other packages are tested in the dev profile, with overflow checks.
pub fn run(options: &Options) -> Result<()> {
    let mut steps = Steps::default();
    steps.run(SETUP, &[], setup::ensure_build);
    let tools = steps.run(PROGRAMS, &[SETUP], setup::ensure);
    check_sources(&mut steps);
    if options.fast {
        test_fast(&mut steps, tools.as_ref());
    } else {
        test_all(&mut steps, tools.as_ref());
    }
    steps.end(options.no_skips)
}

/// What needs no rights and no server.
fn check_sources(steps: &mut Steps) {
    steps.run("format", &[SETUP], || {
        cargo("fmt --all --check")?;
        cargo("fmt --manifest-path fuzz/Cargo.toml --all --check")?;
        cargo("fmt --manifest-path servers/Cargo.toml --all --check")
    });
    steps.run("lints", &[SETUP], || {
        cargo("clippy --release --workspace --all-targets -- -D warnings")?;
        lint_servers()
    });
    // Among them are those of the library that the kernel's programs are made of.
    steps.tests("tests of the libraries and tools", &[SETUP], || {
        let arguments = "test --no-fail-fast --workspace --exclude vigie";
        command::run_tests(&mut command::cargo(arguments.split(' '))?)
    });
    steps.run("dashboards", &[SETUP], dashboards::check);
}

/// The unit tests of the exporter, and a few tests of its program.
fn test_fast(steps: &mut Steps, tools: Option<&Tools>) {
    let name = "unit tests of vigie";
    steps.tests(name, &[SETUP], || {
        command::run_tests(&mut command::cargo("test --release --package vigie --bins".split(' '))?)
    });
    let name = "some tests of vigie";
    if !is_root() {
        return steps.skip(name, "loading programs into the kernel needs root");
    }
    steps.tests(name, &[SETUP, PROGRAMS], || {
        let mut command = command::cargo(["test", "--release", "--no-fail-fast", "--package", "vigie"])?;
        command.args(FAST.iter().flat_map(|name| ["--test", name]));
        command.env("VIGIE_DEMO_PYTHON", &tools.context(PROGRAMS)?.python);
        command::run_tests(&mut command)
    });
}

/// Everything. What the last steps need is not missed only then: setup comes first.
fn test_all(steps: &mut Steps, tools: Option<&Tools>) {
    let tools = || tools.context(PROGRAMS);
    let stable = steps.run(MONITORING, &[SETUP], setup::ensure_stable_monitoring);
    let stable = || stable.as_ref().context(MONITORING);
    let moving = steps.report(MOVING, &[SETUP], setup::ensure_moving_monitoring);
    let moving = || moving.as_ref().context(MOVING);
    let profiles = steps.run(PROFILES, &[SETUP], setup::ensure_profiles);
    let profiles = || profiles.as_ref().context(PROFILES);
    steps.run(SERVERS, &[SETUP], setup::ensure_servers);
    steps.run(BUILD, &[SETUP], || cargo("build --release --package vigie"));

    steps.tests("the testkit with servers", &[PROGRAMS], || {
        let arguments = "test --package testkit --test real_servers -- --ignored --skip closed_loop_against_nginx";
        let mut command = command::cargo(arguments.split(' '))?;
        command::run_tests(command.env("STORE_PYTHON", &tools()?.python))
    });
    steps.run("fuzz", &[SETUP], || fuzz::run(&fuzz::Options::short()));
    steps.tests("tests of vigie", &[BUILD, PROGRAMS, MONITORING, PROFILES], || {
        test_vigie(&[], tools()?, stable()?, profiles()?)
    });
    steps.run("truth", &[BUILD], || truth::run(&truth::Options::default()));
    steps.run("soak", &[BUILD, PROGRAMS], || {
        soak::run(tools()?, &soak::Options::short())
    });
    let watched = [BUILD, PROGRAMS, MONITORING];
    steps.run("churn", &watched, || {
        churn::run(tools()?, one(stable()?), &churn::Options::short())
    });
    steps.run("demo", &[BUILD, PROGRAMS], || {
        let options = demo::Options {
            once: true,
            stage_seconds: STAGE_SECONDS,
            port: None,
        };
        demo::run(tools()?, &options)
    });
    steps.run("lab", &watched, || {
        lab::run(tools()?, one(stable()?), &lab::Options::short())
    });
    steps.run("guard", &watched, || guard::trial(tools()?, stable()?));
    steps.run("alert drill", &watched, || {
        drill::run(tools()?, one(stable()?), &drill::Options::default())
    });
    steps.run("containers", &[MONITORING], || compose::check(one(stable()?)));
    steps.run("servers", &[BUILD, SERVERS], || servers::run(&servers::Options::all()));
    steps.run("rules", &[BUILD, MONITORING], || rules::run(one(stable()?)));
    steps.run("dashboards with data", &watched, || {
        dashboards::check_live(tools()?, one(stable()?))
    });
    test_machines(steps);

    // What is new in Debian since yesterday must not keep a change from being merged that has nothing to do with it.
    steps.report(
        "tests with Debian sid's Prometheus",
        &[BUILD, PROGRAMS, MOVING, PROFILES],
        || test_vigie(&ASK_PROMETHEUS, tools()?, moving()?, profiles()?),
    );
    steps.report("containers with Debian sid's", &[MOVING], || {
        compose::check(one(moving()?))
    });
    steps.report("rules with Debian sid's", &[BUILD, MOVING], || {
        rules::run(one(moving()?))
    });
    steps.report("dashboards with Debian sid's", &[BUILD, PROGRAMS, MOVING], || {
        dashboards::check_live(tools()?, one(moving()?))
    });
}

/// Other kernels. The newest comes from Debian sid, and is reported.
fn test_machines(steps: &mut Steps) {
    let names = [
        "the oldest kernel",
        "functions where there are tracepoints",
        "the newest kernel",
    ];
    if !cfg!(target_arch = "x86_64") {
        return names
            .iter()
            .for_each(|name| steps.skip(name, "the machines are x86-64 ones"));
    }
    let [oldest, functions, newest] = names;
    steps.run(MACHINES, &[SETUP], setup::ensure_vm);
    let needs = [BUILD, MACHINES];
    steps.run(oldest, &needs, || vm::run(&vm::Options::short(&[OLDEST_KERNEL])));
    steps.run(functions, &needs, || vm::run(&vm::Options::functions()));
    steps.report(newest, &needs, || vm::run(&vm::Options::short(&[kernels::NEWEST])));
}

fn one(monitoring: &Monitoring) -> &[Monitoring] {
    std::slice::from_ref(monitoring)
}

fn is_root() -> bool {
    // SAFETY: the function has no preconditions.
    unsafe { libc::geteuid() == 0 }
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

/// The tests of the exporter, which find what they need in the environment: these files, or all of them and the unit tests. They say
/// how many were ignored.
fn test_vigie(files: &[&str], tools: &Tools, monitoring: &Monitoring, profiles: &ProfileTools) -> Result<u64> {
    let mut command = command::cargo(["test", "--release", "--no-fail-fast", "--package", "vigie"])?;
    command.args(files.iter().flat_map(|name| ["--test", name]));
    let prometheus = env::join_paths([&monitoring.prometheus() as &Path])?;
    command
        .env("VIGIE_DEMO_PYTHON", &tools.python)
        .env("VIGIE_PROMETHEUS", prometheus)
        .env("VIGIE_PROFILES_PYTHON", &profiles.python)
        .env("VIGIE_PROFILES_EXPRESS", &profiles.express);
    command::run_tests(&mut command)
}
