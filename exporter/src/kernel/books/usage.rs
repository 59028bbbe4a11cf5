//! What the kernel side has added up of how CPUs and connections are used.

use anyhow::Result;
use vigie_ebpf::{
    service::slot,
    trouble::{RESETS_RECEIVED, RESETS_SENT, RETRANSMITS, TROUBLES},
};

use super::Books;
use crate::kernel::load::Probe;

/// Which counters are kept with these probes.
pub(super) fn troubles(probes: &[Probe]) -> [bool; TROUBLES] {
    let mut kept = [false; TROUBLES];
    for (name, counter) in [
        ("retransmit", RETRANSMITS),
        ("reset_sent", RESETS_SENT),
        ("reset_received", RESETS_RECEIVED),
    ] {
        kept[counter] = probes.iter().any(|probe| probe.name == name && probe.error.is_none());
    }
    kept
}

impl Books {
    /// What went wrong on the connections of a service, over all CPUs, by [`vigie_ebpf::trouble`]. `None`: no probe tells.
    ///
    /// # Errors
    ///
    /// If the map cannot be read.
    pub fn trouble(&self, service: u16) -> Result<[Option<u64>; TROUBLES]> {
        let mut sums = self.troubles.map(|is_kept| is_kept.then_some(0));
        for counters in self.trouble.get(&slot(service), 0)?.iter() {
            for (sum, count) in sums.iter_mut().zip(counters) {
                if let Some(sum) = sum {
                    *sum += count;
                }
            }
        }
        Ok(sums)
    }

    /// How long the threads of all services together have waited for each CPU, in nanoseconds, by CPU number.
    ///
    /// A thread's wait counts on the CPU that it leaves next: the one that it waited for.
    ///
    /// # Errors
    ///
    /// If the map cannot be read.
    pub fn waits_by_cpu(&self, services: impl Iterator<Item = u16>) -> Result<Vec<u64>> {
        let mut waits = vec![0; self.cpus];
        for service in services {
            for (sum, books) in waits.iter_mut().zip(self.sched.get(&slot(service), 0)?.iter()) {
                *sum += books.wait;
            }
        }
        Ok(waits)
    }
}
