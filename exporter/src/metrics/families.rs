//! The metric families, each with its name, its help, and where its values come from.

use std::rc::Rc;

use prometheus::{core::Collector, process_collector::ProcessCollector};
use vigie_ebpf::types::{SchedValue, SeriesValue, WAIT_BOUNDS_NS};

use super::{
    model::{
        Bounds, Family, Kind, NativeHistogram, Value, counter, family, from_crate, gauge, histogram, pair, summary,
    },
    phases,
    profile::{self, Latency},
    routes::{Answered, Route, routes},
};
use crate::{config::Profile, kernel::load::Probe, observe::ledger::Snapshot};

pub(super) const NANOSECONDS: f64 = 1e9;

/// What the families are made from, beside the snapshot.
#[derive(Debug)]
pub struct Families {
    /// The bounds of the latency histogram, in seconds.
    bounds: Rc<Bounds>,
    /// How many these are, without the infinite one.
    used: usize,
    /// The same for other profiles than Vigie's.
    latency: Latency,
    /// The probes, which do not change while Vigie runs: their name, hook, and whether they are attached.
    probes: Vec<(&'static str, &'static str, bool)>,
    /// Vigie's own process.
    process: ProcessCollector,
}

// === impl Families ===

impl Families {
    /// The families of a Vigie with these latency bounds, in seconds, and these probes.
    pub fn new(bounds: &[f64], probes: &[Probe]) -> Self {
        Self {
            bounds: Bounds::new(bounds.iter().copied()),
            used: bounds.len(),
            latency: Latency::new(bounds),
            probes: probes
                .iter()
                .map(|probe| (probe.name, probe.hook, probe.error.is_none()))
                .collect(),
            process: ProcessCollector::for_self(),
        }
    }

    /// All families with a value, by name; those of the requests as a profile has them.
    pub fn collect<'a>(&self, snapshot: &'a Snapshot, profile: Profile) -> Vec<Family<'a>> {
        let routes = routes(snapshot);
        let mut families = match profile {
            Profile::Vigie => self.requests(&routes),
            other => profile::families(other, snapshot, &self.latency),
        };
        families.push(aborted(&routes));
        families.extend(phases::families(&routes, snapshot));
        families.extend(services(snapshot));
        families.extend(super::usage::families(&snapshot.usage));
        families.extend(self.own(snapshot));
        families.extend(self.process.collect().iter().filter_map(from_crate));
        families.retain(|family| !family.metrics.is_empty());
        families.sort_by(|a, b| a.name.cmp(&b.name));
        families
    }

    fn requests<'a>(&self, routes: &[Route<'a>]) -> Vec<Family<'a>> {
        let series = routes.iter().map(|route| route.answered.len()).sum();
        let [mut total, mut duration, mut received, mut sent] = [(); 4].map(|()| Vec::with_capacity(series));
        for route in routes {
            for Answered {
                status,
                value,
                streams,
                native,
                exemplars,
            } in &route.answered
            {
                let labels = route.with_status(*status);
                // The kernel side counts above the last bound wherever no bound is in use.
                let (below, above) = value.buckets.split_at(self.used);
                let mut counts: Vec<u64> = below.iter().copied().chain([above.iter().sum()]).collect();
                let count = counts.iter().sum();
                total.push(counter(labels.clone(), count as f64));
                received.push(summary(labels.clone(), count, value.request_bytes));
                sent.push(summary(labels.clone(), count, value.response_bytes));
                if !route.is_long_lived && count != *streams {
                    counts[0] -= streams;
                    let sum = value.phases.duration() as f64 / NANOSECONDS;
                    let mut metric = histogram(labels, &self.bounds, counts, sum);
                    if let Value::Histogram(histogram) = &mut metric.value {
                        histogram.native = native.map(NativeHistogram::new);
                        histogram.exemplars = exemplars.to_vec();
                    }
                    duration.push(metric);
                }
            }
        }
        vec![
            family(
                "http_requests_total",
                Kind::Counter,
                "Requests that were answered.",
                total,
            ),
            family(
                "http_request_duration_seconds",
                Kind::Histogram,
                "Time from the moment a request's first byte was readable in the socket to the moment the kernel had taken the last byte of its response.",
                duration,
            ),
            family(
                "http_request_size_bytes",
                Kind::Summary,
                "Bytes that the service read for a request, head included.",
                received,
            ),
            family(
                "http_response_size_bytes",
                Kind::Summary,
                "Bytes that the service wrote in answer to a request, head included.",
                sent,
            ),
        ]
    }

    fn own<'a>(&self, snapshot: &'a Snapshot) -> Vec<Family<'a>> {
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
                Kind::Gauge,
                "Always 1; the labels say what this Vigie is.",
                vec![gauge(build, 1.0)],
            ),
            family(
                "vigie_probe_attached",
                Kind::Gauge,
                "Whether a probe is attached to its hook in the kernel.",
                probes,
            ),
            family(
                "vigie_lost_total",
                Kind::Counter,
                "What could not be seen, matched or kept, by reason.",
                lost,
            ),
            family(
                "vigie_events_total",
                Kind::Counter,
                "Records that came from the kernel one by one because it did not know a process, a path or a series.",
                events,
            ),
            family(
                "vigie_series",
                Kind::Gauge,
                "Request series that the kernel keeps.",
                vec![gauge(vec![], snapshot.series as f64)],
            ),
        ]
    }
}

/// Requests that were not answered: no profile has a family for them.
fn aborted<'a>(routes: &[Route<'a>]) -> Family<'a> {
    let count = |value: &SeriesValue| value.buckets.iter().sum::<u64>() as f64;
    let aborted = routes
        .iter()
        .filter_map(|route| Some(counter(route.labels.clone(), count(route.aborted?))));
    family(
        "http_requests_aborted_total",
        Kind::Counter,
        "Requests whose connection was closed before they were answered.",
        aborted.collect(),
    )
}

fn services(snapshot: &Snapshot) -> Vec<Family<'_>> {
    let (mut received, mut sent) = (Vec::new(), Vec::new());
    for (name, value) in &snapshot.exchanged {
        received.push(counter(vec![pair("service", &**name)], value.received as f64));
        sent.push(counter(vec![pair("service", &**name)], value.sent as f64));
    }
    let bounds = Bounds::new(WAIT_BOUNDS_NS.iter().map(|bound| *bound as f64 / NANOSECONDS));
    let (mut cpu, mut wait, mut switches) = (Vec::new(), Vec::new(), Vec::new());
    for (name, value) in &snapshot.sched {
        let SchedValue {
            cpu: on_cpu,
            wait: waited,
            voluntary,
            involuntary,
            buckets,
        } = value;
        let service = || pair("service", &**name);
        cpu.push(counter(vec![service()], *on_cpu as f64 / NANOSECONDS));
        let sum = *waited as f64 / NANOSECONDS;
        wait.push(histogram(vec![service()], &bounds, *buckets, sum));
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
            Kind::Counter,
            "CPU time of a service's threads, since Vigie knows the service, up to each thread's last context switch.",
            cpu,
        ),
        family(
            "service_runqueue_wait_seconds",
            Kind::Histogram,
            "Time that a service's threads were runnable and waited for a CPU, each time before they got one. Includes throttling by a CPU quota.",
            wait,
        ),
        family(
            "service_network_receive_bytes_total",
            Kind::Counter,
            "Bytes that a service has read from its clients, whatever the protocol was after the first request.",
            received,
        ),
        family(
            "service_network_transmit_bytes_total",
            Kind::Counter,
            "Bytes that a service has written to its clients, whatever the protocol was after the first request.",
            sent,
        ),
        family(
            "service_context_switches_total",
            Kind::Counter,
            "Times that a service's threads left a CPU: voluntary, because they had to wait, or involuntary, because they were preempted.",
            switches,
        ),
        family(
            "vigie_host_runqueue_length",
            Kind::Gauge,
            "Threads that run on a CPU or wait for it at the moment of the scrape, Vigie's own left out.",
            runnable,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use vigie_ebpf::types::SeriesValue;

    use super::*;
    use crate::{
        metrics::model::Metric,
        observe::{
            ledger::{ByLabels, Events, Labels},
            usage::UsageSnapshot,
        },
    };

    fn labels(service: &str, handler: &str, status: u16) -> Labels {
        Labels {
            service: service.into(),
            port: 80,
            handler: handler.into(),
            method: "GET",
            status,
        }
    }

    fn handlers(families: &[Family<'_>], name: &str) -> Vec<String> {
        let family = families.iter().find(|family| family.name == name).unwrap();
        let handler = |metric: &Metric<'_>| {
            let pairs = metric.labels.pairs();
            let values = pairs.filter(|(name, _)| ["service", "handler"].contains(name));
            values.map(|(_, value)| &**value).collect::<Vec<_>>().join(" ")
        };
        family.metrics.iter().map(handler).collect()
    }

    fn snapshot(requests: Vec<(Labels, SeriesValue)>, streams: Vec<(Labels, u64)>) -> Snapshot {
        Snapshot {
            series: requests.len(),
            requests: ByLabels::new(requests, |_, _| unreachable!()),
            streams: ByLabels::new(streams, |_, _| unreachable!()),
            long_lived: BTreeMap::new(),
            native: ByLabels::default(),
            exemplars: ByLabels::default(),
            waits: ByLabels::default(),
            in_flight: Vec::new(),
            exchanged: Vec::new(),
            unattributed: Vec::new(),
            sched: Vec::new(),
            lost: Vec::new(),
            events: Events::default(),
            runnable: None,
            usage: UsageSnapshot::default(),
        }
    }

    /// The numbers of a family's metrics: counters, and how many requests histograms and summaries have.
    fn numbers(families: &[Family<'_>], name: &str) -> Vec<u64> {
        let family = families.iter().find(|family| family.name == name).unwrap();
        let number = |metric: &Metric<'_>| match &metric.value {
            Value::Number(number) => *number as u64,
            Value::Histogram(histogram) => histogram.counts.iter().sum(),
            Value::Summary { count, .. } => *count,
        };
        family.metrics.iter().map(number).collect()
    }

    /// Streams are counted with the others of their labels, and are in no histogram, in whatever profile.
    #[test]
    fn streams_have_no_durations() {
        let [mut five, mut two] = [SeriesValue::default(); 2];
        (five.buckets[0], five.buckets[1], two.buckets[0]) = (4, 1, 2);
        let [mixed, only] = [labels("a", "/", 200), labels("a", "/events", 200)];
        let snapshot = snapshot(
            vec![(mixed.clone(), five), (only.clone(), two)],
            vec![(mixed, 3), (only, 2)],
        );
        let collect = |profile| Families::new(&[0.1, 0.5, 1.0], &[]).collect(&snapshot, profile);
        let families = collect(Profile::Vigie);
        for name in [
            "http_requests_total",
            "http_request_size_bytes",
            "http_response_size_bytes",
        ] {
            assert_eq!(numbers(&families, name), [5, 2], "{name}");
        }
        for name in [
            "http_request_duration_seconds",
            "http_request_queue_seconds",
            "http_request_runqueue_seconds",
        ] {
            assert_eq!(handlers(&families, name), ["a /"], "{name}");
        }
        assert_eq!(numbers(&families, "http_request_duration_seconds"), [2]);
        let families = collect(Profile::Fastapi);
        assert_eq!(numbers(&families, "http_requests_total"), [5, 2]);
        assert_eq!(numbers(&families, "http_request_duration_seconds"), [2]);
        assert_eq!(numbers(&families, "http_request_duration_highr_seconds"), [2]);
        let families = collect(Profile::Express);
        assert_eq!(numbers(&families, "http_request_duration_seconds"), [2]);
        let families = collect(Profile::Otel);
        assert_eq!(numbers(&families, "http_server_request_duration_seconds"), [2]);
    }

    /// A long-lived handler leaves the histogram, and nothing else; the same path of another service stays.
    #[test]
    fn a_long_lived_handler_has_no_durations() {
        let mut once = SeriesValue::default();
        once.buckets[0] = 1;
        let keys = [("a", "/"), ("a", "/events"), ("b", "/events")];
        let requests = keys.map(|(service, handler)| (labels(service, handler, 200), once));
        let snapshot = Snapshot {
            long_lived: BTreeMap::from([("a".to_owned(), BTreeSet::from(["/events".to_owned()]))]),
            ..snapshot(requests.into(), Vec::new())
        };
        let families = Families::new(&[0.1], &[]).collect(&snapshot, Profile::Vigie);
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
