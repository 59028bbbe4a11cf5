//! The cgroups of the services: what they may use, and how often they were held back.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
};

use super::{
    growing::Growing,
    limits::{cpu_quota, limit, parse_cpu_max, parse_memory},
    mounts::{Chain, Mounts, cgroup_of},
    pressure::{self, Pressure},
    reading::{Reader, number_after},
};

/// What the cgroups of a service say. What no cgroup says is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CgroupUsage {
    /// How many cores the service may use.
    pub cpu_limit: Option<f64>,
    /// How it was held back by CPU quotas.
    pub throttled: Option<Throttled>,
    /// How many bytes of memory it may use.
    pub memory_limit: Option<f64>,
    /// How long its tasks were held up, in microseconds.
    pub pressure: Pressure,
}

/// How often and how long a CPU quota was used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttled {
    /// Periods in which something ran.
    pub periods: u64,
    /// Those in which the quota was used up.
    pub throttled: u64,
    /// How long run queues were held back for it, in nanoseconds.
    pub nanoseconds: u64,
}

/// The directories of one text of `/proc/<pid>/cgroup`.
#[derive(Debug, Default)]
struct Place {
    cpu: Chain,
    memory: Chain,
    /// The directory with the pressure files.
    pressure: Option<PathBuf>,
    is_used: bool,
}

/// What the files of a cgroup with CPU quota say.
#[derive(Clone, Copy, Debug)]
struct Cpu {
    limit: f64,
    throttled: Throttled,
}

/// What a service's cgroups have said so far, those that are gone included.
#[derive(Debug, Default)]
struct Counts {
    periods: Growing<PathBuf>,
    throttled: Growing<PathBuf>,
    nanoseconds: Growing<PathBuf>,
    pressure: [[Option<Growing<PathBuf>>; 2]; 3],
    has_quota: bool,
}

/// The cgroups that services are in.
#[derive(Debug)]
pub struct Cgroups {
    mounts: Mounts,
    places: HashMap<String, Place>,
    /// The texts of the `cgroup` files of each service's processes, at this scrape.
    met: BTreeMap<u16, BTreeSet<String>>,
    counts: HashMap<u16, Counts>,
    /// What was read at this scrape.
    cpu: HashMap<PathBuf, Option<Cpu>>,
    memory: HashMap<PathBuf, Option<f64>>,
    pressure: HashMap<PathBuf, Pressure>,
    reader: Reader,
}

// === impl Cgroups ===

impl Cgroups {
    /// Nothing was read yet.
    pub fn new() -> Self {
        let mut reader = Reader::new();
        let mounts = reader
            .file(Path::new("/proc/self/mountinfo"))
            .map(Mounts::parse)
            .unwrap_or_default();
        Self {
            mounts,
            places: HashMap::new(),
            met: BTreeMap::new(),
            counts: HashMap::new(),
            cpu: HashMap::new(),
            memory: HashMap::new(),
            pressure: HashMap::new(),
            reader,
        }
    }

    /// A scrape begins.
    pub fn begin(&mut self) {
        self.met.clear();
        self.cpu.clear();
        self.memory.clear();
        self.pressure.clear();
        for place in self.places.values_mut() {
            place.is_used = false;
        }
    }

    /// A service is no more.
    pub fn forget(&mut self, service: u16) {
        self.counts.remove(&service);
        self.met.remove(&service);
    }

    /// A process of a service has this text in its `cgroup` file.
    pub fn meet(&mut self, service: u16, text: &str) {
        let met = self.met.entry(service).or_default();
        if !met.contains(text) {
            met.insert(text.to_owned());
        }
        match self.places.get_mut(text) {
            Some(place) => place.is_used = true,
            None => {
                let place = place(&self.mounts, text);
                self.places.insert(text.to_owned(), place);
            }
        }
    }

    /// What the cgroups of a service say.
    pub fn usage(&mut self, service: u16) -> CgroupUsage {
        let none = BTreeSet::new();
        let texts = self.met.get(&service).unwrap_or(&none);
        let places: Vec<&Place> = texts.iter().filter_map(|text| self.places.get(text)).collect();
        let reader = &mut self.reader;
        for place in &places {
            for cgroup in &place.cpu {
                if !self.cpu.contains_key(cgroup) {
                    self.cpu.insert(cgroup.clone(), read_cpu(reader, cgroup));
                }
            }
            for cgroup in &place.memory {
                if !self.memory.contains_key(cgroup) {
                    self.memory.insert(cgroup.clone(), read_memory(reader, cgroup));
                }
            }
            if let Some(cgroup) = &place.pressure
                && !self.pressure.contains_key(cgroup)
            {
                let pressure = pressure::read(reader, cgroup, ".pressure").unwrap_or_default();
                self.pressure.insert(cgroup.clone(), pressure);
            }
        }
        let chains: Vec<&[PathBuf]> = places.iter().map(|place| place.cpu.as_slice()).collect();
        let cpu_limit = limit(&chains, |cgroup| Some(self.cpu.get(cgroup)?.as_ref()?.limit));
        let chains: Vec<&[PathBuf]> = places.iter().map(|place| place.memory.as_slice()).collect();
        let memory_limit = limit(&chains, |cgroup| *self.memory.get(cgroup)?);

        let counts = self.counts.entry(service).or_default();
        let cgroups: BTreeSet<&PathBuf> = places.iter().flat_map(|place| &place.cpu).collect();
        for cgroup in cgroups {
            if let Some(Some(Cpu { limit: _, throttled })) = self.cpu.get(cgroup) {
                let Throttled {
                    periods,
                    throttled,
                    nanoseconds,
                } = *throttled;
                counts.has_quota = true;
                counts.periods.see(cgroup.clone(), periods);
                counts.throttled.see(cgroup.clone(), throttled);
                counts.nanoseconds.see(cgroup.clone(), nanoseconds);
            }
        }
        let cgroups: BTreeSet<&PathBuf> = places.iter().filter_map(|place| place.pressure.as_ref()).collect();
        for cgroup in cgroups {
            let seen = self.pressure.get(cgroup).copied().unwrap_or_default();
            for (counts, seen) in counts.pressure.as_flattened_mut().iter_mut().zip(seen.as_flattened()) {
                if let Some(seen) = seen {
                    counts.get_or_insert_default().see(cgroup.clone(), *seen);
                }
            }
        }
        CgroupUsage {
            cpu_limit,
            throttled: counts.has_quota.then(|| Throttled {
                periods: counts.periods.total(),
                throttled: counts.throttled.total(),
                nanoseconds: counts.nanoseconds.total(),
            }),
            memory_limit,
            pressure: [0, 1, 2]
                .map(|resource| [0, 1].map(|kind| counts.pressure[resource][kind].as_ref().map(Growing::total))),
        }
    }

    /// A scrape ends: cgroups that are no more are forgotten. One that no process of a service is in may be used again.
    pub fn end(&mut self) {
        self.places.retain(|_, place| place.is_used);
        let (cpu, pressure) = (&self.cpu, &self.pressure);
        let is_there = |cgroup: &PathBuf| cpu.contains_key(cgroup) || pressure.contains_key(cgroup) || cgroup.exists();
        for counts in self.counts.values_mut() {
            let Counts {
                periods,
                throttled,
                nanoseconds,
                pressure,
                has_quota: _,
            } = counts;
            for part in [periods, throttled, nanoseconds]
                .into_iter()
                .chain(pressure.as_flattened_mut().iter_mut().flatten())
            {
                part.keep(is_there);
            }
        }
    }
}

fn place(mounts: &Mounts, text: &str) -> Place {
    let Mounts { unified, cpu, memory } = mounts;
    // A controller that version 1 has is not in version 2.
    let chain = |version_1: &Option<_>, controller: &str| {
        let (mount, cgroup) = match version_1 {
            Some(_) => (version_1.as_ref(), cgroup_of(text, Some(controller))),
            None => (unified.as_ref(), cgroup_of(text, None)),
        };
        let (Some(mount), Some(cgroup)) = (mount, cgroup) else {
            return Chain::new();
        };
        super::mounts::Mount::chain(mount, cgroup)
    };
    let pressure = unified.as_ref().and_then(|mount| {
        let own = mount.chain(cgroup_of(text, None)?).into_iter().next()?;
        // At the top it is the host's.
        (!mount.is_top(&own)).then_some(own)
    });
    Place {
        cpu: chain(cpu, "cpu"),
        memory: chain(memory, "memory"),
        pressure,
        is_used: true,
    }
}

/// The quota of a cgroup, and what came of it. `None`: it has none.
fn read_cpu(reader: &mut Reader, cgroup: &Path) -> Option<Cpu> {
    let limit = match reader.file(&cgroup.join("cpu.max")) {
        Ok(text) => parse_cpu_max(text)?,
        Err(_) => {
            let quota = reader.file(&cgroup.join("cpu.cfs_quota_us")).ok()?.to_owned();
            cpu_quota(&quota, reader.file(&cgroup.join("cpu.cfs_period_us")).ok()?)?
        }
    };
    let throttled = parse_throttled(reader.file(&cgroup.join("cpu.stat")).ok()?)?;
    Some(Cpu { limit, throttled })
}

/// `cpu.stat`: time in microseconds (version 2) or nanoseconds (version 1).
fn parse_throttled(text: &str) -> Option<Throttled> {
    let nanoseconds = match number_after(text, "throttled_usec") {
        Some(microseconds) => microseconds * 1000,
        None => number_after(text, "throttled_time")?,
    };
    Some(Throttled {
        periods: number_after(text, "nr_periods")?,
        throttled: number_after(text, "nr_throttled")?,
        nanoseconds,
    })
}

fn read_memory(reader: &mut Reader, cgroup: &Path) -> Option<f64> {
    match reader.file(&cgroup.join("memory.max")) {
        Ok(text) => parse_memory(text),
        Err(_) => parse_memory(reader.file(&cgroup.join("memory.limit_in_bytes")).ok()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_cpu_stat() {
        let expected = Throttled {
            periods: 12,
            throttled: 3,
            nanoseconds: 4_000_000,
        };
        let two = "usage_usec 1\nuser_usec 1\nsystem_usec 0\nnice_usec 0\ncore_sched.force_idle_usec 0\nnr_periods 12\n\
                   nr_throttled 3\nthrottled_usec 4000\nnr_bursts 0\nburst_usec 0\n";
        let one = "nr_periods 12\nnr_throttled 3\nthrottled_time 4000000\nnr_bursts 0\nburst_time 0\n";
        assert_eq!(parse_throttled(two), Some(expected));
        assert_eq!(parse_throttled(one), Some(expected));
        // The top of version 2 has no quota.
        assert_eq!(parse_throttled("usage_usec 1\nuser_usec 1\nsystem_usec 0\n"), None);
    }

    fn write(directory: &Path, files: &[(&str, &str)]) {
        std::fs::create_dir_all(directory).unwrap();
        for (name, text) in files {
            std::fs::write(directory.join(name), text).unwrap();
        }
    }

    /// A made-up version 2 hierarchy: a service in two cgroups, one of which goes away.
    #[test]
    fn counts_stay_when_a_cgroup_goes() {
        let top = std::env::temp_dir().join(format!("vigie-cgroups-{}", std::process::id()));
        let stat = |periods: u64| format!("nr_periods {periods}\nnr_throttled 1\nthrottled_usec 10\n");
        let pressure =
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=5\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n";
        for name in ["a", "b"] {
            let files = [
                ("cpu.max", "50000 100000\n"),
                ("cpu.stat", &stat(4)),
                ("memory.max", "1000\n"),
            ];
            write(&top.join("s").join(name), &files);
        }
        write(&top.join("s"), &[("cpu.max", "max 100000\n"), ("memory.max", "1500\n")]);
        for name in ["cpu.pressure", "memory.pressure", "io.pressure"] {
            write(&top.join("s/a"), &[(name, pressure)]);
        }
        let mut cgroups = Cgroups::new();
        cgroups.mounts = Mounts::parse(&format!("1 1 0:1 / {} rw - cgroup2 cgroup2 rw\n", top.display()));
        let mut scrape = |texts: &[&str]| {
            cgroups.begin();
            for text in texts {
                cgroups.meet(1, text);
            }
            let usage = cgroups.usage(1);
            cgroups.end();
            usage
        };
        let usage = scrape(&["0::/s/a\n", "0::/s/b\n"]);
        assert_eq!((usage.cpu_limit, usage.memory_limit), (Some(1.0), Some(1500.0)));
        let throttled = |periods, throttled| {
            Some(Throttled {
                periods,
                throttled,
                nanoseconds: throttled * 10_000,
            })
        };
        assert_eq!(usage.throttled, throttled(8, 2));
        assert_eq!(usage.pressure, [[Some(5), Some(1)]; 3]);
        std::fs::remove_dir_all(top.join("s/a")).unwrap();
        write(&top.join("s/b"), &[("cpu.stat", &stat(6))]);
        let usage = scrape(&["0::/s/b\n"]);
        assert_eq!((usage.cpu_limit, usage.throttled), (Some(0.5), throttled(10, 2)));
        assert_eq!(usage.pressure, [[Some(5), Some(1)]; 3]);
        // The same name again is another cgroup.
        write(
            &top.join("s/a"),
            &[("cpu.max", "10000 100000\n"), ("cpu.stat", &stat(9))],
        );
        assert_eq!(scrape(&["0::/s/a\n"]).throttled, throttled(19, 3));
        std::fs::remove_dir_all(&top).unwrap();
        let usage = scrape(&[]);
        assert_eq!((usage.cpu_limit, usage.throttled), (None, throttled(19, 3)));
    }
}
