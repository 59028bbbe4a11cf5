//! The native histograms, which the kernel side and user space both count in.

use std::{
    array,
    os::fd::{AsFd as _, AsRawFd as _},
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::{Context as _, Result};
use aya::maps::{Map, MapData};
use memmap2::{MmapOptions, MmapRaw};
use vigie_ebpf::{
    native::{NATIVE_BUCKETS, Native, native_place},
    types::NATIVES,
};

/// The histograms, mapped. Which series has which place is up to the caller.
#[derive(Debug)]
pub struct NativeCounts {
    memory: MmapRaw,
    // The mapping outlives a closed map, but the map is one thing with it.
    _map: MapData,
}

// === impl NativeCounts ===

impl NativeCounts {
    /// Maps the histograms.
    ///
    /// # Errors
    ///
    /// If the map is of another kind, or cannot be mapped.
    pub fn new(map: Map) -> Result<Self> {
        let Map::Array(map) = map else {
            anyhow::bail!("the native histograms are not an array");
        };
        let memory = MmapOptions::new()
            .len(NATIVES * size_of::<Native>())
            .map_raw(map.fd().as_fd().as_raw_fd())
            .context("cannot map the native histograms")?;
        Ok(Self { memory, _map: map })
    }

    fn counts(&self, place: usize) -> Option<&[AtomicU64; NATIVE_BUCKETS]> {
        if place >= NATIVES {
            return None;
        }
        // SAFETY: the place is inside the mapping, which lives as long as `self`; it is aligned, as the mapping is to a
        // page, and everybody who touches it does so with single accesses of eight bytes.
        Some(unsafe { &*self.memory.as_ptr().cast::<[AtomicU64; NATIVE_BUCKETS]>().add(place) })
    }

    /// Counts a request that took so many nanoseconds.
    pub fn count(&self, place: usize, nanoseconds: u64) {
        if let Some(counts) = self.counts(place) {
            counts[native_place(nanoseconds)].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Adds what was counted elsewhere.
    pub fn add(&self, place: usize, counts: &Native) {
        for (sum, count) in self.counts(place).into_iter().flatten().zip(counts) {
            sum.fetch_add(*count, Ordering::Relaxed);
        }
    }

    /// Gives a place back: the next series begins at zero.
    pub fn clear(&self, place: usize) {
        for count in self.counts(place).into_iter().flatten() {
            count.store(0, Ordering::Relaxed);
        }
    }

    /// What was counted at a place.
    pub fn get(&self, place: usize) -> Option<Box<Native>> {
        let counts = self.counts(place)?;
        Some(Box::new(array::from_fn(|bucket| {
            counts[bucket].load(Ordering::Relaxed)
        })))
    }
}
