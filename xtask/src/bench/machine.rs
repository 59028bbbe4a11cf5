//! The machine that was measured.

use std::{fs, thread};

use anyhow::Result;

/// Processor, CPUs, and kernel, in one line.
pub fn describe() -> Result<String> {
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("unknown processor");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let version = kernel.split('-').next().unwrap_or_default();
    let count = thread::available_parallelism()?;
    Ok(format!(
        "{}, {count} CPUs, Linux {} {}",
        model.trim_start_matches([' ', '\t', ':']),
        version.trim(),
        std::env::consts::ARCH
    ))
}
