//! What the kernel side has added up, and what it is taught.

mod lives;
mod usage;

use std::{collections, io::Read as _, os::fd::AsFd as _};

use anyhow::{Context as _, Result, bail};
use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuHashMap, PerCpuValues, RingBuf},
    programs::Iter,
    util::nr_cpus,
};
use vigie_ebpf::{
    attribution::REASONS,
    exemplar::{Exemplar, ExemplarKey},
    preface,
    service::slot,
    trouble::TROUBLES,
    types::{
        BOUNDS, Exchanged, Killed, LOST, NotHttpKey, ROUTE_UNKNOWN, SERVICE_UNKNOWN, SchedValue, SeriesKey,
        SeriesValue, ShapeKey, Waits,
    },
};

use super::{
    batches::Batches,
    load::{Probe, Role, padded_bounds},
    missed::missed,
    native_counts::NativeCounts,
    process_table::ProcessTable,
};

const BPF_NOEXIST: u64 = 1;

/// The maps of the loaded programs.
pub struct Books {
    /// Which service each process belongs to.
    pub processes: ProcessTable,
    /// The native histograms.
    pub native: NativeCounts,
    series: PerCpuHashMap<MapData, SeriesKey, SeriesValue>,
    all_series: Batches<SeriesKey, SeriesValue>,
    waits: HashMap<MapData, SeriesKey, Waits>,
    not_http: HashMap<MapData, NotHttpKey, u64>,
    all_waits: Batches<SeriesKey, Waits>,
    exemplars: HashMap<MapData, ExemplarKey, Exemplar>,
    all_exemplars: Batches<ExemplarKey, Exemplar>,
    in_flight: PerCpuArray<MapData, u64>,
    exchanged: PerCpuArray<MapData, Exchanged>,
    unattributed: PerCpuArray<MapData, u64>,
    shapes: HashMap<MapData, ShapeKey, u32>,
    all_shapes: Batches<ShapeKey, u32>,
    owners: Array<MapData, u32>,
    killed: Array<MapData, Killed>,
    route_modes: Array<MapData, u32>,
    route_epoch: Array<MapData, u32>,
    collapsed: HashMap<MapData, ShapeKey, u32>,
    sched: PerCpuArray<MapData, SchedValue>,
    lost: PerCpuArray<MapData, u64>,
    ports: Array<MapData, [u64; 1024]>,
    trouble: PerCpuArray<MapData, [u64; TROUBLES]>,
    /// Which of the counters of `trouble` are kept.
    troubles: [bool; TROUBLES],
    runnable: Option<(Array<MapData, u32>, &'static str)>,
    cpus: usize,
    // The programs stay attached as long as this lives, and the iterator is run through it.
    ebpf: Ebpf,
}

fn take(ebpf: &mut Ebpf, name: &str) -> Result<Map> {
    ebpf.take_map(name)
        .with_context(|| format!("the map {name} is missing from this build"))
}

/// The counts of connections that carry no HTTP, with a place for those that find none of their own.
fn not_http(map: Map) -> Result<HashMap<MapData, NotHttpKey, u64>> {
    let mut counts: HashMap<MapData, NotHttpKey, u64> = map.try_into()?;
    for looks in 0..preface::NAMES.len() {
        let nobody = NotHttpKey {
            service: SERVICE_UNKNOWN,
            port: 0,
            looks: u32::try_from(looks)?,
        };
        counts.insert(nobody, 0, 0)?;
    }
    Ok(counts)
}

/// The ring buffer of events.
///
/// # Errors
///
/// If the object has none.
pub fn events(ebpf: &mut Ebpf) -> Result<RingBuf<MapData>> {
    Ok(RingBuf::try_from(take(ebpf, "EVENTS")?)?)
}

fn batches<K: Pod, V: Pod>(map: &Map, values: usize) -> Result<Batches<K, V>> {
    let (Map::HashMap(data) | Map::LruHashMap(data) | Map::PerCpuHashMap(data)) = map else {
        bail!("a map is not a hash map");
    };
    Ok(Batches::new(data, values)?)
}

/// The key of what is kept for a route whatever the status is.
pub fn route_key(key: &SeriesKey) -> SeriesKey {
    SeriesKey { status: 0, ..*key }
}

fn shape_key(service: u16, shape: u64) -> ShapeKey {
    ShapeKey {
        shape,
        service: u32::from(service),
        reserved: 0,
    }
}

/// What was not there is removed, too.
fn removed(result: Result<(), MapError>) -> Result<()> {
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => Ok(other?),
    }
}

/// Whether an element is there now. `false`: the kernel has no memory for it right now.
fn is_made(result: Result<(), MapError>) -> Result<bool> {
    match result {
        Err(MapError::SyscallError(error)) => match error.io_error.raw_os_error() {
            Some(libc::EEXIST) => Ok(true),
            Some(libc::ENOMEM | libc::E2BIG) => Ok(false),
            _ => Err(error.into()),
        },
        other => Ok(other.map(|()| true)?),
    }
}

// === impl Books ===

impl Books {
    /// Takes the maps, and writes the histogram's bounds (in nanoseconds) for the programs.
    ///
    /// # Errors
    ///
    /// If a map is missing, or of another kind than expected.
    pub fn open(mut ebpf: Ebpf, bounds: &[u64], probes: &[Probe]) -> Result<Self> {
        let mut latency_bounds: Array<MapData, [u64; BOUNDS]> = take(&mut ebpf, "LATENCY_BOUNDS")?.try_into()?;
        latency_bounds.set(0, padded_bounds(bounds), 0)?;
        let runnable = match probes
            .iter()
            .find(|probe| probe.role == Role::RunQueue && probe.error.is_none())
        {
            None => None,
            Some(probe) => Some((take(&mut ebpf, "RUNNABLE")?.try_into()?, probe.program())),
        };
        let cpus = nr_cpus().map_err(|(path, error)| anyhow::anyhow!("cannot read {path}: {error}"))?;
        let (series, waits) = (take(&mut ebpf, "SERIES")?, take(&mut ebpf, "WAITS")?);
        let (exemplars, shapes) = (take(&mut ebpf, "EXEMPLARS")?, take(&mut ebpf, "SHAPES")?);
        Ok(Self {
            processes: ProcessTable::new(take(&mut ebpf, "PROCESSES")?)?,
            native: NativeCounts::new(take(&mut ebpf, "NATIVE")?)?,
            all_series: batches(&series, cpus)?,
            series: series.try_into()?,
            all_waits: batches(&waits, 1)?,
            waits: waits.try_into()?,
            not_http: not_http(take(&mut ebpf, "NOT_HTTP")?)?,
            all_exemplars: batches(&exemplars, 1)?,
            exemplars: exemplars.try_into()?,
            in_flight: take(&mut ebpf, "IN_FLIGHT")?.try_into()?,
            exchanged: take(&mut ebpf, "EXCHANGED")?.try_into()?,
            unattributed: take(&mut ebpf, "UNATTRIBUTED")?.try_into()?,
            all_shapes: batches(&shapes, 1)?,
            shapes: shapes.try_into()?,
            owners: take(&mut ebpf, "OWNERS")?.try_into()?,
            killed: take(&mut ebpf, "KILLED")?.try_into()?,
            route_modes: take(&mut ebpf, "ROUTE_MODES")?.try_into()?,
            route_epoch: take(&mut ebpf, "ROUTE_EPOCH")?.try_into()?,
            collapsed: take(&mut ebpf, "COLLAPSED")?.try_into()?,
            sched: take(&mut ebpf, "SCHED")?.try_into()?,
            lost: take(&mut ebpf, "LOST_COUNTS")?.try_into()?,
            ports: take(&mut ebpf, "PORTS")?.try_into()?,
            trouble: take(&mut ebpf, "TROUBLE")?.try_into()?,
            troubles: usage::troubles(probes),
            runnable,
            cpus,
            ebpf,
        })
    }

    /// Starts a series: from now on the kernel counts its requests, also in the native histogram at that place. `false`: it has no memory for it right now.
    ///
    /// The kernel takes the elements of such a map from a small reserve that it fills in the background, so a burst of new
    /// series can find it empty for a moment.
    ///
    /// # Errors
    ///
    /// If the map cannot be written for any other reason.
    pub fn start_series(&mut self, key: SeriesKey, native: usize) -> Result<bool> {
        // A stream has no waits.
        if !key.is_stream() && !is_made(self.waits.insert(route_key(&key), Waits::default(), BPF_NOEXIST))? {
            return Ok(false);
        }
        let value = SeriesValue {
            native: native as u64,
            ..SeriesValue::default()
        };
        let zero = PerCpuValues::try_from(vec![value; self.cpus])?;
        is_made(self.series.insert(key, zero, BPF_NOEXIST))
    }

    /// How long the requests of each route have waited, as far as the kernel has counted it.
    ///
    /// # Errors
    ///
    /// If the map cannot be read.
    pub fn waits(&self) -> Result<foldhash::HashMap<SeriesKey, Waits>> {
        let mut all = foldhash::HashMap::default();
        self.all_waits.for_each(|route, waits| {
            all.extend(waits.first().map(|waits| (*route, *waits)));
        })?;
        Ok(all)
    }

    /// Shows the requests whose traces can be looked up.
    ///
    /// # Errors
    ///
    /// If the map cannot be read.
    pub fn exemplars(&self, mut show: impl FnMut(&ExemplarKey, &Exemplar)) -> Result<()> {
        Ok(self
            .all_exemplars
            .for_each(|key, exemplars| exemplars.iter().for_each(|exemplar| show(key, exemplar)))?)
    }

    /// How many requests of a service are in flight.
    ///
    /// # Errors
    ///
    /// If the map cannot be read.
    pub fn in_flight(&self, service: u16) -> Result<u64> {
        let counts = self.in_flight.get(&slot(service), 0)?;
        // A request may begin on one CPU and end on another: each CPU's count alone can be below zero.
        let sum = counts.iter().fold(0u64, |sum, count| sum.wrapping_add(*count));
        Ok(u64::try_from(sum.cast_signed()).unwrap_or(0))
    }

    /// What a service has exchanged with its clients.
    ///
    /// # Errors
    ///
    /// If the map cannot be read.
    pub fn exchanged(&self, service: u16) -> Result<Exchanged> {
        let mut sum = Exchanged::default();
        for Exchanged { received, sent } in self.exchanged.get(&slot(service), 0)?.iter() {
            sum.received += received;
            sum.sent += sent;
        }
        Ok(sum)
    }

    /// How much time is not attributed, in nanoseconds, by [`vigie_ebpf::attribution::Reason`].
    ///
    /// # Errors
    ///
    /// If the map cannot be read.
    pub fn unattributed(&self) -> Result<[u64; REASONS]> {
        let mut sums = [0; REASONS];
        for (reason, sum) in sums.iter_mut().enumerate() {
            *sum = self.unattributed.get(&u32::try_from(reason)?, 0)?.iter().sum();
        }
        Ok(sums)
    }

    /// Adds what the kernel has counted for each series, over all CPUs, by whatever `add` does with it.
    ///
    /// # Errors
    ///
    /// If the map cannot be read.
    pub fn series(&self, mut add: impl FnMut(&SeriesKey, &SeriesValue)) -> Result<()> {
        Ok(self
            .all_series
            .for_each(|key, values| values.iter().for_each(|value| add(key, value)))?)
    }

    /// Teaches the kernel the route of a path's shape. [`ROUTE_UNKNOWN`]: it has none any more.
    ///
    /// # Errors
    ///
    /// If the map cannot be written.
    pub fn teach(&mut self, service: u16, shape: u64, route: u32) -> Result<()> {
        let key = shape_key(service, shape);
        match route {
            ROUTE_UNKNOWN => removed(self.shapes.remove(&key)),
            route => Ok(self.shapes.insert(key, route, 0)?),
        }
    }

    /// Tells the kernel whether a level of paths has collapsed: the one below what has this hash.
    ///
    /// # Errors
    ///
    /// If the map cannot be written.
    pub fn collapse(&mut self, service: u16, above: u64, is_collapsed: bool) -> Result<()> {
        let key = shape_key(service, above);
        match is_collapsed {
            true => Ok(self.collapsed.insert(key, 1, 0)?),
            false => removed(self.collapsed.remove(&key)),
        }
    }

    /// Tells the kernel what there is to know of a service's routes: bits of [`vigie_ebpf::types::route_mode`].
    ///
    /// # Errors
    ///
    /// If the map cannot be written.
    pub fn set_route_mode(&mut self, service: u16, mode: u32) -> Result<()> {
        Ok(self.route_modes.set(slot(service), mode, 0)?)
    }

    /// Has the kernel forget the routes of the raw paths that it has seen.
    ///
    /// # Errors
    ///
    /// If the map cannot be written.
    pub fn set_route_epoch(&mut self, epoch: u32) -> Result<()> {
        Ok(self.route_epoch.set(0, epoch, 0)?)
    }

    /// What the scheduler's probe has added up for a service, over all CPUs.
    ///
    /// # Errors
    ///
    /// If the map cannot be read.
    pub fn sched(&self, service: u16) -> Result<SchedValue> {
        let mut sum = SchedValue::default();
        for value in self.sched.get(&slot(service), 0)?.iter() {
            sum.add(value);
        }
        Ok(sum)
    }

    /// Connections that carried no HTTP, from the first of each kind on.
    ///
    /// # Errors
    ///
    /// If the map cannot be read.
    pub fn not_http(&self) -> Result<Vec<(NotHttpKey, u64)>> {
        let mut all = self.not_http.iter().collect::<Result<Vec<_>, _>>()?;
        all.retain(|(_, count)| *count != 0);
        Ok(all)
    }

    /// What could not be seen, matched or kept, by [`vigie_ebpf::types::Lost`].
    ///
    /// # Errors
    ///
    /// If the map cannot be read.
    pub fn lost(&self) -> Result<[u64; LOST]> {
        let mut counts = [0; LOST];
        for (reason, count) in counts.iter_mut().enumerate() {
            *count = self.lost.get(&u32::try_from(reason)?, 0)?.iter().sum();
        }
        Ok(counts)
    }

    /// How many events the programs have missed because they were running already on that CPU. Where a second program
    /// hears of the same events, it is at most what the one that missed less has missed.
    ///
    /// # Errors
    ///
    /// If the kernel does not say.
    pub fn missed(&self) -> Result<u64> {
        let mut by_name = collections::HashMap::new();
        for (name, program) in self.ebpf.programs() {
            if let Ok(fd) = program.fd() {
                let missed = missed(fd.as_fd())?;
                let least = by_name.entry(name.trim_end_matches("_again")).or_insert(missed);
                *least = missed.min(*least);
            }
        }
        Ok(by_name.values().sum())
    }

    /// Has connections to these local ports picked up although they are older than Vigie.
    ///
    /// # Errors
    ///
    /// If the map cannot be written.
    pub fn adopt_ports(&mut self, ports: impl IntoIterator<Item = u16>) -> Result<()> {
        let mut bits = [0u64; 1024];
        for port in ports {
            bits[usize::from(port >> 6)] |= 1 << (port & 63);
        }
        Ok(self.ports.set(0, bits, 0)?)
    }

    /// How many CPUs there can be: as many values a series has.
    pub fn possible_cpus(&self) -> usize {
        self.cpus
    }

    /// How many threads run or wait on each of the first `cpus` CPUs right now, Vigie's own left out. `None` if the
    /// iterator is not there.
    ///
    /// # Errors
    ///
    /// If the iterator cannot be run.
    pub fn runnable(&mut self, cpus: &[u32]) -> Result<Option<Vec<(u32, u32)>>> {
        let Some((map, program)) = &mut self.runnable else {
            return Ok(None);
        };
        for cpu in cpus {
            map.set(*cpu, 0, 0)?;
        }
        let program: &mut Iter = self.ebpf.program_mut(program).context("no iterator")?.try_into()?;
        let link = program.attach()?;
        let mut file = program.take_link(link)?.into_file()?;
        let mut nothing = [0u8; 64];
        while file.read(&mut nothing)? > 0 {}
        cpus.iter()
            .map(|cpu| Ok((*cpu, map.get(cpu, 0)?)))
            .collect::<Result<Vec<_>>>()
            .map(Some)
    }
}
