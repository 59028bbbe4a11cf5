//! The label of the service under another name: in each format and profile, and for whoever reads Vigie's own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that panics has failed, as it should"
)]

mod common;

use std::{net::SocketAddr, process::Command};

use common::{Watch, binary, prometheus_config, prometheus_servers, until, vigie};
use testkit::{Client, Prometheus, Request, Scrape, Server, TempDir, nginx};

const REQUESTS: usize = 50;

/// A server that is the service `shop`, watched by a Vigie that calls that label `app`.
fn shop(flags: &[&str]) -> (Server, Watch, TempDir) {
    let server = nginx(&[], "location = /a { return 200 \"ok\\n\"; }", 1).unwrap();
    let directory = TempDir::new().unwrap();
    let config = format!(
        "service_label: app\nservices: [{{name: shop, port: {}}}]\n",
        server.port()
    );
    let file = directory.write("vigie.yml", config.as_bytes()).unwrap();
    let vigie = vigie(&[&["--config.file", file.to_str().unwrap()], flags].concat());
    (server, vigie, directory)
}

fn send(server: &Server) {
    let mut client = server.connect().unwrap();
    for _ in 0..REQUESTS {
        assert_eq!(client.send(&Request::get("/a")).unwrap().status, 200);
    }
}

fn get(address: SocketAddr, target: &str, accept: &str) -> (u16, String) {
    let request = Request::get(target).header("accept", accept);
    let response = Client::connect(address).unwrap().send(&request).unwrap();
    (response.status, String::from_utf8(response.body).unwrap())
}

/// How many samples have a label of this name.
fn having(text: &str, label: &str) -> usize {
    let begins = [format!("{{{label}=\""), format!(",{label}=\"")];
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .filter(|line| begins.iter().any(|begin| line.contains(begin)))
        .count()
}

#[test]
fn each_format_and_profile_has_it() {
    for profile in ["vigie", "fastapi", "express", "otel"] {
        let (server, vigie, _directory) = shop(&["--metrics.profile", profile]);
        send(&server);
        let address = vigie.server.address();
        let sum = |target: &str, label: &str| {
            let scrape = Scrape::parse(&get(address, target, "text/plain").1).unwrap();
            scrape.sum("service_http_requests_total", &[(label, "shop")])
        };
        until(|| (sum("/metrics", "app") == REQUESTS as f64).then_some(()));
        for accept in ["text/plain", "application/openmetrics-text;version=1.0.0"] {
            let (_, text) = get(address, "/metrics", accept);
            assert_eq!(having(&text, "service"), 0, "{profile} {accept}");
            // Whoever asks for the usual name has it, and nothing else is different.
            let (_, usual) = get(address, "/metrics?service_label=service", accept);
            assert_eq!(having(&usual, "app"), 0, "{profile} {accept}");
            let (app, service) = (having(&text, "app"), having(&usual, "service"));
            assert!(app > 20 && app == service, "{profile} {accept}: {app} {service}");
        }
        assert_eq!(sum("/metrics?service_label=service", "service"), REQUESTS as f64);
        let (status, problem) = get(address, "/metrics?service_label=other", "text/plain");
        assert_eq!((status, problem.contains("service or app")), (400, true), "{problem}");
    }
}

/// Text and protobuf, as Prometheus reads them.
#[test]
fn prometheus_has_it() {
    let (server, vigie, _directory) = shop(&[]);
    send(&server);
    for program in prometheus_servers() {
        for flags in [&[][..], &["--enable-feature=native-histograms"]] {
            let directory = TempDir::new().unwrap();
            let config = prometheus_config(vigie.server.address());
            let prometheus = Prometheus::start(&program, directory, &config, flags).unwrap();
            let query = "sum by (app) (http_requests_total{app=\"shop\"})";
            let total = until(|| prometheus.query(query).unwrap().first().map(|sample| sample.value));
            assert_eq!(total, REQUESTS as f64, "{} {flags:?}", program.display());
            let others = prometheus.query("{service=~\".+\"}").unwrap();
            assert!(others.is_empty(), "{others:?}");
        }
    }
}

/// `vigie top`, `vigie report` and the page ask for the usual name.
#[test]
fn those_who_read_it_know_the_service() {
    let (server, vigie, directory) = shop(&[]);
    send(&server);
    let address = vigie.server.address();
    let url = format!("http://{address}");
    let report = directory.path().join("report.html");
    let report = report.to_str().unwrap();
    let run = |arguments: &[&str]| {
        let command = Command::new(binary()).args(arguments).output().unwrap();
        assert!(command.status.success(), "{}", String::from_utf8_lossy(&command.stderr));
        String::from_utf8(command.stdout).unwrap()
    };
    let table = run(&["top", "--url", &url, "--interval", "1s"]);
    assert!(table.contains("shop"), "{table}");
    run(&["report", "--url", &url, "--duration", "1s", "-o", report]);
    assert!(std::fs::read_to_string(report).unwrap().contains("shop"));
    let (_, page) = get(address, "/", "text/html");
    assert!(page.contains("/metrics?profile=vigie&amp;service_label=service"));
}
