//! Every map of the eBPF programs.

use aya_ebpf::{
    btf_maps::{Array, HashMap, LruHashMap, PerCpuArray, PerCpuHashMap, RingBuf, SkStorage},
    macros::btf_map,
};
use vigie_ebpf::{
    attribution::{Moment, REASONS, Reason},
    bytes::BUFFER,
    clock::Offset,
    exemplar::{self, Exemplar, ExemplarKey},
    native::Native,
    service,
    timeline::Timeline,
    traced::{Ended, KeptPath, ROUTES, SLOTS, TRACES_BYTES, TraceEvent, Untold, Wanted},
    types::{
        self, Asked, BOUNDS, CPUS, CachedPath, Connection, Exchanged, FOLLOWED, Killed, LOST, Lost, NATIVES,
        NotHttpKey, PROCESS_BLOCK, Parsed, Pieces, ProcessSums, SERVICE_UNKNOWN, SERVICES, SchedValue, SeriesKey,
        SeriesValue, ShapeKey, THREADS, ThreadBooks, VectorPlace, Waits,
    },
};

const BPF_NOEXIST: u64 = 1;
const BPF_F_NO_PREALLOC: usize = 1;
const BPF_F_MMAPABLE: usize = 1 << 10;

/// How many raw paths are remembered on each CPU; a power of two.
pub const CACHED_PATHS: usize = 1024;

/// The state of each watched connection. It lives with the socket and dies with it.
#[btf_map]
pub static CONNECTIONS: SkStorage<Connection> = SkStorage::new();

/// The state of the byte-wise parsers, for connections that need them.
#[btf_map]
pub static PIECES: SkStorage<Pieces> = SkStorage::new();

/// The service of each process, by process id.
#[btf_map]
pub static PROCESSES: Array<[u16; PROCESS_BLOCK], { types::PROCESSES / PROCESS_BLOCK }, BPF_F_MMAPABLE> = Array::new();

/// One bit for each TCP port that somebody has listened on: connections there are picked up when their beginning was missed.
#[btf_map]
pub static PORTS: Array<[u64; 1024], 1> = Array::new();

/// Whose a slot is: the number of the service, and the bits of [`vigie_ebpf::service`]. 0: nobody's. Written by user space.
#[btf_map]
pub static OWNERS: Array<u32, SERVICES> = Array::new();

/// The last process of a service that was killed by a signal, by slot.
#[btf_map]
pub static KILLED: Array<Killed, SERVICES> = Array::new();

/// The slot of a service. `None`: it is no service, or not any more.
#[inline(always)]
pub fn slot(number: u16) -> Option<u32> {
    let place = service::slot(number);
    let owner = *OWNERS.get(place)?;
    (number != SERVICE_UNKNOWN && owner as u16 == number).then_some(place)
}

/// Whether this is a service that has answered a request.
#[inline(always)]
pub fn answers(number: u16) -> bool {
    let owner = OWNERS.get(service::slot(number)).map_or(0, |owner| *owner);
    owner as u16 == number && owner & service::ANSWERS != 0
}

/// Whether there is no room for more series of a service.
#[inline(always)]
pub fn is_full(number: u16) -> bool {
    OWNERS
        .get(service::slot(number))
        .is_some_and(|owner| *owner & service::FULL != 0)
}

/// What there is to know of a service's routes, by slot: bits of [`vigie_ebpf::types::route_mode`].
#[btf_map]
pub static ROUTE_MODES: Array<u32, SERVICES> = Array::new();

/// The epoch of what [`CACHE`] remembers. User space begins another when a shape gets another route.
#[btf_map]
pub static ROUTE_EPOCH: Array<u32, 1> = Array::new();

/// The levels that have collapsed, by the hash of what is above them.
#[btf_map]
pub static COLLAPSED: HashMap<ShapeKey, u32, { types::COLLAPSED_LEVELS }, BPF_F_NO_PREALLOC> = HashMap::new();

/// How often shapes below a collapsed level were asked for lately, by their hashes.
#[btf_map]
pub static ASKED: Array<Asked, { types::ASKED_SHAPES }> = Array::new();

/// How many new paths of a service were shown to user space, and when, see [`vigie_ebpf::types::PATH_EVENTS`].
#[btf_map]
pub static SHOWN_PATHS: Array<u64, SERVICES> = Array::new();

/// The bounds of the latency histogram, in nanoseconds.
#[btf_map]
pub static LATENCY_BOUNDS: Array<[u64; BOUNDS], 1> = Array::new();

/// The requests. Only user space makes entries.
#[btf_map]
pub static SERIES: PerCpuHashMap<SeriesKey, SeriesValue, 32_768, BPF_F_NO_PREALLOC> = PerCpuHashMap::new();

/// The native histograms. User space counts in it, too.
#[btf_map]
pub static NATIVE: Array<Native, NATIVES, BPF_F_MMAPABLE> = Array::new();

/// A request of each series and bucket whose trace can be looked up.
#[btf_map]
pub static EXEMPLARS: LruHashMap<ExemplarKey, Exemplar, { exemplar::EXEMPLARS }> = LruHashMap::new();

/// How long the requests of a route have waited, where that is long. The key is that of its series with the status 0.
/// Only user space makes entries, and one before any series of the route.
#[btf_map]
pub static WAITS: HashMap<SeriesKey, Waits, 20_480, BPF_F_NO_PREALLOC> = HashMap::new();

/// How many requests of a service are in flight, by slot: the sum over all CPUs.
#[btf_map]
pub static IN_FLIGHT: PerCpuArray<u64, SERVICES> = PerCpuArray::new();

/// Bytes that services have exchanged with their clients, by slot.
#[btf_map]
static EXCHANGED: PerCpuArray<Exchanged, SERVICES> = PerCpuArray::new();

/// What a service has exchanged on this CPU.
#[inline(always)]
pub fn exchanged(service: u16) -> Option<*mut Exchanged> {
    EXCHANGED.get_ptr_mut(slot(service)?)
}

/// The routes that user space taught.
#[btf_map]
pub static SHAPES: LruHashMap<ShapeKey, u32, 16_384> = LruHashMap::new();

/// The raw paths that were seen lately: a direct-mapped cache, so that only one CPU's programs ever touch an entry.
#[btf_map]
pub static CACHE: PerCpuArray<CachedPath, CACHED_PATHS> = PerCpuArray::new();

/// The scheduler's books, by slot.
#[btf_map]
pub static SCHED: PerCpuArray<SchedValue, SERVICES> = PerCpuArray::new();

/// The threads' own books when they last left a CPU, by thread id.
#[btf_map]
pub static THREAD_BOOKS: Array<ThreadBooks, THREADS> = Array::new();

/// What the threads of a process did, by process id: of those with several threads that read requests.
#[btf_map]
pub static PROCESS_SUMS: Array<ProcessSums, FOLLOWED> = Array::new();

/// How long threads had waited for a CPU at earlier moments, by thread id.
#[btf_map]
pub static TIMELINES: Array<Timeline, FOLLOWED> = Array::new();

/// How far the clock of the run queues is from the monotonic clock.
#[btf_map]
pub static CLOCK: Array<Offset, 1> = Array::new();

/// Where a moment is looked at: the answer's, and that of a thread that makes another.
#[btf_map]
pub static MOMENTS: PerCpuArray<Moment, 2> = PerCpuArray::new();

/// Time that is not attributed, in nanoseconds, by reason.
#[btf_map]
static UNATTRIBUTED: PerCpuArray<u64, REASONS> = PerCpuArray::new();

/// How many threads run or wait on each CPU. User space clears it, and has the iterator fill it.
#[btf_map]
pub static RUNNABLE: Array<u32, CPUS> = Array::new();

/// What the parsers of `parsers.rs` have found.
#[btf_map]
pub static PARSED: PerCpuArray<Parsed, 1> = PerCpuArray::new();

/// Where a system call's bytes are copied to: those received, and those sent. Receiving and sending cannot interrupt one
/// another on a CPU in a way that lets both run: they have a buffer each.
#[btf_map]
static BUFFERS: PerCpuArray<[u8; BUFFER], 2> = PerCpuArray::new();

/// This CPU's buffer for what is received (0) or sent (1).
#[inline(always)]
pub fn buffer(is_sent: u32) -> Option<*mut [u8; BUFFER]> {
    BUFFERS.get_ptr_mut(is_sent)
}

/// Where in a system call's I/O vector the last copy ended: of what is received, and of what is sent.
#[btf_map]
pub static VECTOR_PLACES: PerCpuArray<VectorPlace, 2> = PerCpuArray::new();

/// What could not be seen, matched or kept, by reason.
#[btf_map]
static LOST_COUNTS: PerCpuArray<u64, LOST> = PerCpuArray::new();

/// What user space has to hear of, as it happens.
#[btf_map]
pub static EVENTS: RingBuf<u64, { types::EVENTS_BYTES }> = RingBuf::new();

/// Connections that carry no HTTP. User space makes the entries of [`SERVICE_UNKNOWN`], and removes those of services that are gone.
#[btf_map]
pub static NOT_HTTP: HashMap<NotHttpKey, u64, { types::NOT_HTTP }, BPF_F_NO_PREALLOC> = HashMap::new();

/// Who traces: a bit for each slot. Written by user space.
#[btf_map]
pub static TRACING: Array<u32, 1> = Array::new();

/// What each of them asks for.
#[btf_map]
pub static WANTED: Array<Wanted, SLOTS> = Array::new();

/// A bit for each route that each of them asks for.
#[btf_map]
pub static TRACED_ROUTES: Array<[u64; ROUTES / 64], SLOTS> = Array::new();

/// When each of them can be shown the next request.
#[btf_map]
pub static PACES: Array<u64, SLOTS> = Array::new();

/// What each of them asked for, and was not shown.
#[btf_map]
pub static UNTOLD: PerCpuArray<Untold, SLOTS> = PerCpuArray::new();

/// The requests that are shown.
#[btf_map]
pub static TRACES: RingBuf<TraceEvent, TRACES_BYTES> = RingBuf::new();

/// The path of the request that is answered next, for connections that were read from while somebody traced.
#[btf_map]
pub static PATHS: SkStorage<KeptPath> = SkStorage::new();

/// The path of what was received, and of what is answered, on its way from and to there.
#[btf_map]
pub static PATHS_AT_HAND: PerCpuArray<KeptPath, 2> = PerCpuArray::new();

/// The request that has just ended, if somebody traces.
#[btf_map]
pub static ENDED: PerCpuArray<Ended, 1> = PerCpuArray::new();

/// Counts a connection that carries no HTTP.
#[inline(always)]
pub fn count_not_http(key: NotHttpKey) {
    let unknown = NotHttpKey {
        service: SERVICE_UNKNOWN,
        port: 0,
        looks: key.looks,
    };
    if NOT_HTTP.get_ptr_mut(key).is_none() {
        // Where there is no room, it is counted for nobody. That another CPU has made it at the same time is no harm.
        let _ = NOT_HTTP.insert(key, 0, BPF_NOEXIST);
    }
    if let Some(count) = NOT_HTTP.get_ptr_mut(key).or_else(|| NOT_HTTP.get_ptr_mut(unknown)) {
        // SAFETY: the map's value.
        unsafe { add(count, 1) };
    }
}

/// Counts something that could not be seen, matched or kept.
#[inline(always)]
pub fn lost(reason: Lost) {
    lose(reason, 1);
}

/// Counts several of them.
#[inline(always)]
pub fn lose(reason: Lost, number: u64) {
    if let Some(count) = LOST_COUNTS.get_ptr_mut(reason as u32) {
        // SAFETY: the pointer is to this CPU's element of the map.
        unsafe { *count += number };
    }
}

/// Says why time is not attributed, and how much, in nanoseconds.
#[inline(always)]
pub fn unattributed(reason: Reason, time: u64) {
    if let Some(sum) = UNATTRIBUTED.get_ptr_mut(reason as u32) {
        // SAFETY: the pointer is to this CPU's element of the map.
        unsafe { *sum += time };
    }
}

/// Adds to a number that all CPUs share.
///
/// # Safety
///
/// `sum` points into a map's value.
#[inline(always)]
pub unsafe fn add(sum: *mut u64, number: u64) {
    // SAFETY: by this function's contract. The instruction has no other effect.
    unsafe {
        core::arch::asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) sum, in(reg) number, options(nostack));
    }
}
