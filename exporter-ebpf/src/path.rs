//! From a path to its shape.
//!
//! `/api/produits/17` and `/api/produits/42` are the same route. Which segments of a path are identifiers cannot be
//! known from outside; a rule on their form is right for nearly every API, and a template in the config overrides it.
//! The rule must be the same in the kernel, which only computes a hash of the shape, and in user space, which writes
//! the template down: both call [`Segment::is_id`].

use crate::bytes::{at_least, equal, finish, mix, unbranched};

/// What replaces a segment that is an identifier.
pub const ID: &str = "{id}";

/// What an identifier hashes to.
const ID_HASH: u64 = 0x7b69_647d_7b69_647d;

/// What one byte adds to the counts of a [`Segment`], by the class of the byte.
///
/// A table and not comparisons: the verifier would follow each outcome of each comparison, for each byte, and all the
/// counts that come of them. What is read from a table is just a number to it.
static COUNTS: [u64; 256] = {
    let mut counts = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        counts[byte] = match byte as u8 {
            b'0'..=b'9' => 1,
            b'a'..=b'f' | b'A'..=b'F' => 1 << 16,
            b'-' => 1 << 32,
            _ => 1 << 48,
        };
        byte += 1;
    }
    counts
};

/// What the rule needs to know of one path segment: how many of its bytes are digits, letters a to f, dashes, and any
/// other; 16 bits each, from the lowest.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    counts: u64,
}

// === impl Segment ===

impl Segment {
    /// Adds the next byte of the segment, which is not a `/`.
    #[inline(always)]
    pub fn push(&mut self, byte: u8) {
        // SAFETY: a byte is a place of the table. A volatile read, so that no constant of the table is known.
        let count = unsafe { COUNTS.as_ptr().add(byte as usize).read_volatile() };
        self.counts = self.counts.wrapping_add(count);
    }

    /// Whether a segment of this form is taken for an identifier:
    ///
    /// - a number: only digits;
    /// - a hexadecimal string: at least 8 digits or letters a to f, at least one of each;
    /// - a UUID: 36 hexadecimal digits and dashes;
    /// - a long token: at least 20 characters with at least 2 digits among them, or at least 48 characters.
    #[inline(always)]
    pub fn is_id(&self) -> bool {
        self.id_bit() != 0
    }

    /// 1 if this is an identifier, else 0. Every branch here would multiply with the length of the path in the verifier.
    #[inline(always)]
    fn id_bit(&self) -> u64 {
        let digits = self.counts & 0xffff;
        let letters = (self.counts >> 16) & 0xffff;
        let dashes = (self.counts >> 32) & 0xffff;
        let others = self.counts >> 48;
        let length = digits + letters + dashes + others;
        let has_digit = at_least(digits, 1);
        let number = has_digit & equal(digits, length);
        let hex = has_digit & at_least(length, 8) & equal(digits + letters, length);
        let uuid = equal(length, 36) & equal(others, 0) & at_least(dashes, 1);
        let token = (at_least(length, 20) & at_least(digits, 2)) | at_least(length, 48);
        unbranched(number | hex | uuid | token)
    }
}

/// The shape of a path while it is read, byte by byte.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    hash: u64,
    segment_hash: u64,
    segment: Segment,
}

// === impl Shape ===

impl Shape {
    /// Adds the next byte of the path.
    #[inline(always)]
    pub fn push(&mut self, byte: u8) {
        if byte == b'/' {
            self.close();
        } else {
            self.segment.push(byte);
            // FNV-1a: one multiplication for each byte.
            self.segment_hash = (self.segment_hash ^ byte as u64).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    #[inline(always)]
    fn close(&mut self) {
        // A product rather than a selection of the constant: the verifier of 6.18 follows both outcomes of that.
        let id = self.segment.id_bit();
        let segment = (self.segment_hash & id.wrapping_sub(1)) | ID_HASH.wrapping_mul(id);
        self.hash = mix(self.hash, segment);
        self.segment_hash = 0;
        self.segment = Segment::default();
    }

    /// The hash of the whole shape; never 0.
    #[inline(always)]
    pub fn finish(mut self) -> u64 {
        self.close();
        finish(self.hash) | 1
    }
}

/// The hash of the shape of a whole path.
pub fn shape(path: &[u8]) -> u64 {
    let mut shape = Shape::default();
    path.iter().for_each(|byte| shape.push(*byte));
    shape.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_id(segment: &str) -> bool {
        let mut state = Segment::default();
        segment.bytes().for_each(|byte| state.push(byte));
        state.is_id()
    }

    #[test]
    fn identifiers_are_told_from_names() {
        for id in [
            "0",
            "17",
            "000123",
            "deadbeef1",
            "507f1f77bcf86cd799439011",
            "123e4567-e89b-12d3-a456-426614174000",
            "ffffffff-ffff-4fff-afff-ffffffffffff",
            "01ARZ3NDEKTSV4RRFFQ69G5FAV",
            "V1StGXR8_Z5jdHi6B-myT",
            "da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9",
        ] {
            assert!(is_id(id), "{id}");
        }
        for name in [
            "",
            "api",
            "v1",
            "v2beta1",
            "produits",
            "facade",
            "defaced",
            "deadbeef",
            "rapport",
            "oauth2",
            "2fa",
            "index.html",
            "get-customer-order-history",
            "a-b",
            "-",
            "--",
            "1.0",
            "style.css",
            "{id}",
        ] {
            assert!(!is_id(name), "{name}");
        }
    }

    #[test]
    fn shapes_differ_where_names_do() {
        let shapes: Vec<u64> = [
            "/", "//", "/a", "/a/", "/b", "/a/1", "/a/1/b", "/a/b", "a", "", "/1", "/1/1", "/ab", "/a/b/1", "/1/a",
        ]
        .iter()
        .map(|path| shape(path.as_bytes()))
        .collect();
        for (i, one) in shapes.iter().enumerate() {
            for other in &shapes[i + 1..] {
                assert_ne!(one, other);
            }
        }
        assert_eq!(shape(b"/a/1/b"), shape(b"/a/99999/b"));
        assert_eq!(shape(b"/a/1"), shape(b"/a/507f1f77bcf86cd799439011"));
    }

    proptest! {
        #[test]
        fn any_number_is_the_same_route(a: u64, b: u64) {
            prop_assert_eq!(shape(format!("/x/{a}/y").as_bytes()), shape(format!("/x/{b}/y").as_bytes()));
        }

        #[test]
        fn a_name_is_never_an_id(name in "[g-z_.]{1,19}", id: u32) {
            prop_assert_ne!(shape(format!("/x/{name}").as_bytes()), shape(format!("/x/{id}").as_bytes()));
        }
    }
}
