//! Where a chunked body ends (RFC 9112, 7.1).
//!
//! The data of a chunk is skipped by count and never looked at; only the framing between chunks is read. So a body of
//! any size costs a few bytes per chunk.

use crate::bytes::{equal, select};

/// What a framing byte led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The next byte belongs to the framing, too.
    Framing,
    /// Data follows: [`Chunks::skip`] comes next.
    Data,
    /// The body has ended with this byte.
    Done,
    /// This is not chunked framing.
    Bad,
}

// The states. From DATA on there is no next framing byte.
const SIZE: u8 = 0;
const DIGITS: u8 = 1;
const EXTENSION: u8 = 2;
const DATA_END: u8 = 3;
const TRAILER_START: u8 = 4;
const TRAILER: u8 = 5;
const DATA: u8 = 6;
const DONE: u8 = 7;
const BAD: u8 = 8;
const STATES: usize = 16;

/// A hexadecimal digit of the chunk's size.
const TAKE_DIGIT: u8 = 1 << 4;
/// The end of the line with the chunk's size.
const END_SIZE: u8 = 1 << 5;

// The classes of bytes.
const OTHER: u8 = 0;
const LINE_FEED: u8 = 1;
const CARRIAGE_RETURN: u8 = 2;
const HEX: u8 = 3;
const CLASSES: usize = 4;

/// The class of each byte, and above it the value of a hexadecimal digit.
static CLASS: [u8; 256] = {
    let mut table = [OTHER; 256];
    let mut byte = 0;
    while byte < 256 {
        let value = byte as u8;
        table[byte] = match value {
            b'\n' => LINE_FEED,
            b'\r' => CARRIAGE_RETURN,
            b'0'..=b'9' => HEX | ((value - b'0') << 4),
            b'a'..=b'f' => HEX | ((value - b'a' + 10) << 4),
            b'A'..=b'F' => HEX | ((value - b'A' + 10) << 4),
            _ => OTHER,
        };
        byte += 1;
    }
    table
};

/// The next state for each state and class: other, line feed, carriage return, hexadecimal digit.
static NEXT: [[u8; CLASSES]; STATES] = {
    let mut table = [[BAD; CLASSES]; STATES];
    table[SIZE as usize] = [BAD, BAD, BAD, DIGITS | TAKE_DIGIT];
    table[DIGITS as usize] = [EXTENSION, END_SIZE, EXTENSION, DIGITS | TAKE_DIGIT];
    table[EXTENSION as usize] = [EXTENSION, END_SIZE, EXTENSION, EXTENSION];
    table[DATA_END as usize] = [BAD, SIZE, DATA_END, BAD];
    table[TRAILER_START as usize] = [TRAILER, DONE, TRAILER_START, TRAILER];
    table[TRAILER as usize] = [TRAILER, TRAILER_START, TRAILER, TRAILER];
    table
};

/// A chunked body while it is sent. All zero is the start.
///
/// As the reader of heads it is driven by a table, without branches, for the verifier's sake.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chunks {
    remaining: u64,
    state: u64,
}

// === impl Chunks ===

impl Chunks {
    /// Skips what belongs to the current chunk's data of the next `available` bytes, and says how many that are.
    #[inline(always)]
    pub fn skip(&mut self, available: u64) -> u64 {
        if self.state != DATA as u64 {
            return 0;
        }
        let skipped = if self.remaining < available {
            self.remaining
        } else {
            available
        };
        self.remaining -= skipped;
        if self.remaining == 0 {
            self.state = DATA_END as u64;
        }
        skipped
    }

    /// Takes the next byte of the framing. `true`: [`Chunks::step`] is not `Framing` any longer.
    #[inline(always)]
    pub fn push(&mut self, byte: u8) -> bool {
        // SAFETY: a byte is a place of the table.
        let class = unsafe { CLASS.as_ptr().add(byte as usize).read_volatile() } as u64;
        let at = (self.state as usize * CLASSES + (class as usize & (CLASSES - 1))) & (STATES * CLASSES - 1);
        // SAFETY: the mask keeps the place in the table.
        let next = unsafe { NEXT.as_ptr().cast::<u8>().add(at).read_volatile() } as u64;
        let digit = (next / TAKE_DIGIT as u64) & 1;
        let end = (next / END_SIZE as u64) & 1;
        // A size of 2^60 or more is none: there would be no room for its next digit.
        let too_long = digit & (equal(self.remaining >> 56, 0) ^ 1);
        self.remaining = select(digit, (self.remaining << 4) | (class >> 4), self.remaining);
        // Sums rather than selections of constants: the verifier of 6.18 follows both outcomes of those.
        let after_size = DATA as u64 - equal(self.remaining, 0) * (DATA - TRAILER_START) as u64;
        let state = select(end, after_size, next & 0xf);
        self.state = state + too_long * (BAD - DIGITS) as u64;
        self.state >= DATA as u64
    }

    /// What the last byte led to.
    #[inline(always)]
    pub fn step(&self) -> Step {
        match self.state as u8 {
            DATA => Step::Data,
            DONE => Step::Done,
            BAD => Step::Bad,
            _ => Step::Framing,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds a body in pieces, and says how many bytes it took, and how it ended.
    fn feed(body: &[u8], pieces: &[usize]) -> (usize, Step) {
        let mut chunks = Chunks::default();
        let (mut at, mut piece) = (0, 0);
        while at < body.len() {
            let end = (at + pieces[piece % pieces.len()].max(1)).min(body.len());
            piece += 1;
            while at < end {
                at += chunks.skip((end - at) as u64) as usize;
                if at < end {
                    at += 1;
                    if chunks.push(body[at - 1]) && chunks.step() != Step::Data {
                        return (at, chunks.step());
                    }
                }
            }
        }
        (at, Step::Framing)
    }

    #[test]
    fn bodies_end_where_they_end() {
        for body in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "5;a=b\r\nhello\r\n0\r\nX: y\r\nZ: 1\r\n\r\n",
            "1\nA\n0\n\n",
            "0A\r\n0\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n",
        ] {
            assert_eq!(
                feed(format!("{body}HTTP/1.1").as_bytes(), &[1000]),
                (body.len(), Step::Done),
                "{body}"
            );
        }
        assert_eq!(feed(b"x", &[1]).1, Step::Bad);
        assert_eq!(feed(b"\r\n", &[1]).1, Step::Bad);
        assert_eq!(feed(b"1\r\nABC", &[9]).1, Step::Bad);
        assert_eq!(feed(b"fffffffffffffffff", &[9]).1, Step::Bad);
    }

    proptest! {
        #[test]
        fn any_body_in_any_pieces(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..12),
            trailer in prop_oneof![Just(""), Just("A: b\r\n")],
            pieces in prop::collection::vec(1usize..400, 1..20),
            behind in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let mut body = Vec::new();
            for chunk in &chunks {
                body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                body.extend_from_slice(chunk);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(format!("0\r\n{trailer}\r\n").as_bytes());
            let length = body.len();
            body.extend_from_slice(&behind);
            prop_assert_eq!(feed(&body, &pieces), (length, Step::Done));
        }

        #[test]
        fn bytes_of_any_kind_do_no_harm(body in prop::collection::vec(any::<u8>(), 0..400), pieces in prop::collection::vec(1usize..40, 1..9)) {
            let (at, _) = feed(&body, &pieces);
            prop_assert!(at <= body.len());
        }
    }
}
