//! From the fields of a head to where its message ends (RFC 9112, 5 and 6).
//!
//! Requests and responses differ in their first line only. As for request lines there are two parsers: [`scan`] takes
//! whole lines of the usual form, eight bytes at a time, and stops at the first that is not; [`Reader`] takes a head byte
//! by byte, in whatever pieces it comes. Each can go on where the other has stopped, at the start of a line. A property
//! test holds them equal.

use crate::{
    bytes::{
        BUFFER, BYTEWISE, above_nine_bytes, at_least, byte, equal, equal_bytes, first, forget, select, through_memory,
        unbranched, word,
    },
    exemplar::TRACE_PARENT,
    step::Step,
};

/// What the fields of a head say about its body. Of fields of one name the last counts.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Framing {
    /// The value of `Content-Length`, where [`Framing::has_length`].
    pub length: u64,
    /// 1 if a valid `Content-Length` was there; [`UNCLEAR`] if one that says nothing here. What goes on in the next line (obs-fold,
    /// RFC 9112, 5.2) is one: some servers know better.
    pub has_length: u64,
    /// 1 if the last transfer coding is `chunked`; [`UNCLEAR`] if it is another, and so no length of a request counts (RFC 9112, 6.3).
    pub chunked: u64,
    /// 1 if the client waits for leave to send the body: `Expect: 100-continue`.
    pub expects: u64,
    /// 1 if the body is a stream of events: `Content-Type: text/event-stream`, with parameters or without.
    pub event_stream: u64,
    /// Where in the buffer the value of `traceparent` is, if its line lies there as a whole; 0: nowhere. It says nothing of the body.
    pub trace: u64,
}

/// [`Framing::has_length`] or [`Framing::chunked`] of a body whose length is not known.
pub const UNCLEAR: u64 = 2;

// === impl Framing ===

impl Framing {
    /// Starts over. Each member on its own: as a whole it would be a loop over bytes, for every request.
    #[inline(always)]
    pub fn clear(&mut self) {
        let Self {
            length,
            has_length,
            chunked,
            expects,
            event_stream,
            trace,
        } = self;
        for member in [length, has_length, chunked, expects, event_stream, trace] {
            // SAFETY: a reference is valid to write. The compiler does not put volatile writes together.
            unsafe { core::ptr::from_mut(member).write_volatile(0) };
        }
    }
}

/// What a head says.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// A response's status code, 100 to 999.
    pub status: u64,
    /// Where its message ends.
    pub framing: Framing,
}

const CONTENT_LENGTH: [u64; 2] = [u64::from_le_bytes(*b"content-"), u64::from_le_bytes(*b"length:\0")];
/// The second word of `content-type:`; the first is that of `content-length:`.
const CONTENT_TYPE: u64 = u64::from_le_bytes(*b"type:\0\0\0");
const TRANSFER_ENCODING: [u64; 3] = [
    u64::from_le_bytes(*b"transfer"),
    u64::from_le_bytes(*b"-encodin"),
    u64::from_le_bytes(*b"g:\0\0\0\0\0\0"),
];
const EXPECT: u64 = u64::from_le_bytes(*b"expect:\0");
const TRACE_PARENT_NAME: [u64; 2] = [u64::from_le_bytes(*b"tracepar"), u64::from_le_bytes(*b"ent:\0\0\0\0")];
/// How long the names are, with their colons.
const CONTENT_LENGTH_BYTES: usize = 15;
const CONTENT_TYPE_BYTES: usize = 13;
const TRANSFER_ENCODING_BYTES: usize = 18;
const EXPECT_BYTES: usize = 7;
const TRACE_PARENT_BYTES: usize = 12;
/// `100-continue`, in two words that share four bytes.
const CONTINUE: [u64; 2] = [u64::from_le_bytes(*b"100-cont"), u64::from_le_bytes(*b"continue")];
/// The media type of server-sent events (HTML, 9.2.5), in lower case.
const EVENT_STREAM: &[u8; 17] = b"text/event-stream";
/// Its first 16 bytes in two words. Its marks are no letters: they have to be exact.
const EVENT_STREAM_WORDS: [u64; 2] = [u64::from_le_bytes(*b"text/eve"), u64::from_le_bytes(*b"nt-strea")];
const EVENT_STREAM_LOWER: [u64; 2] = [LOWER & !(0xff << 32), LOWER & !(0xff << 16)];
/// Makes letters lower case: all eight bytes, or the first of them, where the colon is next.
const LOWER: u64 = 0x2020_2020_2020_2020;
const LOWER_SIX: u64 = LOWER >> 16;
const LOWER_FOUR: u64 = LOWER >> 32;
const LOWER_THREE: u64 = LOWER >> 40;
const FIVE: u64 = 0xff_ffff_ffff;
pub(crate) const SEVEN: u64 = 0x00ff_ffff_ffff_ffff;
/// `chunked`, as the bytes come in: the last one lowest.
const CHUNKED: u64 = u64::from_be_bytes(*b"\0chunked");
/// `continue`, in the same way.
const CONTINUE_LAST: u64 = u64::from_be_bytes(*b"continue");

/// Takes lines of a head from the buffer, from `from` on, a place in a line before the first field.
///
/// `length` is how many bytes of the buffer are the message's; behind them may be anything. Says where it stopped: behind
/// the empty line that ends the head (`true`), or at the start of a line that is not whole, or not of the usual form.
/// What the lines before say is in `framing` by then; whether a stream of events follows only if `MAY_STREAM`, as a response may.
#[inline(always)]
pub fn scan<const WINDOW: usize, const MAY_STREAM: bool>(
    buffer: &[u8; BUFFER],
    framing: &mut Framing,
    from: usize,
    length: usize,
) -> (usize, bool) {
    let (mut length_at, mut coding_at, mut expect_at) = (forget(buffer, 0), forget(buffer, 0), forget(buffer, 0));
    let (mut type_at, mut trace_at) = (forget(buffer, 0), forget(buffer, 0));
    let mut at = from;
    let mut line = from;
    let mut turns = 0;
    let mut done = loop {
        // A turn for two words, and one more for each line, which are longer than this on the average.
        if turns >= WINDOW / 16 + WINDOW / 16 || at >= length {
            break false;
        }
        turns += 1;
        at = forget(buffer, at);
        let mut line_ends = equal_bytes(word(buffer, at), b'\n');
        if line_ends == 0 {
            at += 8;
            line_ends = equal_bytes(word(buffer, at), b'\n');
        }
        if line_ends == 0 {
            at += 8;
            continue;
        }
        at += first(line_ends) + 1;
        if at > length {
            break false;
        }
        let text = word(buffer, line);
        let start = text | LOWER;
        if start == CONTENT_LENGTH[0] {
            // Selections: three ways on from each turn would be too many for the verifier.
            let rest = word(buffer, line + 8);
            let other_than_length = ((rest | LOWER_SIX) & SEVEN) ^ (CONTENT_LENGTH[1] & SEVEN);
            length_at = if_zero(other_than_length, line + CONTENT_LENGTH_BYTES, length_at);
            if MAY_STREAM {
                let other_than_type = ((rest | LOWER_FOUR) & FIVE) ^ CONTENT_TYPE;
                type_at = if_zero(other_than_type, line + CONTENT_TYPE_BYTES, type_at);
            }
        } else if start == TRANSFER_ENCODING[0] {
            if word(buffer, line + 8) | LOWER == TRANSFER_ENCODING[1]
                && (word(buffer, line + 16) | 0x20) as u16 == TRANSFER_ENCODING[2] as u16
            {
                coding_at = line + TRANSFER_ENCODING_BYTES;
            }
        } else if start == TRACE_PARENT_NAME[0] {
            if is_trace_parent(buffer, line) {
                trace_at = line + TRACE_PARENT_BYTES;
            }
        } else if (text | LOWER_SIX) & SEVEN == EXPECT {
            expect_at = line + EXPECT_BYTES;
        }
        line = at;
        let next = word(buffer, at);
        if next as u16 == u16::from_le_bytes(*b"\r\n") {
            line = at + 2;
            break true;
        }
        if next as u8 == b'\n' {
            line = at + 1;
            break true;
        }
    };
    if line > length {
        // The empty line is not there yet.
        line = at;
        done = false;
    }
    let mut stop = forget(buffer, line);
    if trace_at != 0 {
        framing.trace = value_at(buffer, trace_at) as u64;
    }
    if length_at != 0 {
        match number(buffer, length_at) {
            Some(number) => (framing.length, framing.has_length) = (number, 1),
            None => (stop, done) = (length_at - CONTENT_LENGTH_BYTES, false),
        }
    }
    if coding_at != 0 {
        if is_chunked(buffer, coding_at) {
            framing.chunked = 1;
        } else {
            (stop, done) = (earlier(stop, coding_at - TRANSFER_ENCODING_BYTES), false);
        }
    }
    if MAY_STREAM && type_at != 0 {
        let media = value_at(buffer, type_at);
        framing.event_stream = 0;
        if word(buffer, media) as u8 <= b' ' {
            (stop, done) = (earlier(stop, type_at - CONTENT_TYPE_BYTES), false);
        } else if word(buffer, media) | EVENT_STREAM_LOWER[0] == EVENT_STREAM_WORDS[0] {
            framing.event_stream = is_event_stream(buffer, media);
        }
    }
    if expect_at != 0 {
        if is_continue(buffer, expect_at) {
            framing.expects = 1;
        } else {
            (stop, done) = (earlier(stop, expect_at - EXPECT_BYTES), false);
        }
    }
    (stop, done)
}

/// `a` if `word`, which is below 2^63, is zero, else `b`, without a branch.
#[inline(always)]
fn if_zero(word: u64, a: usize, b: usize) -> usize {
    let mask = unbranched((unbranched(word.wrapping_sub(1)) as i64 >> 63) as u64);
    b ^ ((a ^ b) & mask as usize)
}

#[inline(always)]
fn earlier(one: usize, other: usize) -> usize {
    if one < other { one } else { other }
}

/// Whether the field of the line at `line` is called `traceparent`.
#[inline(always)]
fn is_trace_parent(buffer: &[u8; BUFFER], line: usize) -> bool {
    word(buffer, line) | LOWER == TRACE_PARENT_NAME[0]
        && (word(buffer, line + 8) | LOWER_THREE) as u32 == TRACE_PARENT_NAME[1] as u32
}

/// Where a field's value starts, if there is the usual space before it or none.
#[inline(always)]
pub(crate) fn value_at(buffer: &[u8; BUFFER], at: usize) -> usize {
    at + (word(buffer, at) as u8 == b' ') as usize
}

/// Whether a line ends at `at`. A carriage return alone is part of the line.
#[inline(always)]
pub(crate) fn ends_line(buffer: &[u8; BUFFER], at: usize) -> bool {
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

/// Whether the value at `at` is `chunked` and nothing else. [`Reader`] knows the others.
#[inline(always)]
fn is_chunked(buffer: &[u8; BUFFER], at: usize) -> bool {
    let at = value_at(buffer, at);
    let is_chunked = (word(buffer, at) | LOWER) & SEVEN == u64::from_le_bytes(*b"chunked\0");
    is_chunked && ends_line(buffer, at + 7)
}

/// Whether the value at `at` is `100-continue` and nothing else. [`Reader`] knows the others.
#[inline(always)]
fn is_continue(buffer: &[u8; BUFFER], at: usize) -> bool {
    let at = value_at(buffer, at);
    let is_continue = word(buffer, at) | LOWER == CONTINUE[0] && word(buffer, at + 4) | LOWER == CONTINUE[1];
    is_continue && ends_line(buffer, at + 12)
}

/// 1 if the value at `at`, whose first word is that of `text/event-stream`, is that, with something behind a semicolon or a blank or
/// nothing. [`Reader`] knows values that more than one blank stands before.
#[inline(always)]
fn is_event_stream(buffer: &[u8; BUFFER], at: usize) -> u64 {
    let rest = word(buffer, at + 16);
    let end = rest >> 8;
    let is_end = is_blank(end) | equal(end & 0xff, b';' as u64) | equal(end & 0xff, b'\n' as u64);
    is_end
        & equal(word(buffer, at + 8) | EVENT_STREAM_LOWER[1], EVENT_STREAM_WORDS[1])
        & equal((rest | 0x20) & 0xff, b'm' as u64)
}

/// 1 if a word's first byte is a blank, as [`Reader`] sees it.
#[inline(always)]
fn is_blank(text: u64) -> u64 {
    let byte = text & 0xff;
    equal(byte, b' ' as u64) | equal(byte, b'\t' as u64) | equal(byte, b'\r' as u64)
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

// What a value is so far, compared with [`EVENT_STREAM`]: nothing, something else, then how many characters it has of it, plus
// one; from WHOLE on it is the media type.
const NOTHING: u8 = 0;
const ANOTHER: u8 = 1;
const WHOLE: u8 = EVENT_STREAM.len() as u8 + 1;
const WITH_MORE: u8 = WHOLE + 1;
const TYPE_STATES: usize = 32;
/// The characters that [`TYPE`] tells apart: other, blank, semicolon, and those of the media type.
const TYPE_CLASSES: usize = 16;
const TYPE_BLANK: u8 = 1;
const TYPE_SEMICOLON: u8 = 2;
const TYPE_CHARACTERS: &[u8; 11] = b"tex/vn-sram";

/// The class of each byte for [`TYPE`].
static TYPE_CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < TYPE_CHARACTERS.len() {
        let character = TYPE_CHARACTERS[i];
        table[character as usize] = i as u8 + 3;
        table[character.to_ascii_uppercase() as usize] = i as u8 + 3;
        i += 1;
    }
    table[b' ' as usize] = TYPE_BLANK;
    table[b'\t' as usize] = TYPE_BLANK;
    table[b'\r' as usize] = TYPE_BLANK;
    table[b';' as usize] = TYPE_SEMICOLON;
    table
};

/// The next state for each state and class.
static TYPE: [u8; TYPE_STATES * TYPE_CLASSES] = {
    let mut table = [ANOTHER; TYPE_STATES * TYPE_CLASSES];
    table[NOTHING as usize * TYPE_CLASSES + TYPE_BLANK as usize] = NOTHING;
    let mut i = 0;
    while i < EVENT_STREAM.len() {
        let state = if i == 0 { NOTHING as usize } else { i + 1 };
        table[state * TYPE_CLASSES + TYPE_CLASS[EVENT_STREAM[i] as usize] as usize] = i as u8 + 2;
        i += 1;
    }
    table[WHOLE as usize * TYPE_CLASSES + TYPE_BLANK as usize] = WITH_MORE;
    table[WHOLE as usize * TYPE_CLASSES + TYPE_SEMICOLON as usize] = WITH_MORE;
    let mut class = 0;
    while class < TYPE_CLASSES {
        table[WITH_MORE as usize * TYPE_CLASSES + class] = WITH_MORE;
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
const CONTENT_TYPE_HASH: u64 = name_hash(b"content-type");
const TRANSFER_ENCODING_HASH: u64 = name_hash(b"transfer-encoding");
const EXPECT_HASH: u64 = name_hash(b"expect");

/// The head of a message while it is read, byte by byte. All zero is the start of a response;
/// [`Reader::start_in_line`] is where a request's head begins, whose line another parser knows.
///
/// A table says what to do for each state and class of bytes, and it is done without a branch: the verifier walks one
/// path through a loop of these, where it would explore a tree.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reader {
    head: Head,
    /// The hash of the name of the line's field.
    name: u64,
    /// The field's value as a number, how many digits it has, whether a blank came behind one, whether it is no number.
    number: u64,
    digits: u64,
    ended: u64,
    bad: u64,
    /// The number before a comma, and whether (1) there is one: a list of equal numbers is that number (RFC 9110, 8.6).
    former: u64,
    has_former: u64,
    /// The last eight characters of the value that are no blanks.
    last: u64,
    /// The value as a media type: a state of [`TYPE`].
    media: u64,
    state: u64,
}

// === impl Reader ===

impl Reader {
    /// Starts over with the first line of a response.
    #[inline(always)]
    pub fn start(&mut self) {
        *self = Self::default();
    }

    /// Starts over in the middle of a message's first line, of which no more is to be read.
    #[inline(always)]
    pub fn start_in_line(&mut self) {
        self.start();
        self.state = REST as u64;
    }

    /// Goes on at the start of a line, with what [`scan`] has found in the lines before.
    #[inline(always)]
    pub fn go_on(&mut self, framing: &Framing) {
        self.head.framing = *framing;
        self.head.framing.trace = 0;
        self.state = LINE as u64;
    }

    /// Whether the next byte is the first of a line: [`scan`] may take over, from the line feed before it.
    #[inline(always)]
    fn is_at_line(&self) -> bool {
        self.state == LINE as u64
    }

    /// What [`Framing::trace`] was since this was last asked.
    #[inline(always)]
    pub fn take_trace(&mut self) -> u64 {
        let trace = self.head.framing.trace;
        self.head.framing.trace = 0;
        trace
    }

    /// What was read, after `Done`.
    #[inline(always)]
    pub fn head(&self) -> &Head {
        &self.head
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
        let status = self.head.status;
        self.head.status = select(bit(TAKE_STATUS), status.wrapping_mul(10).wrapping_add(digit), status);
        self.name = select(bit(TAKE_NAME), next_hash(self.name, byte), self.name);

        let value = bit(TAKE_VALUE);
        let is_digit = value & (class / IS_DIGIT) as u64;
        let is_blank = value & (class / IS_BLANK) as u64;
        let is_visible = value & (class / IS_VISIBLE) as u64;
        let is_comma = value & equal(byte as u64, b',' as u64);
        let has_digits = at_least(self.digits, 1);
        // What every number before this comma, or before the end of the line, is.
        let is_one = (self.bad ^ 1) & has_digits & ((self.has_former ^ 1) | equal(self.number, self.former));
        self.bad |= (is_digit & (self.ended | at_least(self.digits, 18)))
            | (value & !is_digit & !is_blank & !is_comma)
            | (is_comma & (is_one ^ 1));
        self.ended = (self.ended | (is_blank & has_digits)) & !is_comma;
        self.former = select(is_comma, self.number, self.former);
        self.has_former |= is_comma;
        self.number =
            select(is_digit, self.number.wrapping_mul(10).wrapping_add(digit), self.number) & is_comma.wrapping_sub(1);
        self.digits = self.digits.wrapping_add(is_digit) & is_comma.wrapping_sub(1);
        self.last = select(is_visible, (self.last << 8) | (byte | 0x20) as u64, self.last);

        // SAFETY: a byte is a place of the table.
        let character = unsafe { TYPE_CLASS.as_ptr().add(byte as usize).read_volatile() };
        let at = (self.media as usize * TYPE_CLASSES + character as usize) & (TYPE_STATES * TYPE_CLASSES - 1);
        // SAFETY: the mask keeps the place in the table.
        let media = unsafe { TYPE.as_ptr().add(at).read_volatile() } as u64;
        self.media = select(value, media, self.media);

        let end = bit(END_LINE);
        let is_length = end & equal(self.name, CONTENT_LENGTH_HASH);
        let framing = &mut self.head.framing;
        framing.length = select(is_length, self.number, framing.length);
        framing.has_length = select(is_length, UNCLEAR - is_one, framing.has_length);
        let is_coding = end & equal(self.name, TRANSFER_ENCODING_HASH);
        let chunked = equal(self.last & SEVEN, CHUNKED);
        framing.chunked = select(is_coding, UNCLEAR - chunked, framing.chunked);
        let is_expect = end & equal(self.name, EXPECT_HASH);
        framing.expects = select(is_expect, equal(self.last, CONTINUE_LAST), framing.expects);
        let is_type = end & equal(self.name, CONTENT_TYPE_HASH);
        framing.event_stream = select(is_type, at_least(self.media, WHOLE as u64), framing.event_stream);
        let keep = unbranched(end).wrapping_sub(1);
        self.name &= keep;
        self.number &= keep;
        self.digits &= keep;
        self.ended &= keep;
        self.bad &= keep;
        self.former &= keep;
        self.has_former &= keep;
        self.last &= keep;
        self.media &= keep;
        self.state >= DONE as u64
    }

    /// Takes bytes of the buffer, up to `length` and [`BYTEWISE`], and says where it stopped: at the start of a line, behind
    /// the head, or where the bytes are at their end.
    #[inline(always)]
    pub fn read(&mut self, buffer: &[u8; BUFFER], length: usize) -> usize {
        if self.is_at_line() && is_trace_parent(buffer, 0) {
            let at = value_at(buffer, TRACE_PARENT_BYTES);
            if at + TRACE_PARENT < length {
                self.head.framing.trace = at as u64;
            }
        }
        let mut i = 0;
        while i < BYTEWISE {
            if i >= length {
                break;
            }
            through_memory(self);
            i += 1;
            if self.push(byte(buffer, i - 1)) || self.is_at_line() {
                break;
            }
        }
        forget(buffer, i)
    }

    /// Takes bytes of a buffer that has `length` of them, and says up to where: up to the end of a line by `read`
    /// ([`Reader::read`]), and then whole lines by `scan` ([`scan`]), which gets the place of the line feed before them.
    #[inline(always)]
    pub fn take(
        &mut self,
        length: usize,
        read: impl FnOnce(&mut Self) -> usize,
        scan: impl FnOnce(&mut Framing, usize) -> (usize, bool),
    ) -> usize {
        let at = read(self);
        if !self.is_at_line() || at == 0 || at >= length {
            return at;
        }
        let (end, done) = scan(&mut self.head.framing, at - 1);
        if done {
            self.state = DONE as u64;
        }
        if end > at { end } else { at }
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
    use crate::bytes::{LINES, PIECE, buffer};

    /// A reader in the middle of the first line of a request.
    fn in_line() -> Reader {
        let mut reader = Reader::default();
        reader.start_in_line();
        reader
    }

    /// Byte by byte: what was found, and how many bytes it took.
    fn by_bytes(message: &[u8], mut reader: Reader) -> (Step, Head, usize) {
        let end = message.iter().position(|byte| reader.push(*byte));
        (reader.step(), *reader.head(), end.map_or(message.len(), |end| end + 1))
    }

    /// What a head says of its body.
    fn of_body(head: &Head) -> Head {
        let framing = Framing {
            trace: 0,
            ..head.framing
        };
        Head { framing, ..*head }
    }

    /// As the kernel does it: what a system call brings is looked at again and again from where the last look ended.
    fn in_turns(message: &[u8], pieces: &[usize], behind: &[u8], mut reader: Reader) -> (Step, Head, usize) {
        let mut sizes = pieces.iter().cycle();
        let (mut at, mut end) = (0, 0);
        while at < message.len() {
            if at == end {
                end = message.len().min(end + sizes.next().unwrap());
            }
            let piece = &message[at..end.min(at + PIECE)];
            let buffer = buffer(piece, behind);
            let taken = reader.take(
                piece.len(),
                |reader| reader.read(&buffer, piece.len()),
                |framing, from| scan::<LINES, true>(&buffer, framing, from, piece.len()),
            );
            assert!(taken > 0 && taken <= piece.len());
            at += taken;
            if reader.step() != Step::More {
                break;
            }
        }
        (reader.step(), of_body(reader.head()), at)
    }

    /// The fields of a head, of which some matter, and how its lines end.
    fn fields() -> impl Strategy<Value = String> {
        let line = prop_oneof![
            4 => "[A-Za-z-]{1,20}: [ -~]{0,40}",
            1 => "[A-Za-z-]{1,20}: [ -~]{200,700}",
            2 => "(Content-Length|content-length): ?[0-9]{1,10}",
            1 => "(Content-Length|content-length): ?[0-9x ]{1,20}",
            2 => "(Transfer-Encoding|TRANSFER-encoding): ?(chunked|gzip, chunked|gzip|Chunked )",
            1 => "(Traceparent|traceparent): ?[0-9a-f-]{55}",
            2 => "(Content-Type|content-type):[ \t]{0,2}(text/event-stream|Text/Event-Stream|text/html|text/event-streams|text event-stream)( ?;[a-z=]{1,9}|[ -~\t]{0,2})",
            2 => "(Expect|expect): ?(100-continue|100-Continue|  100-continue|200-ok)",
        ];
        let newline = prop_oneof![Just("\r\n"), Just("\n")];
        (prop::collection::vec(line, 0..12), newline).prop_map(|(lines, newline)| {
            let mut text = newline.to_owned();
            for line in lines {
                text.push_str(&line);
                text.push_str(newline);
            }
            text + newline
        })
    }

    #[test]
    fn what_a_request_says_of_its_body() {
        for (fields, expected) in [
            ("\r\n\r\n", [0, 0, 0, 0]),
            ("\r\nContent-Type: application/json\r\n\r\n", [0, 0, 0, 0]),
            ("\r\nHost: a\r\nContent-Length: 12\r\n\r\n", [12, 1, 0, 0]),
            ("\r\nTransfer-Encoding: chunked\r\n\r\n", [0, 0, 1, 0]),
            ("\r\nTransfer-Encoding: gzip\r\n\r\n", [0, 0, 2, 0]),
            (
                "\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n",
                [0, 0, 1, 0],
            ),
            ("\nexpect:100-Continue\ncontent-length: 7\n\n", [7, 1, 0, 1]),
            ("\r\nExpect:  100-continue\r\nA: b\r\n\r\n", [0, 0, 0, 1]),
            ("\r\nExpect: nothing\r\nExpected: 100-continue\r\n\r\n", [0, 0, 0, 0]),
            // Lists of lengths, and such as go on in the next line.
            ("\r\nContent-Length: 2, 2\r\n\r\n", [2, 1, 0, 0]),
            ("\r\nContent-Length: 17 ,17,\t17\r\n\r\n", [17, 1, 0, 0]),
            ("\r\nContent-Length: 2, 3\r\n\r\n", [3, 2, 0, 0]),
            ("\r\nContent-Length: 2,\r\n\r\n", [0, 2, 0, 0]),
            ("\r\nContent-Length: ,2\r\n\r\n", [2, 2, 0, 0]),
            ("\r\nContent-Length:\r\n 5\r\n\r\n", [0, 2, 0, 0]),
            (
                "\r\nContent-Length: 5\r\nTransfer-Encoding:\r\n chunked\r\n\r\n",
                [5, 1, 2, 0],
            ),
            // What would be a colon in lower case.
            ("\r\nexpect\x1a100-continue\r\n\r\n", [0, 0, 0, 0]),
        ] {
            let text = format!(" HTTP/1.1{fields}");
            let [length, has_length, chunked, expects] = expected;
            let framing = Framing {
                length,
                has_length,
                chunked,
                expects,
                event_stream: 0,
                trace: 0,
            };
            let (step, head, end) = by_bytes(text.as_bytes(), in_line());
            assert_eq!((step, head.framing, end), (Step::Done, framing, text.len()), "{text:?}");
            let turns = in_turns(text.as_bytes(), &[1000], b"x", in_line());
            assert_eq!(turns, (step, head, end), "{text:?}");
        }
    }

    #[test]
    fn a_trace_parent_is_found() {
        for (fields, place) in [
            ("\r\ntraceparent: 00-1\r\n\r\n", 24),
            ("\nTraceParent:00-1\nA: b\n\n", 22),
            (
                "\ntraceparent: 00-1bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\n\n",
                23,
            ),
            ("\r\nTraceparents: 00-1\r\ntracepar: 00\r\n\r\n", 0),
            ("\r\ntraceparent: 00-1\r", 0),
            ("\r\ntraceparent\x1a00-1\r\n\r\n", 0),
        ] {
            let text = format!(" HTTP/1.1{fields}");
            let mut framing = Framing::default();
            scan::<LINES, true>(&buffer(text.as_bytes(), b"\n"), &mut framing, 0, text.len());
            assert_eq!(framing.trace, place, "{text:?}");
            // The same at the start of a piece.
            let line = text.split_once('\n').unwrap().1;
            let mut reader = in_line();
            reader.go_on(&framing);
            reader.read(&buffer(line.as_bytes(), b"\n"), line.len());
            let before = (text.len() - line.len()) as u64;
            let is_whole = line.len() > TRACE_PARENT_BYTES + TRACE_PARENT;
            assert_eq!(
                reader.take_trace(),
                if is_whole { place - before } else { 0 },
                "{text:?}"
            );
            assert!(place == 0 || text[place as usize..].starts_with("00-1"));
        }
    }

    proptest! {
        /// However a head is cut, and whichever parser reads which line: it says the same, and ends at the same place.
        #[test]
        fn turns_equal_bytes(
            start in prop_oneof!["HTTP/1\\.[01] [1-5][0-9]{2} [a-zA-Z ]{0,12}", Just(" HTTP/1.1".to_owned())],
            fields in fields(),
            pieces in prop::collection::vec(prop_oneof![1usize..30, 1usize..9000], 1..9),
            cut in 0usize..9000,
            behind in prop::collection::vec(any::<u8>(), 1..40),
        ) {
            let text = format!("{start}{fields}HTTP/1.1 200 OK\r\n");
            let text = &text.as_bytes()[..cut.min(text.len())];
            let reader = if start.starts_with(' ') { in_line() } else { Reader::default() };
            prop_assert_eq!(in_turns(text, &pieces, &behind, reader), by_bytes(text, reader));
        }

        /// Of a head that is not there as a whole, [`scan`] takes the whole lines, and the reader goes on with the rest.
        #[test]
        fn the_reader_goes_on(fields in fields(), cut in 0usize..9000, behind in prop::collection::vec(any::<u8>(), 1..40)) {
            let text = format!(" HTTP/1.1{fields}");
            let cut = cut.min(text.len());
            let mut framing = Framing::default();
            let (stop, done) = scan::<LINES, true>(&buffer(&text.as_bytes()[..cut], &behind), &mut framing, 0, cut);
            prop_assert!(stop <= cut);
            let mut reader = in_line();
            if stop != 0 {
                reader.go_on(&framing);
            }
            let (_, head, _) = by_bytes(text.as_bytes(), in_line());
            if done {
                let framing = Framing { trace: 0, ..framing };
                prop_assert_eq!((framing, stop), (head.framing, text.len()));
            } else {
                let (step, rest, end) = by_bytes(&text.as_bytes()[stop..], reader);
                prop_assert_eq!((step, rest.framing, stop + end), (Step::Done, head.framing, text.len()));
            }
        }
    }
}
