//! Requests in flight: those that were read and are not answered yet.
//!
//! Each is counted once when it begins, and once when it ends, however that comes about: answered, aborted, or lost from sight.

use vigie_ebpf::types::{Request, SERVICE_UNKNOWN};

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
    request.flight = SERVICE_UNKNOWN;
    if is_known(request.service) {
        request.flight = request.service;
        change(request.service, 1);
    }
    request.is_summed = thread::begin(request.process, &mut request.read.moment);
}

/// A request ends, and `others` behind it on the same connection, which are of the same process.
#[inline(always)]
pub fn land(request: &Request, others: u64) {
    if request.flight != SERVICE_UNKNOWN {
        change(request.flight, 0u64.wrapping_sub(1 + others));
    }
    if request.is_summed {
        thread::end(request.process, 1 + others);
    }
}
