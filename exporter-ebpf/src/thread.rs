//! What the current thread, and its process, did until now.
//!
//! How long a thread ran and waited is in its own books, but for the stint that it is in. The scheduler's program keeps the books as of
//! when the thread last left a CPU ([`crate::schedule`]); if it has not left one since, as the number of its runs says, then
//! the stint began at `sched_info.last_arrival`. That is by the clock of the run queues, whose distance from the
//! monotonic clock no program knows; in the difference of two moments it cancels out.
//!
//! Source: `sched_info_arrive()` and `sched_info_depart()`, kernel/sched/stats.h:
//! <https://elixir.bootlin.com/linux/v6.12/source/kernel/sched/stats.h#L205>.

use core::ffi::c_void;

use aya_ebpf::{
    Global,
    helpers::generated::{bpf_get_current_task_btf, bpf_ktime_get_ns},
};
use vigie_ebpf::{
    attribution::{Moment, attribute, knowledge},
    timeline::{LastWait, Mark, PERIOD, Timeline},
    types::{Connection, FOLLOWED, ProcessSums, Read, habit},
};

use crate::{
    kernel::{
        SIGNAL_THREADS, TASK_ARRIVED, TASK_PID, TASK_RUN_DELAY, TASK_RUNS, TASK_SIGNAL, TASK_START, TASK_TGID, load,
    },
    maps::{CLOCK, MOMENTS, PROCESS_SUMS, TIMELINES, add},
    schedule::place,
};

/// Whether the phases of requests are measured (1). Written by user space.
#[unsafe(no_mangle)]
static PHASES: Global<u32> = Global::new(0);

/// Whether the phases of requests are measured.
#[inline(always)]
pub fn measures_phases() -> bool {
    PHASES.load() != 0
}

/// The current task.
#[inline(always)]
fn current() -> *const c_void {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_current_task_btf() as *const c_void }
}

/// The sums of a process, if they are kept.
#[inline(always)]
pub fn sums_of(process: u32) -> Option<*mut ProcessSums> {
    let sums = PROCESS_SUMS.get_ptr_mut(process & (FOLLOWED as u32 - 1))?;
    // SAFETY: the map's element.
    (unsafe { (*sums).process } == process).then_some(sums)
}

/// Has the sums of a process kept from now on, if there is a place for them.
#[inline(always)]
fn keep_sums(process: u32) {
    if let Some(sums) = PROCESS_SUMS.get_ptr_mut(process & (FOLLOWED as u32 - 1)) {
        // SAFETY: the map's element. Of two processes that want it at the same time one gets it.
        unsafe {
            if (*sums).process == 0 {
                *sums = ProcessSums {
                    process,
                    ..ProcessSums::default()
                };
            }
        }
    }
}

/// A process has ended, or is another program from now on.
#[inline(always)]
pub fn forget_process(process: u32) {
    if let Some(sums) = sums_of(process) {
        // SAFETY: the map's element.
        unsafe { (*sums).process = 0 };
    }
}

/// A thread has ended, or its id may be another's.
#[inline(always)]
pub fn forget_thread(thread: u32) {
    if let Some(timeline) = timeline(thread) {
        // SAFETY: the map's element.
        unsafe {
            if (*timeline).thread == thread {
                (*timeline).thread = 0;
            }
        }
    }
}

#[inline(always)]
fn timeline(thread: u32) -> Option<*mut Timeline> {
    TIMELINES.get_ptr_mut(thread & (FOLLOWED as u32 - 1))
}

/// The timeline of a thread, which is a new one if another had its place.
#[inline(always)]
fn own_timeline(thread: u32) -> Option<&'static mut Timeline> {
    // SAFETY: the map's element, which only the thread itself uses as long as it is its own. If two threads share a place,
    // they take it from each other, and know nothing of their pasts.
    let timeline = unsafe { &mut *timeline(thread)? };
    if timeline.thread != thread {
        *timeline = Timeline {
            thread,
            ..Timeline::default()
        };
    }
    Some(timeline)
}

/// Writes down what is known of the current thread at `time`. If all is known, also when its last wait for a CPU ended by the
/// run queues' clock, and how long it was.
///
/// A thread that `reads` requests is marked as one that does. Whether its process has other threads is looked up when it answers,
/// and believed when it reads. Members that are not known are left as they are.
#[inline(always)]
fn observe(moment: &mut Moment, time: u64, reads: bool) -> Option<LastWait> {
    let task = current();
    // SAFETY: the members are of type `pid_t` (twice), `unsigned long long` (twice), `unsigned long`.
    let (thread, process, wait, arrived, runs): (u32, u32, u64, u64, u64) = unsafe {
        (
            load(task, &TASK_PID),
            load(task, &TASK_TGID),
            load(task, &TASK_RUN_DELAY),
            load(task, &TASK_ARRIVED),
            load(task, &TASK_RUNS),
        )
    };
    moment.time = time;
    moment.thread = thread;
    moment.wait = wait;
    moment.knowledge = knowledge::NOTHING;
    let place = place(thread)?;
    // SAFETY: the map's element.
    let books = unsafe { &mut *place };
    if books.thread != thread {
        return None;
    }
    // It has got a CPU once since its last departure that was seen.
    if runs.wrapping_sub(books.runs) != 1 {
        return None;
    }
    let stint = time.wrapping_sub(arrived);
    let length = wait.wrapping_sub(books.wait);
    moment.cpu = books.cpu.wrapping_add(stint);
    let has_others = if reads {
        books.habits |= habit::READS;
        books.habits & habit::HAS_OTHERS != 0
    } else {
        // SAFETY: a pointer to `struct signal_struct`, which lives as long as the task, and an `int` in it.
        let threads: i32 = unsafe { load(load(task, &TASK_SIGNAL), &SIGNAL_THREADS) };
        if threads > 1 {
            books.habits |= habit::HAS_OTHERS;
        }
        threads > 1
    };
    if !has_others {
        moment.knowledge = knowledge::ONLY_THREAD;
    } else if let Some(sums) = sums_of(process) {
        // SAFETY: the map's element.
        let sums = unsafe { &*sums };
        moment.process_cpu = sums.cpu.wrapping_add(stint);
        moment.process_wait = sums.wait.wrapping_add(length);
        moment.helpers = sums.helpers;
        moment.begun = sums.begun as u32;
        moment.knowledge = knowledge::PROCESS;
    } else {
        moment.knowledge = knowledge::THREAD;
        keep_sums(process);
    }
    Some(LastWait { end: arrived, length })
}

/// The last wait with its end as monotonic time.
#[inline(always)]
fn translate(last: Option<LastWait>, time: u64) -> Option<LastWait> {
    let LastWait { end, length } = last?;
    let clock = CLOCK.get_ptr_mut(0)?;
    // SAFETY: the map's element. A value that two CPUs write at once is one that both have seen.
    let end = unsafe { (*clock).translate(end, time) };
    Some(LastWait { end, length })
}

/// The current thread has read the first bytes of a request that became readable at `start`.
///
/// A function of its own for the verifier's sake, as those in `parsers.rs`.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_note_read(read: *mut Read, start: u64) -> u64 {
    // SAFETY: null, or a part of a map's value, as the verifier checks at each call.
    if let Some(read) = unsafe { read.as_mut() } {
        note_read(read, start);
    }
    0
}

/// As [`vigie_note_read`], as a part of its caller.
#[inline(always)]
pub fn note_read(read: &mut Read, start: u64) {
    // SAFETY: the helper has no preconditions.
    let time = unsafe { bpf_ktime_get_ns() };
    let last = translate(observe(&mut read.moment, time, true), time);
    if let Some(certain) = last.and_then(|last| last.since(start)) {
        read.waited.certain = certain;
        read.waited.unsure = 0;
    } else {
        let LastWait { end, length } = last.unwrap_or_default();
        vigie_look_back(read, start, end, length);
    }
    remember(read.moment.thread, time, read.moment.wait);
}

/// Finds how long the reader of a request has waited for a CPU since the request became readable at `start`, where its last wait,
/// of this `length` up to `end` (0: it is not known), does not tell.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vigie_look_back(read: *mut Read, start: u64, end: u64, length: u64) -> u64 {
    // SAFETY: null, or a part of a map's value, as the verifier checks at each call.
    let Some(read) = (unsafe { read.as_mut() }) else {
        return 0;
    };
    let Moment { time, wait, thread, .. } = read.moment;
    let Some(timeline) = own_timeline(thread) else {
        return 0;
    };
    let last = if end == 0 { None } else { Some(LastWait { end, length }) };
    // SAFETY: the member is of type `u64`.
    let born: u64 = unsafe { load(current(), &TASK_START) };
    read.waited = timeline.waited(start, Mark { time, wait }, last, youngest(thread), born);
    0
}

/// How long a thread had waited lately, if that is known.
#[inline(always)]
fn youngest(thread: u32) -> Mark {
    match place(thread) {
        // SAFETY: the map's element.
        Some(place) if unsafe { (*place).thread } == thread => unsafe { (*place).youngest },
        _ => Mark::default(),
    }
}

/// Writes down how long the current thread has waited by now, if it is some time ago that this was done.
#[inline(always)]
fn remember(thread: u32, time: u64, wait: u64) {
    let Some(place) = place(thread) else {
        return;
    };
    // SAFETY: the map's element.
    unsafe {
        if (*place).thread == thread && time.wrapping_sub((*place).youngest.time) >= PERIOD {
            vigie_remember(thread, time);
            (*place).youngest.time = time;
            (*place).youngest.wait = wait;
        }
    }
}

/// Makes room for another value in the past of a thread, at this time.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vigie_remember(thread: u32, time: u64) -> u64 {
    if let Some(timeline) = own_timeline(thread) {
        timeline.note(youngest(thread), time);
    }
    0
}

/// The current thread has sent the first bytes of the response to a connection's request: its time up to now is told apart. For
/// up to `sending` nanoseconds of it the kernel had no room for the response.
///
/// A function of its own for the verifier's sake, as those in `parsers.rs`.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_note_answer(connection: *mut Connection, sending: u64) -> u64 {
    // SAFETY: null, or a map's value, as the verifier checks at each call.
    let Some(connection) = (unsafe { connection.as_mut() }) else {
        return 0;
    };
    // SAFETY: this CPU's element, which only the sending programs use.
    let Some(answer) = (unsafe { MOMENTS.get_ptr_mut(0).and_then(|moment| moment.as_mut()) }) else {
        return 0;
    };
    let time = connection.last_send;
    observe(answer, time, false);
    let request = &connection.request;
    // SAFETY: the member is of type `pid_t`.
    let process: u32 = unsafe { load(current(), &TASK_TGID) };
    let Read { moment, waited } = &request.read;
    let (mut phases, unsure, reason) = attribute(request.start, *waited, moment, answer, request.process == process);
    let sending = if sending < phases.blocked {
        sending
    } else {
        phases.blocked
    };
    phases.blocked -= sending;
    phases.send = sending;
    connection.phases = phases;
    connection.unsure = unsure;
    connection.reason = reason as u8;
    connection.answered = time;
    remember(answer.thread, time, answer.wait);
    0
}

/// The current thread makes another one, `child`: in its process, or in one of its own. Says from when on its past is its own, or 0.
#[inline(always)]
pub fn inherit(child: u32, is_same_process: bool) -> u64 {
    // SAFETY: the helper has no preconditions.
    let time = unsafe { bpf_ktime_get_ns() };
    // SAFETY: this CPU's element, which only this program uses.
    let Some(moment) = (unsafe { MOMENTS.get_ptr_mut(1).and_then(|moment| moment.as_mut()) }) else {
        return 0;
    };
    if is_same_process {
        // SAFETY: the member is of type `pid_t`.
        keep_sums(unsafe { load(current(), &TASK_TGID) });
    }
    let last = translate(observe(moment, time, false), time);
    let (Some(own), Some(place)) = (own_timeline(moment.thread), timeline(child)) else {
        return 0;
    };
    let now = Mark {
        time,
        wait: moment.wait,
    };
    // SAFETY: the member is of type `u64`.
    let born: u64 = unsafe { load(current(), &TASK_START) };
    // SAFETY: the map's element. The child has not run yet.
    unsafe { *place = Timeline::of_child(own, child, now, last, youngest(moment.thread), born) };
    // A thread that only makes others for what it accepts has no other moments to be remembered.
    remember(moment.thread, time, moment.wait);
    time
}

/// A request begins: says whether its process counts it, and writes down how many have begun there.
#[inline(always)]
pub fn begin(process: u32, moment: &mut Moment) -> bool {
    if moment.knowledge != knowledge::PROCESS {
        return false;
    }
    let Some(sums) = sums_of(process) else {
        moment.knowledge = knowledge::THREAD;
        return false;
    };
    // SAFETY: the map's element.
    unsafe {
        add(&raw mut (*sums).begun, 1);
        let begun = (&raw const (*sums).begun).read_volatile();
        let ended = (&raw const (*sums).ended).read_volatile();
        moment.begun = begun as u32;
        moment.is_alone = (begun.wrapping_sub(ended) == 1) as u32;
    }
    true
}

/// A request that was counted is not handled any more.
#[inline(always)]
pub fn end(process: u32) {
    if let Some(sums) = sums_of(process) {
        // SAFETY: the map's element.
        unsafe { add(&raw mut (*sums).ended, 1) };
    }
}
