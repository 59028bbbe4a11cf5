//! What HTTP/1 allows, on connections whose every byte is chosen here.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that panics has failed, as it should"
)]

mod common;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    process::Command,
    thread,
    time::{Duration, Instant},
};

use common::{
    OK, answer_all, connect, counts, listener_on_six, lost, read_head, read_request, server, settled, settled_scrape,
    vigie, vigie_alone,
};
use testkit::{Measured, Scrape, Stopwatch, TempDir};

/// Sends pieces with pauses, so that each is read by a call of its own.
fn send_pieces(stream: &mut TcpStream, pieces: &[&[u8]]) {
    for piece in pieces {
        stream.write_all(piece).unwrap();
        thread::sleep(Duration::from_millis(3));
    }
}

#[test]
fn a_request_line_in_any_two_pieces() {
    let address = server(|mut stream| {
        let mut got = Vec::new();
        while let Some(piece) = read_request(&mut stream) {
            got.extend(piece);
            if got.ends_with(b"\r\n\r\n") {
                got.clear();
                stream.write_all(OK).unwrap();
            }
        }
    });
    let vigie = vigie_alone(&[]);
    let request = b"POST /api/ventes/17?x=1 HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut stream = connect(address);
    for cut in 1..request.len() {
        send_pieces(&mut stream, &[&request[..cut], &request[cut..]]);
        read_head(&mut stream).unwrap();
        stream.read_exact(&mut [0; 2]).unwrap();
    }
    // And byte by byte, on a fresh connection.
    let mut stream = connect(address);
    let bytes: Vec<&[u8]> = request.chunks(1).collect();
    send_pieces(&mut stream, &bytes);
    read_head(&mut stream).unwrap();
    let expected = counts(&[("/api/ventes/{id}", "POST", 200, request.len() as u64)]);
    assert_eq!(settled(&vigie, address.port(), &expected), expected);
    assert_eq!(lost(&vigie.scrape().unwrap()), 0.0);
}

/// Responses whose end is known in different ways, in one piece and in many.
#[test]
fn every_kind_of_response() {
    let chunked: &[u8] =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nA: b\r\n\r\n";
    let responses: [(&str, &[u8], u16); 9] = [
        ("/length", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200),
        ("/empty", b"HTTP/1.1 201 Created\r\ncontent-length:0\r\n\r\n", 201),
        ("/chunked", chunked, 200),
        ("/no-content", b"HTTP/1.1 204 No Content\r\n\r\n", 204),
        (
            "/not-modified",
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 999\r\n\r\n",
            304,
        ),
        (
            "/interim",
            b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
            200,
        ),
        (
            "/continue",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",
            404,
        ),
        (
            "/long-head",
            b"HTTP/1.1 500 Oh\r\nX-Long: @\r\nContent-Length: 3\r\n\r\nabc",
            500,
        ),
        ("/old", b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", 200),
    ];
    let long = "y".repeat(3000);
    let responses = responses.map(|(path, response, status)| {
        (
            path,
            String::from_utf8(response.to_vec())
                .unwrap()
                .replace('@', &long)
                .into_bytes(),
            status,
        )
    });
    let answers = responses.clone();
    let address = server(move |mut stream| {
        while let Some(request) = read_request(&mut stream) {
            let request = String::from_utf8(request).unwrap();
            let (path, size) = request.split(' ').nth(1).unwrap().split_once('?').unwrap();
            let (_, response, _) = answers.iter().find(|(known, _, _)| *known == path).unwrap();
            for piece in response.chunks(size.parse().unwrap()) {
                stream.write_all(piece).unwrap();
            }
        }
    });
    let vigie = vigie_alone(&[]);
    let sizes = [1usize, 2, 3, 7, 20, 100_000];
    for (path, response, _) in &responses {
        let mut stream = connect(address);
        for size in sizes {
            stream
                .write_all(format!("GET {path}?{size} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
                .unwrap();
            stream.read_exact(&mut vec![0; response.len()]).unwrap();
        }
        // The connection stays open and idle: the last request has to be visible all the same.
        std::mem::forget(stream);
    }
    let mut expected = testkit::Counts::new();
    for (path, _, status) in &responses {
        let handler = if *status == 404 { "none" } else { path };
        *expected
            .entry((handler.to_owned(), "GET".to_owned(), *status))
            .or_default() += sizes.len() as u64;
    }
    assert_eq!(settled(&vigie, address.port(), &expected), expected);
    assert_eq!(lost(&vigie.scrape().unwrap()), 0.0);
}

/// A client tries methods that the server does not have. Whatever they are called, they are one series for each status.
#[test]
fn methods_that_a_server_refuses_have_no_name() {
    let address = server(|mut stream| {
        while let Some(request) = read_request(&mut stream) {
            let status: &[u8] = match request.split(|byte| *byte == b' ').next().unwrap() {
                b"GET" | b"POST" => b"200 OK",
                b"DELETE" | b"PUT" | b"PROPFIND" | b"MKCOL" => b"405 Method Not Allowed",
                _ => b"501 Not Implemented",
            };
            let answer = [b"HTTP/1.1 ", status, b"\r\nContent-Length: 0\r\n\r\n"].concat();
            stream.write_all(&answer).unwrap();
        }
    });
    let vigie = vigie_alone(&[]);
    let mut stream = connect(address);
    let methods = [
        "GET", "POST", "DELETE", "PUT", "PROPFIND", "MKCOL", "LOCK", "PURGE", "BREW",
    ];
    // Twice: what is new travels to user space, what is known is counted by the kernel.
    for _ in 0..2 {
        for method in methods {
            stream
                .write_all(format!("{method} /here HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
                .unwrap();
            read_head(&mut stream).unwrap();
        }
    }
    let expected = counts(&[
        ("/here", "GET", 200, 2),
        ("/here", "POST", 200, 2),
        ("/here", "_OTHER", 405, 8),
        ("/here", "_OTHER", 501, 6),
    ]);
    assert_eq!(settled(&vigie, address.port(), &expected), expected);
    assert_eq!(lost(&vigie.scrape().unwrap()), 0.0);
}

/// The server answers before it has read the body. The body is nothing of the next request.
#[test]
fn a_body_that_comes_after_the_response() {
    let address = server(|mut stream| {
        while let Some(bytes) = read_request(&mut stream) {
            if bytes.ends_with(b"\r\n\r\n") {
                stream.write_all(OK).unwrap();
            }
        }
    });
    let vigie = vigie(&[]);
    let mut stream = connect(address);
    let bodies: [&[u8]; 4] = [b"abcde", b"a=b c", b"GET /body HTTP/1.1\r\n\r\n", b"\0\x01\x02"];
    for body in bodies {
        for request in ["POST /early", "GET /next"] {
            let length = if request.starts_with("POST") { body.len() } else { 0 };
            send_pieces(
                &mut stream,
                &[format!("{request} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n").as_bytes()],
            );
            read_head(&mut stream).unwrap();
            stream.read_exact(&mut [0; 2]).unwrap();
            if request.starts_with("POST") {
                send_pieces(&mut stream, &[body]);
            }
        }
    }
    let expected = counts(&[("/early", "POST", 200, 4), ("/next", "GET", 200, 4)]);
    assert_eq!(settled(&vigie, address.port(), &expected), expected);
}

/// The client closes its side behind the body. A read that comes to the end of the stream has not missed a byte.
#[test]
fn the_end_of_a_stream_is_no_byte() {
    let address = server(|mut stream| {
        let mut got = 0;
        while got < 30 {
            thread::sleep(Duration::from_millis(20));
            let Some(piece) = read_request(&mut stream) else { return };
            got += piece.len();
        }
        stream.write_all(OK).unwrap();
    });
    let vigie = vigie_alone(&[]);
    for request in [
        &b"GET /half?0123456789 HTTP/1.1\r\n\r\n"[..],
        b"POST /half HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
    ] {
        let mut stream = connect(address);
        let (one, other) = request.split_at(20);
        send_pieces(&mut stream, &[one]);
        thread::sleep(Duration::from_millis(30));
        stream.write_all(other).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        read_head(&mut stream).unwrap();
    }
    let expected = counts(&[("/half", "GET", 200, 1), ("/half", "POST", 200, 1)]);
    assert_eq!(settled(&vigie, address.port(), &expected), expected);
    assert_eq!(lost(&vigie.scrape().unwrap()), 0.0);
}

/// A proxy may move a body by `splice(2)`, and no hook tells of that.
#[test]
fn a_body_that_nobody_saw() {
    const BODY: usize = 100_000;
    let address = server(|mut stream| {
        while let Some(request) = read_request(&mut stream) {
            if request.starts_with(b"POST") {
                splice_away(&stream, BODY);
            }
            stream.write_all(OK).unwrap();
        }
    });
    let vigie = vigie_alone(&[]);
    let mut stream = connect(address);
    for _ in 0..3 {
        for (request, body) in [("POST /spliced", BODY), ("GET /next", 0)] {
            let head = format!("{request} HTTP/1.1\r\nContent-Length: {body}\r\n\r\n");
            send_pieces(&mut stream, &[head.as_bytes()]);
            stream.write_all(&vec![b'x'; body]).unwrap();
            read_head(&mut stream).unwrap();
            stream.read_exact(&mut [0; 2]).unwrap();
        }
    }
    let expected = counts(&[("/spliced", "POST", 200, 3), ("/next", "GET", 200, 3)]);
    assert_eq!(settled(&vigie, address.port(), &expected), expected);
    assert_eq!(lost(&vigie.scrape().unwrap()), 0.0);
}

/// Moves bytes of a connection to nowhere.
fn splice_away(stream: &TcpStream, count: usize) {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut left = count;
    while left > 0 {
        // SAFETY: both descriptors are open; without offsets there are no other pointers.
        let moved = unsafe {
            libc::splice(
                stream.as_raw_fd(),
                std::ptr::null_mut(),
                writer.as_raw_fd(),
                std::ptr::null_mut(),
                left.min(4096),
                0,
            )
        };
        let moved = usize::try_from(moved).unwrap();
        assert_ne!(moved, 0);
        reader.read_exact(&mut vec![0; moved]).unwrap();
        left -= moved;
    }
}

/// Two threads may read one socket at the same time, and then a read seems to bring what was passed already. Nobody sends urgent data with
/// HTTP, but it is like that each time: `MSG_OOB` returns a byte of the stream, and does not move on in it. Here it is a byte of the body.
#[test]
fn a_read_that_brings_nothing_new() {
    const BODY: &[u8] = b"GET /body HTTP/1.1\r\n\r\n";
    let address = server(|stream| {
        let receive = |buffer: &mut [u8], flags| {
            // SAFETY: the buffer is writable, and as long as is said.
            let count = unsafe { libc::recv(stream.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), flags) };
            usize::try_from(count).unwrap_or(0)
        };
        let mut buffer = [0; 4096];
        while receive(&mut buffer, 0) != 0 {
            if buffer.starts_with(b"POST") {
                while receive(&mut [0], libc::MSG_OOB) == 0 {
                    thread::sleep(Duration::from_millis(1));
                }
                let mut got = 0;
                while got < BODY.len() {
                    got += receive(&mut buffer, 0);
                }
            }
            (&stream).write_all(OK).unwrap();
        }
    });
    let vigie = vigie_alone(&[]);
    let mut stream = connect(address);
    let head = format!("POST /urgent HTTP/1.1\r\nContent-Length: {}\r\n\r\n", 1 + BODY.len());
    for _ in 0..3 {
        send_pieces(&mut stream, &[head.as_bytes()]);
        // SAFETY: the buffer is one byte long.
        let sent = unsafe { libc::send(stream.as_raw_fd(), b"!".as_ptr().cast(), 1, libc::MSG_OOB) };
        assert_eq!(sent, 1);
        for message in [BODY, b"GET /next HTTP/1.1\r\n\r\n"] {
            send_pieces(&mut stream, &[message]);
            read_head(&mut stream).unwrap();
            stream.read_exact(&mut [0; 2]).unwrap();
        }
    }
    let expected = counts(&[("/urgent", "POST", 200, 3), ("/next", "GET", 200, 3)]);
    assert_eq!(settled(&vigie, address.port(), &expected), expected);
    let scrape = vigie.scrape().unwrap();
    assert_eq!(lost(&scrape), 0.0);
    let port = address.port().to_string();
    let bytes = scrape.sum("http_request_size_bytes_sum", &[("port", &port), ("method", "POST")]);
    assert_eq!(bytes, (3 * (head.len() + 1 + BODY.len())) as f64);
}

/// A process that nobody knows reads a request, and others behind it once it has a name. Whatever they come to, none of them stays in flight.
#[test]
fn pipelined_requests_of_a_process_that_is_named_meanwhile() {
    const CODE: &[u8] = b"import os, socket, sys, time\n\
        s = socket.socket(fileno=0)\n\
        assert s.recv(65536)\n\
        while not os.path.exists(sys.argv[1]): time.sleep(0.01)\n\
        assert s.recv(65536)\n\
        s.sendall(sys.argv[2].encode())\n\
        while s.recv(65536): pass\n";
    let vigie = vigie_alone(&[]);
    for (name, answer) in [
        // The protocol becomes another.
        ("upgrades", "HTTP/1.1 101 Switching Protocols\r\n\r\n"),
        // What is sent cannot be followed.
        ("stammers", "HTTP/1.1 what?\r\n\r\n"),
    ] {
        let dir = TempDir::new().unwrap();
        let script = dir.write(&format!("{name}.py"), CODE).unwrap();
        let is_named = dir.path().join("named");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = connect(listener.local_addr().unwrap());
        let (stream, _) = listener.accept().unwrap();
        let mut server = Command::new("python3")
            .args(["-S", "-E"])
            .args([script.as_os_str(), is_named.as_os_str(), answer.as_ref()])
            .stdin(OwnedFd::from(stream))
            .spawn()
            .unwrap();
        send_pieces(&mut client, &[b"GET /first HTTP/1.1\r\n\r\n"]);
        let service = format!("python/{name}.py");
        let labels = [("service", &*service)];
        let is_known = |scrape: &Scrape| scrape.sum("service_processes", &labels) == 1.0;
        assert!(is_known(&settled_scrape(&vigie, is_known)));
        fs::write(&is_named, "").unwrap();
        send_pieces(&mut client, &[&b"GET /behind HTTP/1.1\r\n\r\n".repeat(3)]);
        read_head(&mut client).unwrap();
        let in_flight = |scrape: &Scrape| scrape.sum("http_requests_in_flight", &labels);
        let scrape = settled_scrape(&vigie, |scrape| in_flight(scrape) == 0.0);
        assert_eq!(in_flight(&scrape), 0.0, "{name}");
        drop(client);
        assert!(server.wait().unwrap().success());
        let scrape = settled_scrape(&vigie, |scrape| in_flight(scrape) == 0.0);
        assert_eq!(in_flight(&scrape), 0.0, "{name}");
    }
}

#[test]
fn a_body_that_ends_with_the_connection() {
    let address = server(|mut stream| {
        read_request(&mut stream).unwrap();
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nhello").unwrap();
        thread::sleep(Duration::from_millis(50));
        stream.write_all(b" world").unwrap();
        thread::sleep(Duration::from_millis(200));
    });
    let vigie = vigie(&[]);
    let mut stream = connect(address);
    let begin = Instant::now();
    stream.write_all(b"GET /old HTTP/1.0\r\n\r\n").unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    let client = begin.elapsed().as_secs_f64();
    let expected = counts(&[("/old", "GET", 200, 1)]);
    assert_eq!(settled(&vigie, address.port(), &expected), expected);
    // Up to the close, as for the client, and not up to the last byte.
    let port = address.port().to_string();
    let sum = vigie
        .scrape()
        .unwrap()
        .sum("http_request_duration_seconds_sum", &[("port", &port)]);
    assert!((0.250..client).contains(&sum), "{sum} {client}");
}

/// A body that ends with the connection is not ended by a request behind its own, which is never answered.
#[test]
fn a_request_behind_the_last_response() {
    let address = server(|mut stream| {
        read_request(&mut stream).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhello").unwrap();
        read_request(&mut stream).unwrap();
        stream
            .write_all(b"HTTP/1.1 404 is a part of this body\r\n\r\n")
            .unwrap();
    });
    let vigie = vigie(&[]);
    let mut stream = connect(address);
    for path in ["/last", "/behind"] {
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes())
            .unwrap();
        thread::sleep(Duration::from_millis(20));
    }
    stream.read_to_end(&mut Vec::new()).unwrap();
    let expected = counts(&[("/last", "GET", 200, 1)]);
    assert_eq!(settled(&vigie, address.port(), &expected), expected);
    let port = address.port().to_string();
    let aborted = |scrape: &Scrape| scrape.sum("http_requests_aborted_total", &[("port", &port)]);
    assert_eq!(aborted(&settled_scrape(&vigie, |scrape| aborted(scrape) == 1.0)), 1.0);
}

#[test]
fn an_upgrade_counts_once_and_its_frames_do_not() {
    let address = server(|mut stream| {
        read_request(&mut stream).unwrap();
        stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            .unwrap();
        while let Some(frame) = read_request(&mut stream) {
            stream.write_all(&frame).unwrap();
        }
    });
    let vigie = vigie(&[]);
    let mut stream = connect(address);
    stream
        .write_all(b"GET /socket HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        .unwrap();
    read_head(&mut stream).unwrap();
    for _ in 0..3 {
        stream.write_all(b"GET /frame HTTP/1.1\r\n\r\n").unwrap();
        read_head(&mut stream).unwrap();
    }
    drop(stream);
    let expected = counts(&[("/socket", "GET", 101, 1)]);
    assert_eq!(settled(&vigie, address.port(), &expected), expected);
}

#[test]
fn a_request_that_is_not_answered_is_aborted() {
    let address = server(|mut stream| {
        while let Some(request) = read_request(&mut stream) {
            let request = String::from_utf8(request).unwrap();
            if request.contains("?answer") {
                stream.write_all(OK).unwrap();
            } else if !request.contains("/impatient") {
                return;
            }
        }
    });
    let vigie = vigie(&[]);
    for path in [
        "/impatient?answer",
        "/dropped?answer",
        "/impatient",
        "/dropped",
        "/dropped",
        "/never",
    ] {
        let mut stream = connect(address);
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
            .unwrap();
        if path == "/impatient" {
            // The client goes away first.
            thread::sleep(Duration::from_millis(20));
            stream.shutdown(Shutdown::Both).unwrap();
        } else {
            let _ = stream.read(&mut [0; 100]);
        }
    }
    let port = address.port().to_string();
    let aborted = |scrape: &Scrape| {
        ["/impatient", "/dropped", "none"]
            .map(|handler| scrape.sum("http_requests_aborted_total", &[("port", &port), ("handler", handler)]))
    };
    let scrape = settled_scrape(&vigie, |scrape| aborted(scrape) == [1.0, 2.0, 1.0]);
    assert_eq!(aborted(&scrape), [1.0, 2.0, 1.0]);
    let answered = counts(&[("/impatient", "GET", 200, 1), ("/dropped", "GET", 200, 1)]);
    assert_eq!(scrape.requests(address.port()), answered);
}

/// A response whose end cannot be followed (its head is too long) is ended by the next request, whatever that looks like.
#[test]
fn the_next_request_ends_a_response_without_an_end() {
    let head = format!(
        "HTTP/1.1 200 OK\r\nX-Long: {}\r\nContent-Length: 2\r\n\r\nok",
        "y".repeat(20_000)
    );
    let length = head.len();
    let address = server(move |mut stream| {
        while read_request(&mut stream).is_some() {
            stream.write_all(head.as_bytes()).unwrap();
        }
    });
    let vigie = vigie(&[]);
    let mut stream = connect(address);
    let long_query = format!("GET /query?{} HTTP/1.1\r\n\r\n", "z".repeat(900));
    for request in [
        "GET /a HTTP/1.1\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\n\r\n",
        &long_query,
        "GET /b HTTP/1.1\r\n\r\n",
    ] {
        stream.write_all(request.as_bytes()).unwrap();
        stream.read_exact(&mut vec![0; length]).unwrap();
        thread::sleep(Duration::from_millis(5));
    }
    stream.shutdown(Shutdown::Write).unwrap();
    let expected = counts(&[
        ("/a", "GET", 200, 1),
        ("*", "OPTIONS", 200, 1),
        ("/query", "GET", 200, 1),
        ("/b", "GET", 200, 1),
    ]);
    assert_eq!(settled(&vigie, address.port(), &expected), expected);
}

#[test]
fn what_is_not_http_is_not_counted() {
    let address = server(|mut stream| {
        while let Some(bytes) = read_request(&mut stream) {
            stream.write_all(&bytes).unwrap();
        }
    });
    let vigie = vigie(&[]);
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"[..],
        b"get key1 key2\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"\0\0\0\x08\x04\xd2\x16\x2f",
        &[b'a'; 5000],
    ] {
        let mut stream = connect(address);
        for _ in 0..3 {
            stream.write_all(bytes).unwrap();
            stream.read_exact(&mut vec![0; bytes.len()]).unwrap();
        }
    }
    let mut stream = connect(address);
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    stream.read_exact(&mut [0; 18]).unwrap();
    let scrape = vigie.scrape().unwrap();
    assert_eq!(scrape.requests(address.port()), testkit::Counts::new());
}

/// A connection that is older than Vigie is picked up at its next request.
#[test]
fn an_older_connection_is_picked_up() {
    let address = server(answer_all);
    let mut stream = connect(address);
    stream.write_all(b"GET /before HTTP/1.1\r\n\r\n").unwrap();
    read_head(&mut stream).unwrap();
    stream.read_exact(&mut [0; 2]).unwrap();
    let vigie = vigie(&[]);
    for _ in 0..5 {
        stream.write_all(b"GET /after HTTP/1.1\r\n\r\n").unwrap();
        read_head(&mut stream).unwrap();
        stream.read_exact(&mut [0; 2]).unwrap();
    }
    let expected = counts(&[("/after", "GET", 200, 5)]);
    assert_eq!(settled(&vigie, address.port(), &expected), expected);
}

#[test]
fn ipv6_is_seen() {
    let listener = listener_on_six();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            answer_all(stream.unwrap());
        }
    });
    let vigie = vigie(&[]);
    let mut stream = connect(address);
    stream.write_all(b"GET /six HTTP/1.1\r\n\r\n").unwrap();
    read_head(&mut stream).unwrap();
    let expected = counts(&[("/six", "GET", 200, 1)]);
    assert_eq!(settled(&vigie, address.port(), &expected), expected);
}

/// A server on a unix socket: the same, under the port `unix`. What no server's end of such a socket is, is not watched.
#[test]
fn unix_sockets_are_seen() {
    let path = std::env::temp_dir().join(format!("vigie-protocol-{}.sock", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            while let Ok(count @ 1..) = stream.read(&mut [0; 4096]) {
                thread::sleep(Duration::from_millis(if count > 40 { 30 } else { 0 }));
                stream.write_all(OK).unwrap();
            }
        }
    });
    let vigie = vigie(&[]);
    let mut stream = UnixStream::connect(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let start = Instant::now();
    for request in [
        "GET /unix-one HTTP/1.1\r\n\r\n",
        "GET /unix-two HTTP/1.1\r\nHost: somebody.example\r\n\r\n",
    ] {
        for _ in 0..10 {
            stream.write_all(request.as_bytes()).unwrap();
            stream.read_exact(&mut [0; OK.len()]).unwrap();
        }
    }
    let truth = start.elapsed().as_secs_f64();
    let of = |scrape: &Scrape, name: &str, handler: &str| {
        scrape.sum(name, &[("port", "unix"), ("handler", handler), ("status", "200")])
    };
    let counts = |scrape: &Scrape| ["/unix-one", "/unix-two"].map(|handler| of(scrape, "http_requests_total", handler));
    let scrape = settled_scrape(&vigie, |scrape| counts(scrape) == [10.0, 10.0]);
    assert_eq!(counts(&scrape), [10.0, 10.0]);
    let sum = of(&scrape, "http_request_duration_seconds_sum", "/unix-two");
    assert!(sum > 0.3 && sum < truth, "{sum} of {truth}");
    // The client reads what looks like requests; its socket has no name.
    let (mut one, mut other) = UnixStream::pair().unwrap();
    one.write_all(b"GET /unix-pair HTTP/1.1\r\n\r\n").unwrap();
    other.read_exact(&mut [0; 10]).unwrap();
    other.write_all(OK).unwrap();
    assert_eq!(of(&vigie.scrape().unwrap(), "http_requests_total", "/unix-pair"), 0.0);
}

/// The clock starts when the first byte is readable: in the accept backlog, in the socket's queue, and not when the
/// connection is opened.
#[test]
fn waiting_counts_from_the_first_byte() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let vigie = vigie(&[]);
    let port = address.port().to_string();
    let mut before = 0.0;
    // Each row three times: the machine stalls now and then, and its time is right if one run is.
    for (backlog, queue, idle) in [(500, 0, 0), (0, 500, 0), (0, 0, 500)] {
        let mut runs = Vec::new();
        for _ in 0..3 {
            let mut client = connect(address);
            thread::sleep(Duration::from_millis(idle));
            let clock = Stopwatch::start().unwrap();
            client.write_all(b"GET /wait HTTP/1.1\r\n\r\n").unwrap();
            thread::sleep(Duration::from_millis(backlog));
            let (mut stream, _) = listener.accept().unwrap();
            thread::sleep(Duration::from_millis(queue));
            read_request(&mut stream).unwrap();
            stream.write_all(OK).unwrap();
            read_head(&mut client).unwrap();
            let truth = clock.measure().unwrap();
            let sum = vigie
                .scrape()
                .unwrap()
                .sum("http_request_duration_seconds_sum", &[("port", &port)]);
            runs.push((truth, sum - before));
            before = sum;
        }
        println!("client, Vigie: {runs:?}");
        let is_right = |(truth, seen): &(Measured, f64)| truth.agrees(*seen, 0.002_f64.max(truth.seconds * 0.02));
        assert!(
            runs.iter().any(is_right),
            "backlog {backlog}, queue {queue}, idle {idle}: {runs:?}"
        );
    }
}
