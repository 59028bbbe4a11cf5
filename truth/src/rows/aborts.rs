//! Connections that end at the wrong time. Each row first has an ordinary request answered, so that the path has its handler.

use super::{Group, row, waiting};
use crate::peer::{OK, ask, pause, put, take, take_end};
use crate::raw;
use crate::run::Run;
use anyhow::{Result, ensure};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;
use std::time::Instant;
use testkit::Client;
use testkit::socket::reset_on_close;

pub const GROUP: Group = Group {
    title: "aborts",
    rows: &[
        row("client leaves within the request line", within_line),
        row("client leaves before the answer", before),
        row("client leaves, and is answered all the same", answered_anyway),
        waiting("client leaves during the answer", during),
        row("client leaves after the answer", after),
        row("client resets before the answer", reset_before),
        row("client resets after the answer", reset_after),
        row("server closes without an answer", server_closes),
        row("server resets without an answer", server_resets),
        waiting("descriptor used again at once", descriptor),
    ],
};

/// A new connection on which one request was answered.
fn warm(run: &mut Run<'_>, path: &str) -> Result<(Client, TcpStream)> {
    let (mut client, server) = run.pair()?;
    run.small(&mut client, &server, path)?;
    Ok((client, server))
}

/// What has no end of a request line is no request.
fn within_line(run: &mut Run<'_>) -> Result<()> {
    for partial in ["G", "GET", "GET /aborts/li", "GET /aborts/line HTTP/1."] {
        let (mut client, server) = warm(run, "/aborts/line")?;
        client.send_raw(partial.as_bytes())?;
        take(&server, partial.len())?;
        drop(client);
        take_end(&server)?;
    }
    Ok(())
}

fn before(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = warm(run, "/aborts/before")?;
    ask(&mut client, &server, "/aborts/before")?;
    drop(client);
    take_end(&server)?;
    run.aborted("/aborts/before", "GET");
    Ok(())
}

/// The server does not look. The kernel takes its answer, which ends the request: the server's clock.
fn answered_anyway(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = warm(run, "/aborts/anyway")?;
    let start = ask(&mut client, &server, "/aborts/anyway")?;
    drop(client);
    let end = put(&server, OK)?;
    run.answered("/aborts/anyway", "GET", 200, start, end);
    Ok(())
}

/// The answer has begun and has its status; it ends with the last byte that the kernel has taken: the server's clock.
fn during(run: &mut Run<'_>) -> Result<()> {
    let (mut client, mut server) = warm(run, "/aborts/during")?;
    let start = ask(&mut client, &server, "/aborts/during")?;
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n0123456789";
    put(&server, answer)?;
    take(client.stream(), answer.len())?;
    drop(client);
    pause(50);
    // The kernel takes what is sent until it has heard of the reset.
    let (mut sent, mut end) = (0, start);
    while server.write_all(&[b'x'; 1000]).is_ok() {
        end = Instant::now();
        sent += 1000;
        ensure!(sent < 900_000, "the connection does not end");
        pause(20);
    }
    pause(200);
    run.answered("/aborts/during", "GET", 200, start, end);
    Ok(())
}

fn after(run: &mut Run<'_>) -> Result<()> {
    let (client, server) = warm(run, "/aborts/after")?;
    drop(client);
    take_end(&server)
}

/// The server notices by an error, not by an end.
fn is_reset(mut server: &TcpStream) -> Result<()> {
    let read = server.read(&mut [0; 10]);
    ensure!(read.is_err(), "the connection was not reset: {read:?}");
    Ok(())
}

fn reset_before(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = warm(run, "/aborts/reset")?;
    ask(&mut client, &server, "/aborts/reset")?;
    reset_on_close(client.stream())?;
    drop(client);
    is_reset(&server)?;
    run.aborted("/aborts/reset", "GET");
    Ok(())
}

fn reset_after(run: &mut Run<'_>) -> Result<()> {
    let (client, server) = warm(run, "/aborts/done")?;
    reset_on_close(client.stream())?;
    drop(client);
    is_reset(&server)
}

fn server_closes(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = warm(run, "/aborts/closed")?;
    ask(&mut client, &server, "/aborts/closed")?;
    drop(server);
    take_end(client.stream())?;
    run.aborted("/aborts/closed", "GET");
    Ok(())
}

fn server_resets(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = warm(run, "/aborts/refused")?;
    ask(&mut client, &server, "/aborts/refused")?;
    reset_on_close(&server)?;
    drop(server);
    is_reset(client.stream())?;
    run.aborted("/aborts/refused", "GET");
    Ok(())
}

/// Another connection gets the descriptor's number in the step that closes the first one. Its request is its own.
fn descriptor(run: &mut Run<'_>) -> Result<()> {
    let (mut first, old) = warm(run, "/aborts/descriptor")?;
    let (mut second, new) = run.pair()?;
    ask(&mut first, &old, "/aborts/descriptor")?;
    drop(first);
    take_end(&old)?;
    run.aborted("/aborts/descriptor", "GET");
    let number = old.as_raw_fd();
    let server = raw::take_number(new, old)?;
    ensure!(server.as_raw_fd() == number, "it has another number");
    ask(&mut second, &server, "/aborts/next")?;
    pause(50);
    put(&server, OK)?;
    let response = second.read_response("GET")?;
    run.client_saw("/aborts/next", "GET", &response);
    run.keep((second, server));
    Ok(())
}
