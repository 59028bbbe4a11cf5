//! Requests in flight: those that were read and are not answered yet.
//!
//! Each is counted once when it begins, and once when it ends, however that comes about: answered, aborted, or lost from sight.

use vigie_ebpf::types::{Connection, Pieces, Request, SERVICE_UNKNOWN, WAITING};

use crate::{
    maps::{IN_FLIGHT, slot},
    report::is_known,
    thread,
};

/// Changes the number of a service's requests in flight, which is the sum over all CPUs.
#[inline(always)]
fn change(service: u16, number: u64) {
    if let Some(place) = slot(service)
        && let Some(count) = IN_FLIGHT.get_ptr_mut(place)
    {
        // SAFETY: this CPU's element.
        unsafe { *count = (*count).wrapping_add(number) };
    }
}

/// A request begins.
#[inline(always)]
pub fn take_off(request: &mut Request) {
    if is_known(request.service) {
        request.flight = request.service;
        change(request.service, 1);
    }
    request.is_summed = thread::begin(request.process, &mut request.read.moment);
}

/// A request ends.
#[inline(always)]
pub fn land(request: &Request) {
    if request.flight != SERVICE_UNKNOWN {
        change(request.flight, 0u64.wrapping_sub(1));
    }
    if request.is_summed {
        thread::end(request.process);
    }
}

/// The requests that wait on a connection will not be told apart from what is sent: each ends where it was counted. A process may have
/// been named, or handed its socket on, between two of them. Says how many they were.
///
/// A function of its own for the verifier's sake, as those in `parsers.rs`.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_land_waiting(connection: *mut Connection, pieces: *const Pieces) -> u64 {
    // SAFETY: null, or a map's value each, as the verifier checks at each call.
    let (Some(connection), Some(pieces)) = (unsafe { connection.as_mut() }, unsafe { pieces.as_ref() }) else {
        return 0;
    };
    let mut count = 0;
    while count < WAITING as u64 && connection.taken != connection.put {
        // SAFETY: the mask keeps the place in the ring.
        land(unsafe {
            &*(&raw const pieces.waiting)
                .cast::<Request>()
                .add(connection.taken as usize & (WAITING - 1))
        });
        connection.taken = connection.taken.wrapping_add(1);
        count += 1;
    }
    count
}
