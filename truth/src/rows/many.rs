//! Many requests on a connection, and many connections.

use super::{Group, row};
use crate::peer::{OK, get, put, take};
use crate::raw;
use crate::run::Run;
use anyhow::Result;
use std::time::Instant;

pub const GROUP: Group = Group {
    title: "many",
    rows: &[
        row("idle after 1 request", idle_1),
        row("idle after 5 requests", idle_5),
        row("idle after 1,000 requests", idle_1000),
        row("2,000 connections at once", connections),
    ],
};

/// The last request is counted at once, not when the connection ends or goes on.
fn idle(run: &mut Run<'_>, requests: usize, path: &str) -> Result<()> {
    let (mut client, server) = run.pair()?;
    for _ in 0..requests {
        run.small(&mut client, &server, path)?;
    }
    run.visible_at_once()?;
    run.keep((client, server));
    Ok(())
}

fn idle_1(run: &mut Run<'_>) -> Result<()> {
    idle(run, 1, "/idle/one")
}

fn idle_5(run: &mut Run<'_>) -> Result<()> {
    idle(run, 5, "/idle/five")
}

fn idle_1000(run: &mut Run<'_>) -> Result<()> {
    idle(run, 1000, "/idle/thousand")
}

/// All are open before the first request is sent, and all requests are read before the first is answered.
fn connections(run: &mut Run<'_>) -> Result<()> {
    raw::allow_files(20_000)?;
    let mut pairs = Vec::new();
    for _ in 0..2000 {
        pairs.push(run.pair()?);
    }
    let request = get("/many/connections");
    let mut starts = Vec::new();
    for (client, server) in &mut pairs {
        starts.push(Instant::now());
        client.send_raw(&request)?;
        take(server, request.len())?;
    }
    for ((client, server), start) in pairs.iter_mut().zip(starts) {
        put(server, OK)?;
        let response = client.read_response("GET")?;
        run.answered("/many/connections", "GET", response.status, start, response.end);
    }
    run.visible_at_once()
}
