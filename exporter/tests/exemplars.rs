//! Exemplars lead from a bucket to the trace of a request in it, whatever way its head came, and in a real Prometheus.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that panics has failed, as it should"
)]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use common::{prometheus_servers, settled_scrape, until, vigie};
use testkit::{Prometheus, Request, Server, TempDir, http::Client, nginx, prometheus::escape};

const SPAN: &str = "00f067aa0ba902b7";
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
    span: String,
    value: f64,
    time: f64,
}

fn id(number: usize) -> String {
    format!("4bf92f3577b34da6a3ce929d0e0e{number:04x}")
}

fn slow_requests() -> Vec<Slow> {
    let start = "GET /file.txt HTTP/1.1\r\nHost: a\r\n".to_owned();
    let end = "\r\n".to_owned();
    let value = |number: usize, flags| format!("00-{}-{SPAN}-{flags}\r\n", id(number));
    let parent = |number, flags| format!("traceparent: {}", value(number, flags));
    let split = parent(3, "01");
    let (half, rest) = split.split_at(30);
    let cookie = format!("Cookie: {}\r\n", "x".repeat(3000));
    let slow = |pause, bound, first: String, second: String, is_shown| Slow {
        pause,
        bound,
        pieces: [first, second],
        is_shown,
    };
    vec![
        // The field in the second piece, and in the first.
        slow(0.055, 0.1, start.clone(), parent(0, "01") + &end, true),
        slow(0.11, 0.25, start.clone() + &parent(1, "01"), end.clone(), true),
        // A trace that is not recorded leads nowhere.
        slow(0.26, 0.5, start.clone() + &parent(2, "00"), end.clone(), false),
        // A field in two pieces is not put together.
        slow(0.51, 1.0, start.clone() + half, rest.to_owned() + &end, false),
        // Far behind in the head, in upper case, and with no space.
        slow(1.02, 2.0, start + &cookie + "TRACEPARENT:" + &value(4, "01"), end, true),
    ]
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// The exemplars of a server's durations, by the ids of their traces.
fn exemplars(text: &str, port: u16) -> BTreeMap<String, Shown> {
    let port = format!("port=\"{port}\"");
    let lines = text.lines().filter(|line| line.contains(&port));
    let with = lines.filter_map(|line| line.split_once(" # {"));
    with.map(|(sample, exemplar)| {
        assert!(sample.starts_with("http_request_duration_seconds_bucket{"), "{sample}");
        let bound = sample.split_once("le=\"").unwrap().1.split('"').next().unwrap();
        let (labels, numbers) = exemplar.split_once("} ").unwrap();
        let values: Vec<&str> = labels.split('"').skip(1).step_by(2).collect();
        assert_eq!(labels, format!("trace_id=\"{}\",span_id=\"{}\"", values[0], values[1]));
        let numbers: Vec<f64> = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
        let shown = Shown {
            bound: bound.parse().unwrap_or(f64::INFINITY),
            span: values[1].to_owned(),
            value: numbers[0],
            time: numbers[1],
        };
        (values[0].to_owned(), shown)
    })
    .collect()
}

/// Sends the requests, and says how long each took the client and when it ended. `None`: the machine had a pause, and one took
/// longer than its bucket reaches.
fn send(server: &Server, requests: &[Slow]) -> Option<Vec<(f64, f64)>> {
    let mut client = Client::connect(server.address()).unwrap();
    let mut times = Vec::new();
    for Slow {
        pause, bound, pieces, ..
    } in requests
    {
        let start = std::time::Instant::now();
        client.send_raw(pieces[0].as_bytes()).unwrap();
        thread::sleep(Duration::from_secs_f64(*pause));
        client.send_raw(pieces[1].as_bytes()).unwrap();
        let response = client.read_response("GET").unwrap();
        assert_eq!(response.status, 200);
        let took = start.elapsed().as_secs_f64();
        if took > *bound {
            return None;
        }
        times.push((took, now()));
    }
    Some(times)
}

#[test]
fn exemplars_lead_to_traces() {
    for _ in 0..5 {
        let server = nginx(&[("file.txt", b"hello\n")], "", 1).unwrap();
        let watch = vigie(&[]);
        let port = server.port();
        // User space counts the first request of a series, and keeps no exemplar.
        server.connect().unwrap().send(&Request::get("/file.txt")).unwrap();
        settled_scrape(&watch, |scrape| {
            scrape.sum("http_requests_total", &[("port", &port.to_string())]) == 1.0
        });
        let requests = slow_requests();
        let Some(times) = send(&server, &requests) else {
            continue;
        };
        let all = (requests.len() + 1) as f64;
        settled_scrape(&watch, |scrape| {
            scrape.sum("http_requests_total", &[("port", &port.to_string())]) == all
        });
        let scrape = |accept| {
            let mut client = Client::connect(watch.server.address()).unwrap();
            client
                .send(&Request::get("/metrics").header("accept", accept))
                .unwrap()
                .text()
        };
        assert!(!scrape("text/plain").contains(" # {"));
        let shown = exemplars(&scrape(OPEN_METRICS), port);
        let expected: BTreeSet<String> = (0..)
            .zip(&requests)
            .filter(|(_, request)| request.is_shown)
            .map(|(i, _)| id(i))
            .collect();
        assert_eq!(shown.keys().cloned().collect::<BTreeSet<_>>(), expected);
        for (i, (request, (took, end))) in requests.iter().zip(times).enumerate() {
            let Some(Shown {
                bound,
                span,
                value,
                time,
            }) = shown.get(&id(i))
            else {
                continue;
            };
            assert_eq!((*bound, span.as_str()), (request.bound, SPAN));
            assert!(
                *value >= request.pause && *value <= took,
                "{value} s, and {took} s for the client"
            );
            // The clock of the day may be set meanwhile, by a little.
            assert!((time - end).abs() < 0.2, "{time} instead of {end}");
        }
        prometheus_has_them(&watch, port, &expected);
        return;
    }
    panic!("the machine had a pause in each of five runs");
}

fn prometheus_has_them(watch: &testkit::Vigie, port: u16, expected: &BTreeSet<String>) {
    let config = common::prometheus_config(watch.server.address());
    for program in prometheus_servers() {
        for features in ["exemplar-storage", "exemplar-storage,native-histograms"] {
            let flag = format!("--enable-feature={features}");
            let prometheus = Prometheus::start(&program, TempDir::new().unwrap(), &config, &[&flag]).unwrap();
            let query = format!("{{__name__=~\"http_request_duration_seconds.*\",port=\"{port}\"}}");
            let (from, to) = (now() - 600.0, now() + 600.0);
            let target = format!("/api/v1/query_exemplars?query={}&start={from}&end={to}", escape(&query));
            let found = until(|| {
                let data = prometheus.api(&target).unwrap();
                let series = data.as_array().unwrap().iter();
                let all = series.flat_map(|series| series["exemplars"].as_array().unwrap());
                let ids: BTreeSet<String> = all
                    .map(|exemplar| exemplar["labels"]["trace_id"].as_str().unwrap().to_owned())
                    .collect();
                (!ids.is_empty()).then_some(ids)
            });
            // Such an old one takes the first exemplar of a native histogram only.
            let version = prometheus.api("/api/v1/status/buildinfo").unwrap();
            let is_old = version["version"].as_str().unwrap().starts_with("2.4") && features.contains("native");
            let expected = expected.iter().take(if is_old { 1 } else { usize::MAX }).cloned();
            assert_eq!(found, expected.collect(), "{} {features}", program.display());
        }
    }
}
