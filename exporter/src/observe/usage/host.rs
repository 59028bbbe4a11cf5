//! The host: its CPUs, memory, disks, network, and what waits for them.

use std::path::Path;

use super::{
    disks::{Disk, Disks},
    network::{self, Interface},
    pressure::{self, Pressure},
    reading::{Reader, number_after},
};

/// What a CPU's time goes to, in the order of `/proc/stat`. A guest's time is in `user` and `nice` already.
pub const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];

/// The speed of an interface is asked for again after this many scrapes: it may take the driver a while to say.
const SPEED_EVERY: u64 = 60;

/// One CPU's time by mode, in clock ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTimes {
    /// Its number.
    pub cpu: u32,
    /// By [`MODES`].
    pub ticks: [u64; 8],
}

/// Memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// All there is.
    pub total: u64,
    /// What programs could still have without swapping.
    pub available: u64,
    /// Swap space.
    pub swap_total: u64,
    /// Swap space that is free.
    pub swap_free: u64,
}

/// What the want of memory led to, since the host's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swapping {
    /// Pages read from swap.
    pub pages_in: u64,
    /// Pages written to swap.
    pub pages_out: u64,
    /// Processes killed.
    pub kills: u64,
}

/// Everything that a scrape shows of the host. What cannot be read is empty.
#[derive(Clone, Debug, Default)]
pub struct HostUsage {
    /// Each CPU that is online.
    pub cpus: Vec<CpuTimes>,
    /// Clock ticks in a second.
    pub ticks: u64,
    /// How long threads waited for each CPU, in nanoseconds; only kernels with CONFIG_SCHEDSTATS say.
    pub waits: Vec<(u32, u64)>,
    /// Memory.
    pub memory: Option<Memory>,
    /// Swapping.
    pub swapping: Option<Swapping>,
    /// Bytes in a page.
    pub page: u64,
    /// How long tasks were held up.
    pub pressure: Pressure,
    /// The disks.
    pub disks: Vec<Disk>,
    /// The network interfaces.
    pub interfaces: Vec<Interface>,
}

/// What is kept between scrapes.
#[derive(Debug)]
pub struct Host {
    reader: Reader,
    disks: Disks,
    speeds: Vec<(String, Option<u64>)>,
    scrapes: u64,
}

// === impl Host ===

impl Host {
    /// Nothing was read yet.
    pub fn new() -> Self {
        Self {
            reader: Reader::new(),
            disks: Disks::default(),
            speeds: Vec::new(),
            scrapes: 0,
        }
    }

    /// The host as it is now.
    pub fn collect(&mut self) -> HostUsage {
        let Self {
            reader,
            disks,
            speeds,
            scrapes,
        } = self;
        let mut host = HostUsage {
            ticks: rustix::param::clock_ticks_per_second(),
            page: rustix::param::page_size() as u64,
            pressure: pressure::read(reader, Path::new("/proc/pressure"), "").unwrap_or_default(),
            ..HostUsage::default()
        };
        if let Ok(text) = reader.file(Path::new("/proc/stat")) {
            host.cpus = parse_stat(text);
        }
        if let Ok(text) = reader.file(Path::new("/proc/schedstat")) {
            host.waits = parse_schedstat(text);
        }
        host.memory = reader.file(Path::new("/proc/meminfo")).ok().and_then(parse_meminfo);
        host.swapping = reader.file(Path::new("/proc/vmstat")).ok().and_then(parse_vmstat);
        if let Ok(text) = reader.file(Path::new("/proc/diskstats")) {
            host.disks = disks.parse(text);
        }
        // The first process is in the host's own network namespace, whatever Vigie is in.
        if let Ok(text) = reader.file(Path::new("/proc/1/net/dev")) {
            host.interfaces = network::parse(text);
        }
        let is_due = *scrapes % SPEED_EVERY == 0;
        *scrapes += 1;
        for interface in &mut host.interfaces {
            let known = speeds.iter().find(|(name, _)| *name == interface.name);
            interface.speed = match known {
                Some((_, speed)) if !is_due => *speed,
                _ => {
                    let path = Path::new("/sys/class/net").join(&interface.name).join("speed");
                    let speed = reader.file(&path).ok().and_then(network::parse_speed);
                    speeds.retain(|(name, _)| *name != interface.name);
                    speeds.push((interface.name.clone(), speed));
                    speed
                }
            };
        }
        host
    }
}

/// The numbers of the lines `cpu0 …`, by CPU.
fn by_cpu(text: &str) -> impl Iterator<Item = (u32, impl Iterator<Item = u64>)> {
    text.lines().filter_map(|line| {
        let mut fields = line.strip_prefix("cpu")?.split_ascii_whitespace();
        let cpu = line.as_bytes().get(3)?.is_ascii_digit().then(|| fields.next())??;
        Some((cpu.parse().ok()?, fields.filter_map(|field| field.parse().ok())))
    })
}

fn parse_stat(text: &str) -> Vec<CpuTimes> {
    let times = by_cpu(text).map(|(cpu, numbers)| {
        let mut ticks = [0; 8];
        for (ticks, number) in ticks.iter_mut().zip(numbers) {
            *ticks = number;
        }
        CpuTimes { cpu, ticks }
    });
    times.collect()
}

/// The eighth number of a CPU's line: `rq->rq_sched_info.run_delay` (`Documentation/scheduler/sched-stats.rst`).
fn parse_schedstat(text: &str) -> Vec<(u32, u64)> {
    by_cpu(text)
        .filter_map(|(cpu, mut numbers)| Some((cpu, numbers.nth(7)?)))
        .collect()
}

fn parse_meminfo(text: &str) -> Option<Memory> {
    let bytes = |name| number_after(text, name).map(|kilobytes| kilobytes * 1024);
    Some(Memory {
        total: bytes("MemTotal")?,
        available: bytes("MemAvailable")?,
        swap_total: bytes("SwapTotal")?,
        swap_free: bytes("SwapFree")?,
    })
}

fn parse_vmstat(text: &str) -> Option<Swapping> {
    Some(Swapping {
        pages_in: number_after(text, "pswpin")?,
        pages_out: number_after(text, "pswpout")?,
        kills: number_after(text, "oom_kill")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_proc_are_understood() {
        let stat =
            "cpu  10 20 30 40 50 60 70 80 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\ncpu11 9 2 3 4 5 6 7 1 0 0\nintr 5\nctxt 3\n";
        let expected = [(0, [1, 2, 3, 4, 5, 6, 7, 8]), (11, [9, 2, 3, 4, 5, 6, 7, 1])];
        assert_eq!(parse_stat(stat), expected.map(|(cpu, ticks)| CpuTimes { cpu, ticks }));
        let schedstat =
            "version 17\ntimestamp 4295\ncpu0 0 0 9 8 7 6 555 777 3\ndomain0 MC 3 1 2\ncpu1 0 0 9 8 7 6 5 4 3\n";
        assert_eq!(parse_schedstat(schedstat), [(0, 777), (1, 4)]);
        let meminfo = "MemTotal:       2 kB\nMemFree:        1 kB\nMemAvailable:   1 kB\nSwapCached: 0 kB\nSwapTotal:      4 kB\nSwapFree:       3 kB\n";
        let memory = Memory {
            total: 2048,
            available: 1024,
            swap_total: 4096,
            swap_free: 3072,
        };
        assert_eq!(parse_meminfo(meminfo), Some(memory));
        let vmstat = "nr_free_pages 1\npswpin 5\npswpout 6\noom_kill 7\noom_kill_x 8\n";
        let swapping = Swapping {
            pages_in: 5,
            pages_out: 6,
            kills: 7,
        };
        assert_eq!(parse_vmstat(vmstat), Some(swapping));
    }

    #[test]
    fn this_host_can_be_read() {
        let host = Host::new().collect();
        assert!(!host.cpus.is_empty() && !host.interfaces.is_empty() && host.ticks > 0 && host.page > 0);
        assert!(host.memory.is_some_and(|memory| memory.available <= memory.total));
        assert!(host.swapping.is_some());
    }
}
