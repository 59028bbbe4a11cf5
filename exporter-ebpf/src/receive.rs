//! A server read from a socket: requests begin here.

use core::ffi::c_void;

use aya_ebpf::{
    Global,
    helpers::generated::{bpf_get_current_pid_tgid, bpf_ktime_get_ns},
};
use vigie_ebpf::{
    bytes::{BUFFER, BYTEWISE, PIECE, WINDOW, byte, word_at},
    chunked::Chunks,
    head::{Framing, UNCLEAR},
    overlap,
    preface::looks,
    request::PATH,
    service,
    step::Step,
    types::{
        CachedPath, Connection, Lost, Parsed, Pieces, ROUTE_OTHER, ROUTE_UNKNOWN, Read, Request, SERVICE_IGNORED,
        SERVICE_UNKNOWN, WAITING, event, reading, stage,
    },
};

use crate::{
    exemplars,
    flight::take_off,
    kernel::{busy, connection_or_adopt, entry_of, first_read, forget_pieces, is_new, pieces, port},
    maps::{CACHE, CACHED_PATHS, PARSED, ROUTE_EPOCH, buffer, exchanged, lost},
    parsers::{
        BODY_ENDED, BODY_GOES_ON, read_head, vigie_add_to_shape, vigie_follow_chunks, vigie_read_line,
        vigie_read_preface, vigie_scan_lines, vigie_scan_request,
    },
    report::{finish, meet, show_path},
    routes::{ASKED_FOR, ASKED_OFTEN, SHOW, vigie_close_shape, vigie_find_shape},
    thread::{self, measures_phases, vigie_note_read},
    trace,
    user_memory::{Message, forget_place},
};

/// Makes the hashes of paths unpredictable from outside. Written by user space.
#[unsafe(no_mangle)]
static SEED: Global<u64> = Global::new(0);

const MSG_PEEK: i32 = 2;
const MSG_ERRQUEUE: i32 = 0x2000;

/// How many steps are made through the bytes of one system call.
const STEPS: usize = 128;

/// The handler of every receive hook: `count` bytes of the socket were read, or an error below zero.
#[inline(always)]
pub fn received<const AGAIN: bool>(sock: *const c_void, count: i32, flags: i32) {
    if count <= 0 || flags & (MSG_PEEK | MSG_ERRQUEUE) != 0 {
        return;
    }
    let Some(connection) = connection_or_adopt(sock) else {
        return;
    };
    if !is_new::<AGAIN>(&mut connection.received_by) {
        return;
    }
    if connection.stage != stage::OPAQUE {
        follow(sock, connection, count);
    }
    // Last, because it may be the first that is seen of the service. What came before does not count.
    if let Some(bytes) = exchanged(connection.request.service) {
        // SAFETY: this CPU's element.
        unsafe { (*bytes).received += count as u64 };
    }
}

/// Follows what is read: a request, or a part of one.
#[inline(always)]
fn follow(sock: *const c_void, connection: &mut Connection, count: i32) {
    let first = first_read(sock, connection, count as u32);
    if first != connection.position && connection.has_position {
        let (missed, again) = overlap::between(connection.position, first, count as u32);
        if missed != 0 {
            leap(connection, missed as u64);
        }
        if again != 0 {
            // Which of these bytes are which, nobody can tell.
            if connection.put == connection.taken {
                connection.request.bytes += again as u64;
            }
            connection.position = connection.position.wrapping_add(missed);
            connection.arrivals.forget(connection.position);
            return;
        }
    }
    connection.position = first.wrapping_add(count as u32);
    connection.has_position = true;
    let count = count as u64;
    let is_taken = match connection.reading {
        reading::START if connection.stage == stage::IDLE && !connection.has_waiting() => {
            whole_request(sock, connection, count, first)
        }
        reading::LENGTH if count <= connection.unread && !connection.expects && !connection.has_waiting() => {
            connection.request.bytes += count;
            connection.unread -= count;
            if connection.unread == 0 {
                connection.reading = reading::START;
            }
            true
        }
        _ => false,
    };
    if !is_taken {
        read_on(sock, connection, count, first);
    }
    connection.arrivals.forget(connection.position);
}

/// Bytes were read by a call that is not seen, as `splice(2)`: the data of a body can do without being looked at.
#[inline(always)]
fn leap(connection: &mut Connection, missed: u64) {
    if connection.reading == reading::ODD {
        // It is not followed.
        return;
    }
    if connection.reading == reading::LENGTH && missed <= connection.unread {
        connection.unread -= missed;
        connection.expects = false;
        if connection.unread == 0 {
            connection.reading = reading::START;
        }
        return;
    }
    lost(Lost::Unreadable);
    lose_step(connection);
}

/// The usual: one request, its head as a whole, its body as a whole or still to come, and nothing behind it. `false`: it
/// is not, and nothing was done.
#[inline(always)]
fn whole_request(sock: *const c_void, connection: &mut Connection, count: u64, first: u32) -> bool {
    let Some(mut message) = Message::received() else {
        return false;
    };
    let length = message.copy(0, if count < WINDOW as u64 { count } else { WINDOW as u64 });
    let mut stop = vigie_scan_request(length, SEED.load());
    let Some(parsed) = PARSED.get_ptr_mut(0) else {
        return false;
    };
    // SAFETY: this CPU's element, of which only the receiving programs use these parts.
    let parsed = unsafe { &mut *parsed };
    if stop != 0 && stop & 1 == 0 && count > WINDOW as u64 {
        let length = message.copy(0, count);
        let mut i = 0;
        while i < PIECE / WINDOW && stop & 1 == 0 {
            stop = vigie_scan_lines(&mut parsed.framing, (stop >> 1) - 1, length, 0);
            i += 1;
        }
    }
    let framing = parsed.framing;
    let body = if framing.has_length == 1 { framing.length } else { 0 };
    let rest = count - (stop >> 1);
    if stop & 1 == 0 || framing.chunked != 0 || rest > body {
        return false;
    }
    let start = start(connection, first);
    connection.port = port(sock);
    connection.request.bytes = count;
    note_busy(sock, connection);
    let (port, method) = (connection.port as u32, parsed.line.method as u32);
    if vigie_meet_request(&mut connection.request, port, method, start) != 0 {
        vigie_find_route(&mut connection.request);
        trace::keep(sock, &mut connection.request);
        exemplars::keep(connection, framing.trace);
        become_current(connection);
    } else {
        connection.stage = stage::OPAQUE;
    }
    connection.unread = body - rest;
    if connection.unread != 0 {
        connection.reading = reading::LENGTH;
        connection.expects = framing.expects != 0 && rest == 0;
    }
    true
}

/// When the byte at a place of the stream arrived. Where the data came before Vigie did, what is known is that it is there
/// now.
#[inline(always)]
fn start(connection: &mut Connection, position: u32) -> u64 {
    match connection.arrivals.at(position) {
        Some(time) => time,
        // SAFETY: the helper has no preconditions.
        None => unsafe { bpf_ktime_get_ns() },
    }
}

/// The current thread has read the first bytes of a request.
#[inline(always)]
fn note_read(read: &mut Read, start: u64) {
    if measures_phases() {
        vigie_note_read(read, start);
    }
}

/// Writes down how busy the socket is when a request is read, if its response may have to wait for room.
#[inline(always)]
fn note_busy(sock: *const c_void, connection: &mut Connection) {
    if connection.sends_much && !connection.is_unix {
        connection.busy = busy(sock);
    }
}

/// A request line was read: the current process handles it. `false`: it is none that is watched.
#[inline(always)]
fn introduce(request: &mut Request, port: u16, method: u8, start: u64) -> bool {
    vigie_introduce(request, port as u32, method as u32, start) != 0
}

/// A request line was read, by the first bytes of the request that were.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vigie_meet_request(request: *mut Request, port: u32, method: u32, start: u64) -> u64 {
    // SAFETY: null, or a part of a map's value, as the verifier checks at each call.
    let Some(request) = (unsafe { request.as_mut() }) else {
        return 0;
    };
    if measures_phases() {
        thread::note_read(&mut request.read, start);
    }
    take_in(request, port as u16, method as u8, start) as u64
}

/// A function of its own, as those in `parsers.rs`: before 6.12 all frames of a chain of calls share 512 bytes of stack.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vigie_introduce(request: *mut Request, port: u32, method: u32, start: u64) -> u64 {
    // SAFETY: null, or a part of a map's value, as the verifier checks at each call.
    let Some(request) = (unsafe { request.as_mut() }) else {
        return 0;
    };
    take_in(request, port as u16, method as u8, start) as u64
}

#[inline(always)]
fn take_in(request: &mut Request, port: u16, method: u8, start: u64) -> bool {
    fill(request, method, start);
    begin(request, port)
}

/// Writes down what is known of a request by whoever reads it.
#[inline(always)]
fn fill(request: &mut Request, method: u8, start: u64) {
    // SAFETY: the helper has no preconditions.
    let process = unsafe { (bpf_get_current_pid_tgid() >> 32) as u32 };
    request.start = start;
    request.process = process;
    request.service = service::handler(entry_of(process));
    // Its place may have been that of another request.
    request.flight = SERVICE_UNKNOWN;
    request.is_summed = false;
    request.route = ROUTE_UNKNOWN;
    request.method = method;
    request.has_path = false;
    request.has_exemplar = false;
}

/// A request is one for certain. `false`: it is none that is watched.
#[inline(always)]
fn begin(request: &mut Request, port: u16) -> bool {
    if request.service == SERVICE_UNKNOWN {
        meet(request.process, port, event::PROCESS);
    }
    if request.service != SERVICE_IGNORED {
        take_off(request);
    }
    request.service != SERVICE_IGNORED
}

/// The connection's request waits for its response.
#[inline(always)]
fn become_current(connection: &mut Connection) {
    connection.response_bytes = 0;
    connection.status = 0;
    connection.answered = 0;
    connection.is_http = true;
    connection.in_step = true;
    connection.is_dropped = false;
    connection.stage = stage::OPEN;
}

/// Finds the route of the path that [`vigie_scan_request`] has found: by its raw hash, or else by its shape. A function of
/// its own for the verifier's sake, as those in `parsers.rs`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vigie_find_route(request: *mut Request) -> u64 {
    // SAFETY: null, or a part of a map's value, as the verifier checks at each call.
    let (Some(request), Some(parsed), Some(buffer)) = (unsafe { request.as_mut() }, PARSED.get_ptr_mut(0), buffer(0))
    else {
        return 0;
    };
    // SAFETY: this CPU's element, of which only the receiving programs use these parts.
    find_route(request, buffer, unsafe { &mut *parsed });
    0
}

#[inline(always)]
fn find_route(request: &mut Request, buffer: *const [u8; BUFFER], parsed: &mut Parsed) {
    let line = parsed.line;
    let hash = line.hash ^ (request.service as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let epoch = ROUTE_EPOCH.get(0).map_or(0, |epoch| *epoch);
    let cached = CACHE.get_ptr_mut(hash as u32 & (CACHED_PATHS as u32 - 1));
    if let Some(cached) = cached {
        // SAFETY: this CPU's entry, which only this program touches.
        let known = unsafe { *cached };
        if known.hash == hash && known.epoch == epoch && known.route != ROUTE_UNKNOWN {
            request.route = known.route;
            return;
        }
    }
    read_shape(line.start as u64, line.end as u64, buffer, parsed);
    let length = (line.end - line.start) as u32;
    request.shape = parsed.hash;
    let found = vigie_find_shape(request, &parsed.shape);
    if found & SHOW != 0 {
        show_path(request, length, found & ASKED_OFTEN != 0, |path| {
            // SAFETY: a path starts in the first 16 bytes, and 16 + PATH is below BUFFER.
            unsafe { copy_path(path, buffer.cast::<u8>().add(line.start & 15)) };
        });
    } else if found & ASKED_FOR == 0
        && request.route > ROUTE_OTHER
        && let Some(cached) = cached
    {
        // SAFETY: as above.
        unsafe {
            *cached = CachedPath {
                hash,
                route: request.route,
                epoch,
            };
        }
    }
}

/// Reads the shape of the path from `start` to `end` of the received bytes: that of its start, if it is longer than [`PATH`].
#[inline(always)]
fn read_shape(start: u64, end: u64, buffer: *const [u8; BUFFER], parsed: &mut Parsed) {
    parsed.shape.clear();
    let mut end = end;
    if end - start > PATH as u64 {
        end = start + PATH as u64;
        parsed.shape.cut();
    }
    let mut at = start;
    let mut i = 0;
    // One more than for its bytes: for the end.
    while i <= PATH / BYTEWISE && at != 0 {
        at = vigie_add_to_shape(parsed, buffer, at, end);
        i += 1;
    }
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

/// Whatever is not usual: heads in pieces, chunked bodies, pipelined requests, what is not HTTP.
#[inline(never)]
fn read_on(sock: *const c_void, connection: &mut Connection, count: u64, first: u32) {
    let Some(pieces) = pieces(sock) else {
        lose_step(connection);
        return;
    };
    connection.port = port(sock);
    note_busy(sock, connection);
    forget_place(false);
    let mut at = 0;
    let mut step = 0;
    while step < STEPS && at < count && connection.stage != stage::OPAQUE {
        at = if connection.reading == reading::CHUNKED && !connection.expects {
            chunked_body(connection, pieces, at, count)
        } else {
            vigie_read_on(connection, pieces, at, count, first)
        };
        step += 1;
    }
    trace::keep_held(sock, connection);
    if connection.stage == stage::OPAQUE {
        // Requests that were read while the protocol was changed are in flight until the connection ends.
        if connection.put == connection.taken {
            forget_pieces(sock);
        }
    } else if at < count {
        lost(Lost::Unmatched);
        lose_step(connection);
    }
}

/// What comes next is not known: it is looked at again at the next read.
#[inline(always)]
fn lose_step(connection: &mut Connection) {
    connection.reading = reading::START;
    connection.expects = false;
    connection.in_step = false;
}

/// Takes one step through the `count` bytes that were received, from the `at`th on, and says up to where. `first` is the
/// sequence number of the first byte.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vigie_read_on(connection: *mut Connection, pieces: *mut Pieces, at: u64, count: u64, first: u32) -> u64 {
    // SAFETY: null, or a map's value each, as the verifier checks at each call.
    let (Some(connection), Some(pieces)) = (unsafe { connection.as_mut() }, unsafe { pieces.as_mut() }) else {
        return count;
    };
    let left = count - at;
    if connection.reading == reading::LENGTH && !connection.expects {
        let unread = connection.unread;
        let taken = if left < unread { left } else { unread };
        connection.unread = unread - taken;
        if taken == unread {
            connection.reading = reading::START;
        }
        add_bytes(connection, pieces, taken);
        return at + taken;
    }
    if connection.reading == reading::PROXY {
        let skipped = pieces.preface.skip(left);
        if skipped != 0 {
            vigie_follow_preface(connection, pieces, 0);
            return at + skipped;
        }
    }
    let Some(mut message) = Message::received() else {
        // Behind what was odd nothing is followed, and so nothing missed.
        if connection.reading != reading::ODD {
            lost(Lost::Unreadable);
            lose_step(connection);
        }
        return count;
    };
    let is_bytewise = connection.reading == reading::LINE && (at != 0 || connection.in_step);
    let wanted = if is_bytewise && left > BYTEWISE as u64 {
        BYTEWISE as u64
    } else {
        left
    };
    let length = message.copy(at, wanted);
    if length == 0 {
        lose_step(connection);
        return count;
    }
    let is_odd = connection.reading == reading::ODD;
    if connection.expects || is_odd {
        // A client that was answered without leave to send the body may send it all the same, or the next request. The same goes for
        // what comes behind a request that was not understood.
        connection.expects = false;
        let may_begin = connection.stage == stage::IDLE && !connection.has_waiting() && (at == 0 || !is_odd);
        if may_begin && vigie_scan_request(length, SEED.load()) != 0 {
            connection.reading = reading::START;
            return at;
        }
        return if is_odd { count } else { at };
    }
    if connection.reading == reading::PROXY {
        let result = vigie_read_preface(pieces, length);
        let followed = vigie_follow_preface(connection, pieces, (result as u8 == Step::Bad as u8) as u64);
        return if followed == GOES_ON { at + (result >> 8) } else { count };
    }
    if connection.reading == reading::FIELDS {
        let taken = read_head(&mut pieces.fields, length, 0);
        add_bytes(connection, pieces, taken);
        let trace = pieces.fields.take_trace();
        if connection.put == connection.taken && !connection.is_dropped {
            exemplars::keep(connection, trace);
        }
        if pieces.fields.step() == Step::Done {
            let framing = pieces.fields.head().framing;
            expect_body(connection, pieces, &framing);
        }
        return at + taken;
    }
    let position = first.wrapping_add(at as u32);
    let may_begin = connection.reading == reading::START || (at == 0 && !connection.in_step);
    if may_begin {
        let result = vigie_scan_request(length, SEED.load());
        if result != 0 {
            take_scanned(connection, pieces, result, position);
            return at + (result >> 1);
        }
    }
    if connection.reading == reading::START {
        pieces.line.reset();
        connection.reading = reading::LINE;
    }
    if pieces.line.is_fresh() {
        pieces.start = start(connection, position);
        pieces.bytes = 0;
        note_read(&mut pieces.read, pieces.start);
    }
    let result = vigie_read_line(pieces, length);
    let taken = result >> 8;
    pieces.bytes += taken;
    let step = result as u8;
    if step == Step::More as u8 {
        return at + taken;
    }
    let mut is_odd = false;
    if step != Step::Done as u8 {
        let other = vigie_take_other(connection, pieces, taken);
        if other != IS_BEHIND {
            return if other == GOES_ON { at + taken } else { count };
        }
        is_odd = true;
    }
    if let Some((request, is_current)) = place(connection, pieces) {
        if is_odd {
            vigie_take_odd(request, pieces, connection.port as u32);
        } else {
            vigie_take_line(request, pieces, connection.port as u32);
            if is_current {
                trace::hold_line(request, pieces);
            }
        }
        settle(connection, is_current);
    }
    if is_odd {
        connection.reading = reading::ODD;
        return count;
    }
    connection.reading = reading::FIELDS;
    pieces.fields.start_in_line();
    at + taken
}

// What `vigie_take_other` says: all that was received is dealt with; what comes behind is to be looked at; this was a request that is
// answered behind others.
const IS_ALL: u64 = 0;
const GOES_ON: u64 = 1;
const IS_BEHIND: u64 = 2;

/// What was read is no request line: its last byte is the `taken`th that was received. A function of its own for the verifier's sake, as
/// those in `parsers.rs`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vigie_take_other(connection: *mut Connection, pieces: *mut Pieces, taken: u64) -> u64 {
    // SAFETY: null, or a map's value each, as the verifier checks at each call.
    let (Some(connection), Some(pieces), Some(buffer)) =
        (unsafe { connection.as_mut() }, unsafe { pieces.as_mut() }, buffer(0))
    else {
        return IS_ALL;
    };
    // SAFETY: this CPU's element, which only the receiving programs use.
    let last = byte(unsafe { &*buffer }, taken.wrapping_sub(1) as usize & (BYTEWISE - 1));
    let looks = pieces.line.looks(last);
    if looks == looks::PROXY && connection.in_step && connection.stage == stage::IDLE && !connection.is_http {
        let is_line = !pieces.line.is_fresh();
        let step = pieces.preface.begin(is_line, last, pieces.bytes);
        if step != Step::Bad {
            // For whom it is, if nothing else comes.
            take_odd(&mut connection.request, pieces, connection.port, false);
            pieces.line.reset();
            connection.reading = if pieces.preface.is_inside() {
                reading::PROXY
            } else {
                reading::START
            };
            return GOES_ON;
        }
    }
    be_at_odds(connection, pieces, looks)
}

/// A part of what a proxy sends first was taken. The result is [`GOES_ON`] or [`IS_ALL`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vigie_follow_preface(connection: *mut Connection, pieces: *mut Pieces, is_bad: u64) -> u64 {
    // SAFETY: null, or a map's value each, as the verifier checks at each call.
    let (Some(connection), Some(pieces)) = (unsafe { connection.as_mut() }, unsafe { pieces.as_mut() }) else {
        return IS_ALL;
    };
    if is_bad != 0 {
        let looks = pieces.preface.looks();
        return be_at_odds(connection, pieces, looks);
    }
    if !pieces.preface.is_inside() {
        connection.reading = reading::START;
    }
    GOES_ON
}

/// What was read is no request line, and nothing that may stand before one.
#[inline(always)]
fn be_at_odds(connection: &mut Connection, pieces: &mut Pieces, looks: u8) -> u64 {
    if !connection.in_step {
        // It may be in the middle of something that Vigie does not follow.
        if connection.is_http {
            lost(Lost::Unmatched);
        }
        lose_step(connection);
        return IS_ALL;
    }
    if connection.stage != stage::IDLE || connection.has_waiting() {
        return IS_BEHIND;
    }
    connection.reading = reading::ODD;
    take_odd(&mut connection.request, pieces, connection.port, false);
    connection.stage = if connection.request.service == SERVICE_IGNORED {
        stage::OPAQUE
    } else {
        stage::ASKED
    };
    connection.status = looks as u16;
    IS_ALL
}

/// A request that is odd is answered behind others. A function of its own for the verifier's sake, as those in `parsers.rs`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vigie_take_odd(request: *mut Request, pieces: *const Pieces, port: u32) -> u64 {
    // SAFETY: null, or a map's value or a part of one, as the verifier checks at each call.
    if let Some(request) = unsafe { request.as_mut() }
        && !pieces.is_null()
    {
        take_odd(request, pieces, port as u16, true);
    }
    0
}

/// What is no request line is taken for a request: of no route that is known.
#[inline(always)]
fn take_odd(request: &mut Request, pieces: *const Pieces, port: u16, is_sure: bool) {
    // SAFETY: a map's value.
    unsafe {
        request.bytes = (*pieces).bytes;
        request.read = (*pieces).read;
        fill(request, vigie_method_if_read(pieces) as u8, (*pieces).start);
    }
    request.shape = 0;
    request.route = ROUTE_OTHER;
    if is_sure {
        begin(request, port);
    }
}

/// The number of the method that was read, if it was read to its end. A function of its own for the verifier's sake, as those in
/// `parsers.rs`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vigie_method_if_read(pieces: *const Pieces) -> u64 {
    // SAFETY: null, or a map's value, as the verifier checks at each call.
    match unsafe { pieces.as_ref() } {
        Some(pieces) => pieces.line.method_if_read() as u64,
        None => 0,
    }
}

/// The first bytes of a connection were no request line, and are answered as a request: it is one.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_become_http(connection: *mut Connection) -> u64 {
    // SAFETY: null, or a map's value, as the verifier checks at each call.
    let Some(connection) = (unsafe { connection.as_mut() }) else {
        return 0;
    };
    begin(&mut connection.request, connection.port);
    become_current(connection);
    0
}

/// A request whose line was found as a whole, and the fields of its head as far as they are there.
#[inline(always)]
fn take_scanned(connection: &mut Connection, pieces: &mut Pieces, result: u64, position: u32) {
    let Some(parsed) = PARSED.get(0) else {
        return;
    };
    let start = start(connection, position);
    if let Some((request, is_current)) = place(connection, pieces) {
        // SAFETY: a part of a map's value, as said by `place`.
        let request = unsafe { &mut *request };
        request.bytes = result >> 1;
        note_read(&mut request.read, start);
        if introduce(request, connection.port, parsed.line.method as u8, start) {
            vigie_find_route(request);
            if is_current {
                trace::hold_scanned(request);
                exemplars::keep(connection, parsed.framing.trace);
            }
        }
        settle(connection, is_current);
    }
    if result & 1 != 0 {
        expect_body(connection, pieces, &parsed.framing);
        return;
    }
    pieces.fields.start_in_line();
    if result >> 1 != parsed.line.space as u64 {
        pieces.fields.go_on(&parsed.framing);
    }
    connection.reading = reading::FIELDS;
}

/// Where the next request is kept, and whether it is the one that is answered next. `None`: nowhere.
///
/// The pointer is to a part of `connection` or of `pieces`.
#[inline(always)]
fn place(connection: &mut Connection, pieces: &mut Pieces) -> Option<(*mut Request, bool)> {
    if !connection.has_waiting() {
        if connection.stage == stage::UNKNOWN {
            // The next request ends a response whose own end could not be known: with the last byte before it.
            let (end, status) = (connection.last_send, connection.status);
            finish(connection, end, status);
        }
        if connection.stage == stage::IDLE {
            return Some((&raw mut connection.request, true));
        }
    }
    connection.is_dropped =
        connection.dropped != connection.passed || connection.put.wrapping_sub(connection.taken) >= WAITING as u32;
    if connection.is_dropped {
        connection.dropped = connection.dropped.wrapping_add(1);
        lost(Lost::Unmatched);
        return None;
    }
    // SAFETY: the mask keeps the place in the ring.
    let place = unsafe {
        (&raw mut pieces.waiting)
            .cast::<Request>()
            .add(connection.put as usize & (WAITING - 1))
    };
    Some((place, false))
}

/// The request in its place is complete.
#[inline(always)]
fn settle(connection: &mut Connection, is_current: bool) {
    if !is_current {
        connection.put = connection.put.wrapping_add(1);
        return;
    }
    become_current(connection);
    if connection.request.service == SERVICE_IGNORED {
        connection.stage = stage::OPAQUE;
    }
}

/// A request whose line was read in pieces, or is not of the usual form.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_take_line(request: *mut Request, pieces: *mut Pieces, port: u32) -> u64 {
    // SAFETY: null, or a map's value or a part of one, as the verifier checks at each call.
    let (Some(request), Some(pieces)) = (unsafe { request.as_mut() }, unsafe { pieces.as_mut() }) else {
        return 0;
    };
    request.bytes = pieces.bytes;
    request.read = pieces.read;
    if !introduce(request, port as u16, pieces.line.method(), pieces.start) {
        return 0;
    }
    request.shape = vigie_close_shape(pieces.line.whole_shape());
    let found = vigie_find_shape(request, pieces.line.whole_shape());
    if found & SHOW != 0 {
        show_path(request, pieces.line.path_length(), found & ASKED_OFTEN != 0, |path| {
            // SAFETY: the source is PATH bytes long.
            unsafe { copy_path(path, pieces.line.path().as_ptr()) };
        });
    }
    0
}

/// A head has ended: what comes next is its body, or the next request.
#[inline(always)]
fn expect_body(connection: &mut Connection, pieces: &mut Pieces, framing: &Framing) {
    connection.reading = if framing.chunked == 1 {
        pieces.chunks = Chunks::default();
        reading::CHUNKED
    } else if framing.chunked == UNCLEAR || framing.has_length == UNCLEAR {
        reading::ODD
    } else if framing.has_length != 0 && framing.length != 0 {
        connection.unread = framing.length;
        reading::LENGTH
    } else {
        reading::START
    };
    let has_body = connection.reading == reading::LENGTH || connection.reading == reading::CHUNKED;
    connection.expects = framing.expects != 0 && has_body;
}

/// A chunked body goes on.
#[inline(always)]
fn chunked_body(connection: &mut Connection, pieces: &mut Pieces, at: u64, count: u64) -> u64 {
    let result = vigie_follow_chunks(&mut pieces.chunks, at, count, 0);
    let end = result >> 2;
    add_bytes(connection, pieces, end - at);
    match result & 3 {
        BODY_GOES_ON => {}
        BODY_ENDED => connection.reading = reading::START,
        // The request is known. Where the next one begins is not.
        _ => connection.reading = reading::ODD,
    }
    end
}

/// Counts bytes for the request that was read last.
#[inline(always)]
fn add_bytes(connection: &mut Connection, pieces: &mut Pieces, count: u64) {
    if connection.is_dropped {
        return;
    }
    if connection.put == connection.taken {
        connection.request.bytes += count;
        return;
    }
    let last = connection.put.wrapping_sub(1) as usize & (WAITING - 1);
    // SAFETY: the mask keeps the place in the ring.
    unsafe { (*(&raw mut pieces.waiting).cast::<Request>().add(last)).bytes += count };
}
