//! The kernel's own structures: sockets, tasks, registers.
//!
//! rustc emits no relocations for the offsets of kernel types. User space looks them up in the running kernel's BTF and
//! writes them into the constants below before it loads the programs. The verifier then sees plain loads at known
//! places of typed pointers, and checks each of them.

use core::ffi::c_void;

use aya_ebpf::{
    Global,
    bindings::BPF_SK_STORAGE_GET_F_CREATE,
    btf_maps::SkStorage,
    helpers::generated::{
        bpf_get_current_pid_tgid, bpf_get_current_task_btf, bpf_jiffies64, bpf_sk_storage_delete, bpf_sk_storage_get,
        bpf_skc_to_tcp_sock, bpf_skc_to_unix_sock, bpf_task_pt_regs,
    },
};
use vigie_ebpf::traced::KeptPath;
use vigie_ebpf::types::{Connection, Lost, PREEMPT_DISABLE, PREEMPT_ENABLE, PROCESS_BLOCK, Pieces, SERVICE_UNKNOWN};

use crate::maps::{CONNECTIONS, PATHS, PIECES, PORTS, PROCESSES, lost};

macro_rules! offsets {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        $(
            $(#[$doc])*
            #[unsafe(no_mangle)]
            pub static $name: Global<u32> = Global::new(0);
        )*
    };
}

offsets! {
    /// `struct sock`: `__sk_common.skc_num`, the local port.
    SOCK_NUM,
    /// `struct sock`: `__sk_common.skc_state`.
    SOCK_STATE,
    /// `struct sock`: `__sk_common.skc_family`.
    SOCK_FAMILY,
    /// `struct sock`: `sk_type`.
    SOCK_TYPE,
    /// `struct sock`: `sk_receive_queue.qlen`, how many pieces of data wait to be read.
    SOCK_QUEUED,
    /// `struct unix_sock`: `addr`, which a server's sockets have and a client's usually not. 0: unix sockets are not watched.
    UNIX_ADDR,
    /// `struct tcp_sock`: `rcv_nxt`, the sequence number after the last byte received.
    TCP_RCV_NXT,
    /// `struct tcp_sock`: `copied_seq`, the sequence number after the last byte read.
    TCP_COPIED_SEQ,
    /// `struct tcp_sock`: `write_seq`, the sequence number after the last byte that was taken to be sent.
    TCP_WRITE_SEQ,
    /// `struct tcp_sock`: `snd_una`, the first sequence number that is not confirmed.
    TCP_SND_UNA,
    /// `struct tcp_sock`: `chrono_start`, since when it is as busy as it is, in jiffies.
    TCP_CHRONO_START,
    /// `struct tcp_sock`: `chrono_stat`, how long it was busy before, of each of three kinds, in jiffies.
    TCP_CHRONO_STAT,
    /// `struct task_struct`: `pid`, the thread's id.
    TASK_PID,
    /// `struct task_struct`: `tgid`, the process's id.
    TASK_TGID,
    /// `struct task_struct`: `group_leader`, the first thread of its process.
    TASK_LEADER,
    /// `struct task_struct`: `start_boottime`, when it was made.
    TASK_BORN,
    /// `struct task_struct`: `exit_code`, as `wait(2)` has it.
    TASK_EXIT_CODE,
    /// `struct task_struct`: `real_parent`, the process that has made it. 0: not looked at.
    TASK_PARENT,
    /// `struct task_struct`: `cgroups`, the same for all that are in the same cgroups.
    TASK_CGROUPS,
    /// `struct task_struct`: `sched_info.run_delay`.
    TASK_RUN_DELAY,
    /// `struct task_struct`: `sched_info.last_arrival`, when the thread got its CPU, by the clock of the run queues.
    TASK_ARRIVED,
    /// `struct task_struct`: `sched_info.pcount`, how often the thread has got a CPU.
    TASK_RUNS,
    /// `struct task_struct`: `start_time`, the monotonic time of its birth.
    TASK_START,
    /// `struct task_struct`: `signal`, what the threads of a process share.
    TASK_SIGNAL,
    /// `struct signal_struct`: `nr_threads`.
    SIGNAL_THREADS,
    /// `struct task_struct`: `se.sum_exec_runtime`.
    TASK_RUNTIME,
    /// `struct task_struct`: `nvcsw`.
    TASK_NVCSW,
    /// `struct task_struct`: `nivcsw`.
    TASK_NIVCSW,
    /// `struct task_struct`: `__state`, 0 when the thread is runnable.
    TASK_STATE,
    /// `struct task_struct`: `on_rq`.
    TASK_ON_RQ,
    /// `struct task_struct`: `thread_info.cpu`.
    TASK_CPU,
    /// `struct pt_regs`: the number of the system call.
    REGS_SYSCALL,
    /// `struct pt_regs`: the system call's second argument.
    REGS_SECOND,
    /// `struct pt_regs`: the system call's third argument.
    REGS_THIRD,
}

const AF_UNIX: u16 = 1;
const SOCK_STREAM: u16 = 1;
const TCP_ESTABLISHED: u8 = 1;
const TCP_CLOSE_WAIT: u8 = 8;

/// Loads a member of a kernel structure.
///
/// # Safety
///
/// `base` is a pointer that the verifier knows the type of, and `offset` the place of a member of type `T` in it.
#[inline(always)]
pub unsafe fn load<T: Copy>(base: *const c_void, offset: &Global<u32>) -> T {
    // SAFETY: by this function's contract, and checked by the verifier.
    unsafe { base.byte_add(offset.load() as usize).cast::<T>().read_volatile() }
}

/// Whether programs are attached that hear of each event a second time (1). Written by user space.
#[unsafe(no_mangle)]
static TWICE: Global<u32> = Global::new(0);

/// The state of a connection that is read from.
///
/// A unix socket may be read before the program has run that says it has data, on another CPU. And where an event may be
/// missed, or there may be no memory for the state of a socket in an interrupt, any connection may be new here.
#[inline(always)]
pub fn connection_or_adopt(sock: *const c_void) -> Option<&'static mut Connection> {
    match connection(sock) {
        None if is_unix(sock) => adopt_unix(sock),
        None if TWICE.load() != 0 => adopt(sock),
        connection => connection,
    }
}

#[inline(always)]
fn is_unix(sock: *const c_void) -> bool {
    // SAFETY: `skc_family` is an unsigned short.
    let family: u16 = unsafe { load(sock, &SOCK_FAMILY) };
    family == AF_UNIX
}

/// Starts to watch a connection that has just been made.
#[inline(always)]
pub fn watch_new(sock: *const c_void) {
    if let Some(connection) = watch(sock) {
        connection.in_step = true;
        if let Some(position) = read_up_to(sock) {
            connection.position = position;
            connection.has_position = true;
        }
    }
}

/// Whether the current thread's event is still to be dealt with. `by` is where that is written down.
///
/// While a program runs for one task, the kernel does not run it for another on the same CPU. Where tasks can be
/// interrupted in programs, a second program on the same hook (`AGAIN`) deals with the events that the first was
/// not run for.
#[inline(always)]
pub fn is_new<const AGAIN: bool>(by: &mut u32) -> bool {
    if AGAIN {
        // SAFETY: the helper has no preconditions.
        let thread = unsafe { bpf_get_current_pid_tgid() } as u32;
        if *by == thread {
            *by = 0;
            return false;
        }
    } else if TWICE.load() != 0 {
        // SAFETY: as above.
        *by = unsafe { bpf_get_current_pid_tgid() } as u32;
    }
    true
}

/// Runs a handler on this CPU to its end, where the kernel would let another task in between.
///
/// The two instructions call helpers that no kernel has: user space puts calls of the kernel's own functions
/// (`bpf_preempt_disable()`), or nothing, in their place before it loads the programs.
#[inline(always)]
pub fn undisturbed(handler: impl FnOnce()) {
    // SAFETY: what stands there has no arguments, and may change what a call may change.
    unsafe {
        core::arch::asm!(
            "call {0}", const PREEMPT_DISABLE,
            out("r0") _, out("r1") _, out("r2") _, out("r3") _, out("r4") _, out("r5") _, options(nostack),
        );
    }
    handler();
    // SAFETY: as above.
    unsafe {
        core::arch::asm!(
            "call {0}", const PREEMPT_ENABLE,
            out("r0") _, out("r1") _, out("r2") _, out("r3") _, out("r4") _, out("r5") _, options(nostack),
        );
    }
}

/// The local port of a socket, in host byte order.
#[inline(always)]
pub fn port(sock: *const c_void) -> u16 {
    // SAFETY: `skc_num` is an unsigned short.
    unsafe { load(sock, &SOCK_NUM) }
}

/// The sequence number after the last byte received, if this is a TCP socket.
#[inline(always)]
pub fn received_up_to(sock: *const c_void) -> Option<u32> {
    // SAFETY: the helper takes any socket, and says which it is.
    let tcp = unsafe { bpf_skc_to_tcp_sock(sock.cast_mut()) }.cast::<c_void>();
    // SAFETY: `rcv_nxt` is a u32.
    (!tcp.is_null()).then(|| unsafe { load(tcp, &TCP_RCV_NXT) })
}

/// The place in the stream of the first of `count` bytes that were just read: a TCP sequence number, or the number of bytes
/// read before.
#[inline(always)]
pub fn first_read(sock: *const c_void, connection: &mut Connection, count: u32) -> u32 {
    if !connection.is_unix {
        if let Some(position) = read_up_to(sock) {
            let first = position.wrapping_sub(count);
            // The end of the stream has a number, too, and the read that comes to it passes it (`found_fin_ok` in
            // `tcp_recvmsg_locked()`).
            let is_past_end = first.wrapping_sub(connection.position) == 1
                && connection.has_position
                // SAFETY: `skc_state` is a byte.
                && unsafe { load::<u8>(sock, &SOCK_STATE) } == TCP_CLOSE_WAIT;
            return first.wrapping_sub(is_past_end as u32);
        }
        // Another CPU is about to say so.
        connection.is_unix = true;
        connection.in_step = true;
    }
    connection.position
}

/// Whether something waits to be read.
#[inline(always)]
pub fn has_queued(sock: *const c_void) -> bool {
    // SAFETY: `qlen` is a u32.
    let queued: u32 = unsafe { load(sock, &SOCK_QUEUED) };
    queued != 0
}

/// The sequence number after the last byte that the application read, if this is a TCP socket.
#[inline(always)]
fn read_up_to(sock: *const c_void) -> Option<u32> {
    // SAFETY: the helper takes any socket, and says which it is.
    let tcp = unsafe { bpf_skc_to_tcp_sock(sock.cast_mut()) }.cast::<c_void>();
    // SAFETY: `copied_seq` is a u32.
    (!tcp.is_null()).then(|| unsafe { load(tcp, &TCP_COPIED_SEQ) })
}

/// How long a TCP socket has held data that was not sent or not confirmed, in jiffies.
///
/// Source: `tcp_get_info_chrono_stats()`, net/ipv4/tcp.c.
#[inline(always)]
pub fn busy(sock: *const c_void) -> u32 {
    // SAFETY: the helper takes any socket, and says which it is.
    let tcp = unsafe { bpf_skc_to_tcp_sock(sock.cast_mut()) }.cast::<c_void>();
    if tcp.is_null() {
        return 0;
    }
    // SAFETY: the members are u32 (three times), and an array of three.
    let (written, confirmed, start, stat): (u32, u32, u32, [u32; 3]) = unsafe {
        (
            load(tcp, &TCP_WRITE_SEQ),
            load(tcp, &TCP_SND_UNA),
            load(tcp, &TCP_CHRONO_START),
            [
                load(tcp, &TCP_CHRONO_STAT),
                load(tcp.byte_add(4), &TCP_CHRONO_STAT),
                load(tcp.byte_add(8), &TCP_CHRONO_STAT),
            ],
        )
    };
    let sum = stat[0].wrapping_add(stat[1]).wrapping_add(stat[2]);
    if written == confirmed {
        return sum;
    }
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_jiffies64() } as u32;
    sum.wrapping_add(now.wrapping_sub(start))
}

/// The registers with which the current task entered the kernel.
#[inline(always)]
pub fn registers() -> *const c_void {
    // SAFETY: the helpers have no preconditions.
    unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) as *const c_void }
}

#[inline(always)]
fn storage<T>(map: &SkStorage<T>, sock: *const c_void, flags: u64) -> Option<&'static mut T> {
    let map = core::ptr::from_ref(map).cast_mut().cast();
    // SAFETY: the helper takes a pointer to the map and any full socket; a new value is zeroed, which is a valid one.
    let value = unsafe { bpf_sk_storage_get(map, sock.cast_mut(), core::ptr::null_mut(), flags) };
    // SAFETY: the value lives as long as the socket, which the kernel holds for the length of this program.
    unsafe { value.cast::<T>().as_mut() }
}

/// Somebody listens on a port from now on: connections to it are picked up if their beginning is missed.
#[inline(always)]
pub fn watch_port(port: u16) {
    let Some(ports) = PORTS.get_ptr_mut(0) else {
        return;
    };
    let bit = 1u64 << (port & 63);
    // SAFETY: a word of the map's element. The instruction (Linux 5.12) is atomic, and has no other effect.
    unsafe {
        let word = ports.cast::<u64>().add((port as usize >> 6) & 1023);
        core::arch::asm!("lock *(u64 *)({0} + 0) |= {1}", in(reg) word, in(reg) bit, options(nostack));
    }
}

/// The state of a connection that is watched.
#[inline(always)]
pub fn connection(sock: *const c_void) -> Option<&'static mut Connection> {
    storage(&CONNECTIONS, sock, 0)
}

/// Starts to watch a connection.
#[inline(always)]
pub fn watch(sock: *const c_void) -> Option<&'static mut Connection> {
    let made = storage(&CONNECTIONS, sock, BPF_SK_STORAGE_GET_F_CREATE as u64);
    if made.is_some() {
        return made;
    }
    // Of two CPUs that make it at the same time one fails.
    let found = connection(sock);
    if found.is_none() {
        lost(Lost::NoSocketState);
    }
    found
}

/// Starts to watch a connection whose beginning was not seen, if it may be a server's.
#[inline(always)]
pub fn adopt(sock: *const c_void) -> Option<&'static mut Connection> {
    if is_unix(sock) {
        return adopt_unix(sock);
    }
    let port = port(sock) as usize;
    let ports = PORTS.get(0)?;
    if (ports[(port >> 6) & 1023] >> (port & 63)) & 1 == 0 {
        return None;
    }
    // SAFETY: `skc_state` is a byte.
    let state: u8 = unsafe { load(sock, &SOCK_STATE) };
    if state != TCP_ESTABLISHED && state != TCP_CLOSE_WAIT {
        return None;
    }
    watch(sock)
}

/// Starts to watch a stream socket of the unix family, if it is a server's: one that `accept(2)` has made, or will, has
/// the name of the socket that it was made from. Nothing tells of its beginning before its first data does.
#[inline(always)]
fn adopt_unix(sock: *const c_void) -> Option<&'static mut Connection> {
    if UNIX_ADDR.load() == 0 {
        return None;
    }
    // SAFETY: `skc_state` is a byte, and `sk_type` an unsigned short.
    let (state, kind): (u8, u16) = unsafe { (load(sock, &SOCK_STATE), load(sock, &SOCK_TYPE)) };
    if state != TCP_ESTABLISHED || kind != SOCK_STREAM {
        return None;
    }
    // SAFETY: the helper takes any socket, and says which it is.
    let unix = unsafe { bpf_skc_to_unix_sock(sock.cast_mut().cast()) }.cast::<c_void>();
    if unix.is_null() {
        return None;
    }
    // SAFETY: `addr` is a pointer.
    let address: u64 = unsafe { load(unix, &UNIX_ADDR) };
    if address == 0 {
        return None;
    }
    let connection = watch(sock)?;
    connection.is_unix = true;
    connection.in_step = true;
    Some(connection)
}

/// The state of the byte-wise parsers of a connection.
#[inline(always)]
pub fn pieces(sock: *const c_void) -> Option<&'static mut Pieces> {
    let pieces = storage(&PIECES, sock, BPF_SK_STORAGE_GET_F_CREATE as u64);
    match &pieces {
        Some(_) => {}
        None => lost(Lost::NoSocketState),
    }
    pieces
}

/// Gives the state of a connection's byte-wise parsers back.
#[inline(always)]
pub fn forget_pieces(sock: *const c_void) {
    let map = core::ptr::from_ref(&PIECES).cast_mut().cast();
    // SAFETY: the helper takes a pointer to the map and any full socket.
    unsafe { bpf_sk_storage_delete(map, sock.cast_mut()) };
}

/// The path that is kept beside a connection.
#[inline(always)]
pub fn kept_path(sock: *const c_void) -> Option<&'static KeptPath> {
    storage(&PATHS, sock, 0).map(|path| &*path)
}

/// Where the path of a connection's request is kept, from now on. `None`: there is no memory for it.
#[inline(always)]
pub fn keep_path(sock: *const c_void) -> Option<&'static mut KeptPath> {
    storage(&PATHS, sock, BPF_SK_STORAGE_GET_F_CREATE as u64)
}

/// The entry of a process in the process table.
#[inline(always)]
fn entry(process: u32) -> Option<*mut u16> {
    let block = PROCESSES.get_ptr_mut(process / PROCESS_BLOCK as u32)?;
    // SAFETY: the remainder is a place of the block.
    Some(unsafe { block.cast::<u16>().add(process as usize & (PROCESS_BLOCK - 1)) })
}

/// The entry of a process in the process table: see [`vigie_ebpf::service`].
#[inline(always)]
pub fn entry_of(process: u32) -> u16 {
    match entry(process) {
        // SAFETY: the pointer is to an element of the map.
        Some(entry) => unsafe { entry.read_volatile() },
        None => SERVICE_UNKNOWN,
    }
}

/// When the current process was made, in nanoseconds since boot: `/proc/<pid>/stat` has the same in ticks.
#[inline(always)]
pub fn process_start() -> u64 {
    // SAFETY: the helper has no preconditions; the members are a pointer to a task, and a u64.
    unsafe {
        let task = bpf_get_current_task_btf() as *const c_void;
        let leader: *const c_void = load(task, &TASK_LEADER);
        load(leader, &TASK_BORN)
    }
}

/// Whether a task is in the same cgroups as the process that has made it. What a container's or a unit's first process becomes
/// is not: it is moved to cgroups of its own before.
#[inline(always)]
pub fn shares_cgroups(task: *const c_void) -> bool {
    if TASK_PARENT.load() == 0 {
        return false;
    }
    // SAFETY: both are pointers, to a `task_struct` and to a `css_set`.
    unsafe {
        let parent: *const c_void = load(task, &TASK_PARENT);
        let own: u64 = load(task, &TASK_CGROUPS);
        own == load::<u64>(parent, &TASK_CGROUPS)
    }
}

/// Changes the service of a process.
#[inline(always)]
pub fn set_service(process: u32, service: u16) {
    if let Some(entry) = entry(process) {
        // SAFETY: as above. A store of two bytes is atomic.
        unsafe { entry.write_volatile(service) };
    }
}
