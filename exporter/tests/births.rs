//! What is new between two scrapes is an increase to a real Prometheus: a route, a status, a method, a service.
//!
//! Prometheus computes `increase()` from samples. A counter that appears with the value N has not increased: 300 errors on a route
//! that never failed raised no alert.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that panics has failed, as it should"
)]

mod common;

use std::{
    io::Write as _,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    thread,
    time::Duration,
};

use common::{connect, prometheus_servers, read_request, server, settled_scrape, slow_to_read, until, vigie};
use testkit::{
    Prometheus, Request, Scrape, Server, TempDir, Vigie, http::Client, nginx_with, process::free_port,
    prometheus::escape,
};

const REQUESTS: usize = 300;

/// A Prometheus that scrapes Vigie every second, with these parameters in its query.
fn prometheus(program: &Path, watch: &Vigie, parameters: &str, flags: &[&str]) -> Prometheus {
    let config = format!(
        "global: {{scrape_interval: 1s}}\n\
         scrape_configs: [{{job_name: vigie, params: {parameters}, static_configs: [{{targets: [\"{}\"]}}]}}]\n",
        watch.server.address()
    );
    let prometheus = Prometheus::start(program, TempDir::new().unwrap(), &config, flags).unwrap();
    until(|| (!samples(&prometheus, "vigie_build_info").is_empty()).then_some(()));
    prometheus
}

/// All samples of a series, the oldest first; none if there is no such series.
fn samples(prometheus: &Prometheus, series: &str) -> Vec<f64> {
    let query = escape(&format!("{series}[10m]"));
    let data = prometheus.api(&format!("/api/v1/query?query={query}")).unwrap();
    let result = data["result"].as_array().unwrap();
    assert!(result.len() < 2, "several series for {series}: {data}");
    let values = result.iter().flat_map(|series| series["values"].as_array().unwrap());
    values
        .map(|value| value[1].as_str().unwrap().parse().unwrap())
        .collect()
}

/// Waits until a counter has grown by so much in Prometheus, and says that it did so from 0 on, never down, and to `increase()` as well.
fn grows_from_0(prometheus: &Prometheus, series: &str, expected: usize) {
    let version = prometheus.api("/api/v1/status/buildinfo").unwrap()["version"].to_string();
    let expected = expected as f64;
    let values = until(|| {
        let values = samples(prometheus, series);
        (values.last() == Some(&expected)).then_some(values)
    });
    let up = samples(prometheus, "up");
    assert_eq!(values[0], 0.0, "{version}: {series} begins at {values:?}, up {up:?}");
    assert!(values.is_sorted(), "{version}: {series} goes down: {values:?}");
    let change = format!("sum(max_over_time({series}[10m]) - min_over_time({series}[10m]))");
    assert_eq!(prometheus.value(&change).unwrap(), expected, "{version}: {series}");
    // At each edge it adds what would have come within up to 1.1 of the samples' mean distance; there are two samples at least.
    // Source: `extrapolatedRate` in `promql/functions.go` of prometheus/prometheus.
    let increase = prometheus.value(&format!("sum(increase({series}[10m]))")).unwrap();
    assert!(
        (expected..=expected * 3.2).contains(&increase),
        "{version}: {series} has increased by {increase}"
    );
}

/// A server in this process whose answers all have the status that was last set; 0: it closes the connection instead.
fn answers(status: &Arc<AtomicU16>) -> SocketAddr {
    let status = Arc::clone(status);
    server(move |mut stream| {
        while read_request(&mut stream).is_some() {
            let status = status.load(Ordering::Relaxed);
            let answer = format!("HTTP/1.1 {status} A\r\nContent-Length: 2\r\n\r\nok");
            if status == 0 || stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    })
}

fn send(address: SocketAddr, method: &str, path: &str, count: usize) {
    let mut client = Client::connect(address).unwrap();
    for _ in 0..count {
        client.send(&Request::new(method, path)).unwrap();
    }
}

/// nginx on this port.
fn new_service(port: u16) -> Server {
    let site = format!("server {{ listen 127.0.0.1:{port}; location / {{ return 500 no; }} }}");
    nginx_with(TempDir::new().unwrap(), port, &site, 1).unwrap()
}

/// The service that has answered on a port.
fn service(scrape: &Scrape, port: u16) -> String {
    let port = port.to_string();
    let mut samples = scrape.samples("http_requests_total");
    let sample = samples.find(|sample| sample.labels["port"] == port).unwrap();
    sample.labels["service"].clone()
}

#[test]
fn what_is_new_is_an_increase() {
    let status = Arc::new(AtomicU16::new(200));
    let address = answers(&status);
    let port = address.port();
    let (new_port, directory) = (free_port().unwrap(), TempDir::new().unwrap());
    let rules = format!("services: [{{name: new-{new_port}, port: {new_port}}}]\n");
    let config = directory.write("vigie.yml", rules.as_bytes()).unwrap();
    let watch = vigie(&["--config.file", config.to_str().unwrap()]);
    send(address, "GET", "/old", 10);
    let total = |scrape: &Scrape| scrape.sum("http_requests_total", &[("port", &port.to_string())]);
    let scrape = settled_scrape(&watch, |scrape| total(scrape) == 10.0);
    let name = service(&scrape, port);
    let programs = prometheus_servers();
    let all: Vec<Prometheus> = programs
        .iter()
        .map(|program| prometheus(program, &watch, "{}", &[]))
        .collect();
    let series = |metric: &str, labels: &str| format!("{metric}{{port=\"{port}\",{labels}}}");
    let each = |metric: &str, labels: &str, expected: usize| {
        for prometheus in &all {
            grows_from_0(prometheus, &series(metric, labels), expected);
        }
    };
    // Its first scrape has shown each of them what there was.
    for prometheus in &all {
        let values = samples(prometheus, &series("http_requests_total", "handler=\"/old\""));
        assert!(
            !values.is_empty() && values.iter().all(|value| *value == 10.0),
            "{values:?}"
        );
    }

    // A new route, and all of its families.
    send(address, "GET", "/new", REQUESTS);
    let labels = "handler=\"/new\",method=\"GET\",status=\"200\"";
    each("http_requests_total", labels, REQUESTS);
    for metric in [
        "http_request_duration_seconds_count",
        "http_request_size_bytes_count",
        "http_response_size_bytes_count",
    ] {
        each(metric, labels, REQUESTS);
    }
    each(
        "http_request_duration_seconds_bucket",
        &format!("{labels},le=\"+Inf\""),
        REQUESTS,
    );
    each("http_request_queue_seconds_count", "handler=\"/new\"", REQUESTS);

    // A new status, and the class of an old service.
    status.store(500, Ordering::Relaxed);
    send(address, "GET", "/new", REQUESTS);
    each("http_requests_total", "handler=\"/new\",status=\"500\"", REQUESTS);
    for prometheus in &all {
        let errors = format!("service_http_requests_total{{service=\"{name}\",class=\"5xx\"}}");
        grows_from_0(prometheus, &errors, REQUESTS);
    }

    // A new method.
    status.store(200, Ordering::Relaxed);
    send(address, "DELETE", "/new", REQUESTS);
    each("http_requests_total", "method=\"DELETE\"", REQUESTS);

    // Requests that are never answered.
    status.store(0, Ordering::Relaxed);
    for _ in 0..REQUESTS {
        let mut stream = connect(address);
        stream.write_all(b"GET /new HTTP/1.1\r\n\r\n").unwrap();
        assert!(read_request(&mut stream).is_none());
    }
    each("http_requests_aborted_total", "handler=\"/new\"", REQUESTS);

    // A path that was not found for so long, and is there now: what was shown as none stays there.
    status.store(404, Ordering::Relaxed);
    send(address, "GET", "/late", REQUESTS);
    each("http_requests_total", "handler=\"none\",status=\"404\"", REQUESTS);
    status.store(200, Ordering::Relaxed);
    send(address, "GET", "/late", REQUESTS);
    each("http_requests_total", "handler=\"/late\",status=\"200\"", REQUESTS);
    thread::sleep(Duration::from_secs(3));
    status.store(404, Ordering::Relaxed);
    send(address, "GET", "/late", REQUESTS);
    each("http_requests_total", "handler=\"/late\",status=\"404\"", REQUESTS);
    each("http_requests_total", "handler=\"none\",status=\"404\"", REQUESTS);

    // A service whose very first requests fail.
    let _new = new_service(new_port);
    send(([127, 0, 0, 1], new_port).into(), "GET", "/", REQUESTS);
    for prometheus in &all {
        let labels = format!("{{service=\"new-{new_port}\"");
        grows_from_0(
            prometheus,
            &format!("http_requests_total{labels},status=\"500\"}}"),
            REQUESTS,
        );
        grows_from_0(
            prometheus,
            &format!("service_http_requests_total{labels},class=\"5xx\"}}"),
            REQUESTS,
        );
        grows_from_0(
            prometheus,
            &format!("service_http_request_duration_seconds_count{labels}}}"),
            REQUESTS,
        );
        for class in ["1xx", "2xx", "3xx", "4xx", "aborted"] {
            let values = samples(
                prometheus,
                &format!("service_http_requests_total{labels},class=\"{class}\"}}"),
            );
            assert!(
                !values.is_empty() && values.iter().all(|value| *value == 0.0),
                "{class}: {values:?}"
            );
        }
    }
    for prometheus in &all {
        // Lines that Prometheus would take for series are not there if nobody asks for them.
        assert_eq!(prometheus.query("{__name__=~\".+_created\"}").unwrap(), []);
    }
    // Whoever is no scraper sees the truth, the families by service are those of the routes added up.
    let scrape = settled_scrape(&watch, |_| true);
    let of = |metric: &str, class: &str| scrape.sum(metric, &[("service", &name), ("class", class)]);
    let classes = [
        ("2xx", 10 + 3 * REQUESTS),
        ("4xx", 2 * REQUESTS),
        ("5xx", REQUESTS),
        ("aborted", REQUESTS),
    ];
    for (class, expected) in classes {
        assert_eq!(of("service_http_requests_total", class), expected as f64, "{class}");
    }
    let answered = (10 + 6 * REQUESTS) as f64;
    assert_eq!(total(&scrape), answered);
    assert_eq!(of("service_http_request_duration_seconds_count", ""), answered);
    let sum = |metric: &str| scrape.sum(metric, &[("service", &name)]);
    let (sum, of_routes) = (
        sum("service_http_request_duration_seconds_sum"),
        sum("http_request_duration_seconds_sum"),
    );
    assert!((sum - of_routes).abs() < 1e-6, "{sum} {of_routes}");
    assert_eq!(scrape.sum("vigie_scrapers", &[]), programs.len() as f64);
}

/// A scrape that Prometheus has given up has shown it nothing: what was new then is new the next time.
#[test]
fn a_scrape_that_was_given_up_does_not_count() {
    let port = free_port().unwrap();
    let site = format!("server {{ listen 127.0.0.1:{port}; location / {{ return 200 ok; }} }}");
    let server = nginx_with(TempDir::new().unwrap(), port, &site, 1).unwrap();
    let watch = vigie(&[]);
    let shown = |client: &mut Client, path: &str| {
        let request = Request::get("/metrics").header("x-prometheus-scrape-timeout-seconds", "10");
        let scrape = Scrape::parse(&client.send(&request).unwrap().text()).unwrap();
        let labels = [("port", &*port.to_string()), ("handler", path)];
        scrape.value("http_requests_total", &labels).unwrap()
    };
    let connect = || Client::connect(watch.server.address()).unwrap();
    let sent = |path: &str| {
        send(server.address(), "GET", path, REQUESTS);
        let labels = [("port", &*port.to_string()), ("handler", path)];
        settled_scrape(&watch, |scrape| {
            scrape.sum("http_requests_total", &labels) == REQUESTS as f64
        });
    };
    let all = Some(REQUESTS as f64);
    let mut client = connect();
    assert_eq!(shown(&mut client, "/a"), None);
    sent("/a");
    assert_eq!(shown(&mut client, "/a"), Some(0.0));
    assert_eq!(shown(&mut client, "/a"), all);
    sent("/b");
    // Another connection of the same scraper, which ends at once.
    for _ in 0..3 {
        assert_eq!(shown(&mut connect(), "/b"), Some(0.0));
        thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(shown(&mut client, "/b"), Some(0.0));
    assert_eq!(shown(&mut client, "/b"), all);
    // It was not new to one that had seen it before.
    assert_eq!(shown(&mut connect(), "/a"), all);
    // It waits for longer than it said, and has not taken the answer.
    sent("/c");
    for _ in 0..3 {
        let mut slow = slow_to_read(watch.server.address());
        let scrape = b"GET /metrics HTTP/1.1\r\nHost: a\r\nX-Prometheus-Scrape-Timeout-Seconds: 0.1\r\n\r\n";
        slow.write_all(scrape).unwrap();
        thread::sleep(Duration::from_millis(300));
        drop(slow);
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(shown(&mut client, "/c"), Some(0.0));
    assert_eq!(shown(&mut client, "/c"), all);
}

/// Native histograms come in protobuf, and the time of birth with them; OpenMetrics has it where it is asked for.
#[test]
fn times_of_birth_are_read() {
    let port = free_port().unwrap();
    let site = format!("server {{ listen 127.0.0.1:{port}; location / {{ return 200 ok; }} }}");
    let server = nginx_with(TempDir::new().unwrap(), port, &site, 1).unwrap();
    let watch = vigie(&[]);
    let features = "--enable-feature=native-histograms,created-timestamp-zero-ingestion";
    for (program, path) in prometheus_servers().iter().zip(["/a", "/b"]) {
        let native = prometheus(program, &watch, "{a: [native]}", &[features]);
        let lines = prometheus(program, &watch, "{created: [\"true\"]}", &[]);
        send(server.address(), "GET", path, REQUESTS);
        let series = |metric: &str| format!("{metric}{{port=\"{port}\",handler=\"{path}\",status=\"200\"}}");
        for prometheus in [&native, &lines] {
            grows_from_0(prometheus, &series("http_requests_total"), REQUESTS);
        }
        let histogram = series("http_request_duration_seconds");
        let query = escape(&format!("{histogram}[10m]"));
        let data = native.api(&format!("/api/v1/query?query={query}")).unwrap();
        let histograms = data["result"][0]["histograms"].as_array().unwrap();
        let counts: Vec<&str> = histograms
            .iter()
            .map(|histogram| histogram[1]["count"].as_str().unwrap())
            .collect();
        assert_eq!(counts[0], "0", "{counts:?}");
        assert_eq!(*counts.last().unwrap(), REQUESTS.to_string(), "{counts:?}");
        // Who asks for the lines has them as series, unless it is told otherwise.
        let created = samples(&lines, &series("http_requests_created"));
        assert!(
            !created.is_empty() && created.windows(2).all(|pair| pair[0] == pair[1]),
            "{created:?}"
        );
        let age = lines
            .value(&format!("time() - {}", series("http_requests_created")))
            .unwrap();
        assert!((0.0..60.0).contains(&age), "{age}");
        assert_eq!(native.query("{__name__=~\".+_created\"}").unwrap(), []);
        for prometheus in [&native, &lines] {
            let targets = prometheus.api("/api/v1/targets").unwrap();
            assert_eq!(targets["activeTargets"][0]["lastError"], "", "{}", program.display());
        }
    }
}
