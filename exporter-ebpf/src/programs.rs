//! The programs: one for each hook, each no more than the way to a handler.

use core::ffi::c_void;

use aya_ebpf::{
    helpers::generated::{bpf_get_current_pid_tgid, bpf_ktime_get_ns},
    macros::{btf_tracepoint, fentry, fexit},
    programs::{BtfTracePointContext, FEntryContext, FExitContext},
};
use aya_log_ebpf::debug;
use vigie_ebpf::{
    service,
    types::{Killed, SERVICE_PENDING, SERVICE_UNKNOWN, event, stage},
};

use crate::{
    kernel::{
        TASK_EXIT_CODE, TASK_PID, TASK_TGID, adopt, connection, entry_of, has_queued, load, port, received_up_to,
        set_service, shares_cgroups, undisturbed, watch_new, watch_port,
    },
    maps::{KILLED, answers, slot},
    receive::received,
    report::{is_known, meet},
    schedule::{began, ended, left, visited},
    send::{close, sent},
    thread::forget_process,
};

const TCP_ESTABLISHED: i32 = 1;
const TCP_SYN_RECV: i32 = 3;
const TCP_FIN_WAIT1: i32 = 4;
const TCP_LAST_ACK: i32 = 9;
const TCP_LISTEN: i32 = 10;

/// `sk_data_ready(const struct sock *sk)`: data was queued, a reader would now get it.
#[btf_tracepoint(function = "sk_data_ready")]
pub fn vigie_ready(ctx: BtfTracePointContext) {
    undisturbed(|| ready::<false>(ctx.arg(0)));
}

/// `sock_def_readable(struct sock *sk)`: the function that the tracepoint above was put into, at its beginning.
#[fentry]
pub fn vigie_ready_entry(ctx: FEntryContext) {
    undisturbed(|| ready::<false>(ctx.arg(0)));
}

/// Data was queued, and the reader is about to be woken.
#[inline(always)]
fn ready<const AGAIN: bool>(sock: *const c_void) {
    let connection = match connection(sock) {
        Some(connection) => Some(connection),
        None => adopt(sock),
    };
    let Some(connection) = connection else {
        return;
    };
    if connection.stage == stage::OPAQUE {
        return;
    }
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    if connection.is_unix {
        if AGAIN {
            // It may have been read since.
            return;
        }
        // Nothing says how much has come: it is the next byte, at the least. Unless it was read at once, on another CPU.
        if connection.arrivals.is_empty() && has_queued(sock) {
            connection.arrivals.push(connection.position.wrapping_add(1), now);
        }
    } else if let Some(end) = received_up_to(sock) {
        connection.arrivals.push(end, now);
    }
}

/// `sock_recv_length(struct sock *sk, int ret, int flags)`.
#[btf_tracepoint(function = "sock_recv_length")]
pub fn vigie_receive(ctx: BtfTracePointContext) {
    undisturbed(|| received::<false>(ctx.arg(0), ctx.arg(1), ctx.arg(2)));
}

/// `tcp_recvmsg(struct sock *sk, struct msghdr *msg, size_t len, int flags, int *addr_len)`, and what it returns.
#[fexit]
pub fn vigie_receive_exit(ctx: FExitContext) {
    undisturbed(|| received::<false>(ctx.arg(0), ctx.arg(5), ctx.arg(3)));
}

/// The same before Linux 5.19: `(struct sock *sk, struct msghdr *msg, size_t len, int nonblock, int flags, int *addr_len)`.
#[fexit]
pub fn vigie_receive_exit_old(ctx: FExitContext) {
    undisturbed(|| received::<false>(ctx.arg(0), ctx.arg(6), ctx.arg(4)));
}

/// `sock_send_length(struct sock *sk, int ret, int flags)`.
#[btf_tracepoint(function = "sock_send_length")]
pub fn vigie_send(ctx: BtfTracePointContext) {
    undisturbed(|| sent::<false>(ctx.arg(0), ctx.arg(1)));
}

/// `tcp_sendmsg(struct sock *sk, struct msghdr *msg, size_t size)`, and what it returns.
#[fexit]
pub fn vigie_send_exit(ctx: FExitContext) {
    undisturbed(|| sent::<false>(ctx.arg(0), ctx.arg(3)));
}

/// `tcp_sendpage(struct sock *sk, struct page *page, int offset, size_t size, int flags)`, and what it returns: sendfile
/// and splice before Linux 6.5.
#[fexit]
pub fn vigie_send_page(ctx: FExitContext) {
    undisturbed(|| sent::<false>(ctx.arg(0), ctx.arg(5)));
}

/// `inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)`.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn vigie_state(ctx: BtfTracePointContext) {
    let sock: *const c_void = ctx.arg(0);
    let (old, new): (i32, i32) = (ctx.arg(1), ctx.arg(2));
    match new {
        TCP_ESTABLISHED if old == TCP_SYN_RECV => {
            watch_new(sock);
            debug!(&ctx, "watching a connection on port {}", port(sock));
        }
        TCP_LISTEN => {
            // SAFETY: the helper has no preconditions.
            let process = unsafe { (bpf_get_current_pid_tgid() >> 32) as u32 };
            watch_port(port(sock));
            meet(process, port(sock), event::LISTEN);
            debug!(&ctx, "process {} listens on port {}", process, port(sock));
        }
        TCP_FIN_WAIT1 | TCP_LAST_ACK => undisturbed(|| close(sock)),
        _ => {}
    }
}

/// `tcp_destroy_sock(struct sock *sk)`: nobody holds the socket any longer.
///
/// A reset is no end by itself: the server may be in the middle of the call that sends the response, and only this hook
/// tells that it has let go.
#[btf_tracepoint(function = "tcp_destroy_sock")]
pub fn vigie_destroy(ctx: BtfTracePointContext) {
    undisturbed(|| close(ctx.arg(0)));
}

// The same events a second time, for kernels that do not run a program for an event that interrupts it.

/// As [`vigie_ready`].
#[btf_tracepoint(function = "sk_data_ready")]
pub fn vigie_ready_again(ctx: BtfTracePointContext) {
    undisturbed(|| ready::<true>(ctx.arg(0)));
}

/// As [`vigie_receive`].
#[btf_tracepoint(function = "sock_recv_length")]
pub fn vigie_receive_again(ctx: BtfTracePointContext) {
    undisturbed(|| received::<true>(ctx.arg(0), ctx.arg(1), ctx.arg(2)));
}

/// As [`vigie_send`].
#[btf_tracepoint(function = "sock_send_length")]
pub fn vigie_send_again(ctx: BtfTracePointContext) {
    undisturbed(|| sent::<true>(ctx.arg(0), ctx.arg(1)));
}

/// As [`vigie_state`], for connections.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn vigie_state_again(ctx: BtfTracePointContext) {
    let sock: *const c_void = ctx.arg(0);
    let (old, new): (i32, i32) = (ctx.arg(1), ctx.arg(2));
    match new {
        TCP_ESTABLISHED if old == TCP_SYN_RECV && connection(sock).is_none() => watch_new(sock),
        TCP_FIN_WAIT1 | TCP_LAST_ACK => undisturbed(|| close(sock)),
        _ => {}
    }
}

/// As [`vigie_destroy`].
#[btf_tracepoint(function = "tcp_destroy_sock")]
pub fn vigie_destroy_again(ctx: BtfTracePointContext) {
    undisturbed(|| close(ctx.arg(0)));
}

/// `sched_switch(bool preempt, struct task_struct *prev, struct task_struct *next, …)`.
#[btf_tracepoint(function = "sched_switch")]
pub fn vigie_switch(ctx: BtfTracePointContext) {
    left(ctx.arg(1));
}

/// `sched_process_fork(struct task_struct *parent, struct task_struct *child)`: a worker is of its master's service.
#[btf_tracepoint(function = "sched_process_fork")]
pub fn vigie_fork(ctx: BtfTracePointContext) {
    let (parent, child): (*const c_void, *const c_void) = (ctx.arg(0), ctx.arg(1));
    // SAFETY: both are task_structs; the members are of type `pid_t`.
    let (process, child, thread): (u32, u32, u32) = unsafe {
        (
            load(parent, &TASK_TGID),
            load(child, &TASK_TGID),
            load(child, &TASK_PID),
        )
    };
    let entry = entry_of(process);
    if is_known(service::owner(entry)) {
        began(thread, child == process);
    } else {
        ended(thread);
    }
    if child == thread {
        // A child tells of itself: whatever user space finds out of its parent comes too late for it.
        set_service(
            child,
            if entry == SERVICE_PENDING {
                SERVICE_UNKNOWN
            } else {
                entry
            },
        );
    }
}

/// `sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`: another program, another
/// service, or a part of the work of the one that has started it.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn vigie_exec(ctx: BtfTracePointContext) {
    let task: *const c_void = ctx.arg(0);
    // SAFETY: `tgid` is of type `pid_t`.
    let process: u32 = unsafe { load(task, &TASK_TGID) };
    let owner = service::owner(entry_of(process));
    if answers(owner) && shares_cgroups(task) {
        set_service(process, owner | service::CHILD);
        forget_process(process);
        return;
    }
    set_service(process, SERVICE_UNKNOWN);
    // What it did as another program is nothing of what it will be: the thread that is left has the process's id.
    ended(process);
    forget_process(process);
}

/// `sched_process_exit(struct task_struct *p)`; from 6.16 on with whether it is the last thread. Its exit code says by then which
/// signal has killed it, if one has (`do_exit()` in kernel/exit.c, `W_EXITCODE`).
#[btf_tracepoint(function = "sched_process_exit")]
pub fn vigie_exit(ctx: BtfTracePointContext) {
    let task: *const c_void = ctx.arg(0);
    // SAFETY: the members are of type `pid_t`, and `int`.
    let (thread, process, code): (u32, u32, u32) = unsafe {
        (
            load(task, &TASK_PID),
            load(task, &TASK_TGID),
            load(task, &TASK_EXIT_CODE),
        )
    };
    let signal = code & 0x7f;
    if thread != process || signal == 0 {
        return;
    }
    if let Some(place) = slot(service::handler(entry_of(process)))
        && let Some(killed) = KILLED.get_ptr_mut(place)
    {
        // SAFETY: the map's element. Of two that are killed at the same time either will do.
        unsafe {
            *killed = Killed {
                time: bpf_ktime_get_ns(),
                signal: signal as u64,
            };
        }
    }
}

/// `sched_process_free(struct task_struct *p)`: a thread is no more, and has left its CPU for the last time.
#[btf_tracepoint(function = "sched_process_free")]
pub fn vigie_free(ctx: BtfTracePointContext) {
    let task: *const c_void = ctx.arg(0);
    // SAFETY: both are of type `pid_t`.
    let (thread, process): (u32, u32) = unsafe { (load(task, &TASK_PID), load(task, &TASK_TGID)) };
    ended(thread);
    if thread == process {
        forget_process(process);
    }
}

/// `bpf_iter/task`: called for each thread, and once without one at the end.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub fn vigie_tasks(ctx: *mut c_void) -> i32 {
    // SAFETY: the context is `struct bpf_iter__task { meta, task }`, each padded to eight bytes.
    let task = unsafe { ctx.cast::<*const c_void>().add(1).read() };
    if !task.is_null() {
        visited(task);
    }
    0
}
