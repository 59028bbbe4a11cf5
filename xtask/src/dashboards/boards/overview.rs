//! Is all well?

use super::{ERRORS_4XX, ERRORS_5XX, PERFORMANCE};
use crate::dashboards::model::{Color, Dashboard, Link, Unit};
use crate::dashboards::panels::{heat_map, lines, row, service_variables, stacked, stat, states, table};

pub fn dashboard() -> Dashboard {
    Dashboard {
        uid: super::OVERVIEW,
        title: "Vigie / Overview",
        description: "Is all well? Health, traffic, errors and latency of the services, and the alerts that fire.",
        variables: service_variables(),
        rows: vec![
            row("Now", vec![
                stat("Health", "Down if one of the services has stopped listening on a port, in all of its containers on a host. A service is here once it has answered a request.", Unit::Plain)
                    .query("min(max by (instance, namespace, service, port) (service_listening{<service>}))", "Health")
                    .word(1, "up", Color::Green)
                    .word(0, "down", Color::Red)
                    .from(1.0, Color::Green),
                stat("Requests", "Answered requests in a second.", Unit::RequestsPerSecond)
                    .query(r#"sum(rate(service_http_requests_total{<service>, class!="aborted"}[<rate>]))"#, "Requests"),
                stat("5xx", "Share of the answers that say that the service failed. Yellow and red are where alerts begin.", Unit::Share)
                    .query(ERRORS_5XX, "5xx")
                    .from(0.02, Color::Yellow)
                    .from(0.05, Color::Red),
                stat("4xx", "Share of the answers that say that the client made a mistake.", Unit::Share)
                    .query(ERRORS_4XX, "4xx")
                    .from(0.2, Color::Yellow),
                stat("p95", "95 % of the requests take at most so long, from the first byte that is readable to the last one that is sent.", Unit::Seconds)
                    .query("histogram_quantile(0.95, sum by (le) (rate(service_http_request_duration_seconds_bucket{<service>}[<rate>])))", "p95")
                    .from(2.0, Color::Yellow)
                    .from(5.0, Color::Orange)
                    .from(10.0, Color::Red),
                stat("Alerts", "Alerts that fire now, all that this Prometheus evaluates.", Unit::Count)
                    .query(r#"count(ALERTS{alertstate="firing"}) or vector(0)"#, "Alerts")
                    .from(1.0, Color::Red),
            ]),
            row("Golden signals", vec![
                lines("Requests by service", "Answered requests of each service.", Unit::RequestsPerSecond)
                    .query(r#"sum by (namespace, service) (rate(service_http_requests_total{<service>, class!="aborted"}[<rate>]))"#, "{{namespace}} {{service}}")
                    .axis_at_zero(),
                stacked("Answers", "Requests, by the class of their answer's status. aborted: the connection was closed before there was one.", Unit::RequestsPerSecond)
                    .query("sum by (class) (rate(service_http_requests_total{<service>}[<rate>]))", "{{class}}")
                    .color("1xx", Color::Purple)
                    .color("2xx", Color::Green)
                    .color("3xx", Color::Blue)
                    .color("4xx", Color::Orange)
                    .color("5xx", Color::Red)
                    .color("aborted", Color::Gray),
                lines("Errors", "Share of the answers that are errors: 5xx is the service's fault, 4xx the client's. Requests that were never answered are no answers.", Unit::Share)
                    .query(ERRORS_5XX, "5xx")
                    .query(ERRORS_4XX, "4xx")
                    .color("4xx", Color::Orange)
                    .color("5xx", Color::Red)
                    .from(0.05, Color::Red)
                    .axis_at_zero(),
                lines("Latency", "Half of the requests, 95 % and 99 % of them take at most so long. Durations are what the client waits for, the accept backlog and the wait for a CPU included.", Unit::Seconds)
                    .query("histogram_quantile(0.5, sum by (le) (rate(service_http_request_duration_seconds_bucket{<service>}[<rate>])))", "p50")
                    .query("histogram_quantile(0.95, sum by (le) (rate(service_http_request_duration_seconds_bucket{<service>}[<rate>])))", "p95")
                    .query("histogram_quantile(0.99, sum by (le) (rate(service_http_request_duration_seconds_bucket{<service>}[<rate>])))", "p99")
                    .color("p50", Color::Green)
                    .color("p95", Color::Yellow)
                    .color("p99", Color::Red)
                    .axis_at_zero(),
                heat_map("Latency, all of it", "How many requests took how long: two bands are two kinds of requests, or two instances that differ.", "service_http_request_duration_seconds_bucket{<service>}"),
                states("Listening", "Where each service listens, and when it did not. What ends without being down, as a container that was replaced, just goes.")
                    .query("max by (instance, namespace, service, port) (service_listening{<service>})", "{{namespace}} {{service}} {{port}} ({{instance}})")
                    .word(1, "up", Color::Green)
                    .word(0, "down", Color::Red)
                    .size(12, 9),
            ]),
            row("What to look at", vec![
                table("Services", "Each service: its requests, failures and latency, how many CPUs it uses, and how long its threads wait for one in each second. Click a service for more.")
                    .column("requests", Unit::RequestsPerSecond, r#"sum by (namespace, service) (rate(service_http_requests_total{<service>, class!="aborted"}[<rate>]))"#)
                    .column("5xx", Unit::Share, r#"sum by (namespace, service) (rate(service_http_requests_total{<service>, class="5xx"}[<rate>])) / sum by (namespace, service) (rate(service_http_requests_total{<service>, class!="aborted"}[<rate>]))"#)
                    .column("p95", Unit::Seconds, "histogram_quantile(0.95, sum by (namespace, service, le) (rate(service_http_request_duration_seconds_bucket{<service>}[<rate>])))")
                    .column("CPUs used", Unit::Plain, "sum by (namespace, service) (rate(service_cpu_seconds_total{<service>}[<rate>]))")
                    .column("CPUs waited for", Unit::Plain, "sum by (namespace, service) (rate(service_runqueue_wait_seconds_sum{<service>}[<rate>]))")
                    .column("in flight", Unit::Count, "sum by (namespace, service) (http_requests_in_flight{<service>})")
                    .sort_by("requests")
                    .link(Link { column: "service", title: "Performance of this service", uid: PERFORMANCE, variable: "service" })
                    .size(14, 9),
                table("Active alerts", "What fires now, whatever made it: all alerts that this Prometheus evaluates.")
                    .column("firing", Unit::Count, r#"ALERTS{alertstate="firing"}"#)
                    .hide(&["__name__", "alertstate", "firing"])
                    .if_empty("none")
                    .size(10, 9),
            ]),
        ],
    }
}
