//! What the kernel says about a process.

use anyhow::{Context as _, Result};
use std::collections::BTreeMap;
use std::fs;

/// A number of `/proc/<pid>/status`, by the name of its line: `VmRSS:` is in KiB.
pub fn status(process: u32, name: &str) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/status"))?;
    number(&text, name)
}

/// What the scheduler has written down of threads, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sched {
    /// How long they have run.
    pub ran: u64,
    /// How long they could have run, and had no CPU.
    pub waited: u64,
}

/// The books of all living threads of a process: `/proc/<pid>/task/<thread>/schedstat`
/// (Documentation/scheduler/sched-stats.rst of Linux). A thread that ends meanwhile is left out.
pub fn sched(process: u32) -> Result<Sched> {
    let mut sum = Sched::default();
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        if let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) {
            let thread = Sched::parse(&text)?;
            sum.ran += thread.ran;
            sum.waited += thread.waited;
        }
    }
    Ok(sum)
}

// === impl Sched ===

impl Sched {
    fn parse(text: &str) -> Result<Self> {
        let mut numbers = text.split_whitespace();
        let mut next = || -> Result<u64> { Ok(numbers.next().context("too few numbers in schedstat")?.parse()?) };
        Ok(Self {
            ran: next()?,
            waited: next()?,
        })
    }
}

/// The bytes of all BPF maps that a process holds, by the kernel's account. What sockets carry is not in it: their state lives
/// and dies with them.
pub fn map_bytes(process: u32) -> Result<u64> {
    let mut maps = BTreeMap::new();
    for file in fs::read_dir(format!("/proc/{process}/fdinfo"))?.flatten() {
        // A descriptor may have been closed since.
        let text = fs::read_to_string(file.path()).unwrap_or_default();
        if text.contains("map_type:") {
            // Several descriptors may be of one map.
            maps.insert(number(&text, "map_id:")?, number(&text, "memlock:")?);
        }
    }
    Ok(maps.values().sum())
}

fn number(text: &str, name: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let line = line.with_context(|| format!("no {name}"))?;
    let number = line.split_whitespace().next().context("no number")?;
    Ok(number.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_no_maps() {
        let own = std::process::id();
        assert!(status(own, "VmRSS:").unwrap() > 100);
        assert!(status(own, "NoSuchLine:").is_err());
        assert_eq!(map_bytes(own).unwrap(), 0);
    }

    #[test]
    fn the_schedulers_books_are_read() {
        assert!(sched(std::process::id()).unwrap().ran > 0);
        let (ran, waited) = (100, 50);
        assert_eq!(Sched::parse("100 50 3\n").unwrap(), Sched { ran, waited });
        assert!(Sched::parse("100\n").is_err());
    }

    #[test]
    fn the_first_number_of_a_line_counts() {
        let text = "map_type:\t2\nmemlock:\t2360\nmap_id:\t15493\n";
        assert_eq!(number(text, "memlock:").unwrap(), 2360);
    }
}
