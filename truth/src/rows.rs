//! The rows, in groups.

mod aborts;
mod addresses;
mod bodies;
mod framing;
mod garbage;
mod long_lived;
mod many;
mod pipelining;
mod reading;
mod sending;
mod splitting;
mod starved;
mod syntax;
mod targets;
mod upgrades;
mod waiting;

pub use long_lived::HANDLER as LONG_LIVED;
pub use starved::serve as serve_starved;

use crate::run::Run;
use anyhow::Result;

/// How a row spends its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// It waits most of the time: other rows that wait can run beside it.
    Waits,
    /// It runs for milliseconds, or keeps a CPU busy: alone.
    Works,
}

/// One case: what a client and a server do, and with what result.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub name: &'static str,
    pub pace: Pace,
    /// Whether it needs nothing but sockets and the kernel.
    pub is_core: bool,
    pub script: fn(&mut Run<'_>) -> Result<()>,
}

/// Rows under a title.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    pub title: &'static str,
    pub rows: &'static [Row],
}

pub const GROUPS: [Group; 16] = [
    splitting::GROUP,
    targets::GROUP,
    framing::GROUP,
    syntax::GROUP,
    pipelining::GROUP,
    bodies::GROUP,
    sending::GROUP,
    reading::GROUP,
    waiting::GROUP,
    starved::GROUP,
    upgrades::GROUP,
    aborts::GROUP,
    many::GROUP,
    addresses::GROUP,
    garbage::GROUP,
    long_lived::GROUP,
];

/// A row that works.
const fn row(name: &'static str, script: fn(&mut Run<'_>) -> Result<()>) -> Row {
    Row {
        name,
        pace: Pace::Works,
        is_core: true,
        script,
    }
}

/// A row that waits.
const fn waiting(name: &'static str, script: fn(&mut Run<'_>) -> Result<()>) -> Row {
    Row {
        pace: Pace::Waits,
        ..row(name, script)
    }
}
