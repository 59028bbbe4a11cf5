//! Messages that are rare, and allowed.

use super::{Group, row};
use crate::peer::{OK, get};
use crate::run::Run;
use anyhow::Result;

pub const GROUP: Group = Group {
    title: "rare syntax",
    rows: &[
        row("length spelled oddly", odd_length),
        row("headers that look like framing", look_alikes),
        row("gzip, chunked: request", request_codings),
        row("gzip, chunked: response", response_codings),
        row("status without a reason", no_reason),
        row("three interim answers, one write", interims),
        row("empty line before a request", empty_line),
    ],
};

/// Each exchange twice on one connection, and a small request behind it: the ends were found.
fn twice(run: &mut Run<'_>, path: &str, method: &str, request: &[u8], answer: &[u8]) -> Result<()> {
    let (mut client, server) = run.pair()?;
    for _ in 0..2 {
        run.exchange((&mut client, &server), (path, method), request, answer)?;
        run.visible_at_once()?;
        run.small(&mut client, &server, path)?;
    }
    run.keep((client, server));
    Ok(())
}

fn odd_length(run: &mut Run<'_>) -> Result<()> {
    twice(
        run,
        "/syntax/length",
        "POST",
        b"POST /syntax/length HTTP/1.1\r\nHost: truth\r\ncOnTeNt-lEnGtH:\t 005 \r\n\r\nGET /",
        b"HTTP/1.1 200 OK\r\nCONTENT-LENGTH:004\t\r\n\r\nHTTP",
    )
}

/// None of these says where a body ends: another name, a value that quotes one, a name cut short.
fn look_alikes(run: &mut Run<'_>) -> Result<()> {
    let headers = "X-Content-Length: 90\r\nContent-Length-Max: 91\r\nX-Transfer-Encoding: chunked\r\n\
        Note: Content-Length: 92\r\nOther:Transfer-Encoding: chunked\r\nContent-Lengt: 93\r\nTE: chunked\r\n";
    twice(
        run,
        "/syntax/alike",
        "GET",
        format!("GET /syntax/alike HTTP/1.1\r\n{headers}Host: truth\r\n\r\n").as_bytes(),
        format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: 2\r\n\r\nok").as_bytes(),
    )
}

/// Sizes may have zeros before them, the last one, too.
fn request_codings(run: &mut Run<'_>) -> Result<()> {
    twice(
        run,
        "/syntax/codings",
        "POST",
        b"POST /syntax/codings HTTP/1.1\r\nHost: truth\r\nTransfer-Encoding: gzip, chunked\r\n\r\n03\r\nGET\r\n00\r\n\r\n",
        OK,
    )
}

fn response_codings(run: &mut Run<'_>) -> Result<()> {
    twice(
        run,
        "/syntax/answered",
        "GET",
        &get("/syntax/answered"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip,Chunked\r\n\r\n0002\r\nok\r\n000;last\r\n\r\n",
    )
}

fn no_reason(run: &mut Run<'_>) -> Result<()> {
    let answer = b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok";
    twice(run, "/syntax/blank", "GET", &get("/syntax/blank"), answer)?;
    let answer = b"HTTP/1.1 202\r\nContent-Length: 2\r\n\r\nok";
    twice(run, "/syntax/none", "GET", &get("/syntax/none"), answer)
}

fn interims(run: &mut Run<'_>) -> Result<()> {
    let interims =
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n";
    let answer = [interims.as_bytes(), OK].concat();
    twice(run, "/syntax/interims", "GET", &get("/syntax/interims"), &answer)
}

/// Old clients end a body with a line end too many.
fn empty_line(run: &mut Run<'_>) -> Result<()> {
    let request = [b"\r\n", &get("/syntax/empty")[..]].concat();
    twice(run, "/syntax/empty", "GET", &request, OK)
}
