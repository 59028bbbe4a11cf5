//! All metrics at a moment, as far as they are shown.

use std::time::{Instant, SystemTime};

use anyhow::{Result, ensure};

use super::sample;

/// How the names begin of what is shown. The rest is left out at once: sizes, events, Vigie's own process.
const SHOWN: [&str; 7] = [
    "http_request_duration_seconds",
    "http_request_phase_seconds",
    "http_request_queue_seconds",
    "http_request_runqueue_seconds",
    "http_requests_",
    "service_",
    "vigie_",
];

/// When this Vigie has started: its counters began at 0 then.
const STARTED: &str = "process_start_time_seconds";

/// A scrape.
#[derive(Clone, Debug)]
pub struct Scrape {
    /// When it was read, for differences.
    pub read: Instant,
    /// The same, for people.
    pub clock: SystemTime,
    /// Each series as its line names it, and its value.
    pub samples: Vec<(String, f64)>,
    /// When the Vigie that wrote it has started, in Unix time.
    pub started: Option<f64>,
}

// === impl Scrape ===

impl Scrape {
    /// Reads a text.
    ///
    /// # Errors
    ///
    /// If there is no sample in it.
    pub fn read(text: &str) -> Result<Self> {
        let mut samples = Vec::new();
        let mut started = None;
        let mut is_empty = true;
        for (series, value) in text.lines().filter_map(sample::cut) {
            is_empty = false;
            if series == STARTED {
                started = Some(value);
            } else if SHOWN.iter().any(|begin| series.starts_with(begin)) {
                samples.push((series.to_owned(), value));
            }
        }
        ensure!(!is_empty, "there are no metrics in the answer");
        Ok(Self {
            read: Instant::now(),
            clock: SystemTime::now(),
            samples,
            started,
        })
    }

    /// Whether Vigie wrote it.
    pub fn is_vigie(&self) -> bool {
        self.version().is_some()
    }

    /// The version of the Vigie that wrote it.
    pub fn version(&self) -> Option<String> {
        let mut series = self.samples.iter().map(|(series, _)| series);
        let build = series.find(|series| sample::name(series) == "vigie_build_info")?;
        let version = sample::labels(build).find(|(label, _)| *label == "version");
        Some(version.map_or_else(String::new, |(_, value)| value.into_owned()))
    }
}
