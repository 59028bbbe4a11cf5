//! Several requests before the first answer.

use super::{Group, row, waiting};
use crate::peer::{get, pause, put, request, response, take};
use crate::run::Run;
use anyhow::{Result, ensure};
use std::io::Read as _;
use std::time::Instant;
use testkit::Client;

pub const GROUP: Group = Group {
    title: "pipelining",
    rows: &[
        waiting("5 requests in one segment", one_segment),
        waiting("5 requests, answered in one write", one_write),
        row("3 requests cut in two, at every byte", cut_requests),
        waiting("POSTs and GETs in one segment", mixed),
        row("POSTs and GETs cut in two, at every byte", cut_mixed),
        row("30 requests in one segment", thirty),
        row("answers without bodies, in one write", without_bodies),
        waiting("second request read after the first answer", behind_first),
        waiting("8 segments before the first read", many_segments),
        waiting("a second request during the first's answer", during_answer),
    ],
};

/// One request of a pipeline, and the status that it gets.
struct Part {
    handler: &'static str,
    method: &'static str,
    request: Vec<u8>,
    status: u16,
}

fn part(handler: &'static str, method: &'static str, request: &[u8], status: u16) -> Part {
    Part {
        handler,
        method,
        request: request.to_vec(),
        status,
    }
}

fn gets(paths: &[(&'static str, u16)]) -> Vec<Part> {
    paths
        .iter()
        .map(|(path, status)| part(path, "GET", &get(path), *status))
        .collect()
}

fn five() -> Vec<Part> {
    gets(&[
        ("/pipeline/one", 200),
        ("/pipeline/two", 201),
        ("/pipeline/three", 202),
        ("/pipeline/four", 403),
        ("/pipeline/five", 500),
    ])
}

/// Bodies framed in both ways between requests that have none. One body looks like a request.
fn posts_and_gets() -> Vec<Part> {
    vec![
        part(
            "/mixed/length",
            "POST",
            b"POST /mixed/length HTTP/1.1\r\nHost: truth\r\nContent-Length: 27\r\n\r\nGET /mixed/body HTTP/1.1\r\n\r",
            201,
        ),
        part("/mixed/first", "GET", &get("/mixed/first"), 200),
        part(
            "/mixed/chunked",
            "PUT",
            b"PUT /mixed/chunked HTTP/1.1\r\nHost: truth\r\nTransfer-Encoding: chunked\r\n\r\n\
              5;a=b\r\nhello\r\nA\r\n\r\nGET / HT\r\n0\r\nX-Trailer: t\r\n\r\n",
            202,
        ),
        part("/mixed/second", "GET", &get("/mixed/second"), 203),
        part(
            "/mixed/last",
            "POST",
            b"POST /mixed/last HTTP/1.1\r\nHost: truth\r\nContent-Length: 3\r\n\r\nabc",
            200,
        ),
    ]
}

fn joined(parts: &[Part]) -> Vec<u8> {
    parts.iter().flat_map(|part| part.request.clone()).collect()
}

/// The client reads the answer to a request, which is the next.
fn read_answer(run: &mut Run<'_>, client: &mut Client, part: &Part, start: Instant) -> Result<()> {
    let answer = client.read_response(part.method)?;
    ensure!(answer.text() == part.handler, "the answers are out of order");
    run.answered(part.handler, part.method, answer.status, start, answer.end);
    Ok(())
}

/// All requests in one segment and one read; each answered 20 ms after the one before it.
fn in_one_segment(run: &mut Run<'_>, parts: &[Part]) -> Result<()> {
    let (mut client, server) = run.pair()?;
    let requests = joined(parts);
    let start = Instant::now();
    client.send_raw(&requests)?;
    take(&server, requests.len())?;
    for part in parts {
        pause(20);
        put(&server, &response(part.status, part.handler))?;
        read_answer(run, &mut client, part, start)?;
    }
    run.visible_at_once()?;
    run.keep((client, server));
    Ok(())
}

fn one_segment(run: &mut Run<'_>) -> Result<()> {
    in_one_segment(run, &five())
}

fn mixed(run: &mut Run<'_>) -> Result<()> {
    in_one_segment(run, &posts_and_gets())
}

fn one_write(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    let parts = five();
    let requests = joined(&parts);
    let start = Instant::now();
    client.send_raw(&requests)?;
    take(&server, requests.len())?;
    pause(50);
    let answers: Vec<u8> = parts
        .iter()
        .flat_map(|part| response(part.status, part.handler))
        .collect();
    put(&server, &answers)?;
    for part in &parts {
        read_answer(run, &mut client, part, start)?;
    }
    run.visible_at_once()?;
    run.keep((client, server));
    Ok(())
}

/// The pipeline in two segments, for every place of the cut. What is whole is answered before the rest comes.
fn cut_everywhere(run: &mut Run<'_>, parts: &[Part]) -> Result<()> {
    let (mut client, server) = run.pair()?;
    let requests = joined(parts);
    for cut in 1..requests.len() {
        let (mut begin, mut next, mut starts) = (0, 0, Vec::new());
        for (from, to) in [(0, cut), (cut, requests.len())] {
            let sent = Instant::now();
            client.send_raw(&requests[from..to])?;
            take(&server, to - from)?;
            while let Some(part) = parts.get(next) {
                if begin >= to {
                    break;
                }
                if starts.len() == next {
                    starts.push(sent);
                }
                if begin + part.request.len() > to {
                    break;
                }
                put(&server, &response(part.status, part.handler))?;
                let answer = client.read_response(part.method)?;
                run.answered(part.handler, part.method, answer.status, starts[next], answer.end);
                begin += part.request.len();
                next += 1;
            }
        }
        ensure!(next == parts.len(), "{next} requests were answered");
    }
    run.visible_at_once()?;
    run.keep((client, server));
    Ok(())
}

fn cut_requests(run: &mut Run<'_>) -> Result<()> {
    cut_everywhere(run, &gets(&[("/cut/one", 200), ("/cut/two", 201), ("/cut/three", 202)]))
}

fn cut_mixed(run: &mut Run<'_>) -> Result<()> {
    cut_everywhere(run, &posts_and_gets())
}

/// The second request is read between two pieces of the first's answer. It has waited since then.
fn during_answer(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    let (first, second) = (get("/during/first"), get("/during/second"));
    let answer = response(200, "first");
    let (head, body) = answer.split_at(answer.len() - 5);
    let first_start = Instant::now();
    client.send_raw(&first)?;
    take(&server, first.len())?;
    put(&server, head)?;
    let second_start = Instant::now();
    client.send_raw(&second)?;
    take(&server, second.len())?;
    pause(60);
    put(&server, body)?;
    let answer = client.read_response("GET")?;
    run.answered("/during/first", "GET", answer.status, first_start, answer.end);
    pause(60);
    put(&server, &response(201, "second"))?;
    let answer = client.read_response("GET")?;
    run.answered("/during/second", "GET", answer.status, second_start, answer.end);
    run.keep((client, server));
    Ok(())
}

fn thirty(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    let statuses = [200, 201, 202, 400, 500];
    let requests = get("/pipeline/thirty").repeat(30);
    let start = Instant::now();
    client.send_raw(&requests)?;
    take(&server, requests.len())?;
    for status in statuses.iter().cycle().take(30) {
        put(&server, &response(*status, "one of many"))?;
        let answer = client.read_response("GET")?;
        run.answered("/pipeline/thirty", "GET", answer.status, start, answer.end);
    }
    run.visible_at_once()?;
    run.keep((client, server));
    Ok(())
}

/// Which answer has a body depends on the request that it is for.
fn without_bodies(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    let exchanges: [(&str, &[u8]); 5] = [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n"),
        ("GET", b"HTTP/1.1 201 OK\r\nContent-Length: 5\r\n\r\nhello"),
        ("PUT", b"HTTP/1.1 204 OK\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 202 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 OK\r\nContent-Length: 50\r\n\r\n"),
    ];
    let path = "/pipeline/bodiless";
    let requests: Vec<u8> = exchanges.iter().flat_map(|(method, _)| request(method, path)).collect();
    let answers: Vec<u8> = exchanges.iter().flat_map(|(_, answer)| answer.to_vec()).collect();
    let start = Instant::now();
    client.send_raw(&requests)?;
    take(&server, requests.len())?;
    put(&server, &answers)?;
    for (method, _) in exchanges {
        let answer = client.read_response(method)?;
        run.answered(path, method, answer.status, start, answer.end);
    }
    run.visible_at_once()?;
    run.keep((client, server));
    Ok(())
}

/// Both requests are in the socket at once. The second is read, with a buffer for one, when the first is answered: it has
/// waited since it was sent.
fn behind_first(run: &mut Run<'_>) -> Result<()> {
    let (mut client, mut server) = run.pair()?;
    let parts = gets(&[("/behind/first", 200), ("/behind/second", 201)]);
    let start = Instant::now();
    client.send_raw(&joined(&parts))?;
    for part in &parts {
        server.read_exact(&mut vec![0; part.request.len()])?;
        pause(100);
        put(&server, &response(part.status, part.handler))?;
        let answer = client.read_response("GET")?;
        run.answered(part.handler, "GET", answer.status, start, answer.end);
    }
    run.keep((client, server));
    Ok(())
}

/// Each request has waited since its own first byte came, though one read takes them all.
fn many_segments(run: &mut Run<'_>) -> Result<()> {
    let (mut client, server) = run.pair()?;
    let request = get("/segments/many");
    let mut starts = Vec::new();
    for _ in 0..8 {
        starts.push(Instant::now());
        client.send_raw(&request)?;
        pause(40);
    }
    take(&server, request.len() * starts.len())?;
    for start in starts {
        put(&server, &response(200, "at last"))?;
        let answer = client.read_response("GET")?;
        run.answered("/segments/many", "GET", answer.status, start, answer.end);
    }
    run.keep((client, server));
    Ok(())
}
