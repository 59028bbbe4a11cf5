//! Where a request can wait before anybody reads it, and where nothing waits yet.

use super::{Group, waiting};
use crate::peer::{OK, get, pause, put, take, take_end};
use crate::run::Run;
use anyhow::Result;
use std::net::Shutdown;

pub const GROUP: Group = Group {
    title: "waiting",
    rows: &[
        waiting("1 s in the accept backlog", backlog),
        waiting("1 s in the receive queue", queue),
        waiting("connection opened 2 s before its request", early_connection),
        waiting("idle for 1 s between two requests", idle_between),
        waiting("half-closed by the client", half_close),
    ],
};

fn backlog(run: &mut Run<'_>) -> Result<()> {
    let mut client = run.connect()?;
    let request = get("/waits/backlog");
    client.send_raw(&request)?;
    pause(1000);
    let server = run.accept()?;
    take(&server, request.len())?;
    put(&server, OK)?;
    let response = client.read_response("GET")?;
    run.client_saw("/waits/backlog", "GET", &response);
    run.keep((client, server));
    Ok(())
}

fn queue(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    let request = get("/waits/queue");
    client.send_raw(&request)?;
    pause(1000);
    take(&server, request.len())?;
    put(&server, OK)?;
    let response = client.read_response("GET")?;
    run.client_saw("/waits/queue", "GET", &response);
    run.keep((client, server));
    Ok(())
}

fn early_connection(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    pause(2000);
    run.small(&mut client, &server, "/waits/connection")?;
    run.keep((client, server));
    Ok(())
}

fn idle_between(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    run.small(&mut client, &server, "/waits/between")?;
    pause(1000);
    run.small(&mut client, &server, "/waits/between")?;
    run.keep((client, server));
    Ok(())
}

/// The end of the client's side is no abort: it still reads.
fn half_close(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    let request = get("/waits/half");
    client.send_raw(&request)?;
    client.stream().shutdown(Shutdown::Write)?;
    take(&server, request.len())?;
    take_end(&server)?;
    pause(100);
    put(&server, OK)?;
    drop(server);
    let response = client.read_response("GET")?;
    run.client_saw("/waits/half", "GET", &response);
    Ok(())
}
