use std::time::Duration;

use super::*;

const BEFORE: &str = r#"# HELP http_requests_total Requests.
# TYPE http_requests_total counter
http_requests_total{service="a",port="80",method="GET",handler="/",status="200"} 10
http_request_duration_seconds_bucket{service="a",port="80",method="GET",handler="/",status="200",le="0.1"} 10
http_request_duration_seconds_bucket{service="a",port="80",method="GET",handler="/",status="200",le="+Inf"} 10
http_request_duration_seconds_sum{service="a",port="80",method="GET",handler="/",status="200"} 0.5
http_request_phase_seconds_total{service="a",port="80",method="GET",handler="/",phase="cpu"} 0.5
service_cpu_seconds_total{service="a"} 3
service_cpu_throttled_seconds_total{service="a"} 1000
vigie_host_cpu_seconds_total{cpu="0",mode="idle"} 5000
vigie_host_cpu_seconds_total{cpu="0",mode="user"} 700
vigie_lost_total{reason="fault"} 4
vigie_build_info{version="1.2.3",arch="x86_64"} 1
process_start_time_seconds 100
"#;

fn scrape(text: &str) -> Scrape {
    Scrape::read(text).unwrap()
}

/// The interval of two texts, two seconds long.
fn interval(before: &str, after: &str) -> Interval {
    let before = scrape(before);
    let mut after = scrape(after);
    after.read = before.read + Duration::from_secs(2);
    Interval::between(&before, &after)
}

fn route() -> Route {
    Route {
        service: "a".to_owned(),
        handler: "/".to_owned(),
        method: "GET".to_owned(),
        port: "80".to_owned(),
    }
}

#[test]
fn differences() {
    let after = BEFORE
        .replace("\"} 10\n", "\"} 16\n")
        .replace("status=\"200\"} 0.5", "status=\"200\"} 0.75")
        .replace("phase=\"cpu\"} 0.5", "phase=\"cpu\"} 0.75")
        .replace("} 1000", "} 1001")
        .replace("} 700", "} 701.5")
        .replace("} 5000", "} 5000.5")
        .replace("} 4", "} 6");
    let interval = interval(BEFORE, &after);
    assert_eq!(interval.seconds, 2.0);
    assert!(!interval.is_restart);
    let work = &interval.routes[&route()];
    assert_eq!(work.requests(), 6.0);
    assert_eq!(work.durations().count(), 6.0);
    assert_eq!(work.durations().mean(), Some(0.25 / 6.0));
    assert_eq!(work.phases, Some([0.0, 0.0, 0.25, 0.0, 0.0, 0.0]));
    assert_eq!(interval.services["a"].cpu, Some(0.0));
    assert_eq!(interval.services["a"].throttled, Some(1.0));
    assert_eq!(interval.host.busy(), Some(0.75));
    assert_eq!(interval.lost["fault"], 2.0);
    assert_eq!(scrape(BEFORE).version().as_deref(), Some("1.2.3"));
}

/// What Vigie counts begins at 0 with it; what the kernel counts does not.
#[test]
fn a_vigie_that_has_started_anew() {
    let after = BEFORE
        .replace("\"} 10\n", "\"} 3\n")
        .replace("seconds 100", "seconds 200")
        .replace("} 1000", "} 1001");
    let interval = interval(BEFORE, &after);
    assert!(interval.is_restart);
    let work = &interval.routes[&route()];
    assert_eq!((work.requests(), work.durations().count()), (3.0, 3.0));
    assert_eq!(interval.services["a"].cpu, Some(3.0));
    assert_eq!(interval.services["a"].throttled, Some(1.0));
    assert_eq!(interval.lost["fault"], 4.0);
}

/// Without the time of its start, a count that falls says the same.
#[test]
fn a_count_that_falls() {
    let without = |text: &str| text.replace("process_start_time_seconds 100\n", "");
    let after = BEFORE.replace("\"} 10\n", "\"} 3\n");
    let interval = interval(&without(BEFORE), &without(&after));
    assert!(interval.is_restart);
    assert_eq!(interval.routes[&route()].requests(), 3.0);
}

/// A series that is new counts from 0 if Vigie counts it, and not at all if the kernel has counted it for years.
#[test]
fn new_series() {
    let after = format!(
        "{BEFORE}http_requests_total{{service=\"a\",port=\"80\",method=\"GET\",handler=\"/\",status=\"500\"}} 7\n\
         service_listen_overflows_total{{service=\"a\",port=\"80\"}} 99\n"
    );
    let interval = interval(BEFORE, &after);
    let work = &interval.routes[&route()];
    assert_eq!((work.requests(), work.errors(), work.class(5)), (7.0, 7.0, 7.0));
    assert_eq!(interval.services["a"].overflows(), 0.0);
}

/// The cgroup of a service is another one after its restart.
#[test]
fn a_count_of_the_kernel_that_falls() {
    let interval = interval(BEFORE, &BEFORE.replace("} 1000", "} 1"));
    assert!(!interval.is_restart);
    assert_eq!(interval.services["a"].throttled, None);
}

#[test]
fn gauges_add_up() {
    let text = "http_requests_in_flight{service=\"a\",port=\"80\"} 2\nhttp_requests_in_flight{service=\"a\",port=\"81\"} 3\n\
                service_listen_backlog{service=\"a\",port=\"80\"} 5\nservice_listen_backlog_limit{service=\"a\",port=\"80\"} 128\n\
                service_listen_backlog{service=\"a\",port=\"81\"} 1\nservice_listen_backlog_limit{service=\"a\",port=\"81\"} 128\n\
                service_listening{service=\"a\",port=\"81\"} 0\nvigie_host_runqueue_length{cpu=\"0\"} 3\n\
                vigie_host_runqueue_length{cpu=\"1\"} 4\n";
    let interval = interval(text, text);
    let service = &interval.services["a"];
    assert_eq!(service.in_flight, Some(5.0));
    assert_eq!(service.backlog(), Some((6.0, Some(256.0))));
    assert_eq!(service.down(), ["81"]);
    assert_eq!(service.threads, None);
    assert_eq!(interval.host.runnable(), Some(7.0));
    assert_eq!(interval.host.busy(), None);
}
