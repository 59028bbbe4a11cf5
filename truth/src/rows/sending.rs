//! How a response leaves the server. Where the kernel has taken it long before the client has read it, the truth is the
//! server's clock.

use super::{Group, row, waiting};
use crate::peer::{ask, pause, put, take};
use crate::raw;
use crate::run::Run;
use anyhow::{Result, anyhow, ensure};
use std::fs::File;
use std::io::{ErrorKind, IoSlice, Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};
use testkit::socket::limit_send_buffer;

pub const GROUP: Group = Group {
    title: "responses on their way",
    rows: &[
        waiting("head and body in two sends", two_sends),
        waiting("the same, without TCP_NODELAY", nagle),
        waiting("10 × 1 byte over a second", streamed),
        row("response byte by byte", byte_by_byte),
        waiting("2 MiB by sendfile", by_sendfile),
        waiting("2 MiB by splice", by_splice),
        waiting("chunk by sendfile", chunk_by_sendfile),
        waiting("chunk of 1 MB, its end 0.1 s later", large_chunk),
        waiting("non-blocking, as there is room", non_blocking),
        row("writev and sendmsg, 7 bytes each", small_buffers),
        waiting("client that reads 0.3 s later", late_reader),
        waiting("client that reads 8 MB slowly", slow_reader),
    ],
};

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";

fn two_sends(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    ask(&mut client, &server, "/sends/two")?;
    put(&server, HEAD)?;
    pause(100);
    put(&server, b"0123456789")?;
    let response = client.read_response("GET")?;
    run.client_saw("/sends/two", "GET", &response);
    run.visible_at_once()?;
    run.keep((client, server));
    Ok(())
}

/// The body waits in the kernel for the client's delayed acknowledgement, on both sides. The kernel has taken it before:
/// the server's clock.
fn nagle(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    client.stream().set_nodelay(false)?;
    server.set_nodelay(false)?;
    for _ in 0..5 {
        let head = b"POST /sends/nagle HTTP/1.1\r\nHost: truth\r\nContent-Length: 4\r\n\r\n";
        let start = Instant::now();
        client.send_raw(head)?;
        client.send_raw(b"body")?;
        take(&server, head.len() + 4)?;
        put(&server, HEAD)?;
        let end = put(&server, b"0123456789")?;
        let response = client.read_response("POST")?;
        run.answered("/sends/nagle", "POST", response.status, start, end);
    }
    run.keep((client, server));
    Ok(())
}

fn streamed(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    ask(&mut client, &server, "/sends/streamed")?;
    put(&server, HEAD)?;
    for byte in 0..10 {
        pause(if byte == 0 { 0 } else { 100 });
        put(&server, b"x")?;
    }
    let response = client.read_response("GET")?;
    run.client_saw("/sends/streamed", "GET", &response);
    run.keep((client, server));
    Ok(())
}

fn byte_by_byte(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    let answers: [&[u8]; 2] = [
        b"HTTP/1.1 201 Created\r\nServer: truth\r\nContent-Length: 10\r\n\r\n0123456789",
        b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nT: u\r\n\r\n",
    ];
    for answer in answers.iter().cycle().take(6) {
        ask(&mut client, &server, "/sends/bytes")?;
        for byte in answer.chunks(1) {
            put(&server, byte)?;
        }
        let response = client.read_response("GET")?;
        run.client_saw("/sends/bytes", "GET", &response);
        run.visible_at_once()?;
    }
    run.keep((client, server));
    Ok(())
}

const FILE_SIZE: usize = 2 << 20;

/// A file's bytes by a call that has no buffer. The client begins to read after 0.1 s, until when the server waits for room;
/// the last bytes wait for the client in the kernel: the server's clock.
fn by_call(run: &mut Run<'_>, path: &str, send: fn(&TcpStream, &File, usize) -> Result<()>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    limit_send_buffer(&server, 128 * 1024)?;
    let file = raw::memory_file(&vec![b'f'; FILE_SIZE])?;
    for _ in 0..2 {
        let start = ask(&mut client, &server, path)?;
        let (end, status) = thread::scope(|scope| -> Result<_> {
            let sender = scope.spawn(|| -> Result<Instant> {
                put(
                    &server,
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {FILE_SIZE}\r\n\r\n").as_bytes(),
                )?;
                send(&server, &file, FILE_SIZE)?;
                Ok(Instant::now())
            });
            pause(100);
            let response = client.read_response("GET")?;
            let end = sender.join().map_err(|_| anyhow!("the server panicked"))??;
            Ok((end, response.status))
        })?;
        run.answered(path, "GET", status, start, end);
        run.visible_at_once()?;
    }
    run.keep((client, server));
    Ok(())
}

fn by_sendfile(run: &mut Run<'_>) -> Result<()> {
    by_call(run, "/sends/sendfile", raw::sendfile)
}

fn by_splice(run: &mut Run<'_>) -> Result<()> {
    by_call(run, "/sends/splice", raw::splice)
}

fn small_buffers(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    let answer = b"HTTP/1.1 203 Other\r\nServer: truth\r\nContent-Length: 20\r\n\r\n01234567890123456789";
    let buffers: Vec<IoSlice<'_>> = answer.chunks(7).map(IoSlice::new).collect();
    for call in [
        |mut server: &TcpStream, buffers: &[IoSlice<'_>]| Ok(server.write_vectored(buffers)?),
        raw::sendmsg,
    ] {
        ask(&mut client, &server, "/sends/buffers")?;
        let sent = call(&server, &buffers)?;
        ensure!(sent == answer.len(), "{sent} bytes were taken");
        let response = client.read_response("GET")?;
        run.client_saw("/sends/buffers", "GET", &response);
    }
    run.visible_at_once()?;
    run.keep((client, server));
    Ok(())
}

/// The response fits into the kernel's buffers: it has ended before the client reads it. The server's clock.
fn late_reader(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    let start = ask(&mut client, &server, "/readers/late")?;
    pause(50);
    put(&server, HEAD)?;
    let end = put(&server, b"0123456789")?;
    pause(300);
    let response = client.read_response("GET")?;
    run.answered("/readers/late", "GET", response.status, start, end);
    run.keep((client, server));
    Ok(())
}

/// The server waits for the client in its only write. The last bytes are in the buffers when it returns: the server's clock.
fn slow_reader(run: &mut Run<'_>) -> Result<()> {
    const SIZE: usize = 8_000_000;
    let (mut client, server) = run.pair()?;
    let start = ask(&mut client, &server, "/readers/slow")?;
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + SIZE, b's');
    let end = thread::scope(|scope| -> Result<Instant> {
        let sender = scope.spawn(|| put(&server, &answer));
        let (mut left, mut buffer) = (answer.len(), vec![0; 128 * 1024]);
        let mut reader = client.stream();
        while left > 0 {
            thread::sleep(Duration::from_millis(5));
            let count = reader.read(&mut buffer)?;
            ensure!(count > 0, "the server closed with {left} bytes to go");
            left -= count;
        }
        sender.join().map_err(|_| anyhow!("the server panicked"))?
    })?;
    run.answered("/readers/slow", "GET", 200, start, end);
    run.keep((client, server));
    Ok(())
}

/// Head, size and end of the chunk by write, what is in it by a call that has no buffer.
fn chunk_by_sendfile(run: &mut Run<'_>) -> Result<()> {
    const SIZE: usize = 20_000;
    let (mut client, server) = run.pair()?;
    let file = raw::memory_file(&b"HTTP/1.1 500 Not\r\n\r\n".repeat(SIZE / 20))?;
    ask(&mut client, &server, "/sends/chunk")?;
    put(
        &server,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4E20\r\n",
    )?;
    raw::sendfile(&server, &file, SIZE)?;
    pause(50);
    put(&server, b"\r\n0\r\n\r\n")?;
    let response = client.read_response("GET")?;
    ensure!(response.body.len() == SIZE, "{} bytes of body", response.body.len());
    run.client_saw("/sends/chunk", "GET", &response);
    run.visible_at_once()?;
    run.keep((client, server));
    Ok(())
}

fn large_chunk(run: &mut Run<'_>) -> Result<()> {
    const SIZE: usize = 1 << 20;
    let (mut client, server) = run.pair()?;
    ask(&mut client, &server, "/sends/large")?;
    let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n".to_vec();
    answer.resize(answer.len() + SIZE, b'0');
    let response = thread::scope(|scope| -> Result<_> {
        let sender = scope.spawn(|| -> Result<()> {
            put(&server, &answer)?;
            pause(100);
            put(&server, b"\r\n0\r\n\r\n").map(drop)
        });
        let response = client.read_response("GET")?;
        sender.join().map_err(|_| anyhow!("the server panicked"))??;
        Ok(response)
    })?;
    run.client_saw("/sends/large", "GET", &response);
    run.visible_at_once()?;
    run.keep((client, server));
    Ok(())
}

/// A server that gives the kernel what there is room for, and tries again. The client begins to read after 0.1 s: the
/// server's clock.
fn non_blocking(run: &mut Run<'_>) -> Result<()> {
    const SIZE: usize = 2_000_000;
    let (mut client, mut server) = run.pair()?;
    limit_send_buffer(&server, 128 * 1024)?;
    let start = ask(&mut client, &server, "/sends/nonblocking")?;
    server.set_nonblocking(true)?;
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + SIZE, b'n');
    let (end, status) = thread::scope(|scope| -> Result<_> {
        let sender = scope.spawn(|| -> Result<Instant> {
            let mut left = &answer[..];
            while !left.is_empty() {
                match server.write(left) {
                    Ok(count) => left = &left[count..],
                    Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(1)),
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(Instant::now())
        });
        pause(100);
        let response = client.read_response("GET")?;
        let end = sender.join().map_err(|_| anyhow!("the server panicked"))??;
        Ok((end, response.status))
    })?;
    run.answered("/sends/nonblocking", "GET", status, start, end);
    run.keep((client, server));
    Ok(())
}
