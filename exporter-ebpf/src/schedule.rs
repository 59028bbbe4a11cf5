//! A CPU switches from one thread to another: the run queue's books.
//!
//! The kernel keeps `sched_info.run_delay`, the time a thread was runnable without a CPU. It adds to it when the thread
//! gets a CPU, just after this tracepoint, and also when the waiting thread is moved to another CPU's queue. So what a
//! thread waited for its present stint is the difference between its `run_delay` now, as it leaves, and what it was when
//! it last left. That is kept by thread id; where it is not known, what the thread had waited when it came serves: it comes
//! and leaves on the same CPU, and misses only a wait before a move.
//!
//! Source: `__schedule()` calls `trace_sched_switch()`, then `context_switch()`, whose `prepare_task_switch()` calls
//! `sched_info_switch()`: <https://elixir.bootlin.com/linux/v6.12/source/kernel/sched/core.c#L6603>; and
//! `sched_info_dequeue()`: <https://elixir.bootlin.com/linux/v6.12/source/kernel/sched/stats.h#L205>.

use core::ffi::c_void;

use aya_ebpf::Global;
use vigie_ebpf::types::{Stint, THREADS, WAIT_BOUNDS, WAIT_BOUNDS_NS, Waited, bucket};

use crate::{
    kernel::{
        TASK_CPU, TASK_NVCSW, TASK_ON_RQ, TASK_PID, TASK_RUN_DELAY, TASK_RUNTIME, TASK_STATE, TASK_TGID, load, service,
    },
    maps::{RUNNABLE, SCHED, STINT, WAITED},
    report::is_known,
};

/// Vigie's own process id: it runs while it looks, and does not count itself.
#[unsafe(no_mangle)]
static OWN_PROCESS: Global<u32> = Global::new(0);

/// Counts a thread on its CPU's run queue, if it is there: runnable, whether it runs or waits.
#[inline(always)]
pub fn visited(task: *const c_void) {
    // SAFETY: the members are of type `unsigned int`, `int`, `pid_t`, `u32`.
    let (state, queued, process, cpu): (u32, u32, u32, u32) = unsafe {
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

/// `previous` leaves this CPU, `next` gets it.
#[inline(always)]
pub fn switched(previous: *const c_void, next: *const c_void) {
    let Some(stint) = STINT.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: this CPU's element; and the members' types are `pid_t`, `unsigned long long`, `u64`, `unsigned long`.
    unsafe {
        let thread: u32 = load(previous, &TASK_PID);
        if thread != 0 && (*stint).thread == thread {
            leave(previous, &*stint);
        }
        (*stint).thread = load(next, &TASK_PID);
        (*stint).wait = load(next, &TASK_RUN_DELAY);
        (*stint).cpu = load(next, &TASK_RUNTIME);
        (*stint).voluntary = load(next, &TASK_NVCSW);
    }
}

/// What the thread had waited in all when it last left a CPU; `wait` is what it has waited now, and is remembered.
#[inline(always)]
fn last_wait(stint: &Stint, wait: u64) -> u64 {
    let Some(place) = WAITED.get_ptr_mut(stint.thread & (THREADS as u32 - 1)) else {
        return stint.wait;
    };
    // SAFETY: the map's element. A thread leaves one CPU at a time; two threads that meet here only lose what was kept.
    let last = unsafe { *place };
    let now = Waited {
        wait,
        thread: stint.thread,
        reserved: 0,
    };
    // SAFETY: as above.
    unsafe { *place = now };
    if last.thread == stint.thread && last.wait <= stint.wait {
        last.wait
    } else {
        stint.wait
    }
}

/// A thread begins, and has waited for nothing yet. Its id may have been another thread's.
#[inline(always)]
pub fn began(thread: u32) {
    if let Some(place) = WAITED.get_ptr_mut(thread & (THREADS as u32 - 1)) {
        // SAFETY: the map's element.
        unsafe {
            *place = Waited {
                wait: 0,
                thread,
                reserved: 0,
            };
        }
    }
}

/// # Safety
///
/// `task` is a `task_struct`.
#[inline(always)]
unsafe fn leave(task: *const c_void, stint: &Stint) {
    // SAFETY: by this function's contract; see above for the types.
    let (process, wait, cpu, voluntary): (u32, u64, u64, u64) = unsafe {
        (
            load(task, &TASK_TGID),
            load(task, &TASK_RUN_DELAY),
            load(task, &TASK_RUNTIME),
            load(task, &TASK_NVCSW),
        )
    };
    let number = service(process);
    if !is_known(number) {
        return;
    }
    let Some(books) = SCHED.get_ptr_mut(number as u32) else {
        return;
    };
    let waited = wait.wrapping_sub(last_wait(stint, wait));
    let voluntary = voluntary.wrapping_sub(stint.voluntary);
    let bucket = bucket(&WAIT_BOUNDS_NS, waited);
    // SAFETY: this CPU's element. A bucket is at most WAIT_BOUNDS, which is the array's last index.
    unsafe {
        (*books).cpu += cpu.wrapping_sub(stint.cpu);
        (*books).wait += waited;
        (*books).voluntary += voluntary;
        (*books).involuntary += 1u64.wrapping_sub(voluntary);
        if bucket <= WAIT_BOUNDS {
            *(&raw mut (*books).buckets).cast::<u64>().add(bucket) += 1;
        }
    }
}
