//! What a connection may begin with: odd requests, what proxies send first, and other protocols.
//!
//! nginx's own access log is the truth: a line for each request that nginx took for one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that panics has failed, as it should"
)]

mod common;

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr},
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use common::{OK, connect, lost, read_head, read_request, server, settled, settled_scrape, vigie_alone};
use testkit::{Request, Scrape, Server, Shot, TempDir, closed_loop, free_port, nginx_with};

/// nginx with an access log, and how many lines that has.
struct Logged {
    server: Server,
    log: PathBuf,
}

// === impl Logged ===

impl Logged {
    /// `listen` is behind the address, `rest` in the server's block.
    fn start(listen: &str, rest: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let port = free_port().unwrap();
        let log = dir.path().join("access.log");
        let site = format!(
            "log_format one '$status $request';\n\
             server {{ listen 127.0.0.1:{port} {listen}; access_log {} one; client_header_timeout 1s;\n\
             location / {{ return 200 \"ok\\n\"; }}\n{rest}\n}}",
            log.display()
        );
        Self {
            server: nginx_with(dir, port, &site, 1).unwrap(),
            log,
        }
    }

    fn lines(&self) -> Vec<String> {
        // What clients send may be no text.
        let text = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
    }
}

/// What was counted for a port, and what was lost.
fn counted(scrape: &Scrape, port: u16) -> (u64, u64) {
    let aborted = scrape.sum("http_requests_aborted_total", &[("port", &port.to_string())]);
    let answered: u64 = scrape.requests(port).values().sum();
    (answered + aborted as u64, lost(scrape) as u64)
}

/// How a client goes on when it has sent its bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    /// It reads until the server closes, or is silent.
    Reads,
    /// It waits until the server gives up.
    Waits,
    /// It closes at once.
    Closes,
}

/// Sends pieces, one after the other, over a connection of its own.
fn send(address: SocketAddr, pieces: &[&[u8]], then: Then) {
    let mut stream = connect(address);
    let patience = if then == Then::Waits { 2500 } else { 150 };
    stream.set_read_timeout(Some(Duration::from_millis(patience))).unwrap();
    for (i, piece) in pieces.iter().enumerate() {
        if i > 0 {
            thread::sleep(Duration::from_millis(5));
        }
        // The server may have closed already.
        let _ = stream.write_all(piece);
    }
    if then == Then::Closes {
        thread::sleep(Duration::from_millis(50));
        let _ = stream.shutdown(Shutdown::Write);
    }
    let _ = stream.read_to_end(&mut Vec::new());
}

/// nginx's log of odd requests is what Vigie counts and what it says it has lost, case by case.
#[test]
fn odd_requests_are_equal_or_lost() {
    const END: &[u8] = b" HTTP/1.1\r\nHost: a\r\n\r\n";
    const VALID: &[u8] = b"GET /valid HTTP/1.1\r\nHost: a\r\n\r\n";
    let nginx = Logged::start("", "client_max_body_size 1m;");
    let address = nginx.server.address();
    let vigie = vigie_alone(&[]);
    let line = |target: &str| [b"GET ", target.as_bytes(), END].concat();
    let with = |fields: &str, body: &str| format!("POST /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}").into_bytes();
    let long = "x".repeat(9000);
    let mut cases: Vec<(&str, Vec<Vec<u8>>, Then)> = Vec::new();
    let mut case = |name, bytes: &[u8]| cases.push((name, vec![bytes.to_vec()], Then::Reads));
    case("usual", VALID);
    case("two blanks before the target", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n");
    case("two blanks before the version", b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n");
    case("three blanks each", b"GET   /   HTTP/1.1\r\nHost: a\r\n\r\n");
    case("a blank behind the version", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n");
    case("a blank first", b" GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    case("tabs", b"GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n");
    case("a tab before the version", b"GET /\tHTTP/1.1\r\nHost: a\r\n\r\n");
    case("HTTP/0.9", b"GET /\r\n");
    case("HTTP/0.9 with a line feed alone", b"GET /a/b?c\n");
    case("HTTP/0.9 of a POST", b"POST /\r\n");
    case("HTTP/2.0", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n");
    case("HTTP/3.0", b"GET / HTTP/3.0\r\nHost: a\r\n\r\n");
    case("HTTP/1.2", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n");
    case("HTTP/1.10", b"GET / HTTP/1.10\r\nHost: a\r\n\r\n");
    case("HTTP/1.x", b"GET / HTTP/1.x\r\nHost: a\r\n\r\n");
    case("HTTP/11", b"GET / HTTP/11\r\nHost: a\r\n\r\n");
    case("http/1.1", b"GET / http/1.1\r\nHost: a\r\n\r\n");
    case("HTTP", b"GET / HTTP\r\nHost: a\r\n\r\n");
    case("no version, and a blank", b"GET / \r\nHost: a\r\n\r\n");
    case("a query alone", b"GET ?a HTTP/1.1\r\nHost: a\r\n\r\n");
    case("no target", b"GET HTTP/1.1\r\nHost: a\r\n\r\n");
    case("a target without a slash", b"GET a HTTP/1.1\r\nHost: a\r\n\r\n");
    case("a target with a scheme", b"GET http://a/b HTTP/1.1\r\nHost: a\r\n\r\n");
    case("a scheme alone", b"GET http:// HTTP/1.1\r\nHost: a\r\n\r\n");
    case("an asterisk", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n");
    case("OPTIONS of all", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    case("CONNECT", b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n");
    case("a method in lower case", b"get / HTTP/1.1\r\nHost: a\r\n\r\n");
    case("a method that is none", b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n");
    case("a method of its own", b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n");
    case("no blank", b"GET/ HTTP/1.1\r\nHost: a\r\n\r\n");
    case("empty lines first", b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    case("line feeds alone", b"\n\nGET / HTTP/1.1\nHost: a\n\n");
    case("a carriage return alone", b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    case("a zero byte first", b"\0GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    case("a zero byte in the target", b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n");
    case("a blank in the target", &line("/a b"));
    case("a broken escape", &line("/%zz"));
    case("what is no ASCII", &line("/\u{e9}"));
    case("a fragment", &line("/a#b"));
    case("a long target", &line(&format!("/{long}")));
    case(
        "a long method",
        format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "M".repeat(100)).as_bytes(),
    );
    case("no host", b"GET / HTTP/1.1\r\n\r\n");
    case("no host, 1.0", b"GET / HTTP/1.0\r\n\r\n");
    case("two hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    case(
        "a field without a colon",
        b"GET / HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n",
    );
    case("a field with a blank", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n");
    case("a zero byte in a field", b"GET / HTTP/1.1\r\nHost: a\r\nA: \0\r\n\r\n");
    case("a folded field", b"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n");
    case(
        "a long field",
        format!("GET / HTTP/1.1\r\nHost: a\r\nA: {long}{long}\r\n\r\n").as_bytes(),
    );
    case("a length", &with("Content-Length: 5\r\n", "hello"));
    case("a list of equal lengths", &with("Content-Length: 2, 2\r\n", "hi"));
    case("a list of lengths", &with("Content-Length: 2, 3\r\n", "hi!"));
    case("two lengths", &with("Content-Length: 2\r\nContent-Length: 2\r\n", "hi"));
    case("a negative length", &with("Content-Length: -1\r\n", ""));
    case("a length in letters", &with("Content-Length: two\r\n", "hi"));
    case("a huge length", &with("Content-Length: 99999999999999999999\r\n", "hi"));
    case("a length on the next line", &with("Content-Length:\r\n 5\r\n", "hello"));
    case(
        "a coding on the next line",
        &with("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"),
    );
    case(
        "both",
        &with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    );
    case("a coding that is none", &with("Transfer-Encoding: gzip\r\n", "hello"));
    case(
        "a chunk that is none",
        &with("Transfer-Encoding: chunked\r\n", "zz\r\n\r\n"),
    );
    case("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03hello");
    case(
        "the preface of HTTP/2",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    );
    case(
        "a PROXY header",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    case("a PROXY header of version 2", &[PROXY_2, b"\x20\0\0\0", VALID].concat());
    case("letters", b"hello\r\n");
    case(
        "usual, then an odd one",
        &[VALID, b"GET  /odd HTTP/1.1\r\nHost: a\r\n\r\n"].concat(),
    );
    case(
        "an odd one, then usual",
        &[b"GET  /odd HTTP/1.1\r\nHost: a\r\n\r\n", VALID].concat(),
    );
    case("usual, then letters", &[VALID, b"hello\r\n"].concat());
    case(
        "a bad length, then usual",
        &[&with("Content-Length: 2, 3\r\n", "hi!")[..], VALID].concat(),
    );
    case(
        "a folded length, then usual",
        &[&with("Content-Length:\r\n 5\r\n", "hello")[..], VALID].concat(),
    );
    case("nothing", b"");
    let mut pieces = |name, pieces: &[&[u8]], then| {
        cases.push((name, pieces.iter().map(|piece| piece.to_vec()).collect(), then));
    };
    pieces(
        "an odd one in pieces",
        &[b"GET ", b" / HTTP/1.1\r\n", b"Host: a\r\n", b"\r\n"],
        Then::Reads,
    );
    pieces(
        "then usual",
        &[b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", VALID, VALID],
        Then::Reads,
    );
    pieces("an empty line, and usual", &[b"\r\n", VALID], Then::Reads);
    pieces("a method that never ends", &[b"GE"], Then::Waits);
    pieces("a line that never ends", &[b"GET /a"], Then::Waits);
    pieces(
        "a head that never ends",
        &[b"GET /a HTTP/1.1\r\nHost: a\r\n"],
        Then::Waits,
    );
    pieces(
        "usual, then a head that never ends",
        &[VALID, b"GET /a HTTP/1.1\r\nHo"],
        Then::Waits,
    );
    pieces("a line that is given up", &[b"GET /a"], Then::Closes);
    pieces(
        "a head that is given up",
        &[b"GET /a HTTP/1.1\r\nHost: a\r\n"],
        Then::Closes,
    );
    pieces(
        "a body that is given up",
        &[b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhi"],
        Then::Closes,
    );
    let mut wrong = Vec::new();
    let mut before = (
        nginx.lines().len() as u64,
        counted(&vigie.scrape().unwrap(), address.port()),
    );
    for (name, pieces, then) in &cases {
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        send(address, &pieces, *then);
        // nginx writes its line when it is done.
        let mut now = before;
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(10) {
            thread::sleep(Duration::from_millis(20));
            now = (
                nginx.lines().len() as u64,
                counted(&vigie.scrape().unwrap(), address.port()),
            );
            let (counted, lost) = (now.1.0 - before.1.0, now.1.1 - before.1.1);
            if now.0 - before.0 == counted + lost && (now.0 > before.0 || begin.elapsed() > Duration::from_millis(200))
            {
                break;
            }
        }
        let (lines, counted, lost) = (now.0 - before.0, now.1.0 - before.1.0, now.1.1 - before.1.1);
        let logged: Vec<String> = nginx
            .lines()
            .into_iter()
            .skip(before.0 as usize)
            .map(|line| line.chars().take(40).collect())
            .collect();
        println!("{name}: {lines} lines, {counted} counted, {lost} lost  {logged:?}");
        if lines != counted + lost {
            wrong.push(*name);
        }
        before = now;
    }
    assert!(cases.len() >= 53, "{}", cases.len());
    assert_eq!(wrong, [] as [&str; 0]);
    let lost = vigie.scrape().unwrap();
    for reason in ["unmatched", "unfinished"] {
        println!("{reason}: {}", lost.sum("vigie_lost_total", &[("reason", reason)]));
    }
}

/// The signature of the PROXY protocol, version 2.
const PROXY_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// HAProxy in front of a server, until this is dropped.
fn haproxy(server: SocketAddr, options: &str) -> Server {
    let dir = TempDir::new().unwrap();
    let port = free_port().unwrap();
    let config = format!(
        "defaults\n  mode http\n  timeout client 20s\n  timeout server 20s\n  timeout connect 5s\n\
         frontend f\n  bind 127.0.0.1:{port}\n  unique-id-format %[rand]\n  default_backend b\n\
         backend b\n  server s {server} {options}\n"
    );
    let config = dir.write("haproxy.cfg", config.as_bytes()).unwrap();
    let mut command = Command::new("haproxy");
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .env("PATH", format!("{path}:/usr/sbin"))
        .args(["-db", "-q", "-f"])
        .arg(config);
    let server = Server::start(command, dir, port).unwrap();
    server.wait_ready().unwrap();
    server
}

/// nginx behind HAProxy, which says whose connection it passes on: each request is counted, whatever stands before it.
#[test]
fn what_proxies_send_first_is_skipped() {
    const REQUESTS: usize = 100;
    let expected = common::counts(&[("/a", "GET", 200, REQUESTS as u64)]);
    for options in [
        "send-proxy",
        "send-proxy-v2",
        // With type-length-values.
        "send-proxy-v2 proxy-v2-options unique-id,crc32c",
        // A connection for each request.
        "send-proxy-v2 pool-max-conn 0",
    ] {
        let nginx = Logged::start("proxy_protocol", "");
        let proxy = haproxy(nginx.server.address(), options);
        let vigie = vigie_alone(&[]);
        let records = closed_loop(proxy.address(), 2, REQUESTS / 2, !options.contains("pool"), |_, _| {
            Shot {
                handler: "/a",
                request: Request::get("/a"),
                expected: Some(200),
            }
        })
        .unwrap();
        assert_eq!(records.counts(), expected, "{options}");
        assert_eq!(settled(&vigie, nginx.server.port(), &expected), expected, "{options}");
        assert_eq!(settled(&vigie, proxy.port(), &expected), expected, "{options}");
        // The first lines are those of readiness.
        assert_eq!(
            nginx.lines().iter().filter(|line| line.contains("/a")).count(),
            REQUESTS
        );
        let scrape = vigie.scrape().unwrap();
        assert_eq!(
            (lost(&scrape), not_http(&scrape, nginx.server.port())),
            (0.0, BTreeMap::new()),
            "{options}"
        );
    }
}

/// The same in pieces of any size, with addresses of any kind, and with bodies that look like what a proxy sends.
#[test]
fn a_header_is_skipped_once_and_at_the_start() {
    const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    const LAST: &[u8] = b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let nginx = Logged::start("proxy_protocol", "");
    let address = nginx.server.address();
    let vigie = vigie_alone(&[]);
    let version_2 = |command: u8, family: u8, rest: &[u8]| {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [PROXY_2, &[command, family], &length, rest].concat()
    };
    let text = [0x04, 0, 5].iter().copied().chain(*b"hello").collect::<Vec<u8>>();
    let headers = [
        b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n".to_vec(),
        b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n".to_vec(),
        version_2(0x20, 0x00, b""),
        version_2(0x21, 0x11, &[1; 12]),
        version_2(0x21, 0x21, &[1; 36]),
        version_2(0x21, 0x31, &[0; 216]),
        version_2(0x21, 0x11, &[&[1; 12][..], &text, &[0x03, 0, 4, 1, 2, 3, 4]].concat()),
    ];
    let mut sent = 0;
    for header in &headers {
        // nginx takes a header that is whole in what it reads first.
        for cut in [0, header.len()] {
            let mut stream = connect(address);
            if cut > 0 {
                stream.write_all(&header[..cut]).unwrap();
                thread::sleep(Duration::from_millis(5));
            }
            stream.write_all(&[&header[cut..], GET].concat()).unwrap();
            assert!(read_head(&mut stream).unwrap().contains(" 200 "));
            stream.read_exact(&mut [0; 3]).unwrap();
            stream.write_all(LAST).unwrap();
            stream.read_to_end(&mut Vec::new()).unwrap();
            sent += 2;
        }
    }
    let expected = common::counts(&[("/a", "GET", 200, sent)]);
    assert_eq!(settled(&vigie, address.port(), &expected), expected);
    // A server whose every read the test decides: a byte at a time, and behind a body that is none.
    let body = [&headers[0][..], &headers[5], GET].concat();
    let post = format!("POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
    let message = [post.as_bytes(), &body, GET].concat();
    let ends = [post.len() + body.len(), message.len()];
    for (i, header) in headers.iter().enumerate() {
        for size in [1, 7, 4000] {
            let header_length = header.len();
            let server = server(move |mut stream| {
                let mut got = 0;
                let mut buffer = vec![0; size];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    let before = got;
                    got += count;
                    for end in ends {
                        if (before + 1..=got).contains(&(header_length + end)) {
                            stream.write_all(OK).unwrap();
                        }
                    }
                }
            });
            let mut stream = connect(server);
            stream.write_all(&[&header[..], &message].concat()).unwrap();
            stream.read_exact(&mut vec![0; 2 * OK.len()]).unwrap();
            drop(stream);
            let expected = common::counts(&[("/a", "GET", 200, 1), ("/b", "POST", 200, 1)]);
            assert_eq!(settled(&vigie, server.port(), &expected), expected, "{i} {size}");
        }
    }
    let scrape = vigie.scrape().unwrap();
    assert_eq!(lost(&scrape), 0.0);
    assert_eq!(scrape.sum("vigie_not_http_connections_total", &[]), 0.0);
}

/// Connections of a port that carried no HTTP, by what they look like.
fn not_http(scrape: &Scrape, port: u16) -> BTreeMap<String, f64> {
    let port = port.to_string();
    let samples = scrape.samples("vigie_not_http_connections_total");
    let its = samples.filter(|sample| sample.labels["port"] == port);
    its.map(|sample| (sample.labels["looks_like"].clone(), sample.value))
        .collect()
}

/// TLS, HTTP/2, other protocols and headers that are broken are counted by connection, where they come to; and nothing is lost.
#[test]
fn what_is_no_http_is_counted() {
    const TIMES: usize = 7;
    let vigie = vigie_alone(&[]);
    // An HTTP/2 server with and without TLS, and its clients.
    let dir = TempDir::new().unwrap();
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            "/CN=a",
        ])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let (plain, secret) = (free_port().unwrap(), free_port().unwrap());
    let at = dir.path().display();
    let site = format!(
        "server {{ listen 127.0.0.1:{plain} http2; listen 127.0.0.1:{secret} ssl http2;\n\
         ssl_certificate {at}/cert.pem; ssl_certificate_key {at}/key.pem; location / {{ return 200 ok; }} }}"
    );
    let nginx = nginx_with(dir, plain, &site, 1).unwrap();
    for _ in 0..TIMES {
        for arguments in [
            vec![
                "--http2-prior-knowledge".to_owned(),
                format!("http://127.0.0.1:{plain}/"),
            ],
            vec!["-k".to_owned(), format!("https://127.0.0.1:{secret}/")],
        ] {
            let got = Command::new("curl").args(["-sS"]).args(arguments).output().unwrap();
            assert_eq!(got.stdout, b"ok", "{got:?}");
        }
    }
    // A server that speaks when it is spoken to, and clients of all kinds.
    let other = server(|mut stream| {
        while let Some(bytes) = read_request(&mut stream) {
            if !bytes.starts_with(b"silent") {
                stream.write_all(b"-ERR unknown\r\n").unwrap();
            }
        }
    });
    let version_3 = [PROXY_2, b"\x31\x11\0\x0c"].concat();
    let unfinished = [PROXY_2, b"\x21"].concat();
    for _ in 0..TIMES {
        for bytes in [
            &b"*1\r\n$4\r\nPING\r\n"[..],
            b"get key\r\n",
            b"\0\0\0\x08\x04\xd2\x16\x2f",
            b"silent\r\n",
            &version_3,
        ] {
            let mut stream = connect(other);
            for _ in 0..3 {
                stream.write_all(bytes).unwrap();
                if !bytes.starts_with(b"silent") {
                    stream.read_exact(&mut [0; 14]).unwrap();
                }
            }
        }
        let mut stream = connect(other);
        stream.write_all(&unfinished).unwrap();
        // The server has it before the client goes.
        stream.read_exact(&mut [0; 14]).unwrap();
    }
    let times = TIMES as f64;
    let of = |looks: &str, count| BTreeMap::from([(looks.to_owned(), count)]);
    let both = BTreeMap::from([("other".to_owned(), 4.0 * times), ("proxy".to_owned(), 2.0 * times)]);
    let all = [
        (plain, of("http2", times)),
        (secret, of("tls", times)),
        (other.port(), both),
    ];
    let fits = |scrape: &Scrape| all.iter().all(|(port, expected)| not_http(scrape, *port) == *expected);
    let scrape = settled_scrape(&vigie, fits);
    for (port, expected) in &all {
        assert_eq!(not_http(&scrape, *port), *expected);
        assert_eq!(scrape.requests(*port), common::counts(&[]));
    }
    let of_nginx = scrape.sum("vigie_not_http_connections_total", &[("service", "nginx")]);
    assert_eq!((of_nginx, lost(&scrape)), (2.0 * times, 0.0));
    drop(nginx);
}

/// What goes over unix sockets between programs that are no services is nobody's, also while Vigie starts.
#[test]
fn what_is_of_no_service_is_not_counted() {
    const CODE: &str = "\
        import socket, time\n\
        print(flush=True)\n\
        while True:\n\
        \x20   one, other = socket.socketpair()\n\
        \x20   one.send(b'hello\\r\\n')\n\
        \x20   other.recv(100)\n\
        \x20   other.send(b'no')\n\
        \x20   one.recv(100)\n\
        \x20   one.close()\n\
        \x20   other.close()\n\
        \x20   time.sleep(0.001)\n";
    let dir = TempDir::new().unwrap();
    let script = dir.write("pairs.py", CODE.as_bytes()).unwrap();
    let mut command = Command::new("python3");
    command.arg(script);
    let _pairs = Server::start(command, dir, 0).unwrap();
    let vigie = vigie_alone(&[]);
    thread::sleep(Duration::from_millis(500));
    let scrape = vigie.scrape().unwrap();
    assert_eq!(scrape.sum("vigie_not_http_connections_total", &[]), 0.0);
    assert_eq!(lost(&scrape), 0.0);
}
