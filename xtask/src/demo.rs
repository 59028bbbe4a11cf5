//! `cargo xtask demo`: a store under load, seen by its clients and by Vigie.

mod compare;
mod report;
mod servers;

use crate::command;
use crate::progress::Progress;
use crate::setup::Tools;
use anyhow::{Context as _, Result, bail};
use clap::Args;
use compare::Comparison;
use servers::Servers;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use testkit::{run_stages, stop, store};

/// Virtual users of each stage.
const USERS: [usize; 4] = [10, 30, 60, 100];
const BACKGROUND_USERS: usize = 5;
/// The background load goes on in pieces, because a piece keeps a record of each of its requests.
const BACKGROUND_PIECE: Duration = Duration::from_secs(600);
/// Between the last answer and the scrape. A client can have an answer before the store's call that sent it has
/// returned, which is when Vigie counts it.
const SETTLE: Duration = Duration::from_millis(200);

#[derive(Args, Debug)]
pub struct Options {
    /// Stop after the comparison, and fail if a count differs
    #[arg(long)]
    pub once: bool,
    /// Duration of each of the four stages
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub stage_seconds: u64,
    /// Port of Vigie's metrics [default: 10190, or the next free one]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
}

/// Runs the demo until it is done, or told to stop.
pub fn run(tools: &Tools, options: &Options) -> Result<()> {
    let vigie = command::build(&["vigie"])?.join("vigie");

    let stop = stop::on_signal()?;
    let servers = Servers::start(&tools.python, &vigie, options.port)?;
    report::servers(&servers);

    let stages = USERS.map(|users| (users, Duration::from_secs(options.stage_seconds)));
    let mut progress = Progress::new(&USERS);
    let address = servers.store.address();
    let records = run_stages(
        address,
        &stages,
        store::THINK,
        &stop,
        store::store_shot,
        |stage, users, finished| {
            progress.update(stage, users, finished);
        },
    );
    if stop.load(Ordering::Relaxed) {
        if options.once {
            bail!("stopped before the load was over: nothing is compared");
        }
        return Ok(());
    }
    thread::sleep(SETTLE);
    let scrape = servers.vigie.scrape().context("cannot scrape Vigie")?;
    let comparison = Comparison::new(records, &scrape, servers.store.port());
    report::comparison(&comparison);
    report::phases(&scrape, servers.store.port());
    report::service(&scrape, servers.store.port());

    if options.once {
        return report::verdict(&comparison);
    }
    report::goes_on(&servers, BACKGROUND_USERS);
    go_on(&servers, &stop)
}

/// A light load until `stop`, or until a server has ended.
fn go_on(servers: &Servers, stop: &AtomicBool) -> Result<()> {
    let stage = [(BACKGROUND_USERS, BACKGROUND_PIECE)];
    while !stop.load(Ordering::Relaxed) {
        run_stages(
            servers.store.address(),
            &stage,
            store::THINK,
            stop,
            store::store_shot,
            |_, _, _| {
                stop_if_ended(servers, stop);
            },
        );
    }
    servers.check()
}

fn stop_if_ended(servers: &Servers, stop: &AtomicBool) {
    if servers.check().is_err() {
        stop.store(true, Ordering::Relaxed);
    }
}
