//! A blocking HTTP/1.1 client on one TCP connection, which notes when each exchange began and ended.

mod input;
mod response;

use input::Input;
pub use response::Response;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(30);

/// What to send. The client adds `host`, and `content-length` where a body needs it, unless given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    /// The request target as sent: path and query.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Whether the body leaves in a write call of its own, behind the one of the head, as many clients do it.
    pub is_body_apart: bool,
}

impl Request {
    pub fn new(method: &str, path: impl Into<String>) -> Self {
        Self {
            method: method.to_owned(),
            path: path.into(),
            headers: Vec::new(),
            body: Vec::new(),
            is_body_apart: false,
        }
    }

    pub fn get(path: impl Into<String>) -> Self {
        Self::new("GET", path)
    }

    pub fn post(path: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: body.into(),
            ..Self::new("POST", path)
        }
    }

    pub fn put(path: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: body.into(),
            ..Self::new("PUT", path)
        }
    }

    /// Replaces the body by the same one in chunks of this size, each framed as HTTP/1.1 wants it.
    pub fn in_chunks_of(mut self, size: usize) -> Self {
        let mut framed = Vec::new();
        for chunk in self.body.chunks(size) {
            framed.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            framed.extend_from_slice(chunk);
            framed.extend_from_slice(b"\r\n");
        }
        framed.extend_from_slice(b"0\r\n\r\n");
        self.body = framed;
        self.header("transfer-encoding", "chunked")
    }

    /// Lets the body leave in a write call of its own.
    pub fn body_apart(mut self) -> Self {
        self.is_body_apart = true;
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Whether a header of that name (in any case) is set.
    pub fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
    }

    fn write_head_to(&self, host: &str, out: &mut Vec<u8>) {
        for part in [&self.method, " ", &self.path, " HTTP/1.1\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        let mut header = |name: &str, value: &str| {
            for part in [name, ": ", value, "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        };
        if !self.has_header("host") {
            header("host", host);
        }
        for (name, value) in &self.headers {
            header(name, value);
        }
        let needs_length = !self.body.is_empty() || matches!(self.method.as_str(), "POST" | "PUT" | "PATCH");
        if needs_length && !self.has_header("content-length") && !self.has_header("transfer-encoding") {
            header("content-length", &self.body.len().to_string());
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// One connection. Its buffers are reused from request to request.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    host: String,
    input: Input,
    output: Vec<u8>,
    open: bool,
    /// When the first byte since the last response was about to be written.
    start: Option<Instant>,
    /// Bytes written since the last response.
    sent_bytes: u64,
}

impl Client {
    /// Connects, with `TCP_NODELAY` and timeouts of 30 s.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Self {
            stream,
            host: address.to_string(),
            input: Input::new(),
            output: Vec::new(),
            open: true,
            start: None,
            sent_bytes: 0,
        })
    }

    /// Sends head and body in one write call, or in two if the request says so, then reads the whole response.
    ///
    /// Any error closes the connection for good: nothing is retried.
    pub fn send(&mut self, request: &Request) -> io::Result<Response> {
        let mut output = std::mem::take(&mut self.output);
        output.clear();
        request.write_head_to(&self.host, &mut output);
        let sent = if request.is_body_apart {
            self.send_raw(&output).and_then(|()| self.send_raw(&request.body))
        } else {
            output.extend_from_slice(&request.body);
            self.send_raw(&output)
        };
        self.output = output;
        sent?;
        self.read_response(&request.method)
    }

    /// Writes bytes as they are, in one write call. The first call since the last response starts its clock.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.open {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "the connection is closed"));
        }
        self.start.get_or_insert_with(Instant::now);
        let written = self.stream.write_all(bytes);
        self.open = written.is_ok();
        self.sent_bytes += bytes.len() as u64;
        written
    }

    /// Reads the response to a request of this method, skipping 1xx ones (but 101, which ends HTTP).
    pub fn read_response(&mut self, method: &str) -> io::Result<Response> {
        let start = self.start.take().unwrap_or_else(Instant::now);
        let sent_bytes = std::mem::take(&mut self.sent_bytes);
        let read = response::read(&mut self.input, &self.stream, method);
        self.open = matches!(&read, Ok(answer) if answer.keeps_alive);
        let answer = read?;
        Ok(Response {
            status: answer.status,
            headers: answer.headers,
            body: answer.body,
            start,
            end: self.input.last_read().max(start),
            sent_bytes,
            received_bytes: self.input.take_consumed(),
        })
    }

    /// Whether the exchanges so far let another one follow: no error, no `Connection: close`.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Whether a request may be sent now: open, and the server has neither closed nor sent anything unasked.
    pub fn is_reusable(&self) -> bool {
        if !self.open || !self.input.is_empty() {
            return false;
        }
        let mut poll = libc::pollfd {
            fd: self.stream.as_raw_fd(),
            events: libc::POLLIN | libc::POLLRDHUP,
            revents: 0,
        };
        // SAFETY: `poll` is one valid pollfd, and its descriptor lives as long as `self.stream`.
        let ready = unsafe { libc::poll(&raw mut poll, 1, 0) };
        ready == 0
    }

    /// The connection itself, for tests that shut down, stall or read it on their own.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

#[cfg(test)]
mod tests;
