//! Handlers that the config calls long-lived: counted, and not in the histogram.

use super::{Group, waiting};
use crate::peer::{get, pause, put, take};
use crate::run::Run;
use anyhow::Result;

pub const GROUP: Group = Group {
    title: "long-lived handlers",
    rows: &[waiting("events, in the config as long-lived", events)],
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
