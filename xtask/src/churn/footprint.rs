//! What a scrape takes and gives, and what Vigie holds.

use crate::process::{map_bytes, sched, status};
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};
use testkit::Vigie;

/// How many scrapes are taken: their median counts.
const SCRAPES: usize = 20;
/// A scrape leaves the caches of a CPU to others; one that comes at once after another finds them warm, and none in service does.
const PAUSE: Duration = Duration::from_millis(50);

/// At one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Footprint {
    /// CPU time of Vigie for a scrape.
    pub cpu: Duration,
    /// How long a scrape takes.
    pub wall: Duration,
    /// Bytes of what a scrape gives, without the series of programs that are not the churn's.
    pub body: u64,
    /// Bytes of the process: VmRSS.
    pub process: u64,
    /// Bytes of its maps.
    pub maps: u64,
}

// === impl Footprint ===

impl Footprint {
    /// Measures it. `is_foreign` says whether a service is none of the churn's: those of the host come and go meanwhile.
    pub fn measure(vigie: &Vigie, is_foreign: impl Fn(&str) -> bool) -> Result<Self> {
        let (mut cpu, mut wall, mut body) = (Vec::new(), Vec::new(), 0);
        for _ in 0..SCRAPES {
            std::thread::sleep(PAUSE);
            let (begin, before) = (Instant::now(), cpu_time(vigie.pid())?);
            let response = vigie.get("/metrics")?;
            wall.push(begin.elapsed());
            cpu.push(cpu_time(vigie.pid())?.saturating_sub(before));
            ensure!(response.status == 200, "/metrics answered {}", response.status);
            body = own_bytes(&response.text(), &is_foreign);
        }
        Ok(Self {
            cpu: median(cpu),
            wall: median(wall),
            body,
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
            ("bytes of a scrape", begin.body, self.body),
            ("bytes of memory, maps included", held(begin), held(self)),
        ];
        let grown = pairs.into_iter().filter(|(_, before, after)| after * 10 > before * 11);
        grown
            .map(|(what, before, after)| format!("{what}: {before} at the beginning, {after} at the end"))
            .collect()
    }
}

/// The CPU time of a process.
fn cpu_time(process: u32) -> Result<Duration> {
    Ok(Duration::from_nanos(sched(process)?.ran))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// The bytes of all lines but those of foreign services.
fn own_bytes(text: &str, is_foreign: &impl Fn(&str) -> bool) -> u64 {
    let lines = text.split_inclusive('\n');
    let own = lines.filter(|line| !service_of(line).is_some_and(is_foreign));
    own.map(|line| line.len() as u64).sum()
}

/// The value of the label `service` of a line, as it is written.
fn service_of(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("service=\"")?;
    rest.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: Footprint = Footprint {
        cpu: Duration::from_millis(1),
        wall: Duration::from_millis(2),
        body: 1000,
        process: 9000,
        maps: 1000,
    };

    #[test]
    fn a_tenth_is_allowed_and_no_more() {
        let tenth = Footprint {
            cpu: Duration::from_micros(1100),
            wall: Duration::from_millis(9),
            body: 1100,
            process: 10_000,
            ..BEGIN
        };
        assert_eq!(tenth.grown_since(&BEGIN), [""; 0]);
        let more = Footprint {
            cpu: Duration::from_micros(1101),
            body: 1101,
            process: 10_001,
            ..tenth
        };
        assert_eq!(
            more.grown_since(&BEGIN),
            [
                "µs of CPU for a scrape: 1000 at the beginning, 1101 at the end",
                "bytes of a scrape: 1000 at the beginning, 1101 at the end",
                "bytes of memory, maps included: 10000 at the beginning, 11001 at the end",
            ]
        );
    }

    #[test]
    fn lines_of_foreign_services_do_not_count() {
        let text = "a{service=\"own\"} 1\nb{port=\"1\",service=\"foreign\"} 1\nc 1\n";
        assert_eq!(own_bytes(text, &|service: &str| service == "foreign"), 23);
    }

    #[test]
    fn the_middle_one_counts() {
        assert_eq!(
            median(vec![3, 1, 2].into_iter().map(Duration::from_secs).collect()),
            Duration::from_secs(2)
        );
    }
}
