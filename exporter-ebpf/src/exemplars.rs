//! Keeping exemplars: the trace of a request until it has ended, and then that of some request in each bucket.

use vigie_ebpf::{
    exemplar::{self, EXEMPLAR_AGE, Exemplar, ExemplarKey},
    types::{BOUNDS, Connection, bucket},
};

use crate::maps::{EXEMPLARS, LATENCY_BOUNDS, buffer};

/// Keeps the trace of the `traceparent` at `at` of the received bytes, if there is one (0: there is none). It is that of the connection's
/// current request.
#[inline(always)]
pub fn keep(connection: &mut Connection, at: u64) {
    if at != 0 {
        vigie_keep_trace_parent(connection, at);
    }
}

/// A function of its own for the verifier's sake, as those in `parsers.rs`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vigie_keep_trace_parent(connection: *mut Connection, at: u64) -> u64 {
    // SAFETY: null, or a map's value, as the verifier checks at each call.
    if let (Some(connection), Some(buffer)) = (unsafe { connection.as_mut() }, buffer(0)) {
        if connection.is_stream {
            // It was answered before its head has ended. It is no exemplar, and other numbers are in that place.
            return 0;
        }
        // SAFETY: this CPU's element, which only the receiving programs use.
        let buffer = unsafe { &*buffer };
        connection.request.has_exemplar = exemplar::take(&mut connection.trace, buffer, at as usize);
    }
    0
}

/// The current request of a connection has ended, at `end`. It becomes the exemplar of its series and its bucket, unless another
/// has lately.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_note_exemplar(connection: *const Connection, end: u64) -> u64 {
    // SAFETY: null, or a map's value, as the verifier checks at each call.
    let (Some(connection), Some(bounds)) = (unsafe { connection.as_ref() }, LATENCY_BOUNDS.get(0)) else {
        return 0;
    };
    let duration = connection.phases.duration();
    let bounds: &[u64; BOUNDS] = bounds;
    let key = ExemplarKey {
        place: connection.exemplar_place as u32,
        bucket: bucket(bounds, duration) as u32,
    };
    // SAFETY: one word of the map's value is read at once.
    let last = unsafe { EXEMPLARS.get(key) }.map_or(0, |Exemplar { end, .. }| *end);
    // The end of a response that nothing tells of lies in the past, perhaps before that of another.
    if last != 0 && end < last.wrapping_add(EXEMPLAR_AGE) {
        return 0;
    }
    // On the stack: before Linux 6.2 the helper takes no pointer into the connection here, where that is an argument.
    let exemplar = Exemplar {
        end,
        duration,
        trace: connection.trace,
    };
    // What cannot be kept is none.
    let _ = EXEMPLARS.insert(key, &exemplar, 0);
    0
}
