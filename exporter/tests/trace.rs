//! `vigie trace`: single requests, line by line, and not one more or less than there were.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that panics has failed, as it should"
)]

mod common;

use std::{
    collections::BTreeMap,
    io::{Read, Write as _},
    net::SocketAddr,
    os::unix::net::UnixStream,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use common::{
    Watch, answer_all, ask_for_traces, binary, connect, program_for_anybody, python, read_head, read_request, server,
    settled_scrape, vigie, vigie_alone,
};
use serde_json::Value;
use testkit::{Client, Request, Scrape, Server, Shot, TempDir, closed_loop, nginx, python_app};

const LIMIT: Duration = Duration::from_secs(10);

/// A `vigie trace` that runs.
struct Trace {
    process: Server,
}

/// What `vigie trace` has written to standard output, as JSON, and to standard error.
struct Said {
    lines: Vec<Value>,
    notes: String,
}

impl Trace {
    /// Traces what a Vigie watches, with JSON, and waits until it does.
    fn of(vigie: &Watch, arguments: &[&str]) -> Self {
        let before = clients(vigie);
        let socket = vigie.trace_socket();
        let trace = Self::start(&[&["--trace.socket", socket.to_str().unwrap(), "--json"], arguments].concat());
        wait_for(|| clients(vigie) > before);
        trace
    }

    fn start(arguments: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let mut command = Command::new("sh");
        // The two streams apart.
        command
            .args(["-c", "exec \"$0\" trace \"$@\" >lines 2>notes"])
            .arg(binary())
            .args(arguments)
            .current_dir(directory.path());
        Self {
            process: Server::start(command, directory, 0).unwrap(),
        }
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.process.dir().path().join(name)).unwrap_or_default()
    }

    /// How many lines there are by now for a port: other tests' servers are seen as well.
    fn count(&self, port: u16) -> usize {
        let port = format!("\"port\":{port},");
        self.read("lines").lines().filter(|line| line.contains(&port)).count()
    }

    /// As Ctrl-C ends it.
    fn end(mut self) -> Said {
        self.process.signal(libc::SIGINT).unwrap();
        self.wait()
    }

    /// Waits until it ends by itself.
    fn wait(&mut self) -> Said {
        wait_for(|| self.process.has_exited());
        let notes = self.read("notes");
        assert!(self.process.stop().unwrap().success(), "{notes}");
        let lines = self.read("lines");
        Said {
            lines: lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
            notes,
        }
    }
}

impl Said {
    /// Shown and not shown, as the last line says.
    fn summary(&self) -> (u64, u64) {
        let last = self.notes.lines().last().unwrap();
        let (shown, rest) = last.split_once(" shown, ").unwrap();
        let (not_shown, _) = rest.split_once(" not shown").unwrap();
        (shown.parse().unwrap(), not_shown.parse().unwrap())
    }

    /// How many lines there are for each method, path and status on a port.
    fn requests(&self, port: u16) -> BTreeMap<(String, String, u64), usize> {
        let mut counts = BTreeMap::new();
        for line in self.lines.iter().filter(|line| line["port"] == port) {
            let text = |name: &str| line[name].as_str().unwrap_or("-").to_owned();
            *counts
                .entry((text("method"), text("path"), line["status"].as_u64().unwrap()))
                .or_default() += 1;
        }
        counts
    }
}

fn clients(vigie: &Watch) -> f64 {
    vigie.scrape().unwrap().sum("vigie_trace_clients", &[])
}

fn wait_for(mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < end, "it has not come within {LIMIT:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn name_of_service(scrape: &Scrape, port: u16) -> String {
    let port = port.to_string();
    let sample = scrape
        .samples("http_requests_total")
        .find(|sample| sample.labels["port"] == port);
    sample.unwrap().labels["service"].clone()
}

fn expected(list: &[(&str, &str, u64, usize)]) -> BTreeMap<(String, String, u64), usize> {
    list.iter()
        .map(|(method, path, status, count)| (((*method).to_owned(), (*path).to_owned(), *status), *count))
        .collect()
}

fn send(address: SocketAddr, method: &str, paths: &[&str]) {
    let mut client = Client::connect(address).unwrap();
    for path in paths {
        client.send(&Request::new(method, *path)).unwrap();
    }
}

/// Every request has its line, whatever it is like, and the metrics count the same.
#[test]
fn every_request_has_a_line() {
    let server = nginx(&[("a", b"hello")], "location /api/ { return 200 \"ok\\n\"; }", 2).unwrap();
    let vigie = vigie(&[]);
    let trace = Trace::of(&vigie, &["--rate", "0"]);
    let records = closed_loop(server.address(), 4, 2500, true, |thread, i| Shot {
        handler: "/api/{id}",
        request: Request::get(format!("/api/{}?secret=1", thread * 2500 + i)),
        expected: Some(200),
    })
    .unwrap();
    assert_eq!(records.counts().values().sum::<u64>(), 10_000);
    send(server.address(), "POST", &["/api/x", "/status/503"]);
    send(server.address(), "GET", &["/a", "/none", "/status/204"]);
    let port = server.port();
    wait_for(|| trace.count(port) >= 10_005);
    let scrape = settled_scrape(&vigie, |scrape| scrape.requests(port).values().sum::<u64>() == 10_005);
    let said = trace.end();
    let mut seen = said.requests(port);
    for i in 0..10_000 {
        assert_eq!(
            seen.remove(&("GET".to_owned(), format!("/api/{i}"), 200)),
            Some(1),
            "{i}"
        );
    }
    assert_eq!(
        seen,
        expected(&[
            ("POST", "/api/x", 200, 1),
            ("POST", "/status/503", 503, 1),
            ("GET", "/a", 200, 1),
            ("GET", "/none", 404, 1),
            ("GET", "/status/204", 204, 1),
        ])
    );
    assert_eq!(scrape.requests(port).values().sum::<u64>(), 10_005);
    let mut by_handler = BTreeMap::new();
    let mut duration = 0.0;
    for line in said.lines.iter().filter(|line| line["port"] == port) {
        let key = (
            line["handler"].as_str().unwrap().to_owned(),
            line["method"].as_str().unwrap().to_owned(),
            u16::try_from(line["status"].as_u64().unwrap()).unwrap(),
        );
        *by_handler.entry(key).or_insert(0) += 1;
        let phases: f64 = line["phases"]
            .as_object()
            .unwrap()
            .values()
            .map(|value| value.as_f64().unwrap())
            .sum();
        assert!((phases - line["duration"].as_f64().unwrap()).abs() < 1e-9, "{line}");
        duration += phases;
    }
    assert_eq!(by_handler, scrape.requests(port));
    let sum = scrape.sum("http_request_duration_seconds_sum", &[("port", &port.to_string())]);
    assert!((duration - sum).abs() < 1e-6, "{duration} {sum}");
    assert_eq!(said.summary().1, 0);
}

/// What a line says.
#[test]
fn a_line_is_whole() {
    let app = python_app(&python(), include_str!("data/trace_app.py"), &[]).unwrap();
    let vigie = vigie(&[]);
    let service = name_of_service(
        &{
            send(app.address(), "GET", &["/"]);
            settled_scrape(&vigie, |scrape| !scrape.requests(app.port()).is_empty())
        },
        app.port(),
    );
    let trace = Trace::of(&vigie, &["--service", &service]);
    let body = "x".repeat(1000);
    let mut client = Client::connect(app.address()).unwrap();
    client.send(&Request::post("/items/17?q=1", body)).unwrap();
    let now = std::time::SystemTime::now();
    wait_for(|| trace.count(app.port()) == 1);
    let said = trace.end();
    let line = said.lines.iter().find(|line| line["port"] == app.port()).unwrap();
    let scrape = vigie.scrape().unwrap();
    let port = app.port().to_string();
    let labels = [("port", port.as_str()), ("method", "POST")];
    assert_eq!(line["service"], service);
    assert_eq!(
        (&line["method"], &line["handler"], &line["path"], &line["status"]),
        (&"POST".into(), &"/items/{id}".into(), &"/items/17".into(), &201.into())
    );
    assert_eq!(
        line["request_bytes"].as_f64().unwrap(),
        scrape.sum("http_request_size_bytes_sum", &labels)
    );
    assert_eq!(
        line["response_bytes"].as_f64().unwrap(),
        scrape.sum("http_response_size_bytes_sum", &labels)
    );
    assert_eq!(line["process"], app.pid());
    assert_ne!(line["thread"], 0);
    let time = chrono_like(line["time"].as_str().unwrap());
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - time).abs() < 5.0, "{time} {now}");
}

/// Seconds since 1970 of a time as `2026-01-02T03:04:05.678Z`, as `date` reads it.
fn chrono_like(time: &str) -> f64 {
    let output = Command::new("date").args(["-d", time, "+%s.%N"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// Each filter lets through what it says, and nothing else; several at the same time do not meddle with each other.
#[test]
fn filters() {
    let web = nginx(&[], "location /api/ { return 200 \"ok\\n\"; }", 1).unwrap();
    let app = python_app(&python(), include_str!("data/trace_app.py"), &[]).unwrap();
    let vigie = vigie(&[]);
    send(app.address(), "GET", &["/"]);
    let scrape = settled_scrape(&vigie, |scrape| !scrape.requests(app.port()).is_empty());
    let service = name_of_service(&scrape, app.port());
    let traces = [
        &["--errors"][..],
        &["--slower", "100ms"],
        &["--status", "404"],
        &["--service", &service],
        &["--handler", "/api/{id}"],
        &["--handler", "/api/{id}", "--status", "200", "--slower", "1s"],
    ]
    .map(|arguments| Trace::of(&vigie, &[arguments, &["--rate", "0"]].concat()));
    send(
        web.address(),
        "GET",
        &["/api/1", "/api/2", "/status/404", "/status/500", "/status/301"],
    );
    send(app.address(), "GET", &["/slow/150", "/slow/1", "/fail"]);
    // One that is not answered.
    connect(app.address()).write_all(b"GET /drop HTTP/1.1\r\n\r\n").unwrap();
    let counts = [4, 1, 1, 4, 2, 0];
    let ports = [web.port(), app.port()];
    let ours = |said: &Said| {
        let mut all = said.requests(ports[0]);
        all.extend(said.requests(ports[1]));
        all
    };
    wait_for(|| {
        let count = |trace: &Trace| ports.map(|port| trace.count(port)).iter().sum::<usize>();
        traces
            .iter()
            .zip(counts)
            .all(|(trace, expected)| count(trace) >= expected)
    });
    let seen = traces.map(|trace| ours(&trace.end()));
    assert_eq!(
        seen[0],
        expected(&[
            ("GET", "/status/404", 404, 1),
            ("GET", "/status/500", 500, 1),
            ("GET", "/fail", 500, 1),
            ("GET", "/drop", 0, 1)
        ])
    );
    assert_eq!(seen[1], expected(&[("GET", "/slow/150", 200, 1)]));
    assert_eq!(seen[2], expected(&[("GET", "/status/404", 404, 1)]));
    assert_eq!(
        seen[3],
        expected(&[
            ("GET", "/slow/150", 200, 1),
            ("GET", "/slow/1", 200, 1),
            ("GET", "/fail", 500, 1),
            ("GET", "/drop", 0, 1)
        ])
    );
    assert_eq!(
        seen[4],
        expected(&[("GET", "/api/1", 200, 1), ("GET", "/api/2", 200, 1)])
    );
    assert_eq!(seen[5], expected(&[]));
}

/// More than the rate allows are counted, and each is one or the other: also with a second trace beside it that is shown
/// everything.
#[test]
fn shown_and_not_shown_are_all() {
    // In this process: no other service has its name.
    let address = server(answer_all);
    let vigie = vigie_alone(&[]);
    send(address, "GET", &["/burst/1"]);
    let scrape = settled_scrape(&vigie, |scrape| !scrape.requests(address.port()).is_empty());
    let service = name_of_service(&scrape, address.port());
    let few = Trace::of(&vigie, &["--rate", "20", "--service", &service]);
    let all = Trace::of(&vigie, &["--rate", "0", "--service", &service]);
    let begin = Instant::now();
    closed_loop(address, 4, 5000, true, |_, i| Shot {
        handler: "/burst/{id}",
        request: Request::get(format!("/burst/{i}")),
        expected: Some(200),
    })
    .unwrap();
    settled_scrape(&vigie, |scrape| {
        scrape.requests(address.port()).values().sum::<u64>() == 20_001
    });
    let seconds = begin.elapsed().as_secs_f64();
    wait_for(|| few.read("notes").contains(" not shown"));
    let (few, all) = (few.end(), all.end());
    let (shown, not_shown) = few.summary();
    assert_eq!(shown + not_shown, 20_000, "{}", few.notes);
    assert_eq!(shown, few.lines.len() as u64);
    assert!(
        shown >= 20 && shown as f64 <= 20.0 + 20.0 * seconds + 1.0,
        "{shown} in {seconds} s"
    );
    assert!(few.notes.contains(&format!("(rate {not_shown})")), "{}", few.notes);
    let (shown, not_shown) = all.summary();
    assert_eq!(shown + not_shown, 20_000, "{}", all.notes);
    println!("everything: {shown} shown, {not_shown} not shown");
    let scrape = vigie.scrape().unwrap();
    assert_eq!(
        scrape.sum("vigie_trace_shown_total", &[]) + scrape.sum("vigie_trace_not_shown_total", &[]),
        40_000.0
    );
}

/// While nobody traces, nothing is shown: neither after a client has ended its trace, nor when it vanished.
#[test]
fn whoever_vanishes_turns_it_off() {
    let address = server(answer_all);
    let vigie = vigie_alone(&[]);
    let shown = || vigie.scrape().unwrap().sum("vigie_trace_shown_total", &[]);
    let trace = Trace::of(&vigie, &["--rate", "0", "--handler", "/vanish", "--handler", "/other"]);
    send(address, "GET", &["/vanish", "/other"]);
    wait_for(|| trace.count(address.port()) == 2);
    trace.process.signal(libc::SIGKILL).unwrap();
    wait_for(|| clients(&vigie) == 0.0);
    send(address, "GET", &["/vanish"; 5]);
    thread::sleep(Duration::from_millis(500));
    assert_eq!(shown(), 2.0);
    assert_eq!(
        vigie.scrape().unwrap().requests(address.port()).values().sum::<u64>(),
        7
    );
    let trace = Trace::of(&vigie, &["--rate", "0", "--handler", "/vanish", "--handler", "/other"]);
    send(address, "GET", &["/vanish"; 5]);
    wait_for(|| trace.count(address.port()) == 5);
    assert_eq!(trace.end().summary(), (5, 0));
    assert_eq!((clients(&vigie), shown()), (0.0, 7.0));
}

/// A client that does not read holds nobody up.
#[test]
fn a_client_that_does_not_read() {
    let server = nginx(&[], "location /lazy/ { return 200 \"ok\\n\"; }", 1).unwrap();
    let vigie = vigie_alone(&[]);
    let mut lazy = ask_for_traces(&vigie, "/-/trace?rate=0&handler=/lazy/%7Bid%7D");
    wait_for(|| clients(&vigie) == 1.0);
    let total = 60_000;
    closed_loop(server.address(), 4, total / 4, true, |_, i| Shot {
        handler: "/lazy/{id}",
        request: Request::get(format!("/lazy/{i}")),
        expected: Some(200),
    })
    .unwrap();
    let scrape = settled_scrape(&vigie, |scrape| {
        scrape.requests(server.port()).values().sum::<u64>() == total as u64
    });
    assert_eq!(scrape.requests(server.port()).values().sum::<u64>(), total as u64);
    let slow = scrape.sum("vigie_trace_not_shown_total", &[("reason", "slow_client")]);
    assert!(slow > 0.0, "{slow}");
    let all = || {
        let scrape = vigie.scrape().unwrap();
        scrape.sum("vigie_trace_shown_total", &[]) + scrape.sum("vigie_trace_not_shown_total", &[])
    };
    wait_for(|| all() == total as f64);
    // It can still be read up to the place where the queue was full.
    let mut first = [0; 1000];
    lazy.read_exact(&mut first).unwrap();
    assert!(String::from_utf8_lossy(&first).contains("\"path\":\"/lazy/0\""));
}

/// Paths: of requests in pieces, with bodies, pipelined, long, and of a terminal's escapes.
#[test]
fn paths() {
    let address = server(|mut stream| {
        while let Some(request) = read_request(&mut stream) {
            let heads = request.windows(4).filter(|bytes| *bytes == b"\r\n\r\n").count();
            for _ in 0..heads {
                stream.write_all(common::OK).unwrap();
            }
        }
    });
    let vigie = vigie(&[]);
    let trace = Trace::of(&vigie, &["--rate", "0"]);
    let ask = |pieces: &[&[u8]]| {
        let mut stream = connect(address);
        for piece in pieces {
            stream.write_all(piece).unwrap();
            thread::sleep(Duration::from_millis(20));
        }
        read_head(&mut stream).unwrap();
    };
    ask(&[b"GET /pie", b"ces/17?a HTTP/1.1\r\n\r\n"]);
    ask(&[b"GET /head HTTP/1.1\r\nA: ", b"b\r\n\r\n"]);
    ask(&[b"PUT /chunks HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]);
    ask(&[b"GET http://a.example/absolute HTTP/1.1\r\n\r\n"]);
    ask(&[b"GET /\x7f[31m\xff HTTP/1.1\r\n\r\n"]);
    ask(&[format!("GET /{} HTTP/1.1\r\n\r\n", "l".repeat(300)).as_bytes()]);
    // The second waits for the first to be answered: its path is not kept.
    ask(&[b"GET /first HTTP/1.1\r\n\r\nGET /second HTTP/1.1\r\n\r\n"]);
    wait_for(|| trace.count(address.port()) >= 8);
    let said = trace.end();
    assert_eq!(
        said.requests(address.port()),
        expected(&[
            ("GET", "/pieces/17", 200, 1),
            ("GET", "/head", 200, 1),
            ("PUT", "/chunks", 200, 1),
            ("GET", "/absolute", 200, 1),
            ("GET", "/%7F[31m%FF", 200, 1),
            ("GET", &format!("/{}…", "l".repeat(255)), 200, 1),
            ("GET", "/first", 200, 1),
            ("GET", "-", 200, 1),
        ])
    );
    let mut ours = said.lines.iter().filter(|line| line["port"] == address.port());
    let second = ours.find(|line| line["path"].is_null()).unwrap();
    assert_eq!(second["handler"], "/second");
}

/// Without a `vigie serve` it watches on its own.
#[test]
fn without_serve() {
    let _host = testkit::host::Host::beside_others().unwrap();
    let address = server(answer_all);
    // Nobody listens there; the default may be somebody's.
    let trace = Trace::start(&["--json", "--rate", "0", "--trace.socket", "/nonexistent/trace.sock"]);
    let mut trace = trace;
    wait_for(|| trace.process.has_exited());
    assert!(
        trace.read("notes").contains("cannot ask /nonexistent/trace.sock"),
        "{}",
        trace.read("notes")
    );
    assert!(!trace.process.stop().unwrap().success());
    let handler = format!("/own-{}", std::process::id());
    if UnixStream::connect("/run/vigie/trace.sock").is_ok() {
        panic!("a Vigie has the default socket: stop it for this test");
    }
    let trace = Trace::start(&["--json", "--rate", "0", "-n", "3"]);
    wait_for(|| trace.read("notes").contains("watching without one"));
    // It may be another test's request that is among the first.
    let trace_by_handler = Trace::start(&["--json", "--rate", "0", "--handler", &handler]);
    wait_for(|| trace_by_handler.read("notes").contains("watching without one"));
    send(address, "GET", &[&handler, &handler, &handler, &handler]);
    wait_for(|| trace_by_handler.count(address.port()) == 4);
    let said = trace_by_handler.end();
    assert_eq!(said.requests(address.port()), expected(&[("GET", &handler, 200, 4)]));
    assert_eq!(said.summary(), (4, 0));
    let mut trace = trace;
    assert_eq!(trace.wait().lines.len(), 3);
}

/// Traces are for root and a group alone, and each refusal says what is wrong.
#[test]
fn refusals() {
    let vigie = vigie(&[]);
    let status = |stream: &mut dyn Read| {
        let head = read_head(&mut &mut *stream).unwrap();
        head.split(' ').nth(1).unwrap().parse::<u16>().unwrap()
    };
    for (target, expected) in [
        ("/-/trace", 200),
        ("/-/trace?nonsense=1", 400),
        ("/metrics", 404),
        ("/", 404),
    ] {
        assert_eq!(status(&mut ask_for_traces(&vigie, target)), expected, "{target}");
    }
    // Nobody gets them over TCP, by whatever name.
    for host in ["127.0.0.1", "localhost", "rebound.example"] {
        let mut stream = connect(vigie.server.address());
        let request = format!("GET /-/trace HTTP/1.1\r\nHost: {host}\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        assert_eq!(status(&mut stream), 403, "{host}");
    }
    // Another user of this host, who may come as far as the socket.
    let socket = vigie.trace_socket();
    let copy = program_for_anybody(vigie.server.dir());
    // Let in, it would wait for requests.
    let mut other = Command::new("timeout");
    other
        .args([
            "10",
            "setpriv",
            "--reuid",
            "65534",
            "--regid",
            "65534",
            "--clear-groups",
        ])
        .arg(&copy);
    let output = other.args(["trace", "--trace.socket"]).arg(&socket).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && text.contains("root and the group vigie"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1, "{text}");
    // No more than there are slots.
    wait_for(|| clients(&vigie) == 0.0);
    let traces: Vec<_> = (0..8).map(|_| Trace::of(&vigie, &[])).collect();
    let mut ninth = Trace::start(&["--trace.socket", socket.to_str().unwrap()]);
    wait_for(|| ninth.process.has_exited());
    assert!(
        ninth.read("notes").contains("too many trace already"),
        "{}",
        ninth.read("notes")
    );
    assert!(!ninth.process.stop().unwrap().success());
    drop(traces);
    wait_for(|| clients(&vigie) == 0.0);
    assert_eq!(Trace::of(&vigie, &["--handler", "/nobody"]).end().summary(), (0, 0));
}

/// A reader that has seen enough ends it quietly.
#[test]
fn a_broken_pipe_is_quiet() {
    let address = server(answer_all);
    let vigie = vigie(&[]);
    let directory = TempDir::new().unwrap();
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "\"$0\" trace --rate 0 --handler /pipe --trace.socket \"$1\" 2>notes | head -n 1 >lines; echo ended >ended",
        ])
        .arg(binary())
        .arg(vigie.trace_socket())
        .current_dir(directory.path());
    let process = Server::start(command, directory, 0).unwrap();
    let read = |name: &str| std::fs::read_to_string(process.dir().path().join(name)).unwrap_or_default();
    wait_for(|| clients(&vigie) == 1.0);
    send(address, "GET", &["/pipe"]);
    wait_for(|| read("lines").contains("/pipe"));
    wait_for(|| {
        send(address, "GET", &["/pipe"]);
        read("ended") == "ended\n"
    });
    assert_eq!((read("notes").as_str(), read("lines").lines().count()), ("", 1));
}

/// A terminal of its own, which ends with the test.
struct Terminal {
    socket: std::path::PathBuf,
}

impl Terminal {
    fn tmux(&self, arguments: &[&str]) -> std::process::Output {
        let mut tmux = Command::new("tmux");
        tmux.arg("-u")
            .arg("-S")
            .arg(&self.socket)
            .args(arguments)
            .output()
            .unwrap()
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = self.tmux(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

/// In a real terminal: columns, colours, the summary, and Ctrl-C.
#[test]
fn in_a_terminal() {
    let address = server(answer_all);
    let vigie = vigie(&[]);
    let directory = TempDir::new().unwrap();
    let socket = directory.path().join("tmux");
    let terminal = Terminal { socket };
    let tmux = |arguments: &[&str]| terminal.run(arguments);
    let command = format!(
        "env -u NO_COLOR {} trace --rate 0 --handler /first/{{id}} --handler /second/{{id}} --handler /third --trace.socket {}; sleep 100",
        binary().display(),
        vigie.trace_socket().display()
    );
    tmux(&[
        "-f",
        "/dev/null",
        "new-session",
        "-d",
        "-x",
        "120",
        "-y",
        "30",
        &command,
    ]);
    wait_for(|| clients(&vigie) == 1.0);
    send(address, "GET", &["/first/1", "/second/2"]);
    send(address, "DELETE", &["/third"]);
    wait_for(|| tmux(&["capture-pane", "-p"]).contains("/third"));
    tmux(&["send-keys", "C-c"]);
    wait_for(|| tmux(&["capture-pane", "-p"]).contains("3 shown, 0 not shown"));
    let screen = tmux(&["capture-pane", "-p"]);
    let coloured = tmux(&["capture-pane", "-p", "-e"]);
    println!("{screen}");
    let lines: Vec<&str> = screen.lines().filter(|line| line.contains(" 200 ")).collect();
    // In characters: a µ is two bytes.
    let place = |line: &str, text: &str| line.find(text).map(|at| line[..at].chars().count());
    let places = |text: &str| lines.iter().map(|line| place(line, text)).collect::<Vec<_>>();
    assert_eq!(lines.len(), 3);
    // One below the other.
    for list in [places(" 200 "), places("  /")] {
        assert!(
            list[0].is_some() && list.iter().all(|place| *place == list[0]),
            "{screen}"
        );
    }
    assert!(lines[0].contains("GET") && lines[2].contains("DELETE"));
    assert!(coloured.contains("\x1b[32m200"), "{coloured:?}");
    wait_for(|| clients(&vigie) == 0.0);
}
