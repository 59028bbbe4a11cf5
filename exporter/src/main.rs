//! Vigie: a Prometheus exporter that watches the HTTP services of a Linux host from the kernel.
//!
//! Arrows go one way: [`kernel`] knows the programs and their maps, [`observe`] makes measurements of what they say,
//! [`metrics`] makes Prometheus families of those, [`web`] serves them. [`commands`] has a file for each subcommand.

mod commands;
mod config;
mod kernel;
mod logging;
mod metrics;
mod observe;
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
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Serve(serve) => serve.run().map(|()| true),
        Command::Trace(trace) => trace.run().map(|()| true),
        Command::Doctor(doctor) => doctor.run(),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("vigie: {error:#}");
            ExitCode::FAILURE
        }
    }
}
