//! Streams of events, `text/event-stream`: counted when they begin, in flight until they end, without a duration.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that panics has failed, as it should"
)]

mod common;

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    sync::{Mutex, mpsc},
    thread,
    time::Duration,
};

use common::{OK, connect, counts, python, read_head, read_request, server, settled_scrape, vigie, vigie_alone};
use testkit::{Counts, Scrape};

/// What a server answers with, and how it is framed.
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
const EVENT: &str = "9\r\ndata: x\n\n\r\n";
const LAST: &str = "0\r\n\r\n";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// The sum of a metric of a port.
fn sum(scrape: &Scrape, name: &str, address: SocketAddr) -> u64 {
    scrape.sum(name, &[("port", &address.port().to_string())]) as u64
}

/// Bytes received and sent, as they are counted.
fn bytes(scrape: &Scrape, address: SocketAddr) -> (u64, u64) {
    (
        sum(scrape, "http_request_size_bytes_sum", address),
        sum(scrape, "http_response_size_bytes_sum", address),
    )
}

/// Durations in whatever form: histograms by status, and phases and waits by route.
fn durations(scrape: &Scrape, address: SocketAddr) -> Counts {
    let port = address.port().to_string();
    for name in [
        "http_request_phase_seconds_total",
        "http_request_queue_seconds_count",
        "http_request_runqueue_seconds_count",
    ] {
        let timed = scrape.durations(&port);
        for sample in scrape.samples(name) {
            let label = |name: &str| sample.labels.get(name).cloned().unwrap_or_default();
            if label("port") == port {
                let has_durations = timed.keys().any(|(handler, _, _)| *handler == label("handler"));
                assert!(has_durations, "{name} of {}", label("handler"));
            }
        }
    }
    scrape.durations(&port)
}

/// A server whose answers are pieces of bytes, by path: each is a write of its own, and an empty one is a pause. Where the last member is
/// `true` it closes the connection behind them.
fn steps(answers: Vec<(&'static str, Vec<Vec<u8>>, bool)>) -> SocketAddr {
    server(move |mut stream| {
        let mut got = Vec::new();
        while let Some(piece) = read_request(&mut stream) {
            got.extend(piece);
            while let Some(end) = got.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = got.drain(..end + 4).collect();
                let head = String::from_utf8(head).unwrap();
                let path = head.split(' ').nth(1).unwrap();
                let (_, pieces, close) = answers
                    .iter()
                    .find(|(known, _, _)| *known == path)
                    .unwrap_or_else(|| panic!("{path}"));
                for piece in pieces {
                    if piece.is_empty() {
                        thread::sleep(Duration::from_millis(400));
                    } else if stream.write_all(piece).is_err() {
                        return;
                    }
                }
                if *close {
                    return;
                }
            }
        }
    })
}

/// The pieces of an answer.
fn pieces(list: &[&str]) -> Vec<Vec<u8>> {
    list.iter().map(|piece| piece.as_bytes().to_vec()).collect()
}

/// A stream's life: it begins, sends, and ends. Beside it an answer of the same handler that is no stream.
#[test]
fn a_stream_is_counted_when_it_begins() {
    let (end, ends) = mpsc::channel();
    let ends = Mutex::new(ends);
    let address = server(move |mut stream| {
        while let Some(request) = read_request(&mut stream) {
            let request = String::from_utf8(request).unwrap();
            if request.starts_with("GET /events?once") {
                stream.write_all(OK).unwrap();
                continue;
            }
            stream.write_all(CHUNKED.as_bytes()).unwrap();
            for _ in 0..3 {
                thread::sleep(Duration::from_millis(20));
                stream.write_all(EVENT.as_bytes()).unwrap();
            }
            ends.lock().unwrap().recv().unwrap();
            stream.write_all(LAST.as_bytes()).unwrap();
        }
    });
    let vigie = vigie_alone(&[]);
    let before = vigie.scrape().unwrap().lost_text();
    // Twice: the first travels to user space, the second is counted by the kernel.
    for turn in 1..=2u64 {
        let mut client = connect(address);
        let request = get("/events");
        client.write_all(request.as_bytes()).unwrap();
        read_head(&mut client).unwrap();
        let expected = counts(&[("/events", "GET", 200, turn)]);
        let scrape = settled_scrape(&vigie, |scrape| {
            scrape.requests(address.port()) == expected && scrape.in_flight(address.port()) == 1.0
        });
        assert_eq!(scrape.requests(address.port()), expected, "while it is open");
        assert_eq!(scrape.in_flight(address.port()), 1.0, "while it is open");
        let whole = (CHUNKED.len() + 3 * EVENT.len() + LAST.len()) as u64;
        assert_eq!(
            bytes(&scrape, address),
            (turn * request.len() as u64, (turn - 1) * whole + CHUNKED.len() as u64)
        );
        assert_eq!(durations(&scrape, address), Counts::new());

        end.send(()).unwrap();
        let mut rest = vec![0; 3 * EVENT.len() + LAST.len()];
        client.read_exact(&mut rest).unwrap();
        let scrape = settled_scrape(&vigie, |scrape| scrape.in_flight(address.port()) == 0.0);
        assert_eq!(scrape.in_flight(address.port()), 0.0, "after its end");
        assert_eq!(scrape.requests(address.port()), expected, "after its end");
        assert_eq!(bytes(&scrape, address), (turn * request.len() as u64, turn * whole));
        assert_eq!(durations(&scrape, address), Counts::new());
    }
    let mut client = connect(address);
    for _ in 0..3 {
        client.write_all(get("/events?once").as_bytes()).unwrap();
        read_head(&mut client).unwrap();
        client.read_exact(&mut [0; 2]).unwrap();
    }
    let expected = counts(&[("/events", "GET", 200, 5)]);
    let scrape = settled_scrape(&vigie, |scrape| scrape.requests(address.port()) == expected);
    assert_eq!(scrape.requests(address.port()), expected);
    assert_eq!(durations(&scrape, address), counts(&[("/events", "GET", 200, 3)]));
    let unanswered = scrape.aborted(&[("port", &address.port().to_string())]);
    assert!(unanswered.is_empty(), "{unanswered:?}");
    assert_eq!(scrape.lost_text(), before);
}

/// Every way that a stream can be framed, and everything that looks like one and is none.
#[test]
fn streams_of_every_kind() {
    let stream = "Content-Type: text/event-stream\r\n";
    let answers: Vec<(&str, Vec<Vec<u8>>, bool)> = vec![
        ("/chunked", pieces(&[CHUNKED, EVENT, "", EVENT, LAST]), false),
        (
            "/length",
            pieces(&[
                &format!("HTTP/1.1 200 OK\r\n{stream}Content-Length: 6\r\n\r\n"),
                "abc",
                "",
                "def",
            ]),
            false,
        ),
        (
            "/at-once",
            pieces(&[&format!("HTTP/1.1 200 OK\r\n{stream}Content-Length: 3\r\n\r\nabc")]),
            false,
        ),
        (
            "/close",
            pieces(&[
                &format!("HTTP/1.0 200 OK\r\n{stream}\r\n"),
                "data: x\n\n",
                "",
                "data: y\n\n",
            ]),
            true,
        ),
        (
            "/failed",
            pieces(&[
                "HTTP/1.1 500 Oh\r\ncontent-type:TEXT/event-stream;charset=utf-8\r\nContent-Length: 1\r\n\r\n",
                "",
                "x",
            ]),
            false,
        ),
        (
            "/hints",
            pieces(&["HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n", CHUNKED, "", LAST]),
            false,
        ),
        // No streams: they have no body.
        ("/head", pieces(&[CHUNKED]), false),
        (
            "/nothing",
            pieces(&[&format!("HTTP/1.1 204 No Content\r\n{stream}\r\n")]),
            false,
        ),
        (
            "/other",
            pieces(&[
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-streams\r\nContent-Length: 2\r\n\r\n",
                "o",
                "k",
            ]),
            false,
        ),
    ];
    let sent: u64 = answers
        .iter()
        .flat_map(|(_, pieces, _)| pieces)
        .map(|piece| piece.len() as u64)
        .sum();
    let closes: Vec<(&str, bool, usize)> = answers
        .iter()
        .map(|(path, pieces, close)| (*path, *close, pieces.iter().map(Vec::len).sum()))
        .collect();
    let address = steps(answers);
    let vigie = vigie_alone(&[]);
    let before = vigie.scrape().unwrap().lost_text();
    let mut received = 0;
    let rounds = 3;
    for _ in 0..rounds {
        let mut client = connect(address);
        for (path, close, length) in &closes {
            let mut request = get(path);
            if *path == "/head" {
                request = request.replacen("GET", "HEAD", 1);
            }
            received += request.len() as u64;
            client.write_all(request.as_bytes()).unwrap();
            client.read_exact(&mut vec![0; *length]).unwrap();
            if *close {
                assert_eq!(client.read(&mut [0; 9]).unwrap(), 0);
                client = connect(address);
            }
        }
    }
    let expected = counts(&[
        ("/at-once", "GET", 200, rounds),
        ("/chunked", "GET", 200, rounds),
        ("/close", "GET", 200, rounds),
        ("/failed", "GET", 500, rounds),
        ("/head", "HEAD", 200, rounds),
        ("/hints", "GET", 200, rounds),
        ("/length", "GET", 200, rounds),
        ("/nothing", "GET", 204, rounds),
        ("/other", "GET", 200, rounds),
    ]);
    let scrape = settled_scrape(&vigie, |scrape| {
        scrape.requests(address.port()) == expected && bytes(scrape, address).1 == rounds * sent
    });
    assert_eq!(scrape.requests(address.port()), expected);
    assert_eq!(
        durations(&scrape, address),
        counts(&[
            ("/head", "HEAD", 200, rounds),
            ("/nothing", "GET", 204, rounds),
            ("/other", "GET", 200, rounds),
        ])
    );
    assert_eq!(bytes(&scrape, address), (received, rounds * sent));
    assert_eq!(scrape.in_flight(address.port()), 0.0);
    let unanswered = scrape.aborted(&[("port", &address.port().to_string())]);
    assert!(unanswered.is_empty(), "{unanswered:?}");
    assert_eq!(scrape.lost_text(), before);
}

/// The head comes in two pieces, cut at every byte, and in single bytes.
#[test]
fn a_head_in_any_two_pieces() {
    let head =
        "HTTP/1.1 200 OK\r\nContent-type: Text/Event-Stream ; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n";
    let address = server(move |mut stream| {
        while let Some(request) = read_request(&mut stream) {
            let request = String::from_utf8(request).unwrap();
            let cut: usize = request.split(['?', ' ']).nth(2).unwrap().parse().unwrap();
            if cut == 0 {
                for byte in head.as_bytes() {
                    stream.write_all(&[*byte]).unwrap();
                }
            } else {
                stream.write_all(&head.as_bytes()[..cut]).unwrap();
                stream.write_all(&head.as_bytes()[cut..]).unwrap();
            }
            stream.write_all(EVENT.as_bytes()).unwrap();
            stream.write_all(LAST.as_bytes()).unwrap();
        }
    });
    let vigie = vigie_alone(&[]);
    let before = vigie.scrape().unwrap().lost_text();
    let mut client = connect(address);
    let whole = head.len() + EVENT.len() + LAST.len();
    for cut in 0..head.len() {
        client.write_all(get(&format!("/events?{cut}")).as_bytes()).unwrap();
        client.read_exact(&mut vec![0; whole]).unwrap();
    }
    let expected = counts(&[("/events", "GET", 200, head.len() as u64)]);
    let sent = (head.len() * whole) as u64;
    let scrape = settled_scrape(&vigie, |scrape| {
        scrape.requests(address.port()) == expected && bytes(scrape, address).1 == sent
    });
    assert_eq!(scrape.requests(address.port()), expected);
    assert_eq!(bytes(&scrape, address).1, sent);
    assert_eq!(durations(&scrape, address), Counts::new());
    assert_eq!(scrape.in_flight(address.port()), 0.0);
    assert_eq!(scrape.lost_text(), before);
}

/// Requests that wait behind a stream on the same connection.
#[test]
fn what_is_pipelined_behind_a_stream() {
    let address = steps(vec![
        ("/events", pieces(&[CHUNKED, EVENT, "", LAST]), false),
        ("/small", pieces(&[std::str::from_utf8(OK).unwrap()]), false),
    ]);
    let vigie = vigie_alone(&[]);
    let before = vigie.scrape().unwrap().lost_text();
    let rounds = 4;
    let mut client = connect(address);
    for _ in 0..rounds {
        let requests = [get("/events"), get("/small"), get("/events"), get("/small")].concat();
        client.write_all(requests.as_bytes()).unwrap();
        let stream = CHUNKED.len() + EVENT.len() + LAST.len();
        client.read_exact(&mut vec![0; 2 * (stream + OK.len())]).unwrap();
    }
    let expected = counts(&[("/events", "GET", 200, 2 * rounds), ("/small", "GET", 200, 2 * rounds)]);
    let scrape = settled_scrape(&vigie, |scrape| scrape.requests(address.port()) == expected);
    assert_eq!(scrape.requests(address.port()), expected);
    assert_eq!(
        durations(&scrape, address),
        counts(&[("/small", "GET", 200, 2 * rounds)])
    );
    assert_eq!(scrape.in_flight(address.port()), 0.0);
    assert_eq!(scrape.lost_text(), before);
}

/// Whoever ends a stream early: its client, its server's close, or its server's death. It lands once, and is no abort.
#[test]
fn a_stream_that_is_cut_off() {
    let source = "import os,socket\n\
        listener=socket.create_server(('127.0.0.1',0))\n\
        print(listener.getsockname()[1],flush=True)\n\
        kept=[]\n\
        while True:\n\
        \x20   stream,_=listener.accept()\n\
        \x20   stream.recv(65536)\n\
        \x20   stream.send(b'HTTP/1.1 200 OK\\r\\nContent-Type: text/event-stream\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n')\n\
        \x20   stream.send(b'9\\r\\ndata: x\\n\\n\\r\\n')\n\
        \x20   kept.append(stream)\n";
    let mut child = Command::new("python3")
        .args(["-c", source])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let port: u16 = first_line(&mut child).trim().parse().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let vigie = vigie_alone(&[]);
    let before = vigie.scrape().unwrap().lost_text();
    let streams = 5;
    let open = |vigie: &testkit::Vigie, begun: u64| -> Vec<TcpStream> {
        let clients: Vec<TcpStream> = (0..streams)
            .map(|_| {
                let mut client = connect(address);
                client.write_all(get("/events").as_bytes()).unwrap();
                client.read_exact(&mut vec![0; CHUNKED.len() + EVENT.len()]).unwrap();
                client
            })
            .collect();
        let expected = counts(&[("/events", "GET", 200, begun)]);
        let scrape = vigie
            .settled(|scrape| scrape.in_flight(port) == streams as f64)
            .unwrap();
        assert_eq!(
            (scrape.in_flight(port), scrape.requests(port)),
            (streams as f64, expected)
        );
        clients
    };
    // Their server dies.
    let clients = open(&vigie, streams);
    child.kill().unwrap();
    child.wait().unwrap();
    drop(clients);
    let expected = counts(&[("/events", "GET", 200, streams)]);
    let sent = streams * (CHUNKED.len() + EVENT.len()) as u64;
    let scrape = settled_scrape(&vigie, |scrape| {
        scrape.in_flight(port) == 0.0 && bytes(scrape, address).1 == sent
    });
    assert_eq!(scrape.in_flight(port), 0.0);
    assert_eq!(scrape.requests(port), expected);
    assert_eq!(bytes(&scrape, address).1, sent);
    assert_eq!(durations(&scrape, address), Counts::new());
    let unanswered = scrape.aborted(&[("port", &port.to_string())]);
    assert!(unanswered.is_empty(), "{unanswered:?}");
    assert_eq!(scrape.lost_text(), before);

    // Their clients go, and the server finds out when it sends.
    let address = server(|mut stream| {
        read_request(&mut stream).unwrap();
        stream.write_all(CHUNKED.as_bytes()).unwrap();
        while stream.write_all(EVENT.as_bytes()).is_ok() {
            thread::sleep(Duration::from_millis(10));
        }
    });
    for _ in 0..streams {
        let mut client = connect(address);
        client.write_all(get("/live").as_bytes()).unwrap();
        client
            .read_exact(&mut vec![0; CHUNKED.len() + 2 * EVENT.len()])
            .unwrap();
        client.shutdown(Shutdown::Both).unwrap();
    }
    let expected = counts(&[("/live", "GET", 200, streams)]);
    let scrape = settled_scrape(&vigie, |scrape| {
        scrape.in_flight(address.port()) == 0.0 && scrape.requests(address.port()) == expected
    });
    assert_eq!(scrape.in_flight(address.port()), 0.0);
    assert_eq!(scrape.requests(address.port()), expected);
    assert_eq!(durations(&scrape, address), Counts::new());
    let unanswered = scrape.aborted(&[("port", &address.port().to_string())]);
    assert!(unanswered.is_empty(), "{unanswered:?}");
}

fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    let mut byte = [0];
    let output = child.stdout.as_mut().unwrap();
    while !line.ends_with('\n') && output.read(&mut byte).unwrap() != 0 {
        line.push(char::from(byte[0]));
    }
    line
}

/// Streams as a framework sends them: Starlette's `StreamingResponse` on uvicorn.
#[test]
fn streams_of_a_framework() {
    let source = "import asyncio,socket,uvicorn\n\
        from starlette.applications import Starlette\n\
        from starlette.responses import JSONResponse,StreamingResponse\n\
        from starlette.routing import Route\n\
        async def events(request):\n\
        \x20   async def body():\n\
        \x20       for i in range(4):\n\
        \x20           yield f'data: {i}\\n\\n'\n\
        \x20           await asyncio.sleep(0.4)\n\
        \x20   return StreamingResponse(body(),media_type='text/event-stream')\n\
        async def small(request):\n\
        \x20   return JSONResponse({'ok':True})\n\
        app=Starlette(routes=[Route('/events',events),Route('/small',small)])\n\
        listener=socket.create_server(('127.0.0.1',0))\n\
        print(listener.getsockname()[1],flush=True)\n\
        uvicorn.Server(uvicorn.Config(app,log_level='error')).run(sockets=[listener])\n";
    let mut child = Command::new(python())
        .args(["-c", source])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let port: u16 = first_line(&mut child).trim().parse().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let vigie = vigie(&[]);
    let streams = 3;
    let mut clients: Vec<TcpStream> = (0..streams)
        .map(|_| {
            let mut client = connect(address);
            client.write_all(get("/events").as_bytes()).unwrap();
            read_head(&mut client).unwrap();
            client
        })
        .collect();
    let begun = counts(&[("/events", "GET", 200, streams)]);
    let scrape = settled_scrape(&vigie, |scrape| {
        scrape.requests(port) == begun && scrape.in_flight(port) == streams as f64
    });
    assert_eq!((scrape.requests(port), scrape.in_flight(port)), (begun, streams as f64));
    for client in &mut clients {
        let mut body = Vec::new();
        while !body.ends_with(LAST.as_bytes()) {
            let mut piece = [0; 4096];
            let count = client.read(&mut piece).unwrap();
            assert_ne!(count, 0);
            body.extend_from_slice(&piece[..count]);
        }
        client.write_all(get("/small").as_bytes()).unwrap();
        read_head(client).unwrap();
    }
    let expected = counts(&[("/events", "GET", 200, streams), ("/small", "GET", 200, streams)]);
    let scrape = settled_scrape(&vigie, |scrape| {
        scrape.requests(port) == expected && scrape.in_flight(port) == 0.0
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!((scrape.requests(port), scrape.in_flight(port)), (expected, 0.0));
    assert_eq!(durations(&scrape, address), counts(&[("/small", "GET", 200, streams)]));
}
