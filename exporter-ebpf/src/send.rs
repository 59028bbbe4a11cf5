//! A server wrote to a socket: requests end here.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use vigie_ebpf::{
    bytes::{WINDOW, word},
    chunked,
    method::{CONNECT, HEAD},
    response::{self, Head},
    step::Step,
    types::{Connection, Lost, stage},
};

use crate::{
    kernel::{connection, pieces},
    maps::{PARSED, lost},
    parsers::{
        BODY_ENDED_BEFORE, BODY_GOES_ON, BODY_UNKNOWN, vigie_follow_chunks, vigie_read_response, vigie_scan_response,
    },
    report::finish,
    user_memory::Message,
};

/// How many heads one system call may send: interim responses before the final one.
const HEADS: usize = 3;

/// The handler of every send hook: the kernel took `count` bytes, or an error below zero.
#[inline(always)]
pub fn sent(sock: *const c_void, count: i32) {
    if count <= 0 {
        return;
    }
    let Some(connection) = connection(sock) else {
        return;
    };
    let count = count as u64;
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    match connection.stage {
        stage::OPEN | stage::HEAD => {
            connection.last_send = now;
            connection.response_bytes += count;
            begin(sock, connection, count);
        }
        stage::LENGTH => {
            connection.last_send = now;
            connection.response_bytes += count;
            body(connection, count);
        }
        stage::CHUNKED => {
            connection.last_send = now;
            connection.response_bytes += count;
            chunked_body(connection, 0, count);
        }
        stage::UNTIL_CLOSE => {
            connection.last_send = now;
            connection.response_bytes += count;
        }
        stage::IDLE if connection.is_http => unmatched(count),
        _ => {}
    }
}

/// A body of known length goes on.
#[inline(always)]
fn body(connection: &mut Connection, count: u64) {
    if count < connection.remaining {
        connection.remaining -= count;
        return;
    }
    if count > connection.remaining {
        lost(Lost::Unmatched);
    }
    let status = connection.status;
    finish(connection, connection.last_send, status);
}

/// Counts a response that no request was seen for.
#[inline(always)]
fn unmatched(count: u64) {
    let Some(mut message) = Message::sent() else {
        return;
    };
    let length = message.copy(0, if count < 8 { count } else { 8 });
    if length == 8 && word(message.buffer, 0) & 0xff_ffff_ffff_ffff == u64::from_le_bytes(*b"HTTP/1.\0") {
        lost(Lost::Unmatched);
    }
}

/// The first bytes of a response.
#[inline(always)]
fn begin(sock: *const c_void, connection: &mut Connection, count: u64) {
    let Some(mut message) = Message::sent() else {
        lost(Lost::Unreadable);
        connection.stage = stage::IDLE;
        return;
    };
    if connection.stage == stage::OPEN {
        let length = message.copy(0, if count < WINDOW as u64 { count } else { WINDOW as u64 });
        if let Some((head, end)) = response::scan::<WINDOW>(message.buffer, length as usize)
            && take_head(connection, &head)
        {
            follow(connection, end as u64, count);
            return;
        }
    }
    read_head(sock, connection, count);
}

/// Takes what a head says, and whether it is the answer: 1xx is not (RFC 9110, 15.2), but for 101.
#[inline(always)]
fn take_head(connection: &mut Connection, head: &Head) -> bool {
    let status = head.status;
    if status < 200 && status != 101 {
        return false;
    }
    connection.status = status;
    connection.remaining = 0;
    let is_tunnel = status == 101 || (connection.method == CONNECT && status < 300);
    connection.stage = if is_tunnel {
        stage::OPAQUE
    } else if connection.method == HEAD || status == 204 || status == 304 {
        stage::LENGTH
    } else if head.chunked {
        connection.chunks = chunked::Chunks::default();
        stage::CHUNKED
    } else if head.has_length {
        connection.remaining = head.length;
        stage::LENGTH
    } else {
        stage::UNTIL_CLOSE
    };
    true
}

/// The head has ended at `start` of `count` bytes: what comes behind it is the body.
#[inline(always)]
fn follow(connection: &mut Connection, start: u64, count: u64) {
    match connection.stage {
        stage::LENGTH => body(connection, count - start),
        stage::CHUNKED => chunked_body(connection, start, count),
        stage::OPAQUE => {
            let status = connection.status;
            finish(connection, connection.last_send, status);
            connection.stage = stage::OPAQUE;
        }
        _ => {}
    }
}

/// A chunked body goes on, from `start` to `count` of the bytes that were sent.
#[inline(always)]
fn chunked_body(connection: &mut Connection, start: u64, count: u64) {
    match vigie_follow_chunks(connection, start, count) {
        BODY_GOES_ON => return,
        // Its end is then the last byte before the next request, or the close.
        BODY_UNKNOWN => {
            connection.stage = stage::UNTIL_CLOSE;
            return;
        }
        BODY_ENDED_BEFORE => lost(Lost::Unmatched),
        _ => {}
    }
    let status = connection.status;
    finish(connection, connection.last_send, status);
}

/// A head that is long, comes in pieces, or behind an interim one.
#[inline(never)]
fn read_head(sock: *const c_void, connection: &mut Connection, count: u64) {
    let (Some(pieces), Some(mut message)) = (pieces(sock), Message::sent()) else {
        return;
    };
    let length = message.copy(0, count);
    if connection.stage == stage::OPEN && count > WINDOW as u64 {
        let end = vigie_scan_response(length);
        if end != 0
            && let Some(parsed) = PARSED.get(0)
            && take_head(connection, &parsed.head)
        {
            follow(connection, end, count);
            return;
        }
    }
    if connection.stage == stage::OPEN {
        pieces.response.reset();
    }
    let mut at = 0;
    let mut heads = 0;
    connection.stage = stage::HEAD;
    while heads < HEADS && at < count {
        let result = vigie_read_response(pieces, at, length);
        at += result >> 8;
        if result as u8 == Step::Bad as u8 {
            lost(Lost::Unmatched);
            connection.stage = stage::OPAQUE;
            return;
        }
        if result as u8 == Step::More as u8 {
            break;
        }
        let head = pieces.response.head();
        pieces.response.reset();
        if take_head(connection, &head) {
            follow(connection, at, count);
            return;
        }
        heads += 1;
        if at >= count {
            // Only interim responses so far: the final one is looked for as if nothing had come.
            connection.stage = stage::OPEN;
            return;
        }
    }
    if at < count {
        // The head is longer than what can be looked at. Its status is known, its framing is not.
        connection.status = pieces.response.head().status;
        connection.stage = stage::UNTIL_CLOSE;
    }
}
