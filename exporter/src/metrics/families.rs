//! The metric families, each with its name, its help, and where its values come from.

use std::rc::Rc;

use prometheus::{core::Collector, process_collector::ProcessCollector};
use vigie_ebpf::types::{SchedValue, WAIT_BOUNDS_NS};

use super::{
    labels::{identity, identity_and},
    model::{
        Bounds, Family, Kind, NativeHistogram, Value, counter, family, from_crate, gauge, histogram, pair, summary,
    },
    phases,
    profile::{self, Latency},
    routes::{Answered, Route, Shown, port, routes},
    services,
};
use crate::{
    config::Profile,
    kernel::load::Probe,
    observe::{
        ledger::{NotHttp, Snapshot},
        services::Dropped,
    },
    privileges::{self, CAPABILITIES},
};

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
    /// The capabilities at start, and whether they are there.
    capabilities: Vec<(&'static str, bool)>,
    /// Vigie's own process.
    process: ProcessCollector,
}

// === impl Families ===

impl Families {
    /// The families of a Vigie with these latency bounds, in seconds, and these probes.
    pub fn new(bounds: &[f64], probes: &[Probe]) -> Self {
        let effective = privileges::effective();
        Self {
            bounds: Bounds::new(bounds.iter().copied()),
            used: bounds.len(),
            latency: Latency::new(bounds),
            probes: probes
                .iter()
                .map(|probe| (probe.name, probe.hook, probe.error.is_none()))
                .collect(),
            capabilities: CAPABILITIES
                .iter()
                .map(|capability| (capability.name, capability.is_in(effective)))
                .collect(),
            process: ProcessCollector::for_self(),
        }
    }

    /// All families with a value, by name; those of the requests as a profile has them. For a scraper that was here before, series that
    /// are younger than what it was shown then have the value 0: see [`super::scrapers`].
    pub fn collect<'a>(&self, snapshot: &'a Snapshot, profile: Profile, shown: Shown) -> Vec<Family<'a>> {
        let routes = routes(snapshot, shown);
        let mut families = match profile {
            Profile::Vigie => self.requests(&routes),
            other => profile::families(other, snapshot, &self.latency, shown),
        };
        families.push(aborted(&routes));
        families.extend(phases::families(&routes, snapshot, shown));
        families.extend(services::families(snapshot, &self.latency, shown));
        families.extend(of_services(snapshot));
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
                is_timed,
                native,
                exemplars,
                created,
            } in &route.answered
            {
                let labels = route.with_status(*status);
                // The kernel side counts above the last bound wherever no bound is in use.
                let (below, above) = value.buckets.split_at(self.used);
                let mut counts: Vec<u64> = below.iter().copied().chain([above.iter().sum()]).collect();
                let count = counts.iter().sum();
                total.push(counter(labels.clone(), count as f64).created(*created));
                received.push(summary(labels.clone(), count, value.request_bytes).created(*created));
                sent.push(summary(labels.clone(), count, value.response_bytes).created(*created));
                if !route.is_long_lived && *is_timed {
                    counts[0] -= streams;
                    let sum = value.phases.duration() as f64 / NANOSECONDS;
                    let mut metric = histogram(labels, &self.bounds, counts, sum).created(*created);
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
        let capabilities = self.capabilities.iter();
        let capabilities = capabilities
            .map(|(name, has)| gauge(vec![pair("name", *name)], f64::from(u8::from(*has))))
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
        let Dropped {
            ended,
            silent,
            nameless,
        } = snapshot.dropped;
        let dropped = [("ended", ended), ("silent", silent), ("nameless", nameless)]
            .map(|(reason, count)| counter(vec![pair("reason", reason)], count as f64))
            .into();
        let folded = snapshot.folded.iter();
        let folded = folded
            .map(|(reason, count)| counter(vec![pair("reason", *reason)], *count as f64))
            .collect();
        let build = vec![
            pair("version", env!("CARGO_PKG_VERSION")),
            pair("arch", std::env::consts::ARCH),
        ];
        let not_http = snapshot.not_http.iter();
        let not_http = not_http
            .map(
                |(
                    NotHttp {
                        service,
                        port: at,
                        looks,
                    },
                    count,
                )| {
                    let at = at.map(port).unwrap_or_default();
                    let mut labels = identity_and(service, pair("port", at));
                    labels.push(pair("looks_like", *looks));
                    counter(labels, *count as f64)
                },
            )
            .collect();
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
                "vigie_capability",
                Kind::Gauge,
                "Whether Vigie has had a capability that it needs when it started.",
                capabilities,
            ),
            family(
                "vigie_lost_total",
                Kind::Counter,
                "What could not be seen, matched or kept, by reason.",
                lost,
            ),
            family(
                "vigie_not_http_connections_total",
                Kind::Counter,
                "Connections of services that carried no HTTP/1, by what their first bytes look like.",
                not_http,
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
            family(
                "vigie_series_limit",
                Kind::Gauge,
                "Request series that there is room for, on as many CPUs as this host can have.",
                vec![gauge(vec![], snapshot.room.0 as f64)],
            ),
            family(
                "vigie_series_refused_total",
                Kind::Counter,
                "Request series that there was no room for: their requests are counted under handler=\"other\".",
                vec![counter(vec![], snapshot.room.1 as f64)],
            ),
            family(
                "vigie_routes_folded_total",
                Kind::Counter,
                "Routes that were folded into others, and paths that found no room, by reason.",
                folded,
            ),
            family(
                "vigie_services_dropped_total",
                Kind::Counter,
                "Services that lost their series before the retention was over, or found no place, because there were too many.",
                dropped,
            ),
        ]
    }
}

/// Requests that were not answered: no profile has a family for them.
fn aborted<'a>(routes: &[Route<'a>]) -> Family<'a> {
    let aborted = routes.iter().filter_map(|route| {
        let aborted = route.aborted?;
        Some(counter(route.labels.clone(), aborted.count as f64).created(aborted.created))
    });
    family(
        "http_requests_aborted_total",
        Kind::Counter,
        "Requests whose connection was closed before they were answered.",
        aborted.collect(),
    )
}

fn of_services(snapshot: &Snapshot) -> Vec<Family<'_>> {
    let (mut received, mut sent) = (Vec::new(), Vec::new());
    for (name, value) in &snapshot.exchanged {
        received.push(counter(identity(name), value.received as f64));
        sent.push(counter(identity(name), value.sent as f64));
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
        cpu.push(counter(identity(name), *on_cpu as f64 / NANOSECONDS));
        let sum = *waited as f64 / NANOSECONDS;
        wait.push(histogram(identity(name), &bounds, *buckets, sum));
        for (kind, count) in [("voluntary", voluntary), ("involuntary", involuntary)] {
            switches.push(counter(identity_and(name, pair("type", kind)), *count as f64));
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
            identity::Identity,
            ledger::{ByLabels, Events, Labels, Series, Totals},
            traced::WallClock,
            usage::UsageSnapshot,
        },
    };

    fn labels(service: &str, handler: &str, status: u16) -> Labels {
        Labels {
            identity: Rc::new(Identity::of(service)),
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

    fn snapshot(requests: Vec<(Labels, Series)>, totals: Totals) -> Snapshot {
        Snapshot {
            taken: 0,
            clock: WallClock::now(),
            requests: ByLabels::new(requests, Series::add),
            totals: vec![(Rc::new(Identity::of("a")), totals)],
            long_lived: BTreeMap::from([("a".to_owned(), BTreeSet::from(["/events".to_owned()]))]),
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
            series: 3,
            folded: Vec::new(),
            room: (0, 0),
            dropped: Dropped::default(),
            usage: UsageSnapshot::default(),
        }
    }

    /// A request that took a second.
    fn request(born: u64) -> Series {
        let mut value = SeriesValue {
            request_bytes: 10,
            response_bytes: 20,
            ..SeriesValue::default()
        };
        value.buckets[0] = 1;
        value.phases.cpu = 1_000_000_000;
        Series {
            value,
            streams: 0,
            born,
        }
    }

    /// The samples of a family in text, by labels.
    fn samples(families: &[Family<'_>], name: &str) -> Vec<String> {
        let family = families.iter().find(|family| family.name == name).unwrap();
        let text = crate::metrics::text::encode(std::slice::from_ref(family));
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    }

    /// Streams are counted with the others of their labels, and are in no histogram, in whatever profile.
    #[test]
    fn streams_have_no_durations() {
        let series = |durations: [u64; 2], streams| {
            let mut value = SeriesValue::default();
            value.buckets[..2].copy_from_slice(&durations);
            Series {
                value,
                streams,
                born: 0,
            }
        };
        let requests = vec![
            (labels("a", "/", 200), series([4, 1], 3)),
            (labels("a", "/feed", 200), series([2, 0], 2)),
        ];
        let snapshot = snapshot(requests, Totals::default());
        let collect = |profile| Families::new(&[0.1, 0.5, 1.0], &[]).collect(&snapshot, profile, None);
        let numbers = |families: &[Family<'_>], name: &str| -> Vec<u64> {
            let family = families.iter().find(|family| family.name == name).unwrap();
            let number = |metric: &Metric<'_>| match &metric.value {
                Value::Number(number) => *number as u64,
                Value::Histogram(histogram) => histogram.counts.iter().sum(),
                Value::Summary { count, .. } => *count,
            };
            family.metrics.iter().map(number).collect()
        };
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
        let keys = [("a", "/"), ("a", "/events"), ("b", "/events")];
        let requests = keys.map(|(service, handler)| (labels(service, handler, 200), request(0)));
        let snapshot = snapshot(requests.into(), Totals::default());
        let families = Families::new(&[0.1], &[]).collect(&snapshot, Profile::Vigie, None);
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

    /// Everything of a series that a scraper has not seen begins at 0, in all families; the rest is true.
    #[test]
    fn new_series_begin_at_0() {
        let requests = [
            ("/old", 200, 5),
            ("/old", 500, 7),
            ("/new", 200, 7),
            ("/gone", 0, 5),
            ("/new", 0, 7),
        ];
        let requests = requests.map(|(handler, status, born)| (labels("a", handler, status), request(born)));
        let snapshot = snapshot(requests.into(), Totals::default());
        let families = |shown| Families::new(&[0.1], &[]).collect(&snapshot, Profile::Vigie, shown);
        let values = |families: &[Family<'_>], name: &str, suffix: &str| -> Vec<String> {
            let samples = samples(families, name).into_iter();
            let samples = samples.filter(|line| line.starts_with(&format!("{name}{suffix}{{")));
            samples
                .map(|line| line.rsplit_once(' ').unwrap().1.to_owned())
                .collect()
        };
        // In the order of the labels: /new 200, /old 200, /old 500.
        for (name, suffix, value) in [
            ("http_requests_total", "", "1"),
            ("http_request_duration_seconds", "_count", "1"),
            ("http_request_duration_seconds", "_sum", "1"),
            ("http_request_size_bytes", "_count", "1"),
            ("http_request_size_bytes", "_sum", "10"),
            ("http_response_size_bytes", "_sum", "20"),
        ] {
            assert_eq!(values(&families(None), name, suffix), [value; 3], "{name}");
            assert_eq!(values(&families(Some(7)), name, suffix), [value; 3], "{name}");
            assert_eq!(values(&families(Some(6)), name, suffix), ["0", value, "0"], "{name}");
            assert_eq!(values(&families(Some(4)), name, suffix), ["0"; 3], "{name}");
        }
        // /gone and /new.
        let aborted = |shown| values(&families(shown), "http_requests_aborted_total", "");
        assert_eq!(
            (aborted(None), aborted(Some(6))),
            (vec!["1".to_owned(); 2], vec!["1".to_owned(), "0".to_owned()])
        );
        // By route: /old is not new, so that what is new of it counts at once.
        let queue = |shown| values(&families(shown), "http_request_phase_seconds_total", "");
        let cpu = |shown| {
            queue(shown)
                .into_iter()
                .filter(|value| value != "0")
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (cpu(None), cpu(Some(6)), cpu(Some(4))),
            (vec!["1".to_owned(), "2".to_owned()], vec!["2".to_owned()], vec![])
        );
    }

    /// Two keys can have the same labels, as those of `other`: the series is as old as the older one.
    #[test]
    fn a_series_is_as_old_as_its_oldest_part() {
        let parts = [7, 5].map(|born| (labels("a", "other", 200), request(born)));
        let snapshot = snapshot(parts.into(), Totals::default());
        let total = |shown| {
            samples(
                &Families::new(&[0.1], &[]).collect(&snapshot, Profile::Vigie, shown),
                "http_requests_total",
            )
        };
        let line = |count| {
            vec![format!(
                "http_requests_total{{service=\"a\",port=\"80\",method=\"GET\",handler=\"other\",status=\"200\"}} {count}"
            )]
        };
        for (shown, count) in [(None, 2), (Some(6), 2), (Some(5), 2), (Some(4), 0)] {
            assert_eq!(total(shown), line(count), "{shown:?}");
        }
    }

    /// A service has all its classes and its histogram before its first request, whatever the profile.
    #[test]
    fn a_service_has_its_families_from_the_beginning() {
        for profile in [Profile::Vigie, Profile::Fastapi, Profile::Express, Profile::Otel] {
            let lines = |totals: &Totals, name: &str, shown| {
                let snapshot = snapshot(Vec::new(), *totals);
                samples(&Families::new(&[0.1], &[]).collect(&snapshot, profile, shown), name)
            };
            let mut totals = Totals {
                born: 5,
                ..Totals::default()
            };
            let name = "service_http_requests_total";
            let expected = |count: u64| {
                ["1xx", "2xx", "3xx", "4xx", "5xx", "aborted"].map(|class| {
                    let count = if class == "5xx" { count } else { 0 };
                    format!("service_http_requests_total{{service=\"a\",class=\"{class}\"}} {count}")
                })
            };
            assert_eq!(lines(&totals, name, None), expected(0));
            totals.add(&request(0).value, 500, false);
            for (shown, count) in [(None, 1), (Some(5), 1), (Some(4), 0)] {
                assert_eq!(lines(&totals, name, shown), expected(count));
                let name = "service_http_request_duration_seconds";
                let bucket = |bound| format!("{name}_bucket{{service=\"a\",le=\"{bound}\"}} {count}");
                let end = |suffix| format!("{name}_{suffix}{{service=\"a\"}} {count}");
                assert_eq!(
                    lines(&totals, name, shown),
                    [bucket("0.1"), bucket("+Inf"), end("sum"), end("count")]
                );
            }
        }
    }

    /// All of a series says the same time of its birth, also while it is shown with 0.
    #[test]
    fn the_birth_is_told() {
        let born = 3_000_000_000;
        let series = [200, 0].map(|status| (labels("a", "/", status), request(born)));
        let snapshot = snapshot(series.into(), Totals::born(born));
        let expected = snapshot.clock.seconds_at(born);
        for profile in [Profile::Vigie, Profile::Fastapi, Profile::Express, Profile::Otel] {
            for shown in [None, Some(1)] {
                let families = Families::new(&[0.1], &[]).collect(&snapshot, profile, shown);
                let of_requests = |family: &&Family<'_>| {
                    let name = &*family.name;
                    (name.starts_with("http_") || name.starts_with("service_http_")) && family.kind != Kind::Gauge
                };
                let mut count = 0;
                for family in families.iter().filter(of_requests) {
                    count += 1;
                    for metric in &family.metrics {
                        assert_eq!(metric.created, Some(expected), "{}", family.name);
                    }
                }
                assert!(count >= 7, "{count}");
            }
        }
    }
}
