//! A connection that stops being HTTP.

use super::{Group, row, waiting};
use crate::peer::{OK, get, pause, put, request, response, take};
use crate::run::Run;
use anyhow::Result;

pub const GROUP: Group = Group {
    title: "upgrades",
    rows: &[
        waiting("101: the handshake counts", handshake),
        waiting("frames that look like HTTP do not", frames),
        waiting("frames in the handshake's segments do not", frames_at_once),
        row("upgrade refused: still HTTP", refused_upgrade),
        row("CONNECT refused: still HTTP", refused_connect),
    ],
};

const ACCEPTED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fn upgrade(path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: truth\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    .into_bytes()
}

/// The socket stays open for long after; its life is no latency.
fn handshake(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    let path = "/upgrades/open";
    run.exchange((&mut client, &server), (path, "GET"), &upgrade(path), ACCEPTED)?;
    run.visible_at_once()?;
    for _ in 0..5 {
        pause(100);
        // A text frame of each side: "Hello", masked by the client.
        let masked = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        put(client.stream(), masked)?;
        take(&server, masked.len())?;
        put(&server, b"\x81\x05Hello")?;
        take(client.stream(), 7)?;
    }
    run.keep((client, server));
    Ok(())
}

fn frames(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    let path = "/upgrades/frames";
    run.exchange((&mut client, &server), (path, "GET"), &upgrade(path), ACCEPTED)?;
    for _ in 0..3 {
        let frame = get("/upgrades/none");
        put(client.stream(), &frame)?;
        take(&server, frame.len())?;
        pause(20);
        put(&server, OK)?;
        take(client.stream(), OK.len())?;
    }
    drop(client);
    Ok(())
}

fn frames_at_once(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    let path = "/upgrades/once";
    let request = [upgrade(path), get("/upgrades/none")].concat();
    let answer = [ACCEPTED, OK].concat();
    client.send_raw(&request)?;
    take(&server, request.len())?;
    put(&server, &answer)?;
    let response = client.read_response("GET")?;
    run.client_saw(path, "GET", &response);
    pause(50);
    put(&server, OK)?;
    run.visible_at_once()?;
    run.keep((client, server));
    Ok(())
}

/// The server answers as if nobody had asked for it.
fn refused_upgrade(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    let path = "/upgrades/refused";
    for _ in 0..2 {
        run.exchange((&mut client, &server), (path, "GET"), &upgrade(path), OK)?;
        run.small(&mut client, &server, path)?;
    }
    run.keep((client, server));
    Ok(())
}

fn refused_connect(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    let target = "refused.example:443";
    for _ in 0..2 {
        let answer = response(407, "who are you?");
        run.exchange(
            (&mut client, &server),
            (target, "CONNECT"),
            &request("CONNECT", target),
            &answer,
        )?;
        run.small(&mut client, &server, "/upgrades/other")?;
    }
    run.keep((client, server));
    Ok(())
}
