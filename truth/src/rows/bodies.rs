//! Request bodies.

use super::{Group, row, waiting};
use crate::peer::{OK, drain, get, pause, put, response, take};
use crate::run::Run;
use anyhow::{Result, anyhow};
use std::net::TcpStream;
use std::thread;
use testkit::Client;

pub const GROUP: Group = Group {
    title: "request bodies",
    rows: &[
        waiting("body 0.5 s after its head", late_body),
        row("body of 50 MB", large_body),
        waiting("answer before the end of the body", early_answer),
        row("413, and closed with the body unread", unread_body),
        row("body after the answer, like a request line", stray_body),
        row("body that looks like requests", body_of_requests),
        row("chunks that look like requests", chunks_of_requests),
    ],
};

fn late_body(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    let head = b"POST /body/late HTTP/1.1\r\nHost: truth\r\nContent-Length: 5\r\n\r\n";
    client.send_raw(head)?;
    take(&server, head.len())?;
    pause(500);
    client.send_raw(b"hello")?;
    take(&server, 5)?;
    put(&server, OK)?;
    let response = client.read_response("POST")?;
    run.client_saw("/body/late", "POST", &response);
    run.small(&mut client, &server, "/body/late")?;
    run.keep((client, server));
    Ok(())
}

fn large_body(run: &mut Run<'_>) -> Result<()> {
    const SIZE: usize = 50_000_000;
    let (mut client, server) = run.pair()?;
    let head = format!("PUT /body/large HTTP/1.1\r\nHost: truth\r\nContent-Length: {SIZE}\r\n\r\n");
    let whole = head.len() + SIZE;
    let server = thread::spawn(move || -> Result<_> {
        drain(&server, whole)?;
        put(&server, OK)?;
        Ok(server)
    });
    client.send_raw(head.as_bytes())?;
    // Any bytes, but not all alike: lines that begin as requests do.
    let piece = b"GET /body/inside HTTP/1.1\r\n\r\nabcd".repeat(1 << 15);
    let mut left = SIZE;
    while left > 0 {
        let count = left.min(piece.len());
        client.send_raw(&piece[..count])?;
        left -= count;
    }
    let response = client.read_response("PUT")?;
    run.client_saw("/body/large", "PUT", &response);
    let server = server.join().map_err(|_| anyhow!("the server panicked"))??;
    run.small(&mut client, &server, "/body/large")?;
    run.keep((client, server));
    Ok(())
}

/// The answer ends the request, as the client sees it; the rest of the body is nothing of the next one.
fn early_answer(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    for _ in 0..2 {
        let head = b"POST /body/early HTTP/1.1\r\nHost: truth\r\nContent-Length: 3000\r\n\r\n";
        client.send_raw(head)?;
        client.send_raw(&[b'x'; 1000])?;
        take(&server, head.len() + 1000)?;
        put(&server, &response(413, "too much"))?;
        let answer = client.read_response("POST")?;
        run.client_saw("/body/early", "POST", &answer);
        // Not by the client: what it sends is no request of its own.
        put(client.stream(), &[b'y'; 2000])?;
        take(&server, 2000)?;
        pause(100);
        run.small(&mut client, &server, "/body/early")?;
    }
    run.keep((client, server));
    Ok(())
}

fn stray_body(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    let body = get("/body/stray/none");
    for _ in 0..3 {
        let head = format!(
            "POST /body/stray HTTP/1.1\r\nHost: truth\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        run.exchange((&mut client, &server), ("/body/stray", "POST"), head.as_bytes(), OK)?;
        put(client.stream(), &body)?;
        take(&server, body.len())?;
        run.small(&mut client, &server, "/body/stray")?;
    }
    run.keep((client, server));
    Ok(())
}

/// In one segment with its head, and in segments of its own.
fn body_of_requests(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    let body = [get("/body/one/none"), get("/body/two/none")].concat();
    let head = format!(
        "POST /body/requests HTTP/1.1\r\nHost: truth\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let whole = [head.as_bytes(), &body].concat();
    let (one, two) = body.split_at(body.len() / 2);
    for pieces in [&[&whole[..]][..], &[head.as_bytes(), one, two]] {
        send_pieces(run, &mut client, &server, "/body/requests", pieces)?;
    }
    run.keep((client, server));
    Ok(())
}

fn chunks_of_requests(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    let inner = get("/body/inner/none");
    let size = format!("{:x}\r\n", inner.len());
    let head: &[u8] = b"POST /body/chunks HTTP/1.1\r\nHost: truth\r\nTransfer-Encoding: chunked\r\n\r\n";
    let pieces: [&[u8]; 6] = [head, size.as_bytes(), &inner, b"\r\n", b"0\r\n", b"\r\n"];
    let whole = pieces.concat();
    for pieces in [&[&whole[..]][..], &pieces] {
        send_pieces(run, &mut client, &server, "/body/chunks", pieces)?;
    }
    run.keep((client, server));
    Ok(())
}

/// A POST in these pieces, its answer, and a small request behind it.
fn send_pieces(run: &mut Run<'_>, client: &mut Client, server: &TcpStream, path: &str, pieces: &[&[u8]]) -> Result<()> {
    for piece in pieces {
        client.send_raw(piece)?;
        take(server, piece.len())?;
    }
    put(server, OK)?;
    let response = client.read_response("POST")?;
    run.client_saw(path, "POST", &response);
    run.small(client, server, path)
}

/// The server's close is a reset: there is something that it has not read.
fn unread_body(run: &mut Run<'_>) -> Result<()> {
    for _ in 0..3 {
        let (mut client, server) = run.pair()?;
        let head = b"POST /body/unread HTTP/1.1\r\nHost: truth\r\nContent-Length: 1000000\r\n\r\n";
        client.send_raw(head)?;
        take(&server, head.len())?;
        client.send_raw(&[b'u'; 20_000])?;
        put(
            &server,
            b"HTTP/1.1 413 Too Much\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno",
        )?;
        let response = client.read_response("POST")?;
        drop(server);
        run.client_saw("/body/unread", "POST", &response);
    }
    Ok(())
}
