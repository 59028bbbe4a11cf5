//! Watching without a `vigie serve`: the same, without listening.

use std::{path::Path, rc::Rc, sync::Mutex};

use anyhow::{Context as _, Result, anyhow, bail};
use std::os::fd::AsFd as _;
use tokio::sync::mpsc;

use crate::{
    commands::serve::follow_events,
    config::Config,
    kernel::{
        books::{Books, events},
        load::{Loaded, Settings, load, pid_max, sees_requests},
        traces::Traces,
    },
    metrics::families::Families,
    observe::{
        filter::Filter,
        ledger::Ledger,
        tracers::{Line, Tracers},
    },
    web::{pages::Site, trace},
};

/// A trace of what this process watches itself.
pub struct Own {
    site: Rc<Site>,
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
        let settings = Settings {
            log_level: 0,
            pid_max: pid_max()?,
        };
        let Loaded { mut ebpf, probes } = load(&settings)?;
        if !sees_requests(&probes) {
            bail!("no request can be seen on this kernel: run 'vigie doctor' to find out why");
        }
        let families = Families::new(config.buckets.seconds(), &probes);
        let ring = events(&mut ebpf)?;
        let ready = ring.as_fd().try_clone_to_owned().context("cannot wait for events")?;
        let traces = Traces::open(&mut ebpf)?;
        let traces_ready = traces.ready()?;
        let books = Books::open(ebpf, config.buckets.nanos(), settings.pid_max, &probes)?;
        let mut ledger = Ledger::new(books, ring, &config)?;
        let mut tracers = Tracers::new(traces);
        let lines = tracers
            .begin(&mut ledger, filter)?
            .context("nobody else can trace here")?;
        let site = Rc::new(Site {
            telemetry_path: String::new(),
            ledger: Mutex::new(ledger),
            families,
            tracers: Mutex::new(tracers),
        });
        tokio::task::spawn_local(follow_events(ready, Rc::clone(&site)));
        tokio::task::spawn_local(trace::follow(traces_ready, Rc::clone(&site)));
        Ok(Self { site, lines, id: 0 })
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
        let broken = || anyhow!("something has failed before");
        let mut ledger = self.site.ledger.lock().map_err(|_| broken())?;
        let mut tracers = self.site.tracers.lock().map_err(|_| broken())?;
        tracers.end(&mut ledger, self.id).map(drop)
    }
}
