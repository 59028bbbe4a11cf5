//! Watching this host: from the programs in the kernel to the text of the metrics.
//!
//! Everything that shows what Vigie sees starts here: `vigie serve` answers with this text, and `vigie top` and
//! `vigie report` read it where no `vigie serve` runs.

mod traces;

use std::{
    os::fd::{AsFd as _, OwnedFd},
    rc::Rc,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use aya_log::EbpfLogger;
use log::{debug, error, warn};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::Notify,
};

use crate::{
    config::{Config, Profile},
    descriptors,
    kernel::{
        books::{Books, events},
        load::{Loaded, Missing, Settings, load, sees_requests},
        traces::Traces,
    },
    logging::Level,
    memory,
    metrics::{
        self,
        clients::Clients,
        families::Families,
        format::Format,
        scrapers::{Scraper, Scrapers},
    },
    observe::{ledger::Ledger, traced::monotonic, tracers::Tracers},
    privileges,
};

/// A host that is being watched, until this is dropped.
pub struct Watch {
    ledger: Mutex<Ledger>,
    families: Families,
    profile: Profile,
    service_label: &'static str,
    /// How long what has ended is shown at the least.
    retention: Duration,
    ended: Notify,
    tracers: Mutex<Tracers>,
    scrapers: Mutex<Scrapers>,
    clients: Clients,
}

/// The metrics, as a client wants them.
#[derive(Debug)]
pub struct Metrics {
    /// Their bytes.
    pub body: Vec<u8>,
    /// When they were taken, by the monotonic clock, in nanoseconds.
    pub taken: u64,
}

/// What a client wants of the metrics.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// Under which names.
    pub profile: Profile,
    /// What the label is called that names the service.
    pub service_label: &'static str,
    /// In which format.
    pub format: Format,
    /// Whether it wants to know in OpenMetrics, too, when each metric was 0.
    pub with_created: bool,
    /// When it was last shown what there was, if it scrapes and was: by the monotonic clock, in nanoseconds.
    pub shown: Option<u64>,
}

// === impl Watch ===

impl Watch {
    /// Loads the programs and attaches them. What they report is handled by tasks of the running `LocalSet`.
    ///
    /// # Errors
    ///
    /// If no request can be seen.
    pub fn start(config: &Config, kernel_log_level: Level) -> Result<Rc<Self>> {
        let files = descriptors::limit();
        debug!("up to {files} files may be open");
        let settings = Settings {
            log_level: kernel_log_level as u8,
        };
        let Loaded {
            mut ebpf,
            probes,
            missing,
        } = load(&settings)?;
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
        for Missing { name, error, without } in &missing {
            warn!("this kernel lacks something for {name}: {error}; without it, {without}");
        }
        if !sees_requests(&probes) {
            bail!("no request can be seen on this kernel: run 'vigie doctor' to find out why");
        }
        privileges::warn_of_missing();
        let kernel_log = match kernel_log_level {
            Level::Off => None,
            _ => Some(EbpfLogger::init(&mut ebpf).context("cannot read the log of the kernel side")?),
        };
        let families = Families::new(config.buckets.seconds(), &probes);
        let ring = events(&mut ebpf)?;
        // A descriptor of its own for waiting, so that the ring buffer itself can be with the ledger.
        let ready = ring.as_fd().try_clone_to_owned().context("cannot wait for events")?;
        let traces = Traces::open(&mut ebpf)?;
        let traces_ready = traces.ready()?;
        let books = Books::open(ebpf, config.buckets.nanos(), &probes)?;
        let ledger = Ledger::new(books, ring, config)?;
        memory::release();

        let watch = Rc::new(Self {
            ledger: Mutex::new(ledger),
            families,
            profile: config.profile,
            service_label: config.service_label,
            tracers: Mutex::new(Tracers::new(traces)),
            scrapers: Mutex::default(),
            clients: Clients::default(),
            ended: Notify::new(),
            retention: config.retention,
        });
        if let Some(logger) = kernel_log {
            tokio::task::spawn_local(follow_kernel_log(logger));
        }
        tokio::task::spawn_local(follow_events(ready, Rc::clone(&watch)));
        tokio::task::spawn_local(memory::release_after_peaks());
        tokio::task::spawn_local(traces::follow(traces_ready, Rc::clone(&watch)));
        Ok(watch)
    }

    /// The profile that the config asks for: this Vigie's buckets are made for it, and for Vigie's own.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// What the config calls the label that names the service.
    pub fn service_label(&self) -> &'static str {
        self.service_label
    }

    /// The clients' connections.
    pub fn clients(&self) -> &Clients {
        &self.clients
    }

    /// All metrics as they are now. A scraper that was here before is shown new series with the value 0.
    ///
    /// # Errors
    ///
    /// If the maps cannot be read.
    pub fn metrics(&self, wanted: Wanted) -> Result<Metrics> {
        let Wanted {
            profile,
            service_label,
            format,
            with_created,
            shown,
        } = wanted;
        let _tells = self.tells_of_panic();
        let rarest = self
            .scrapers
            .lock()
            .ok()
            .and_then(|scrapers| scrapers.slowest_interval());
        let mut ledger = self.ledger()?;
        // Two scrapes of whoever comes most rarely.
        ledger.set_retention(self.retention.max(2 * rarest.unwrap_or_default()));
        let snapshot = ledger.snapshot(format == Format::Protobuf, format != Format::Text)?;
        let has_forgotten = ledger.take_forgotten();
        drop(ledger);
        let scrapers = self.scrapers.lock().map_err(|_| traces::broken())?;
        let mut families = self.families.collect(&snapshot, profile, shown);
        if let Ok(tracers) = self.tracers.lock() {
            families.extend(metrics::traces::families(&tracers.totals()));
        }
        families.extend(scrapers.families());
        families.extend(self.clients.families());
        metrics::labels::rename_service(&mut families, service_label);
        let metrics = Metrics {
            body: format.encode(&families, with_created),
            taken: snapshot.taken,
        };
        drop(families);
        drop(snapshot);
        if has_forgotten {
            memory::release();
        }
        Ok(metrics)
    }

    /// When this scraper was last shown what there was, if it was.
    pub fn last_shown(&self, scraper: &Scraper) -> Option<u64> {
        self.scrapers.lock().ok()?.last(scraper, monotonic())
    }

    /// A scraper is shown what there was at this time.
    pub fn shown(&self, scraper: Scraper, taken: u64) {
        if let Ok(mut scrapers) = self.scrapers.lock() {
            scrapers.shown(scraper, taken);
        }
    }

    /// What a scraper was shown at this time has not come to it.
    pub fn lost(&self, scraper: &Scraper, taken: u64) {
        if let Ok(mut scrapers) = self.scrapers.lock() {
            scrapers.lost(scraper, taken);
        }
    }

    fn ledger(&self) -> Result<MutexGuard<'_, Ledger>> {
        self.ledger.lock().map_err(|_| traces::broken())
    }

    fn tells_of_panic(&self) -> TellsOfEnd<'_> {
        TellsOfEnd {
            ended: &self.ended,
            is_task: false,
        }
    }

    fn tells_of_end(&self) -> TellsOfEnd<'_> {
        TellsOfEnd {
            ended: &self.ended,
            is_task: true,
        }
    }

    /// Waits until it does not watch any more, which is a fault of its own.
    pub async fn has_ended(&self) {
        self.ended.notified().await;
    }
}

/// Tells of the end of watching when it is dropped: by a panic, or with the task that should never end.
struct TellsOfEnd<'a> {
    ended: &'a Notify,
    is_task: bool,
}

// === impl TellsOfEnd ===

impl Drop for TellsOfEnd<'_> {
    fn drop(&mut self) {
        if self.is_task || std::thread::panicking() {
            // Whoever waits later hears of it, too.
            self.ended.notify_one();
        }
    }
}

/// Handles what the kernel side reports, as it does.
async fn follow_events(ready: OwnedFd, watch: Rc<Watch>) {
    let _tells = watch.tells_of_end();
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
        // Others have their turn between two batches. It is readable again when something comes after all was read, and not before.
        while drain(&watch) {
            tokio::task::yield_now().await;
        }
    }
}

/// Handles a batch of events. `true`: there may be more.
fn drain(watch: &Watch) -> bool {
    let Ok(mut ledger) = watch.ledger.lock() else {
        return false;
    };
    let has_more = ledger.drain_batch();
    if ledger.take_forgotten() {
        memory::release();
    }
    has_more
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What fails halfway, and a task that ends, end Vigie; what goes well does not.
    #[tokio::test]
    async fn the_end_is_told() {
        let ended = Notify::new();
        let told = async || {
            tokio::time::timeout(Duration::from_millis(10), ended.notified())
                .await
                .is_ok()
        };
        let tells = |is_task| TellsOfEnd { ended: &ended, is_task };
        drop(tells(false));
        assert!(!told().await);
        drop(tells(true));
        assert!(told().await);
        let fails = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _tells = tells(false);
            panic!("as a fault of its own would");
        }));
        assert!(fails.is_err() && told().await);
    }
}
