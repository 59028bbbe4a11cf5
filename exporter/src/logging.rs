//! Vigie's own log, on standard error.

use anyhow::{Result, anyhow};
use clap::ValueEnum;
use tracing_subscriber::{filter::LevelFilter, fmt};

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Lines for people.
    Text,
    /// A JSON object for each line.
    Json,
}

/// What is logged at the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// Nothing.
    Off,
    /// What stops Vigie from working.
    Error,
    /// What is missing or odd.
    Warn,
    /// What Vigie does.
    Info,
    /// What helps to find out why.
    Debug,
    /// Everything.
    Trace,
}

/// Starts the log.
///
/// # Errors
///
/// If it was started before.
pub fn start(level: Level, format: Format) -> Result<()> {
    let filter = match level {
        Level::Off => LevelFilter::OFF,
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let builder = fmt()
        .with_max_level(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    match format {
        // A log that nobody reads any more must not stop Vigie.
        Format::Text => builder.with_ansi(false).log_internal_errors(false).try_init(),
        Format::Json => builder.log_internal_errors(false).json().flatten_event(true).try_init(),
    }
    .map_err(|error| anyhow!("cannot start the log: {error}"))
}
