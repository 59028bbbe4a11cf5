//! Exemplars: requests whose traces can be looked up, by their series.

use anyhow::Result;
use foldhash::HashMap;
use vigie_ebpf::{
    exemplar::Exemplar,
    types::{STATUS_ABORTED, SeriesKey},
};

use super::{ByLabels, Ledger};
use crate::observe::traced::WallClock;

/// A request whose client has said that its trace is recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// How long it took, in seconds.
    pub duration: f64,
    /// When it ended, in seconds since 1970.
    pub end: f64,
    /// The id of the trace, in hexadecimal digits.
    pub trace_id: String,
}

// === impl Example ===

impl Example {
    fn new(exemplar: &Exemplar, clock: &WallClock) -> Self {
        let [first, second] = exemplar.trace.map(u64::swap_bytes);
        Self {
            duration: exemplar.duration as f64 / 1e9,
            end: clock.at(exemplar.end).as_duration().as_secs_f64(),
            trace_id: format!("{first:016x}{second:016x}"),
        }
    }
}

impl Ledger {
    /// Requests of each series whose traces can be looked up: in each bucket one at the most, if some of these is in it.
    ///
    /// # Errors
    ///
    /// If the map cannot be read.
    pub(super) fn exemplars(&self) -> Result<ByLabels<Vec<Example>>> {
        let counted = self.counted.iter();
        let by_place: HashMap<usize, &SeriesKey> = counted.map(|(key, counted)| (counted.native, key)).collect();
        let mut all = Vec::new();
        self.books.exemplars(|key, exemplar| {
            // The first place is nobody's.
            let series = by_place.get(&(key.place as usize)).filter(|_| key.place != 0);
            let shown = series.filter(|key| key.status != STATUS_ABORTED && !self.routes.is_pending(key.route));
            if let Some(key) = shown {
                all.push((self.labels(key, key.route), vec![Example::new(exemplar, &self.clock)]));
            }
        })?;
        Ok(ByLabels::new(all, |examples, others| {
            examples.extend_from_slice(others)
        }))
    }
}
