//! Counting a finished request, and telling user space what it has to know.

use vigie_ebpf::{
    attribution::Reason,
    method,
    native::native_place,
    phases::Phases,
    service,
    types::{
        Connection, Finished, Lost, PHASE_BOUNDS, PHASE_BOUNDS_NS, PathEvent, ProcessEvent, ROUTE_NONE, ROUTE_OTHER,
        ROUTE_UNKNOWN, Request, RequestEvent, SERVICE_IGNORED, SERVICE_PENDING, STATUS_ABORTED, STREAM, SeriesKey,
        SeriesValue, ShapeKey, bucket, event, route_mode, stage, tells_of_path,
    },
};

use crate::{
    exemplars::vigie_note_exemplar,
    flight::land,
    kernel::{entry_of, process_start, set_service},
    maps::{
        EVENTS, LATENCY_BOUNDS, NATIVE, ROUTE_MODES, SERIES, SHAPES, WAITS, add, is_full, lost, slot, unattributed,
    },
    trace,
};

/// Whether a number is a service's.
#[inline(always)]
pub fn is_known(service: u16) -> bool {
    slot(service).is_some()
}

/// Counts the current request of a connection, which ended at `end`, and makes the connection ready for the next.
#[inline(always)]
pub fn finish(connection: &mut Connection, end: u64, status: u16) {
    let turn = vigie_finish(connection, end, status as u32);
    if connection.exemplar_place != 0 {
        vigie_note_exemplar(connection, end);
    } else if connection.is_stream {
        // Behind `vigie_finish` and not within it: the chain of calls would need more stack than there is before Linux 6.12.
        vigie_count_stream(connection, 0);
    }
    // From here on the receiving side, on another CPU, may put the next request in its place.
    // SAFETY: a part of the connection. A volatile write is not moved before what stands above.
    unsafe { (&raw mut connection.stage).write_volatile(stage::IDLE) };
    if turn != 0 {
        trace::vigie_show(turn);
    }
}

/// The current request of a connection is answered with a stream of events, whose head was sent. It is counted now, and stays in
/// flight until [`finish`].
#[inline(always)]
pub fn begin_stream(connection: &mut Connection) {
    connection.is_stream = true;
    connection.request.has_exemplar = false;
    // What is counted: nothing yet.
    connection.trace = [0; 2];
    vigie_count_stream(connection, 1);
}

/// Counts a stream that begins (`begins` is 1), or what was received and sent for it since then (0).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vigie_count_stream(connection: *mut Connection, begins: u32) -> u64 {
    // SAFETY: null, or a map's value, as the verifier checks at each call.
    let Some(connection) = (unsafe { connection.as_mut() }) else {
        return 0;
    };
    let [received, sent] = connection.trace;
    connection.is_stream = begins != 0;
    let part = Finished {
        phases: Phases::default(),
        request_bytes: connection.request.bytes.wrapping_sub(received),
        response_bytes: connection.response_bytes.wrapping_sub(sent),
    };
    connection.trace = [received + part.request_bytes, sent + part.response_bytes];
    if begins == 0 && part.request_bytes == 0 && part.response_bytes == 0 {
        return 0;
    }
    let Some(mut key) = series(connection, connection.status) else {
        return 0;
    };
    key.flags = STREAM;
    let value = counted_in(&mut key);
    if let Some(value) = value {
        // SAFETY: the pointer is to this CPU's part of the entry.
        unsafe { (*value).count_stream(begins as u64 & 1, &part) };
    } else {
        report(&connection.request, &key, &part, begins & 1 ^ 1);
    }
    0
}

/// What a series has counted on this CPU. Where there is no room for another series of the service, it is that of all such.
#[inline(always)]
fn counted_in(key: &mut SeriesKey) -> Option<*mut SeriesValue> {
    let value = SERIES.get_ptr_mut(*key);
    if value.is_some() || key.route == ROUTE_UNKNOWN || !is_full(key.service) {
        return value;
    }
    key.route = ROUTE_OTHER;
    SERIES.get_ptr_mut(*key)
}

/// A function of its own for the verifier's sake, as those in `parsers.rs`. The result is that of [`trace::note`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vigie_finish(connection: *mut Connection, end: u64, status: u32) -> u64 {
    // SAFETY: null, or a map's value, as the verifier checks at each call.
    let Some(connection) = (unsafe { connection.as_mut() }) else {
        return 0;
    };
    file(connection, end, status as u16)
}

/// The series of the current request of a connection. `None`: it is not to be counted.
#[inline(always)]
fn series(connection: &Connection, status: u16) -> Option<SeriesKey> {
    let request = &connection.request;
    let mut number = request.service;
    let mut route = request.route;
    if !is_known(number) && number != SERVICE_IGNORED {
        number = service::handler(entry_of(request.process));
    }
    if number == SERVICE_IGNORED {
        return None;
    }
    if route == ROUTE_UNKNOWN && is_known(number) {
        route = known_route(request.shape, number);
    }
    let is_found = tells_of_path(status);
    if route == ROUTE_OTHER && !is_found {
        route = ROUTE_NONE;
    } else if route == ROUTE_NONE && is_found {
        // It is a route after all: user space has to hear of it under its own shape.
        route = ROUTE_UNKNOWN;
    }
    Some(SeriesKey {
        route,
        service: number,
        port: connection.port,
        status,
        method: method::counted(request.method, status),
        flags: connection.is_stream as u8 * STREAM,
    })
}

/// Adds the current request of a connection to its series, or tells user space of it. A stream is counted by
/// [`vigie_count_stream`]: of this it only lands. The result is that of [`trace::note`].
#[inline(always)]
fn file(connection: &mut Connection, end: u64, status: u16) -> u64 {
    let is_answered = status != STATUS_ABORTED;
    if connection.answered == 0 {
        let duration = end.saturating_sub(connection.request.start);
        connection.phases = Phases {
            unattributed: duration,
            ..Phases::default()
        };
        connection.unsure = 0;
        connection.reason = Reason::Unseen as u8;
    } else {
        connection.phases.send += end.saturating_sub(connection.answered);
    }
    if is_answered && !connection.is_stream && connection.phases.unattributed != 0 {
        unattributed(Reason::Queue, connection.unsure);
        unattributed(
            Reason::of(connection.reason),
            connection.phases.unattributed - connection.unsure,
        );
    }
    land(&connection.request);
    let request = &connection.request;
    let finished = Finished {
        phases: connection.phases,
        request_bytes: request.bytes,
        response_bytes: connection.response_bytes,
    };
    connection.exemplar_place = 0;
    let Some(mut key) = series(connection, status) else {
        return 0;
    };
    if connection.is_stream {
        return trace::note(request, &key, &finished);
    }
    let mut place = 0;
    let value = counted_in(&mut key);
    if let (Some(value), Some(bounds)) = (value, LATENCY_BOUNDS.get(0)) {
        if is_answered {
            note_waits(key, &finished.phases);
        }
        // SAFETY: the pointer is to this CPU's part of the entry.
        unsafe { (*value).count(bounds, &finished) };
        // SAFETY: the same.
        place = unsafe { (*value).native };
        vigie_note_native(connection, place);
    } else {
        report(request, &key, &finished, 0);
    }
    // Behind it: user space finds out the route from what was reported.
    let turn = trace::note(request, &key, &finished);
    if is_answered && request.has_exemplar {
        connection.exemplar_place = place as u16;
    }
    turn
}

/// Counts a request in the native histogram of its series, if that has one. A function of its own: it is verified once, and not for each bucket
/// that the request may be in, and takes no room in its caller's frame, of which there is none left before Linux 6.12.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vigie_note_native(connection: *const Connection, place: u64) -> u64 {
    // All series that have no place would share this one, and all CPUs its lines of cache.
    if place == 0 {
        return 0;
    }
    // SAFETY: null, or a map's value, as the verifier checks at each call.
    if let (Some(connection), Some(counts)) = (unsafe { connection.as_ref() }, NATIVE.get_ptr_mut(place as u32)) {
        // SAFETY: a place is below the array's length.
        unsafe {
            add(counts.cast::<u64>().add(native_place(connection.phases.duration())), 1);
        }
    }
    0
}

/// Counts the waits of a request that are above the first bound: before the request itself, so that what user space reads
/// first, the requests, is never more than what it reads then.
#[inline(always)]
fn note_waits(key: SeriesKey, phases: &Phases) {
    if phases.queue <= PHASE_BOUNDS_NS[0] && phases.runqueue <= PHASE_BOUNDS_NS[0] {
        return;
    }
    let Some(waits) = WAITS.get_ptr_mut(SeriesKey { status: 0, ..key }) else {
        return;
    };
    // SAFETY: the map's value. A bucket above 0 and at most PHASE_BOUNDS is a place of the array behind the one before.
    unsafe {
        note_wait((&raw mut (*waits).queue).cast(), phases.queue);
        note_wait((&raw mut (*waits).runqueue).cast(), phases.runqueue);
    }
}

/// # Safety
///
/// `buckets` points to [`PHASE_BOUNDS`] numbers of a map's value.
#[inline(always)]
unsafe fn note_wait(buckets: *mut u64, wait: u64) {
    let bucket = bucket(&PHASE_BOUNDS_NS, wait);
    if bucket != 0 && bucket <= PHASE_BOUNDS {
        // SAFETY: by this function's contract.
        unsafe { add(buckets.add(bucket - 1), 1) };
    }
}

/// The route that user space taught for a shape. What was past the cap is unknown again once there is room.
#[inline(always)]
pub fn known_route(shape: u64, service: u16) -> u32 {
    let route = taught(shape, service);
    if route == ROUTE_OTHER && mode_of(service) & route_mode::CLOSED == 0 {
        return ROUTE_UNKNOWN;
    }
    route
}

/// What there is to know of a service's routes.
#[inline(always)]
pub fn mode_of(service: u16) -> u32 {
    let mode = slot(service).and_then(|place| ROUTE_MODES.get(place));
    mode.map_or(0, |mode| *mode)
}

/// The route that user space taught for a shape.
#[inline(always)]
fn taught(shape: u64, service: u16) -> u32 {
    let key = ShapeKey {
        shape,
        service: service as u32,
        reserved: 0,
    };
    // SAFETY: the value is copied at once.
    match unsafe { SHAPES.get(key) } {
        Some(route) => *route,
        None => ROUTE_UNKNOWN,
    }
}

#[inline(never)]
fn report(request: &Request, key: &SeriesKey, finished: &Finished, is_rest: u32) {
    let Some(mut event) = EVENTS.reserve_untyped::<RequestEvent>(0) else {
        lost(Lost::RingFull);
        return;
    };
    let place = event.as_mut_ptr();
    // Not as a whole: it would be made on the stack first, of which there is little.
    // SAFETY: the place is a reserved record of this type, all of which is written.
    unsafe {
        (&raw mut (*place).kind).write(event::REQUEST);
        (&raw mut (*place).process).write(request.process);
        (&raw mut (*place).shape).write(request.shape);
        (&raw mut (*place).key).write(*key);
        (&raw mut (*place).is_rest).write(is_rest);
        (&raw mut (*place).finished).write(*finished);
    }
    event.submit(0);
}

/// Tells user space of a process that it does not know, once.
#[inline(always)]
pub fn meet(process: u32, port: u16, kind: u32) {
    let Some(mut event) = EVENTS.reserve_untyped::<ProcessEvent>(0) else {
        return;
    };
    event.write(ProcessEvent {
        kind,
        process,
        command: aya_ebpf::helpers::bpf_get_current_comm().unwrap_or_default(),
        port,
        reserved: [0; 6],
        start: process_start(),
    });
    event.submit(0);
    if kind == event::PROCESS {
        set_service(process, SERVICE_PENDING);
    }
}

/// Tells user space of a path whose shape it has not taught, or that is asked for often below a collapsed level.
#[inline(always)]
pub fn show_path(request: &Request, length: u32, is_busy: bool, copy: impl FnOnce(&mut [u8; 512])) {
    // If there is no room, the request itself will say so, or find its route taught by then.
    let Some(mut event) = EVENTS.reserve_untyped::<PathEvent>(0) else {
        return;
    };
    let place = event.as_mut_ptr();
    // SAFETY: the place is a reserved record of this type. Its path is written whole by `copy`.
    unsafe {
        (&raw mut (*place).kind).write(event::PATH);
        (&raw mut (*place).process).write(request.process);
        (&raw mut (*place).shape).write(request.shape);
        (&raw mut (*place).length).write(length);
        (&raw mut (*place).service).write(request.service);
        (&raw mut (*place).is_busy).write(is_busy as u16);
        copy(&mut (*place).path);
    }
    event.submit(0);
}
