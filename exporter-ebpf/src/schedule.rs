//! A CPU switches from one thread to another: the scheduler's books.
//!
//! The kernel keeps all there is to know in the thread itself: how long it ran, how long it was runnable without a CPU
//! (`sched_info.run_delay`, which also grows when a waiting thread is moved to another CPU's queue), and how often it left
//! a CPU, and why. When a thread of a service leaves, what these have grown by since it last left is added to the service.
//! So the sums are the kernel's own, and a switch that is not seen is made up for by the next.
//!
//! Source: `__schedule()` brings the thread's books up to date before it calls `trace_sched_switch()`, and adds to
//! `run_delay` of the next thread just after: <https://elixir.bootlin.com/linux/v6.12/source/kernel/sched/core.c#L6603>,
//! <https://elixir.bootlin.com/linux/v6.12/source/kernel/sched/stats.h#L205>.

use core::ffi::c_void;

use aya_ebpf::Global;
use vigie_ebpf::{
    service,
    timeline::Mark,
    types::{Lost, THREADS, ThreadBooks, WAIT_BOUNDS, WAIT_BOUNDS_NS, bucket, habit},
};

use crate::{
    kernel::{
        TASK_CPU, TASK_NIVCSW, TASK_NVCSW, TASK_ON_RQ, TASK_PID, TASK_RUN_DELAY, TASK_RUNS, TASK_RUNTIME, TASK_STATE,
        TASK_TGID, entry_of, load,
    },
    maps::{RUNNABLE, SCHED, THREAD_BOOKS, add, lost, slot},
    thread::{forget_thread, inherit, measures_phases, sums_of},
};

/// Vigie's own process id: it runs while it looks, and does not count itself.
#[unsafe(no_mangle)]
static OWN_PROCESS: Global<u32> = Global::new(0);

/// Counts a thread on its CPU's run queue, if it is there: runnable, whether it runs or waits.
#[inline(always)]
pub fn visited(task: *const c_void) {
    // SAFETY: the members are of type `unsigned int`, `int` or `u8` (0, 1 or 2), `pid_t`, `u32`.
    let (state, queued, process, cpu): (u32, u8, u32, u32) = unsafe {
        (
            load(task, &TASK_STATE),
            load(task, &TASK_ON_RQ),
            load(task, &TASK_TGID),
            load(task, &TASK_CPU),
        )
    };
    if state != 0 || queued == 0 || process == OWN_PROCESS.load() {
        return;
    }
    if let Some(count) = RUNNABLE.get_ptr_mut(cpu) {
        // SAFETY: the map's element. One iterator runs at a time.
        unsafe { *count += 1 };
    }
}

/// The place of a thread's books. Two living threads meet in one only if their ids are a multiple of [`THREADS`] apart.
#[inline(always)]
pub fn place(thread: u32) -> Option<*mut ThreadBooks> {
    THREAD_BOOKS.get_ptr_mut(thread & (THREADS as u32 - 1))
}

/// A thread of a service begins, made by the current one: in its process, or in one of its own.
#[inline(always)]
pub fn began(thread: u32, is_same_process: bool) {
    if let Some(place) = place(thread) {
        let habits = if is_same_process { habit::HAS_OTHERS } else { 0 };
        // SAFETY: the map's element.
        unsafe {
            *place = ThreadBooks {
                thread,
                habits,
                ..ThreadBooks::default()
            };
            if measures_phases() {
                (*place).youngest.time = inherit(thread, is_same_process);
            }
        }
    }
}

/// A thread ends, or begins anew, or is of no service. Its id may have been another thread's.
#[inline(always)]
pub fn ended(thread: u32) {
    if let Some(place) = place(thread) {
        // SAFETY: the map's element.
        unsafe {
            if (*place).thread == thread {
                (*place).thread = 0;
            }
        }
    }
    if measures_phases() {
        forget_thread(thread);
    }
}

/// A thread leaves its CPU.
#[inline(always)]
pub fn left(task: *const c_void) {
    // SAFETY: `tgid` is of type `pid_t`.
    let process: u32 = unsafe { load(task, &TASK_TGID) };
    let entry = entry_of(process);
    // Idle, more often than not.
    if entry == service::UNKNOWN {
        return;
    }
    let Some(owner) = slot(service::unchecked_owner(entry)) else {
        return;
    };
    // SAFETY: the members are of type `u64`, `unsigned long long`, `unsigned long` (three times), `pid_t`.
    let now = unsafe {
        ThreadBooks {
            cpu: load(task, &TASK_RUNTIME),
            wait: load(task, &TASK_RUN_DELAY),
            voluntary: load(task, &TASK_NVCSW),
            involuntary: load(task, &TASK_NIVCSW),
            runs: load(task, &TASK_RUNS),
            youngest: Mark::default(),
            thread: load(task, &TASK_PID),
            habits: 0,
        }
    };
    let (Some(place), Some(books)) = (place(now.thread), SCHED.get_ptr_mut(owner)) else {
        return;
    };
    // SAFETY: the map's element. A thread leaves one CPU at a time.
    let last = unsafe { *place };
    if last.thread != now.thread {
        if last.thread != 0 {
            lost(Lost::ThreadCollision);
        }
        // SAFETY: as above.
        unsafe { *place = now };
        return;
    }
    // SAFETY: as above. The rest is the thread's own.
    unsafe {
        (*place).cpu = now.cpu;
        (*place).wait = now.wait;
        (*place).voluntary = now.voluntary;
        (*place).involuntary = now.involuntary;
        (*place).runs = now.runs;
    }
    if now.cpu < last.cpu || now.wait < last.wait {
        return;
    }
    let waited = now.wait - last.wait;
    if let Some(sums) = sums_of(process) {
        let ran = now.cpu - last.cpu;
        // SAFETY: the map's element.
        unsafe {
            add(&raw mut (*sums).cpu, ran);
            add(&raw mut (*sums).wait, waited);
            if last.habits & habit::READS == 0 {
                add(&raw mut (*sums).helpers, ran + waited);
            }
        }
    }
    let bucket = bucket(&WAIT_BOUNDS_NS, waited);
    // SAFETY: this CPU's element. A bucket is at most WAIT_BOUNDS, which is the array's last index.
    unsafe {
        (*books).cpu += now.cpu - last.cpu;
        (*books).wait += waited;
        (*books).voluntary += now.voluntary.wrapping_sub(last.voluntary);
        (*books).involuntary += now.involuntary.wrapping_sub(last.involuntary);
        if bucket <= WAIT_BOUNDS {
            *(&raw mut (*books).buckets).cast::<u64>().add(bucket) += 1;
        }
    }
}
