use super::*;

const GOOD: &str = r#"# HELP http_requests_total Requests, with a \\ and a\nline end.
# TYPE http_requests_total counter
http_requests_total{service="store",port="8000",method="GET",handler="/api/{id}",status="200"} 45
http_requests_total{service="store",port="8000",method="GET",handler="none",status="404"} 1
http_requests_total{service="other",port="9000",method="GET",handler="none",status="404"} 7
# a comment
# TYPE up gauge
up 1 1700000000000

# HELP http_request_duration_seconds Durations.
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{handler="a",le="0.1"} 5
http_request_duration_seconds_bucket{handler="a",le="1"} 9
http_request_duration_seconds_bucket{handler="a",le="+Inf"} 10
http_request_duration_seconds_sum{handler="a"} 4.5
http_request_duration_seconds_count{handler="a"} 10
http_request_duration_seconds_bucket{handler="b",le="0.1"} 5
http_request_duration_seconds_bucket{handler="b",le="1"} 11
http_request_duration_seconds_bucket{handler="b",le="+Inf"} 11
http_request_duration_seconds_sum{handler="b"} 3
http_request_duration_seconds_count{handler="b"} 11
# TYPE odd untyped
odd{path="C:\\dir",quote="\"}",} NaN
odd{ line = "a\nb" , é = "x" } -Inf
"#;

fn good() -> Scrape {
    Scrape::parse(&GOOD.replace(" , é = \"x\"", "")).unwrap()
}

#[track_caller]
fn refuses(text: &str, line: usize, problem: &str) {
    let error = Scrape::parse(text).unwrap_err();
    assert!(error.line == line && error.problem.contains(problem), "{error}");
}

#[test]
fn reads_families_and_samples() {
    let scrape = good();
    let kinds: Vec<_> = scrape
        .families()
        .iter()
        .map(|family| (family.name.as_str(), family.kind))
        .collect();
    assert_eq!(
        kinds,
        [
            ("http_requests_total", Kind::Counter),
            ("up", Kind::Gauge),
            (DURATION, Kind::Histogram),
            ("odd", Kind::Untyped)
        ]
    );
    assert_eq!(
        scrape.family(REQUESTS).unwrap().help,
        "Requests, with a \\ and a\nline end."
    );
    assert_eq!(scrape.samples(REQUESTS).count(), 3);
    let odd: Vec<_> = scrape.samples("odd").collect();
    assert_eq!(
        (odd[0].labels["path"].as_str(), odd[0].labels["quote"].as_str()),
        ("C:\\dir", "\"}")
    );
    assert!(odd[0].value.is_nan());
    assert_eq!(
        (odd[1].labels["line"].as_str(), odd[1].value),
        ("a\nb", f64::NEG_INFINITY)
    );
    assert_eq!(Scrape::parse("").unwrap(), Scrape::default());
}

#[test]
fn answers_queries() {
    let scrape = good();
    assert_eq!(scrape.value("up", &[]), Ok(Some(1.0)));
    assert_eq!(scrape.value("up", &[("absent", "")]), Ok(Some(1.0)));
    assert_eq!(scrape.value("up", &[("absent", "x")]), Ok(None));
    assert_eq!(scrape.value(REQUESTS, &[("status", "200")]), Ok(Some(45.0)));
    let several = scrape.value(REQUESTS, &[("status", "404")]).unwrap_err();
    assert_eq!(several.to_string(), "2 samples of http_requests_total match");
    assert_eq!(scrape.sum(REQUESTS, &[("status", "404")]), 8.0);
    assert!(scrape.sum("absent", &[]).is_sign_positive());
    let key = |handler: &str, status| (handler.to_owned(), "GET".to_owned(), status);
    assert_eq!(
        scrape.requests(8000),
        Counts::from([(key("/api/{id}", 200), 45), (key("none", 404), 1)])
    );
    assert!(scrape.requests(800).is_empty());
}

#[test]
fn quantiles_as_prometheus_gives_them() {
    let scrape = good();
    let quantile = |labels: &[(&str, &str)], q| scrape.quantile(DURATION, labels, q);
    let close = |value: Option<f64>, expected: f64| assert!((value.unwrap() - expected).abs() < 1e-9, "{value:?}");
    close(quantile(&[("handler", "a")], 0.25), 0.05);
    close(quantile(&[("handler", "a")], 0.5), 0.1);
    close(quantile(&[("handler", "a")], 0.7), 0.55);
    close(quantile(&[("handler", "a")], 0.95), 1.0); // In +Inf: the highest finite bound.
    close(quantile(&[], 0.5), 0.1 + 0.9 * 0.05); // 10 of 21 below 0.1; rank 10.5 in a bucket of 10.
    assert_eq!(quantile(&[("handler", "a")], 1.5), Some(f64::INFINITY));
    assert_eq!(quantile(&[("handler", "a")], -1.0), Some(f64::NEG_INFINITY));
    assert_eq!(quantile(&[("handler", "absent")], 0.5), None);
    assert_eq!(quantile(&[("handler", "a")], f64::NAN), None);
}

#[test]
fn refuses_bad_syntax() {
    refuses(GOOD, 24, "bad label name");
    refuses("# TYPE a gauge\na 1", 2, "no line end");
    refuses("# TYPE a gauge\na\n", 2, "no value");
    refuses("# TYPE a gauge\na one\n", 2, "bad number");
    refuses("# TYPE a gauge\na 1 now\n", 2, "bad timestamp");
    refuses("# TYPE a gauge\na 1 2 3\n", 2, "after the sample");
    refuses("# TYPE a gauge\na{b=\"c} 1\n", 2, "without end");
    refuses("# TYPE a gauge\na{b=c} 1\n", 2, "without quotes");
    refuses("# TYPE a gauge\na{b=\"c\" d=\"e\"} 1\n", 2, "no comma");
    refuses("# TYPE a gauge\na{b=\"c\",b=\"d\"} 1\n", 2, "twice");
    refuses("# TYPE a gauge\na{b=\"\\t\"} 1\n", 2, "bad escape");
    refuses("# HELP a \\\"\n", 1, "bad escape");
    refuses("# TYPE 1a gauge\n", 1, "bad metric name");
    refuses("# TYPE a number\n", 1, "unknown type");
}

#[test]
fn refuses_bad_families() {
    refuses("a 1\n", 1, "no TYPE");
    refuses("a 1\n# TYPE a gauge\n", 1, "no TYPE");
    refuses("# TYPE a gauge\n# TYPE a gauge\n", 2, "second TYPE");
    refuses("# HELP a x\n# HELP a x\n", 2, "second HELP");
    refuses("# HELP a x\n# TYPE a gauge\n# HELP a x\n", 3, "second HELP");
    refuses(
        "# TYPE a gauge\na{b=\"c\",d=\"e\"} 1\na{d=\"e\",b=\"c\"} 1\n",
        3,
        "second sample",
    );
    refuses(
        "# TYPE a gauge\n# TYPE b gauge\na{c=\"1\"} 1\nb 1\na{c=\"2\"} 1\n",
        5,
        "not together",
    );
    refuses("# TYPE a counter\na -1\n", 2, "is -1");
    refuses("# TYPE a gauge\na_sum 1\n", 2, "no TYPE");
    refuses("# TYPE a histogram\na 1\n", 2, "no TYPE");
}

#[test]
fn refuses_bad_histograms() {
    let bad = |samples: &[&str], problem: &str| {
        let lines: Vec<_> = samples.iter().map(|sample| format!("a_{sample}\n")).collect();
        refuses(&format!("# TYPE a histogram\n{}", lines.concat()), 1, problem);
    };
    let (one, inf, sum, count) = ("bucket{le=\"1\"} 3", "bucket{le=\"+Inf\"} 4", "sum 5", "count 4");
    bad(&[one, inf, sum, "count 5"], "_count is not");
    bad(&[one, inf, sum], "_count is not");
    bad(&[one, inf, count], "no _sum");
    bad(&[one, sum, "count 3"], "no bucket +Inf");
    bad(&[one, "bucket{le=\"+Inf\"} 2", sum, "count 2"], "not cumulative");
    bad(&[inf, one, sum, count], "increasing order");
    bad(&[one, "bucket{le=\"1.0\"} 3", inf, sum, count], "increasing order");
    bad(&["bucket{le=\"x\"} 1", sum, count], "bad number");
    bad(&["bucket 1", sum, count], "without le");
    bad(&[sum, count], "no buckets");
}

#[test]
fn counts_of_other_kinds() {
    let text = r#"# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{port="unix",handler="/a",method="GET",status="200",le="+Inf"} 2
http_request_duration_seconds_sum{port="unix",handler="/a",method="GET",status="200"} 0.2
http_request_duration_seconds_count{port="unix",handler="/a",method="GET",status="200"} 2
# TYPE http_requests_aborted_total counter
http_requests_aborted_total{service="s",port="7",handler="/a",method="GET"} 1
http_requests_aborted_total{service="t",port="7",handler="/a",method="GET"} 2
# TYPE vigie_lost_total counter
vigie_lost_total{reason="a"} 0
vigie_lost_total{reason="b"} 3
vigie_lost_total{reason="c"} 1
"#;
    let scrape = Scrape::parse(text).unwrap();
    let key = ("/a".to_owned(), "GET".to_owned(), 200);
    assert_eq!(scrape.durations("unix"), Counts::from([(key, 2)]));
    assert!(scrape.durations(7).is_empty());
    let aborted = |labels: &[(&str, &str)]| scrape.aborted(labels).into_values().collect::<Vec<_>>();
    assert_eq!(aborted(&[("port", "7")]), [3]);
    assert_eq!(aborted(&[("port", "7"), ("service", "t")]), [2]);
    assert_eq!(scrape.lost(), BTreeMap::from([("b", 3.0), ("c", 1.0)]));
    assert_eq!(
        (scrape.lost_text(), Scrape::default().lost_text()),
        ("b 3, c 1".to_owned(), "0".to_owned())
    );
}
