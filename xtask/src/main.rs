//! `cargo xtask`: the commands for working on Vigie.

mod bench;
mod churn;
mod command;
mod compose;
mod dashboards;
mod debian;
mod demo;
mod document;
mod drill;
mod fuzz;
mod guard;
mod lab;
mod load;
mod paths;
mod port;
mod process;
mod progress;
mod rules;
mod servers;
mod setup;
mod soak;
mod test;
mod truth;
mod vm;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// The commands for working on Vigie.
#[derive(Parser, Debug)]
#[command(bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand, Debug)]
enum Task {
    /// Install what building and the demo need and this machine lacks; other commands install what they need besides
    Setup,
    /// Watch a small store under load, and compare what Vigie saw with what its clients saw
    Demo(demo::Options),
    /// Watch three instances of the store behind nginx, then two, then one, through Prometheus, and say how it scales
    Lab(lab::Options),
    /// Run a load, and stop it when Prometheus says that it does harm
    Guard(guard::Options),
    /// Stop the store, and watch the alert come all the way and go again
    Drill(drill::Options),
    /// Check the files of demo/compose.yaml, as far as that goes without Docker
    Compose,
    /// Send the store's load to an address
    Load(load::Options),
    /// Measure what Vigie costs
    Bench(bench::Options),
    /// Compare what clients and servers know of their requests with what Vigie says, case by case
    Truth(truth::Options),
    /// Load Vigie with all that connections can do for minutes, and look for wrong counts and for growth
    Soak(soak::Options),
    /// Let processes, listeners and containers come and go beside a store, as in a month, and look for wrong counts, growth and alerts
    Churn(churn::Options),
    /// Give what reads bytes of others any bytes, and look for panics and for parsers that disagree
    Fuzz(fuzz::Options),
    /// Watch many kinds of servers, and compare what Vigie saw with what their clients saw
    Servers(servers::Options),
    /// Check and test the rules for Prometheus, and the configuration of Alertmanager
    Rules,
    /// Run Vigie on other kernels, in virtual machines
    Vm(vm::Options),
    /// Write Grafana's dashboards, or check them: by rules, and with the data of a Prometheus
    Dashboards(dashboards::Options),
    /// Check the format and the lints, run all tests and the demo
    Test(test::Options),
}

fn main() -> ExitCode {
    if let Some(code) = churn::take_over() {
        return code;
    }
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Setup => setup::ensure().and_then(|_| setup::ensure_monitoring()).map(drop),
        Task::Demo(options) => demo::run(&setup::ensure()?, &options),
        Task::Lab(options) => lab::run(&setup::ensure()?, &setup::ensure_monitoring()?, &options),
        Task::Guard(options) if options.trial => guard::trial(&setup::ensure()?, &setup::ensure_monitoring()?[0]),
        Task::Guard(options) => guard::run(&options),
        Task::Compose => compose::check(&setup::ensure_monitoring()?),
        Task::Drill(options) => drill::run(&setup::ensure()?, &setup::ensure_monitoring()?, &options),
        Task::Load(options) => load::run(&options),
        Task::Bench(options) => bench::run(&setup::ensure()?, &options),
        Task::Truth(options) => setup::ensure_build().and_then(|()| truth::run(&options)),
        Task::Soak(options) => soak::run(&setup::ensure()?, &options),
        Task::Churn(options) => churn::run(&setup::ensure()?, &setup::ensure_monitoring()?, &options),
        Task::Fuzz(options) => setup::ensure_build().and_then(|()| fuzz::run(&options)),
        Task::Servers(options) => servers::run(&options),
        Task::Rules => setup::ensure_build()
            .and_then(|()| setup::ensure_monitoring())
            .and_then(|releases| rules::run(&releases)),
        Task::Vm(options) => vm::run(&options),
        Task::Dashboards(options) => dashboards::run(&options),
        Task::Test(options) => test::run(&options),
    }
}
