//! The two parsers of response heads agree with each other and with a third, and so do those of chunked bodies.
//!
//! - `Reader` gives what a straightforward parser of the whole message gives: in whatever pieces the message comes, and
//!   whatever the reader has read before its `start`.
//! - What `scan` finds is what `Reader` finds, whatever stands behind the message, and it finds the usual.
//! - `Chunks` gives what a straightforward decoder of the whole body gives, for pieces of any size, and for data that is
//!   skipped without ever being there.
#![no_main]

mod common;

use common::{Case, Random, mutate};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use vigie_ebpf::{
    bytes::{BUFFER, LINES, PIECE, WINDOW, byte, through_memory},
    chunked::{self, Chunks},
    head::{self, Framing, Reader},
    response::scan,
    step::Step,
};

const EXAMPLES: [&str; 9] = [
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: x\n\n\r\n",
    "HTTP/1.1 200 OK\r\nServer: a\r\nContent-Type: text/html\r\nContent-Length: 612\r\nETag: \"x\"\r\n\r\n<html>",
    "HTTP/1.1 404 Not Found\r\ncontent-length:22\r\n\r\nHTTP/1.0 200\n\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTRANSFER-ENCODING:  Chunked \r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n1\nA\n0\n\n",
    "5;a=b\r\nhello\r\n0a\r\n0123456789\r\n0\r\nX: y\r\nZ: 1\r\n\r\n",
    "fffffffffffffff\r\n\r\n1\r\n\r\n0\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
];

#[rustfmt::skip]
const WORDS: [&str; 58] = [
    "Content-Type: text/event-stream\r\n", "content-type:", "Content-Type\t", "text/event-stream", "Text/Event-Stream;",
    "text/event-strea", "; charset=utf-8\r\n", "\x0f",
    "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n",
    "Traceparent:",
    "Expect: 100-continue\r\n", "expect:100-Continue\r\n", "Expect:  100-continue", "expect: 200", "100-continue",
    "HTTP/1.1 200 OK\r\n", "HTTP/1.0 304 \n", "HTTP/1.", " 099", "HTTP/2 200", "Content-Length: ", "content-length:",
    "Content-Length", "Content-Lengths: ", "X-Content-Length: 1\r\n", "Transfer-Encoding: ", "TRANSFER-encoding:",
    "transfer-encoding", "chunked", "Chunked\r\n", "gzip, ", "x", "\r\n", "\n", "\r", "\r\n\r\n", "\n\n", ":", " ", "\t",
    "\0", "Server: nginx/1.22.1\r\n", "\r\nContent-Length: 5\r\n", "1234567", "12345678", "123456789012345678",
    "1234567890123456789", "0\r\n\r\n", "0\n\n", "5\r\nhello\r\n", "1;a=b\r\n", "0\r\nA: b\r\n\r\n", "fff", "0000000000000000",
    "ffffffffffffffff\r\n", ",", ", 17", "Content-Length: 2, 2\r\n",
];

/// What is to be found at the start of a message.
struct Expected {
    step: Step,
    /// How many bytes it takes to know.
    end: usize,
    status: u16,
    length: Option<u64>,
    chunked: bool,
    expects: bool,
    event_stream: bool,
    lines: usize,
    /// Whether the fields that matter are of the form that `scan` knows.
    usual: bool,
}

/// Reads a head (RFC 9112, 4 and 5) from a message as a whole. Of fields of one name the last one counts.
fn read(bytes: &[u8]) -> Expected {
    let mut expected = Expected {
        step: Step::More,
        end: bytes.len(),
        status: 0,
        length: None,
        chunked: false,
        expects: false,
        event_stream: false,
        lines: 0,
        usual: true,
    };
    for (i, byte) in bytes.iter().take(12).enumerate() {
        let good = match i {
            0..7 => *byte == b"HTTP/1."[i],
            7 => true,
            8 => *byte == b' ',
            9 => (b'1'..=b'9').contains(byte),
            _ => byte.is_ascii_digit(),
        };
        if !good {
            expected.step = Step::Bad;
            expected.end = i + 1;
            return expected;
        }
    }
    let mut at = bytes.len().min(12);
    let mut usual = [true; 4];
    for (i, line) in bytes[at..].split_inclusive(|byte| *byte == b'\n').enumerate() {
        at += line.len();
        let Some(line) = line.strip_suffix(b"\n") else { break };
        expected.lines += 1;
        if i == 0 {
            continue;
        }
        if line == b"" || line == b"\r" {
            expected.step = Step::Done;
            expected.end = at;
            expected.status = bytes[9..12]
                .iter()
                .fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
            break;
        }
        // A line without a colon is no field.
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if is(name, b"content-length") {
            expected.length = number(value);
            usual[0] = is_usual(value, |value| {
                (1..8).contains(&value.len()) && value.iter().all(u8::is_ascii_digit)
            });
        } else if is(name, b"transfer-encoding") {
            expected.chunked = is_chunked(value);
            usual[1] = is_usual(value, |value| value.eq_ignore_ascii_case(b"chunked"));
        } else if is(name, b"expect") {
            expected.expects = is_last(value, b"continue");
            usual[2] = is_usual(value, |value| value.eq_ignore_ascii_case(b"100-continue"));
        } else if is(name, b"content-type") {
            expected.event_stream = is_event_stream(value);
            usual[3] = is_usual(value, |value| value.first().is_some_and(|byte| *byte > b' '));
        }
    }
    expected.usual = usual == [true; 4];
    expected
}

/// Whether a field's name is `known`, in upper or lower case. This takes a carriage return for a dash: no server sends one.
fn is(name: &[u8], known: &[u8]) -> bool {
    name.len() == known.len() && name.iter().zip(known).all(|(one, other)| one | 0x20 == *other)
}

fn is_blank(byte: u8) -> bool {
    [b' ', b'\t', b'\r'].contains(&byte)
}

/// Whether a value is this media type, with something behind a blank or a semicolon or nothing.
fn is_event_stream(value: &[u8]) -> bool {
    let start = value.iter().position(|byte| !is_blank(*byte)).unwrap_or(value.len());
    let end = value[start..].iter().position(|byte| is_blank(*byte) || *byte == b';');
    let media = &value[start..end.map_or(value.len(), |end| start + end)];
    media.eq_ignore_ascii_case(b"text/event-stream")
}

/// A number of one to 18 digits, with blanks around it, or a list of such that are equal.
fn number(value: &[u8]) -> Option<u64> {
    let mut numbers = str::from_utf8(value).ok()?.split(',').map(|text| {
        let text = text.trim_matches([' ', '\t', '\r']);
        let is_number = (1..=18).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        if is_number { text.parse().ok() } else { None }
    });
    let first: u64 = numbers.next()??;
    numbers.all(|number| number == Some(first)).then_some(first)
}

/// Whether the last coding is `chunked`. Blanks do not count, and neither does what stands before it.
fn is_chunked(value: &[u8]) -> bool {
    is_last(value, b"chunked")
}

/// Whether a value ends in a word, whatever blanks are in it. As for names, upper and lower case is the sixth bit.
fn is_last(value: &[u8], word: &[u8]) -> bool {
    let visible: Vec<u8> = value
        .iter()
        .filter(|byte| **byte > b' ')
        .map(|byte| byte | 0x20)
        .collect();
    visible.ends_with(word)
}

/// Whether a value has the usual space before it or none, and nothing behind it.
fn is_usual(value: &[u8], is: impl Fn(&[u8]) -> bool) -> bool {
    let value = value.strip_prefix(b" ").unwrap_or(value);
    is(value.strip_suffix(b"\r").unwrap_or(value))
}

fn check_reader(reader: &Reader, end: usize, expected: &Expected) {
    assert_eq!((reader.step(), end), (expected.step, expected.end));
    if expected.step == Step::Done {
        let head = reader.head();
        let framing = &head.framing;
        assert_eq!(head.status, u64::from(expected.status));
        assert_eq!((framing.has_length == 1).then_some(framing.length), expected.length);
        assert_eq!(framing.chunked == 1, expected.chunked);
        assert_eq!(framing.expects != 0, expected.expects);
        assert_eq!(framing.event_stream != 0, expected.event_stream);
    }
}

/// As a whole, with a new reader, which is returned.
fn check_whole(message: &[u8], expected: &Expected) -> Reader {
    let mut reader = Reader::default();
    let mut end = 0;
    for byte in message {
        end += 1;
        if reader.push(*byte) {
            break;
        }
    }
    check_reader(&reader, end, expected);
    reader
}

/// In pieces that come to the start of the same buffer, as in the kernel, with a reader that is used again and again.
fn check_pieces(case: &Case, buffer: &mut [u8; BUFFER]) {
    let message = case.message();
    let mut reader = Reader::default();
    // What was read before: it may have ended anywhere.
    let before = case.random.clone().below(message.len() + 1);
    let _ = message[..before].iter().any(|byte| reader.push(*byte));
    reader.start();
    let (mut start, mut end) = (0, 0);
    let mut expected = read(message);
    for piece in case.pieces() {
        buffer[..piece.len()].copy_from_slice(piece);
        for i in 0..piece.len() {
            through_memory(&mut reader);
            end += 1;
            let ended = reader.push(byte(buffer, i));
            assert_eq!(ended, reader.step() != Step::More);
            if ended {
                check_reader(&reader, end - start, &expected);
                reader.start();
                start = end;
                expected = read(&message[start..]);
            }
        }
    }
    check_reader(&reader, end - start, &expected);
}

fn check_scan<const WINDOW: usize>(
    message: &[u8],
    buffers: &[Box<[u8; BUFFER]>],
    reader: &Reader,
    expected: &Expected,
) {
    let found = scan::<WINDOW>(&buffers[0], message.len());
    for buffer in &buffers[1..] {
        assert_eq!(
            scan::<WINDOW>(buffer, message.len()),
            found,
            "what stands behind must not matter"
        );
    }
    if let Some((head, end)) = found {
        assert_eq!((Step::Done, expected.end), (expected.step, end));
        assert_eq!(head, *reader.head());
    } else {
        // A turn for two words and one more for each line.
        let turns = expected.end / 16 + expected.lines;
        let fits = turns <= WINDOW / 16 + WINDOW / 16;
        assert!(
            expected.step != Step::Done || !expected.usual || !fits,
            "the usual head is never left to the reader"
        );
    }
}

/// As the kernel does it: byte by byte up to the end of a line, then lines as a whole, and so on.
fn check_turns(case: &Case, buffer: &mut [u8; BUFFER], expected: &Expected) {
    let mut reader = Reader::default();
    let mut end = 0;
    for mut piece in case.pieces() {
        while !piece.is_empty() && reader.step() == Step::More {
            let length = piece.len().min(PIECE);
            buffer[..length].copy_from_slice(&piece[..length]);
            let taken = reader.take(
                length,
                |reader| reader.read(buffer, length),
                |framing: &mut Framing, from| head::scan::<LINES, true>(buffer, framing, from, length),
            );
            assert!(taken > 0 && taken <= length);
            let trace = reader.take_trace() as usize;
            if trace != 0 {
                let before = String::from_utf8_lossy(&buffer[..trace]).to_ascii_lowercase();
                let name = before.strip_suffix(' ').unwrap_or(&before);
                assert!(name.ends_with("traceparent:"), "{name:?}");
                assert!(trace < length);
            }
            piece = &piece[taken..];
            end += taken;
        }
    }
    check_reader(&reader, end, expected);
}

/// What became of a chunked body.
#[derive(Debug, PartialEq)]
struct Body {
    step: chunked::Step,
    end: usize,
    /// How much data there was of each chunk.
    data: Vec<u64>,
}

/// Decodes a chunked body (RFC 9112, 7.1) as a whole. If `elided`, its bytes are the framing alone.
///
/// Lenient as `Chunks` is: anything but a digit starts an extension, a line feed ends a line, with any number of carriage
/// returns before it where the line is empty.
fn decode(body: &[u8], elided: bool) -> Body {
    let mut data = Vec::new();
    let (step, end) = decode_to(body, elided, &mut data);
    Body { step, end, data }
}

fn decode_to(body: &[u8], elided: bool, data: &mut Vec<u64>) -> (chunked::Step, usize) {
    use chunked::Step;
    let line = |at: usize| {
        body[at..]
            .iter()
            .position(|byte| *byte == b'\n')
            .map(|length| &body[at..at + length])
    };
    let mut at = 0;
    loop {
        let mut size = 0u64;
        let mut digits = 0;
        while let Some(digit) = body.get(at).and_then(|byte| char::from(*byte).to_digit(16)) {
            at += 1;
            digits += 1;
            // Sizes end at 2^60.
            if size >= 1 << 56 {
                return (Step::Bad, at);
            }
            size = size * 16 + u64::from(digit);
        }
        if digits == 0 && at < body.len() {
            return (Step::Bad, at + 1);
        }
        let Some(extension) = line(at) else {
            return (Step::Framing, body.len());
        };
        at += extension.len() + 1;
        if size == 0 {
            break;
        }
        if elided {
            data.push(size);
        } else {
            let there = size.min((body.len() - at) as u64);
            data.push(there);
            at += there as usize;
            if there < size {
                return (Step::Data, at);
            }
        }
        at += body[at..].iter().take_while(|byte| **byte == b'\r').count();
        match body.get(at) {
            None => return (Step::Framing, at),
            Some(b'\n') => at += 1,
            Some(_) => return (Step::Bad, at + 1),
        }
    }
    while let Some(field) = line(at) {
        at += field.len() + 1;
        if field.iter().all(|byte| *byte == b'\r') {
            return (Step::Done, at);
        }
    }
    (Step::Framing, body.len())
}

/// In pieces, each of which ends the data, the framing or nothing.
fn check_body(body: &[u8], random: &mut Random) {
    let most = 1 + random.below(64);
    let mut chunks = Chunks::default();
    let (mut at, mut data) = (0, Vec::new());
    'body: while at < body.len() {
        let end = body.len().min(at + 1 + random.below(most));
        while at < end {
            let skipped = chunks.skip((end - at) as u64);
            assert!(skipped <= (end - at) as u64);
            at += skipped as usize;
            if skipped != 0 {
                *data.last_mut().unwrap() += skipped;
            }
            if at == end {
                break;
            }
            through_memory(&mut chunks);
            let ended = chunks.push(body[at]);
            at += 1;
            assert_eq!(ended, chunks.step() != chunked::Step::Framing);
            match chunks.step() {
                chunked::Step::Framing => {}
                chunked::Step::Data => data.push(0),
                chunked::Step::Done | chunked::Step::Bad => break 'body,
            }
        }
    }
    let step = chunks.step();
    assert_eq!(Body { step, end: at, data }, decode(body, false));
}

/// The framing comes byte by byte, and the data, of which there may be 2^60 bytes, is skipped in steps of any size.
fn check_framing(framing: &[u8], random: &mut Random) {
    let mut chunks = Chunks::default();
    let (mut at, mut data) = (0, Vec::new());
    for byte in framing {
        assert_eq!(chunks.skip(random.next()), 0, "no data without a chunk");
        at += 1;
        if !chunks.push(*byte) {
            continue;
        }
        if chunks.step() != chunked::Step::Data {
            break;
        }
        let mut size = 0;
        for i in 0.. {
            let shift = random.below(64);
            let available = if i < 8 { random.next() >> shift } else { u64::MAX };
            let skipped = chunks.skip(available);
            size += skipped;
            if chunks.step() != chunked::Step::Data {
                assert!(skipped <= available);
                break;
            }
            assert_eq!(skipped, available);
        }
        data.push(size);
    }
    let step = chunks.step();
    assert_eq!(Body { step, end: at, data }, decode(framing, true));
}

fuzz_target!(|data: &[u8]| {
    let Some(case) = Case::new(data) else { return };
    let message = case.message();
    let mut random = case.random;
    let expected = read(message);
    let reader = check_whole(message, &expected);
    let mut buffers = case.buffers();
    check_scan::<WINDOW>(message, &buffers, &reader, &expected);
    check_scan::<PIECE>(message, &buffers, &reader, &expected);
    check_pieces(&case, &mut buffers[0]);
    check_turns(&case, &mut buffers[0], &expected);
    // Without a head before it, the message may still be a body.
    let body = if expected.step == Step::Done {
        &message[expected.end..]
    } else {
        message
    };
    check_body(body, &mut random);
    check_framing(body, &mut random);
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate(data, size, max_size, seed, &EXAMPLES, &WORDS)
});
