//! The formats of a scrape, as a real Prometheus reads them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that panics has failed, as it should"
)]

mod common;

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use common::{binary, prometheus_config, prometheus_servers, settled_scrape, until, vigie};
use serde_json::Value;
use testkit::{Prometheus, Request, TempDir, nginx, prometheus::escape};

const REQUESTS: usize = 300;
const SERIES: &str = "handler=\"/file.txt\",status=\"200\"";

/// Text, OpenMetrics and protobuf say the same, in what Prometheus makes of them: it asks for OpenMetrics unless it is
/// told to take native histograms.
#[test]
fn prometheus_reads_all_formats() {
    let server = nginx(&[("file.txt", b"hello\n")], "", 1).unwrap();
    let watch = vigie(&[]);
    let mut client = server.connect().unwrap();
    for _ in 0..REQUESTS {
        client.send(&Request::get("/file.txt")).unwrap();
    }
    let port = server.port();
    let port_label = port.to_string();
    let labels = [("port", port_label.as_str())];
    let scrape = settled_scrape(&watch, |scrape| {
        scrape.sum("http_requests_total", &labels) == REQUESTS as f64
    });
    let sum = scrape.sum("http_request_duration_seconds_sum", &labels);
    let below = |bound| scrape.sum("http_request_duration_seconds_bucket", &[labels[0], ("le", bound)]);
    for program in prometheus_servers() {
        for flags in [&[][..], &["--enable-feature=native-histograms"]] {
            let directory = TempDir::new().unwrap();
            let prometheus =
                Prometheus::start(&program, directory, &prometheus_config(watch.server.address()), flags).unwrap();
            let name = format!("{} {flags:?}", program.display());
            let series = format!("{{port=\"{port}\",{SERIES}}}");
            let total = until(|| {
                let samples = prometheus.query(&format!("http_requests_total{series}")).unwrap();
                samples.first().map(|sample| sample.value)
            });
            assert_eq!(total, REQUESTS as f64, "{name}");
            assert_eq!(prometheus.value("up").unwrap(), 1.0, "{name}");
            let value = |query: &str| prometheus.value(query).unwrap();
            if flags.is_empty() {
                assert_eq!(
                    value(&format!("http_request_duration_seconds_count{series}")),
                    REQUESTS as f64,
                    "{name}"
                );
                assert_eq!(
                    value(&format!("http_request_duration_seconds_sum{series}")),
                    sum,
                    "{name}"
                );
                for bound in ["0.0005", "0.001", "1.0", "+Inf"] {
                    let query =
                        format!("http_request_duration_seconds_bucket{{port=\"{port}\",{SERIES},le=\"{bound}\"}}");
                    assert_eq!(value(&query), below(bound), "{name} {bound}");
                }
            } else {
                let of = |function: &str| value(&format!("{function}(http_request_duration_seconds{series})"));
                assert_eq!(of("histogram_count"), REQUESTS as f64, "{name}");
                assert_eq!(of("histogram_sum"), sum, "{name}");
            }
            // What it refuses of a scrape, it says here.
            let targets = prometheus.api("/api/v1/targets").unwrap();
            assert_eq!(targets["activeTargets"][0]["lastError"], "", "{name}");
        }
    }
}

/// The durations of single requests, as a trace shows them, lie in the buckets that Prometheus has of them.
#[test]
fn native_buckets_are_exact() {
    let server = nginx(&[("file.txt", b"hello\n")], "", 1).unwrap();
    let watch = vigie(&[]);
    let port = server.port();
    // The route is known, and then traced.
    server.connect().unwrap().send(&Request::get("/file.txt")).unwrap();
    settled_scrape(&watch, |scrape| {
        scrape.sum("http_requests_total", &[("port", &port.to_string())]) == 1.0
    });
    let mut trace = Command::new(binary())
        .args(["trace", "--json", "--rate", "0", "--handler", "/file.txt"])
        .arg("--trace.socket")
        .arg(watch.trace_socket())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    settled_scrape(&watch, |scrape| scrape.sum("vigie_trace_clients", &[]) == 1.0);
    let mut client = server.connect().unwrap();
    for number in 0..REQUESTS {
        client.send(&Request::get("/file.txt")).unwrap();
        // A new connection takes longer.
        if number % 3 == 0 {
            client = server.connect().unwrap();
        }
    }
    // Other servers of this host can have such a path, too.
    let lines = BufReader::new(trace.stdout.take().unwrap()).lines();
    let durations: Vec<f64> = lines
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap())
        .filter(|line| line["port"] == port)
        .map(|line| line["duration"].as_f64().unwrap())
        .take(REQUESTS)
        .collect();
    trace.kill().unwrap();
    trace.wait().unwrap();
    assert_eq!(durations.len(), REQUESTS);
    for program in prometheus_servers() {
        let directory = TempDir::new().unwrap();
        let flags = ["--enable-feature=native-histograms"];
        let prometheus =
            Prometheus::start(&program, directory, &prometheus_config(watch.server.address()), &flags).unwrap();
        let query = format!("http_request_duration_seconds{{port=\"{port}\",{SERIES}}}");
        let histogram: Value = until(|| {
            let data = prometheus
                .api(&format!("/api/v1/query?query={}", escape(&query)))
                .unwrap();
            data["result"][0].get("histogram").cloned()
        });
        let histogram = &histogram[1];
        // The first request was not traced.
        assert_eq!(histogram["count"], (REQUESTS + 1).to_string());
        let number = |value: &Value| value.as_str().unwrap().parse::<f64>().unwrap();
        let mut untraced = 0.0;
        for bucket in histogram["buckets"].as_array().unwrap() {
            let (above, upto, count) = (number(&bucket[1]), number(&bucket[2]), number(&bucket[3]));
            let here = durations.iter().filter(|time| **time > above && **time <= upto).count() as f64;
            assert!(
                count == here || count == here + 1.0,
                "{count} instead of {here} in {bucket}"
            );
            untraced += count - here;
        }
        assert_eq!(untraced, 1.0);
    }
}
