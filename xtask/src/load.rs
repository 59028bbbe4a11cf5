//! `cargo xtask load`: the store's load, on whatever address.

#![expect(clippy::print_stdout, reason = "these lines are what the command shows")]

use anyhow::{Result, ensure};
use clap::Args;
use std::net::SocketAddr;
use std::time::Duration;
use testkit::{run_stages, stop, store};

#[derive(Args, Debug)]
pub struct Options {
    /// Where the store, or nginx before it, listens
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8081")]
    target: SocketAddr,
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=1000))]
    users: u16,
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=36_000))]
    seconds: u64,
}

/// Sends requests until the time is over, or until it is told to stop.
pub fn run(options: &Options) -> Result<()> {
    let stop = stop::on_signal()?;
    let stages = [(usize::from(options.users), Duration::from_secs(options.seconds))];
    let records = run_stages(
        options.target,
        &stages,
        store::THINK,
        &stop,
        store::store_shot,
        |_, _, _| {},
    );
    let (all, lost) = (records.len(), records.unexpected().len());
    println!(
        "load: {all} requests in {:.1} s, {lost} of them not answered as they should be",
        records.elapsed()
    );
    ensure!(
        lost < all,
        "no request was answered as it should be: is the store on {}?",
        options.target
    );
    Ok(())
}
