//! The program: its pages, its flags, and what it says when something is wrong.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that panics has failed, as it should"
)]

mod common;

use std::{
    net::TcpListener,
    process::{Command, Output},
    time::{Duration, Instant},
};

use common::{binary, vigie};
use testkit::{Request, Scrape, TempDir};

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
    assert_eq!(client.send(&Request::post("/vigie-metrics", "")).unwrap().status, 405);
    assert_eq!(
        client.send(&Request::new("HEAD", "/vigie-metrics")).unwrap().status,
        200
    );
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
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut vigie = vigie(&[]);
        let start = Instant::now();
        vigie.server.signal(signal).unwrap();
        while !vigie.server.has_exited() {
            assert!(start.elapsed() < Duration::from_secs(1));
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
    let copy = directory.path().join("vigie");
    std::fs::copy(binary(), &copy).unwrap();
    std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
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
