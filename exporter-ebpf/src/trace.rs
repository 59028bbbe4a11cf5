//! Showing single requests to whoever asks.
//!
//! While nobody does, this is one load and a branch for each request that is read, and one for each that has ended. The
//! kernel forgets a path once its route is found, so the path of a request is kept beside its connection while somebody traces:
//! that of the request that is answered next. One that waits for an earlier one to be answered is shown without.
//!
//! Where a request ends, the socket is not at hand, and so the sending side lays the path out in the CPU's own place first.
//! An interrupt may end a request on the same CPU in between, and lay out another; the start of the request tells.

use core::{ffi::c_void, ptr::from_ref};

use aya_ebpf::helpers::generated::{bpf_get_current_pid_tgid, bpf_ktime_get_ns, bpf_probe_read_kernel};
use vigie_ebpf::{
    traced::{Ended, KeptPath, PATH_KEPT, SLOTS, TraceEvent},
    types::{Connection, Finished, Pieces, Request, SeriesKey},
};

use crate::{
    kernel::{keep_path, kept_path},
    maps::{ENDED, PACES, PARSED, PATHS_AT_HAND, TRACED_ROUTES, TRACES, TRACING, UNTOLD, WANTED, buffer},
};

/// The place of [`PATHS_AT_HAND`] for what was received, and for what is sent.
const RECEIVED: u32 = 0;
const SENT: u32 = 1;

/// Whether somebody traces.
#[inline(always)]
fn is_on() -> bool {
    TRACING.get(0).is_some_and(|slots| *slots != 0)
}

/// The path in the received bytes is that of `request`, which is answered next.
#[inline(always)]
pub fn keep(sock: *const c_void, request: &mut Request) {
    if is_on() {
        hold(request);
        store(sock, request);
    }
}

/// The same, where the socket is not at hand: [`keep_held`] has to follow.
#[inline(always)]
pub fn hold_scanned(request: &mut Request) {
    if is_on() {
        hold(request);
    }
}

/// The same for a request line that was read in pieces.
#[inline(always)]
pub fn hold_line(request: *mut Request, pieces: &Pieces) {
    // SAFETY: a part of a map's value, as its caller says.
    if is_on()
        && let Some(request) = unsafe { request.as_mut() }
    {
        hold_kept(request, pieces.line.path_length(), pieces.line.path().as_ptr());
    }
}

/// Keeps the path that was found in the steps before, if there was one.
#[inline(always)]
pub fn keep_held(sock: *const c_void, connection: &Connection) {
    if connection.request.has_path && is_on() {
        store(sock, &connection.request);
    }
}

#[inline(never)]
fn hold(request: &mut Request) {
    let (Some(parsed), Some(buffer)) = (PARSED.get(0), buffer(0)) else {
        return;
    };
    let line = &parsed.line;
    // SAFETY: a path starts in the first 16 bytes of the buffer.
    let path = unsafe { buffer.cast::<u8>().add(line.start & 15) };
    hold_kept(request, (line.end - line.start) as u32, path);
}

#[inline(always)]
fn hold_kept(request: &mut Request, length: u32, path: *const u8) {
    let Some(held) = PATHS_AT_HAND.get_ptr_mut(RECEIVED) else {
        return;
    };
    // SAFETY: this CPU's element, of which only the receiving programs use this one; there are at least PATH_KEPT bytes at
    // `path`.
    unsafe {
        (*held).start = request.start;
        (*held).length = length;
        copy((&raw mut (*held).path).cast(), path, PATH_KEPT as u32);
    }
    request.has_path = true;
}

/// Puts the path at hand beside the connection.
#[inline(never)]
fn store(sock: *const c_void, request: &Request) {
    let Some(held) = PATHS_AT_HAND.get(RECEIVED) else {
        return;
    };
    if held.start != request.start {
        return;
    }
    if let Some(kept) = keep_path(sock) {
        // SAFETY: both are a KeptPath.
        unsafe {
            copy(
                (&raw mut *kept).cast(),
                from_ref(held).cast(),
                size_of::<KeptPath>() as u32,
            )
        };
    }
}

/// Lays the path of the request that is being answered out, in case it ends now.
#[inline(always)]
pub fn take_up(sock: *const c_void, connection: &Connection) {
    if connection.request.has_path && is_on() {
        lay_out(sock);
    }
}

#[inline(never)]
fn lay_out(sock: *const c_void) {
    let Some(place) = PATHS_AT_HAND.get_ptr_mut(SENT) else {
        return;
    };
    match kept_path(sock) {
        // SAFETY: both are a KeptPath; the place is this CPU's.
        Some(kept) => unsafe { copy(place.cast(), (&raw const *kept).cast(), size_of::<KeptPath>() as u32) },
        // SAFETY: as above.
        None => unsafe { (*place).start = 0 },
    }
}

/// Copies memory of the kernel's. If it cannot, there are zeros.
///
/// # Safety
///
/// There are `count` bytes to write at `to`.
#[inline(always)]
unsafe fn copy(to: *mut c_void, from: *const u8, count: u32) {
    // SAFETY: by this function's contract; the helper checks the source.
    unsafe { bpf_probe_read_kernel(to, count, from.cast()) };
}

/// A request has ended. If somebody traces, [`vigie_show`] has to be called next, with the result; else it is 0.
///
/// The two are called one after the other and not within each other: before 6.12 all frames of a chain of calls share 512
/// bytes of stack.
#[inline(always)]
pub fn note(request: &Request, key: &SeriesKey, finished: &Finished) -> u64 {
    if is_on() { put_down(request, key, finished) } else { 0 }
}

#[inline(never)]
fn put_down(request: &Request, key: &SeriesKey, finished: &Finished) -> u64 {
    let Some(ended) = ENDED.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: this CPU's element. Whoever comes in between, in an interrupt, takes the next turn.
    unsafe {
        let turn = (&raw const (*ended).turn).read_volatile() + 1;
        (&raw mut (*ended).turn).write_volatile(turn);
        (*ended).request = *request;
        (*ended).key = *key;
        // A single request is shown with its own method.
        (*ended).key.method = request.method;
        (*ended).finished = *finished;
        turn
    }
}

/// Shows the request that has just ended to those who ask for it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_show(turn: u64) -> u64 {
    let (Some(active), Some(ended)) = (TRACING.get(0), ENDED.get_ptr_mut(0)) else {
        return 0;
    };
    let active = *active;
    // SAFETY: this CPU's element. Whether it is still the one that was noted is asked below.
    let Ended {
        turn: _,
        request,
        finished,
        key,
        reserved: _,
    } = unsafe { &*ended };
    let duration = finished.phases.duration();
    let mut slots = 0;
    let mut slot = 0;
    while slot < SLOTS as u32 {
        if (active >> slot) & 1 != 0 {
            let passes = vigie_passes(slot, duration, key.service as u32, key.route, key.status as u32);
            slots |= (passes as u32 & 1) << slot;
        }
        slot += 1;
    }
    // SAFETY: as above.
    let is_same = || unsafe { (&raw const (*ended).turn).read_volatile() } == turn;
    if slots == 0 {
        if !is_same() {
            vigie_untold(active, 1);
        }
        return 0;
    }
    let Some(mut event) = TRACES.reserve_untyped::<TraceEvent>(0) else {
        vigie_untold(slots, 0);
        return 0;
    };
    let place = event.as_mut_ptr();
    // SAFETY: the place is a reserved record of this type. Of the path as many bytes are valid as `path_length` says.
    unsafe {
        (&raw mut (*place).start).write(request.start);
        (&raw mut (*place).shape).write(request.shape);
        (&raw mut (*place).finished).write(*finished);
        (&raw mut (*place).key).write(*key);
        (&raw mut (*place).process).write(request.process);
        (&raw mut (*place).thread).write(thread_of(request.process));
        (&raw mut (*place).slots).write(slots);
        (&raw mut (*place).path_length).write(copy_path((&raw mut (*place).path).cast(), request));
        (&raw mut (*place).reserved).write(0);
    }
    if is_same() {
        event.submit(0);
    } else {
        event.discard(0);
        vigie_untold(active, 1);
    }
    0
}

/// The current thread, if it is one of this process.
#[inline(always)]
fn thread_of(process: u32) -> u32 {
    // SAFETY: the helper has no preconditions.
    let current = unsafe { bpf_get_current_pid_tgid() };
    if (current >> 32) as u32 == process {
        current as u32
    } else {
        0
    }
}

/// Copies the path of a request, if it is at hand, and says how long it is.
///
/// # Safety
///
/// There are [`PATH_KEPT`] bytes to write at `to`.
#[inline(always)]
unsafe fn copy_path(to: *mut c_void, request: &Request) -> u32 {
    let Some(kept) = PATHS_AT_HAND.get_ptr(SENT) else {
        return 0;
    };
    if !request.has_path {
        return 0;
    }
    // SAFETY: by this function's contract. What an interrupt may change is read anew, and last, to tell whether it has.
    unsafe {
        let length = (&raw const (*kept).length).read_volatile();
        copy(to, (&raw const (*kept).path).cast(), PATH_KEPT as u32);
        if (&raw const (*kept).start).read_volatile() == request.start {
            length
        } else {
            0
        }
    }
}

/// Whether the one in a slot is shown this request (1). If it asks for it, and has had enough of them lately, that is
/// counted.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vigie_passes(slot: u32, duration: u64, service: u32, route: u32, status: u32) -> u64 {
    let (Some(wanted), Some(routes)) = (WANTED.get(slot), TRACED_ROUTES.get(slot)) else {
        return 0;
    };
    if !wanted.wants_answer(status as u16, duration) || !wanted.wants_service(service as u16) {
        return 0;
    }
    if (routes[(route as usize >> 6) & (routes.len() - 1)] >> (route & 63)) & 1 == 0 {
        return 0;
    }
    if wanted.interval == 0 {
        return 1;
    }
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    if let Some(pace) = PACES.get_ptr_mut(slot) {
        // SAFETY: an element of the map, read and written as one word.
        let next = unsafe { pace.read_volatile() };
        if let Some(then) = wanted.room(next, now) {
            let mut found = next;
            // Of two CPUs that find the same room one gets it.
            // SAFETY: as above. The instruction (Linux 5.12) is atomic, and has no other effect.
            unsafe {
                core::arch::asm!(
                    "r0 = cmpxchg_64({0} + 0, r0, {1})",
                    in(reg) pace, in(reg) then, inout("r0") found, options(nostack)
                );
            }
            if found == next {
                return 1;
            }
        }
    }
    if let Some(untold) = UNTOLD.get_ptr_mut(slot) {
        // SAFETY: this CPU's element.
        unsafe { (*untold).over_rate += 1 };
    }
    0
}

/// Counts a request that was not shown to some slots: it found the ring buffer full (0), or was interrupted (1).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vigie_untold(slots: u32, is_interrupted: u32) -> u64 {
    let mut slot = 0;
    while slot < SLOTS as u32 {
        if (slots >> slot) & 1 != 0
            && let Some(untold) = UNTOLD.get_ptr_mut(slot)
        {
            // SAFETY: this CPU's element.
            unsafe {
                if is_interrupted != 0 {
                    (*untold).interrupted += 1;
                } else {
                    (*untold).ring_full += 1;
                }
            }
        }
        slot += 1;
    }
    0
}
