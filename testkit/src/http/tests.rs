use super::*;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::thread;

/// Serves one connection with `serve`, in a thread that panics with the test's own message.
fn server(serve: impl FnOnce(TcpStream) + Send + 'static) -> (Client, thread::JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        serve(stream);
    });
    (Client::connect(address).unwrap(), thread)
}

/// Reads until the end of a head.
fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Sends one request and answers it with these pieces, each in its own write.
fn exchange(method: &'static str, pieces: Vec<Vec<u8>>) -> (io::Result<Response>, Client) {
    let (mut client, thread) = server(move |mut stream| {
        read_head(&mut stream);
        for (index, piece) in pieces.iter().enumerate() {
            if index > 0 {
                thread::sleep(Duration::from_millis(1));
            }
            stream.write_all(piece).unwrap();
        }
    });
    let response = client.send(&Request::new(method, "/"));
    thread.join().unwrap();
    (response, client)
}

fn answer(method: &'static str, bytes: &str) -> (io::Result<Response>, Client) {
    exchange(method, vec![bytes.as_bytes().to_vec()])
}

#[test]
fn sends_head_and_body_in_one_piece() {
    let (mut client, thread) = server(|mut stream| {
        let mut bytes = [0; 1000];
        let count = stream.read(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes[..count]);
        let host = stream.local_addr().unwrap();
        let expected =
            format!("POST /a?b=c HTTP/1.1\r\nhost: {host}\r\nx-token: secret\r\ncontent-length: 4\r\n\r\nbody");
        assert_eq!(text, expected);
        thread::sleep(Duration::from_millis(50));
        stream
            .write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nX-A: b\r\n\r\nok")
            .unwrap();
    });
    let response = client
        .send(&Request::post("/a?b=c", "body").header("x-token", "secret"))
        .unwrap();
    thread.join().unwrap();
    assert_eq!((response.status, response.text().as_str()), (201, "ok"));
    assert_eq!(response.header("x-a"), Some("b"));
    assert_eq!(response.received_bytes, 53);
    assert!(response.sent_bytes > 80);
    assert!(response.end.duration_since(response.start) >= Duration::from_millis(50));
    assert!(client.is_open());
}

#[test]
fn a_body_can_leave_apart_and_in_chunks() {
    let (mut client, thread) = server(|mut stream| {
        let head = read_head(&mut stream);
        assert!(head.ends_with("transfer-encoding: chunked\r\n\r\n"), "{head}");
        assert!(!head.contains("content-length"), "{head}");
        let mut body = [0; 20];
        stream.read_exact(&mut body).unwrap();
        assert_eq!(body, *b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
    });
    let request = Request::post("/", "abcde").in_chunks_of(3).body_apart();
    assert_eq!(client.send(&request).unwrap().status, 200);
    thread.join().unwrap();
}

#[test]
fn an_empty_post_has_a_length_and_a_get_has_none() {
    let mut out = Vec::new();
    Request::post("/", "").write_head_to("h", &mut out);
    assert_eq!(out, b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n");
    out.clear();
    Request::get("/").header("Host", "other").write_head_to("h", &mut out);
    assert_eq!(out, b"GET / HTTP/1.1\r\nHost: other\r\n\r\n");
}

#[test]
fn chunked_split_at_every_byte() {
    let text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5;ext=1\r\nhello\r\nA\r\n, chunked!\r\n0\r\nX: y\r\n\r\n";
    for at in 1..text.len() {
        let (response, client) = exchange("GET", vec![text[..at].to_vec(), text[at..].to_vec()]);
        let response = response.unwrap();
        assert_eq!(response.text(), "hello, chunked!", "split at {at}");
        assert_eq!(response.received_bytes, text.len() as u64);
        assert!(client.is_open());
    }
    let (response, _) = exchange("GET", text.iter().map(|byte| vec![*byte]).collect());
    assert_eq!(response.unwrap().text(), "hello, chunked!");
}

#[test]
fn skips_1xx_but_not_101() {
    let (response, client) = answer(
        "POST",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
    );
    let response = response.unwrap();
    assert_eq!((response.status, response.text().as_str()), (200, "x"));
    assert_eq!(response.header("link"), None);
    assert!(client.is_open());
    let (response, _) = answer("GET", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(response.unwrap().status, 101);
}

#[test]
fn expect_100_continue_in_pieces() {
    let (mut client, thread) = server(|mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        let mut body = [0; 4];
        stream.read_exact(&mut body).unwrap();
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
    });
    let head = b"POST / HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";
    let before = Instant::now();
    client.send_raw(head).unwrap();
    let after = Instant::now();
    client.send_raw(b"body").unwrap();
    let response = client.read_response("POST").unwrap();
    thread.join().unwrap();
    assert_eq!(response.status, 204);
    assert_eq!(response.sent_bytes, head.len() as u64 + 4);
    assert!((before..after).contains(&response.start));
}

#[test]
fn until_close_ends_with_the_last_byte_not_with_the_close() {
    let (mut client, thread) = server(|mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nall of it").unwrap();
        thread::sleep(Duration::from_millis(500));
    });
    let response = client.send(&Request::get("/")).unwrap();
    let now = Instant::now();
    thread.join().unwrap();
    assert_eq!(response.text(), "all of it");
    assert!(now.duration_since(response.end) > Duration::from_millis(100));
    assert!(!client.is_open());
    assert!(client.send(&Request::get("/")).is_err());
}

#[test]
fn no_body_for_head_connect_204_and_304() {
    for (method, text) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"),
        ("CONNECT", "HTTP/1.1 200 Connected\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n"),
    ] {
        let (response, client) = answer(method, text);
        assert!(response.unwrap().body.is_empty());
        assert!(client.is_open());
    }
}

#[test]
fn honours_the_connection_header() {
    for (text, open) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true),
        (
            "HTTP/1.1 200 OK\r\nConnection: foo, Close\r\nContent-Length: 0\r\n\r\n",
            false,
        ),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", false),
        (
            "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
            true,
        ),
    ] {
        assert_eq!(answer("GET", text).1.is_open(), open, "{text}");
    }
}

#[test]
fn refuses_what_is_not_a_complete_response() {
    for text in [
        "",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfour",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "SSH-2.0-server\r\n\r\n",
    ] {
        let (response, client) = answer("GET", text);
        assert!(response.is_err(), "{text}");
        assert!(!client.is_open());
    }
}

#[test]
fn reads_pipelined_responses_one_by_one() {
    let (mut client, thread) = server(|mut stream| {
        read_head(&mut stream);
        read_head(&mut stream);
        stream
            .write_all(
                b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nbb",
            )
            .unwrap();
    });
    client
        .send_raw(b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n")
        .unwrap();
    let first = client.read_response("GET").unwrap();
    assert!(!client.is_reusable());
    let second = client.read_response("GET").unwrap();
    thread.join().unwrap();
    assert_eq!((first.status, second.status), (200, 404));
    assert_eq!((first.received_bytes, second.received_bytes), (39, 47));
    assert!(second.end >= second.start);
}

#[test]
fn a_body_larger_than_the_buffer() {
    let (mut client, thread) = server(|mut stream| {
        for size in [3_000_000, 10] {
            read_head(&mut stream);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
            stream
                .write_all(&[head.into_bytes(), vec![b'x'; size]].concat())
                .unwrap();
        }
    });
    assert_eq!(client.send(&Request::get("/")).unwrap().body.len(), 3_000_000);
    assert_eq!(client.send(&Request::get("/")).unwrap().body.len(), 10);
    thread.join().unwrap();
}

#[test]
fn notices_a_close_while_idle() {
    let (mut client, thread) = server(|mut stream| {
        read_head(&mut stream);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
    });
    client.send(&Request::get("/")).unwrap();
    thread.join().unwrap();
    assert!(client.is_open());
    assert!(!client.is_reusable());
}
