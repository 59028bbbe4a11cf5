//! The process table: which service each process belongs to.
//!
//! The kernel side reads an entry for every request and every context switch, and writes entries as processes fork and
//! exec. User space shares the map's memory, so that it changes one entry and never its neighbours.

use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context as _, Result};
use aya::maps::{Map, MapData};
use memmap2::{MmapOptions, MmapRaw};
use std::os::fd::{AsFd as _, AsRawFd as _};
use vigie_ebpf::types::PROCESSES;

/// The table, mapped.
#[derive(Debug)]
pub struct ProcessTable {
    memory: MmapRaw,
    // The mapping outlives a closed map, but the map is one thing with it.
    _map: MapData,
}

// === impl ProcessTable ===

impl ProcessTable {
    /// Maps the table.
    ///
    /// # Errors
    ///
    /// If the map is of another kind, or cannot be mapped.
    pub fn new(map: Map) -> Result<Self> {
        let Map::Array(map) = map else {
            anyhow::bail!("the process table is not an array");
        };
        let memory = MmapOptions::new()
            .len(PROCESSES * size_of::<u16>())
            .map_raw(map.fd().as_fd().as_raw_fd())
            .context("cannot map the process table")?;
        Ok(Self { memory, _map: map })
    }

    fn entry(&self, process: u32) -> Option<&AtomicU16> {
        if process as usize >= PROCESSES {
            return None;
        }
        // SAFETY: the place is inside the mapping, which lives as long as `self`; it is aligned, as the mapping is to a
        // page, and everybody who touches it does so with single two-byte accesses.
        Some(unsafe { AtomicU16::from_ptr(self.memory.as_mut_ptr().cast::<u16>().add(process as usize)) })
    }

    /// The entry of a process, as [`vigie_ebpf::service`] has it.
    pub fn get(&self, process: u32) -> u16 {
        self.entry(process).map_or(0, |entry| entry.load(Ordering::Relaxed))
    }

    /// Changes the entry of a process, if it is still this one.
    pub fn replace(&self, process: u32, expected: u16, entry: u16) {
        if let Some(place) = self.entry(process) {
            // Whoever has changed it meanwhile knows better.
            let _ = place.compare_exchange(expected, entry, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Sets the entry of a process.
    pub fn set(&self, process: u32, service: u16) {
        if let Some(entry) = self.entry(process) {
            entry.store(service, Ordering::Relaxed);
        }
    }
}
