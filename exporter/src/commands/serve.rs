//! `vigie serve`: watch, and serve what is seen to Prometheus.

use std::{path::PathBuf, rc::Rc, sync::Mutex};

use anyhow::{Context as _, Result, bail};
use aya_log::EbpfLogger;
use clap::Args;
use log::{debug, error, info, warn};
use std::os::fd::AsFd as _;
use tokio::{
    io::{Interest, unix::AsyncFd},
    signal::unix::{SignalKind, signal},
    task::LocalSet,
};

use crate::{
    config::Config,
    kernel::{
        books::{Books, events},
        load::{Loaded, Settings, load, pid_max},
        traces::Traces,
    },
    logging::{Format, Level, start},
    metrics::families::Families,
    observe::{ledger::Ledger, tracers::Tracers},
    web::{pages::Site, server, trace},
};

/// The flags of `vigie serve`.
#[derive(Args, Debug)]
pub struct Serve {
    /// Address to serve on, `host:port` or `:port`; may be given several times.
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = ":10190")]
    listen_address: Vec<String>,
    /// Path of the metrics.
    #[arg(long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics", value_parser = telemetry_path)]
    telemetry_path: String,
    /// YAML file with services, routes and buckets.
    #[arg(long = "config.file", value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// What to log at the least.
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info")]
    log_level: Level,
    /// How to write log lines.
    #[arg(long = "log.format", value_name = "FORMAT", default_value = "text")]
    log_format: Format,
    /// What the programs in the kernel log at the least; costs time for each event.
    #[arg(long = "log.kernel-level", value_name = "LEVEL", default_value = "off")]
    kernel_log_level: Level,
}

fn telemetry_path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err("it has to start with '/'".to_owned());
    }
    if ["/", "/-/healthy", "/-/ready", trace::PATH].contains(&text) {
        return Err("there is another page at that path".to_owned());
    }
    Ok(text.to_owned())
}

// === impl Serve ===

impl Serve {
    /// Runs until it is told to stop.
    ///
    /// # Errors
    ///
    /// If the config is wrong, an address cannot be had, or no request can be seen.
    pub fn run(self) -> Result<()> {
        start(self.log_level, self.log_format)?;
        let config = match &self.config_file {
            Some(path) => Config::load(path)?,
            None => Config::default(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start")?;
        LocalSet::new().block_on(&runtime, self.watch(config))
    }

    async fn watch(self, config: Config) -> Result<()> {
        let mut listeners = Vec::new();
        for address in &self.listen_address {
            listeners.push(server::listen(address).await?);
        }
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);

        let settings = Settings {
            log_level: self.kernel_log_level as u8,
            pid_max: pid_max()?,
        };
        let Loaded { mut ebpf, probes } = load(&settings)?;
        for probe in &probes {
            match &probe.error {
                None => debug!("the probe {} is on the {}", probe.name, probe.place()),
                Some(error) => warn!(
                    "the probe {} is not attached: {error}; without it, {}",
                    probe.name,
                    probe.role.without()
                ),
            }
        }
        if !crate::kernel::load::sees_requests(&probes) {
            bail!("no request can be seen on this kernel: run 'vigie doctor' to find out why");
        }
        let kernel_log = match self.kernel_log_level {
            Level::Off => None,
            _ => Some(EbpfLogger::init(&mut ebpf).context("cannot read the log of the kernel side")?),
        };
        let families = Families::new(config.buckets.seconds(), &probes);
        let ring = events(&mut ebpf)?;
        // A descriptor of its own for waiting, so that the ring buffer itself can be with the ledger.
        let ready = ring.as_fd().try_clone_to_owned().context("cannot wait for events")?;
        let traces = Traces::open(&mut ebpf)?;
        let traces_ready = traces.ready()?;
        let books = Books::open(ebpf, config.buckets.nanos(), settings.pid_max, &probes)?;
        let ledger = Ledger::new(books, ring, &config)?;
        release_memory();

        let site = Rc::new(Site {
            telemetry_path: self.telemetry_path,
            ledger: Mutex::new(ledger),
            families,
            tracers: Mutex::new(Tracers::new(traces)),
        });
        if let Some(logger) = kernel_log {
            tokio::task::spawn_local(follow_kernel_log(logger));
        }
        tokio::task::spawn_local(follow_events(ready, Rc::clone(&site)));
        tokio::task::spawn_local(trace::follow(traces_ready, Rc::clone(&site)));
        for (listener, address) in listeners {
            info!("listening on http://{address}");
            tokio::task::spawn_local(server::serve(listener, Rc::clone(&site)));
        }
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("stopping");
        Ok(())
    }
}

/// Gives the memory that loading took back to the host: the kernel's types alone are tens of megabytes.
fn release_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the function has no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Handles what the kernel side reports, as it does.
pub(super) async fn follow_events(ready: std::os::fd::OwnedFd, site: Rc<Site>) {
    // SAFETY: the descriptor is owned, and so open until the AsyncFd drops it.
    let ready = match unsafe { AsyncFd::register_with_interest(ready, Interest::READABLE) } {
        Ok(ready) => ready,
        Err(failure) => return error!("cannot wait for events: {failure}"),
    };
    loop {
        match ready.readable().await {
            Ok(mut guard) => guard.clear_ready(),
            Err(failure) => return error!("cannot wait for events: {failure}"),
        }
        if let Ok(mut ledger) = site.ledger.lock() {
            ledger.drain();
        }
    }
}

/// Writes what the programs in the kernel log.
async fn follow_kernel_log(logger: EbpfLogger<&'static dyn log::Log>) {
    // SAFETY: the logger owns its descriptor.
    let mut logger = match unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) } {
        Ok(logger) => logger,
        Err(failure) => return error!("cannot read the log of the kernel side: {failure}"),
    };
    while let Ok(mut guard) = logger.readable_mut().await {
        guard.get_inner_mut().flush();
        guard.clear_ready();
    }
}
