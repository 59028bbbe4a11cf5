//! The bytes received and not yet consumed.

use std::io::{self, Read};
use std::net::TcpStream;
use std::time::Instant;

const INITIAL_BYTES: usize = 64 * 1024;
const MAX_LINE_BYTES: usize = 1024 * 1024;

/// A reused read buffer: `bytes[begin..end]` is what was received and not consumed.
#[derive(Debug)]
pub struct Input {
    bytes: Vec<u8>,
    begin: usize,
    end: usize,
    consumed: u64,
    last_read: Instant,
}

impl Input {
    pub fn new() -> Self {
        Self {
            bytes: vec![0; INITIAL_BYTES],
            begin: 0,
            end: 0,
            consumed: 0,
            last_read: Instant::now(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.begin == self.end
    }

    /// The time right after the last read that returned bytes.
    pub fn last_read(&self) -> Instant {
        self.last_read
    }

    /// The number of bytes consumed since the last call.
    pub fn take_consumed(&mut self) -> u64 {
        std::mem::take(&mut self.consumed)
    }

    /// Reads once. Returns false at the end of the stream.
    pub fn fill(&mut self, stream: &TcpStream) -> io::Result<bool> {
        if self.is_empty() {
            (self.begin, self.end) = (0, 0);
        } else if self.end == self.bytes.len() {
            self.make_room()?;
        }
        let mut reader = stream;
        loop {
            match reader.read(&mut self.bytes[self.end..]) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.last_read = Instant::now();
                    self.end += count;
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Moves what is left to the front, or grows if it already fills the buffer.
    fn make_room(&mut self) -> io::Result<()> {
        if self.begin > 0 {
            self.bytes.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
        } else if self.bytes.len() < MAX_LINE_BYTES {
            self.bytes.resize(self.bytes.len() * 2, 0);
        } else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "line over 1 MiB"));
        }
        Ok(())
    }

    /// Consumes one line and gives it without its line end.
    pub fn line(&mut self, stream: &TcpStream) -> io::Result<&[u8]> {
        let mut searched = 0;
        let length = loop {
            let left = &self.bytes[self.begin..self.end];
            if let Some(found) = left[searched..].iter().position(|byte| *byte == b'\n') {
                break searched + found;
            }
            searched = left.len();
            if !self.fill(stream)? {
                return Err(cut());
            }
        };
        let begin = self.begin;
        self.consume(length + 1);
        let line = &self.bytes[begin..begin + length];
        Ok(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// Consumes exactly `count` bytes into `body`.
    pub fn exactly(&mut self, stream: &TcpStream, mut count: u64, body: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let available = (self.end - self.begin) as u64;
            count -= self.move_to(body, available.min(count) as usize);
            if count == 0 {
                return Ok(());
            }
            if !self.fill(stream)? {
                return Err(cut());
            }
        }
    }

    /// Consumes all there is until the server closes.
    pub fn until_close(&mut self, stream: &TcpStream, body: &mut Vec<u8>) -> io::Result<()> {
        loop {
            self.move_to(body, self.end - self.begin);
            if !self.fill(stream)? {
                return Ok(());
            }
        }
    }

    fn move_to(&mut self, body: &mut Vec<u8>, count: usize) -> u64 {
        body.extend_from_slice(&self.bytes[self.begin..self.begin + count]);
        self.consume(count);
        count as u64
    }

    fn consume(&mut self, count: usize) {
        self.begin += count;
        self.consumed += count as u64;
    }
}

fn cut() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "connection closed before the end of the response",
    )
}
