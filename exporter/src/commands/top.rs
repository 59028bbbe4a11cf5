//! `vigie top`: what the services of this host do right now, in a terminal.

use std::{io::IsTerminal as _, time::Duration};

use anyhow::Result;
use clap::Args;

use crate::view::{
    host,
    source::{self, Source},
    terminal::{draw::Context, run, theme::Theme},
};

/// The flags of `vigie top`.
#[derive(Args, Debug)]
pub struct Top {
    #[command(flatten)]
    source: source::Options,
    /// Time between two looks: 1s, 500ms.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = period)]
    interval: Duration,
}

fn period(text: &str) -> Result<Duration, String> {
    let period = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if period < Duration::from_millis(100) {
        return Err("at least 100ms".to_owned());
    }
    Ok(period)
}

// === impl Top ===

impl Top {
    /// Runs until it is told to stop; without a terminal, until one table is written.
    ///
    /// # Errors
    ///
    /// If there is nothing to be seen, or nowhere to show it.
    pub fn run(self) -> Result<()> {
        source::run(async {
            let source = Source::open(self.source).await?;
            let context = Context {
                source: source.to_string(),
                host: host::name(),
                period: self.interval,
                theme: Theme::from_environment(),
            };
            match std::io::stdout().is_terminal() {
                true => run::live(source, &context).await,
                false => run::once(source, &context).await,
            }
        })
    }
}
