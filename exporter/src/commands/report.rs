//! `vigie report`: what the services of this host did in a while, as one HTML page.

use std::{io::IsTerminal as _, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{
    logging::{Format, Level, start},
    output::Output,
    view::{
        page::{document::page, run::record},
        source::{self, Source},
    },
};

/// The flags of `vigie report`.
#[derive(Args, Debug)]
pub struct Report {
    #[command(flatten)]
    source: source::Options,
    /// How long to watch: 30s, 5m. Ctrl-C (SIGINT, SIGTERM, SIGHUP) ends it earlier, and what there is then is written.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    duration: Duration,
    /// The file to write; one that is there is replaced in the end. '-' is standard output.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration < Duration::from_secs(1) {
        return Err("at least 1s".to_owned());
    }
    Ok(duration)
}

// === impl Report ===

impl Report {
    /// Watches, then writes the page.
    ///
    /// # Errors
    ///
    /// If there is nothing to be seen, or the page cannot be written.
    pub fn run(self) -> Result<()> {
        start(Level::Warn, Format::Text)?;
        let hint = || format!("cannot write {}", self.output.display());
        // A page that cannot be written is not worth the wait.
        let output = Output::open(&self.output).with_context(hint)?;
        source::run(async {
            let source = Source::open(self.source).await?;
            if std::io::stderr().is_terminal() {
                let time = humantime::format_duration(self.duration);
                eprintln!("vigie: watching for {time}; Ctrl-C ends it earlier");
            }
            let record = record(&source, self.duration).await?;
            let page = page(&record, &source.to_string());
            output.write(page.as_bytes()).with_context(hint)
        })
    }
}
