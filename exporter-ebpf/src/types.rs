//! What travels between the kernel and user space: keys, values and events.
//!
//! Everything here is `repr(C)` without hidden padding, so that both sides agree on every byte. Times are nanoseconds
//! of the monotonic clock.

use crate::{
    arrivals::Arrivals,
    attribution::Moment,
    bytes::unbranched,
    chunked::Chunks,
    exemplar::TraceId,
    head::{self, Framing, Head},
    path::Shape,
    phases::Phases,
    preface, request,
    timeline::{Mark, Waited},
};

/// How many bounds a latency histogram may have; the bucket for everything above the last comes on top.
pub const BOUNDS: usize = 27;
/// How many bounds the run-queue wait histogram has.
pub const WAIT_BOUNDS: usize = 17;
/// The upper bounds of the run-queue wait histogram, in nanoseconds: from 5 µs to 1 s.
pub const WAIT_BOUNDS_NS: [u64; WAIT_BOUNDS] = [
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
];
/// How many slots for services there are, counting that of [`SERVICE_UNKNOWN`], which is none.
pub const SERVICES: usize = crate::service::SLOTS;
/// How many CPUs the run-queue lengths are kept for.
pub const CPUS: usize = 4096;
/// How many process ids there can be on a host of 64 bits: `PID_MAX_LIMIT` in `include/linux/threads.h`. `/proc/sys/kernel/pid_max` may be
/// raised up to there at any time, and the size of a map is for good.
pub const PROCESSES: usize = 4 << 20;
/// How many entries of the process table are one map element.
pub const PROCESS_BLOCK: usize = 32;

pub use crate::service::{IGNORED as SERVICE_IGNORED, PENDING as SERVICE_PENDING, UNKNOWN as SERVICE_UNKNOWN};

/// The route of a request is not known yet.
pub const ROUTE_UNKNOWN: u32 = 0;
/// Paths whose answers said nothing about them, see [`tells_of_path`].
pub const ROUTE_NONE: u32 = 1;
/// Paths past the service's cap on routes.
pub const ROUTE_OTHER: u32 = 2;

/// What the kernel knows of a service's routes: bits.
pub mod route_mode {
    /// There are as many as there may be: what is not taught is [`super::ROUTE_OTHER`].
    pub const CLOSED: u32 = 1;
    /// There are levels that have collapsed.
    pub const COLLAPSES: u32 = 2;
    /// There are templates: user space has to look at each new path, also when there are as many routes as there may be.
    pub const TEMPLATED: u32 = 4;
    /// There have been so many paths that new ones are only shown as the budget of [`super::PATH_EVENTS`] allows.
    pub const LIMITED: u32 = 8;
    /// There are templates that tell paths of one shape apart: a path whose shape is not taught goes by its exact hash.
    pub const EXACT: u32 = 16;
}

/// How many new paths of a service are shown to user space in 2^30 nanoseconds, once there have been many. Beyond, requests are
/// counted as [`ROUTE_OTHER`].
pub const PATH_EVENTS: u32 = 1000;

/// How many requests a shape below a collapsed level must have in a period of 2^36 nanoseconds, a good minute, to be shown to user space.
pub const BUSY: u32 = 16;
/// How many bits of a time in nanoseconds are within that period.
pub const BUSY_PERIOD_BITS: u32 = 36;

/// How many levels can have collapsed on a host.
pub const COLLAPSED_LEVELS: usize = 256;

/// How many shapes below collapsed levels can be told apart: a power of two.
pub const ASKED_SHAPES: usize = 4096;

/// How often a shape below a collapsed level was asked for lately. It has its place until others have come there as often.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The hash of the shape, mixed with the service.
    pub shape: u64,
    /// In which period.
    pub period: u32,
    /// How often, less what came to the same place.
    pub count: u32,
}

// === impl Asked ===

impl Asked {
    /// Counts a request of a shape, and says whether there were [`BUSY`] of it. Two CPUs may count at once, and one request less.
    #[inline(always)]
    pub fn count(&mut self, shape: u64, now: u64) -> bool {
        let period = (now >> BUSY_PERIOD_BITS) as u32;
        if self.period != period || self.count == 0 {
            self.shape = shape;
            self.period = period;
            self.count = 0;
        }
        if self.shape != shape {
            self.count -= 1;
            return false;
        }
        self.count += 1;
        if self.count < BUSY {
            return false;
        }
        self.count = 0;
        true
    }
}

/// The number of the helper that stands for `bpf_preempt_disable()` until the programs are loaded. No kernel has so many.
pub const PREEMPT_DISABLE: i32 = 0x7e57_0001;
/// The number of the helper that stands for `bpf_preempt_enable()`.
pub const PREEMPT_ENABLE: i32 = 0x7e57_0002;

/// The status of a request whose connection was closed before it was answered.
pub const STATUS_ABORTED: u16 = 0;

/// Whether an answer with this status says that there is something of its own at the path.
///
/// A server may answer any path with "bad request", "log in first", "not allowed" or "go to the login page", and a path that does not
/// exist with "not found". No answer at all says nothing, either.
#[inline(always)]
pub fn tells_of_path(status: u16) -> bool {
    !matches!(
        status,
        STATUS_ABORTED | 300..=303 | 305..=308 | 400 | 401 | 403 | 404 | 405 | 407 | 429 | 501
    )
}

/// The time series a request belongs to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesKey {
    /// The route's number, given by user space; see [`ROUTE_NONE`], [`ROUTE_OTHER`].
    pub route: u32,
    /// The service's number, given by user space.
    pub service: u16,
    /// The local TCP port; 0 for a unix socket.
    pub port: u16,
    /// The status code, or [`STATUS_ABORTED`].
    pub status: u16,
    /// The method's number, see [`crate::method`], as [`method::counted`] has it.
    pub method: u8,
    /// [`STREAM`], or zero.
    pub flags: u8,
}

/// A bit of [`SeriesKey::flags`]: streams of events, which last as long as their clients like. They are counted when they begin, and
/// have no durations. Of the same labels there may be a series with this bit and one without.
pub const STREAM: u8 = 1;

// === impl SeriesKey ===

impl SeriesKey {
    /// Whether this is a series of streams.
    #[inline(always)]
    pub fn is_stream(&self) -> bool {
        self.flags & STREAM != 0
    }
}

/// How many series have a native histogram. The first place is nobody's.
pub const NATIVES: usize = 2000;

/// What is added up for one series, on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesValue {
    /// Requests by duration: bucket i counts what is above bound i - 1 and not above bound i.
    pub buckets: [u64; BOUNDS + 1],
    /// Where the durations went; their sum is that of the durations.
    pub phases: Phases,
    /// Bytes received for these requests, heads included.
    pub request_bytes: u64,
    /// Bytes sent for them, heads included.
    pub response_bytes: u64,
    /// The place of its native histogram: no sum, but the same on all CPUs. Given by user space; 0 for none.
    pub native: u64,
}

impl Default for SeriesValue {
    fn default() -> Self {
        Self {
            buckets: [0; BOUNDS + 1],
            phases: Phases::default(),
            request_bytes: 0,
            response_bytes: 0,
            native: 0,
        }
    }
}

impl SeriesValue {
    /// Counts one request.
    #[inline(always)]
    pub fn count(&mut self, bounds: &[u64; BOUNDS], request: &Finished) {
        let bucket = bucket(bounds, request.phases.duration());
        // SAFETY: a bucket is at most BOUNDS, which is the array's last index. The mask is for the verifier, and what it lets
        // through is still inside of this structure.
        unsafe { *self.buckets.as_mut_ptr().add(unbranched(bucket as u64) as usize & 31) += 1 };
        self.phases.add(&request.phases);
        self.request_bytes += request.request_bytes;
        self.response_bytes += request.response_bytes;
    }

    /// Counts `streams` that begin, and what was received and sent for streams since they were counted. The first bucket holds the
    /// count: a stream has no duration.
    #[inline(always)]
    pub fn count_stream(&mut self, streams: u64, part: &Finished) {
        self.buckets[0] += streams;
        self.request_bytes += part.request_bytes;
        self.response_bytes += part.response_bytes;
    }
}

/// What was measured of one request.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Finished {
    /// Where its duration went: the time from the first readable byte of the request to the last byte of its response.
    pub phases: Phases,
    /// Bytes received.
    pub request_bytes: u64,
    /// Bytes sent.
    pub response_bytes: u64,
}

/// The bucket of `value`: the first whose bound is not below it. Unused bounds are `u64::MAX`.
#[inline(always)]
pub fn bucket<const N: usize>(bounds: &[u64; N], value: u64) -> usize {
    let mut i = 0;
    while i < N {
        if value <= bounds[i] {
            break;
        }
        i += 1;
    }
    i
}

/// What is added up for one service's threads, on one CPU, by the scheduler's probe.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchedValue {
    /// Time on a CPU, in nanoseconds.
    pub cpu: u64,
    /// Time runnable and waiting for a CPU, in nanoseconds.
    pub wait: u64,
    /// Switches because the thread blocked.
    pub voluntary: u64,
    /// Switches because it was preempted, or yielded.
    pub involuntary: u64,
    /// Waits by length; see [`WAIT_BOUNDS_NS`].
    pub buckets: [u64; WAIT_BOUNDS + 1],
}

// === impl SchedValue ===

impl SchedValue {
    /// Adds what was added up elsewhere.
    pub fn add(&mut self, other: &Self) {
        let Self {
            cpu,
            wait,
            voluntary,
            involuntary,
            buckets,
        } = other;
        self.cpu += cpu;
        self.wait += wait;
        self.voluntary += voluntary;
        self.involuntary += involuntary;
        for (sum, count) in self.buckets.iter_mut().zip(buckets) {
            *sum += count;
        }
    }
}

/// The last process of a service that was killed by a signal. All zero is none.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Killed {
    /// When it ended.
    pub time: u64,
    /// The signal.
    pub signal: u64,
}

/// Bytes that a service has exchanged with its clients, on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exchanged {
    /// Bytes that it has read.
    pub received: u64,
    /// Bytes that it has written.
    pub sent: u64,
}

/// A thread's own books, as they were when it last left a CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadBooks {
    // A map's first element lies 8 bytes before a cache line of 64: what comes first is not needed for a request, and the rest
    // is in one line.
    /// Its `nivcsw`.
    pub involuntary: u64,
    /// Its `nvcsw`.
    pub voluntary: u64,
    /// Its `se.sum_exec_runtime`.
    pub cpu: u64,
    /// Its `sched_info.run_delay`.
    pub wait: u64,
    /// Its `sched_info.pcount`: how often it has got a CPU.
    pub runs: u64,
    /// How long it had waited for a CPU lately: not when it left one, but when it read or answered a request.
    pub youngest: Mark,
    /// Its thread id, or 0: nobody's.
    pub thread: u32,
    /// Bits of [`habit`].
    pub habits: u32,
}

/// What is known of how a thread works.
pub mod habit {
    /// It reads requests.
    pub const READS: u32 = 1;
    /// Its process has other threads.
    pub const HAS_OTHERS: u32 = 2;
}

/// How many threads' [`ThreadBooks`] are kept: a power of two. Thread ids are given in turn, so that two threads rarely meet in
/// one place.
pub const THREADS: usize = 32_768;

/// What the threads of a process did, as far as they have left a CPU since its first request, and its requests. Kept for processes
/// with several threads.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessSums {
    /// Time on a CPU, in nanoseconds.
    pub cpu: u64,
    /// Time runnable and waiting for a CPU, in nanoseconds.
    pub wait: u64,
    /// Both together, of those threads that read no requests.
    pub helpers: u64,
    /// Requests that it has begun to handle.
    pub begun: u64,
    /// Requests of those that it handles no longer.
    pub ended: u64,
    /// The process's id, or 0: nobody's.
    pub process: u32,
    /// Zero.
    pub reserved: u32,
}

/// How many processes' [`ProcessSums`] are kept, and how many threads' timelines: a power of two.
pub const FOLLOWED: usize = 4096;

/// How many bounds the histograms of a request's waits have.
pub const PHASE_BOUNDS: usize = 10;
/// The upper bounds of these histograms, in nanoseconds: from 0.1 ms to 5 s.
pub const PHASE_BOUNDS_NS: [u64; PHASE_BOUNDS] = [
    100_000,
    500_000,
    1_000_000,
    5_000_000,
    10_000_000,
    50_000_000,
    100_000_000,
    500_000_000,
    1_000_000_000,
    5_000_000_000,
];

/// How many requests of a route have waited for how long. Those below the first bound are not here: they are all
/// the others, so that the usual request costs nothing.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// Requests by their time in the queue: place i counts what is above bound i and not above bound i + 1.
    pub queue: [u64; PHASE_BOUNDS],
    /// The same for the time in the run queue.
    pub runqueue: [u64; PHASE_BOUNDS],
}

/// Why something was not seen, matched or kept. The index of a counter.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The ring buffer was full: a request of a route that was not known yet is not counted.
    RingFull = 0,
    /// No memory for a socket's state: its requests are not counted.
    NoSocketState = 1,
    /// The user buffer could not be read (swapped out, or gone).
    Fault = 2,
    /// A system call whose buffer cannot be found: `io_uring`, `recvmmsg`, a kernel thread.
    Unreadable = 3,
    /// A response that no request was seen for, a request that could not be kept, or bytes that could not be followed.
    Unmatched = 4,
    /// Two living threads share a place for their books: what they did since they last left a CPU is not counted.
    ThreadCollision = 5,
    /// A response over a unix socket that ends with the connection, which nothing tells of: its duration is that up to the
    /// system call that sent its head.
    UnseenEnd = 6,
    /// A new path that was not shown, because there were more than [`PATH_EVENTS`]: its request is counted as [`ROUTE_OTHER`].
    OverBudget = 7,
    /// The head of a request had not ended when its connection did, and nobody answered it: some servers take it for a request.
    Unfinished = 8,
}

/// How many reasons there are.
pub const LOST: usize = 9;

/// What was known of the thread that read a request, when it had read its first bytes. All zero is nothing.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// The thread, and the moment.
    pub moment: Moment,
    /// How long it had waited for a CPU since the request became readable.
    pub waited: Waited,
}

/// A request, from when it was read until it is answered. All zero is none.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// When its first byte became readable.
    pub start: u64,
    /// Bytes received for it.
    pub bytes: u64,
    /// The shape of the path, where the route is not known.
    pub shape: u64,
    /// The route, or [`ROUTE_UNKNOWN`].
    pub route: u32,
    /// The process that read it.
    pub process: u32,
    /// Its service.
    pub service: u16,
    /// The service whose requests in flight it is counted with, or [`SERVICE_UNKNOWN`].
    pub flight: u16,
    /// The method's number.
    pub method: u8,
    /// Whether it is counted in the [`ProcessSums`] of its process.
    pub is_summed: bool,
    /// Whether its path is kept beside the connection, see [`crate::traced`].
    pub has_path: bool,
    /// Whether it has a trace, whose id is in [`Connection::trace`].
    pub has_exemplar: bool,
    /// Who read it, and when.
    pub read: Read,
}

/// Connections that carry no HTTP: a key of the counts.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NotHttpKey {
    /// The service, or [`SERVICE_UNKNOWN`]: of those that there was no room for.
    pub service: u16,
    /// The local TCP port; 0 for a unix socket.
    pub port: u16,
    /// What their first bytes look like: one of [`crate::preface::looks`].
    pub looks: u32,
}

/// For how many services, ports and looks connections that carry no HTTP are counted. Those beyond are counted for
/// [`SERVICE_UNKNOWN`] and port 0.
pub const NOT_HTTP: usize = 2048;

/// Where an HTTP/1 connection is. All zero is a new one.
///
/// It has two sides, which may be at work at the same time: what is received, in one of [`reading`]; and what is sent, in
/// one of [`stage`]. Requests that were read before the one before them was answered wait in [`Pieces::waiting`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// When what was not read yet became readable.
    pub arrivals: Arrivals,
    /// The request that is being answered.
    pub request: Request,
    /// The trace that it belongs to, if [`Request::has_exemplar`]. Of a stream, which is no exemplar: how many of its bytes are
    /// counted, received and sent. There is no room for both: with its header a socket's state takes 512 bytes.
    pub trace: TraceId,
    /// Where its time went, up to the first byte of its response.
    pub phases: Phases,
    /// How much of what is not attributed is for [`crate::attribution::Reason::Queue`], in nanoseconds.
    pub unsure: u64,
    /// When the first byte of its response was taken, or 0: it was not.
    pub answered: u64,
    /// When the last byte of its response so far was taken.
    pub last_send: u64,
    /// What is left of a response's body with a known length.
    pub remaining: u64,
    /// Bytes sent for the request.
    pub response_bytes: u64,
    /// The framing of a response's chunked body.
    pub chunks: Chunks,
    /// What is left of a request's body with a known length.
    pub unread: u64,
    /// How many requests were put into [`Pieces::waiting`]. Only the receiving side writes it.
    pub put: u32,
    /// How many were taken from there. Only the sending side writes it.
    pub taken: u32,
    /// How many requests could not be kept, because too many waited: their responses are not counted. Only the receiving side
    /// writes it.
    pub dropped: u32,
    /// How many of those were answered. Only the sending side writes it.
    pub passed: u32,
    /// The status, once it was sent.
    pub status: u16,
    /// The local TCP port; 0 for a unix socket.
    pub port: u16,
    /// One of [`stage`].
    pub stage: u8,
    /// One of [`reading`].
    pub reading: u8,
    /// Whether this connection has carried a request.
    pub is_http: bool,
    /// Whether what is read is known to continue what was read before: the connection was seen from its first byte on, or
    /// has come to the start of a request.
    pub in_step: bool,
    /// Whether the client waits for leave to send the body of the last request, and no byte of it has come.
    pub expects: bool,
    /// Whether this is a unix socket and not TCP.
    pub is_unix: bool,
    /// Whether the request that is being read could not be kept.
    pub is_dropped: bool,
    /// Whether [`Connection::position`] is known.
    pub has_position: bool,
    /// Whether more has been sent in one call than fits into a socket's buffer for certain.
    pub sends_much: bool,
    /// Why the rest is not attributed: a [`crate::attribution::Reason`].
    pub reason: u8,
    /// Where among the native histograms the request is that has just ended, if it can be an exemplar; else 0.
    pub exemplar_place: u16,
    /// How long the socket had held unsent or unconfirmed data in all when the request was read, in jiffies, where that matters.
    pub busy: u32,
    /// For how long it did so until the first bytes of the response were taken, likewise.
    pub sending: u32,
    /// The place in the stream behind the last byte that was read: a TCP sequence number, or how many bytes were read.
    pub position: u32,
    /// The thread whose read, and whose write, was dealt with last, where each event is heard of twice.
    pub received_by: u32,
    /// As above.
    pub sent_by: u32,
    /// Whether the request is answered with a stream of events, and is counted.
    pub is_stream: bool,
}

// === impl Connection ===

impl Connection {
    /// Whether a request waits for the one before it to be answered.
    #[inline(always)]
    pub fn has_waiting(&self) -> bool {
        self.put != self.taken || self.dropped != self.passed
    }
}

/// What the receiving side of a connection waits for.
pub mod reading {
    /// A request.
    pub const START: u8 = 0;
    /// The rest of a request line.
    pub const LINE: u8 = 1;
    /// The rest of a request's head.
    pub const FIELDS: u8 = 2;
    /// The rest of a body of known length.
    pub const LENGTH: u8 = 3;
    /// The rest of a chunked body.
    pub const CHUNKED: u8 = 4;
    /// The rest of what a proxy sends before the first request.
    pub const PROXY: u8 = 5;
    /// A request that is recognized at the start of what is read: what came before it was none, or its end is not known.
    pub const ODD: u8 = 6;
}

/// Where the sending side of a connection is.
pub mod stage {
    /// No request is being answered.
    pub const IDLE: u8 = 0;
    /// Waiting for the response.
    pub const OPEN: u8 = 1;
    /// In the middle of a response's head.
    pub const HEAD: u8 = 2;
    /// In a body of known length.
    pub const LENGTH: u8 = 3;
    /// In a chunked body.
    pub const CHUNKED: u8 = 4;
    /// In a body that ends with the connection.
    pub const UNTIL_CLOSE: u8 = 5;
    /// In a response whose end cannot be known: it is the last byte before the next request, or before the close.
    pub const UNKNOWN: u8 = 6;
    /// Not HTTP, or not any more.
    pub const OPAQUE: u8 = 7;
    /// What was read is no request: whether it was one to the server is what the answer says. Until then
    /// [`super::Connection::status`] is what it looks like, of [`crate::preface::looks`].
    pub const ASKED: u8 = 8;
}

/// How many requests of one connection can wait for the one before them to be answered: a power of two.
pub const WAITING: usize = 32;

/// What only a connection with unusual pieces needs: the state of the byte-wise parsers, and pipelined requests.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pieces {
    /// What a proxy sends first.
    pub preface: preface::Reader,
    /// The request line.
    pub line: request::Reader,
    /// When the first byte of that request became readable.
    pub start: u64,
    /// Who read it, and when.
    pub read: Read,
    /// Bytes received of it.
    pub bytes: u64,
    /// The rest of the request's head.
    pub fields: head::Reader,
    /// The framing of a request's chunked body.
    pub chunks: Chunks,
    /// The response's head.
    pub response: head::Reader,
    /// Requests that wait for the one before them to be answered: a ring.
    pub waiting: [Request; WAITING],
}

/// What the parsers that are verified on their own hand to their callers.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// A request line.
    pub line: request::Line,
    /// What the request's fields say.
    pub framing: Framing,
    /// The shape of its path.
    pub shape: Shape,
    /// The hash of that, once it is whole.
    pub hash: u64,
    /// A response's head.
    pub head: Head,
}

/// A place in an I/O vector.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VectorPlace {
    /// The number of the element.
    pub element: u64,
    /// How many bytes are in those before it.
    pub before: u64,
}

/// A raw path that was seen lately, and its route.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CachedPath {
    /// The hash of the path, mixed with the service.
    pub hash: u64,
    /// The route.
    pub route: u32,
    /// In which epoch: user space begins another when a shape gets another route.
    pub epoch: u32,
}

/// The key of what user space taught: a path's shape in a service.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ShapeKey {
    /// The hash of the shape.
    pub shape: u64,
    /// The service's number.
    pub service: u32,
    /// Zero.
    pub reserved: u32,
}

/// How many bytes the ring buffer of events holds: a power of two, and whole pages.
pub const EVENTS_BYTES: usize = 1 << 20;

/// The kinds of [`ProcessEvent`], [`PathEvent`], [`RequestEvent`]: the first word of each.
pub mod event {
    /// A [`super::ProcessEvent`]: it received a request, and is not known.
    pub const PROCESS: u32 = 1;
    /// A [`super::ProcessEvent`]: it listens on a port.
    pub const LISTEN: u32 = 2;
    /// A [`super::PathEvent`].
    pub const PATH: u32 = 3;
    /// A [`super::RequestEvent`].
    pub const REQUEST: u32 = 4;
}

/// A process that user space should name.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessEvent {
    /// [`event::PROCESS`] or [`event::LISTEN`].
    pub kind: u32,
    /// Its id.
    pub process: u32,
    /// The command name of the thread that was seen, in case the process is gone before user space looks.
    pub command: [u8; 16],
    /// The local TCP port that was seen.
    pub port: u16,
    /// Zero.
    pub reserved: [u8; 6],
    /// When the process was made, in nanoseconds since boot: its id may be another's before user space looks.
    pub start: u64,
}

/// A path whose shape is not known.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathEvent {
    /// [`event::PATH`].
    pub kind: u32,
    /// The process that read it.
    pub process: u32,
    /// The hash of the path's shape.
    pub shape: u64,
    /// How many bytes of `path` are the path's. More than [`request::PATH`]: the rest was cut off.
    pub length: u32,
    /// The service, or [`SERVICE_PENDING`].
    pub service: u16,
    /// Whether its level has collapsed, and this shape is asked for often (1).
    pub is_busy: u16,
    /// The path's first bytes.
    pub path: [u8; request::PATH],
}

/// A request that the kernel could not count, because it does not know its series.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestEvent {
    /// [`event::REQUEST`].
    pub kind: u32,
    /// The process that read it.
    pub process: u32,
    /// The hash of the path's shape, where the route is unknown.
    pub shape: u64,
    /// The series; its service may be [`SERVICE_PENDING`], its route [`ROUTE_UNKNOWN`].
    pub key: SeriesKey,
    /// 1 if this is what was received and sent for a stream since it was counted; else 0, and it is to be counted.
    pub is_rest: u32,
    /// What was measured.
    pub finished: Finished,
}

#[cfg(feature = "user")]
mod pod {
    // SAFETY: each is repr(C), made of integers and arrays of integers without padding: any bytes are a value.
    unsafe impl aya::Pod for super::SeriesKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::SeriesValue {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::SchedValue {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::ShapeKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Waits {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Exchanged {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Killed {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::NotHttpKey {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        exemplar::{EXEMPLARS, Exemplar, ExemplarKey},
        native::Native,
        timeline::Timeline,
    };

    #[test]
    fn buckets_are_inclusive_above() {
        let bounds = [10, 20, u64::MAX];
        assert_eq!(
            [0, 10, 11, 20, 21, u64::MAX].map(|value| bucket(&bounds, value)),
            [0, 0, 1, 1, 2, 2]
        );
        assert_eq!(bucket(&[1], 2), 1);
    }

    #[test]
    fn a_busy_shape_is_found_among_many() {
        let mut asked = Asked::default();
        // Of each three requests that come to one place, two are of one shape.
        let found: Vec<u64> = (0..3000u64)
            .filter(|i| asked.count(if i % 3 == 0 { 1000 + i } else { 7 }, 5))
            .collect();
        assert!(found.len() > 50 && found.iter().all(|i| i % 3 != 0), "{found:?}");
        // Many that come once are never busy, nor is what comes seldom.
        let mut asked = Asked::default();
        assert!((0..100_000u64).all(|i| !asked.count(i, 5)));
        assert!((0..100u64).all(|i| !asked.count(7, i << BUSY_PERIOD_BITS)));
        let mut asked = Asked::default();
        assert_eq!((1..=32).filter(|_| asked.count(7, 5)).count(), 2);
    }

    #[test]
    fn a_request_is_counted_once() {
        let mut bounds = [u64::MAX; BOUNDS];
        bounds[0] = 5;
        let mut value = SeriesValue::default();
        for duration in [1, 5, 6] {
            value.count(
                &bounds,
                &Finished {
                    phases: Phases {
                        cpu: duration,
                        ..Phases::default()
                    },
                    request_bytes: 2,
                    response_bytes: 3,
                },
            );
        }
        assert_eq!(
            (
                value.buckets[0],
                value.buckets[1],
                value.phases.cpu,
                value.request_bytes,
                value.response_bytes
            ),
            (2, 1, 12, 6, 9)
        );
    }

    #[test]
    fn a_stream_is_counted_when_it_begins_and_has_no_duration() {
        let mut value = SeriesValue::default();
        for (streams, bytes) in [(1, 10), (0, 7), (0, 0)] {
            let part = Finished {
                request_bytes: bytes,
                response_bytes: 100 * bytes,
                ..Finished::default()
            };
            value.count_stream(streams, &part);
        }
        assert_eq!(value.buckets.iter().sum::<u64>(), 1);
        assert_eq!(
            (value.phases.duration(), value.request_bytes, value.response_bytes),
            (0, 17, 1700)
        );
    }

    #[test]
    fn sizes_fit_their_places() {
        assert_eq!(size_of::<SeriesKey>(), 12);
        assert_eq!(size_of::<SeriesValue>(), 296);
        // 1,000 series on 128 CPUs stay below 64 MB (here: of 1,048,576 bytes).
        let per_cpu = 1000 * size_of::<SeriesValue>()
            + SERVICES * (size_of::<SchedValue>() + 8 + size_of::<Exchanged>())
            + 1024 * size_of::<CachedPath>()
            + 16_384;
        let processes = 2 * PROCESSES;
        let followed = FOLLOWED * (size_of::<ProcessSums>() + size_of::<Timeline>());
        let books = THREADS * size_of::<ThreadBooks>();
        // The shapes below collapsed levels and these levels, the ring buffer, the taught shapes, the waits of the routes, the exemplars:
        // hash maps with what such a map needs itself.
        let exemplars = EXEMPLARS * (size_of::<ExemplarKey>() + size_of::<Exemplar>() + 64);
        let asked = ASKED_SHAPES * size_of::<Asked>() + COLLAPSED_LEVELS * (16 + 8 + 64);
        let rest = asked + EVENTS_BYTES + 16_384 * (16 + 8 + 64) + 1000 * (16 + size_of::<Waits>() + 64) + exemplars;
        let native = NATIVES * size_of::<Native>();
        let all = 128 * per_cpu + processes + followed + books + rest + native;
        assert!(all < 64 << 20, "{all}");
        assert_eq!(size_of::<SchedValue>(), 176);
        assert_eq!((size_of::<Connection>(), size_of::<Pieces>()), (440, 4968));
    }
}
