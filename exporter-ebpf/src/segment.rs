//! Which segments of a path are values, and not names of the API.
//!
//! A rule on their form, for each byte without a branch: the verifier would follow each outcome of each comparison, for each
//! byte, and all the combinations that come of them. What is read from a table is just a number to it. So bytes are
//! counted by class, and the forms are matched all at once by one word of bits ("Shift-And": Baeza-Yates and Gonnet, A New
//! Approach to Text Searching, 1992), with a table that says which places of which forms a byte may stand in.

use crate::bytes::{here, unbranched};

/// The forms. Each element is a class of bytes: `9` a digit, `a` a letter, `A` a letter or a digit, `c` what coordinates
/// are made of, `s` what separates the parts of a file's name, `?` any, and each other character itself. `+` says that the
/// one before may be repeated, `^` that the segment may begin with the one before, `!` that it may end behind it.
const FORMS: [(&str, Form); 10] = [
    ("%^?+!", Form::Any),
    ("?^+%?+!", Form::Any),
    ("?^+@?+.?+!", Form::Any),
    ("9^999-99!-99!T?+!", Form::Value),
    ("-^9+!", Form::Value),
    ("c^+,c+!", Form::Value),
    ("a^a^a^a_A+!", Form::Prefixed),
    ("a^+_A+!", Form::LongPrefixed),
    ("a^+_v9+!", Form::Version),
    ("?^+sAAAAAAAA+.?+!", Form::Asset),
];

#[derive(Clone, Copy)]
enum Form {
    /// `a@b.c`, or percent-encoded: always an identifier.
    Any,
    /// A date, coordinates, a negative number: an identifier if there is a digit in it.
    Value,
    /// `cus_x1`, `ord_8F3k`.
    Prefixed,
    /// `session_8F3k`: an identifier if there are capitals and digits in it.
    LongPrefixed,
    /// `api_v2`: no identifier.
    Version,
    /// `main.3f2a9c1b.js`: an identifier if the hash looks like one.
    Asset,
}

const FORM_KINDS: usize = 6;

/// The forms as bits: a bit is a place in a form. Before the first place of each form is one where no byte may stand: the
/// form begins there, and what is shifted out of the form before ends there.
struct Compiled {
    /// For each byte what it adds to the counts of a [`Segment`], and the places that it may stand in.
    bytes: [(u64, u64); 256],
    /// The places before those that a segment may begin with.
    start: u64,
    /// The places that may be repeated.
    repeated: u64,
    /// The places that a segment may end behind, by [`Form`].
    last: [u64; FORM_KINDS],
}

/// Where the counts of a [`Segment`] are: 12 bits for each.
const COUNT: u64 = 0xfff;
const LETTERS: u32 = 12;
const DASHES: u32 = 24;
const OTHERS: u32 = 36;
const CAPITALS: u32 = 48;

/// What one byte adds to the counts of a [`Segment`].
const fn count(byte: u8) -> u64 {
    let class = match byte {
        b'0'..=b'9' => 1,
        b'a'..=b'f' | b'A'..=b'F' => 1 << LETTERS,
        b'-' => 1 << DASHES,
        _ => 1 << OTHERS,
    };
    class | (byte.is_ascii_uppercase() as u64) << CAPITALS
}

const fn is_in_class(class: u8, byte: u8) -> bool {
    match class {
        b'9' => byte.is_ascii_digit(),
        b'a' => byte.is_ascii_alphabetic(),
        b'A' => byte.is_ascii_alphanumeric(),
        b'c' => byte.is_ascii_digit() || matches!(byte, b'.' | b',' | b'-' | b'+'),
        b's' => matches!(byte, b'.' | b'-' | b'_'),
        b'?' => true,
        other => other == byte,
    }
}

const COMPILED: Compiled = {
    let mut compiled = Compiled {
        bytes: [(0, 0); 256],
        start: 0,
        repeated: 0,
        last: [0; FORM_KINDS],
    };
    let mut byte = 0;
    while byte < 256 {
        compiled.bytes[byte].0 = count(byte as u8);
        byte += 1;
    }
    // The next place.
    let mut place = 0u32;
    let mut form = 0;
    while form < FORMS.len() {
        let (text, kind) = (FORMS[form].0.as_bytes(), FORMS[form].1);
        place += 1;
        let mut i = 0;
        while i < text.len() {
            match text[i] {
                b'+' => compiled.repeated |= 1 << (place - 1),
                b'^' => compiled.start |= 1 << (place - 2),
                b'!' => compiled.last[kind as usize] |= 1 << (place - 1),
                class => {
                    let mut byte = 0;
                    while byte < 256 {
                        if is_in_class(class, byte as u8) {
                            compiled.bytes[byte].1 |= 1 << place;
                        }
                        byte += 1;
                    }
                    place += 1;
                }
            }
            i += 1;
        }
        form += 1;
    }
    // The highest bit is for what is true or false.
    assert!(place <= 63);
    // Else what a segment may begin with could be repeated before there was any of it.
    assert!(compiled.start & compiled.repeated == 0);
    compiled
};

static BYTES: [(u64, u64); 256] = COMPILED.bytes;
const START: u64 = COMPILED.start;
const REPEATED: u64 = COMPILED.repeated;
const LAST: [u64; FORM_KINDS] = COMPILED.last;

/// What the rule needs to know of one path segment.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// How many of its bytes are digits, letters a to f, dashes, any other, and capitals of whatever kind; 12 bits each, from
    /// the lowest. Less than half of what these hold is read of a path ([`PATH`](crate::request::PATH)).
    counts: u64,
    /// The places in the forms that the last byte stands in.
    matched: u64,
}

impl Default for Segment {
    #[inline(always)]
    fn default() -> Self {
        Self {
            counts: 0,
            matched: START,
        }
    }
}

// === impl Segment ===

impl Segment {
    /// Adds the next byte of the segment, which is not a `/`.
    #[inline(always)]
    pub fn push(&mut self, byte: u8) {
        // SAFETY: a byte is a place of the table. Volatile reads, so that no constant of the table is known.
        let (count, allowed) = unsafe {
            let entry = BYTES.as_ptr().add(byte as usize);
            (
                (&raw const (*entry).0).read_volatile(),
                (&raw const (*entry).1).read_volatile(),
            )
        };
        self.counts = self.counts.wrapping_add(count);
        self.matched = ((self.matched << 1) | (self.matched & here(REPEATED))) & allowed;
    }

    /// Whether a segment of this form is taken for an identifier:
    ///
    /// - a number: only digits, with a minus before them or not;
    /// - a hexadecimal string: at least 8 digits or letters a to f, at least one of each;
    /// - a UUID: 36 hexadecimal digits and dashes;
    /// - a long token: at least 20 characters with at least 2 digits among them, or at least 48 characters;
    /// - an e-mail address;
    /// - a date, `2026-11` or `2026-11-27`, with a time behind a `T` or not;
    /// - coordinates: numbers with commas between them;
    /// - letters, `_`, and letters and digits: after two to four letters, or with a capital. `v` and digits are a version;
    /// - the name of a file with a hash in it: 8 or more letters and digits between separators, at least 2 of them digits, or
    ///   one and 2 capitals (a hash's own are not told from those of the rest);
    /// - whatever is percent-encoded.
    #[inline(always)]
    pub fn is_id(&self) -> bool {
        self.id_bit() != 0
    }

    /// In the highest bit whether the segment may end as this form.
    #[inline(always)]
    fn is(&self, form: Form) -> u64 {
        is_some(self.matched & LAST[form as usize])
    }

    /// 1 if this is an identifier, else 0. Every branch here would multiply with the length of the path in the verifier. What
    /// is true or false stands in the highest bit of a word, where a subtraction puts it.
    #[inline(always)]
    pub fn id_bit(&self) -> u64 {
        let digits = self.counts & COUNT;
        let others = self.counts & (COUNT << OTHERS);
        let dashes = self.counts & (COUNT << DASHES);
        let capitals = self.counts >> CAPITALS;
        // The product has the sum of the four counts in the place of the fourth.
        let sum = (self.counts & ((1 << CAPITALS) - 1)).wrapping_mul(1 | 1 << LETTERS | 1 << DASHES | 1 << OTHERS);
        let length = (sum >> OTHERS) & COUNT;
        let has_digits = is_at_least(digits, 2);
        let hex = is_zero(others | dashes);
        // Of hexadecimal digits alone: of digits alone, or long.
        let number = hex & (is_at_least(length, 8) | is_zero(self.counts & (COUNT << LETTERS)));
        let uuid = is_zero(others | (length ^ 36)) & is_some(dashes);
        let token = (is_at_least(length, 20) & has_digits) | is_at_least(length, 48);
        let prefixed = (self.is(Form::Prefixed) | (self.is(Form::LongPrefixed) & is_at_least(capitals, 1)))
            & !self.is(Form::Version);
        let asset = self.is(Form::Asset) & (has_digits | is_at_least(capitals, 2));
        let with_digit = number | self.is(Form::Value) | prefixed | asset;
        let id = self.is(Form::Any) | uuid | token | (is_at_least(digits, 1) & with_digit);
        unbranched(unbranched(id) >> 63)
    }
}

/// Whether `count` is at least `least`, in the highest bit. Both are below 2^63, as of all here.
#[inline(always)]
fn is_at_least(count: u64, least: u64) -> u64 {
    unbranched((least - 1).wrapping_sub(count))
}

/// Whether `word` has any bit, in the highest bit.
#[inline(always)]
fn is_some(word: u64) -> u64 {
    unbranched(word.wrapping_neg())
}

/// Whether `word` has no bit, in the highest bit.
#[inline(always)]
fn is_zero(word: u64) -> u64 {
    unbranched(word.wrapping_sub(1))
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
            "-17",
            "deadbeef1",
            "507f1f77bcf86cd799439011",
            "123e4567-e89b-12d3-a456-426614174000",
            "ffffffff-ffff-4fff-afff-ffffffffffff",
            "01ARZ3NDEKTSV4RRFFQ69G5FAV",
            "V1StGXR8_Z5jdHi6B-myT",
            "da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9",
            "a@b.c",
            "ada.lovelace@example.org",
            "2026-11",
            "2026-11-27",
            "2026-11-27T10:00:00Z",
            "48.85,2.35",
            "-1.5,3",
            "+48.1,-2.35,12",
            "1,2,3",
            "cus_x1",
            "ord_8F3k",
            "pi_3MtwBwLkdIwHu7ix28a3tqPa",
            "item_17",
            "session_8F3k",
            "main.3f2a9c1b.js",
            "index-BkT3x9aQ.css",
            "app.d41d8cd9.chunk.css",
            "chunk-vendors.a1b2c3d4.js",
            "logo_6ce24c58.svg",
            "caf%C3%A9",
            "a%20b",
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
            "-a",
            ",",
            "1.0",
            "style.css",
            "{id}",
            "@alice",
            "a@b",
            "api_v2",
            "my_api",
            "oauth2_callback",
            "s3_upload",
            "2fa_setup",
            "_private1",
            "order_items",
            "getOrder_items",
            "jquery-3.6.0.min.js",
            "bootstrap.bundle.min.js",
            "index-dashboard.css",
            "My-LongComponentName.js",
            "2026-summer",
            "top-10",
            "utf-8",
            "café",
        ] {
            assert!(!is_id(name), "{name}");
        }
    }

    /// The same forms as [`FORMS`], matched by trying: what the bits are held against.
    fn matches(elements: &[(u8, bool, bool)], text: &[u8]) -> bool {
        let Some(((class, repeats, ends), rest)) = elements.split_first() else {
            return false;
        };
        let Some((byte, left)) = text.split_first() else {
            return false;
        };
        is_in_class(*class, *byte)
            && ((left.is_empty() && *ends) || matches(rest, left) || (*repeats && matches(elements, left)))
    }

    /// The elements, and with which of them a segment may begin.
    fn elements(form: &str) -> (Vec<(u8, bool, bool)>, Vec<usize>) {
        let mut elements: Vec<(u8, bool, bool)> = Vec::new();
        let mut starts = Vec::new();
        for byte in form.bytes() {
            match (byte, elements.last_mut()) {
                (b'+', Some(last)) => last.1 = true,
                (b'!', Some(last)) => last.2 = true,
                (b'^', Some(_)) => starts.push(elements.len() - 1),
                _ => elements.push((byte, false, false)),
            }
        }
        (elements, starts)
    }

    proptest! {
        #[test]
        fn bits_match_what_trying_matches(text in prop_oneof![
            "[a-c0-3@.,_vT%-]{1,14}", "[a-c]{1,5}_[a-c0-9v]{1,4}", "[0-9]{4}-[0-9]{2}(-[0-9]{2}(T[0-9:]{1,3})?)?",
            "[a-z.-]{1,6}[.-][a-f0-9]{7,9}[.][a-z]{1,3}",
        ]) {
            let mut state = Segment::default();
            text.bytes().for_each(|byte| state.push(byte));
            for (kind, last) in LAST.iter().enumerate() {
                let expected = FORMS.iter().filter(|(_, its)| *its as usize == kind).any(|(form, _)| {
                    let (elements, starts) = elements(form);
                    starts.iter().any(|start| matches(&elements[*start..], text.as_bytes()))
                });
                prop_assert_eq!(state.matched & last != 0, expected, "{} {}", text, kind);
            }
        }

        #[test]
        fn letters_are_never_an_id(name in "[g-z_.]{1,19}") {
            prop_assert!(!is_id(&name));
        }
    }
}
