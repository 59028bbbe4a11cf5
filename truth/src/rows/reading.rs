//! How a server reads.

use super::{Group, row, waiting};
use crate::peer::{OK, pause, put, take};
use crate::raw;
use crate::run::Run;
use anyhow::{Result, anyhow, ensure};
use std::fs::File;
use std::io::{IoSliceMut, Read as _, Write as _};
use std::net::TcpStream;
use std::thread;

pub const GROUP: Group = Group {
    title: "ways to read",
    rows: &[
        row("read one byte at a time", one_byte),
        row("MSG_PEEK first", peek),
        row("MSG_PEEK growing, then read in two", peek_growing),
        waiting("MSG_WAITALL over three segments", wait_all),
        row("read by one thread, answered by another", two_threads),
        row("read and write", read_write),
        row("readv, 7 bytes each", readv),
        row("recvmsg, 7 bytes each", recvmsg),
    ],
};

const REQUEST: &[u8] =
    b"POST /reads/17/all HTTP/1.1\r\nHost: truth\r\nContent-Length: 20\r\n\r\nGET /none HTTP/1.1\r\n\n";

/// Three requests, each read by `read`, which gives how many bytes it got.
fn each(run: &mut Run<'_>, read: fn(&TcpStream) -> Result<usize>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    for _ in 0..3 {
        client.send_raw(REQUEST)?;
        let got = read(&server)?;
        ensure!(got == REQUEST.len(), "{got} bytes were read");
        put(&server, OK)?;
        let response = client.read_response("POST")?;
        run.client_saw("/reads/{id}/all", "POST", &response);
    }
    run.keep((client, server));
    Ok(())
}

fn one_byte(run: &mut Run<'_>) -> Result<()> {
    each(run, |mut server| {
        for byte in REQUEST {
            let mut got = [0];
            server.read_exact(&mut got)?;
            ensure!(got == [*byte], "another byte came");
        }
        Ok(REQUEST.len())
    })
}

fn peek(run: &mut Run<'_>) -> Result<()> {
    each(run, |server| {
        for _ in 0..3 {
            ensure!(raw::peek(server, 64 * 1024)? == REQUEST.len(), "not all was there");
        }
        Ok(take(server, REQUEST.len())?.len())
    })
}

fn peek_growing(run: &mut Run<'_>) -> Result<()> {
    each(run, |mut server| {
        for size in 1..REQUEST.len() {
            raw::peek(server, size)?;
        }
        let mut head = [0; 10];
        server.read_exact(&mut head)?;
        raw::peek(server, 64 * 1024)?;
        Ok(head.len() + take(server, REQUEST.len() - head.len())?.len())
    })
}

/// A socket is a file, too: `read` and `write`, and not `recvfrom` and `sendto`.
fn read_write(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    let mut file = File::from(std::os::fd::OwnedFd::from(server));
    for _ in 0..3 {
        client.send_raw(REQUEST)?;
        file.read_exact(&mut [0; REQUEST.len()])?;
        file.write_all(OK)?;
        let response = client.read_response("POST")?;
        run.client_saw("/reads/{id}/all", "POST", &response);
    }
    run.keep((client, file));
    Ok(())
}

/// Buffers of 7 bytes for more than the whole request.
fn read_small(server: &TcpStream, call: fn(&TcpStream, &mut [IoSliceMut<'_>]) -> Result<usize>) -> Result<usize> {
    let mut memory = vec![0; REQUEST.len() + 70];
    let mut buffers: Vec<IoSliceMut<'_>> = memory.chunks_mut(7).map(IoSliceMut::new).collect();
    let got = call(server, &mut buffers)?;
    ensure!(memory[..got] == REQUEST[..got], "other bytes came");
    Ok(got)
}

fn readv(run: &mut Run<'_>) -> Result<()> {
    each(run, |server| {
        read_small(server, |mut server, buffers| Ok(server.read_vectored(buffers)?))
    })
}

fn recvmsg(run: &mut Run<'_>) -> Result<()> {
    each(run, |server| read_small(server, raw::recvmsg))
}

/// One call reads what comes in three segments: the request began with the first.
fn wait_all(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    let reader = thread::spawn(move || -> Result<_> {
        let got = raw::read_all(&server, REQUEST.len())?;
        ensure!(got == REQUEST.len(), "{got} bytes were read");
        put(&server, OK)?;
        Ok(server)
    });
    for (index, piece) in REQUEST.chunks(REQUEST.len().div_ceil(3)).enumerate() {
        pause(if index == 0 { 0 } else { 50 });
        client.send_raw(piece)?;
    }
    let response = client.read_response("POST")?;
    run.client_saw("/reads/{id}/all", "POST", &response);
    let server = reader.join().map_err(|_| anyhow!("the server panicked"))??;
    run.keep((client, server));
    Ok(())
}

fn two_threads(run: &mut Run<'_>) -> Result<()> {
    each(run, |server| {
        let reader = thread::scope(|scope| scope.spawn(|| take(server, REQUEST.len())).join());
        let got = reader.map_err(|_| anyhow!("the reader panicked"))??;
        Ok(got.len())
    })
}
