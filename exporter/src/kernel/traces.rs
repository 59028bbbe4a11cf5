//! The requests that the kernel side shows one by one, to those who ask for some.

use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf,
    maps::{Array, Map, MapData, PerCpuArray, RingBuf},
};
use vigie_ebpf::traced::{ROUTES, SLOTS, TraceEvent, Untold, Wanted};

/// A bit for each route, by number.
pub type RouteSet = [u64; ROUTES / 64];

/// The maps of tracing.
pub struct Traces {
    ring: RingBuf<MapData>,
    tracing: Array<MapData, u32>,
    wanted: Array<MapData, Wanted>,
    routes: Array<MapData, RouteSet>,
    paces: Array<MapData, u64>,
    untold: PerCpuArray<MapData, Untold>,
    active: u32,
}

// === impl Traces ===

impl Traces {
    /// Takes the maps of tracing.
    ///
    /// # Errors
    ///
    /// If a map is missing, or of another kind than expected.
    pub fn open(ebpf: &mut Ebpf) -> Result<Self> {
        let mut take = |name: &str| -> Result<Map> {
            ebpf.take_map(name)
                .with_context(|| format!("the map {name} is missing from this build"))
        };
        Ok(Self {
            ring: take("TRACES")?.try_into()?,
            tracing: take("TRACING")?.try_into()?,
            wanted: take("WANTED")?.try_into()?,
            routes: take("TRACED_ROUTES")?.try_into()?,
            paces: take("PACES")?.try_into()?,
            untold: take("UNTOLD")?.try_into()?,
            active: 0,
        })
    }

    /// A descriptor of its own for waiting: it is readable when there is something for [`Traces::next`].
    ///
    /// # Errors
    ///
    /// If there are too many descriptors.
    pub fn ready(&self) -> Result<OwnedFd> {
        self.ring.as_fd().try_clone_to_owned().context("cannot wait for traces")
    }

    /// Starts to show a slot what it asks for.
    ///
    /// # Errors
    ///
    /// If the maps cannot be written.
    pub fn start(&mut self, slot: usize, wanted: &Wanted, routes: &RouteSet) -> Result<()> {
        ensure!(slot < SLOTS, "there is no slot {slot}");
        self.change(slot, wanted, routes)?;
        self.paces.set(u32::try_from(slot)?, 0, 0)?;
        self.set_active(self.active | 1 << slot)
    }

    /// Changes what a slot asks for.
    ///
    /// # Errors
    ///
    /// If the maps cannot be written.
    pub fn change(&mut self, slot: usize, wanted: &Wanted, routes: &RouteSet) -> Result<()> {
        let slot = u32::try_from(slot)?;
        self.wanted.set(slot, wanted, 0)?;
        Ok(self.routes.set(slot, routes, 0)?)
    }

    /// A slot asks for nothing any more. With the last of them tracing is off.
    ///
    /// # Errors
    ///
    /// If the map cannot be written.
    pub fn stop(&mut self, slot: usize) -> Result<()> {
        self.set_active(self.active & !(1 << slot))
    }

    fn set_active(&mut self, active: u32) -> Result<()> {
        self.tracing.set(0, active, 0)?;
        self.active = active;
        Ok(())
    }

    /// The next request that is shown.
    pub fn next(&mut self) -> Option<Result<TraceEvent>> {
        let item = self.ring.next()?;
        let bytes: &[u8] = &item;
        if bytes.len() < size_of::<TraceEvent>() {
            return Some(Err(anyhow::anyhow!("a trace of {} bytes", bytes.len())));
        }
        // SAFETY: there are enough bytes, and any bytes are a value: the event is made of integers. The kernel side was built
        // from the same definition.
        Some(Ok(unsafe { bytes.as_ptr().cast::<TraceEvent>().read_unaligned() }))
    }

    /// What a slot has asked for and was not shown, since Vigie runs, over all CPUs.
    ///
    /// # Errors
    ///
    /// If the map cannot be read.
    pub fn untold(&self, slot: usize) -> Result<Untold> {
        let mut sum = Untold::default();
        for value in self.untold.get(&u32::try_from(slot)?, 0)?.iter() {
            let Untold {
                over_rate,
                ring_full,
                interrupted,
            } = *value;
            sum.over_rate += over_rate;
            sum.ring_full += ring_full;
            sum.interrupted += interrupted;
        }
        Ok(sum)
    }
}
