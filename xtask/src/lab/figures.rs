//! What is told about a time with so many instances.

use super::window::View;
use anyhow::Result;
use std::time::Instant;
use testkit::Records;
use testkit::scrape::{DURATION, REQUESTS};

/// nginx's name in Vigie, by `demo/vigie.yml`.
pub const BALANCER: &str = "balancer";
const CPU: &str = "service_cpu_seconds_total";
const WAIT: &str = "service_runqueue_wait_seconds";
const HOST_CPU: &str = "vigie_host_cpu_seconds_total";

/// Requests of a time, as somebody saw them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Requests {
    /// Per second.
    pub rate: f64,
    /// In seconds, as the p95.
    pub mean: Option<f64>,
    pub p95: Option<f64>,
    /// The share of answers with a status of 5xx, from 0 to 1.
    pub errors: f64,
}

/// A service in that time.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    pub name: String,
    pub requests: Requests,
    /// How many CPUs it kept busy.
    pub cpus: f64,
    /// For how many seconds its threads waited for a CPU, in each second.
    pub waiting: f64,
}

/// All of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// How many instances ran.
    pub instances: usize,
    pub seconds: u64,
    pub client: Requests,
    /// nginx: what its clients got.
    pub balancer: Service,
    /// The instances that ran.
    pub services: Vec<Service>,
    /// CPUs of the host, and the share of their time that was used, from 0 to 1.
    pub host_cpus: f64,
    pub host_busy: f64,
}

// === impl Figures ===

impl Figures {
    /// What Prometheus says about the window, and `client` about the same time.
    pub fn ask(view: &View, instances: &[String], client: Requests) -> Result<Self> {
        let cpu = view.grown(HOST_CPU, "")?;
        let idle = view.grown(HOST_CPU, "mode=~\"idle|iowait\"")?;
        Ok(Self {
            instances: instances.len(),
            seconds: view.window.seconds,
            client,
            balancer: Service::ask(view, BALANCER)?,
            services: instances
                .iter()
                .map(|name| Service::ask(view, name))
                .collect::<Result<_>>()?,
            host_cpus: view
                .ask(&format!("count(count by (cpu) ({HOST_CPU}))"))?
                .unwrap_or_default(),
            host_busy: if cpu > 0.0 { 1.0 - idle / cpu } else { 0.0 },
        })
    }

    /// The CPUs that all instances together kept busy.
    pub fn cpus(&self) -> f64 {
        self.services.iter().map(|service| service.cpus).sum()
    }

    /// For how many seconds in each second the instances together waited for a CPU.
    pub fn waiting(&self) -> f64 {
        self.services.iter().map(|service| service.waiting).sum()
    }

    /// The largest number of CPUs that an instance kept busy.
    pub fn busiest(&self) -> f64 {
        self.services.iter().map(|service| service.cpus).fold(0.0, f64::max)
    }
}

// === impl Service ===

impl Service {
    fn ask(view: &View, name: &str) -> Result<Self> {
        let labels = format!("service=\"{name}\"");
        let errors = view.grown(REQUESTS, &format!("{labels},status=~\"5..\""))?;
        let all = view.grown(REQUESTS, &labels)?;
        Ok(Self {
            name: name.to_owned(),
            requests: Requests {
                rate: view.rate(REQUESTS, &labels)?,
                mean: view.mean(DURATION, &labels)?,
                p95: view.quantile(DURATION, &labels, 0.95)?,
                errors: if all > 0.0 { errors / all } else { 0.0 },
            },
            cpus: view.rate(CPU, &labels)?,
            waiting: view.rate(&format!("{WAIT}_sum"), &labels)?,
        })
    }
}

// === impl Requests ===

impl Requests {
    /// The requests that ended in a time, as their clients saw them. One without an answer is an error of no duration.
    pub fn of(records: &Records, begin: Instant, end: Instant) -> Self {
        let within = records
            .list
            .iter()
            .filter(|record| begin <= record.end && record.end < end);
        let mut durations = Vec::new();
        let (mut all, mut errors) = (0.0, 0.0);
        for record in within {
            all += 1.0;
            if record.status == 0 || record.status >= 500 {
                errors += 1.0;
            }
            if record.status != 0 {
                durations.push(record.seconds());
            }
        }
        durations.sort_by(f64::total_cmp);
        let rank = (0.95 * durations.len() as f64).ceil() as usize;
        let seconds = end.duration_since(begin).as_secs_f64();
        Self {
            rate: if seconds > 0.0 { all / seconds } else { 0.0 },
            mean: (!durations.is_empty()).then(|| durations.iter().sum::<f64>() / durations.len() as f64),
            p95: rank.checked_sub(1).and_then(|index| durations.get(index).copied()),
            errors: if all > 0.0 { errors / all } else { 0.0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use testkit::Record;

    #[test]
    fn only_what_ended_in_that_time_counts() {
        let begin = Instant::now();
        let at = |milliseconds| begin + Duration::from_millis(milliseconds);
        let record = |status, start, end| Record {
            handler: "/a",
            method: "GET".to_owned(),
            status,
            start: at(start),
            end: at(end),
            waited: Duration::ZERO,
            expected: None,
        };
        let list = vec![
            record(200, 0, 999),
            record(200, 900, 1000),
            record(502, 1200, 1500),
            record(0, 1000, 1800),
            record(200, 2000, 3000),
        ];
        let requests = Requests::of(&Records { list }, at(1000), at(3000));
        assert!((requests.rate - 1.5).abs() < 1e-9);
        assert!((requests.mean.unwrap() - 0.2).abs() < 1e-9);
        assert!((requests.p95.unwrap() - 0.3).abs() < 1e-9);
        assert!((requests.errors - 2.0 / 3.0).abs() < 1e-9);
        assert_eq!(Requests::of(&Records::default(), at(0), at(1)), Requests::default());
    }
}
