//! Requests in pieces: TCP cuts where it likes.

use super::{Group, row};
use crate::peer::{OK, put, take};
use crate::run::Run;
use anyhow::Result;

pub const GROUP: Group = Group {
    title: "requests in pieces",
    rows: &[
        row("request cut in two, at every byte", two_pieces),
        row("request byte by byte", byte_by_byte),
        row("request head of 12 KB", long_head),
        row("head of 12 KB, in pieces of 1 KB", long_head_in_pieces),
        row("header line of 12 KB, in two", long_line),
    ],
};

const REQUEST: &[u8] = b"POST /split/17?x=1 HTTP/1.1\r\nHost: truth\r\nContent-Length: 2\r\n\r\nhi";

fn two_pieces(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    for cut in 1..REQUEST.len() {
        for piece in [&REQUEST[..cut], &REQUEST[cut..]] {
            client.send_raw(piece)?;
            take(&server, piece.len())?;
        }
        put(&server, OK)?;
        let response = client.read_response("POST")?;
        run.client_saw("/split/{id}", "POST", &response);
    }
    run.keep((client, server));
    Ok(())
}

fn byte_by_byte(run: &mut Run<'_>) -> Result<()> {
    pieces(run, REQUEST, 1, "/split/{id}", "POST")
}

/// The request three times on one connection, in pieces of this size.
fn pieces(run: &mut Run<'_>, request: &[u8], size: usize, handler: &str, method: &str) -> Result<()> {
    let (mut client, server) = run.pair()?;
    for _ in 0..3 {
        for piece in request.chunks(size) {
            client.send_raw(piece)?;
            take(&server, piece.len())?;
        }
        put(&server, OK)?;
        let response = client.read_response(method)?;
        run.client_saw(handler, method, &response);
    }
    run.keep((client, server));
    Ok(())
}

/// 12 KB of headers of 100 bytes each, and the length of the body behind them all.
fn large_head(path: &str) -> Vec<u8> {
    let header = format!("X-Filler: {}\r\n", "f".repeat(88));
    let headers = header.repeat(12_000 / header.len());
    format!("POST {path} HTTP/1.1\r\n{headers}Content-Length: 4\r\n\r\nGET ").into_bytes()
}

fn long_head(run: &mut Run<'_>) -> Result<()> {
    let request = large_head("/head/large");
    let whole = request.len();
    pieces(run, &request, whole, "/head/large", "POST")
}

fn long_head_in_pieces(run: &mut Run<'_>) -> Result<()> {
    pieces(run, &large_head("/head/pieces"), 1000, "/head/pieces", "POST")
}

fn long_line(run: &mut Run<'_>) -> Result<()> {
    let request = format!("GET /head/line HTTP/1.1\r\nCookie: {}\r\n\r\n", "c".repeat(12_000));
    pieces(run, request.as_bytes(), 6000, "/head/line", "GET")
}
