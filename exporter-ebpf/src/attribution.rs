//! From what is known of a thread at two moments to what a request's time went for.
//!
//! A request is read by a thread at one moment, and its response begins at another. What the thread did in between is in its
//! own books, to the nanosecond. Whether that is all that was done for the request is another question: a server may have
//! handed it to a thread that reads no requests itself (FastAPI's thread pool, libuv's), or to any other. What
//! follows is exact, or says that it does not know:
//!
//! - The process has one thread: its time is the request's.
//! - The process had no other request in flight: what its other threads did meanwhile was done for this one.
//! - The same thread reads and answers, and threads that read no requests worked meanwhile: as much of its sleep as they
//!   were at work may be work for this request, or for another. The rest was sleep.
//! - Another thread answers: as much time as the process was at work is not attributed. The rest was sleep.

use crate::{phases::Phases, timeline::Waited};

/// What is known of a thread and its process at one moment. Times are in nanoseconds, sums have origins of their own.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// The monotonic time.
    pub time: u64,
    /// How long the thread has run. All threads' sums are off by the same constant.
    pub cpu: u64,
    /// How long it has waited for a CPU.
    pub wait: u64,
    /// How long the threads of its process have run: this one up to now, the others up to when they last left a CPU. Off by
    /// the same constant.
    pub process_cpu: u64,
    /// How long they have waited for a CPU, likewise.
    pub process_wait: u64,
    /// How long those of them that read no requests have run or waited, up to when they last left a CPU.
    pub helpers: u64,
    /// The thread's id.
    pub thread: u32,
    /// How many requests its process has begun to handle, if that is counted.
    pub begun: u32,
    /// One of [`knowledge`].
    pub knowledge: u32,
    /// Whether no other request of the process is in flight (1), if that is counted.
    pub is_alone: u32,
}

/// How much a [`Moment`] knows.
pub mod knowledge {
    /// Nothing but the time: the thread's books are not those of when it last left a CPU.
    pub const NOTHING: u32 = 0;
    /// The thread's sums. Its process has other threads, and theirs are not known.
    pub const THREAD: u32 = 1;
    /// The thread's sums, and it is the only one of its process.
    pub const ONLY_THREAD: u32 = 2;
    /// All sums.
    pub const PROCESS: u32 = 3;
}

/// Why time could not be attributed.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was not read yet, and it cannot be said for how much of that time its reader waited for a CPU.
    Queue = 0,
    /// A thread's books are not known.
    Books = 1,
    /// Another thread answered, while other requests were in flight.
    Moved = 2,
    /// Threads that read no requests worked, while other requests were in flight.
    HandedOver = 3,
    /// The beginning of the response was not seen.
    Unseen = 4,
}

// === impl Reason ===

impl Reason {
    /// The reason with this number.
    #[inline(always)]
    pub fn of(number: u8) -> Self {
        match number {
            0 => Self::Queue,
            1 => Self::Books,
            2 => Self::Moved,
            3 => Self::HandedOver,
            _ => Self::Unseen,
        }
    }
}

/// How many reasons there are.
pub const REASONS: usize = 5;

/// The names of the reasons, label values.
pub const REASON_NAMES: [&str; REASONS] = ["queue", "books", "moved", "handed_over", "unseen"];

/// The time from when a request was read to its response's first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Handling {
    cpu: u64,
    runqueue: u64,
    blocked: u64,
    unattributed: u64,
}

#[inline(always)]
fn min(a: u64, b: u64) -> u64 {
    if a < b { a } else { b }
}

/// The growth of a sum. One that seems to have shrunk has not grown: the clocks that it is made with differ by a little.
#[inline(always)]
fn growth(from: u64, to: u64) -> u64 {
    let grown = to.wrapping_sub(from);
    if (grown as i64) < 0 { 0 } else { grown }
}

/// The phases up to the response's first byte, of a request that became readable at `start`, was read at `read` after its reader
/// had `waited` for a CPU, and whose response began at `answer`. How much of what is not attributed is for [`Reason::Queue`],
/// and the reason of the rest.
#[inline(always)]
pub fn attribute(
    start: u64,
    waited: Waited,
    read: &Moment,
    answer: &Moment,
    is_same_process: bool,
) -> (Phases, u64, Reason) {
    let unread = read.time.saturating_sub(start);
    let certain = min(waited.certain, unread);
    let unsure = min(waited.unsure, unread - certain);
    let span = answer.time.saturating_sub(read.time);
    let (handling, reason) = handle(span, read, answer, is_same_process);
    (
        Phases {
            queue: unread - certain - unsure,
            runqueue: certain + handling.runqueue,
            cpu: handling.cpu,
            blocked: handling.blocked,
            send: 0,
            unattributed: unsure + handling.unattributed,
        },
        unsure,
        reason,
    )
}

#[inline(always)]
fn handle(span: u64, read: &Moment, answer: &Moment, is_same_process: bool) -> (Handling, Reason) {
    let unknown = Handling {
        unattributed: span,
        ..Handling::default()
    };
    if read.knowledge == knowledge::NOTHING || answer.knowledge == knowledge::NOTHING {
        return (unknown, Reason::Books);
    }
    let knows_process =
        is_same_process && read.knowledge >= knowledge::PROCESS && answer.knowledge == knowledge::PROCESS;
    let was_alone = knows_process && read.is_alone != 0 && read.begun == answer.begun;
    let is_same = read.thread == answer.thread;
    if !is_same && !knows_process {
        return (unknown, Reason::Moved);
    }
    // The thread's own part.
    let (cpu, runqueue) = if is_same {
        let runqueue = min(growth(read.wait, answer.wait), span);
        (min(growth(read.cpu, answer.cpu), span - runqueue), runqueue)
    } else {
        (0, 0)
    };
    let rest = span - cpu - runqueue;
    let own = Handling {
        cpu,
        runqueue,
        blocked: rest,
        unattributed: 0,
    };
    if is_same && answer.knowledge == knowledge::ONLY_THREAD {
        return (own, Reason::Queue);
    }
    let not_attributed = |most: u64, reason| {
        let unattributed = min(most, rest);
        let handling = Handling {
            blocked: rest - unattributed,
            unattributed,
            ..own
        };
        (handling, reason)
    };
    if !knows_process {
        return not_attributed(rest, Reason::HandedOver);
    }
    let others_cpu = growth(cpu, growth(read.process_cpu, answer.process_cpu));
    let others_wait = growth(runqueue, growth(read.process_wait, answer.process_wait));
    if was_alone {
        let others_cpu = min(others_cpu, rest);
        let others_wait = min(others_wait, rest - others_cpu);
        let handling = Handling {
            cpu: cpu + others_cpu,
            runqueue: runqueue + others_wait,
            blocked: rest - others_cpu - others_wait,
            unattributed: 0,
        };
        return (handling, Reason::Queue);
    }
    if is_same {
        not_attributed(growth(read.helpers, answer.helpers), Reason::HandedOver)
    } else {
        not_attributed(others_cpu.saturating_add(others_wait), Reason::Moved)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONE: Waited = Waited { certain: 0, unsure: 0 };

    fn moment(knowledge: u32, thread: u32, time: u64, cpu: u64, wait: u64) -> Moment {
        Moment {
            time,
            cpu,
            wait,
            thread,
            knowledge,
            ..Moment::default()
        }
    }

    fn phases(queue: u64, runqueue: u64, cpu: u64, blocked: u64, unattributed: u64) -> Phases {
        Phases {
            queue,
            runqueue,
            cpu,
            blocked,
            send: 0,
            unattributed,
        }
    }

    #[test]
    fn the_only_thread() {
        let read = moment(knowledge::ONLY_THREAD, 7, 1_000, 50, 5);
        let answer = moment(knowledge::ONLY_THREAD, 7, 1_100, 80, 15);
        let waited = Waited {
            certain: 300,
            unsure: 20,
        };
        assert_eq!(
            attribute(400, waited, &read, &answer, true),
            (phases(280, 310, 30, 60, 20), 20, Reason::Queue)
        );
    }

    /// The only thread has become one of several in between, and nothing is known of the others.
    #[test]
    fn another_thread_that_nothing_is_known_of() {
        let read = moment(knowledge::ONLY_THREAD, 7, 1_000, 50, 5);
        let answer = moment(knowledge::THREAD, 7, 1_100, 80, 15);
        assert_eq!(
            attribute(1_000, NONE, &read, &answer, true),
            (phases(0, 10, 30, 0, 60), 0, Reason::HandedOver)
        );
        let answer = moment(knowledge::THREAD, 8, 1_100, 80, 15);
        assert_eq!(
            attribute(1_000, NONE, &read, &answer, true),
            (phases(0, 0, 0, 0, 100), 0, Reason::Moved)
        );
        let answer = moment(knowledge::NOTHING, 7, 1_100, 80, 15);
        assert_eq!(
            attribute(1_000, NONE, &read, &answer, true),
            (phases(0, 0, 0, 0, 100), 0, Reason::Books)
        );
    }

    fn of_process(thread: u32, time: u64, cpu: u64, process_cpu: u64, helpers: u64, is_alone: u32) -> Moment {
        Moment {
            process_cpu,
            process_wait: 0,
            helpers,
            begun: 3,
            is_alone,
            ..moment(knowledge::PROCESS, thread, time, cpu, 0)
        }
    }

    #[test]
    fn a_thread_of_a_pool_works_for_the_only_request() {
        let read = of_process(7, 1_000, 50, 500, 0, 1);
        let answer = of_process(7, 1_100, 60, 590, 80, 1);
        assert_eq!(
            attribute(1_000, NONE, &read, &answer, true),
            (phases(0, 0, 90, 10, 0), 0, Reason::Queue)
        );
        // Another request has begun meanwhile.
        let answer = Moment { begun: 4, ..answer };
        assert_eq!(
            attribute(1_000, NONE, &read, &answer, true),
            (phases(0, 0, 10, 10, 80), 0, Reason::HandedOver)
        );
        // It was not alone, and nobody but threads with requests of their own worked.
        let answer = of_process(7, 1_100, 60, 590, 0, 0);
        let read = Moment { is_alone: 0, ..read };
        assert_eq!(
            attribute(1_000, NONE, &read, &answer, true),
            (phases(0, 0, 10, 90, 0), 0, Reason::HandedOver)
        );
    }

    #[test]
    fn another_thread_answers() {
        let read = of_process(7, 1_000, 50, 500, 0, 1);
        let answer = of_process(8, 1_100, 9_000, 530, 0, 1);
        assert_eq!(
            attribute(1_000, NONE, &read, &answer, true),
            (phases(0, 0, 30, 70, 0), 0, Reason::Queue)
        );
        let answer = Moment { begun: 4, ..answer };
        assert_eq!(
            attribute(1_000, NONE, &read, &answer, true),
            (phases(0, 0, 0, 70, 30), 0, Reason::Moved)
        );
        assert_eq!(
            attribute(1_000, NONE, &read, &answer, false),
            (phases(0, 0, 0, 0, 100), 0, Reason::Moved)
        );
    }

    proptest! {
        /// Whatever the numbers are, the phases add up.
        #[test]
        fn phases_add_up(
            times in prop::array::uniform3(0u64..1_000_000),
            sums in prop::array::uniform10(any::<u64>()),
            small in prop::array::uniform10(0u64..1_000_000),
            is_small: bool,
            kinds in prop::array::uniform2(0u32..4),
            threads in prop::array::uniform2(1u32..3),
            alone in prop::array::uniform2(0u32..2),
            is_same_process: bool,
            waited in prop::array::uniform2(0u64..2_000_000),
        ) {
            let mut times = times;
            times.sort_unstable();
            let sums = if is_small { small } else { sums };
            let read = Moment { time: times[1], cpu: sums[0], wait: sums[1], process_cpu: sums[2], process_wait: sums[3], helpers: sums[4], thread: threads[0], begun: 1, knowledge: kinds[0], is_alone: alone[0] };
            let answer = Moment { time: times[2], cpu: sums[5], wait: sums[6], process_cpu: sums[7], process_wait: sums[8], helpers: sums[9], thread: threads[1], begun: 1 + alone[1], knowledge: kinds[1], is_alone: 0 };
            let waited = Waited { certain: waited[0], unsure: waited[1] };
            let (phases, unsure, reason) = attribute(times[0], waited, &read, &answer, is_same_process);
            prop_assert_eq!(phases.duration(), times[2] - times[0]);
            prop_assert!(unsure <= phases.unattributed);
            prop_assert!(reason != Reason::Queue || unsure == phases.unattributed);
        }
    }
}
