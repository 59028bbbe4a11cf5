//! The metric families, each with its name, its help, and where its values come from.

use prometheus::{
    core::Collector,
    process_collector::ProcessCollector,
    proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType, Summary},
};
use vigie_ebpf::types::{STATUS_ABORTED, SchedValue, SeriesValue, WAIT_BOUNDS_NS};

use super::phases;
use crate::{
    kernel::load::Probe,
    observe::ledger::{Labels, Snapshot},
};

pub(super) const NANOSECONDS: f64 = 1e9;

/// What the families are made from, beside the snapshot.
#[derive(Debug)]
pub struct Families {
    /// The bounds of the latency histogram, in seconds.
    bounds: Vec<f64>,
    /// The probes, which do not change while Vigie runs: their name, hook, and whether they are attached.
    probes: Vec<(&'static str, &'static str, bool)>,
    /// Vigie's own process.
    process: ProcessCollector,
}

pub(super) fn pair(name: &str, value: impl Into<String>) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.into());
    pair
}

pub(super) fn counter(labels: Vec<LabelPair>, value: f64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(value);
    let mut metric = Metric::from_label(labels);
    metric.set_counter(counter);
    metric
}

pub(super) fn gauge(labels: Vec<LabelPair>, value: f64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut metric = Metric::from_label(labels);
    metric.set_gauge(gauge);
    metric
}

/// A histogram of `counts`, one for each bound and one above the last, whose sum is in nanoseconds.
pub(super) fn histogram(labels: Vec<LabelPair>, bounds: impl Iterator<Item = f64>, counts: &[u64], sum: u64) -> Metric {
    let mut cumulative = 0;
    let mut buckets = Vec::new();
    for (bound, count) in bounds.chain([f64::INFINITY]).zip(counts) {
        cumulative += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound);
        bucket.set_cumulative_count(cumulative);
        buckets.push(bucket);
    }
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets);
    histogram.set_sample_sum(sum as f64 / NANOSECONDS);
    histogram.set_sample_count(cumulative);
    let mut metric = Metric::from_label(labels);
    metric.set_histogram(histogram);
    metric
}

fn summary(labels: Vec<LabelPair>, count: u64, sum: u64) -> Metric {
    let mut summary = Summary::default();
    summary.set_sample_count(count);
    summary.set_sample_sum(sum as f64);
    let mut metric = Metric::from_label(labels);
    metric.set_summary(summary);
    metric
}

pub(super) fn family(name: &str, kind: MetricType, help: &str, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

pub(super) fn labels(labels: &Labels, with_status: bool) -> Vec<LabelPair> {
    let Labels {
        service,
        port,
        handler,
        method,
        status,
    } = labels;
    let mut pairs = vec![
        pair("service", service),
        // A server on a unix socket has none.
        pair(
            "port",
            if *port == 0 {
                "unix".to_owned()
            } else {
                port.to_string()
            },
        ),
        pair("method", *method),
        pair("handler", handler),
    ];
    if with_status {
        pairs.push(pair("status", status.to_string()));
    }
    pairs
}

// === impl Families ===

impl Families {
    /// The families of a Vigie with these latency bounds, in seconds, and these probes.
    pub fn new(bounds: &[f64], probes: &[Probe]) -> Self {
        Self {
            bounds: bounds.to_vec(),
            probes: probes
                .iter()
                .map(|probe| (probe.name, probe.hook, probe.error.is_none()))
                .collect(),
            process: ProcessCollector::for_self(),
        }
    }

    /// All families with a value, by name.
    pub fn collect(&self, snapshot: &Snapshot) -> Vec<MetricFamily> {
        let mut families = self.requests(snapshot);
        families.extend(phases::families(snapshot));
        families.extend(services(snapshot));
        families.extend(super::usage::families(&snapshot.usage));
        families.extend(self.own(snapshot));
        families.extend(self.process.collect());
        families.retain(|family| !family.get_metric().is_empty());
        families.sort_by(|a, b| a.name().cmp(b.name()));
        families
    }

    fn requests(&self, snapshot: &Snapshot) -> Vec<MetricFamily> {
        let (mut total, mut duration, mut aborted) = (Vec::new(), Vec::new(), Vec::new());
        let (mut received, mut sent) = (Vec::new(), Vec::new());
        for (key, value) in &snapshot.requests {
            let SeriesValue {
                buckets,
                phases,
                request_bytes,
                response_bytes,
            } = value;
            let count: u64 = buckets.iter().sum();
            if key.status == STATUS_ABORTED {
                aborted.push(counter(labels(key, false), count as f64));
                continue;
            }
            // The kernel side counts above the last bound wherever no bound is in use.
            let used = self.bounds.len();
            let mut counts = buckets[..used].to_vec();
            counts.push(buckets[used..].iter().sum());
            total.push(counter(labels(key, true), count as f64));
            if !snapshot.is_long_lived(key) {
                duration.push(histogram(
                    labels(key, true),
                    self.bounds.iter().copied(),
                    &counts,
                    phases.duration(),
                ));
            }
            received.push(summary(labels(key, true), count, *request_bytes));
            sent.push(summary(labels(key, true), count, *response_bytes));
        }
        vec![
            family(
                "http_requests_total",
                MetricType::COUNTER,
                "Requests that were answered.",
                total,
            ),
            family(
                "http_request_duration_seconds",
                MetricType::HISTOGRAM,
                "Time from the moment a request's first byte was readable in the socket to the moment the kernel had taken the last byte of its response.",
                duration,
            ),
            family(
                "http_requests_aborted_total",
                MetricType::COUNTER,
                "Requests whose connection was closed before they were answered.",
                aborted,
            ),
            family(
                "http_request_size_bytes",
                MetricType::SUMMARY,
                "Bytes that the service read for a request, head included.",
                received,
            ),
            family(
                "http_response_size_bytes",
                MetricType::SUMMARY,
                "Bytes that the service wrote in answer to a request, head included.",
                sent,
            ),
        ]
    }

    fn own(&self, snapshot: &Snapshot) -> Vec<MetricFamily> {
        let probes = self
            .probes
            .iter()
            .map(|(probe, hook, attached)| {
                gauge(
                    vec![pair("probe", *probe), pair("hook", *hook)],
                    f64::from(u8::from(*attached)),
                )
            })
            .collect();
        let lost = snapshot
            .lost
            .iter()
            .map(|(reason, count)| counter(vec![pair("reason", *reason)], *count as f64))
            .collect();
        let events = &snapshot.events;
        let kinds = [
            ("process", events.process),
            ("listen", events.listen),
            ("path", events.path),
            ("request", events.request),
            ("unknown", events.unknown),
        ];
        let events = kinds
            .map(|(kind, count)| counter(vec![pair("kind", kind)], count as f64))
            .into();
        let build = vec![
            pair("version", env!("CARGO_PKG_VERSION")),
            pair("arch", std::env::consts::ARCH),
        ];
        vec![
            family(
                "vigie_build_info",
                MetricType::GAUGE,
                "Always 1; the labels say what this Vigie is.",
                vec![gauge(build, 1.0)],
            ),
            family(
                "vigie_probe_attached",
                MetricType::GAUGE,
                "Whether a probe is attached to its hook in the kernel.",
                probes,
            ),
            family(
                "vigie_lost_total",
                MetricType::COUNTER,
                "What could not be seen, matched or kept, by reason.",
                lost,
            ),
            family(
                "vigie_events_total",
                MetricType::COUNTER,
                "Records that came from the kernel one by one because it did not know a process, a path or a series.",
                events,
            ),
            family(
                "vigie_series",
                MetricType::GAUGE,
                "Request series that the kernel keeps.",
                vec![gauge(vec![], snapshot.series as f64)],
            ),
        ]
    }
}

fn services(snapshot: &Snapshot) -> Vec<MetricFamily> {
    let (mut received, mut sent) = (Vec::new(), Vec::new());
    for (name, value) in &snapshot.exchanged {
        received.push(counter(vec![pair("service", name)], value.received as f64));
        sent.push(counter(vec![pair("service", name)], value.sent as f64));
    }
    let (mut cpu, mut wait, mut switches) = (Vec::new(), Vec::new(), Vec::new());
    for (name, value) in &snapshot.sched {
        let SchedValue {
            cpu: on_cpu,
            wait: waited,
            voluntary,
            involuntary,
            buckets,
        } = value;
        let service = || pair("service", name);
        cpu.push(counter(vec![service()], *on_cpu as f64 / NANOSECONDS));
        let bounds = WAIT_BOUNDS_NS.iter().map(|bound| *bound as f64 / NANOSECONDS);
        wait.push(histogram(vec![service()], bounds, buckets, *waited));
        for (kind, count) in [("voluntary", voluntary), ("involuntary", involuntary)] {
            switches.push(counter(vec![service(), pair("type", kind)], *count as f64));
        }
    }
    let runnable = snapshot.runnable.iter().flatten();
    let runnable = runnable
        .map(|(cpu, count)| gauge(vec![pair("cpu", cpu.to_string())], f64::from(*count)))
        .collect();
    vec![
        family(
            "service_cpu_seconds_total",
            MetricType::COUNTER,
            "CPU time of a service's threads, since Vigie knows the service, up to each thread's last context switch.",
            cpu,
        ),
        family(
            "service_runqueue_wait_seconds",
            MetricType::HISTOGRAM,
            "Time that a service's threads were runnable and waited for a CPU, each time before they got one. Includes throttling by a CPU quota.",
            wait,
        ),
        family(
            "service_network_receive_bytes_total",
            MetricType::COUNTER,
            "Bytes that a service has read from its clients, whatever the protocol was after the first request.",
            received,
        ),
        family(
            "service_network_transmit_bytes_total",
            MetricType::COUNTER,
            "Bytes that a service has written to its clients, whatever the protocol was after the first request.",
            sent,
        ),
        family(
            "service_context_switches_total",
            MetricType::COUNTER,
            "Times that a service's threads left a CPU: voluntary, because they had to wait, or involuntary, because they were preempted.",
            switches,
        ),
        family(
            "vigie_host_runqueue_length",
            MetricType::GAUGE,
            "Threads that run on a CPU or wait for it at the moment of the scrape, Vigie's own left out.",
            runnable,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::observe::{ledger::Events, usage::UsageSnapshot};

    fn labels(service: &str, handler: &str, status: u16) -> Labels {
        Labels {
            service: service.to_owned(),
            port: 80,
            handler: handler.to_owned(),
            method: "GET",
            status,
        }
    }

    fn handlers(families: &[MetricFamily], name: &str) -> Vec<String> {
        let family = families.iter().find(|family| family.name() == name).unwrap();
        let handler = |metric: &Metric| {
            let pairs = metric.get_label().iter();
            let values = pairs.filter(|pair| ["service", "handler"].contains(&pair.name()));
            values.map(LabelPair::value).collect::<Vec<_>>().join(" ")
        };
        family.get_metric().iter().map(handler).collect()
    }

    /// A long-lived handler leaves the histogram, and nothing else; the same path of another service stays.
    #[test]
    fn a_long_lived_handler_has_no_durations() {
        let mut once = SeriesValue::default();
        once.buckets[0] = 1;
        let keys = [("a", "/"), ("a", "/events"), ("b", "/events")];
        let snapshot = Snapshot {
            requests: keys
                .map(|(service, handler)| (labels(service, handler, 200), once))
                .into(),
            long_lived: BTreeMap::from([("a".to_owned(), BTreeSet::from(["/events".to_owned()]))]),
            waits: BTreeMap::new(),
            in_flight: Vec::new(),
            exchanged: Vec::new(),
            unattributed: Vec::new(),
            sched: Vec::new(),
            lost: Vec::new(),
            events: Events::default(),
            runnable: None,
            series: 3,
            usage: UsageSnapshot::default(),
        };
        let families = Families::new(&[0.1], &[]).collect(&snapshot);
        assert_eq!(
            handlers(&families, "http_request_duration_seconds"),
            ["a /", "b /events"]
        );
        for name in [
            "http_requests_total",
            "http_request_size_bytes",
            "http_response_size_bytes",
        ] {
            assert_eq!(handlers(&families, name), ["a /", "a /events", "b /events"], "{name}");
        }
    }
}
