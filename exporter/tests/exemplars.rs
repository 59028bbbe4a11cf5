//! Exemplars lead from a bucket to the trace of a request in it, whatever way its head came, and in a real Prometheus.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that panics has failed, as it should"
)]

mod common;

use std::{
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use common::{prometheus_servers, settled_scrape, until, vigie};
use testkit::{Prometheus, Request, Server, TempDir, http::Client, nginx, prometheus::escape};

const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0";

/// A request that comes in two pieces, the second after a while.
struct Slow {
    /// How long that is, in seconds: a little above a bound, so that a pause of the machine does not reach the next.
    pause: f64,
    /// The next bound.
    bound: f64,
    pieces: [String; 2],
    is_shown: bool,
}

/// An exemplar, as a scrape shows it.
#[derive(Debug)]
struct Shown {
    bound: f64,
    id: String,
    value: f64,
    time: f64,
}

const START: &str = "GET /file.txt HTTP/1.1\r\nHost: a\r\n";
/// The bound that two requests at once stay below.
const FAST: f64 = 0.05;

fn id(number: usize) -> String {
    format!("4bf92f3577b34da6a3ce929d0e0e{number:04x}")
}

fn value(number: usize, flags: &str) -> String {
    format!("00-{}-00f067aa0ba902b7-{flags}\r\n", id(number))
}

fn parent(number: usize, flags: &str) -> String {
    format!("traceparent: {}", value(number, flags))
}

/// One after the other on a connection: what one has must not become the next one's.
fn slow_requests() -> Vec<Slow> {
    let start = || START.to_owned();
    let end = || "\r\n".to_owned();
    let split = parent(1, "01");
    let (half, rest) = split.split_at(30);
    let cookie = format!("Cookie: {}\r\n", "x".repeat(3000));
    let slow = |pause, bound, first: String, second: String, is_shown| Slow {
        pause,
        bound,
        pieces: [first, second],
        is_shown,
    };
    vec![
        slow(0.055, 0.1, start(), parent(0, "01") + &end(), true),
        // A field in two pieces is not put together.
        slow(0.26, 0.5, start() + half, rest.to_owned() + &end(), false),
        slow(0.11, 0.25, start() + &parent(2, "01"), end(), true),
        slow(0.51, 1.0, start(), end(), false),
        // Far behind in the head, in upper case, and with no space.
        slow(
            1.02,
            2.0,
            start() + &cookie + "TRACEPARENT:" + &value(4, "01"),
            end(),
            true,
        ),
        // A trace that is not recorded leads nowhere.
        slow(2.05, 5.0, start() + &parent(5, "00"), end(), false),
    ]
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// The exemplars of a server's durations.
fn exemplars(text: &str, port: u16) -> Vec<Shown> {
    let port = format!("port=\"{port}\"");
    let lines = text.lines().filter(|line| line.contains(&port));
    let with = lines.filter_map(|line| line.split_once(" # "));
    with.map(|(sample, exemplar)| {
        assert!(sample.starts_with("http_request_duration_seconds_bucket{"), "{sample}");
        let bound = sample.split_once("le=\"").unwrap().1.split('"').next().unwrap();
        let (id, numbers) = exemplar.split_once("\"} ").unwrap();
        let numbers: Vec<f64> = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
        Shown {
            bound: bound.parse().unwrap_or(f64::INFINITY),
            id: id.strip_prefix("{trace_id=\"").unwrap().to_owned(),
            value: numbers[0],
            time: numbers[1],
        }
    })
    .collect()
}

/// Sends the requests, and says how long each took the client and when it ended. `None`: the machine had a pause, and one took
/// longer than its bucket reaches.
fn send(server: &Server, requests: &[Slow]) -> Option<Vec<(f64, f64)>> {
    let mut client = Client::connect(server.address()).unwrap();
    let mut times = Vec::new();
    for slow in requests {
        let start = Instant::now();
        client.send_raw(slow.pieces[0].as_bytes()).unwrap();
        thread::sleep(Duration::from_secs_f64(slow.pause));
        client.send_raw(slow.pieces[1].as_bytes()).unwrap();
        assert_eq!(client.read_response("GET").unwrap().status, 200);
        times.push((start.elapsed().as_secs_f64(), now()));
    }
    // Two at once: the second waits for the first to be answered.
    let start = Instant::now();
    let both = [6, 7].map(|number| format!("{START}{}\r\n", parent(number, "01")));
    client.send_raw(both.concat().as_bytes()).unwrap();
    for _ in both {
        assert_eq!(client.read_response("GET").unwrap().status, 200);
    }
    let fast = start.elapsed().as_secs_f64();
    let fits = requests.iter().zip(&times).all(|(slow, (took, _))| *took < slow.bound);
    (fits && fast < FAST).then_some(times)
}

#[test]
fn exemplars_lead_to_traces() {
    for _ in 0..5 {
        let server = nginx(&[("file.txt", b"hello\n")], "", 1).unwrap();
        let watch = vigie(&[]);
        let port = server.port();
        let settled = |count: usize| {
            settled_scrape(&watch, |scrape| {
                scrape.sum("http_requests_total", &[("port", &port.to_string())]) == count as f64
            })
        };
        // User space counts the first request of a series, and keeps no exemplar.
        server.connect().unwrap().send(&Request::get("/file.txt")).unwrap();
        settled(1);
        let requests = slow_requests();
        let Some(times) = send(&server, &requests) else {
            continue;
        };
        settled(requests.len() + 3);
        let scrape = |accept| {
            let mut client = Client::connect(watch.server.address()).unwrap();
            let request = Request::get("/metrics").header("accept", accept);
            client.send(&request).unwrap().text()
        };
        assert!(!scrape("text/plain").contains(" # {"));
        let (fast, shown): (Vec<Shown>, Vec<Shown>) = exemplars(&scrape(OPEN_METRICS), port)
            .into_iter()
            .partition(|shown| shown.bound <= FAST);
        assert_eq!(fast.iter().map(|shown| shown.id.clone()).collect::<Vec<_>>(), [id(6)]);
        let expected = (0..).zip(&requests).filter(|(_, slow)| slow.is_shown);
        let mut expected: Vec<(f64, String)> = expected.map(|(i, slow)| (slow.bound, id(i))).collect();
        expected.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let found: Vec<(f64, String)> = shown.iter().map(|shown| (shown.bound, shown.id.clone())).collect();
        assert_eq!(found, expected);
        // The server may be stopped between its last byte and the clock's reading; the clock of the day may be set by a little.
        let is_right = |Shown { bound, value, time, .. }: &Shown| {
            let mut known = requests.iter().zip(&times);
            known.any(|(slow, (took, end))| {
                slow.bound == *bound && (slow.pause..=*took).contains(value) && (time - end).abs() < 0.2
            })
        };
        if !shown.iter().all(is_right) {
            println!("{shown:#?} do not fit {times:?}");
            continue;
        }
        let ids = shown.iter().chain(&fast).map(|shown| shown.id.clone());
        let mut ids: Vec<String> = ids.collect();
        ids.sort();
        prometheus_has_them(&watch, port, &ids);
        return;
    }
    panic!("in none of five runs all times were right");
}

fn prometheus_has_them(watch: &testkit::Vigie, port: u16, expected: &[String]) {
    let config = common::prometheus_config(watch.server.address());
    for program in prometheus_servers() {
        for features in ["exemplar-storage", "exemplar-storage,native-histograms"] {
            let flag = format!("--enable-feature={features}");
            let prometheus = Prometheus::start(&program, TempDir::new().unwrap(), &config, &[&flag]).unwrap();
            let query = format!("{{__name__=~\"http_request_duration_seconds.*\",port=\"{port}\"}}");
            let (from, to) = (now() - 600.0, now() + 600.0);
            let target = format!("/api/v1/query_exemplars?query={}&start={from}&end={to}", escape(&query));
            // Such an old one takes the first exemplar of a native histogram only: that of the lowest bucket.
            let version = prometheus.api("/api/v1/status/buildinfo").unwrap();
            let is_old = version["version"].as_str().unwrap().starts_with("2.4") && features.contains("native");
            let expected = match is_old {
                true => vec![id(6)],
                false => expected.to_vec(),
            };
            let found = || {
                let data = prometheus.api(&target).unwrap();
                let series = data.as_array().unwrap().iter();
                let all = series.flat_map(|series| series["exemplars"].as_array().unwrap());
                let id = |exemplar: &serde_json::Value| exemplar["labels"]["trace_id"].as_str().unwrap().to_owned();
                let mut ids: Vec<String> = all.map(id).collect();
                ids.sort();
                ids
            };
            until(|| (found() == expected).then_some(()));
            // With each scrape they are the same ones: another time would make another one.
            thread::sleep(Duration::from_secs(2));
            assert_eq!(found(), expected, "{} {features}", program.display());
        }
    }
}
