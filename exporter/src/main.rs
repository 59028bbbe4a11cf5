//! Vigie: a Prometheus exporter that watches the HTTP services of a Linux host from the kernel.
//!
//! Arrows go one way: [`kernel`] knows the programs and their maps, [`observe`] makes measurements of what they say,
//! [`metrics`] makes Prometheus families of those, and [`watch`] runs the three. [`web`] serves the families, [`view`]
//! shows them to a person. [`slo`] makes rules for Prometheus of objectives. [`commands`] has a file for each subcommand.

mod commands;
mod config;
mod descriptors;
mod kernel;
mod logging;
mod memory;
mod metrics;
mod observe;
mod output;
mod privileges;
mod slo;
mod view;
mod watch;
mod web;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Prometheus exporter that watches the HTTP services of a Linux host from the kernel, without touching them.
#[derive(Debug, Parser)]
#[command(name = "vigie", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch this host, and serve what is seen to Prometheus.
    Serve(commands::serve::Serve),
    /// Show single requests as they end.
    Trace(commands::trace::Trace),
    /// Say whether Vigie can see requests on this host, and what to do if not.
    Doctor(commands::doctor::Doctor),
    /// Show, in this terminal, what the services of this host do right now.
    Top(commands::top::Top),
    /// Watch for a while, and write what was seen as one HTML page.
    Report(commands::report::Report),
    /// Make rules for Prometheus of service level objectives.
    Slo(commands::slo::Slo),
}

fn main() -> ExitCode {
    let done = |()| ExitCode::SUCCESS;
    let result = match Arguments::parse().command {
        Command::Serve(serve) => serve.run().map(done),
        Command::Trace(trace) => trace.run().map(done),
        Command::Doctor(doctor) => doctor.run().map(|found| found.into()),
        Command::Top(top) => top.run().map(done),
        Command::Report(report) => report.run().map(done),
        Command::Slo(slo) => slo.run().map(done),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("vigie: {error:#}");
            ExitCode::FAILURE
        }
    }
}
