//! From a path to its shape.
//!
//! `/api/produits/17` and `/api/produits/42` are the same route. Which segments of a path are identifiers cannot be
//! known from outside; a rule on their form is right for nearly every API, and a template in the config overrides it.
//! The rule must be the same in the kernel, which only computes a hash of the shape, and in user space, which writes
//! the template down: both ask a [`Segment`].

use crate::{
    bytes::{equal_bytes, finish, here, here_pointer, mix},
    segment::Segment,
};

/// What replaces a segment that is an identifier.
pub const ID: &str = "{id}";
/// What replaces a segment of a level that has collapsed.
pub const ANY: &str = "{…}";

/// What an identifier hashes to.
const ID_HASH: u64 = 0x7b69_647d_7b69_647d;
/// What a segment of a level that has collapsed hashes to.
const ANY_HASH: u64 = 0x7be2_80a6_7d7b_e280;

/// What is mixed into the shape of a path of which only the start is known.
const CUT_HASH: u64 = 0x2f2e_2e2e_e280_a62f;

/// What is mixed into the exact hash of a path, so that it is never a shape.
const EXACT_HASH: u64 = 0x7b3d_3d7d_2f3d_3d2f;

/// How many segments a path may have so that its levels can collapse, the empty one before the first `/` included: a power of
/// two.
pub const SEGMENTS: usize = 16;

/// How many bytes [`Shape::push_word`] takes.
pub const WORD: usize = 4;

/// Whether (not 0) there is a `/` among the bytes of a word.
#[inline(always)]
pub fn has_slash(word: u32) -> u64 {
    // The other four bytes, which are zero, are none.
    equal_bytes(word as u64, b'/')
}

/// The shape of a path while it is read, byte by byte.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    hash: u64,
    /// The same, of the segments as they are.
    exact: u64,
    segment_hash: u64,
    segment: Segment,
    /// How many segments are complete.
    count: u64,
    /// [`CUT_HASH`] if this is only the start of a path, else 0.
    cut: u64,
    /// Their hashes: those of the first [`SEGMENTS`].
    segments: [u64; SEGMENTS],
}

// === impl Shape ===

impl Shape {
    /// Forgets what was read.
    #[inline(always)]
    pub fn clear(&mut self) {
        // What is in `segments` is overwritten before it is read.
        self.hash = 0;
        self.exact = 0;
        self.segment_hash = 0;
        self.segment = Segment::default();
        self.count = 0;
        self.cut = 0;
    }

    /// What was read is only the start of the path: it has a shape of its own, and its levels do not collapse.
    #[inline(always)]
    pub fn cut(&mut self) {
        self.cut = here(CUT_HASH);
    }

    /// Adds the next byte of the path.
    #[inline(always)]
    pub fn push(&mut self, byte: u8) {
        if byte == b'/' {
            let segment = self.last();
            self.hash = mix(self.hash, segment);
            self.exact = mix(self.exact, self.segment_hash);
            self.keep(segment);
            self.count = self.count.wrapping_add(1);
            self.segment_hash = 0;
            self.segment = Segment::default();
        } else {
            self.push_within(byte);
        }
    }

    /// Adds the next byte, which is not a `/`.
    #[inline(always)]
    fn push_within(&mut self, byte: u8) {
        self.segment.push(byte);
        // FNV-1a: one multiplication for each byte.
        self.segment_hash = (self.segment_hash ^ byte as u64).wrapping_mul(here(0x0000_0100_0000_01b3));
    }

    /// Adds the next [`WORD`] bytes, the first of which is the lowest. None is a `/` ([`has_slash`]).
    #[inline(always)]
    pub fn push_word(&mut self, word: u32) {
        for byte in word.to_le_bytes() {
            self.push_within(byte);
        }
    }

    /// The hash of the segment that is being read.
    #[inline(always)]
    fn last(&self) -> u64 {
        // A product rather than a selection of the constant: the verifier of 6.18 follows both outcomes of that.
        let id = self.segment.id_bit();
        (self.segment_hash & id.wrapping_sub(1)) | here(ID_HASH).wrapping_mul(id)
    }

    #[inline(always)]
    fn keep(&mut self, segment: u64) {
        let place = self.count as usize & (SEGMENTS - 1);
        // SAFETY: the mask keeps the place in the array.
        unsafe {
            (&raw mut (*here_pointer(self)).segments)
                .cast::<u64>()
                .add(place)
                .write(segment)
        };
    }

    /// The hash of the whole shape; never 0.
    #[inline(always)]
    pub fn finish(&self) -> u64 {
        finish(mix(self.hash, self.last()) ^ self.cut) | 1
    }

    /// The hash of the path itself: identifiers are not alike. Never 0, and no shape.
    #[inline(always)]
    pub fn exact(&self) -> u64 {
        finish(mix(self.exact, self.segment_hash) ^ self.cut ^ here(EXACT_HASH)) | 1
    }

    /// The hash of the whole shape; and its segments are complete, for [`Shape::collapse`].
    #[inline(always)]
    pub fn close(&mut self) -> u64 {
        let last = self.last();
        self.keep(last);
        finish(mix(self.hash, last) ^ self.cut) | 1
    }

    /// The hash of the whole shape with each level collapsed that has: `is_collapsed` is asked with the hash of what is above a
    /// level. Never 0. Identifiers and empty segments stay. [`Shape::close`] comes before.
    ///
    /// The shape of a path with more than [`SEGMENTS`] segments stays as it is, as does that of a start.
    #[inline(always)]
    pub fn collapse(&self, mut is_collapsed: impl FnMut(u64) -> bool) -> u64 {
        let count = self.count;
        if count >= SEGMENTS as u64 || self.cut != 0 {
            return finish(mix(self.hash, self.kept(count as usize)) ^ self.cut) | 1;
        }
        let mut hash = 0;
        let mut i = 0;
        while i < SEGMENTS {
            if i as u64 > count {
                break;
            }
            let mut segment = self.kept(i);
            if is_word(segment) && is_collapsed(hash) {
                segment = ANY_HASH;
            }
            hash = mix(hash, segment);
            i += 1;
        }
        finish(hash) | 1
    }

    #[inline(always)]
    fn kept(&self, place: usize) -> u64 {
        // SAFETY: the mask keeps the place in the array.
        unsafe { self.segments.as_ptr().add(place & (SEGMENTS - 1)).read_volatile() }
    }

    /// The hashes of the segments, or none if they are too many for the levels to collapse.
    pub fn segments(&mut self) -> &[u64] {
        self.close();
        let count = self.count as usize + 1;
        if count > SEGMENTS { &[] } else { &self.segments[..count] }
    }
}

/// Whether a segment with this hash is a name: not empty, and no identifier.
#[inline(always)]
pub fn is_word(segment: u64) -> bool {
    segment != 0 && segment != ID_HASH && segment != ANY_HASH
}

/// The hash of what is above a level: of the hash above the level before, and of the segment there.
pub fn below(above: u64, segment: u64, is_collapsed: bool) -> u64 {
    mix(above, if is_collapsed { ANY_HASH } else { segment })
}

/// The hash of a shape, of what is above the level behind its last segment. Never 0.
pub fn whole(above: u64) -> u64 {
    finish(above) | 1
}

/// The hash of the shape of a whole path.
pub fn shape(path: &[u8]) -> u64 {
    read(path).finish()
}

/// The hash of the shape of a path, of which only the start may be known.
pub fn shape_of(path: &[u8], is_cut: bool) -> u64 {
    let mut shape = read(path);
    if is_cut {
        shape.cut();
    }
    shape.finish()
}

/// The shape of a whole path.
pub fn read(path: &[u8]) -> Shape {
    let mut shape = Shape::default();
    path.iter().for_each(|byte| shape.push(*byte));
    shape
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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

    #[test]
    fn exact_hashes_differ_where_paths_do() {
        let paths = [
            "/", "//", "/a", "/a/", "/a/1", "/a/2", "/a/12", "/1/a", "/1/2", "/2/1", "/12",
        ];
        for (i, one) in paths.iter().enumerate() {
            let exact = read(one.as_bytes()).exact();
            assert_eq!(closed(one).exact(), exact);
            for other in paths {
                assert_ne!(exact, shape(other.as_bytes()));
            }
            for other in &paths[i + 1..] {
                assert_ne!(exact, read(other.as_bytes()).exact());
            }
            let mut cut = read(one.as_bytes());
            cut.cut();
            assert_ne!(cut.exact(), exact);
        }
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
    fn closed(path: &str) -> Shape {
        let mut shape = read(path.as_bytes());
        assert_eq!(shape.close(), shape.finish());
        shape
    }

    #[test]
    fn levels_collapse() {
        let above = |path: &str| {
            // What is above the level of the last segment, as the kernel computes it.
            let mut asked = Vec::new();
            closed(path).collapse(|hash| {
                asked.push(hash);
                false
            });
            *asked.last().unwrap()
        };
        let users = above("/u/alice");
        let collapse = |path: &str, levels: &[u64]| closed(path).collapse(|hash| levels.contains(&hash));
        assert_eq!(users, above("/u/bob"));
        assert_ne!(users, above("/v/bob"));
        assert_ne!(shape(b"/u/alice"), shape(b"/u/bob"));
        assert_eq!(collapse("/u/alice", &[users]), collapse("/u/bob", &[users]));
        assert_eq!(
            collapse("/u/alice/orders/1", &[users]),
            collapse("/u/bob/orders/2", &[users])
        );
        assert_ne!(
            collapse("/u/alice/orders", &[users]),
            collapse("/u/bob/basket", &[users])
        );
        // What does not change: identifiers, the level itself, other levels.
        for path in ["/u/17", "/u/", "/u", "/v/alice", "/"] {
            assert_eq!(collapse(path, &[users]), shape(path.as_bytes()), "{path}");
        }
        let deep = format!("/u/alice{}", "/x".repeat(SEGMENTS));
        assert_eq!(collapse(&deep, &[users]), shape(deep.as_bytes()));
    }

    proptest! {
        /// Words and bytes in any order: as the kernel takes them.
        #[test]
        fn words_are_as_their_bytes(path in "[a-c0-3/%@._-]{0,40}", words: u64) {
            let mut shape = Shape::default();
            let mut rest = path.as_bytes();
            while let Some((first, others)) = rest.split_first() {
                let word = rest.first_chunk().map(|word| u32::from_le_bytes(*word));
                if let Some(word) = word.filter(|word| has_slash(*word) == 0 && words >> (rest.len() % 64) & 1 == 1) {
                    shape.push_word(word);
                    rest = &rest[WORD..];
                } else {
                    shape.push(*first);
                    rest = others;
                }
            }
            prop_assert_eq!(shape, read(path.as_bytes()));
        }

        #[test]
        fn without_collapsed_levels_nothing_changes(path in "[a-c0-3/]{0,40}") {
            prop_assert_eq!(closed(&path).collapse(|_| false), shape(path.as_bytes()));
        }
    }
}
