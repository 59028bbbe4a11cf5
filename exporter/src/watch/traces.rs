//! Those who want to see single requests.

use std::{os::fd::OwnedFd, rc::Rc, time::Duration};

use anyhow::{Result, anyhow};
use log::error;
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::mpsc,
};

use super::Watch;
use crate::observe::filter::Filter;

/// How often those who trace are told what they were not shown, and are looked after if they are still there.
const TICK: Duration = Duration::from_millis(250);

// === impl Watch ===

impl Watch {
    /// Begins a trace: its lines, or `None` if too many trace already.
    ///
    /// # Errors
    ///
    /// If the kernel cannot be told.
    pub fn begin_trace(&self, filter: Filter) -> Result<Option<mpsc::Receiver<String>>> {
        let _tells = self.tells_of_panic();
        let (mut ledger, mut tracers) = (self.ledger()?, self.tracers.lock().map_err(|_| broken())?);
        tracers.begin(&mut ledger, filter)
    }

    /// Ends a trace in good order. `false`: there is none of that number.
    ///
    /// # Errors
    ///
    /// If the kernel cannot be told.
    pub fn end_trace(&self, id: u64) -> Result<bool> {
        let _tells = self.tells_of_panic();
        let (mut ledger, mut tracers) = (self.ledger()?, self.tracers.lock().map_err(|_| broken())?);
        tracers.end(&mut ledger, id)
    }
}

/// What is said when something has panicked before.
pub fn broken() -> anyhow::Error {
    anyhow!("an earlier scrape has failed halfway: restart Vigie")
}

/// Hands out what is shown, as it comes. `ready` is [`crate::kernel::traces::Traces::ready`].
pub async fn follow(ready: OwnedFd, watch: Rc<Watch>) {
    let _tells = watch.tells_of_end();
    // SAFETY: the descriptor is owned, and so open until the AsyncFd drops it.
    let ready = match unsafe { AsyncFd::register_with_interest(ready, Interest::READABLE) } {
        Ok(ready) => ready,
        Err(failure) => return error!("cannot wait for traces: {failure}"),
    };
    let Ok(woken) = watch.tracers.lock().map(|tracers| tracers.woken()) else {
        return;
    };
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        // While nobody traces, nothing wakes this process.
        if watch.tracers.lock().is_ok_and(|tracers| tracers.is_idle()) {
            woken.notified().await;
        }
        let is_tick = tokio::select! {
            guard = ready.readable() => match guard {
                Ok(mut guard) => {
                    guard.clear_ready();
                    false
                }
                Err(failure) => return error!("cannot wait for traces: {failure}"),
            },
            _ = tick.tick() => true,
        };
        loop {
            let has_more = {
                let (Ok(mut ledger), Ok(mut tracers)) = (watch.ledger.lock(), watch.tracers.lock()) else {
                    return;
                };
                if is_tick {
                    tracers.tick(&mut ledger);
                }
                tracers.hand_out(&mut ledger)
            };
            if !has_more {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}
