//! What a connection may begin with, before its first request or instead of one.
//!
//! A proxy can send whose connection it passes on in front of the first byte: the PROXY protocol, versions 1 and 2
//! (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>, 2.1 and 2.2). It says nothing of requests, and is skipped.
//!
//! The reader of request lines sees the first bytes first: it finds a header of version 1 to be a request of a method `PROXY` whose version
//! is wrong, and one of version 2 to be empty lines and a zero byte. [`Reader`] takes over there.

use crate::{
    bytes::BUFFER,
    step::{Step, read_bytes},
};

/// What bytes that are no request look like: an index of [`NAMES`].
pub mod looks {
    /// Nothing that is known.
    pub const OTHER: u8 = 0;
    /// A record of TLS (RFC 8446, 5.1).
    pub const TLS: u8 = 1;
    /// The preface of HTTP/2 (RFC 9113, 3.4).
    pub const HTTP2: u8 = 2;
    /// A header of the PROXY protocol that is not valid, or the second one.
    pub const PROXY: u8 = 3;
    /// A request of HTTP/0.9, whose answer has no status: it can be told from nothing.
    pub const HTTP09: u8 = 4;
}

/// The names of what may be counted, label values.
pub const NAMES: [&str; 4] = ["other", "tls", "http2", "proxy"];

/// The end of a header's first line of version 1, with which it has 107 bytes at the most.
const LINE_BYTES: u16 = 107;
/// What is left of the signature of version 2 behind its zero byte.
const SIGNATURE: [u8; 8] = *b"\r\nQUIT\n\0";

// The states.
const NONE: u8 = 0;
const LINE: u8 = 1;
const SIGNED: u8 = 2;
const COMMAND: u8 = 3;
const FAMILY: u8 = 4;
const LENGTH_HIGH: u8 = 5;
const LENGTH_LOW: u8 = 6;
const REST: u8 = 7;
/// There was one: another one is none.
const OVER: u8 = 8;

/// The header of a proxy while it is read, in whatever pieces it comes. All zero is the start of a connection.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reader {
    state: u8,
    reserved: u8,
    /// How many bytes of the line or of the signature were taken, or how many are left of the rest.
    count: u16,
}

// === impl Reader ===

impl Reader {
    /// The line reader has stopped behind the `length`th byte of a connection, which is `last`, at what may be a header of version 1
    /// or 2. `Bad`: there was one before.
    #[inline(always)]
    pub fn begin(&mut self, is_line: bool, last: u8, length: u64) -> Step {
        if self.state != NONE {
            return Step::Bad;
        }
        if !is_line {
            self.state = SIGNED;
            self.count = 0;
            return Step::More;
        }
        self.state = LINE;
        self.count = if length < LINE_BYTES as u64 {
            length as u16
        } else {
            LINE_BYTES
        };
        self.line(last)
    }

    /// What it is that is no header, after `Bad`: one of [`looks`].
    #[inline(always)]
    pub fn looks(&self) -> u8 {
        if self.state == SIGNED {
            looks::OTHER
        } else {
            looks::PROXY
        }
    }

    /// Whether it is in the middle of a header.
    #[inline(always)]
    pub fn is_inside(&self) -> bool {
        self.state != NONE && self.state != OVER
    }

    /// Takes up to `count` bytes that need not be looked at, and says how many it were.
    #[inline(always)]
    pub fn skip(&mut self, count: u64) -> u64 {
        if self.state != REST {
            return 0;
        }
        let left = self.count as u64;
        let taken = if count < left { count } else { left };
        self.count = (left - taken) as u16;
        if self.count == 0 {
            self.state = OVER;
        }
        taken
    }

    /// Takes the next byte. `Done`: the header ends with it, or all that is to be looked at.
    #[inline(always)]
    pub fn push(&mut self, byte: u8) -> Step {
        match self.state {
            LINE => {
                self.count += 1;
                self.line(byte)
            }
            SIGNED => {
                if byte != SIGNATURE[self.count as usize & 7] {
                    return Step::Bad;
                }
                self.count += 1;
                if self.count == 7 {
                    self.state = COMMAND;
                }
                Step::More
            }
            COMMAND => {
                self.state = FAMILY;
                // Version 2, for the proxy itself or for another.
                if byte == 0x20 || byte == 0x21 {
                    Step::More
                } else {
                    Step::Bad
                }
            }
            FAMILY => {
                self.state = LENGTH_HIGH;
                Step::More
            }
            LENGTH_HIGH => {
                self.state = LENGTH_LOW;
                self.count = (byte as u16) << 8;
                Step::More
            }
            LENGTH_LOW => {
                self.count |= byte as u16;
                self.state = if self.count == 0 { OVER } else { REST };
                Step::Done
            }
            _ => Step::Bad,
        }
    }

    #[inline(always)]
    fn line(&mut self, byte: u8) -> Step {
        if byte == b'\n' {
            self.state = OVER;
            Step::Done
        } else if self.count >= LINE_BYTES {
            Step::Bad
        } else {
            Step::More
        }
    }

    /// Takes bytes of the buffer, up to `length` and [`BYTEWISE`](crate::bytes::BYTEWISE), and says how many it were, and what the last one led to.
    #[inline(always)]
    pub fn read(&mut self, buffer: &[u8; BUFFER], length: usize) -> (usize, Step) {
        read_bytes(self, buffer, length, Self::push)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::request;

    /// What becomes of a connection's first bytes: where the header ends, or what they look like, or neither yet.
    #[derive(Debug, PartialEq)]
    enum Found {
        Header(usize),
        Looks(u8),
        More,
    }

    /// As the kernel does it: the reader of lines sees them first.
    fn read(bytes: &[u8], skips: &[u64]) -> Found {
        let mut line = request::Reader::default();
        let mut preface = Reader::default();
        let mut skips = skips.iter().cycle();
        let mut at = 0;
        loop {
            let Some(byte) = bytes.get(at) else { return Found::More };
            at += 1;
            match line.push(*byte) {
                Step::More => continue,
                Step::Done => return Found::Header(0),
                Step::Bad => {}
            }
            let looks = line.looks(*byte);
            if looks != looks::PROXY || preface.begin(!line.is_fresh(), *byte, at as u64) == Step::Bad {
                return Found::Looks(looks);
            }
            break;
        }
        while preface.is_inside() {
            let left = bytes.len() - at;
            let skipped = preface.skip((*skips.next().unwrap()).min(left as u64)) as usize;
            at += skipped;
            if skipped == 0 {
                let Some(byte) = bytes.get(at) else { return Found::More };
                at += 1;
                if preface.push(*byte) == Step::Bad {
                    return Found::Looks(preface.looks());
                }
            }
        }
        Found::Header(at)
    }

    const SIGNED: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

    #[test]
    fn headers_end_where_they_say() {
        for header in [
            &b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"[..],
            b"PROXY TCP6 fe80::1 ::1 56324 443\r\n",
            b"PROXY UNKNOWN\r\n",
            b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n",
            // LOCAL, and nothing more.
            &[SIGNED, b"\x20\0\0\0"].concat(),
            &[SIGNED, b"\x21\x11\0\x0c", &[7; 12]].concat(),
            // A unix socket, and as long as it can be.
            &[SIGNED, b"\x21\x31\0\xd8", &[0; 216]].concat(),
            &[SIGNED, b"\x21\x21\xff\xff", &[b'\n'; 65_535]].concat(),
        ] {
            let bytes = [header, b"GET / HTTP/1.1\r\n"].concat();
            for skips in [&[u64::MAX][..], &[1], &[2, 3, 1000]] {
                assert_eq!(
                    read(&bytes, skips),
                    Found::Header(header.len()),
                    "{} bytes",
                    header.len()
                );
            }
            for cut in (1..header.len()).step_by(1 + header.len() / 300) {
                assert_eq!(
                    read(&bytes[..cut], &[u64::MAX]),
                    Found::More,
                    "{cut} of {} bytes",
                    header.len()
                );
            }
        }
    }

    #[test]
    fn what_is_no_header_looks_like_something() {
        let endless = [&b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2"[..], &[b' '; 100], b"\r\n"].concat();
        for (bytes, looks) in [
            (&b"\x16\x03\x01\x02\0"[..], looks::TLS),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", looks::HTTP2),
            (b"GET /a\r\n", looks::HTTP09),
            (b"GET /a?b\n", looks::HTTP09),
            (b"get key\r\n", looks::OTHER),
            (b"hello\r\n", looks::OTHER),
            (b"*1\r\n$4\r\nPING\r\n", looks::OTHER),
            (b"\0\0\0\x08\x04\xd2\x16\x2f", looks::OTHER),
            (b"\r\n\r\n\0\r\nQUIX\n", looks::OTHER),
            (&[SIGNED, b"\x31"].concat(), looks::PROXY),
            (&[SIGNED, b"\x22"].concat(), looks::PROXY),
            (&endless, looks::PROXY),
        ] {
            assert_eq!(read(bytes, &[u64::MAX]), Found::Looks(looks), "{bytes:?}");
        }
    }

    #[test]
    fn there_is_one_header() {
        let mut reader = Reader::default();
        assert_eq!(reader.begin(true, b'\n', 15), Step::Done);
        assert!(!reader.is_inside());
        assert_eq!(reader.begin(true, b'1', 12), Step::Bad);
        assert_eq!(reader.begin(false, 0, 5), Step::Bad);
    }

    proptest! {
        /// A body that looks like a header is never seen by this: whatever comes, no more is skipped than the header says.
        #[test]
        fn no_more_is_skipped(length: u16, skips in prop::collection::vec(1u64..100_000, 1..9)) {
            let [high, low] = length.to_be_bytes();
            let header = [SIGNED, &[0x21, 0x11, high, low], &vec![9; usize::from(length)]].concat();
            let bytes = [&header, SIGNED].concat();
            prop_assert_eq!(read(&bytes, &skips), Found::Header(header.len()));
        }
    }
}
