//! `vigie slo`: service level objectives.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};

use crate::{
    config::Config,
    output::Output,
    slo::{objectives::Objectives, rules},
};

/// The subcommands of `vigie slo`.
#[derive(Args, Debug)]
pub struct Slo {
    #[command(subcommand)]
    command: SloCommand,
}

#[derive(Debug, Subcommand)]
enum SloCommand {
    /// Write recording rules and burn-rate alerts for the objectives of a YAML file.
    Generate(Generate),
}

/// The flags of `vigie slo generate`.
#[derive(Args, Debug)]
struct Generate {
    /// The objectives.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Vigie's own configuration, if it has one: the threshold of a latency objective has to be one of
    /// its buckets, and 'service_label' names the label of the service.
    #[arg(long = "config.file", value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// The file to write; one that is there is replaced. '-' is standard output.
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
}

// === impl Slo ===

impl Slo {
    /// Does what is asked for.
    ///
    /// # Errors
    ///
    /// If a file is wrong, or the output cannot be written.
    pub fn run(self) -> Result<()> {
        match self.command {
            SloCommand::Generate(generate) => generate.run(),
        }
    }
}

// === impl Generate ===

impl Generate {
    fn run(self) -> Result<()> {
        let vigie = match &self.config_file {
            Some(path) => Config::load(path)?,
            None => Config::default(),
        };
        let objectives = Objectives::load(&self.config, &vigie)?;
        let text = rules::text(&objectives);
        Output::open(&self.output)
            .and_then(|output| output.write(text.as_bytes()))
            .with_context(|| format!("cannot write {}", self.output.display()))
    }
}
