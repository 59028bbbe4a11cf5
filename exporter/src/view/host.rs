//! What the host says of itself.

use std::fs;

/// A file of one line, as those below /proc/sys; empty if it cannot be read.
fn line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.trim().to_owned()
}

/// The host's name.
pub fn name() -> String {
    line("/proc/sys/kernel/hostname")
}

/// The kernel's release.
pub fn kernel() -> String {
    line("/proc/sys/kernel/osrelease")
}

/// The distribution, as it calls itself.
pub fn distribution() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.unwrap_or_default().trim_matches('"').to_owned()
}

/// The CPU's model, where the kernel says it.
pub fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split_once(':'));
    model.map(|(_, model)| model.trim().to_owned()).unwrap_or_default()
}

/// Bytes of memory.
pub fn memory() -> Option<f64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024.0)
}
