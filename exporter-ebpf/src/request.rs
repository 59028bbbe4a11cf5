//! From bytes to a request line (RFC 9112, 3).
//!
//! Two parsers that agree. [`scan`] sees the usual request, `GET /path?query HTTP/1.1` in one piece, eight bytes at a
//! time, and gives up on anything else. [`Reader`] takes bytes one by one, in whatever pieces they arrive, and knows the
//! rest: any method, any target, empty lines before the request. A property test holds them equal.

use crate::{
    bytes::{BUFFER, blank_bytes, equal_bytes, finish, first, forget, keep, mix, word},
    method::{NAMELESS, Packed},
    path::Shape,
    preface::looks,
    step::{Step, read_bytes},
};

/// How much of a path is kept for user space, in bytes.
pub const PATH: usize = 512;

/// `HTTP/1.`, little-endian.
const VERSION: u64 = u64::from_le_bytes(*b"HTTP/1.\0");
const VERSION_BYTES: usize = 7;

/// A request line that was found in the buffer.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// A hash of the raw path.
    pub hash: u64,
    /// Where the path starts.
    pub start: usize,
    /// Where it ends: at the space or the `?`.
    pub end: usize,
    /// Where the space before the version is.
    pub space: usize,
    /// The method's number, see [`crate::method`].
    pub method: u64,
}

/// Finds the request line of a usual request in the first `WINDOW` bytes of the buffer.
///
/// `length` is how many bytes of the buffer are the message's; behind them may be anything. `None` does not mean that
/// this is no request: only [`Reader`] can say that.
#[inline(always)]
pub fn scan<const WINDOW: usize>(buffer: &[u8; BUFFER], length: usize, seed: u64) -> Option<Line> {
    let head = word(buffer, 0);
    // The methods' numbers are their places in method::NAMES, plus one. A test holds them together.
    let (method, start) = if head as u32 == u32::from_le_bytes(*b"GET ") {
        (1usize, 4usize)
    } else if head & 0xff_ffff_ffff == u64::from_le_bytes(*b"POST \0\0\0") {
        (2, 5)
    } else if head as u32 == u32::from_le_bytes(*b"PUT ") {
        (3, 4)
    } else if head & 0xff_ffff_ffff_ffff == u64::from_le_bytes(*b"DELETE \0") {
        (4, 7)
    } else if head & 0xffff_ffff_ffff == u64::from_le_bytes(*b"PATCH \0\0") {
        (5, 6)
    } else if head & 0xff_ffff_ffff == u64::from_le_bytes(*b"HEAD \0\0\0") {
        (6, 5)
    } else {
        return None;
    };
    let (method, start) = (forget(buffer, method) as u64, forget(buffer, start));
    let mut hash = seed;
    let mut at = start;
    let mut target = word(buffer, at);
    if target as u8 != b'/' {
        return None;
    }
    let mut i = 0;
    let (end, question) = loop {
        let blank = blank_bytes(target);
        let question = equal_bytes(target, b'?');
        let stop = blank | question;
        if stop != 0 {
            let place = first(stop);
            hash = mix(hash, keep(target, place));
            // Of the two masks, the one with the lower first byte is the one that stopped.
            break (forget(buffer, at + place), question & (stop & stop.wrapping_neg()) != 0);
        }
        hash = mix(hash, target);
        at += 8;
        i += 1;
        if i >= WINDOW / 8 {
            return None;
        }
        target = word(buffer, at);
    };
    hash = finish(mix(hash, (end - start) as u64));
    let mut space = end;
    if question {
        let mut at = end;
        let mut i = 0;
        space = loop {
            let blank = blank_bytes(word(buffer, at));
            if blank != 0 {
                break forget(buffer, at + first(blank));
            }
            at += 8;
            i += 1;
            if i >= WINDOW / 8 {
                return None;
            }
        };
    }
    if space + 1 + VERSION_BYTES > length || space > WINDOW {
        return None;
    }
    // The space and the version in one word.
    if word(buffer, space) != (VERSION << 8) | b' ' as u64 {
        return None;
    }
    Some(Line {
        method,
        start,
        end,
        space,
        hash,
    })
}

/// The longest method, in bytes: what is longer is no HTTP.
const METHOD_BYTES: u32 = 64;

/// Where in the line the reader is.
const METHOD: u8 = 0;
const TARGET: u8 = 1;
const QUERY: u8 = 2;
const HTTP: u8 = 3;

/// The request line while it is read, byte by byte. All zero is the start.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader {
    stage: u8,
    matched: u8,
    reserved: [u8; 2],
    /// The path's length in bytes; [`PATH`] of them are kept.
    path_length: u32,
    method: Packed,
    shape: Shape,
    path: [u8; PATH],
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            stage: METHOD,
            matched: 0,
            reserved: [0; 2],
            path_length: 0,
            method: Packed::default(),
            shape: Shape::default(),
            path: [0; PATH],
        }
    }
}

/// Whether a byte may stand in a token (RFC 9110, 5.6.2).
#[inline(always)]
fn is_token(byte: u8) -> bool {
    const OTHERS: [u64; 2] = {
        let mut set = [0u64; 2];
        let characters = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let mut i = 0;
        while i < characters.len() {
            set[(characters[i] >> 6) as usize] |= 1 << (characters[i] & 63);
            i += 1;
        }
        set
    };
    let set = if byte & 0x40 == 0 { OTHERS[0] } else { OTHERS[1] };
    byte < 0x80 && (set >> (byte & 63)) & 1 == 1
}

// === impl Reader ===

impl Reader {
    /// Starts over for the next request.
    #[inline(always)]
    pub fn reset(&mut self) {
        self.stage = METHOD;
        self.matched = 0;
        self.path_length = 0;
        self.method = Packed::default();
    }

    /// Whether no byte of a request was read yet (empty lines do not count).
    #[inline(always)]
    pub fn is_fresh(&self) -> bool {
        self.stage == METHOD && self.method.length() == 0
    }

    /// Takes the next byte. After `Done` or `Bad`, [`Reader::reset`] comes next.
    #[inline(always)]
    pub fn push(&mut self, byte: u8) -> Step {
        match self.stage {
            METHOD => {
                if byte == b' ' {
                    if self.method.length() == 0 {
                        return Step::Bad;
                    }
                    self.stage = TARGET;
                    self.shape.clear();
                } else if is_token(byte) && self.method.length() < METHOD_BYTES {
                    self.method.push(byte);
                } else if self.method.length() != 0 || (byte != b'\r' && byte != b'\n') {
                    // Empty lines before a request line are to be ignored (RFC 9112, 2.2).
                    return Step::Bad;
                }
                Step::More
            }
            TARGET if byte == b'?' => {
                self.stage = QUERY;
                if self.path_length == 0 { Step::Bad } else { Step::More }
            }
            TARGET if byte > b' ' => {
                let at = self.path_length;
                if at < PATH as u32 {
                    self.shape.push(byte);
                    // SAFETY: the place is below PATH. The mask tells the verifier what the comparison told us.
                    unsafe { *self.path.as_mut_ptr().add(at as usize & (PATH - 1)) = byte };
                }
                self.path_length = at.saturating_add(1);
                Step::More
            }
            TARGET | QUERY => {
                if byte == b' ' {
                    if self.path_length == 0 {
                        return Step::Bad;
                    }
                    self.stage = HTTP;
                    Step::More
                } else if byte < b' ' {
                    Step::Bad
                } else {
                    Step::More
                }
            }
            _ => {
                if byte != (VERSION >> ((self.matched & 7) * 8)) as u8 {
                    return Step::Bad;
                }
                self.matched += 1;
                if self.matched as usize == VERSION_BYTES {
                    Step::Done
                } else {
                    Step::More
                }
            }
        }
    }

    /// Takes bytes of the buffer, up to `length` and [`BYTEWISE`](crate::bytes::BYTEWISE), and says how many it were, and what the last one led to.
    #[inline(always)]
    pub fn read(&mut self, buffer: &[u8; BUFFER], length: usize) -> (usize, Step) {
        read_bytes(self, buffer, length, Self::push)
    }

    /// Whether the method was read, and the path at least in part.
    #[inline(always)]
    pub fn has_path(&self) -> bool {
        self.stage != METHOD && self.path_length != 0
    }

    /// What it is that is no request line, of which `last` was the last byte: one of [`looks`], after `Bad`.
    #[inline(always)]
    pub fn looks(&self, last: u8) -> u8 {
        if self.is_fresh() {
            return match last {
                0x16 => looks::TLS,
                // Empty lines and a zero byte.
                0 => looks::PROXY,
                _ => looks::OTHER,
            };
        }
        if self.stage == METHOD {
            return looks::OTHER;
        }
        if self.method.is(b"PROXY") {
            return looks::PROXY;
        }
        if self.method.is(b"PRI") {
            return looks::HTTP2;
        }
        let ends = last == b'\r' || last == b'\n';
        if ends && self.path_length != 0 && self.path[0] == b'/' && self.matched == 0 {
            return looks::HTTP09;
        }
        looks::OTHER
    }

    /// The method's number, if the method was read to its end.
    #[inline(always)]
    pub fn method_if_read(&self) -> u8 {
        if self.stage == METHOD { NAMELESS } else { self.method() }
    }

    /// The method's number, after `Done`.
    #[inline(always)]
    pub fn method(&self) -> u8 {
        self.method.number()
    }

    /// The path's shape, after `Done`: that of its start, if it is longer than [`PATH`].
    #[inline(always)]
    pub fn whole_shape(&mut self) -> &mut Shape {
        if self.path_length > PATH as u32 {
            self.shape.cut();
        }
        &mut self.shape
    }

    /// The kept bytes of the path.
    #[inline(always)]
    pub fn path(&self) -> &[u8; PATH] {
        &self.path
    }

    /// The path's whole length in bytes, of which [`PATH`] are kept.
    #[inline(always)]
    pub fn path_length(&self) -> u32 {
        self.path_length
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        bytes::{WINDOW, buffer},
        method,
        path::shape,
    };

    fn read(bytes: &[u8]) -> (Step, Reader) {
        let mut reader = Reader::default();
        for byte in bytes {
            match reader.push(*byte) {
                Step::More => {}
                step => return (step, reader),
            }
        }
        (Step::More, reader)
    }

    fn both(text: &str) -> (Option<Line>, Step, Reader) {
        let (step, reader) = read(text.as_bytes());
        (
            scan::<WINDOW>(&buffer(text.as_bytes(), b" "), text.len(), 1),
            step,
            reader,
        )
    }

    #[test]
    fn the_usual_request() {
        for (i, name) in method::NAMES.iter().enumerate().take(6) {
            let (line, step, mut reader) = both(&format!("{name} /api/produits/17?a=b HTTP/1.1\r\nHost: a\r\n\r\n"));
            let line = line.expect("fast");
            assert_eq!((step, reader.method()), (Step::Done, i as u8 + 1));
            assert_eq!(line.method, i as u64 + 1);
            assert_eq!(line.end - line.start, "/api/produits/17".len());
            assert_eq!(&reader.path()[..reader.path_length() as usize], b"/api/produits/17");
            assert_eq!(reader.whole_shape().finish(), shape(b"/api/produits/4"));
        }
    }

    #[test]
    fn what_only_the_reader_takes() {
        for (text, method, path) in [
            ("OPTIONS * HTTP/1.1\r\n", "OPTIONS", "*"),
            ("\r\n\nGET / HTTP/1.0\r\n", "GET", "/"),
            ("PROPFIND /dav HTTP/1.1", "PROPFIND", "/dav"),
            ("CONNECT a.example:443 HTTP/1.1", "CONNECT", "a.example:443"),
            ("GET http://a.example/b HTTP/1.1", "GET", "http://a.example/b"),
            ("BREW /pot HTTP/1.1", method::OTHER, "/pot"),
        ] {
            let (line, step, reader) = both(text);
            assert_eq!((line, step), (None, Step::Done), "{text}");
            assert_eq!(method::name(reader.method()), method);
            assert_eq!(&reader.path()[..reader.path_length() as usize], path.as_bytes());
        }
    }

    #[test]
    fn what_is_no_request() {
        for text in [
            "get key1\r\n",
            "get /a /b\r\n",
            "GET /\r\n",
            "HTTP/1.1 200 OK\r\n",
            "\x16\x03\x01\x02\x00\x01\x00\x01",
            "*1\r\n$4\r\nPING\r\n",
            "GET  / HTTP/1.1\r\n",
            "GET / HTTP/2.0\r\n",
            " GET / HTTP/1.1",
            "SSH-2.0-OpenSSH_9.2\r\n",
            "GET ?a HTTP/1.1",
            "PRI * HTTP/2.0\r\n",
        ] {
            let (line, step, _) = both(text);
            assert_eq!((line, step), (None, Step::Bad), "{text}");
        }
    }

    #[test]
    fn a_stale_end_is_not_believed() {
        let text = b"GET /a";
        assert_eq!(scan::<WINDOW>(&buffer(text, b" HTTP/1.1\r\n"), text.len(), 1), None);
        let text = b"GET /a HTTP/1";
        assert_eq!(scan::<WINDOW>(&buffer(text, b".1"), text.len(), 1), None);
    }

    #[test]
    fn a_long_path_is_counted_whole_and_kept_in_part() {
        let path = format!("/{}/1", "x".repeat(8000));
        let (step, mut reader) = read(format!("GET {path} HTTP/1.1").as_bytes());
        assert_eq!((step, reader.path_length()), (Step::Done, 8003));
        assert_eq!(&reader.path()[..], &path.as_bytes()[..PATH]);
        // Neither that of the whole path nor that of a path that is as its start.
        let mut start = crate::path::read(&path.as_bytes()[..PATH]);
        start.cut();
        assert_eq!(reader.whole_shape().finish(), start.finish());
        for other in [path.as_bytes(), &path.as_bytes()[..PATH]] {
            assert_ne!(start.finish(), shape(other));
        }
        // Its levels do not collapse.
        assert_eq!(start.close(), start.collapse(|_| true));
    }

    proptest! {
        /// The two parsers agree, whatever stands behind the message, and in whatever pieces the reader gets it.
        #[test]
        fn scan_equals_reader(
            method in prop_oneof![3 => "(GET|POST|PUT|DELETE|PATCH|HEAD)", 1 => "[A-Z]{0,9}"],
            path in prop_oneof![3 => "/[a-z0-9/_-]{0,40}", 1 => "[ -~]{0,30}", 1 => "/[a-z]{400,500}"],
            query in prop_oneof![Just(String::new()), "\\?[ -~]{0,40}".boxed()],
            version in prop_oneof![4 => "HTTP/1\\.[01]\r\n", 1 => "[ -~]{0,9}"],
            cut in 0usize..700,
            behind in prop::collection::vec(any::<u8>(), 1..40),
            seed: u64,
        ) {
            let text = format!("{method} {path}{query} {version}");
            let text = &text.as_bytes()[..cut.min(text.len())];
            let (step, mut reader) = read(text);
            if let Some(line) = scan::<WINDOW>(&buffer(text, &behind), text.len(), seed) {
                let path = &text[line.start..line.end];
                prop_assert_eq!(step, Step::Done);
                prop_assert_eq!(line.method, u64::from(reader.method()));
                prop_assert_eq!(path, &reader.path()[..reader.path_length() as usize]);
                prop_assert_eq!(shape(path), reader.whole_shape().finish());
            }
        }

        /// The usual request is never left to the slow parser, and its hash tells paths apart.
        #[test]
        fn scan_takes_the_usual(path in "/[a-zA-Z0-9/_.%-]{0,200}", other in "/[a-z0-9/]{0,60}", query in "(\\?[a-z=&%0-9]{0,200})?", seed: u64) {
            let line = |path: &str| {
                let text = format!("GET {path}{query} HTTP/1.1\r\n");
                scan::<WINDOW>(&buffer(text.as_bytes(), b"\xff"), text.len(), seed)
            };
            let (one, two) = (line(&path).expect("fast"), line(&other).expect("fast"));
            prop_assert_eq!(path == other, one.hash == two.hash);
        }

        #[test]
        fn bytes_of_any_kind_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..800), length in 0usize..5000) {
            let _ = scan::<WINDOW>(&buffer(&bytes, b"\0"), length, 0);
            let _ = read(&bytes);
        }
    }
}
