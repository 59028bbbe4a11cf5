//! What a byte led to, in a parser that takes one at a time.

use crate::bytes::{BUFFER, BYTEWISE, byte, forget, through_memory};

/// What the last byte of a request line, or of a response's head, led to.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It goes on.
    More,
    /// It has ended with this byte. A request line ends with `HTTP/1.`: what it is, is known then.
    Done,
    /// This is not HTTP/1.
    Bad,
}

/// Has a parser take bytes of the buffer, up to `length` and [`BYTEWISE`], and says how many it were, and what the last one led to.
#[inline(always)]
pub fn read_bytes<P>(
    parser: &mut P,
    buffer: &[u8; BUFFER],
    length: usize,
    push: impl Fn(&mut P, u8) -> Step,
) -> (usize, Step) {
    let mut step = Step::More;
    let mut i = 0;
    while i < BYTEWISE {
        if i >= length {
            break;
        }
        through_memory(parser);
        step = push(parser, byte(buffer, i));
        i += 1;
        if step != Step::More {
            break;
        }
    }
    (forget(buffer, i), step)
}
