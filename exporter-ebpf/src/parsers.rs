//! The long loops, each a "global function".
//!
//! The verifier looks at such a function once, for any arguments that fit its signature, and not again at each place
//! that calls it. A loop over thousands of bytes costs it hundreds of thousands of steps; in a static function they would
//! count for every way that leads there. The price: arguments are numbers, or pointers to one structure that may be
//! null, and the result is one number. (Documentation/bpf/verifier.rst; `btf_prepare_func_args()` in the kernel.)

use vigie_ebpf::{
    bytes::{BYTEWISE, PIECE, byte, forget, through_memory},
    chunked,
    path::Shape,
    request, response,
    step::Step,
    types::{Connection, Pieces},
};

use crate::{
    maps::{PARSED, RECEIVED, SENT},
    user_memory::Message,
};

/// How many chunks of a chunked body are followed in one system call.
const CHUNKS: usize = 24;
/// The longest framing between two chunks that is read at once.
const FRAMING: usize = 32;

/// Finds the request line of a usual request in `length` received bytes; it is in [`PARSED`] if the result is 1.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_scan_request(length: u64, seed: u64) -> u64 {
    let (Some(buffer), Some(parsed)) = (RECEIVED.get_ptr_mut(0), PARSED.get_ptr_mut(0)) else {
        return 0;
    };
    // SAFETY: this CPU's elements, which only the program that calls this uses now.
    match request::scan::<PIECE>(unsafe { &*buffer }, length as usize, seed) {
        Some(line) => {
            // SAFETY: as above.
            unsafe { (*parsed).line = line };
            1
        }
        None => 0,
    }
}

/// The shape of the path from `start` to `end` of the received bytes: that of its first [`BYTEWISE`] bytes.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_shape(start: u64, end: u64) -> u64 {
    let Some(buffer) = RECEIVED.get_ptr_mut(0) else {
        return 0;
    };
    let mut shape = Shape::default();
    let mut i = 0;
    while i < BYTEWISE {
        let at = start as usize + i;
        if at >= end as usize {
            break;
        }
        // SAFETY: this CPU's element.
        shape.push(byte(unsafe { &*buffer }, at));
        i += 1;
    }
    shape.finish()
}

/// Reads a request line byte by byte, from `length` received bytes. The result is the last step in the lowest byte, and
/// above it how many bytes were taken.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_read_request(pieces: *mut Pieces, length: u64) -> u64 {
    // SAFETY: null, or a map's value, as the verifier checks at each call.
    let (Some(pieces), Some(buffer)) = (unsafe { pieces.as_mut() }, RECEIVED.get_ptr_mut(0)) else {
        return Step::Bad as u64;
    };
    // SAFETY: this CPU's element.
    let buffer = unsafe { &*buffer };
    let reader = &mut pieces.request;
    let mut step = Step::More;
    let mut i = 0;
    while i < BYTEWISE {
        if i as u64 >= length {
            break;
        }
        through_memory(reader);
        step = reader.push(byte(buffer, i));
        i += 1;
        if step != Step::More {
            break;
        }
    }
    (forget(buffer, i) << 8) as u64 | step as u64
}

/// Finds the head of a response in `length` sent bytes, and says where it ends; 0 if it was not found. The head is in
/// [`PARSED`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_scan_response(length: u64) -> u64 {
    let (Some(buffer), Some(parsed)) = (SENT.get_ptr_mut(0), PARSED.get_ptr_mut(0)) else {
        return 0;
    };
    // SAFETY: this CPU's elements, which only the program that calls this uses now.
    match response::scan::<PIECE>(unsafe { &*buffer }, length as usize) {
        Some((head, end)) => {
            // SAFETY: as above.
            unsafe { (*parsed).head = head };
            end as u64
        }
        None => 0,
    }
}

/// Reads a response's head byte by byte, from the bytes `start` to `length` that were sent. The result is as that of
/// [`vigie_read_request`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_read_response(pieces: *mut Pieces, start: u64, length: u64) -> u64 {
    // SAFETY: null, or a map's value, as the verifier checks at each call.
    let (Some(pieces), Some(buffer)) = (unsafe { pieces.as_mut() }, SENT.get_ptr_mut(0)) else {
        return Step::Bad as u64;
    };
    // SAFETY: this CPU's element.
    let buffer = unsafe { &*buffer };
    let reader = &mut pieces.response;
    let mut i = 0;
    while i < BYTEWISE {
        let at = start as usize + i;
        if at >= length as usize {
            break;
        }
        through_memory(reader);
        i += 1;
        if reader.push(byte(buffer, at)) {
            break;
        }
    }
    (forget(buffer, i) << 8) as u64 | reader.step() as u64
}

/// The body goes on.
pub const BODY_GOES_ON: u64 = 0;
/// The body has ended with the last byte.
pub const BODY_ENDED: u64 = 1;
/// The body has ended, and other bytes came behind it.
pub const BODY_ENDED_BEFORE: u64 = 2;
/// The framing cannot be followed any more.
pub const BODY_UNKNOWN: u64 = 3;

/// Takes framing of a chunked body from `length` sent bytes, and says how many it were.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_read_framing(connection: *mut Connection, length: u64) -> u64 {
    // SAFETY: null, or a map's value, as the verifier checks at each call.
    let (Some(connection), Some(buffer)) = (unsafe { connection.as_mut() }, SENT.get_ptr_mut(0)) else {
        return length;
    };
    // SAFETY: this CPU's element.
    let buffer = unsafe { &*buffer };
    let mut i = 0;
    while i < FRAMING {
        if i as u64 >= length {
            break;
        }
        through_memory(&mut connection.chunks);
        i += 1;
        if connection.chunks.push(byte(buffer, i - 1)) {
            break;
        }
    }
    forget(buffer, i) as u64
}

/// Follows the framing of a chunked body through the bytes from `start` to `count` that were sent.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_follow_chunks(connection: *mut Connection, start: u64, count: u64) -> u64 {
    // SAFETY: null, or a map's value, as the verifier checks at each call.
    let Some(connection) = (unsafe { connection.as_mut() }) else {
        return BODY_UNKNOWN;
    };
    let mut at = start;
    at += connection.chunks.skip(count - at);
    if at >= count {
        return BODY_GOES_ON;
    }
    // A body sent by sendfile or splice has no buffer.
    let Some(mut message) = Message::sent() else {
        return BODY_UNKNOWN;
    };
    let mut pieces = 0;
    while pieces < CHUNKS {
        let left = count - at;
        let length = message.copy(at, if left < FRAMING as u64 { left } else { FRAMING as u64 });
        if length == 0 {
            break;
        }
        at += vigie_read_framing(connection, length);
        let chunks = &mut connection.chunks;
        match chunks.step() {
            chunked::Step::Framing | chunked::Step::Data => {}
            chunked::Step::Done => return if at == count { BODY_ENDED } else { BODY_ENDED_BEFORE },
            chunked::Step::Bad => return BODY_UNKNOWN,
        }
        at += chunks.skip(count - at);
        if at >= count {
            return BODY_GOES_ON;
        }
        pieces += 1;
    }
    BODY_UNKNOWN
}
