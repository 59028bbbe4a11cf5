//! The two parsers of request lines agree with each other and with a third, and paths have the shapes they should.
//!
//! - `Reader` gives what a straightforward parser of the whole message gives: in whatever pieces the message comes, and
//!   whatever the reader has read before its `reset`.
//! - `scan` finds the line if and only if it is usual, as `Reader` finds it, whatever stands behind the message.
//! - Paths have the same shape if and only if they are the same apart from identifiers; any number is one. A path that is longer than
//!   what is kept has the shape of its start alone.
#![no_main]

mod common;

use std::{iter::repeat_with, sync::LazyLock};

use common::{Case, Random, buffer, mutate};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use regex::bytes::RegexSet;
use vigie_ebpf::{
    bytes::{BUFFER, PIECE, WINDOW, byte, through_memory},
    method,
    path::{read as read_shape, shape},
    request::{Line, PATH, Reader, scan},
    segment::Segment,
    step::Step,
};

const EXAMPLES: [&str; 6] = [
    "GET /api/produits/17?a=b HTTP/1.1\r\nHost: a.example\r\n\r\n",
    "POST /orders/123e4567-e89b-12d3-a456-426614174000/lines HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
    "\r\n\nOPTIONS * HTTP/1.0\r\n\r\n",
    "PROPFIND http://a.example/dav/0123456789abcdef HTTP/1.1\r\n\r\n",
    "DELETE /v1/V1StGXR8_Z5jdHi6B-myT/x HTTP/1.1\r\n\r\n",
    "*1\r\n$4\r\nPING\r\n",
];

#[rustfmt::skip]
const WORDS: [&str; 32] = [
    "GET ", "POST ", "PUT ", "DELETE ", "PATCH ", "HEAD ", "OPTIONS ", "CONNECT ", "UPDATEREDIRECTREF ", "GETX ", "get ",
    " HTTP/1.1\r\n", " HTTP/1.0", " HTTP/2.0", "HTTP/1.", " HTTP/1", " ", "  ", "/", "//", "?", "*", "\r\n", "\n", "\0",
    "\t", "\x7f", "http://a/", "/17", "/deadbeef1", "/01ARZ3NDEKTSV4RRFFQ69G5FAV", "-4fff-afff-",
];

/// The longest method.
const METHOD_BYTES: usize = 64;

/// What is to be found at the start of a message.
struct Expected<'a> {
    step: Step,
    /// How many bytes it takes to know.
    end: usize,
    method: &'a [u8],
    path: &'a [u8],
    /// Whether the message ends in its target or behind it.
    in_target: bool,
    /// Whether the method is the first byte, one of those that `scan` knows, and the target starts with `/`.
    usual: bool,
}

/// Reads a request line (RFC 9112, 3) from a message as a whole.
fn read(bytes: &[u8]) -> Expected<'_> {
    let mut expected = Expected {
        step: Step::More,
        end: bytes.len(),
        method: b"",
        path: b"",
        in_target: false,
        usual: false,
    };
    let bad = |expected, end| Expected {
        step: Step::Bad,
        end,
        ..expected
    };
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let Some(start) = bytes.iter().position(|byte| !b"\r\n".contains(byte)) else {
        return expected;
    };
    let length = bytes[start..].iter().take_while(|byte| is_token(byte)).count();
    expected.method = &bytes[start..start + length];
    if length > METHOD_BYTES {
        return bad(expected, start + METHOD_BYTES + 1);
    }
    let space = start + length;
    match bytes.get(space) {
        None => return expected,
        Some(b' ') if length != 0 => {}
        Some(_) => return bad(expected, space + 1),
    }
    let target = &bytes[space + 1..];
    let target_length = target.iter().take_while(|byte| **byte > b' ').count();
    expected.path = target[..target_length].split(|byte| *byte == b'?').next().unwrap();
    expected.usual = start == 0
        && method::NAMES[..6].iter().any(|name| name.as_bytes() == expected.method)
        && target.starts_with(b"/");
    if expected.path.is_empty() && !target.is_empty() {
        return bad(expected, space + 2);
    }
    let space = space + 1 + target_length;
    match bytes.get(space) {
        None => {
            expected.in_target = true;
            return expected;
        }
        Some(b' ') => {}
        Some(_) => return bad(expected, space + 1),
    }
    let version = &bytes[space + 1..];
    let matched = version
        .iter()
        .zip(b"HTTP/1.")
        .take_while(|(one, other)| one == other)
        .count();
    if matched == 7 {
        expected.step = Step::Done;
        expected.end = space + 8;
    } else if matched < version.len() {
        return bad(expected, space + 1 + matched + 1);
    } else {
        expected.in_target = true;
    }
    expected
}

fn check_reader(reader: &mut Reader, step: Step, end: usize, expected: &Expected) {
    assert_eq!((step, end), (expected.step, expected.end));
    if step == Step::More {
        assert_eq!(reader.is_fresh(), expected.method.is_empty());
        assert_eq!(reader.has_path(), expected.in_target && !expected.path.is_empty());
    }
    if step == Step::Done || reader.has_path() {
        let number = method::NAMES.iter().position(|name| name.as_bytes() == expected.method);
        assert_eq!(usize::from(reader.method()), number.map_or(0, |place| place + 1));
        assert_eq!(reader.path_length() as usize, expected.path.len());
        let kept = expected.path.len().min(PATH);
        assert_eq!(reader.path()[..kept], expected.path[..kept]);
        let mut start = read_shape(&expected.path[..kept]);
        if kept < expected.path.len() {
            start.cut();
            assert_ne!(start.finish(), shape(&expected.path[..kept]));
        }
        assert_eq!(reader.whole_shape().finish(), start.finish());
    }
}

/// As a whole, with a new reader.
fn check_whole(case: &Case) {
    let message = case.message();
    let mut reader = Reader::default();
    let (mut step, mut end) = (Step::More, 0);
    while end < message.len() && step == Step::More {
        step = reader.push(message[end]);
        end += 1;
    }
    check_reader(&mut reader, step, end, &read(message));
}

/// In pieces that come to the start of the same buffer, as in the kernel, with a reader that is used again and again.
fn check_pieces(case: &Case, buffer: &mut [u8; BUFFER]) {
    let message = case.message();
    let mut reader = Reader::default();
    // What was read before: it may have ended anywhere.
    let before = case.random.clone().below(message.len() + 1);
    for byte in &message[..before] {
        if reader.push(*byte) != Step::More {
            break;
        }
    }
    reader.reset();
    let (mut start, mut end) = (0, 0);
    let mut expected = read(message);
    for piece in case.pieces() {
        buffer[..piece.len()].copy_from_slice(piece);
        for i in 0..piece.len() {
            through_memory(&mut reader);
            let step = reader.push(byte(buffer, i));
            end += 1;
            if step != Step::More {
                check_reader(&mut reader, step, end - start, &expected);
                reader.reset();
                start = end;
                expected = read(&message[start..]);
            }
        }
    }
    check_reader(&mut reader, Step::More, end - start, &expected);
}

fn check_scan<const WINDOW: usize>(
    message: &[u8],
    buffers: &[Box<[u8; BUFFER]>],
    seed: u64,
    expected: &Expected,
) -> Option<Line> {
    let line = scan::<WINDOW>(&buffers[0], message.len(), seed);
    for buffer in &buffers[1..] {
        assert_eq!(
            scan::<WINDOW>(buffer, message.len(), seed),
            line,
            "what stands behind must not matter"
        );
    }
    let usual = expected.step == Step::Done && expected.usual && expected.end - 8 <= WINDOW;
    assert_eq!(line.is_some(), usual);
    if let Some(line) = line {
        assert_eq!(method::name(line.method as u8).as_bytes(), expected.method);
        assert_eq!(line.start, expected.method.len() + 1);
        assert_eq!(line.space, expected.end - 8);
        assert_eq!(message[line.start..line.end], *expected.path);
    }
    line
}

/// The hash depends on the path alone, and tells paths apart.
fn check_hash(path: &[u8], line: &Line, seed: u64) {
    let hash = |start: &[u8], path: &[u8], end: &[u8]| {
        let message = [start, path, end].concat();
        scan::<PIECE>(&buffer(&message, b"x"), message.len(), seed).map(|line| line.hash)
    };
    let same = hash(b"DELETE ", path, b" HTTP/1.1");
    assert!(same.is_none_or(|hash| hash == line.hash));
    assert!(same.is_some() || path.len() > PIECE - 16);
    let longer = hash(b"GET ", path, b"\x7f?x HTTP/1.0\r\n");
    assert!(longer.is_none_or(|hash| hash != line.hash));
    let mut other = path.to_vec();
    *other.last_mut().unwrap() ^= 0x80;
    let other = hash(b"PUT ", &other, b"? HTTP/1.1\n");
    assert!(other.is_none_or(|hash| hash != line.hash));
}

/// The forms of identifiers, as others write such rules down.
static FORMS: LazyLock<RegexSet> = LazyLock::new(|| {
    RegexSet::new([
        // Percent-encoded, or an e-mail address.
        r"(?s-u)^(.*%.+|.+@.+\..+)$",
        // Dates, negative numbers, coordinates.
        r"(?s-u)^([0-9]{4}-[0-9]{2}(-[0-9]{2}(T.+)?)?|-[0-9]+|[0-9.,+-]+,[0-9.,+-]+)$",
        // With a prefix.
        r"(?s-u)^[A-Za-z]{2,4}_[A-Za-z0-9]+$",
        r"(?s-u)^[A-Za-z]+_[A-Za-z0-9]+$",
        r"(?s-u)^[A-Za-z]+_v[0-9]+$",
        // The name of a file with a hash in it.
        r"(?s-u)^.+[._-][A-Za-z0-9]{8,}\..+$",
    ])
    .unwrap()
});

/// Whether a segment is an identifier, in the words of the module.
fn is_id(segment: &[u8]) -> bool {
    let length = segment.len();
    let count = |is: fn(&u8) -> bool| segment.iter().filter(|byte| is(byte)).count();
    let digits = count(u8::is_ascii_digit);
    let hex_digits = count(u8::is_ascii_hexdigit);
    let capitals = count(u8::is_ascii_uppercase);
    let dashes = count(|byte| *byte == b'-');
    let number = length != 0 && digits == length;
    let hexadecimal = length >= 8 && hex_digits == length && (1..length).contains(&digits);
    let uuid = length == 36 && hex_digits + dashes == length && dashes != 0;
    let token = (length >= 20 && digits >= 2) || length >= 48;
    let forms = FORMS.matches(segment);
    let [any, value, prefixed, long_prefixed, version, asset] = std::array::from_fn(|form| forms.matched(form));
    let prefixed = (prefixed || long_prefixed && capitals >= 1) && !version;
    let asset = asset && (digits >= 2 || capitals >= 2);
    number || hexadecimal || uuid || token || any || digits >= 1 && (value || prefixed || asset)
}

/// The segments of a path that are none but identifiers left out.
fn template(path: &[u8]) -> Vec<Option<&[u8]>> {
    path.split(|byte| *byte == b'/')
        .map(|segment| (!is_id(segment)).then_some(segment))
        .collect()
}

/// No more of a path is ever read than [`PATH`] bytes.
fn check_shapes(path: &[u8], random: &mut Random) {
    let path = &path[..path.len().min(PATH)];
    for segment in path.split(|byte| *byte == b'/') {
        let mut state = Segment::default();
        segment.iter().for_each(|byte| state.push(*byte));
        assert_eq!(state.is_id(), is_id(segment));
    }
    // Other numbers in the place of numbers.
    let mut segments: Vec<Vec<u8>> = Vec::new();
    for segment in path.split(|byte| *byte == b'/') {
        segments.push(if !segment.is_empty() && segment.iter().all(u8::is_ascii_digit) {
            let length = 1 + random.below(24);
            repeat_with(|| b'0' + random.below(10) as u8).take(length).collect()
        } else {
            segment.to_vec()
        });
    }
    assert_eq!(shape(&segments.join(&b'/')), shape(path));
    // A path that differs in one byte, or lacks it.
    let mut other = path.to_vec();
    if !other.is_empty() {
        let at = random.below(other.len());
        match random.below(8) {
            0 => drop(other.remove(at)),
            1 => other[at] = b'!' + random.below(0xff - 0x20) as u8,
            2 => other.insert(at, b'/'),
            _ => other[at] = b"/0123456789abcdefABCDEFgz-"[random.below(26)],
        }
    }
    assert_eq!(shape(&other) == shape(path), template(&other) == template(path));
}

fuzz_target!(|data: &[u8]| {
    let Some(case) = Case::new(data) else { return };
    let message = case.message();
    let mut random = case.random;
    let expected = read(message);
    check_whole(&case);
    let mut buffers = case.buffers();
    let seed = random.next();
    let line = check_scan::<WINDOW>(message, &buffers, seed, &expected);
    let far_line = check_scan::<PIECE>(message, &buffers, seed, &expected);
    assert!(line.is_none() || line == far_line);
    if let Some(line) = far_line {
        check_hash(expected.path, &line, seed);
    }
    if expected.path.is_empty() {
        // Anything but blanks may be a path.
        let path: Vec<u8> = message.iter().copied().filter(|byte| *byte > b' ').collect();
        check_shapes(&path, &mut random);
    } else {
        check_shapes(expected.path, &mut random);
    }
    check_pieces(&case, &mut buffers[0]);
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate(data, size, max_size, seed, &EXAMPLES, &WORDS)
});
