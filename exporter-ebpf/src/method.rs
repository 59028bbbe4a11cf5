//! Request methods, as one byte.
//!
//! RFC 9110 (9.1) lets a method be any token, so a client can invent as many as it likes. A label must not take that
//! many values: the methods that are registered or widely deployed keep their name, every other valid token is counted
//! as [`OTHER`], the name that OpenTelemetry's semantic conventions use.

use crate::bytes::{equal, select};

/// The name of every valid token that has no entry of its own.
pub const OTHER: &str = "_OTHER";
/// The number of that.
pub const NAMELESS: u8 = 0;

/// The methods with a name of their own. A method's number is its place here plus one; 0 is [`OTHER`].
///
/// Source: the IANA HTTP Method Registry, and `PURGE` as caches know it.
pub const NAMES: [&str; 41] = [
    "GET",
    "POST",
    "PUT",
    "DELETE",
    "PATCH",
    "HEAD",
    "OPTIONS",
    "CONNECT",
    "TRACE",
    "PROPFIND",
    "PROPPATCH",
    "PURGE",
    "QUERY",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "LABEL",
    "LINK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "ORDERPATCH",
    "REBIND",
    "REPORT",
    "SEARCH",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
    "SUBSCRIBE",
];

/// The number of `HEAD`, whose responses have no body.
pub const HEAD: u8 = 6;
/// The number of `CONNECT`, whose successful responses have no body and end HTTP on that connection.
pub const CONNECT: u8 = 8;

/// The method that a request is counted under. A server that has no such method says so (RFC 9110, 15.5.6 and 15.6.2): a client that
/// invents methods, of those that have a name here, makes no series.
#[inline(always)]
pub fn counted(method: u8, status: u16) -> u8 {
    let is_refused = equal(status as u64, NOT_ALLOWED) | equal(status as u64, NOT_IMPLEMENTED);
    select(is_refused, 0, method as u64) as u8
}

const NOT_ALLOWED: u64 = 405;
const NOT_IMPLEMENTED: u64 = 501;

/// The longest name that is told apart from every other token.
const LONGEST: usize = 24;

/// A method while it is read: its first 24 bytes, packed, and its whole length.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    words: [u64; 3],
    length: u32,
    reserved: u32,
}

// === impl Packed ===

impl Packed {
    /// Adds the next byte. Bytes past the 24th only count.
    #[inline(always)]
    pub fn push(&mut self, byte: u8) {
        let at = self.length as usize;
        let value = (byte as u64) << ((at & 7) * 8);
        if at < 8 {
            self.words[0] |= value;
        } else if at < 16 {
            self.words[1] |= value;
        } else if at < LONGEST {
            self.words[2] |= value;
        }
        self.length = self.length.saturating_add(1);
    }

    /// How many bytes were pushed.
    #[inline(always)]
    pub fn length(&self) -> u32 {
        self.length
    }

    /// Whether it is this one, of 8 bytes at the most.
    #[inline(always)]
    pub fn is(&self, name: &[u8]) -> bool {
        let mut word = 0;
        let mut i = 0;
        while i < name.len() {
            word |= (name[i] as u64) << (i * 8);
            i += 1;
        }
        self.words[0] == word && self.length as usize == name.len()
    }

    /// The method's number: its place in [`NAMES`] plus one, or 0.
    #[inline(always)]
    pub fn number(&self) -> u8 {
        let mut number = 0;
        let mut i = 0;
        while i < PACKED.len() {
            let known = &PACKED[i];
            if self.words[0] == known.words[0]
                && self.words[1] == known.words[1]
                && self.words[2] == known.words[2]
                && self.length == known.length
            {
                number = i as u8 + 1;
            }
            i += 1;
        }
        number
    }

    const fn of(name: &str) -> Self {
        let bytes = name.as_bytes();
        let mut words = [0u64; 3];
        let mut i = 0;
        while i < bytes.len() {
            words[i / 8] |= (bytes[i] as u64) << ((i % 8) * 8);
            i += 1;
        }
        Self {
            words,
            length: bytes.len() as u32,
            reserved: 0,
        }
    }
}

static PACKED: [Packed; NAMES.len()] = {
    let mut packed = [Packed::of(""); NAMES.len()];
    let mut i = 0;
    while i < NAMES.len() {
        packed[i] = Packed::of(NAMES[i]);
        i += 1;
    }
    packed
};

/// The label value for a method's number.
pub fn name(number: u8) -> &'static str {
    match number {
        0 => OTHER,
        number => NAMES.get(number as usize - 1).copied().unwrap_or(OTHER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(name: &str) -> u8 {
        let mut packed = Packed::default();
        name.bytes().for_each(|byte| packed.push(byte));
        packed.number()
    }

    #[test]
    fn what_a_server_refuses_has_no_name() {
        for status in 0..1000 {
            let expected = if [405, 501].contains(&status) { 0 } else { HEAD };
            assert_eq!(counted(HEAD, status), expected, "{status}");
            assert_eq!(counted(0, status), 0, "{status}");
        }
    }

    #[test]
    fn every_name_finds_itself_and_nothing_else() {
        for (i, known) in NAMES.iter().enumerate() {
            assert!(known.len() <= LONGEST);
            assert_eq!(number(known), i as u8 + 1);
            assert_eq!(name(number(known)), *known);
            assert_eq!(number(&format!("{known}X")), 0);
            assert_eq!(number(&known.to_lowercase()), 0);
        }
        assert_eq!(name(HEAD), "HEAD");
        assert_eq!(name(CONNECT), "CONNECT");
        assert_eq!(name(0), "_OTHER");
        assert_eq!(number(&"A".repeat(300)), 0);
    }
}
