//! What the scripts of the rows say to their sockets.
//!
//! Most rows are one thread that holds both ends of a connection and moves them in turn: what is sent is read before the
//! next piece is sent. So every system call sees the very bytes that the row means, without a pause to hope for it.

use anyhow::{Context as _, Result, ensure};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};
use testkit::Client;

/// As large as what a server usually reads with.
const BUFFER: usize = 64 * 1024;

/// A small answer.
pub const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A request without a body.
pub fn request(method: &str, target: &str) -> Vec<u8> {
    format!("{method} {target} HTTP/1.1\r\nHost: truth\r\n\r\n").into_bytes()
}

pub fn get(target: &str) -> Vec<u8> {
    request("GET", target)
}

/// A whole response with this status and body.
pub fn response(status: u16, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} As Asked\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Reads exactly what the other side has sent, with a large buffer.
pub fn take(stream: &TcpStream, length: usize) -> Result<Vec<u8>> {
    let (mut got, mut buffer) = (Vec::with_capacity(length), vec![0; BUFFER]);
    let mut reader = stream;
    while got.len() < length {
        let count = reader.read(&mut buffer).context("reading")?;
        ensure!(count > 0, "the other side closed after {} of {length} bytes", got.len());
        got.extend_from_slice(&buffer[..count]);
    }
    ensure!(got.len() == length, "{} bytes came instead of {length}", got.len());
    Ok(got)
}

/// The client sends its request, and the server has read it. When the client began.
pub fn ask(client: &mut Client, server: &TcpStream, path: &str) -> Result<Instant> {
    let request = get(path);
    let start = Instant::now();
    client.send_raw(&request)?;
    take(server, request.len())?;
    Ok(start)
}

/// Reads and forgets that many bytes.
pub fn drain(stream: &TcpStream, length: usize) -> Result<()> {
    let (mut left, mut buffer) = (length, vec![0; 1 << 20]);
    let mut reader = stream;
    while left > 0 {
        let count = reader.read(&mut buffer).context("reading")?;
        ensure!(count > 0 && count <= left, "{count} bytes came with {left} to go");
        left -= count;
    }
    Ok(())
}

/// Reads the end of the stream: nothing more was sent.
pub fn take_end(stream: &TcpStream) -> Result<()> {
    let mut reader = stream;
    let count = reader.read(&mut [0; 1]).context("reading the end")?;
    ensure!(count == 0, "more bytes came where the stream should have ended");
    Ok(())
}

/// Writes, in one call where the socket has room, and says when the kernel had taken the last byte.
pub fn put(stream: &TcpStream, bytes: &[u8]) -> Result<Instant> {
    let mut writer = stream;
    writer.write_all(bytes).context("writing")?;
    Ok(Instant::now())
}

pub fn pause(milliseconds: u64) {
    thread::sleep(Duration::from_millis(milliseconds));
}
