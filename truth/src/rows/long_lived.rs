//! Requests that last as long as their clients like: counted, and not in the histogram. The config says so, or their type does.

use super::{Group, waiting};
use crate::peer::{get, pause, put, take};
use crate::run::Run;
use anyhow::Result;

pub const GROUP: Group = Group {
    title: "long-lived handlers",
    rows: &[
        waiting("events, in the config as long-lived", events),
        waiting("a stream of events, seen while it is open", stream),
    ],
};

/// The handler, as the config of this program names it.
pub const HANDLER: &str = "/streams/{name}/events";

fn events(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    for name in ["one", "two"] {
        let request = get(&format!("/streams/{name}/events"));
        client.send_raw(&request)?;
        take(&server, request.len())?;
        put(
            &server,
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        )?;
        for _ in 0..3 {
            pause(50);
            put(&server, b"9\r\ndata: x\n\n\r\n")?;
        }
        put(&server, b"0\r\n\r\n")?;
        let response = client.read_response("GET")?;
        run.long_lived(HANDLER, "GET", response.status);
        run.visible_at_once()?;
    }
    // Another handler of the same connection keeps its durations.
    run.small(&mut client, &server, "/streams/list")?;
    run.keep((client, server));
    Ok(())
}

fn stream(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    for _ in 0..2 {
        let request = get("/news");
        client.send_raw(&request)?;
        take(&server, request.len())?;
        put(
            &server,
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n",
        )?;
        put(&server, b"9\r\ndata: x\n\n\r\n")?;
        // It has begun, and is counted before it ends.
        run.long_lived("/news", "GET", 200);
        run.visible_at_once()?;
        put(&server, b"0\r\n\r\n")?;
        client.read_response("GET")?;
    }
    run.small(&mut client, &server, "/news/list")?;
    run.keep((client, server));
    Ok(())
}
