//! What is not HTTP on a port that is. It is not counted unless it is answered as a request, and a request on the next connection is.

use super::{Group, row};
use crate::peer::{put, response, take};
use crate::run::Run;
use anyhow::Result;
use testkit::Random;

pub const GROUP: Group = Group {
    title: "not HTTP",
    rows: &[
        row("binary garbage", binary),
        row("TLS hello, answered with 400", tls),
        row("64 KiB without a line end", endless_line),
        row("garbage behind a request", behind_request),
    ],
};

/// Sends bytes that the server reads and answers or not, and then a request elsewhere.
fn garbage(run: &mut Run<'_>, bytes: &[u8], answer: &[u8], path: &str) -> Result<()> {
    let (mut client, server) = run.pair()?;
    client.send_raw(bytes)?;
    take(&server, bytes.len())?;
    put(&server, answer)?;
    if answer.starts_with(b"HTTP/1.") {
        let response = client.read_response("GET")?;
        run.client_saw("none", "_OTHER", &response);
    }
    drop(server);
    let (mut other, other_server) = run.pair()?;
    run.small(&mut other, &other_server, path)?;
    run.keep((client, other, other_server));
    Ok(())
}

fn binary(run: &mut Run<'_>) -> Result<()> {
    let mut random = Random::new(7);
    for size in [1, 4, 100, 1500, 20_000] {
        let bytes: Vec<u8> = (0..size).map(|_| random.below(256) as u8).collect();
        garbage(run, &bytes, b"", "/garbage/binary")?;
        garbage(run, &bytes, &bytes, "/garbage/binary")?;
    }
    Ok(())
}

fn tls(run: &mut Run<'_>) -> Result<()> {
    let mut hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec();
    hello.resize(517, 0x5a);
    garbage(run, &hello, &response(400, "no TLS here"), "/garbage/tls")
}

fn endless_line(run: &mut Run<'_>) -> Result<()> {
    garbage(run, &[b'G'; 64 * 1024], b"", "/garbage/line")?;
    garbage(run, &[b'\0'; 64 * 1024], b"", "/garbage/line")
}

/// A request, and on the same connection what is none. The server gives up.
fn behind_request(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    run.small(&mut client, &server, "/garbage/behind")?;
    let bytes = b"\0\x01\x02\xff\xfe no request \r\n\r\n";
    client.send_raw(bytes)?;
    take(&server, bytes.len())?;
    drop(server);
    let (mut other, other_server) = run.pair()?;
    run.small(&mut other, &other_server, "/garbage/behind")?;
    run.keep((client, other, other_server));
    Ok(())
}
