//! Reading one response: status line, headers and the body in each of its framings.

use super::input::Input;
use std::io;
use std::net::TcpStream;
use std::time::Instant;

/// A complete response and the exchange it ended.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    /// As received, in order.
    pub headers: Vec<(String, String)>,
    /// The content, without chunk framing.
    pub body: Vec<u8>,
    /// Right before the request's first write.
    pub start: Instant,
    /// Right after the read that returned the response's last byte.
    pub end: Instant,
    /// The request's bytes on the wire, head included.
    pub sent_bytes: u64,
    /// The response's bytes on the wire: heads (those of 1xx too), framing and body.
    pub received_bytes: u64,
}

impl Response {
    /// The first header of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name).next()
    }

    /// The body as text, with replacement characters where it is not UTF-8.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A response as read, before its times are known.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub keeps_alive: bool,
}

struct Head {
    status: u16,
    is_http_1_0: bool,
    headers: Vec<(String, String)>,
}

enum Framing {
    Empty,
    Length(u64),
    Chunked,
    UntilClose,
}

pub fn read(input: &mut Input, stream: &TcpStream, method: &str) -> io::Result<Answer> {
    let head = loop {
        let head = read_head(input, stream)?;
        if head.status == 101 || !(100..200).contains(&head.status) {
            break head;
        }
    };
    let framing = framing(&head, method)?;
    let mut body = Vec::new();
    match framing {
        Framing::Empty => {}
        Framing::Length(length) => input.exactly(stream, length, &mut body)?,
        Framing::Chunked => read_chunks(input, stream, &mut body)?,
        Framing::UntilClose => input.until_close(stream, &mut body)?,
    }
    let keeps_alive = !matches!(framing, Framing::UntilClose) && keeps_alive(&head);
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body,
        keeps_alive,
    })
}

fn read_head(input: &mut Input, stream: &TcpStream) -> io::Result<Head> {
    let line = text(input.line(stream)?)?;
    let (status, is_http_1_0) = status_line(&line).ok_or_else(|| invalid("bad status line", &line))?;
    let mut headers = Vec::new();
    loop {
        let line = text(input.line(stream)?)?;
        if line.is_empty() {
            return Ok(Head {
                status,
                is_http_1_0,
                headers,
            });
        }
        let (name, value) = line.split_once(':').ok_or_else(|| invalid("bad header", &line))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

fn status_line(line: &str) -> Option<(u16, bool)> {
    let rest = line.strip_prefix("HTTP/1.")?;
    let (minor, rest) = rest.split_once(' ')?;
    let code = rest.split(' ').next()?;
    let is_http_1_0 = match minor {
        "0" => true,
        "1" => false,
        _ => return None,
    };
    let status = code.parse().ok().filter(|status| code.len() == 3 && *status >= 100)?;
    Some((status, is_http_1_0))
}

fn framing(head: &Head, method: &str) -> io::Result<Framing> {
    let is_tunnel = method == "CONNECT" && (200..300).contains(&head.status);
    if method == "HEAD" || is_tunnel || matches!(head.status, 101 | 204 | 304) {
        return Ok(Framing::Empty);
    }
    if has_token(&head.headers, "transfer-encoding", "chunked") {
        return Ok(Framing::Chunked);
    }
    let mut lengths = find(&head.headers, "content-length");
    let Some(first) = lengths.next() else {
        return Ok(Framing::UntilClose);
    };
    if lengths.any(|other| other != first) {
        return Err(invalid("several content lengths", first));
    }
    first
        .parse()
        .map(Framing::Length)
        .map_err(|_| invalid("bad content length", first))
}

fn read_chunks(input: &mut Input, stream: &TcpStream, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let line = text(input.line(stream)?)?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(digits, 16).map_err(|_| invalid("bad chunk size", &line))?;
        if size == 0 {
            break;
        }
        input.exactly(stream, size, body)?;
        if !input.line(stream)?.is_empty() {
            return Err(invalid("chunk longer than its size", &line));
        }
    }
    while !input.line(stream)?.is_empty() {} // The trailers.
    Ok(())
}

fn keeps_alive(head: &Head) -> bool {
    if head.is_http_1_0 {
        has_token(&head.headers, "connection", "keep-alive")
    } else {
        !has_token(&head.headers, "connection", "close")
    }
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> impl Iterator<Item = &'a str> {
    headers
        .iter()
        .filter(move |(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

fn has_token(headers: &[(String, String)], name: &str, token: &str) -> bool {
    find(headers, name)
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}

fn text(line: &[u8]) -> io::Result<String> {
    String::from_utf8(line.to_vec()).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "head is not UTF-8"))
}

fn invalid(what: &str, line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what}: {line:?}"))
}
