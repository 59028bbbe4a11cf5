//! What a scrape takes and gives, and what Vigie holds.

use crate::process::{map_bytes, status};
use anyhow::{Result, ensure};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use testkit::{Sched, Vigie};

/// How many scrapes are taken: the best counts, as the machine may be another's for a while.
const SCRAPES: usize = 20;
/// A scrape leaves the caches of a CPU to others; one that comes at once after another finds them warm, and none in service does.
const PAUSE: Duration = Duration::from_millis(50);

const BODY: &str = "bytes of a scrape";

/// At one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Footprint {
    /// CPU time of Vigie for a scrape.
    pub cpu: Duration,
    /// How long a scrape takes.
    pub wall: Duration,
    /// Bytes of what a scrape gives, without the series of programs that are not the churn's.
    pub body: u64,
    /// The same of each service; those without one have none.
    pub services: BTreeMap<String, u64>,
    /// Bytes of the process: VmRSS.
    pub process: u64,
    /// Bytes of its maps.
    pub maps: u64,
}

// === impl Footprint ===

impl Footprint {
    /// Measures it. `is_foreign` says whether a service is none of the churn's: those of the host come and go meanwhile.
    pub fn measure(vigie: &Vigie, is_foreign: impl Fn(&str) -> bool) -> Result<Self> {
        let (mut cpu, mut wall, mut services) = (Vec::new(), Vec::new(), BTreeMap::new());
        for _ in 0..SCRAPES {
            std::thread::sleep(PAUSE);
            let (begin, before) = (Instant::now(), cpu_time(vigie.pid())?);
            let response = vigie.get("/metrics")?;
            wall.push(begin.elapsed());
            cpu.push(cpu_time(vigie.pid())?.saturating_sub(before));
            ensure!(response.status == 200, "/metrics answered {}", response.status);
            services = own_bytes(&response.text(), &is_foreign);
        }
        Ok(Self {
            cpu: cpu.into_iter().min().unwrap_or_default(),
            wall: median(wall),
            body: services.values().sum(),
            services,
            process: status(vigie.pid(), "VmRSS:")? * 1024,
            maps: map_bytes(vigie.pid())?,
        })
    }

    /// What has grown by more than a tenth since `begin`: its name, what it was and what it is.
    pub fn grown_since(&self, begin: &Self) -> Vec<String> {
        let microseconds = |time: Duration| time.as_micros() as u64;
        let held = |footprint: &Self| footprint.process + footprint.maps;
        let pairs = [
            (
                "µs of CPU for a scrape",
                microseconds(begin.cpu),
                microseconds(self.cpu),
            ),
            (BODY, begin.body, self.body),
            ("bytes of memory, maps included", held(begin), held(self)),
        ];
        let grown = pairs.into_iter().filter(|(_, before, after)| after * 10 > before * 11);
        grown
            .map(|(what, before, after)| {
                let most = if what == BODY {
                    self.most_since(begin)
                } else {
                    String::new()
                };
                format!("{what}: {before} at the beginning, {after} at the end{most}")
            })
            .collect()
    }

    /// The service whose part of a scrape has grown most.
    fn most_since(&self, begin: &Self) -> String {
        let before = |service: &str| begin.services.get(service).copied().unwrap_or_default();
        let grown = self.services.iter().map(|(service, after)| {
            let before = before(service);
            (after.saturating_sub(before), service, before, after)
        });
        grown.max().map_or_else(String::new, |(_, service, before, after)| {
            format!(", most of it of '{service}': {before} and {after}")
        })
    }
}

/// The CPU time of a process.
fn cpu_time(process: u32) -> Result<Duration> {
    Ok(Duration::from_nanos(Sched::of_process(process)?.ran))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// The bytes of the lines of each service, but of foreign ones.
fn own_bytes(text: &str, is_foreign: &impl Fn(&str) -> bool) -> BTreeMap<String, u64> {
    let mut services = BTreeMap::new();
    for line in text.split_inclusive('\n') {
        let service = service_of(line).unwrap_or_default();
        if service.is_empty() || !is_foreign(service) {
            *services.entry(service.to_owned()).or_default() += line.len() as u64;
        }
    }
    services
}

/// The value of the label `service` of a line, as it is written.
fn service_of(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("service=\"")?;
    rest.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin() -> Footprint {
        Footprint {
            cpu: Duration::from_millis(1),
            wall: Duration::from_millis(2),
            body: 1000,
            services: BTreeMap::from([("a".to_owned(), 900), (String::new(), 100)]),
            process: 9000,
            maps: 1000,
        }
    }

    #[test]
    fn a_tenth_is_allowed_and_no_more() {
        let tenth = Footprint {
            cpu: Duration::from_micros(1100),
            wall: Duration::from_millis(9),
            body: 1100,
            process: 10_000,
            ..begin()
        };
        assert_eq!(tenth.grown_since(&begin()), [""; 0]);
        let more = Footprint {
            cpu: Duration::from_micros(1101),
            body: 1101,
            services: BTreeMap::from([("a".to_owned(), 1001), (String::new(), 100)]),
            process: 10_001,
            ..tenth
        };
        assert_eq!(
            more.grown_since(&begin()),
            [
                "µs of CPU for a scrape: 1000 at the beginning, 1101 at the end",
                "bytes of a scrape: 1000 at the beginning, 1101 at the end, most of it of 'a': 900 and 1001",
                "bytes of memory, maps included: 10000 at the beginning, 11001 at the end",
            ]
        );
    }

    #[test]
    fn lines_of_foreign_services_do_not_count() {
        let text = "a{service=\"own\"} 1\nb{port=\"1\",service=\"foreign\"} 1\nc 1\n";
        let bytes = own_bytes(text, &|service: &str| service == "foreign");
        assert_eq!(bytes, BTreeMap::from([("own".to_owned(), 19), (String::new(), 4)]));
    }

    #[test]
    fn the_middle_one_counts() {
        let times = [3, 1, 2].map(Duration::from_secs);
        assert_eq!(median(times.to_vec()), Duration::from_secs(2));
    }
}
