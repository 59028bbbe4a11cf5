//! Watching without a `vigie serve`: the same, without listening.

use std::{path::Path, rc::Rc};

use anyhow::{Context as _, Result};
use tokio::sync::mpsc;

use crate::{
    config::Config,
    logging::Level,
    observe::{filter::Filter, tracers::Line},
    watch::Watch,
};

/// A trace of what this process watches itself.
pub struct Own {
    watch: Rc<Watch>,
    lines: mpsc::Receiver<String>,
    id: u64,
}

// === impl Own ===

impl Own {
    /// Starts to watch, and to trace.
    ///
    /// # Errors
    ///
    /// If the config is wrong, or no request can be seen.
    pub fn begin(config: Option<&Path>, filter: Filter) -> Result<Self> {
        let config = match config {
            Some(path) => Config::load(path)?,
            None => Config::default(),
        };
        let watch = Watch::start(&config, Level::Off)?;
        let lines = watch.begin_trace(filter)?.context("nobody else can trace here")?;
        Ok(Self { watch, lines, id: 0 })
    }

    /// The next line; `None`: that was the last.
    ///
    /// # Errors
    ///
    /// If it is not a line.
    pub async fn next(&mut self) -> Result<Option<Line>> {
        let Some(text) = self.lines.recv().await else {
            return Ok(None);
        };
        let line: Line = serde_json::from_str(&text)?;
        if let Line::Begin { trace } = &line {
            self.id = trace.id;
        }
        Ok(Some(line))
    }

    /// Asks for the end.
    ///
    /// # Errors
    ///
    /// If the kernel cannot be told.
    pub fn end(&self) -> Result<()> {
        self.watch.end_trace(self.id).map(drop)
    }
}
