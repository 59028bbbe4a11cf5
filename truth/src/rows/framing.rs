//! How the end of a response is known.

use super::{Group, row, waiting};
use crate::peer::{OK, get, pause, put, request, take};
use crate::run::Run;
use anyhow::{Result, ensure};
use std::io::{IoSlice, Write as _};
use std::net::TcpStream;
use testkit::Client;

pub const GROUP: Group = Group {
    title: "where a response ends",
    rows: &[
        row("HTTP/1.0 without keep-alive", old),
        row("HTTP/1.0 with keep-alive", old_kept),
        row("HEAD", head),
        row("204 with a length", no_content),
        row("304 with a length", not_modified),
        waiting("chunks, trailers 0.1 s later", trailers),
        waiting("body until the close", until_close),
        waiting("100-continue", interim_continue),
        waiting("103 early hints", early_hints),
        row("200 small chunks in one write", chunks_write),
        row("200 small chunks in one writev", chunks_writev),
        waiting("response head of 12 KB, body later", long_head),
    ],
};

fn old(run: &mut Run<'_>) -> Result<()> {
    for _ in 0..3 {
        let (mut client, server) = run.pair()?;
        run.exchange(
            (&mut client, &server),
            ("/old/closed", "GET"),
            b"GET /old/closed HTTP/1.0\r\n\r\n",
            b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        )?;
    }
    Ok(())
}

fn old_kept(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    for _ in 0..3 {
        run.exchange(
            (&mut client, &server),
            ("/old/kept", "GET"),
            b"GET /old/kept HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        )?;
    }
    run.keep((client, server));
    Ok(())
}

/// One response without a body on a connection that stays idle, and one that other requests follow.
fn without_body(run: &mut Run<'_>, method: &str, path: &str, answer: &[u8]) -> Result<()> {
    let (mut idle, idle_server) = run.pair()?;
    let request = request(method, path);
    run.exchange((&mut idle, &idle_server), (path, method), &request, answer)?;
    run.visible_at_once()?;
    let (mut client, server) = run.pair()?;
    run.exchange((&mut client, &server), (path, method), &request, answer)?;
    // Vigie meets a new series with the first of them, and may take the client's CPU for that.
    for _ in 0..4 {
        run.small(&mut client, &server, path)?;
    }
    run.keep((idle, idle_server, client, server));
    Ok(())
}

fn head(run: &mut Run<'_>) -> Result<()> {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
    without_body(run, "HEAD", "/bodyless/head", answer)
}

fn no_content(run: &mut Run<'_>) -> Result<()> {
    without_body(
        run,
        "PUT",
        "/bodyless/put",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 1000\r\n\r\n",
    )
}

fn not_modified(run: &mut Run<'_>) -> Result<()> {
    let answer = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n";
    without_body(run, "GET", "/bodyless/cached", answer)
}

/// A response in pieces with pauses of 0.1 s, and then a request more.
fn in_pieces(run: &mut Run<'_>, path: &str, pieces: &[&[u8]]) -> Result<()> {
    let (mut client, server) = run.pair()?;
    pieces_after(run, &mut client, &server, path, pieces)?;
    run.small(&mut client, &server, path)?;
    run.keep((client, server));
    Ok(())
}

fn pieces_after(
    run: &mut Run<'_>,
    client: &mut Client,
    server: &TcpStream,
    path: &str,
    pieces: &[&[u8]],
) -> Result<()> {
    let request = get(path);
    client.send_raw(&request)?;
    take(server, request.len())?;
    for (index, piece) in pieces.iter().enumerate() {
        pause(if index == 0 { 0 } else { 100 });
        put(server, piece)?;
    }
    let response = client.read_response("GET")?;
    run.client_saw(path, "GET", &response);
    Ok(())
}

fn trailers(run: &mut Run<'_>) -> Result<()> {
    in_pieces(
        run,
        "/chunked/trailers",
        &[
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n",
            b"X-Sum: 7\r\n\r\n",
        ],
    )
}

/// Up to the last byte of the body, which the client has read long before the close.
fn until_close(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    let request = get("/until/close");
    client.send_raw(&request)?;
    take(&server, request.len())?;
    put(&server, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello")?;
    pause(100);
    put(&server, b" world")?;
    pause(400);
    drop(server);
    let response = client.read_response("GET")?;
    run.client_saw("/until/close", "GET", &response);
    Ok(())
}

fn interim_continue(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    let head = b"POST /interim/continue HTTP/1.1\r\nHost: truth\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    for _ in 0..2 {
        client.send_raw(head)?;
        take(&server, head.len())?;
        pause(50);
        let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
        put(&server, interim)?;
        pause(50);
        client.send_raw(b"hello")?;
        take(&server, 5)?;
        put(&server, OK)?;
        let response = client.read_response("POST")?;
        run.client_saw("/interim/continue", "POST", &response);
    }
    run.keep((client, server));
    Ok(())
}

fn early_hints(run: &mut Run<'_>) -> Result<()> {
    in_pieces(
        run,
        "/interim/hints",
        &[b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n", OK],
    )
}

/// The head, 200 chunks of 3 bytes and the last one, each on its own.
fn chunks() -> Vec<Vec<u8>> {
    let mut parts = vec![b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()];
    parts.extend((0..200).map(|_| b"3\r\nabc\r\n".to_vec()));
    parts.push(b"0\r\n\r\n".to_vec());
    parts
}

fn chunks_write(run: &mut Run<'_>) -> Result<()> {
    send_chunks(run, "/chunked/write", |server, parts| {
        put(server, &parts.concat()).map(drop)
    })
}

fn chunks_writev(run: &mut Run<'_>) -> Result<()> {
    send_chunks(run, "/chunked/writev", |server, parts| {
        let buffers: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut writer = server;
        let sent = writer.write_vectored(&buffers)?;
        ensure!(sent == parts.concat().len(), "writev took {sent} bytes");
        Ok(())
    })
}

fn send_chunks(run: &mut Run<'_>, path: &str, send: fn(&TcpStream, &[Vec<u8>]) -> Result<()>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    let request = get(path);
    for _ in 0..3 {
        client.send_raw(&request)?;
        take(&server, request.len())?;
        send(&server, &chunks())?;
        let response = client.read_response("GET")?;
        ensure!(response.body.len() == 600, "{} bytes of body", response.body.len());
        run.client_saw(path, "GET", &response);
        run.visible_at_once()?;
    }
    run.keep((client, server));
    Ok(())
}

fn long_head(run: &mut Run<'_>) -> Result<()> {
    let header = format!("X-Filler: {}\r\n", "f".repeat(88));
    let headers = header.repeat(12_000 / header.len());
    let head = format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: 5\r\n\r\n");
    in_pieces(run, "/head/response", &[head.as_bytes(), b"hello"])
}
