//! A server wrote to a socket: requests end here.

use core::ffi::c_void;

use aya_ebpf::{Global, helpers::generated::bpf_ktime_get_ns};
use vigie_ebpf::{
    bytes::{WINDOW, word},
    chunked,
    head::Head,
    method::{CONNECT, HEAD},
    preface::looks,
    service,
    step::Step,
    types::{Connection, Lost, NotHttpKey, Pieces, Request, SERVICE_IGNORED, STATUS_ABORTED, WAITING, reading, stage},
};

use crate::{
    flight::{land, vigie_land_waiting},
    kernel::{busy, connection, entry_of, forget_pieces, is_new, pieces},
    maps::{PARSED, count_not_http, exchanged, lose, lost},
    parsers::{BODY_ENDED, BODY_GOES_ON, read_head, vigie_follow_chunks, vigie_scan_response},
    receive::{vigie_become_http, vigie_take_line},
    report::{begin_stream, finish, is_known},
    thread::{measures_phases, vigie_note_answer},
    trace,
    user_memory::{Message, forget_place},
};

const EPIPE: i32 = 32;

/// What is less than this has room in a socket's buffer, if that is empty: nobody has to wait for the client.
const MUCH: u64 = 16_384;

/// The length of a jiffy in nanoseconds. Written by user space.
#[unsafe(no_mangle)]
static JIFFY: Global<u64> = Global::new(0);

/// How many steps are made through the bytes of one system call.
const STEPS: usize = 128;

/// The handler of every send hook: the kernel took `count` bytes, or an error below zero.
#[inline(always)]
pub fn sent<const AGAIN: bool>(sock: *const c_void, count: i32) {
    if count <= 0 && count != -EPIPE {
        return;
    }
    let Some(connection) = connection(sock) else {
        return;
    };
    if count <= 0 {
        // Where nothing tells of the end of a connection, this does.
        if connection.is_unix {
            end(sock, connection);
        }
        return;
    }
    if !is_new::<AGAIN>(&mut connection.sent_by) {
        return;
    }
    if let Some(bytes) = exchanged(connection.request.service) {
        // SAFETY: this CPU's element.
        unsafe { (*bytes).sent += count as u64 };
    }
    if connection.stage == stage::OPAQUE {
        return;
    }
    trace::take_up(sock, connection);
    let count = count as u64;
    let last_send = connection.last_send;
    // SAFETY: the helper has no preconditions.
    connection.last_send = unsafe { bpf_ktime_get_ns() };
    if connection.stage == stage::OPEN && count >= MUCH && !connection.is_unix {
        connection.sends_much = true;
        connection.sending = busy(sock).wrapping_sub(connection.busy);
    }
    let at = match connection.stage {
        // What comes of the requests that wait is dealt with step by step.
        stage::OPEN if connection.put == connection.taken => usual_head(connection, count),
        stage::LENGTH => body(connection, 0, count),
        stage::CHUNKED => {
            forget_place(true);
            chunked_body(connection, 0, count)
        }
        stage::UNKNOWN if connection.has_waiting() && begins_response(count) => {
            finish(connection, last_send, connection.status);
            0
        }
        stage::UNTIL_CLOSE | stage::UNKNOWN => {
            connection.response_bytes += count;
            count
        }
        stage::ASKED => {
            if !begins_response(count) {
                not_http(connection);
                forget_pieces(sock);
                return;
            }
            vigie_become_http(connection);
            usual_head(connection, count)
        }
        stage::IDLE if !connection.has_waiting() && connection.reading != reading::LINE => {
            if (connection.is_http || connection.in_step) && begins_response(count) {
                lost(Lost::Unmatched);
            }
            count
        }
        _ => 0,
    };
    if at < count {
        send_on(sock, connection, at, count);
    }
}

/// The first byte of a response was sent: where its request's time went until then is known.
#[inline(always)]
fn note_answer(connection: &mut Connection) {
    if measures_phases() && connection.answered == 0 {
        let sending = connection.sending as u64 * JIFFY.load();
        connection.sending = 0;
        vigie_note_answer(connection, sending);
    }
}

/// A head of the usual size in one piece, and what follows it. Says up to which byte that is.
#[inline(always)]
fn usual_head(connection: &mut Connection, count: u64) -> u64 {
    let Some(mut message) = Message::sent() else {
        return 0;
    };
    let length = message.copy(0, if count < WINDOW as u64 { count } else { WINDOW as u64 });
    let end = vigie_scan_response(length);
    match PARSED.get(0) {
        Some(parsed) if end != 0 => take_head(connection, None, &parsed.head, 0, end, count),
        _ => 0,
    }
}

/// Takes what a head says whose last part goes from byte `at` to `end`, and the body that follows it. Says up to which byte
/// that is. `pieces` are needed where requests wait.
#[inline(always)]
fn take_head(connection: &mut Connection, pieces: Option<&Pieces>, head: &Head, at: u64, end: u64, count: u64) -> u64 {
    let status = head.status as u16;
    connection.response_bytes += end - at;
    // 1xx is not the answer (RFC 9110, 15.2), but for 101.
    if status < 200 && status != 101 {
        connection.stage = stage::OPEN;
        connection.answered = 0;
        return end;
    }
    note_answer(connection);
    connection.status = status;
    connection.remaining = 0;
    let method = connection.request.method;
    if status == 101 || (method == CONNECT && status < 300) {
        finish(connection, connection.last_send, status);
        connection.stage = stage::OPAQUE;
        // What was read behind the request is another protocol's, whatever it looks like. What is read at this moment ends with the
        // connection.
        if let Some(pieces) = pieces {
            vigie_land_waiting(connection, pieces);
        }
        return count;
    }
    if method == HEAD || status == 204 || status == 304 {
        return body(connection, end, count);
    }
    if head.framing.event_stream != 0 {
        begin_stream(connection);
    }
    if head.framing.chunked == 1 {
        connection.chunks = chunked::Chunks::default();
        connection.stage = stage::CHUNKED;
        return chunked_body(connection, end, count);
    }
    if head.framing.has_length == 1 && head.framing.chunked == 0 {
        connection.remaining = head.framing.length;
        return body(connection, end, count);
    }
    connection.response_bytes += count - end;
    end_unseen(connection, stage::UNTIL_CLOSE);
    count
}

/// The response ends with the connection, or its end cannot be known. For a unix socket nothing tells of either.
#[inline(always)]
fn end_unseen(connection: &mut Connection, stage: u8) {
    connection.stage = stage;
    if connection.is_unix {
        lost(Lost::UnseenEnd);
        finish(connection, connection.last_send, connection.status);
    }
}

/// What is sent cannot be followed any more.
#[inline(always)]
fn lose_end(connection: &mut Connection, pieces: Option<&Pieces>, reason: Lost) {
    match connection.stage {
        stage::IDLE | stage::OPAQUE => {}
        // Without its status it is no response to count.
        stage::OPEN | stage::HEAD if connection.status < 200 => lose_response(connection, pieces, reason),
        _ => end_unseen(connection, stage::UNKNOWN),
    }
}

/// A response cannot be told: neither its request nor those that wait behind it are counted.
#[inline(always)]
fn lose_response(connection: &mut Connection, pieces: Option<&Pieces>, reason: Lost) {
    land(&connection.request);
    let others = pieces.map_or(0, |pieces| vigie_land_waiting(connection, pieces));
    lose(reason, 1 + others);
    connection.passed = connection.dropped;
    connection.stage = stage::IDLE;
}

/// A body of known length goes on at byte `at`. Says up to which byte.
#[inline(always)]
fn body(connection: &mut Connection, at: u64, count: u64) -> u64 {
    let left = count - at;
    let remaining = connection.remaining;
    if left < remaining {
        connection.remaining = remaining - left;
        connection.response_bytes += left;
        connection.stage = stage::LENGTH;
        return count;
    }
    connection.response_bytes += remaining;
    finish(connection, connection.last_send, connection.status);
    at + remaining
}

/// A chunked body goes on at byte `at`. Says up to which byte it was followed.
#[inline(always)]
fn chunked_body(connection: &mut Connection, at: u64, count: u64) -> u64 {
    let result = vigie_follow_chunks(&mut connection.chunks, at, count, 1);
    let end = result >> 2;
    connection.response_bytes += end - at;
    match result & 3 {
        BODY_GOES_ON => {}
        BODY_ENDED => finish(connection, connection.last_send, connection.status),
        _ => end_unseen(connection, stage::UNKNOWN),
    }
    end
}

/// What was read is no request, and was not answered as one.
#[inline(always)]
fn not_http(connection: &mut Connection) {
    vigie_not_http(connection);
    connection.stage = stage::OPAQUE;
}

/// A function of its own for the verifier's sake, as those in `parsers.rs`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vigie_not_http(connection: *const Connection) -> u64 {
    // SAFETY: null, or a map's value, as the verifier checks at each call.
    let Some(connection) = (unsafe { connection.as_ref() }) else {
        return 0;
    };
    let looks = connection.status as u8;
    if connection.is_http || looks == looks::HTTP09 {
        lost(Lost::Unmatched);
        return 0;
    }
    let request = &connection.request;
    let mut service = request.service;
    if !is_known(service) && service != SERVICE_IGNORED {
        service = service::handler(entry_of(request.process));
    }
    // What is of no service is not watched: most of what goes over unix sockets.
    if is_known(service) {
        count_not_http(NotHttpKey {
            service,
            port: connection.port,
            looks: looks as u32,
        });
    }
    0
}

/// Whether what was sent looks like the beginning of a response.
#[inline(always)]
fn begins_response(count: u64) -> bool {
    let Some(mut message) = Message::sent() else {
        return false;
    };
    let length = message.copy(0, if count < 8 { count } else { 8 });
    length == 8 && word(message.buffer, 0) & 0xff_ffff_ffff_ffff == u64::from_le_bytes(*b"HTTP/1.\0")
}

/// Whatever is not usual: heads that are long or come in pieces, several responses in one system call.
#[inline(never)]
fn send_on(sock: *const c_void, connection: &mut Connection, at: u64, count: u64) {
    let Some(pieces) = pieces(sock) else {
        lose_end(connection, None, Lost::NoSocketState);
        return;
    };
    forget_place(true);
    let mut at = at;
    let mut step = 0;
    while step < STEPS {
        if at >= count {
            return;
        }
        at = vigie_send_on(connection, pieces, at, count);
        step += 1;
    }
    if at < count {
        lose_end(connection, Some(pieces), Lost::Unmatched);
    }
}

/// Takes one step through the `count` bytes that were sent, from the `at`th on, and says up to where.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vigie_send_on(connection: *mut Connection, pieces: *mut Pieces, at: u64, count: u64) -> u64 {
    // SAFETY: null, or a map's value each, as the verifier checks at each call.
    let (Some(connection), Some(pieces)) = (unsafe { connection.as_mut() }, unsafe { pieces.as_mut() }) else {
        return count;
    };
    if connection.stage == stage::IDLE && !next(connection, pieces) {
        lost(Lost::Unmatched);
        if connection.reading == reading::LINE {
            // This was the answer to it.
            connection.reading = reading::ODD;
        }
        return count;
    }
    match connection.stage {
        stage::OPEN | stage::HEAD => {}
        stage::LENGTH => return body(connection, at, count),
        stage::CHUNKED => return chunked_body(connection, at, count),
        _ => return count,
    }
    let Some(mut message) = Message::sent() else {
        lose_response(connection, Some(pieces), Lost::Unreadable);
        return count;
    };
    let length = message.copy(at, count - at);
    if length == 0 {
        lose_response(connection, Some(pieces), Lost::Fault);
        return count;
    }
    if connection.stage == stage::OPEN {
        let end = vigie_scan_response(length);
        if end != 0
            && let Some(parsed) = PARSED.get(0)
        {
            return take_head(connection, Some(pieces), &parsed.head, at, at + end, count);
        }
        pieces.response.start();
        connection.stage = stage::HEAD;
        note_answer(connection);
    }
    let taken = read_head(&mut pieces.response, length, 1);
    match pieces.response.step() {
        Step::More => {
            connection.response_bytes += taken;
            connection.status = pieces.response.head().status as u16;
            at + taken
        }
        Step::Done => take_head(connection, Some(pieces), pieces.response.head(), at, at + taken, count),
        Step::Bad => {
            lose_response(connection, Some(pieces), Lost::Unmatched);
            connection.stage = stage::OPAQUE;
            count
        }
    }
}

/// The next of the requests that wait becomes the one that is being answered. `false`: there is none.
#[inline(always)]
fn next(connection: &mut Connection, pieces: &mut Pieces) -> bool {
    if take_waiting(connection, pieces) {
        // It is the current one now.
    } else if connection.dropped != connection.passed {
        connection.passed = connection.passed.wrapping_add(1);
        connection.request = Request {
            service: SERVICE_IGNORED,
            ..Request::default()
        };
    } else if connection.reading == reading::LINE && pieces.line.has_path() {
        // The server has seen enough, as with "414 URI Too Long" or "408 Request Timeout".
        vigie_take_line(&mut connection.request, pieces, connection.port as u32);
        pieces.fields.start_in_line();
        connection.reading = reading::FIELDS;
        connection.is_http = true;
    } else {
        return false;
    }
    connection.response_bytes = 0;
    connection.status = 0;
    connection.answered = 0;
    connection.stage = stage::OPEN;
    true
}

/// Takes a request out of the ring of those that wait. `false`: there is none.
#[inline(always)]
fn take_waiting(connection: &mut Connection, pieces: &Pieces) -> bool {
    if connection.taken == connection.put {
        return false;
    }
    // SAFETY: the mask keeps the place in the ring.
    connection.request = unsafe {
        *(&raw const pieces.waiting)
            .cast::<Request>()
            .add(connection.taken as usize & (WAITING - 1))
    };
    connection.taken = connection.taken.wrapping_add(1);
    true
}

/// The server has closed its side, or the connection is gone: what was open has ended.
#[inline(always)]
pub fn close(sock: *const c_void) {
    if let Some(connection) = connection(sock) {
        end(sock, connection);
    }
}

/// Nothing more will be sent.
#[inline(always)]
fn end(sock: *const c_void, connection: &mut Connection) {
    trace::take_up(sock, connection);
    // This is called for both sides of a connection.
    let is_open = connection.stage != stage::OPAQUE;
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    // A head that never ended is no request yet, to most servers.
    let is_unfinished = connection.reading == reading::FIELDS && !connection.is_dropped;
    match connection.stage {
        stage::OPEN if is_unfinished && connection.put == connection.taken => {
            land(&connection.request);
            lost(Lost::Unfinished);
        }
        stage::OPEN | stage::HEAD => finish(connection, now, STATUS_ABORTED),
        // To its client it ends now.
        stage::UNTIL_CLOSE => finish(connection, now, connection.status),
        stage::LENGTH | stage::CHUNKED | stage::UNKNOWN => {
            finish(connection, connection.last_send, connection.status);
        }
        stage::ASKED => not_http(connection),
        _ => {}
    }
    // Most of what goes over unix sockets is of no service.
    if is_open && connection.in_step && !connection.is_unix {
        let begun = match connection.reading {
            reading::LINE => pieces(sock).is_some_and(|pieces| !pieces.line.is_fresh()),
            _ => false,
        };
        if begun {
            lost(Lost::Unfinished);
        } else if connection.reading == reading::PROXY && connection.stage == stage::IDLE {
            connection.status = looks::PROXY as u16;
            not_http(connection);
        }
    }
    if connection.put != connection.taken
        && let Some(pieces) = pieces(sock)
    {
        if !is_open {
            // They were read while the response was sent that has changed the protocol.
            vigie_land_waiting(connection, pieces);
            return;
        }
        if is_unfinished {
            lost(Lost::Unfinished);
            connection.put = connection.put.wrapping_sub(1);
            // SAFETY: the mask keeps the place in the ring.
            land(unsafe {
                &*(&raw const pieces.waiting)
                    .cast::<Request>()
                    .add(connection.put as usize & (WAITING - 1))
            });
        }
        let mut i = 0;
        while i < WAITING && vigie_abort_next(connection, pieces, now) != 0 {
            i += 1;
        }
    }
    connection.stage = stage::OPAQUE;
}

/// Counts a request that will not be answered any more. 0: there is none.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vigie_abort_next(connection: *mut Connection, pieces: *mut Pieces, now: u64) -> u64 {
    // SAFETY: null, or a map's value each, as the verifier checks at each call.
    let (Some(connection), Some(pieces)) = (unsafe { connection.as_mut() }, unsafe { pieces.as_mut() }) else {
        return 0;
    };
    if !take_waiting(connection, pieces) {
        return 0;
    }
    finish(connection, now, STATUS_ABORTED);
    1
}
