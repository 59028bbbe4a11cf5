//! Why is it slow?

use crate::dashboards::model::{Color, Dashboard, Panel, Unit};
use crate::dashboards::panels::{lines, matrix, route_variables, row, shares, stacked, table};

pub fn dashboard() -> Dashboard {
    Dashboard {
        uid: super::PERFORMANCE,
        title: "Vigie / Performance",
        description: "Why is it slow? Each endpoint's rate, errors and latency, where the time of its requests went, and what its service is short of.",
        variables: route_variables(),
        rows: vec![
            row("Endpoints", endpoints()),
            row("Where the time went", phases()),
            row("CPU: used, and waited for", cpu()),
            row("Connections", connections()),
            row("Memory, disk, network", resources()),
        ],
    }
}

fn endpoints() -> Vec<Panel> {
    vec![
        lines("Requests by endpoint", "Answered requests of each route and method.", Unit::RequestsPerSecond)
            .query("sum by (method, handler) (rate(http_requests_total{<route>}[<rate>]))", "{{method}} {{handler}}")
            .axis_at_zero(),
        lines("p95 by endpoint", "95 % of the requests to a route take at most so long.", Unit::Seconds)
            .query("histogram_quantile(0.95, sum by (method, handler, le) (rate(http_request_duration_seconds_bucket{<route>}[<rate>])))", "{{method}} {{handler}}")
            .axis_at_zero(),
        lines("Errors by endpoint", "Answers with a status from 400 on, by route and status.", Unit::RequestsPerSecond)
            .query(r#"sum by (method, handler, status) (rate(http_requests_total{<route>, status=~"[45].."}[<rate>]))"#, "{{status}} {{method}} {{handler}}")
            .axis_at_zero(),
        lines("Mean by endpoint", "The mean duration. Where it is far from the median, a few requests take very long.", Unit::Seconds)
            .query("sum by (method, handler) (rate(http_request_duration_seconds_sum{<route>}[<rate>])) / sum by (method, handler) (rate(http_request_duration_seconds_count{<route>}[<rate>]))", "{{method}} {{handler}}")
            .axis_at_zero(),
        table("Slowest endpoints", "Over the whole time that is shown. Time spent is the sum of all durations: what would be won if a route took no time at all.")
            .column("p95", Unit::Seconds, "histogram_quantile(0.95, sum by (namespace, service, method, handler, le) (increase(http_request_duration_seconds_bucket{<route>}[<range>])))")
            .column("mean", Unit::Seconds, "sum by (namespace, service, method, handler) (increase(http_request_duration_seconds_sum{<route>}[<range>])) / sum by (namespace, service, method, handler) (increase(http_request_duration_seconds_count{<route>}[<range>]))")
            .column("requests", Unit::Count, "sum by (namespace, service, method, handler) (increase(http_requests_total{<route>}[<range>]))")
            .column("5xx", Unit::Count, r#"sum by (namespace, service, method, handler) (increase(http_requests_total{<route>, status=~"5.."}[<range>]))"#)
            .column("time spent", Unit::Seconds, "sum by (namespace, service, method, handler) (increase(http_request_duration_seconds_sum{<route>}[<range>]))")
            .column("bytes sent", Unit::Bytes, "sum by (namespace, service, method, handler) (increase(http_response_size_bytes_sum{<route>}[<range>]))")
            .sort_by("p95"),
    ]
}

fn phases() -> Vec<Panel> {
    vec![
        colored(stacked("A request's time", "The mean duration of a request, and what it consists of. queue: readable, and nobody read it. runqueue: its thread waited for a CPU. cpu: it ran. blocked: it slept, waiting for a database, a lock, a disk. send: the answer was on its way. unattributed: not known to belong to one request.", Unit::Seconds)
            .query("sum by (phase) (rate(http_request_phase_seconds_total{<route>}[<rate>])) / ignoring (phase) group_left sum(rate(http_request_duration_seconds_count{<route>}[<rate>]))", "{{phase}}")),
        colored(shares("Shares of the time", "The same, as shares of all the time that requests took.", Unit::Plain)
            .query("sum by (phase) (rate(http_request_phase_seconds_total{<route>}[<rate>]))", "{{phase}}")),
        lines("Waiting to be read", "How long requests were readable and unread, in the backlog or in the socket, though a CPU was there: too few workers, or a blocked event loop.", Unit::Seconds)
            .query("histogram_quantile(0.95, sum by (method, handler, le) (rate(http_request_queue_seconds_bucket{<route>}[<rate>])))", "p95 {{method}} {{handler}}")
            .axis_at_zero(),
        lines("Waiting for a CPU", "How long the threads that handled requests were runnable and had no CPU: too much work for the host, or a quota.", Unit::Seconds)
            .query("histogram_quantile(0.95, sum by (method, handler, le) (rate(http_request_runqueue_seconds_bucket{<route>}[<rate>])))", "p95 {{method}} {{handler}}")
            .axis_at_zero(),
        matrix("Phases by endpoint", "Which share of a route's time went where, over the whole time that is shown.", Unit::Share, "handler", "phase")
            .query("sum by (handler, phase) (increase(http_request_phase_seconds_total{<route>}[<range>])) / ignoring (phase) group_left sum by (handler) (increase(http_request_phase_seconds_total{<route>}[<range>]))", "{{handler}} {{phase}}")
            .axis_to_one(),
    ]
}

/// Each phase has its color wherever it is shown.
fn colored(panel: Panel) -> Panel {
    panel
        .color("queue", Color::Yellow)
        .color("runqueue", Color::Red)
        .color("cpu", Color::Green)
        .color("blocked", Color::Blue)
        .color("send", Color::Purple)
        .color("unattributed", Color::Gray)
}

fn cpu() -> Vec<Panel> {
    vec![
        lines("CPUs used", "How many CPUs each service uses, and how many it may use.", Unit::Plain)
            .query("sum by (namespace, service) (rate(service_cpu_seconds_total{<service>}[<rate>]))", "{{namespace}} {{service}}")
            .query("sum by (namespace, service) (service_cpu_limit_cores{<service>})", "limit of {{namespace}} {{service}}")
            .may_be_absent("a service without a CPU quota has no limit")
            .axis_at_zero(),
        lines("CPUs waited for", "How many threads waited for a CPU in the mean, and for how much of that a quota is to blame: run queues that were held back because it was used up.", Unit::Plain)
            .query("sum by (namespace, service) (rate(service_runqueue_wait_seconds_sum{<service>}[<rate>]))", "{{namespace}} {{service}}")
            .query("sum by (namespace, service) (rate(service_cpu_throttled_seconds_total{<service>}[<rate>]))", "{{namespace}} {{service}}, throttled")
            .may_be_absent("a service without a CPU quota is not throttled")
            .axis_at_zero(),
        lines("A wait for a CPU", "How long threads wait for a CPU each time they could run: the median, and the longest of a hundred.", Unit::Seconds)
            .query("histogram_quantile(0.5, sum by (namespace, service, le) (rate(service_runqueue_wait_seconds_bucket{<service>}[<rate>])))", "p50 {{namespace}} {{service}}")
            .query("histogram_quantile(0.99, sum by (namespace, service, le) (rate(service_runqueue_wait_seconds_bucket{<service>}[<rate>])))", "p99 {{namespace}} {{service}}")
            .axis_at_zero(),
        lines("Context switches", "How often threads left a CPU: voluntary, because they had to wait for something, or involuntary, because it was another one's turn.", Unit::PerSecond)
            .query("sum by (namespace, service, type) (rate(service_context_switches_total{<service>}[<rate>]))", "{{namespace}} {{service}}, {{type}}")
            .axis_at_zero(),
        lines("Run queue's share of latency", "Which share of the time of requests was spent waiting for a CPU.", Unit::Share)
            .query(r#"sum by (namespace, service) (rate(http_request_phase_seconds_total{<route>, phase="runqueue"}[<rate>])) / sum by (namespace, service) (rate(http_request_phase_seconds_total{<route>}[<rate>]))"#, "{{namespace}} {{service}}")
            .axis_at_zero(),
        lines("Throttled periods", "Threads of each service, and in which share of the periods of its quota the quota was used up.", Unit::Plain)
            .query("sum by (namespace, service) (service_threads{<service>})", "threads of {{namespace}} {{service}}")
            .query("sum by (namespace, service) (rate(service_cpu_throttled_periods_total{<service>}[<rate>])) / sum by (namespace, service) (rate(service_cpu_periods_total{<service>}[<rate>]))", "throttled periods of {{namespace}} {{service}}")
            .may_be_absent("a service without a CPU quota has no periods")
            .axis_at_zero(),
    ]
}

fn connections() -> Vec<Panel> {
    vec![
        lines("In flight", "Requests that were read and are not answered yet.", Unit::Count)
            .query("sum by (namespace, service) (http_requests_in_flight{<service>})", "{{namespace}} {{service}}")
            .axis_at_zero(),
        lines("Accept backlog", "Connections that wait to be accepted: the most since the last scrapes, as a share of how many may wait. At 1 the kernel drops.", Unit::Share)
            .query("max by (namespace, service, port) (service_listen_backlog{<service>} / service_listen_backlog_limit{<service>})", "{{namespace}} {{service}} {{port}}")
            .from(0.8, Color::Red)
            .axis_at_zero(),
        lines("Dropped at the backlog", "Connections, and attempts at one, that found the backlog full. The client tries again, a second later.", Unit::PerSecond)
            .query("sum by (namespace, service, port) (rate(service_listen_overflows_total{<service>}[<rate>]))", "{{namespace}} {{service}} {{port}}")
            .axis_at_zero(),
        lines("Open connections", "Connections to the ports of each service.", Unit::Count)
            .query("sum by (namespace, service, port) (service_connections_open{<service>})", "{{namespace}} {{service}} {{port}}")
            .axis_at_zero(),
        lines("Resets, segments sent again, requests given up", "What goes wrong on connections: segments that had to be sent again, resets by each side, requests whose connection was closed before the answer.", Unit::PerSecond)
            .query("sum by (namespace, service) (rate(service_tcp_retransmits_total{<service>}[<rate>]))", "sent again by {{namespace}} {{service}}")
            .query("sum by (namespace, service, direction) (rate(service_tcp_resets_total{<service>}[<rate>]))", "resets {{direction}} by {{namespace}} {{service}}")
            .query(r#"sum by (namespace, service) (rate(service_http_requests_total{<service>, class="aborted"}[<rate>]))"#, "given up at {{namespace}} {{service}}")
            .axis_at_zero(),
        lines("Open files", "The share of its limit that the fullest process of each service has used: at 1 it cannot accept any more.", Unit::Share)
            .query("max by (namespace, service) (service_open_fds_ratio{<service>})", "{{namespace}} {{service}}")
            .from(0.9, Color::Red)
            .axis_at_zero(),
    ]
}

fn resources() -> Vec<Panel> {
    vec![
        lines("Memory", "Resident memory of each service's processes, and how much it may use. What they share counts for each process.", Unit::Bytes)
            .query("sum by (namespace, service) (service_resident_memory_bytes{<service>})", "{{namespace}} {{service}}")
            .query("sum by (namespace, service) (service_memory_limit_bytes{<service>})", "limit of {{namespace}} {{service}}")
            .may_be_absent("a service in no cgroup with a memory limit has none")
            .axis_at_zero(),
        lines("Processes", "The processes of each service.", Unit::Count)
            .query("sum by (namespace, service) (service_processes{<service>})", "{{namespace}} {{service}}")
            .axis_at_zero(),
        lines("Disk", "Bytes that each service had read from storage, and written on the way to it.", Unit::BytesPerSecond)
            .query("sum by (namespace, service) (rate(service_disk_read_bytes_total{<service>}[<rate>]))", "{{namespace}} {{service}}, read")
            .query("sum by (namespace, service) (rate(service_disk_written_bytes_total{<service>}[<rate>]))", "{{namespace}} {{service}}, written")
            .axis_at_zero(),
        lines("Network", "Bytes that each service exchanged with its clients.", Unit::BytesPerSecond)
            .query("sum by (namespace, service) (rate(service_network_receive_bytes_total{<service>}[<rate>]))", "{{namespace}} {{service}}, received")
            .query("sum by (namespace, service) (rate(service_network_transmit_bytes_total{<service>}[<rate>]))", "{{namespace}} {{service}}, sent")
            .axis_at_zero(),
    ]
}
