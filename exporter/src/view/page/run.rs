//! Watching for a while.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval_at, sleep_until},
};

use super::record::Record;
use crate::view::source::Source;

/// How many intervals a page can show.
const INTERVALS: u32 = 120;
/// The shortest of them.
const SHORTEST: Duration = Duration::from_millis(500);

/// Takes scrapes for a while, or until it is interrupted.
///
/// # Errors
///
/// If the first scrape cannot be had, or none after it.
pub async fn record(source: &Source, time: Duration) -> Result<Record> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    // The terminal is gone: what was seen is not.
    let mut hangup = signal(SignalKind::hangup())?;
    let mut record = Record::new(source.scrape().await?);
    let begin = Instant::now();
    let end = begin + time;
    let period = (time / INTERVALS).max(if time < 60 * SHORTEST { SHORTEST } else { 2 * SHORTEST });
    let mut ticks = interval_at(begin + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut failure = None;
    loop {
        let is_over = tokio::select! {
            _ = ticks.tick() => false,
            () = sleep_until(end) => true,
            _ = terminate.recv() => true,
            _ = interrupt.recv() => true,
            _ = hangup.recv() => true,
        };
        // What is left is too short for an interval of its own: the last scrape has it.
        if !is_over && end - Instant::now() < period / 2 {
            continue;
        }
        match source.scrape().await {
            Ok(scrape) => record.take(scrape),
            Err(error) => {
                record.missed += 1;
                failure = Some(error);
            }
        }
        if is_over {
            break;
        }
    }
    if let Some(failure) = failure.filter(|_| record.intervals.is_empty()) {
        return Err(failure).context("there is nothing to report");
    }
    ensure!(
        !record.intervals.is_empty(),
        "there is nothing to report: the time was too short"
    );
    Ok(record)
}
