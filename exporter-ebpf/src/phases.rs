//! Where the duration of a request went.

/// The parts of a request's duration, in nanoseconds. They add up to it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// It was readable, and nobody read it, though the thread that did in the end had a CPU, or slept.
    pub queue: u64,
    /// The thread that handled it was runnable, and waited for a CPU; also before it read it.
    pub runqueue: u64,
    /// The thread that handled it ran.
    pub cpu: u64,
    /// The thread that handled it slept: it waited for something else than a CPU.
    pub blocked: u64,
    /// From the first byte of the response to the last.
    pub send: u64,
    /// What is known to be none of the above for certain.
    pub unattributed: u64,
}

/// How many phases there are.
pub const PHASES: usize = 6;

/// The names of the phases, label values, in the order of [`Phases::list`].
pub const PHASE_NAMES: [&str; PHASES] = ["queue", "runqueue", "cpu", "blocked", "send", "unattributed"];

// === impl Phases ===

impl Phases {
    /// All of them, in the order of [`PHASE_NAMES`].
    #[inline(always)]
    pub fn list(&self) -> [u64; PHASES] {
        let Self {
            queue,
            runqueue,
            cpu,
            blocked,
            send,
            unattributed,
        } = *self;
        [queue, runqueue, cpu, blocked, send, unattributed]
    }

    /// The duration: their sum.
    #[inline(always)]
    pub fn duration(&self) -> u64 {
        let Self {
            queue,
            runqueue,
            cpu,
            blocked,
            send,
            unattributed,
        } = *self;
        queue + runqueue + cpu + blocked + send + unattributed
    }

    /// Adds another request's.
    #[inline(always)]
    pub fn add(&mut self, other: &Self) {
        let Self {
            queue,
            runqueue,
            cpu,
            blocked,
            send,
            unattributed,
        } = *other;
        self.queue += queue;
        self.runqueue += runqueue;
        self.cpu += cpu;
        self.blocked += blocked;
        self.send += send;
        self.unattributed += unattributed;
    }

    /// What is left of the sum of many when the sum of some of them is taken away.
    pub fn without(&self, part: &Self) -> Self {
        let Self {
            queue,
            runqueue,
            cpu,
            blocked,
            send,
            unattributed,
        } = *part;
        Self {
            queue: self.queue - queue,
            runqueue: self.runqueue - runqueue,
            cpu: self.cpu - cpu,
            blocked: self.blocked - blocked,
            send: self.send - send,
            unattributed: self.unattributed - unattributed,
        }
    }
}
