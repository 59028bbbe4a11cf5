//! A server read from a socket: requests begin here.

use core::ffi::c_void;

use aya_ebpf::{
    Global,
    helpers::generated::{bpf_get_current_pid_tgid, bpf_ktime_get_ns},
};
use vigie_ebpf::{
    bytes::{BUFFER, WINDOW, word_at},
    request::{self, Line, PATH},
    step::Step,
    types::{
        CachedPath, Connection, Lost, ROUTE_NONE, ROUTE_OTHER, ROUTE_UNKNOWN, SERVICE_IGNORED, SERVICE_UNKNOWN, event,
        stage,
    },
};

use crate::{
    kernel::{connection, pieces, port, read_up_to, service},
    maps::{CACHE, CACHED_PATHS, FULL, PARSED, lost},
    parsers::{vigie_read_request, vigie_scan_request, vigie_shape},
    report::{finish, is_known, meet, show_path, taught},
    user_memory::Message,
};

/// Makes the hashes of paths unpredictable from outside. Written by user space.
#[unsafe(no_mangle)]
static SEED: Global<u64> = Global::new(0);

const MSG_PEEK: i32 = 2;

/// The handler of every receive hook: `count` bytes of the socket were read, or an error below zero.
#[inline(always)]
pub fn received(sock: *const c_void, count: i32, flags: i32) {
    if count <= 0 || flags & MSG_PEEK != 0 {
        return;
    }
    let Some(connection) = connection(sock) else {
        return;
    };
    let count = count as u64;
    match connection.stage {
        stage::OPAQUE => {}
        stage::IDLE | stage::LINE | stage::UNTIL_CLOSE => begin(sock, connection, count),
        // More of the head, or of the body, of the request that is being handled.
        _ => {
            connection.request_bytes += count;
            if let Some(position) = read_up_to(sock) {
                connection.arrivals.forget(position);
            }
        }
    }
}

#[inline(always)]
fn begin(sock: *const c_void, connection: &mut Connection, count: u64) {
    let Some(position) = read_up_to(sock) else {
        return;
    };
    let arrival = connection.arrivals.at(position.wrapping_sub(count as u32)).unwrap_or(0);
    connection.arrivals.forget(position);
    let Some(mut message) = Message::received() else {
        lost(Lost::Unreadable);
        return;
    };
    // On a connection that has carried requests, what looks like the middle of a request line may be the rest of a body that
    // came after its response. A whole line behind it is the next request.
    if connection.stage != stage::LINE || connection.is_http {
        let length = message.copy(0, if count < WINDOW as u64 { count } else { WINDOW as u64 });
        if let Some(line) = request::scan::<WINDOW>(message.buffer, length as usize, SEED.load()) {
            end_previous(connection);
            open(sock, connection, arrival, count, &line);
            find_route(connection, message.buffer, &line);
            return;
        }
    }
    read_line(sock, connection, count, arrival);
}

/// The next request ends a response whose own end could not be known: with the last byte before it.
#[inline(always)]
fn end_previous(connection: &mut Connection) {
    if connection.stage == stage::UNTIL_CLOSE {
        let (end, status) = (connection.last_send, connection.status);
        finish(connection, end, status);
    }
}

/// A request line was found whole: a request has begun.
#[inline(always)]
fn open(sock: *const c_void, connection: &mut Connection, arrival: u64, count: u64, line: &Line) {
    connection.start = start(arrival);
    connection.request_bytes = count;
    handle(sock, connection);
    connection.method = line.method as u8;
}

/// When a request began: when its first byte arrived. Where the data came before Vigie did (0), what is known is that it
/// is there now.
#[inline(always)]
fn start(arrival: u64) -> u64 {
    if arrival != 0 {
        return arrival;
    }
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_ns() }
}

/// A request line was read: the current process handles it.
#[inline(always)]
fn handle(sock: *const c_void, connection: &mut Connection) {
    // SAFETY: the helper has no preconditions.
    let process = unsafe { (bpf_get_current_pid_tgid() >> 32) as u32 };
    connection.process = process;
    connection.port = port(sock);
    connection.service = service(process);
    connection.response_bytes = 0;
    connection.status = 0;
    connection.route = ROUTE_UNKNOWN;
    connection.is_http = true;
    connection.stage = stage::OPEN;
    if connection.service == SERVICE_UNKNOWN {
        meet(process, connection.port, event::PROCESS);
    } else if connection.service == SERVICE_IGNORED {
        connection.stage = stage::OPAQUE;
    }
}

/// Finds the route of a path in the buffer: by its raw hash, or else by its shape.
#[inline(always)]
fn find_route(connection: &mut Connection, buffer: &[u8; BUFFER], line: &Line) {
    if connection.stage == stage::OPAQUE {
        return;
    }
    let hash = line.hash ^ (connection.service as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let cached = CACHE.get_ptr_mut(hash as u32 & (CACHED_PATHS as u32 - 1));
    if let Some(cached) = cached {
        // SAFETY: this CPU's entry, which only this program touches.
        let CachedPath { hash: known, route, .. } = unsafe { *cached };
        if known == hash && route != ROUTE_UNKNOWN {
            connection.route = route;
            return;
        }
    }
    connection.shape = vigie_shape(line.start as u64, line.end as u64);
    let length = (line.end - line.start) as u32;
    if !find_shape(connection) {
        show_path(connection, connection.service, length, |path| {
            // SAFETY: the source is below WINDOW + PATH, which is below BUFFER.
            unsafe { copy_path(path, buffer.as_ptr().add(line.start & 15)) };
        });
    } else if connection.route > ROUTE_OTHER
        && let Some(cached) = cached
    {
        // SAFETY: as above.
        unsafe {
            *cached = CachedPath {
                hash,
                route: connection.route,
                reserved: 0,
            };
        }
    }
}

/// Looks the shape of the connection's path up. `false`: user space has to see the path.
#[inline(always)]
fn find_shape(connection: &mut Connection) -> bool {
    if !is_known(connection.service) {
        return false;
    }
    let route = taught(connection.shape, connection.service);
    if route == ROUTE_UNKNOWN {
        let full = FULL.get(connection.service as u32).is_some_and(|full| *full != 0);
        if !full {
            return false;
        }
        connection.route = ROUTE_OTHER;
    } else if route == ROUTE_NONE {
        // It has only answered 404 so far. If it now does not, user space must hear of it under its own shape.
        connection.route = ROUTE_UNKNOWN;
    } else {
        connection.route = route;
    }
    true
}

/// # Safety
///
/// `source` points to at least [`PATH`] readable bytes.
#[inline(always)]
unsafe fn copy_path(path: &mut [u8; PATH], source: *const u8) {
    let mut i = 0;
    while i < PATH {
        // SAFETY: by this function's contract.
        unsafe {
            let word = word_at(source.add(i));
            path.as_mut_ptr().add(i).cast::<u64>().write(word);
        }
        i += 8;
    }
}

/// A request line that is long, comes in pieces, or is not of the usual form.
#[inline(never)]
fn read_line(sock: *const c_void, connection: &mut Connection, count: u64, arrival: u64) {
    let (Some(pieces), Some(mut message)) = (pieces(sock), Message::received()) else {
        return;
    };
    let length = message.copy(0, count);
    if connection.stage != stage::LINE
        && count > WINDOW as u64
        && vigie_scan_request(length, SEED.load()) != 0
        && let Some(parsed) = PARSED.get(0)
    {
        let line = parsed.line;
        end_previous(connection);
        open(sock, connection, arrival, count, &line);
        find_route(connection, message.buffer, &line);
        return;
    }
    if connection.stage == stage::UNTIL_CLOSE {
        // These bytes may as well be the rest of the request's body. Only a whole request line ends the response.
        pieces.request.reset();
        let step = vigie_read_request(pieces, length) as u8;
        if step == Step::More as u8 {
            lost(Lost::Unmatched);
        }
        if step != Step::Done as u8 {
            return;
        }
        end_previous(connection);
    }
    if connection.stage == stage::IDLE {
        pieces.request.reset();
        connection.stage = stage::LINE;
    }
    if pieces.request.is_fresh() {
        connection.request_bytes = 0;
        connection.start = start(arrival);
    }
    connection.request_bytes += count;
    let result = vigie_read_request(pieces, length);
    let mut step = result as u8;
    if step == Step::More as u8 {
        if result >> 8 == count {
            return;
        }
        // Longer than what can be looked at. If the path was there, the response will show whether this is HTTP.
        step = if pieces.request.has_path() {
            Step::Done as u8
        } else {
            Step::Bad as u8
        };
    }
    if step == Step::Bad as u8 {
        // A connection that never carried a request is another protocol. One that did may be in the middle of something
        // that Vigie does not follow: it is looked at again at its next read.
        connection.stage = if connection.is_whole && !connection.is_http {
            stage::OPAQUE
        } else {
            stage::IDLE
        };
        return;
    }
    handle(sock, connection);
    connection.method = pieces.request.method();
    connection.shape = pieces.request.shape();
    if connection.stage == stage::OPEN && !find_shape(connection) {
        show_path(connection, connection.service, pieces.request.path_length(), |path| {
            // SAFETY: the source is PATH bytes long.
            unsafe { copy_path(path, pieces.request.path().as_ptr()) };
        });
    }
}
