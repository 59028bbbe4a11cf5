//! Those who trace, each with what they ask for.
//!
//! Each has a slot in the kernel, with a filter, a rate and counters of its own, and a queue of lines here. The queue is bounded:
//! what finds it full is counted, and nobody waits for a client that does not read.

use anyhow::{Context as _, Result};
use log::error;
use serde::{Deserialize, Serialize};
use std::rc::Rc;
use tokio::sync::{Notify, mpsc};
use vigie_ebpf::traced::{SLOTS, TRACES_BYTES, TraceEvent, Untold};

use super::{
    filter::Filter,
    ledger::Ledger,
    traced::{Traced, WallClock},
};
use crate::kernel::traces::Traces;

/// How many lines wait for a client at the most.
const QUEUE: usize = 8192;
/// How many requests are handed out before anything else gets its turn.
const BATCH: usize = 2048;
/// How many batches the ring buffer holds, or one more.
const BATCHES: usize = TRACES_BYTES / (BATCH * size_of::<TraceEvent>()) + 1;

/// One line of a trace, as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    /// The first: who is served.
    Begin {
        /// What it is.
        trace: Begin,
    },
    /// How many requests were asked for, and not shown. Comes when it has grown, and at the end.
    NotShown {
        /// Since the beginning.
        not_shown: NotShown,
    },
    /// A request.
    Request(Box<Traced>),
}

/// A trace that begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// Its number, by which it can be ended.
    pub id: u64,
    /// The version of Vigie.
    pub version: String,
}

/// How many requests passed a filter and were not shown, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotShown {
    /// There were more than the rate allows.
    pub rate: u64,
    /// The ring buffer from the kernel was full.
    pub ring_full: u64,
    /// An interrupt ended another request at the same time.
    pub interrupted: u64,
    /// The client did not read fast enough.
    pub slow_client: u64,
}

// === impl NotShown ===

impl NotShown {
    /// All of them.
    pub fn total(&self) -> u64 {
        let Self {
            rate,
            ring_full,
            interrupted,
            slow_client,
        } = *self;
        rate + ring_full + interrupted + slow_client
    }

    /// Each reason's name and count.
    pub fn list(&self) -> [(&'static str, u64); 4] {
        let Self {
            rate,
            ring_full,
            interrupted,
            slow_client,
        } = *self;
        [
            ("rate", rate),
            ("ring_full", ring_full),
            ("interrupted", interrupted),
            ("slow_client", slow_client),
        ]
    }
}

/// What was shown since Vigie runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many trace now.
    pub clients: usize,
    /// Lines that were queued for a client.
    pub shown: u64,
    /// What was not.
    pub not_shown: NotShown,
}

struct Client {
    id: u64,
    filter: Filter,
    queue: mpsc::Sender<String>,
    /// Room for the last line, whatever the queue is like then.
    last: mpsc::OwnedPermit<String>,
    /// The kernel's counters when it began.
    before: Untold,
    slow: u64,
    told: NotShown,
}

/// Those who trace.
pub struct Tracers {
    kernel: Traces,
    clients: [Option<Client>; SLOTS],
    begun: u64,
    shown: u64,
    slow: u64,
    /// The version of the services, and how many routes there were, when the kernel was last told of numbers.
    numbers: (u64, usize),
    woken: Rc<Notify>,
}

fn json(line: &Line) -> Result<String> {
    let mut text = serde_json::to_string(line).context("cannot write a line")?;
    text.push('\n');
    Ok(text)
}

// === impl Client ===

impl Client {
    fn not_shown(&self, now: &Untold) -> NotShown {
        let Untold {
            over_rate,
            ring_full,
            interrupted,
        } = self.before;
        NotShown {
            rate: now.over_rate - over_rate,
            ring_full: now.ring_full - ring_full,
            interrupted: now.interrupted - interrupted,
            slow_client: self.slow,
        }
    }
}

// === impl Tracers ===

impl Tracers {
    /// Nobody yet.
    pub fn new(kernel: Traces) -> Self {
        Self {
            kernel,
            clients: [const { None }; SLOTS],
            begun: 0,
            shown: 0,
            slow: 0,
            numbers: (0, 0),
            woken: Rc::new(Notify::new()),
        }
    }

    /// Tells when somebody begins to trace while nobody does.
    pub fn woken(&self) -> Rc<Notify> {
        Rc::clone(&self.woken)
    }

    /// Whether nobody traces.
    pub fn is_idle(&self) -> bool {
        self.clients.iter().all(Option::is_none)
    }

    /// Begins a trace: its lines can be received from now on. `None`: too many trace already.
    ///
    /// # Errors
    ///
    /// If the kernel cannot be told.
    pub fn begin(&mut self, ledger: &mut Ledger, filter: Filter) -> Result<Option<mpsc::Receiver<String>>> {
        // What still waits is for those who were there before.
        self.hand_out(ledger);
        self.drop_gone();
        let Some(slot) = self.clients.iter().position(Option::is_none) else {
            return Ok(None);
        };
        self.begun += 1;
        let (queue, receiver) = mpsc::channel(QUEUE);
        let last = queue.clone().try_reserve_owned().context("cannot queue a line")?;
        let begin = Begin {
            id: self.begun,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        queue
            .try_send(json(&Line::Begin { trace: begin })?)
            .context("cannot queue a line")?;
        let before = self.kernel.untold(slot)?;
        self.kernel
            .start(slot, &filter.wanted(ledger.services()), &filter.routes(ledger.routes()))?;
        self.clients[slot] = Some(Client {
            id: self.begun,
            filter,
            queue,
            last,
            before,
            slow: 0,
            told: NotShown::default(),
        });
        self.woken.notify_one();
        Ok(Some(receiver))
    }

    /// Ends a trace: what it was shown by now, and what it was not, are its last lines. `false`: there is no such trace.
    ///
    /// # Errors
    ///
    /// If the kernel cannot be told.
    pub fn end(&mut self, ledger: &mut Ledger, id: u64) -> Result<bool> {
        let is_it = |client: &Option<Client>| client.as_ref().is_some_and(|client| client.id == id);
        let Some(slot) = self.clients.iter().position(is_it) else {
            return Ok(false);
        };
        self.kernel.stop(slot)?;
        // No more than there can be now: others may trace, and what is shown to them may come for ever.
        for _ in 0..BATCHES {
            if !self.hand_out(ledger) {
                break;
            }
        }
        let untold = self.kernel.untold(slot)?;
        if let Some(client) = self.clients[slot].take() {
            let not_shown = client.not_shown(&untold);
            client.last.send(json(&Line::NotShown { not_shown })?);
        }
        Ok(true)
    }

    /// Hands out the requests that wait. `true`: there are more.
    pub fn hand_out(&mut self, ledger: &mut Ledger) -> bool {
        let mut events = Vec::new();
        while events.len() < BATCH
            && let Some(event) = self.kernel.next()
        {
            match event {
                Ok(event) => events.push(event),
                Err(failure) => error!("cannot read a trace: {failure:#}"),
            }
        }
        if events.is_empty() {
            return false;
        }
        // What a request's route is may have come by the other ring buffer, and has come before.
        ledger.drain();
        let clock = WallClock::now();
        for event in &events {
            if let Err(failure) = self.show(ledger, event, &clock) {
                error!("cannot show a request: {failure:#}");
            }
        }
        self.tell_numbers(ledger);
        events.len() == BATCH
    }

    fn show(&mut self, ledger: &mut Ledger, event: &TraceEvent, clock: &WallClock) -> Result<()> {
        let Some((service, handler)) = ledger.names(event) else {
            return Ok(());
        };
        let takes = |client: &&mut Client| client.filter.takes(&service, &handler, event);
        let asked = self.clients.iter_mut().enumerate();
        let asked = asked.filter(|(slot, _)| event.slots >> slot & 1 == 1);
        let clients: Vec<_> = asked.filter_map(|(_, client)| client.as_mut()).filter(takes).collect();
        if clients.is_empty() {
            return Ok(());
        }
        let traced = Traced::new(event, service.clone(), handler.clone(), clock);
        let line = json(&Line::Request(Box::new(traced)))?;
        for client in clients {
            match client.queue.try_send(line.clone()) {
                Ok(()) => self.shown += 1,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    client.slow += 1;
                    self.slow += 1;
                }
                // It is dropped with the next tick.
                Err(mpsc::error::TrySendError::Closed(_)) => {}
            }
        }
        Ok(())
    }

    /// Tells the kernel of numbers that were given since.
    fn tell_numbers(&mut self, ledger: &Ledger) {
        let numbers = (ledger.services().version(), ledger.routes().count());
        if numbers == self.numbers {
            return;
        }
        self.numbers = numbers;
        for (slot, client) in self.clients.iter().enumerate() {
            let Some(client) = client else {
                continue;
            };
            let (wanted, routes) = (
                client.filter.wanted(ledger.services()),
                client.filter.routes(ledger.routes()),
            );
            if let Err(failure) = self.kernel.change(slot, &wanted, &routes) {
                error!("cannot change what is traced: {failure:#}");
            }
        }
    }

    /// Drops those who are gone, and tells the others what they were not shown. To be called a few times a second.
    pub fn tick(&mut self, ledger: &mut Ledger) {
        self.hand_out(ledger);
        self.drop_gone();
        for (slot, client) in self.clients.iter_mut().enumerate() {
            let Some(client) = client else {
                continue;
            };
            let Ok(untold) = self.kernel.untold(slot) else {
                continue;
            };
            let not_shown = client.not_shown(&untold);
            if not_shown != client.told
                && let Ok(line) = json(&Line::NotShown { not_shown })
                && client.queue.try_send(line).is_ok()
            {
                client.told = not_shown;
            }
        }
    }

    fn drop_gone(&mut self) {
        for (slot, place) in self.clients.iter_mut().enumerate() {
            if place.as_ref().is_some_and(|client| client.queue.is_closed()) {
                if let Err(failure) = self.kernel.stop(slot) {
                    error!("cannot stop to trace: {failure:#}");
                }
                *place = None;
            }
        }
    }

    /// What was shown since Vigie runs.
    pub fn totals(&self) -> Totals {
        let mut not_shown = NotShown {
            slow_client: self.slow,
            ..NotShown::default()
        };
        for slot in 0..SLOTS {
            let Untold {
                over_rate,
                ring_full,
                interrupted,
            } = self.kernel.untold(slot).unwrap_or_default();
            not_shown.rate += over_rate;
            not_shown.ring_full += ring_full;
            not_shown.interrupted += interrupted;
        }
        Totals {
            clients: self.clients.iter().flatten().count(),
            shown: self.shown,
            not_shown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart() {
        for (line, text) in [
            (
                Line::Begin {
                    trace: Begin {
                        id: 7,
                        version: "1".to_owned(),
                    },
                },
                "{\"trace\":{\"id\":7,\"version\":\"1\"}}\n",
            ),
            (
                Line::NotShown {
                    not_shown: NotShown {
                        rate: 3,
                        ..NotShown::default()
                    },
                },
                "{\"not_shown\":{\"rate\":3,\"ring_full\":0,\"interrupted\":0,\"slow_client\":0}}\n",
            ),
        ] {
            assert_eq!(json(&line).unwrap(), text);
            assert_eq!(serde_json::from_str::<Line>(text).unwrap(), line);
        }
    }
}
