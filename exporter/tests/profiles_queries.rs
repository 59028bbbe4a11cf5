//! The queries of a team whose store measured itself give the same from Vigie, in a real Prometheus.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that panics has failed, as it should"
)]

mod common;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use testkit::{Prometheus, Random, Request, Server, TempDir, free_port, shared_loop, store};

const SCRAPES: Duration = Duration::from_secs(1);
const CLIENTS: usize = 2;
const REQUESTS: usize = 400;
/// What of a window, in seconds, may lie before its first scrape and behind its last, on a machine that is late.
const UNSEEN: u64 = 4;

fn variable(name: &str) -> PathBuf {
    std::env::var_os(name)
        .expect("run the tests with 'cargo xtask test'")
        .into()
}

/// The demo store, instrumented by a wrapper that the store knows nothing of.
fn store_with_instrumentator(port: u16) -> Server {
    let dir = TempDir::new().unwrap();
    let mut command = Command::new(variable("VIGIE_PROFILES_PYTHON"));
    let applications = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/profiles");
    command
        .args(["-m", "uvicorn", "store_with_instrumentator:app", "--no-access-log"])
        .args(["--app-dir", applications, "--port", &port.to_string()])
        .env("PYTHONPATH", common::demo())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("STORE_TOKEN", store::TOKEN)
        .env(
            "DATABASE_URL",
            format!("sqlite:///{}", dir.path().join("store.db").display()),
        );
    let server = Server::start(command, dir, port).unwrap();
    let is_there = || {
        let health = server.connect().ok()?.send(&Request::get("/sante")).ok()?;
        (health.status == 200).then_some(())
    };
    server.wait_for(Duration::from_secs(60), is_there).unwrap();
    server
}

/// The value of each series, by these labels.
fn by(prometheus: &Prometheus, query: &str, labels: &[&str]) -> BTreeMap<Vec<String>, f64> {
    let samples = prometheus.query(query).unwrap();
    let key = |sample: &testkit::prometheus::Sample| labels.iter().map(|name| sample.label(name).to_owned()).collect();
    samples.iter().map(|sample| (key(sample), sample.value)).collect()
}

#[test]
fn the_queries_of_the_stores_team_give_the_same() {
    let port = free_port().unwrap();
    let dir = TempDir::new().unwrap();
    let rule = format!("services: [{{name: store, port: {port}}}]\n");
    let rule = dir.write("vigie.yml", rule.as_bytes()).unwrap();
    let vigie = common::vigie(&["--metrics.profile", "fastapi", "--config.file", rule.to_str().unwrap()]);
    let store = store_with_instrumentator(port);
    let config = format!(
        "global: {{scrape_interval: 1s}}
scrape_configs:
  - {{job_name: library, static_configs: [{{targets: ['{}']}}]}}
  - job_name: vigie
    static_configs: [{{targets: ['{}']}}]
    metric_relabel_configs:
      - {{source_labels: [__name__, service], regex: 'http_.*;store', target_label: kept, replacement: 'yes'}}
      - {{source_labels: [kept], regex: 'yes', action: keep}}
",
        store.address(),
        vigie.server.address()
    );
    // The oldest that is supported.
    let servers = variable("VIGIE_PROMETHEUS");
    let prometheus = std::env::split_paths(&servers).next().unwrap();
    let prometheus = Prometheus::start(&prometheus, TempDir::new().unwrap(), &config, &[]).unwrap();

    // A rate needs series that are there already: everything is asked for once, and scraped.
    let send = |seed: u64, count: usize| {
        let next = |thread: usize, index: usize| {
            let mut random = Random::new(seed + (thread * count + index) as u64);
            Some(store::store_shot(&mut random))
        };
        // The server closes a connection after an error without saying so: each request has its own.
        let records = shared_loop(store.address(), CLIENTS, count, false, next).unwrap();
        assert!(records.unexpected().is_empty(), "{:#?}", records.unexpected());
        records.list
    };
    let mut records = send(1, REQUESTS);
    thread::sleep(SCRAPES * 5);
    let begin = Instant::now();
    records.extend(send(1_000_000, REQUESTS));
    thread::sleep(SCRAPES * 10);

    // Every count, but for the scrapes of the library itself, which it counts as well.
    let total = |job: &str| {
        let query =
            format!("sum by (handler, method, status) (http_requests_total{{job='{job}',handler!~'/metrics|/sante'}})");
        by(&prometheus, &query, &["handler", "method", "status"])
    };
    let mut truth = BTreeMap::<Vec<String>, f64>::new();
    for record in &records {
        let group = format!("{}xx", record.status / 100);
        *truth
            .entry(vec![record.handler.to_owned(), record.method.clone(), group])
            .or_default() += 1.0;
    }
    assert_eq!(total("library"), truth);
    assert_eq!(total("vigie"), truth);

    // It begins between the two times, when nobody sends anything.
    let window = begin.elapsed().as_secs() + 3;
    // The team's own queries.
    let same = |query: &str, labels: &[&str]| {
        let ask = |job: &str| {
            let query = query.replace("JOB", &format!("job='{job}',handler!~'/metrics|/sante'"));
            by(&prometheus, &query.replace("RANGE", &format!("[{window}s]")), labels)
        };
        (ask("library"), ask("vigie"))
    };
    let (library, vigie) = same(
        "sum by (handler) (rate(http_requests_total{JOB,status=~'4..'}RANGE))",
        &["handler"],
    );
    assert_eq!(library.len(), 3, "{library:?}");
    assert!(library.keys().eq(vigie.keys()), "{library:?} {vigie:?}");
    for (handler, rate) in library.iter().chain(&vigie) {
        let is_one = |record: &&testkit::Record| record.handler == handler[0] && record.status / 100 == 4;
        let count = records[REQUESTS..].iter().filter(is_one).count() as f64;
        // Prometheus knows the time between the first and the last scrape of the window.
        let (least, most) = (count / window as f64, count / (window - UNSEEN) as f64);
        assert!(
            *rate >= 0.999 * least && *rate <= most,
            "{handler:?}: {rate}, not {least} to {most}"
        );
    }
    // Means and quantiles: what the library does not see comes on top, and no more than the clients have seen.
    let mean = "sum by (handler) (rate(http_request_duration_seconds_sum{JOB}RANGE)) \
                / sum by (handler) (rate(http_request_duration_seconds_count{JOB}RANGE))";
    let (library, vigie) = same(mean, &["handler"]);
    assert!(library.len() >= 6, "{library:?}");
    for (handler, mean) in &library {
        let slowest = records
            .iter()
            .filter(|record| record.handler == handler[0])
            .map(testkit::Record::seconds)
            .fold(0.0, f64::max);
        let found = vigie[handler];
        assert!(
            found > 0.5 * mean && found <= slowest,
            "{handler:?}: {mean}, Vigie {found}, slowest {slowest}"
        );
    }
    // Requests of this window that are not the clients': the scrapes of the library, each second, and some.
    let others = 2 * window + 3;
    let seconds: Vec<f64> = records[REQUESTS..].iter().map(testkit::Record::seconds).collect();
    for quantile in [0.5, 0.95] {
        let query = format!(
            "histogram_quantile({quantile}, sum by (le) (rate(http_request_duration_highr_seconds_bucket{{job='JOB'}}[{window}s])))"
        );
        let ask = |job: &str| prometheus.value(&query.replace("JOB", job)).unwrap();
        let (library, vigie) = (ask("library"), ask("vigie"));
        let (low, high) = around(seconds.clone(), quantile, others as f64);
        println!("quantile {quantile}: library {library}, Vigie {vigie}, clients {low} to {high}");
        // Prometheus knows the bucket, and what it says is some place in it. Vigie's time is a part of the client's.
        let (below, above) = (bucket(low / 2.0).0, bucket(high).1);
        assert!(
            vigie >= below && vigie <= above,
            "{quantile}: {vigie}, not {below} to {above}"
        );
    }
}

/// Where a quantile of the clients' times lies if there were at most so many `others`, however long they took.
fn around(mut seconds: Vec<f64>, quantile: f64, others: f64) -> (f64, f64) {
    seconds.sort_by(f64::total_cmp);
    let rank = quantile * (seconds.len() as f64 + others);
    let at = |rank: f64| seconds[(rank.max(0.0) as usize).min(seconds.len() - 1)];
    (at(rank - others - 1.0), at(rank + 1.0))
}

/// The bounds of the bucket that a time is in, of the instrumentator's finer histogram.
fn bucket(seconds: f64) -> (f64, f64) {
    const BOUNDS: [f64; 21] = [
        0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 7.5, 10.0, 30.0,
        60.0,
    ];
    let place = BOUNDS.partition_point(|bound| *bound < seconds);
    let below = place.checked_sub(1).map_or(0.0, |place| BOUNDS[place]);
    (below, BOUNDS.get(place).copied().unwrap_or(f64::INFINITY))
}
