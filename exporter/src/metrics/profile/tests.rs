use super::*;
use crate::observe::{
    ledger::{ByLabels, Events},
    usage::UsageSnapshot,
};
use std::collections::{BTreeMap, BTreeSet};
use vigie_ebpf::phases::Phases;

/// Requests of a service, each with the place of its bucket.
fn snapshot(requests: &[(&str, &'static str, u16, usize)], born: impl Fn(u16) -> u64) -> Snapshot {
    let series = requests.iter().map(|(handler, method, status, bucket)| {
        let labels = Labels {
            identity: Rc::new(Identity::of("shop")),
            port: 80,
            handler: (*handler).into(),
            method,
            status: *status,
        };
        let mut value = SeriesValue {
            phases: Phases {
                cpu: 1_000_000_000,
                ..Phases::default()
            },
            request_bytes: 100,
            response_bytes: 200,
            ..SeriesValue::default()
        };
        value.buckets[*bucket] = 1;
        let born = born(labels.status);
        (
            labels,
            Series {
                value,
                streams: 0,
                born,
            },
        )
    });
    Snapshot {
        taken: 0,
        clock: WallClock::now(),
        requests: ByLabels::new(series.collect(), Series::add),
        totals: Vec::new(),
        long_lived: BTreeMap::from([("shop".to_owned(), BTreeSet::from(["/events".to_owned()]))]),
        native: ByLabels::default(),
        exemplars: ByLabels::default(),
        waits: ByLabels::default(),
        in_flight: Vec::new(),
        exchanged: Vec::new(),
        not_http: Vec::new(),
        unattributed: Vec::new(),
        sched: Vec::new(),
        lost: Vec::new(),
        events: Events::default(),
        runnable: None,
        series: 0,
        folded: Vec::new(),
        room: (0, 0),
        dropped: Default::default(),
        usage: UsageSnapshot::default(),
    }
}

/// The text of a profile's families, without comments.
fn text(profile: Profile, bounds: &[f64], requests: &[(&str, &'static str, u16, usize)]) -> Vec<String> {
    lines(profile, bounds, &snapshot(requests, |_| 0), None)
}

fn lines(profile: Profile, bounds: &[f64], snapshot: &Snapshot, shown: Shown) -> Vec<String> {
    let text = crate::metrics::text::encode(&families(profile, snapshot, &Latency::new(bounds), shown));
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

const REQUESTS: [(&str, &str, u16, usize); 7] = [
    ("/items/{id}", "GET", 200, 0),
    ("/items/{id}", "GET", 201, 1),
    ("/items/{id}", "GET", 503, 2),
    ("/items/{id}", "GET", STATUS_ABORTED, 3),
    ("none", "PURGE", 404, 3),
    ("/events", "GET", 200, 3),
    ("/socket", "GET", 101, 0),
];

#[test]
fn fastapi_groups_statuses_and_merges_buckets() {
    let bounds = [0.05, 0.1, 0.5, 1.0];
    let lines = text(Profile::Fastapi, &bounds, &REQUESTS);
    for line in [
        r#"http_requests_total{service="shop",port="80",method="GET",status="2xx",handler="/items/{id}"} 2"#,
        r#"http_requests_total{service="shop",port="80",method="GET",status="5xx",handler="/items/{id}"} 1"#,
        r#"http_requests_total{service="shop",port="80",method="PURGE",status="4xx",handler="none"} 1"#,
        r#"http_requests_total{service="shop",port="80",method="GET",status="2xx",handler="/events"} 1"#,
        r#"http_request_size_bytes_sum{service="shop",port="80",handler="/items/{id}"} 300"#,
        r#"http_response_size_bytes_count{service="shop",port="80",handler="/items/{id}"} 3"#,
        r#"http_request_duration_seconds_bucket{service="shop",port="80",method="GET",handler="/items/{id}",le="0.1"} 2"#,
        r#"http_request_duration_seconds_bucket{service="shop",port="80",method="GET",handler="/items/{id}",le="0.5"} 3"#,
        r#"http_request_duration_seconds_sum{service="shop",port="80",method="GET",handler="/items/{id}"} 3"#,
        r#"http_request_duration_highr_seconds_bucket{service="shop",port="80",le="0.05"} 1"#,
        r#"http_request_duration_highr_seconds_count{service="shop",port="80"} 4"#,
    ] {
        assert!(lines.iter().any(|found| found == line), "{line} in {lines:#?}");
    }
    // Neither an upgrade nor what was not answered; a long-lived handler has no durations.
    assert_eq!(lines.iter().filter(|line| line.contains("/socket")).count(), 0);
    assert_eq!(lines.iter().filter(|line| line.contains("/events")).count(), 5);
}

#[test]
fn express_has_499_for_what_was_not_answered() {
    let lines = text(Profile::Express, &[0.003, 0.03, 0.1], &REQUESTS);
    let count = |status, method, path| {
        format!(
            "http_request_duration_seconds_count{{service=\"shop\",port=\"80\",status_code=\"{status}\",method=\"{method}\",\
             path=\"{path}\"}} 1"
        )
    };
    let counts: Vec<&String> = lines.iter().filter(|line| line.contains("_count")).collect();
    assert_eq!(counts.len(), 5);
    for line in [
        count("200", "GET", "/items/#val"),
        count("201", "GET", "/items/#val"),
        count("503", "GET", "/items/#val"),
        count("499", "GET", "/items/#val"),
        count("404", "PURGE", "none"),
    ] {
        assert!(counts.contains(&&line), "{line} in {counts:#?}");
    }
}

#[test]
fn otel_leaves_out_what_is_not_known() {
    let lines = text(Profile::Otel, &[0.005], &REQUESTS);
    let name = "http_server_request_duration_seconds_count{service=\"shop\",port=\"80\",";
    let mut counts: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix(name)).collect();
    counts.sort_unstable();
    assert_eq!(
        counts,
        [
            r#"http_request_method="GET",http_response_status_code="200",http_route="/items/{id}",url_scheme="http"} 1"#,
            r#"http_request_method="GET",http_response_status_code="201",http_route="/items/{id}",url_scheme="http"} 1"#,
            r#"http_request_method="GET",http_response_status_code="503",http_route="/items/{id}",url_scheme="http",error_type="503"} 1"#,
            r#"http_request_method="GET",http_route="/items/{id}",url_scheme="http",error_type="aborted"} 1"#,
            r#"http_request_method="_OTHER",http_response_status_code="404",url_scheme="http"} 1"#,
        ]
    );
}

/// What the kernel counts above the last bound in use is in the last bucket, wherever it is.
#[test]
fn nothing_is_lost_above_the_last_bound() {
    let lines = text(Profile::Express, &[0.003], &[("/", "GET", 200, BOUNDS)]);
    assert!(lines.iter().any(|line| line.contains("le=\"+Inf\"} 1")));
    assert!(lines.iter().any(|line| line.contains("le=\"0.003\"} 0")));
}

/// A row whose requests are all new is shown with 0; one with older requests is true, whatever came to it.
#[test]
fn new_rows_begin_at_0() {
    let requests = [
        ("/items/{id}", "GET", 200, 0),
        ("/items/{id}", "GET", 201, 1),
        ("/items/{id}", "GET", 503, 2),
    ];
    let snapshot = snapshot(&requests, u64::from);
    let fastapi = |shown| lines(Profile::Fastapi, &[0.1, 0.5, 1.0], &snapshot, shown);
    let total = |lines: &[String]| {
        let total = lines.iter().filter(|line| line.starts_with("http_requests_total"));
        let value = |line: &String| line.rsplit_once(' ').unwrap().1.to_owned();
        total.map(value).collect::<Vec<_>>()
    };
    for (shown, expected) in [
        (None, ["2", "1"]),
        (Some(503), ["2", "1"]),
        (Some(502), ["2", "0"]),
        (Some(200), ["2", "0"]),
        (Some(199), ["0", "0"]),
    ] {
        assert_eq!(total(&fastapi(shown)), expected, "{shown:?}");
    }
    let count = |shown| {
        let lines = fastapi(shown);
        let mut counts = lines
            .iter()
            .filter(|line| line.starts_with("http_request_duration_seconds_count"));
        counts.next().unwrap().rsplit_once(' ').unwrap().1.to_owned()
    };
    assert_eq!((count(Some(200)), count(Some(199))), ("3".to_owned(), "0".to_owned()));
}
