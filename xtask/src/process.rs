//! What the kernel says about a process.

use anyhow::{Context as _, Result};
use std::collections::BTreeMap;
use std::fs;

/// A number of `/proc/<pid>/status`, by the name of its line: `VmRSS:` is in KiB.
pub fn status(process: u32, name: &str) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/status"))?;
    number(&text, name)
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
    fn the_first_number_of_a_line_counts() {
        let text = "map_type:\t2\nmemlock:\t2360\nmap_id:\t15493\n";
        assert_eq!(number(text, "memlock:").unwrap(), 2360);
    }
}
