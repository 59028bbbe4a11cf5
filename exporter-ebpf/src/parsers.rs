//! The long loops, each a "global function".
//!
//! The verifier looks at such a function once, for any arguments that fit its signature, and not again at each place
//! that calls it. A loop over thousands of bytes costs it tens of thousands of steps; in a static function they would
//! count for every way that leads there. The price: arguments are numbers, or pointers to one structure that may be
//! null, and the result is one number. (Documentation/bpf/verifier.rst; `btf_prepare_func_args()` in the kernel.)

use vigie_ebpf::{
    bytes::{BUFFER, BYTEWISE, LINES, PIECE, byte, forget, through_memory, word},
    chunked::{self, Chunks},
    head::{self, Framing},
    path::{WORD, has_slash},
    request, response,
    step::Step,
    types::{Parsed, Pieces},
};

use crate::{
    maps::{self, PARSED},
    user_memory::Message,
};

/// How many chunks of a chunked body are followed in one call.
const CHUNKS: usize = 16;
/// How many bytes are copied at once where a chunk's framing is expected: small chunks come many at a time.
const FRAMING: u64 = 128;
/// How many bytes of framing are read in one call.
const FRAMING_BYTES: usize = 32;

/// This CPU's buffer for what was received (0) or sent (1).
#[inline(always)]
fn buffer(is_sent: u32) -> Option<&'static [u8; BUFFER]> {
    // SAFETY: this CPU's element, which only the programs of this direction use.
    maps::buffer(is_sent).map(|buffer| unsafe { &*buffer })
}

/// A place, and whether the head has ended there, as one number.
#[inline(always)]
fn stop((stop, done): (usize, bool)) -> u64 {
    (stop as u64) << 1 | done as u64
}

/// Finds the line of a usual request in `length` received bytes, and takes as many of its fields as are there.
///
/// 0: it was not found. Else the lowest bit says whether the head has ended, and those above it where it did, or at the
/// start of which line [`head::Reader`] has to go on. What was found is in [`PARSED`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_scan_request(length: u64, seed: u64) -> u64 {
    let (Some(buffer), Some(parsed)) = (buffer(0), PARSED.get_ptr_mut(0)) else {
        return 0;
    };
    let Some(line) = request::scan::<PIECE>(buffer, length as usize, seed) else {
        return 0;
    };
    // SAFETY: this CPU's element, of which only the receiving programs use these parts.
    let parsed = unsafe { &mut *parsed };
    parsed.line = line;
    parsed.framing.clear();
    stop(head::scan::<LINES, false>(
        buffer,
        &mut parsed.framing,
        line.space,
        length as usize,
    ))
}

/// Adds bytes of the path, which goes from `start` to `end` of the received bytes, to the shape in `parsed`, and says up to where:
/// [`BYTEWISE`] bytes or more. 0: all were added, and the hash of the whole shape is there, too.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_add_to_shape(parsed: *mut Parsed, buffer: *const [u8; BUFFER], start: u64, end: u64) -> u64 {
    // SAFETY: null, or a map's value each, as the verifier checks at each call.
    let (Some(parsed), Some(buffer)) = (unsafe { parsed.as_mut() }, unsafe { buffer.as_ref() }) else {
        return 0;
    };
    let length = end.wrapping_sub(start);
    let words = length.saturating_sub(WORD as u64 - 1);
    let mut i = 0;
    let mut turns = 0;
    // A word if that is simple, and a byte: three ways on from one place in a turn would be too many for the verifier.
    while turns < BYTEWISE {
        turns += 1;
        i = forget(buffer, i);
        through_memory(parsed);
        let text = word(buffer, start as usize + i) as u32;
        let is_past = (words.wrapping_sub(1).wrapping_sub(i as u64) as i64 >> 63) as u64;
        if has_slash(text) | is_past == 0 {
            parsed.shape.push_word(text);
            i += WORD;
        }
        i = forget(buffer, i);
        if i as u64 >= length {
            parsed.hash = parsed.shape.close();
            return 0;
        }
        through_memory(parsed);
        parsed.shape.push(byte(buffer, start as usize + i));
        i += 1;
    }
    start + i as u64
}

/// Reads a request line byte by byte, from `length` received bytes. The result is the last step in the lowest byte, and
/// above it how many bytes were taken.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_read_line(pieces: *mut Pieces, length: u64) -> u64 {
    // SAFETY: null, or a map's value, as the verifier checks at each call.
    let (Some(pieces), Some(buffer)) = (unsafe { pieces.as_mut() }, buffer(0)) else {
        return Step::Bad as u64;
    };
    let (taken, step) = pieces.line.read(buffer, length as usize);
    (taken << 8) as u64 | step as u64
}

/// Reads what a proxy sends first, byte by byte, from `length` received bytes. The result is as that of [`vigie_read_line`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_read_preface(pieces: *mut Pieces, length: u64) -> u64 {
    // SAFETY: null, or a map's value, as the verifier checks at each call.
    let (Some(pieces), Some(buffer)) = (unsafe { pieces.as_mut() }, buffer(0)) else {
        return Step::Bad as u64;
    };
    let (taken, step) = pieces.preface.read(buffer, length as usize);
    (taken << 8) as u64 | step as u64
}

/// Finds the head of a response in `length` sent bytes, and says where it ends; 0 if it was not found. The head is in
/// [`PARSED`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_scan_response(length: u64) -> u64 {
    let (Some(buffer), Some(parsed)) = (buffer(1), PARSED.get_ptr_mut(0)) else {
        return 0;
    };
    match response::scan::<LINES>(buffer, length as usize) {
        Some((head, end)) => {
            // SAFETY: this CPU's element, of which only the sending programs use this part.
            unsafe { (*parsed).head = head };
            end as u64
        }
        None => 0,
    }
}

/// Reads a head from the first `length` bytes of the buffer, and says where it stopped. The reader knows whether the
/// head has ended there.
#[inline(always)]
pub fn read_head(reader: &mut head::Reader, length: u64, is_sent: u32) -> u64 {
    reader.take(
        length as usize,
        |reader| vigie_read_bytes(reader, length, is_sent) as usize,
        |framing, from| {
            let stop = vigie_scan_lines(framing, from as u64, length, is_sent);
            ((stop >> 1) as usize, stop & 1 != 0)
        },
    ) as u64
}

/// Reads a head byte by byte, up to the end of a line.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_read_bytes(reader: *mut head::Reader, length: u64, is_sent: u32) -> u64 {
    // SAFETY: null, or a part of a map's value, as the verifier checks at each call.
    let (Some(reader), Some(buffer)) = (unsafe { reader.as_mut() }, buffer(is_sent)) else {
        return length;
    };
    reader.read(buffer, length as usize) as u64
}

/// Takes whole lines of a head, from the line feed at `start` on. The result is as that of [`vigie_scan_request`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_scan_lines(framing: *mut Framing, start: u64, length: u64, is_sent: u32) -> u64 {
    // SAFETY: null, or a part of a map's value, as the verifier checks at each call.
    let (Some(framing), Some(buffer)) = (unsafe { framing.as_mut() }, buffer(is_sent)) else {
        return 0;
    };
    stop(head::scan::<LINES, true>(
        buffer,
        framing,
        start as usize,
        length as usize,
    ))
}

/// The body goes on.
pub const BODY_GOES_ON: u64 = 0;
/// The body has ended.
pub const BODY_ENDED: u64 = 1;
/// The framing cannot be followed any more.
pub const BODY_UNKNOWN: u64 = 2;

/// Takes framing of a chunked body from the `start`th of the buffer's bytes on, of which `length` are there, and says how
/// many it were.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_read_framing(chunks: *mut Chunks, start: u64, length: u64, is_sent: u32) -> u64 {
    // SAFETY: null, or a part of a map's value, as the verifier checks at each call.
    let (Some(chunks), Some(buffer)) = (unsafe { chunks.as_mut() }, buffer(is_sent)) else {
        return length;
    };
    let mut i = 0;
    while i < FRAMING_BYTES {
        if i as u64 >= length {
            break;
        }
        through_memory(chunks);
        i += 1;
        if chunks.push(byte(buffer, start as usize + i - 1)) {
            break;
        }
    }
    forget(buffer, i) as u64
}

/// Follows the framing of a chunked body through the bytes from `start` to `count` of a system call.
///
/// The lowest two bits of the result say what became of it, and those above them up to which byte it was followed. If that
/// is not `count` and the body goes on, there is more to follow.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_follow_chunks(chunks: *mut Chunks, start: u64, count: u64, is_sent: u32) -> u64 {
    // SAFETY: null, or a part of a map's value, as the verifier checks at each call.
    let Some(chunks) = (unsafe { chunks.as_mut() }) else {
        return count << 2 | BODY_UNKNOWN;
    };
    let mut at = start;
    at += chunks.skip(count - at);
    if at >= count {
        return count << 2 | BODY_GOES_ON;
    }
    // A body sent by sendfile or splice has no buffer.
    let message = if is_sent != 0 {
        Message::sent()
    } else {
        Message::received()
    };
    let Some(mut message) = message else {
        return count << 2 | BODY_UNKNOWN;
    };
    // What the buffer holds: from which byte, and how many.
    let (mut first, mut length) = (at, 0);
    let mut turn = 0;
    while turn < CHUNKS {
        if at - first >= length {
            let left = count - at;
            first = at;
            length = message.copy(at, if left < FRAMING { left } else { FRAMING });
            if length == 0 {
                return count << 2 | BODY_UNKNOWN;
            }
        }
        let start = at - first;
        at += vigie_read_framing(chunks, start, length - start, is_sent);
        match chunks.step() {
            chunked::Step::Framing | chunked::Step::Data => {}
            chunked::Step::Done => return at << 2 | BODY_ENDED,
            chunked::Step::Bad => return count << 2 | BODY_UNKNOWN,
        }
        at += chunks.skip(count - at);
        if at >= count {
            return count << 2 | BODY_GOES_ON;
        }
        turn += 1;
    }
    at << 2 | BODY_GOES_ON
}
