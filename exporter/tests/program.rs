//! The program: its pages, its flags, and what it says when something is wrong.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that panics has failed, as it should"
)]

mod common;

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    process::{Command, Output},
    time::{Duration, Instant},
};

use common::{binary, program_for_anybody, vigie};
use testkit::{Request, Sched, Scrape, TempDir};

fn run(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).output().unwrap()
}

/// Bad input gets one line, and a non-zero exit.
fn assert_one_line(arguments: &[&str], expected: &str) {
    let output = run(arguments);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{arguments:?}");
    assert_eq!(text.trim_end().lines().count(), 1, "{text}");
    assert!(text.contains(expected), "{text}");
    assert!(output.stdout.is_empty());
}

#[test]
fn the_pages() {
    let vigie = vigie(&["--web.telemetry-path", "/vigie-metrics"]);
    let page = |path: &str| vigie.get(path).unwrap();
    for path in ["/-/healthy", "/-/ready"] {
        assert_eq!(page(path).status, 200);
    }
    let landing = page("/");
    assert!(landing.header("content-type").unwrap().starts_with("text/html"));
    assert!(landing.text().contains("href=\"/vigie-metrics\""));
    assert_eq!(page("/metrics").status, 404);
    let metrics = page("/vigie-metrics");
    assert_eq!(
        metrics.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    Scrape::parse(&metrics.text()).unwrap();

    let mut client = testkit::Client::connect(vigie.server.address()).unwrap();
    let zipped = client
        .send(&Request::get("/vigie-metrics").header("accept-encoding", "gzip"))
        .unwrap();
    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&zipped.body[..]), &mut text).unwrap();
    Scrape::parse(&text).unwrap();
    assert_eq!(zipped.header("vary"), Some("Accept, Accept-Encoding"));
    assert_eq!(landing.header("vary"), Some("Accept-Encoding"));
    assert_eq!(client.send(&Request::post("/vigie-metrics", "")).unwrap().status, 405);
    assert_eq!(
        client.send(&Request::new("HEAD", "/vigie-metrics")).unwrap().status,
        200
    );
}

/// The scripts of other sites get nothing; its own may say where they come from.
#[test]
fn other_sites() {
    let vigie = vigie(&[]);
    let own = format!("http://{}", vigie.server.address());
    let mut client = testkit::Client::connect(vigie.server.address()).unwrap();
    for path in ["/", "/metrics", "/-/healthy"] {
        for (origin, expected) in [(own.as_str(), 200), ("http://evil.example", 403), ("null", 403)] {
            let request = Request::get(path).header("origin", origin);
            assert_eq!(client.send(&request).unwrap().status, expected, "{path} {origin}");
        }
    }
}

/// Between two scrapes a connection stays open; a head has to come within ten seconds.
#[test]
fn idle_connections() {
    let vigie = vigie(&[]);
    let mut silent = std::net::TcpStream::connect(vigie.server.address()).unwrap();
    let mut client = testkit::Client::connect(vigie.server.address()).unwrap();
    assert_eq!(client.send(&Request::get("/metrics")).unwrap().status, 200);
    // It is closed, and nothing was sent.
    silent.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
    std::thread::sleep(Duration::from_secs(2));
    assert!(client.is_open());
    assert_eq!(client.send(&Request::get("/metrics")).unwrap().status, 200);
}

#[test]
fn several_addresses() {
    let vigie = vigie(&["--web.listen-address", "127.0.0.1:0", "--web.listen-address", "[::1]:0"]);
    let lines = vigie
        .log()
        .lines()
        .filter(|line| line.contains("listening on http://"))
        .count();
    assert_eq!(lines, 3);
}

#[test]
fn it_stops_within_a_second() {
    // What it waits for a CPU beside other load is not its own.
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut vigie = vigie(&[]);
        let start = Instant::now();
        let before = Sched::of_process(vigie.server.pid()).unwrap().waited();
        let mut waited = before;
        vigie.server.signal(signal).unwrap();
        while !vigie.server.has_exited() {
            // None once it has ended.
            waited = Sched::of_process(vigie.server.pid()).map_or(waited, |sched| sched.waited().max(waited));
            assert!(start.elapsed().saturating_sub(waited - before) < Duration::from_secs(1));
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(vigie.server.stop().unwrap().success());
    }
}

#[test]
fn bad_configs() {
    let directory = TempDir::new().unwrap();
    for (text, expected) in [
        ("bucket: [1]", "unknown key \"bucket\""),
        ("buckets: [2, 1]", "not above the one before"),
        ("services:\n  - name: a\n    port: 80\n    routes: [a]\n", "'/'"),
    ] {
        let file = directory.write("vigie.yml", text.as_bytes()).unwrap();
        assert_one_line(&["serve", "--config.file", file.to_str().unwrap()], expected);
    }
    assert_one_line(
        &["serve", "--config.file", "/nonexistent/vigie.yml"],
        "/nonexistent/vigie.yml",
    );
}

#[test]
fn bad_addresses() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    assert_one_line(&["serve", "--web.listen-address", &address], "--web.listen-address");
    assert_one_line(&["serve", "--web.listen-address", "nonsense"], "--web.listen-address");
}

/// Without the right to load programs there is one line that says so.
#[test]
fn no_root() {
    // A copy that anybody may run.
    let directory = TempDir::new().unwrap();
    let copy = program_for_anybody(&directory);
    let nobody = 65534;
    for command in ["serve", "doctor"] {
        let mut run = Command::new(&copy);
        std::os::unix::process::CommandExt::gid(std::os::unix::process::CommandExt::uid(&mut run, nobody), nobody);
        run.arg(command);
        if command == "serve" {
            run.args(["--web.listen-address", "127.0.0.1:0"]);
        }
        let output = run.output().unwrap();
        assert!(!output.status.success());
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(text.contains("root"), "{text}");
        if command == "serve" {
            assert_eq!(text.trim_end().lines().count(), 1, "{text}");
        }
    }
}

#[test]
fn the_doctor() {
    let output = run(&["doctor"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    for probe in [
        "ready", "receive", "send", "state", "destroy", "switch", "fork", "exec", "free", "tasks",
    ] {
        assert!(text.contains(&format!("ok    probe {probe}")), "{text}");
    }
    assert!(text.contains("Vigie can see requests on this host."));
}

#[test]
fn the_version() {
    let output = run(&["--version"]);
    assert_eq!(
        String::from_utf8(output.stdout).unwrap().trim(),
        concat!("vigie ", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn the_kernel_side_logs_when_asked() {
    let vigie = vigie(&["--log.kernel-level", "debug", "--log.level", "debug"]);
    let server = common::server(common::answer_all);
    let end = Instant::now() + Duration::from_secs(5);
    while !vigie.log().contains(&format!("listens on port {}", server.port())) {
        assert!(Instant::now() < end, "{}", vigie.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// In a PID namespace of its own it would see others' processes, and count for the wrong ones.
#[test]
fn a_pid_namespace_of_its_own() {
    for command in ["serve", "doctor"] {
        let mut run = Command::new("unshare");
        run.args(["--pid", "--fork", "--mount-proc"]).arg(binary()).arg(command);
        if command == "serve" {
            run.args(["--web.listen-address", "127.0.0.1:0"]);
        }
        let output = run.output().unwrap();
        assert!(!output.status.success());
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(text.contains("hostPID"), "{text}");
    }
}

/// Signals that ask other programs to read or open something again end nothing here, and each leaves a line.
#[test]
fn signals_that_mean_nothing() {
    let vigie = vigie(&[]);
    for (signal, name) in [
        (libc::SIGHUP, "SIGHUP"),
        (libc::SIGUSR1, "SIGUSR1"),
        (libc::SIGUSR2, "SIGUSR2"),
    ] {
        vigie.server.signal(signal).unwrap();
        let end = Instant::now() + Duration::from_secs(5);
        while !vigie.log().contains(&format!("{name} does nothing")) {
            assert!(Instant::now() < end, "{}", vigie.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    assert_eq!(vigie.get("/-/healthy").unwrap().status, 200);
}

/// A scrape that is under way when it ends is finished.
#[test]
fn a_scrape_at_the_end() {
    let mut vigie = vigie(&[]);
    let before = vigie.get("/metrics").unwrap().body.len();
    let mut slow = common::slow_to_read(vigie.server.address());
    slow.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    vigie.server.signal(libc::SIGTERM).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let mut answer = Vec::new();
    slow.read_to_end(&mut answer).unwrap();
    let text = String::from_utf8(answer).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    assert_eq!(length.unwrap().parse::<usize>().unwrap(), body.len());
    assert!(body.len() > before / 2);
    assert!(vigie.server.stop().unwrap().success());
}

/// A configuration may come from a pipe, but not from one that nobody writes to.
#[test]
fn configurations_in_pipes() {
    let directory = TempDir::new().unwrap();
    let fifo = directory.path().join("vigie.yml");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let path = fifo.to_str().unwrap().to_owned();
    assert_one_line(&["serve", "--config.file", &path], "nobody writes to this pipe");
    let writer = std::thread::spawn(move || std::fs::write(fifo, "bucket: [1]\n").unwrap());
    assert_one_line(&["serve", "--config.file", &path], "unknown key \"bucket\"");
    writer.join().unwrap();
}
