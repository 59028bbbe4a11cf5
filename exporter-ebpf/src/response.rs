//! From bytes to a status, and to where the body ends (RFC 9112, 4 and 6).
//!
//! As for requests there are two parsers: [`scan`] for a head that lies in the window as a whole, and [`Reader`] for
//! one that comes in pieces. A property test holds them equal.

use crate::{
    bytes::{BUFFER, above_nine_bytes, at_least, equal, equal_bytes, first, forget, select, unbranched, word},
    step::Step,
};

/// What the head of a response says.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The value of `Content-Length`, where [`Head::has_length`].
    pub length: u64,
    /// The status code, 100 to 999.
    pub status: u16,
    /// Whether a valid `Content-Length` was there.
    pub has_length: bool,
    /// Whether the last transfer coding is `chunked`.
    pub chunked: bool,
    reserved: u32,
}

const CONTENT_LENGTH: [u64; 2] = [u64::from_le_bytes(*b"content-"), u64::from_le_bytes(*b"length:\0")];
const TRANSFER_ENCODING: [u64; 3] = [
    u64::from_le_bytes(*b"transfer"),
    u64::from_le_bytes(*b"-encodin"),
    u64::from_le_bytes(*b"g:\0\0\0\0\0\0"),
];
/// Makes letters lower case: all eight bytes, or the first six, where the seventh is the colon.
const LOWER: u64 = 0x2020_2020_2020_2020;
const LOWER_SIX: u64 = LOWER >> 16;
const SEVEN: u64 = 0x00ff_ffff_ffff_ffff;
/// `chunked`, as the bytes come in: the last one lowest.
const CHUNKED: u64 = u64::from_be_bytes(*b"\0chunked");

/// The status in the first bytes of a response, or `None` if this is none.
#[inline(always)]
fn status(buffer: &[u8; BUFFER]) -> Option<u16> {
    if word(buffer, 0) & SEVEN != u64::from_le_bytes(*b"HTTP/1.\0") {
        return None;
    }
    // Bytes 8 to 15: the space, three digits, and what follows.
    let code = word(buffer, 8);
    let (a, b, c) = (
        ((code >> 8) as u8).wrapping_sub(b'0'),
        ((code >> 16) as u8).wrapping_sub(b'0'),
        ((code >> 24) as u8).wrapping_sub(b'0'),
    );
    if code as u8 != b' ' || a > 9 || b > 9 || c > 9 || a == 0 {
        return None;
    }
    Some(a as u16 * 100 + b as u16 * 10 + c as u16)
}

/// Reads the head of a response that lies as a whole in the first `WINDOW` bytes of the buffer, and says where it ends.
///
/// `length` is how many bytes of the buffer are the message's; behind them may be anything. `None`: [`Reader`] has to
/// look.
#[inline(always)]
pub fn scan<const WINDOW: usize>(buffer: &[u8; BUFFER], length: usize) -> Option<(Head, usize)> {
    let mut head = Head {
        status: status(buffer)?,
        ..Head::default()
    };
    let (mut length_at, mut coding_at) = (forget(buffer, 0), forget(buffer, 0));
    let mut at = 12;
    let mut turns = 0;
    let end = loop {
        // A turn for each word, and one more for each line, which are longer than this on the average.
        if turns >= WINDOW / 8 + WINDOW / 16 || at >= length {
            return None;
        }
        turns += 1;
        at = forget(buffer, at);
        let line_ends = equal_bytes(word(buffer, at), b'\n');
        if line_ends == 0 {
            at += 8;
            continue;
        }
        at += first(line_ends) + 1;
        let start = word(buffer, at);
        if start as u16 == u16::from_le_bytes(*b"\r\n") {
            break at + 2;
        }
        if start as u8 == b'\n' {
            break at + 1;
        }
        let start = start | LOWER;
        if start == CONTENT_LENGTH[0] {
            if (word(buffer, at + 8) | LOWER_SIX) & SEVEN == CONTENT_LENGTH[1] & SEVEN {
                length_at = at + 15;
            }
        } else if start == TRANSFER_ENCODING[0]
            && word(buffer, at + 8) | LOWER == TRANSFER_ENCODING[1]
            && (word(buffer, at + 16) | 0x20) as u16 == TRANSFER_ENCODING[2] as u16
        {
            coding_at = at + 18;
        }
    };
    if end > length {
        return None;
    }
    if length_at != 0 {
        head.length = number(buffer, length_at)?;
        head.has_length = true;
    }
    if coding_at != 0 {
        head.chunked = is_chunked(buffer, coding_at)?;
    }
    Some((head, end))
}

/// Where a field's value starts, if there is the usual space before it or none.
#[inline(always)]
fn value_at(buffer: &[u8; BUFFER], at: usize) -> usize {
    at + (word(buffer, at) as u8 == b' ') as usize
}

/// Whether a line ends at `at`. A carriage return alone is part of the line.
#[inline(always)]
fn ends_line(buffer: &[u8; BUFFER], at: usize) -> bool {
    let text = word(buffer, at);
    text as u8 == b'\n' || text as u16 == u16::from_le_bytes(*b"\r\n")
}

/// The decimal number at `at`, if it has one to 15 digits and ends the line. [`Reader`] knows the others.
#[inline(always)]
fn number(buffer: &[u8; BUFFER], at: usize) -> Option<u64> {
    const POWERS: [u64; 8] = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000];
    let at = value_at(buffer, at);
    let (value, digits) = up_to_eight_digits(word(buffer, at));
    if digits == 0 {
        return None;
    }
    if digits < 8 {
        return ends_line(buffer, at + digits).then_some(value);
    }
    let (more, digits) = up_to_eight_digits(word(buffer, at + 8));
    // SAFETY: a place of the table. A volatile read, so that the table is not made into branches.
    let power = unsafe { POWERS.as_ptr().add(digits & 7).read_volatile() };
    (digits < 8 && ends_line(buffer, at + 8 + digits)).then_some(value * power + more)
}

/// The number that a word's text begins with, and how many digits it has.
#[inline(always)]
fn up_to_eight_digits(text: u64) -> (u64, usize) {
    let text = text ^ 0x3030_3030_3030_3030;
    let others = above_nine_bytes(text);
    let digits = if others == 0 { 8 } else { first(others) };
    if digits == 0 {
        return (0, 0);
    }
    // Right-align the digits, then add them up in pairs, fours and eights.
    let text = text << ((8 - digits) * 8);
    let pairs = text.wrapping_mul(10).wrapping_add(text >> 8);
    let low = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(0x000f_4240_0000_0064);
    let high = ((pairs >> 16) & 0x0000_00ff_0000_00ff).wrapping_mul(0x0000_2710_0000_0001);
    (low.wrapping_add(high) >> 32, digits)
}

/// Whether the line at `at` is `chunked` and nothing else. `None`: it is something else, which [`Reader`] knows.
#[inline(always)]
fn is_chunked(buffer: &[u8; BUFFER], at: usize) -> Option<bool> {
    let text = word(buffer, value_at(buffer, at));
    let is_chunked = (text | LOWER) & SEVEN == u64::from_le_bytes(*b"chunked\0");
    (is_chunked && ends_line(buffer, value_at(buffer, at) + 7)).then_some(true)
}

// The states. 0 to 11 are the places in the status line, up to the last digit of the status.
const REST: u8 = 12;
const LINE: u8 = 13;
const RETURN: u8 = 14;
const NAME: u8 = 15;
const VALUE: u8 = 16;
const DONE: u8 = 17;
const BAD: u8 = 18;
const STATES: usize = 32;

// What is done with a byte, beside going to the next state.
const TAKE_STATUS: u16 = 1 << 8;
const TAKE_NAME: u16 = 1 << 9;
const TAKE_VALUE: u16 = 1 << 10;
const END_LINE: u16 = 1 << 11;

// The classes of bytes.
const OTHER: u8 = 0;
const LINE_FEED: u8 = 1;
const CARRIAGE_RETURN: u8 = 2;
const COLON: u8 = 3;
const SPACE: u8 = 4;
const ZERO: u8 = 5;
const ONE: u8 = 6;
const DIGIT: u8 = 7;
const H: u8 = 8;
const T: u8 = 9;
const P: u8 = 10;
const SLASH: u8 = 11;
const DOT: u8 = 12;
const TAB: u8 = 13;
const CLASSES: usize = 16;

// What a class is, beside its number.
const IS_DIGIT: u8 = 1 << 4;
const IS_BLANK: u8 = 1 << 5;
const IS_VISIBLE: u8 = 1 << 6;

static CLASS: [u8; 256] = {
    let mut table = [OTHER; 256];
    let mut byte = 0;
    while byte < 256 {
        let class = match byte as u8 {
            b'\n' => LINE_FEED,
            b'\r' => CARRIAGE_RETURN | IS_BLANK,
            b'\t' => TAB | IS_BLANK,
            b' ' => SPACE | IS_BLANK,
            b':' => COLON,
            b'0' => ZERO | IS_DIGIT,
            b'1' => ONE | IS_DIGIT,
            b'2'..=b'9' => DIGIT | IS_DIGIT,
            b'H' => H,
            b'T' => T,
            b'P' => P,
            b'/' => SLASH,
            b'.' => DOT,
            _ => OTHER,
        };
        table[byte] = if byte > 0x20 { class | IS_VISIBLE } else { class };
        byte += 1;
    }
    table
};

static NEXT: [u16; STATES * CLASSES] = {
    let mut table = [BAD as u16; STATES * CLASSES];
    let line = [H, T, T, P, SLASH, ONE, DOT];
    let mut i = 0;
    while i < line.len() {
        table[i * CLASSES + line[i] as usize] = i as u16 + 1;
        i += 1;
    }
    let mut class = 0;
    while class < CLASSES {
        let end = class == LINE_FEED as usize;
        let digit = class == ZERO as usize || class == ONE as usize || class == DIGIT as usize;
        table[7 * CLASSES + class] = 8;
        if class == SPACE as usize {
            table[8 * CLASSES + class] = 9;
        }
        if digit && class != ZERO as usize {
            table[9 * CLASSES + class] = 10 | TAKE_STATUS;
        }
        if digit {
            table[10 * CLASSES + class] = 11 | TAKE_STATUS;
            table[11 * CLASSES + class] = REST as u16 | TAKE_STATUS;
        }
        table[REST as usize * CLASSES + class] = if end { LINE as u16 } else { REST as u16 };
        let name = if class == COLON as usize {
            VALUE as u16
        } else {
            NAME as u16 | TAKE_NAME
        };
        // The line end is taken into the name: a line without a colon is no field, whatever it is called.
        let name = if end { LINE as u16 | END_LINE | TAKE_NAME } else { name };
        table[LINE as usize * CLASSES + class] = match class as u8 {
            LINE_FEED => DONE as u16,
            CARRIAGE_RETURN => RETURN as u16 | TAKE_NAME,
            _ => name,
        };
        table[RETURN as usize * CLASSES + class] = if end { DONE as u16 } else { name };
        table[NAME as usize * CLASSES + class] = name;
        table[VALUE as usize * CLASSES + class] = if end {
            LINE as u16 | END_LINE
        } else {
            VALUE as u16 | TAKE_VALUE
        };
        class += 1;
    }
    table
};

/// The hash of a field's name, in lower case: FNV-1a.
const fn name_hash(name: &[u8]) -> u64 {
    let mut hash = 0;
    let mut i = 0;
    while i < name.len() {
        hash = next_hash(hash, name[i]);
        i += 1;
    }
    hash
}

#[inline(always)]
const fn next_hash(hash: u64, byte: u8) -> u64 {
    (hash ^ (byte | 0x20) as u64).wrapping_mul(0x0000_0100_0000_01b3)
}

const CONTENT_LENGTH_HASH: u64 = name_hash(b"content-length");
const TRANSFER_ENCODING_HASH: u64 = name_hash(b"transfer-encoding");

/// The head of a response while it is read, byte by byte. All zero is the start.
///
/// A table says what to do for each state and class of bytes, and it is done without a branch: the verifier walks one
/// path through a loop of these, where it would explore a tree.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reader {
    status: u64,
    length: u64,
    has_length: u64,
    chunked: u64,
    /// The hash of the name of the line's field.
    name: u64,
    /// The field's value as a number, how many digits it has, whether a blank came behind one, whether it is no number.
    number: u64,
    digits: u64,
    ended: u64,
    bad: u64,
    /// The last eight characters of the value that are no blanks.
    last: u64,
    state: u64,
}

// === impl Reader ===

impl Reader {
    /// Starts over for the next response.
    #[inline(always)]
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// What was read, after `Done`.
    #[inline(always)]
    pub fn head(&self) -> Head {
        Head {
            length: self.length,
            status: self.status as u16,
            has_length: self.has_length != 0,
            chunked: self.chunked != 0,
            reserved: 0,
        }
    }

    /// Takes the next byte. `true`: [`Reader::step`] is not `More` any longer.
    #[inline(always)]
    pub fn push(&mut self, byte: u8) -> bool {
        // SAFETY: a byte is a place of the table.
        let class = unsafe { CLASS.as_ptr().add(byte as usize).read_volatile() };
        let at = (self.state as usize * CLASSES + (class as usize & (CLASSES - 1))) & (STATES * CLASSES - 1);
        // SAFETY: the mask keeps the place in the table.
        let next = unsafe { NEXT.as_ptr().add(at).read_volatile() } as u64;
        self.state = next & 0xff;
        let bit = |mask: u16| (next / mask as u64) & 1;

        let digit = byte.wrapping_sub(b'0') as u64;
        self.status = select(
            bit(TAKE_STATUS),
            self.status.wrapping_mul(10).wrapping_add(digit),
            self.status,
        );
        self.name = select(bit(TAKE_NAME), next_hash(self.name, byte), self.name);

        let value = bit(TAKE_VALUE);
        let is_digit = value & (class / IS_DIGIT) as u64;
        let is_blank = value & (class / IS_BLANK) as u64;
        let is_visible = value & (class / IS_VISIBLE) as u64;
        self.bad |= (is_digit & (self.ended | at_least(self.digits, 18))) | (value & !is_digit & !is_blank);
        self.ended |= is_blank & at_least(self.digits, 1);
        self.number = select(is_digit, self.number.wrapping_mul(10).wrapping_add(digit), self.number);
        self.digits = self.digits.wrapping_add(is_digit);
        self.last = select(is_visible, (self.last << 8) | (byte | 0x20) as u64, self.last);

        let end = bit(END_LINE);
        let is_length = end & equal(self.name, CONTENT_LENGTH_HASH);
        let is_number = (self.bad ^ 1) & at_least(self.digits, 1);
        self.length = select(is_length, self.number, self.length);
        self.has_length = select(is_length, is_number, self.has_length);
        let is_coding = end & equal(self.name, TRANSFER_ENCODING_HASH);
        self.chunked = select(is_coding, equal(self.last & SEVEN, CHUNKED), self.chunked);
        let keep = unbranched(end).wrapping_sub(1);
        self.name &= keep;
        self.number &= keep;
        self.digits &= keep;
        self.ended &= keep;
        self.bad &= keep;
        self.last &= keep;
        self.state >= DONE as u64
    }

    /// What the last byte led to.
    #[inline(always)]
    pub fn step(&self) -> Step {
        match self.state as u8 {
            DONE => Step::Done,
            BAD => Step::Bad,
            _ => Step::More,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bytes::{WINDOW, buffer};

    fn read(bytes: &[u8]) -> (Step, Head, usize) {
        let mut reader = Reader::default();
        for (i, byte) in bytes.iter().enumerate() {
            if reader.push(*byte) {
                return (reader.step(), reader.head(), i + 1);
            }
        }
        (Step::More, reader.head(), bytes.len())
    }

    fn head(status: u16, length: Option<u64>, chunked: bool) -> Head {
        Head {
            length: length.unwrap_or(0),
            status,
            has_length: length.is_some(),
            chunked,
            reserved: 0,
        }
    }

    #[test]
    fn heads_as_servers_send_them() {
        for (text, expected) in [
            (
                "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nContent-Type: text/html\r\nContent-Length: 612\r\nETag: \"x\"\r\n\r\n",
                head(200, Some(612), false),
            ),
            (
                "HTTP/1.1 404 Not Found\r\ncontent-length:22\r\n\r\n",
                head(404, Some(22), false),
            ),
            (
                "HTTP/1.1 200 OK\r\nTRANSFER-ENCODING:  Chunked \r\n\r\n",
                head(200, None, true),
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
                head(200, None, true),
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, gzip\r\n\r\n",
                head(200, None, false),
            ),
            ("HTTP/1.0 200\n\n", head(200, None, false)),
            ("HTTP/1.1 100 Continue\r\n\r\n", head(100, None, false)),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 12x\r\n\r\n",
                Head {
                    length: 12,
                    ..head(200, None, false)
                },
            ),
            (
                "HTTP/1.1 200 OK\r\nX-Content-Length: 7\r\nContent-Lengths: 8\r\n\r\n",
                head(200, None, false),
            ),
        ] {
            let fast = scan::<WINDOW>(&buffer(text.as_bytes(), b"\n"), text.len());
            assert!(fast.is_none_or(|fast| fast == (expected, text.len())), "{text}");
            assert_eq!(
                fast.is_none(),
                text.contains("  C") || text.contains(',') || text.contains("12x"),
                "{text}"
            );
            assert_eq!(read(text.as_bytes()), (Step::Done, expected, text.len()), "{text}");
        }
    }

    #[test]
    fn what_is_no_response() {
        for text in [
            "GET / HTTP/1.1\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 abc\r\n\r\n",
            "HTTP/1.1 099 x\r\n\r\n",
        ] {
            assert_eq!(
                scan::<WINDOW>(&buffer(text.as_bytes(), b"\n"), text.len()),
                None,
                "{text}"
            );
            assert_eq!(read(text.as_bytes()).0, Step::Bad, "{text}");
        }
    }

    /// Heads that no sound server sends. The fuzzer found that the two parsers took them differently.
    #[test]
    fn both_parsers_take_odd_fields_alike() {
        for (text, expected) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\rx\r\n\r\n",
                head(200, None, false),
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\rgzip\r\n\r\n",
                head(200, None, false),
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length\x1a 5\r\n\r\n",
                head(200, None, false),
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding\x1a chunked\r\n\r\n",
                head(200, None, false),
            ),
            (
                "HTTP/1.1 200 OK\nContent-Length: 5\nContent-Length\n\n",
                head(200, Some(5), false),
            ),
        ] {
            let (step, slow, _) = read(text.as_bytes());
            assert_eq!(
                (step, slow.has_length, slow.chunked),
                (Step::Done, expected.has_length, expected.chunked),
                "{text:?}"
            );
            if let Some((fast, _)) = scan::<WINDOW>(&buffer(text.as_bytes(), b"\n"), text.len()) {
                assert_eq!(fast, expected, "{text:?}");
            }
        }
    }

    #[test]
    fn a_stale_end_is_not_believed() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 1";
        for cut in 0..text.len() {
            assert_eq!(
                scan::<WINDOW>(&buffer(&text.as_bytes()[..cut], b"0\r\n\r\n"), cut),
                None
            );
        }
    }

    proptest! {
        #[test]
        fn scan_equals_reader(
            start in prop_oneof![4 => "HTTP/1\\.[01] [1-5][0-9]{2} [a-zA-Z ]{0,12}", 1 => "[ -~]{0,16}"],
            lines in prop::collection::vec(prop_oneof![
                "[A-Za-z-]{1,20}: [ -~]{0,40}",
                "(Content-Length|content-length): ?[0-9]{1,10}",
                "(Content-Length|content-length): ?[0-9]{1,17} ?",
                "(Content-Length|content-length): ?[0-9x ]{1,20}",
                "(Transfer-Encoding|TRANSFER-encoding): ?(chunked|gzip, chunked|gzip|Chunked )",
            ], 0..6),
            newline in prop_oneof![Just("\r\n"), Just("\n")],
            cut in 0usize..600,
            behind in prop::collection::vec(any::<u8>(), 1..40),
        ) {
            let mut text = format!("{start}{newline}");
            for line in lines {
                text.push_str(&line);
                text.push_str(newline);
            }
            text.push_str(newline);
            let text = &text.as_bytes()[..cut.min(text.len())];
            let (step, head, end) = read(text);
            if let Some((fast, fast_end)) = scan::<WINDOW>(&buffer(text, &behind), text.len()) {
                prop_assert_eq!((step, head, end), (Step::Done, fast, fast_end));
            }
        }

        /// The usual head is never left to the slow parser.
        #[test]
        fn scan_takes_the_usual(
            status in 100u16..1000,
            lines in prop::collection::vec("[A-BD-SU-Z][A-Za-z-]{1,12}: [!-~][ -~]{0,20}", 0..8),
            length in 0u64..1_000_000_000_000_000,
            chunked: bool,
        ) {
            let framing = if chunked { "transfer-encoding: chunked".to_owned() } else { format!("Content-Length: {length}") };
            let text = format!("HTTP/1.1 {status} Something\r\n{}{framing}\r\n\r\n", lines.iter().map(|line| format!("{line}\r\n")).collect::<String>());
            let expected = head(status, (!chunked).then_some(length), chunked);
            prop_assert_eq!(scan::<WINDOW>(&buffer(text.as_bytes(), b"\r\n"), text.len()), Some((expected, text.len())));
        }

        #[test]
        fn bytes_of_any_kind_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..800), length in 0usize..5000) {
            let _ = scan::<WINDOW>(&buffer(&bytes, b"\0"), length);
            let _ = read(&bytes);
        }
    }
}
