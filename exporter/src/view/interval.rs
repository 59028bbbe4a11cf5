//! What happened between two scrapes.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    time::SystemTime,
};

use super::{
    histogram::Histogram,
    sample,
    scrape::Scrape,
    work::{Route, Work},
};

/// What happened from one scrape to the next, and how things are at its end.
#[derive(Clone, Debug)]
pub struct Interval {
    /// When it ended.
    pub end: SystemTime,
    /// How long it was.
    pub seconds: f64,
    /// Requests, of each route that has ever had one.
    pub routes: BTreeMap<Route, Work>,
    /// Services by name, idle ones too.
    pub services: BTreeMap<String, Service>,
    /// The host.
    pub host: Host,
    /// What Vigie could not see, match or keep, by reason.
    pub lost: BTreeMap<String, f64>,
    /// Vigie has started anew within it: it counts from then on.
    pub is_restart: bool,
}

/// A service beside its requests. What Vigie does not say is `None`, or not there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Service {
    /// Requests that have begun and not ended.
    pub in_flight: Option<f64>,
    /// Seconds on CPUs in the interval.
    pub cpu: Option<f64>,
    /// Waits for a CPU in the interval.
    pub wait: Option<Histogram>,
    /// Seconds that a CPU quota stopped it in the interval.
    pub throttled: Option<f64>,
    /// Threads.
    pub threads: Option<f64>,
    /// Bytes of resident memory.
    pub memory: Option<f64>,
    /// Connections that are open.
    pub connections: Option<f64>,
    /// By port.
    pub ports: BTreeMap<String, Port>,
}

/// A port that a service listens on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Port {
    /// Whether it still does.
    pub is_listening: Option<bool>,
    /// Connections that wait to be accepted.
    pub backlog: Option<f64>,
    /// How many may.
    pub limit: Option<f64>,
    /// Connections that found no place in the interval.
    pub overflows: Option<f64>,
}

/// The host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    /// Seconds by mode in the interval, for each CPU.
    pub cpus: BTreeMap<u32, BTreeMap<String, f64>>,
    /// Threads that run or wait, by CPU.
    pub run_queues: BTreeMap<u32, f64>,
}

/// How a series becomes a number of the interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Vigie counts it, from 0 at its own start or from when it was first seen.
    Counted,
    /// The kernel counts it, from whenever: without an earlier value there is no difference.
    Kernels,
    /// It is as it is.
    Gauge,
}

fn kind(name: &str) -> Kind {
    match name {
        "service_cpu_throttled_seconds_total" | "service_listen_overflows_total" | "vigie_host_cpu_seconds_total" => {
            Kind::Kernels
        }
        _ if ["_total", "_bucket", "_sum", "_count"]
            .iter()
            .any(|end| name.ends_with(end)) =>
        {
            Kind::Counted
        }
        _ => Kind::Gauge,
    }
}

fn add(sum: &mut Option<f64>, value: f64) {
    *sum = Some(sum.unwrap_or(0.0) + value);
}

// === impl Interval ===

impl Interval {
    /// What happened between two scrapes.
    pub fn between(before: &Scrape, after: &Scrape) -> Self {
        let earlier: HashMap<&str, f64> = before
            .samples
            .iter()
            .map(|(series, value)| (series.as_str(), *value))
            .collect();
        let is_restart = before.started != after.started || has_fallen(&earlier, after);
        let mut interval = Self {
            end: after.clock,
            // Two scrapes at once are a millisecond apart.
            seconds: after.read.duration_since(before.read).as_secs_f64().max(0.001),
            routes: BTreeMap::new(),
            services: BTreeMap::new(),
            host: Host::default(),
            lost: BTreeMap::new(),
            is_restart,
        };
        for (series, value) in &after.samples {
            let name = sample::name(series);
            let earlier = earlier.get(series.as_str());
            let value = match (kind(name), earlier) {
                (Kind::Gauge, _) => *value,
                (Kind::Counted, Some(earlier)) if !is_restart => (value - earlier).max(0.0),
                (Kind::Counted, _) => *value,
                (Kind::Kernels, Some(earlier)) if value >= earlier => value - earlier,
                // It belongs to something new, as a cgroup.
                (Kind::Kernels, _) => continue,
            };
            interval.take(name, series, value);
        }
        interval
    }

    fn take(&mut self, name: &str, series: &str, value: f64) {
        let labels = Labels::read(series);
        if let Some(what) = name.strip_prefix("http_request") {
            self.take_request(what, &labels, value);
        } else if let Some(what) = name.strip_prefix("service_") {
            self.take_service(what, &labels, value);
        } else if name == "vigie_lost_total" {
            *self.lost.entry(labels.reason.into_owned()).or_default() += value;
        } else if let Ok(cpu) = labels.cpu.parse() {
            match name {
                "vigie_host_cpu_seconds_total" => {
                    self.host
                        .cpus
                        .entry(cpu)
                        .or_default()
                        .insert(labels.mode.into_owned(), value);
                }
                "vigie_host_runqueue_length" => {
                    self.host.run_queues.insert(cpu, value);
                }
                _ => {}
            }
        }
    }

    fn take_request(&mut self, what: &str, labels: &Labels<'_>, value: f64) {
        if what == "s_in_flight" {
            return add(&mut self.service(labels).in_flight, value);
        }
        self.service(labels);
        let work = self.routes.entry(labels.route()).or_default();
        let status = labels.status.parse().unwrap_or(0);
        match what {
            "s_total" => work.answers(status).count += value,
            "_duration_seconds_bucket" => work.answers(status).durations.add_bucket(labels.bound(), value),
            "_duration_seconds_sum" => work.answers(status).durations.sum += value,
            "s_aborted_total" => work.aborted += value,
            "_phase_seconds_total" => work.add_phase(&labels.phase, value),
            "_queue_seconds_bucket" => work.queue.add_bucket(labels.bound(), value),
            "_queue_seconds_sum" => work.queue.sum += value,
            "_runqueue_seconds_bucket" => work.runqueue.add_bucket(labels.bound(), value),
            "_runqueue_seconds_sum" => work.runqueue.sum += value,
            _ => {}
        }
    }

    fn take_service(&mut self, what: &str, labels: &Labels<'_>, value: f64) {
        let service = self.service(labels);
        match what {
            "cpu_seconds_total" => add(&mut service.cpu, value),
            "cpu_throttled_seconds_total" => add(&mut service.throttled, value),
            "threads" => add(&mut service.threads, value),
            "resident_memory_bytes" => add(&mut service.memory, value),
            "connections_open" => add(&mut service.connections, value),
            "runqueue_wait_seconds_bucket" => {
                service.wait.get_or_insert_default().add_bucket(labels.bound(), value);
            }
            "runqueue_wait_seconds_sum" => service.wait.get_or_insert_default().sum += value,
            "listening" => self.port(labels).is_listening = Some(value > 0.0),
            "listen_backlog" => add(&mut self.port(labels).backlog, value),
            "listen_backlog_limit" => add(&mut self.port(labels).limit, value),
            "listen_overflows_total" => add(&mut self.port(labels).overflows, value),
            _ => {}
        }
    }

    fn service(&mut self, labels: &Labels<'_>) -> &mut Service {
        if !self.services.contains_key(labels.service.as_ref()) {
            self.services.insert(labels.service.to_string(), Service::default());
        }
        self.services.entry(labels.service.to_string()).or_default()
    }

    fn port(&mut self, labels: &Labels<'_>) -> &mut Port {
        let port = labels.port.to_string();
        self.service(labels).ports.entry(port).or_default()
    }

    /// The requests of a service.
    pub fn work_of(&self, service: &str) -> Work {
        let routes = self.routes.iter().filter(|(route, _)| route.service == service);
        Work::sum(routes.map(|(_, work)| work))
    }
}

/// Whether a number of requests is lower than it was: then these are the counts of another Vigie.
fn has_fallen(earlier: &HashMap<&str, f64>, after: &Scrape) -> bool {
    after.samples.iter().any(|(series, value)| {
        sample::name(series) == "http_requests_total"
            && earlier.get(series.as_str()).is_some_and(|earlier| value < earlier)
    })
}

// === impl Service ===

impl Service {
    /// Connections that wait on all its ports, and how many may.
    pub fn backlog(&self) -> Option<(f64, Option<f64>)> {
        let mut sum = None;
        let mut limit = None;
        for port in self.ports.values() {
            if let Some(backlog) = port.backlog {
                add(&mut sum, backlog);
                if let Some(value) = port.limit {
                    add(&mut limit, value);
                }
            }
        }
        Some((sum?, limit))
    }

    /// Connections that found no place in any backlog.
    pub fn overflows(&self) -> f64 {
        self.ports.values().filter_map(|port| port.overflows).sum()
    }

    /// The ports it no longer listens on.
    pub fn down(&self) -> Vec<&str> {
        let ports = self.ports.iter();
        let down = ports.filter(|(_, port)| port.is_listening == Some(false));
        down.map(|(name, _)| name.as_str()).collect()
    }
}

// === impl Host ===

impl Host {
    /// The share of all CPUs' time that a set of modes had; `None` if Vigie does not say.
    pub fn share(&self, is_counted: impl Fn(&str) -> bool) -> Option<f64> {
        let modes = || self.cpus.values().flatten();
        let all: f64 = modes().map(|(_, seconds)| seconds).sum();
        let counted: f64 = modes()
            .filter(|(mode, _)| is_counted(mode))
            .map(|(_, seconds)| seconds)
            .sum();
        (all > 0.0).then(|| counted / all)
    }

    /// The share of time in which CPUs did something.
    pub fn busy(&self) -> Option<f64> {
        self.share(|mode| !matches!(mode, "idle" | "iowait"))
    }

    /// The share of time in which another machine had the CPUs.
    pub fn stolen(&self) -> Option<f64> {
        self.share(|mode| mode == "steal")
    }

    /// Threads that run or wait on all CPUs.
    pub fn runnable(&self) -> Option<f64> {
        (!self.run_queues.is_empty()).then(|| self.run_queues.values().sum())
    }
}

/// The labels that are looked at, each empty if it is not there.
#[derive(Debug, Default)]
struct Labels<'a> {
    service: Cow<'a, str>,
    port: Cow<'a, str>,
    handler: Cow<'a, str>,
    method: Cow<'a, str>,
    status: Cow<'a, str>,
    phase: Cow<'a, str>,
    reason: Cow<'a, str>,
    cpu: Cow<'a, str>,
    mode: Cow<'a, str>,
    le: Cow<'a, str>,
}

// === impl Labels ===

impl<'a> Labels<'a> {
    fn read(series: &'a str) -> Self {
        let mut labels = Self::default();
        for (name, value) in sample::labels(series) {
            let place = match name {
                "service" => &mut labels.service,
                "port" => &mut labels.port,
                "handler" => &mut labels.handler,
                "method" => &mut labels.method,
                "status" => &mut labels.status,
                "phase" => &mut labels.phase,
                "reason" => &mut labels.reason,
                "cpu" => &mut labels.cpu,
                "mode" => &mut labels.mode,
                "le" => &mut labels.le,
                _ => continue,
            };
            *place = value;
        }
        labels
    }

    fn bound(&self) -> f64 {
        self.le.parse().unwrap_or(f64::INFINITY)
    }

    fn route(&self) -> Route {
        Route {
            service: self.service.to_string(),
            handler: self.handler.to_string(),
            method: self.method.to_string(),
            port: self.port.to_string(),
        }
    }
}

#[cfg(test)]
mod tests;
