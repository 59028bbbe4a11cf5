//! Methods and request targets, and the handlers that they become.

use super::{Group, row};
use crate::peer::{OK, get, put, request, response, take};
use crate::run::Run;
use anyhow::Result;

pub const GROUP: Group = Group {
    title: "methods and targets",
    rows: &[
        row("PROPFIND, TRACE, PURGE", methods),
        row("a method nobody knows", unknown_method),
        row("CONNECT", connect),
        row("OPTIONS *", asterisk),
        row("absolute-form target", absolute),
        row("path of 10 bytes", path_10),
        row("path of 300 bytes", path_300),
        row("path of 2,000 bytes", path_2000),
        row("path of 8,000 bytes", path_8000),
        row("query of 8,000 bytes", long_query),
        row("percent-encoded path", percent),
        row("// in the path", slashes),
        row(";params in the path", params),
        row("path that is not UTF-8", not_utf8),
        row("path that only answers 404", not_found),
    ],
};

/// A request with this target, twice on one connection.
fn twice(run: &mut Run<'_>, handler: &str, method: &str, bytes: &[u8]) -> Result<()> {
    let (mut client, server) = run.pair()?;
    for _ in 0..2 {
        run.exchange((&mut client, &server), (handler, method), bytes, OK)?;
    }
    run.keep((client, server));
    Ok(())
}

fn methods(run: &mut Run<'_>) -> Result<()> {
    for method in ["PROPFIND", "TRACE", "PURGE"] {
        twice(run, "/methods/{id}", method, &request(method, "/methods/1"))?;
    }
    Ok(())
}

fn unknown_method(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    let request = request("BREW", "/methods/pot");
    client.send_raw(&request)?;
    take(&server, request.len())?;
    put(&server, &response(418, "short and stout"))?;
    let response = client.read_response("BREW")?;
    run.client_saw("/methods/pot", "_OTHER", &response);
    run.keep((client, server));
    Ok(())
}

/// The response has no body, and what follows it is the tunnel's.
fn connect(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    run.exchange(
        (&mut client, &server),
        ("db.example:443", "CONNECT"),
        &request("CONNECT", "db.example:443"),
        b"HTTP/1.1 200 Connected\r\n\r\n",
    )?;
    let inside = get("/inside/the/tunnel");
    client.send_raw(&inside)?;
    take(&server, inside.len())?;
    put(&server, OK)?;
    take(client.stream(), OK.len())?;
    run.keep((client, server));
    Ok(())
}

fn asterisk(run: &mut Run<'_>) -> Result<()> {
    twice(run, "*", "OPTIONS", &request("OPTIONS", "*"))
}

fn absolute(run: &mut Run<'_>) -> Result<()> {
    twice(
        run,
        "/absolute/{id}",
        "GET",
        &get("http://truth.example:80/absolute/17?x=http://y/z"),
    )
}

/// A path of this many bytes, which begins so; no segment looks like an identifier.
fn path(begin: &str, length: usize) -> String {
    let mut path = begin.to_owned();
    while path.len() < length {
        path.push_str("/onetwothree");
    }
    path.truncate(length);
    path
}

/// A path past 512 bytes is shown by its beginning.
fn long_path(run: &mut Run<'_>, begin: &str, length: usize) -> Result<()> {
    let path = path(begin, length);
    twice(run, &format!("{}…", &path[..512]), "GET", &get(&path))
}

fn path_10(run: &mut Run<'_>) -> Result<()> {
    twice(run, "/paths/ten", "GET", &get("/paths/ten"))
}

fn path_300(run: &mut Run<'_>) -> Result<()> {
    let path = path("/paths/threehundred", 300);
    twice(run, &path, "GET", &get(&path))
}

fn path_2000(run: &mut Run<'_>) -> Result<()> {
    long_path(run, "/paths/twothousand", 2000)
}

fn path_8000(run: &mut Run<'_>) -> Result<()> {
    long_path(run, "/paths/eightthousand", 8000)
}

fn long_query(run: &mut Run<'_>) -> Result<()> {
    let target = format!("/paths/query?{}", "q=/17&".repeat(1331));
    twice(run, "/paths/query", "GET", &get(&target))
}

fn percent(run: &mut Run<'_>) -> Result<()> {
    // What is percent-encoded is a value, and no word that somebody has chosen for a path.
    twice(run, "/{id}/{id}", "GET", &get("/caf%C3%A9/a%20b?c=%2F"))
}

fn slashes(run: &mut Run<'_>) -> Result<()> {
    twice(run, "//twice//in/one/", "GET", &get("//twice//in/one/"))
}

fn params(run: &mut Run<'_>) -> Result<()> {
    twice(
        run,
        "/matrix;color=red/items;v=1",
        "GET",
        &get("/matrix;color=red/items;v=1"),
    )
}

fn not_utf8(run: &mut Run<'_>) -> Result<()> {
    let bytes = b"GET /caf\xc3\xa9/\xff\xfe HTTP/1.1\r\nHost: truth\r\n\r\n";
    twice(run, "/café/%FF%FE", "GET", bytes)
}

fn not_found(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    for path in ["/nothing/here", "/nor/there", "/nothing/here"] {
        run.exchange(
            (&mut client, &server),
            ("none", "GET"),
            &get(path),
            &response(404, "no"),
        )?;
    }
    run.keep((client, server));
    Ok(())
}
