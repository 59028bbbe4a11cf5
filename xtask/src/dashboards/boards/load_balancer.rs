//! Do the instances behind the balancer share the work?

use super::PERFORMANCE;
use crate::dashboards::model::{Color, Dashboard, Link, Panel, Unit, Variable};
use crate::dashboards::panels::{host_variables, lines, row, shares, stat, table};

pub fn dashboard() -> Dashboard {
    Dashboard {
        uid: super::LOAD_BALANCER,
        title: "Vigie / Load balancer",
        description: "Do the instances behind the balancer share the work, and which one is slow? An instance is a port of a service in one container, or on a host: name those without containers in Vigie's configuration, so that their CPU and memory are told apart, too.",
        variables: variables(),
        rows: vec![
            row("The balancer", balancer()),
            row("The balance", balance()),
            row("Each instance", instances()),
            row("What each instance is short of", saturation()),
        ],
    }
}

/// Names by which a load balancer is known.
const BALANCERS: &str =
    ".*(nginx|haproxy|envoy|traefik|caddy|apache|httpd|lighttpd|varnish|balancer|proxy|gateway|ingress).*";

fn variables() -> Vec<Variable> {
    let mut variables = host_variables();
    variables.push(Variable {
        name: "balancer",
        label: "Balancer",
        description: "The service that the clients talk to: a name that says so, as nginx or gateway.",
        query: Some(fill(&format!(
            r#"label_values(http_requests_total{{<host>, service=~"{BALANCERS}"}}, service)"#
        ))),
        is_multiple: false,
    });
    variables.push(Variable {
        name: "service",
        label: "Service",
        description: "The services behind the balancer: choose those, if the hosts have others.",
        query: Some(fill(
            r#"label_values(http_requests_total{<host>, service!~"$balancer"}, service)"#,
        )),
        is_multiple: true,
    });
    variables
}

fn fill(expression: &str) -> String {
    crate::dashboards::model::expand(
        &expression
            .replace("<behind>", r#"<service>, service!~"$balancer""#)
            .replace("<balancer>", r#"<host>, service=~"$balancer""#)
            .replace("<port>", "<processes>, port")
            .replace("<processes>", "instance, namespace, pod, service, container"),
    )
}

/// `<balancer>` are the matchers of the balancer, `<behind>` those of the services behind it. `<port>` are the labels that tell instances
/// apart, `<processes>` those of them that series without a port have; containers and pods are labels where there are any.
trait Fill {
    fn ask(self, expression: &str, legend: &'static str) -> Self;
    fn cell(self, heading: &'static str, unit: Unit, expression: &str) -> Self;
}

impl Fill for Panel {
    fn ask(self, expression: &str, legend: &'static str) -> Self {
        self.query(&fill(expression), legend)
    }

    fn cell(self, heading: &'static str, unit: Unit, expression: &str) -> Self {
        self.column(heading, unit, &fill(expression))
    }
}

/// Of series that have a port.
const INSTANCE: &str = "{{namespace}} {{pod}} {{service}} {{container}} {{port}} ({{instance}})";
/// Of series that have none.
const PROCESSES: &str = "{{namespace}} {{pod}} {{service}} {{container}} ({{instance}})";

fn balancer() -> Vec<Panel> {
    vec![
        stat("Balancer's requests", "What the balancer answers in a second.", Unit::RequestsPerSecond)
            .ask(r#"sum(rate(service_http_requests_total{<balancer>, class!="aborted"}[<rate>]))"#, "requests")
            .size(6, 4),
        stat("Balancer's 5xx", "Share of the balancer's answers that say that something failed.", Unit::Share)
            .ask(r#"sum(rate(service_http_requests_total{<balancer>, class="5xx"}[<rate>])) / sum(rate(service_http_requests_total{<balancer>, class!="aborted"}[<rate>]))"#, "5xx")
            .from(0.02, Color::Yellow)
            .from(0.05, Color::Red)
            .size(6, 4),
        stat("Instances that work", "Instances behind the balancer that have answered requests just now.", Unit::Count)
            .ask("count(sum by (<port>) (rate(http_requests_total{<behind>}[<rate>])) > 0)", "instances")
            .size(6, 4),
        stat("Imbalance", "How much more than its share the busiest instance gets: 1 is even, 2 is twice its share.", Unit::Plain)
            .ask("max(sum by (<port>) (rate(http_requests_total{<behind>}[<rate>]))) / avg(sum by (<port>) (rate(http_requests_total{<behind>}[<rate>])))", "imbalance")
            .from(1.3, Color::Yellow)
            .from(2.0, Color::Red)
            .size(6, 4),
        lines("Before and behind", "Requests that the balancer answers, and that the instances answer. More behind than before: it tries again. Fewer: it answers itself.", Unit::RequestsPerSecond)
            .ask(r#"sum(rate(service_http_requests_total{<balancer>, class!="aborted"}[<rate>]))"#, "balancer")
            .ask(r#"sum(rate(service_http_requests_total{<behind>, class!="aborted"}[<rate>]))"#, "instances together")
            .axis_at_zero(),
        lines("What the balancer adds", "The 95th percentile at the balancer and at the instances. The difference is what is spent in between: queues, connections, the wait for an instance.", Unit::Seconds)
            .ask("histogram_quantile(0.95, sum by (le) (rate(service_http_request_duration_seconds_bucket{<balancer>}[<rate>])))", "p95 at the balancer")
            .ask("histogram_quantile(0.95, sum by (le) (rate(service_http_request_duration_seconds_bucket{<behind>}[<rate>])))", "p95 at the instances")
            .axis_at_zero(),
    ]
}

fn balance() -> Vec<Panel> {
    vec![
        shares("Shares of the requests", "Which share of the requests each instance answers.", Unit::Plain)
            .ask("sum by (<port>) (rate(http_requests_total{<behind>}[<rate>]))", INSTANCE),
        lines("Slowest and fastest", "The mean duration at the slowest instance, and at the fastest. Instances that do the same should take the same time.", Unit::Seconds)
            .ask("max(sum by (<port>) (rate(http_request_duration_seconds_sum{<behind>}[<rate>])) / sum by (<port>) (rate(http_request_duration_seconds_count{<behind>}[<rate>])))", "slowest")
            .ask("min(sum by (<port>) (rate(http_request_duration_seconds_sum{<behind>}[<rate>])) / sum by (<port>) (rate(http_request_duration_seconds_count{<behind>}[<rate>])))", "fastest")
            .color("slowest", Color::Red)
            .color("fastest", Color::Green)
            .axis_at_zero(),
    ]
}

fn instances() -> Vec<Panel> {
    vec![
        table("Instances", "Each instance now. Click its service for more.")
            .cell("requests", Unit::RequestsPerSecond, "sum by (<port>) (rate(http_requests_total{<behind>}[<rate>]))")
            .cell("5xx", Unit::Share, r#"sum by (<port>) (rate(http_requests_total{<behind>, status=~"5.."}[<rate>])) / sum by (<port>) (rate(http_requests_total{<behind>}[<rate>]))"#)
            .cell("mean", Unit::Seconds, "sum by (<port>) (rate(http_request_duration_seconds_sum{<behind>}[<rate>])) / sum by (<port>) (rate(http_request_duration_seconds_count{<behind>}[<rate>]))")
            .cell("p95", Unit::Seconds, "histogram_quantile(0.95, sum by (<port>, le) (rate(http_request_duration_seconds_bucket{<behind>}[<rate>])))")
            .cell("backlog", Unit::Count, "sum by (<port>) (service_listen_backlog{<behind>})")
            .cell("connections", Unit::Count, "sum by (<port>) (service_connections_open{<behind>})")
            .cell("listening", Unit::Plain, "min by (<port>) (service_listening{<behind>})")
            .sort_by("requests")
            .link(Link { column: "service", title: "Performance of this service", uid: PERFORMANCE, variable: "service" })
            .size(24, 7),
        lines("Requests by instance", "Answered requests of each instance.", Unit::RequestsPerSecond)
            .ask("sum by (<port>) (rate(http_requests_total{<behind>}[<rate>]))", INSTANCE)
            .axis_at_zero(),
        lines("p95 by instance", "95 % of the requests to an instance take at most so long.", Unit::Seconds)
            .ask("histogram_quantile(0.95, sum by (<port>, le) (rate(http_request_duration_seconds_bucket{<behind>}[<rate>])))", INSTANCE)
            .axis_at_zero(),
        lines("Errors by instance", "Answers with a status from 400 on, of each instance. 4xx on one alone is a client that sticks to it; 5xx on one alone is a sick instance.", Unit::RequestsPerSecond)
            .ask(r#"sum by (<port>) (rate(http_requests_total{<behind>, status=~"5.."}[<rate>]))"#, "5xx {{namespace}} {{pod}} {{service}} {{container}} {{port}} ({{instance}})")
            .ask(r#"sum by (<port>) (rate(http_requests_total{<behind>, status=~"4.."}[<rate>]))"#, "4xx {{namespace}} {{pod}} {{service}} {{container}} {{port}} ({{instance}})")
            .axis_at_zero(),
        lines("In flight by instance", "Requests that an instance has read and not answered. A balancer that counts connections keeps these even, not the requests.", Unit::Count)
            .ask("sum by (<processes>) (http_requests_in_flight{<behind>})", PROCESSES)
            .axis_at_zero(),
    ]
}

fn saturation() -> Vec<Panel> {
    vec![
        lines("CPUs used by instance", "How many CPUs each instance uses.", Unit::Plain)
            .ask("sum by (<processes>) (rate(service_cpu_seconds_total{<behind>}[<rate>]))", PROCESSES)
            .axis_at_zero(),
        lines("CPUs waited for by instance", "How many of its threads waited for a CPU in the mean. Instances on one host wait for each other: a further one there does not help.", Unit::Plain)
            .ask("sum by (<processes>) (rate(service_runqueue_wait_seconds_sum{<behind>}[<rate>]))", PROCESSES)
            .axis_at_zero(),
        lines("Backlog by instance", "Connections that wait to be accepted.", Unit::Count)
            .ask("sum by (<port>) (service_listen_backlog{<behind>})", INSTANCE)
            .axis_at_zero(),
        lines("Waiting to be read, by instance", "95 % of the requests wait at most so long until the instance reads them.", Unit::Seconds)
            .ask("histogram_quantile(0.95, sum by (<port>, le) (rate(http_request_queue_seconds_bucket{<behind>}[<rate>])))", INSTANCE)
            .axis_at_zero(),
        lines("Connections by instance", "Open connections to each instance: what the balancer keeps.", Unit::Count)
            .ask("sum by (<port>) (service_connections_open{<behind>})", INSTANCE)
            .axis_at_zero(),
        lines("Memory by instance", "Resident memory of each instance's processes.", Unit::Bytes)
            .ask("sum by (<processes>) (service_resident_memory_bytes{<behind>})", PROCESSES)
            .axis_at_zero(),
    ]
}
