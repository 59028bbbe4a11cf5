//! Exemplars: of each series and bucket a request whose client has sent a `traceparent`, so that its trace can be looked up.
//!
//! Source: Trace Context, W3C Recommendation of 23 November 2021, 3.2.

use crate::{
    bytes::{BUFFER, word},
    head::ends_line,
};

/// How many exemplars are kept.
pub const EXEMPLARS: usize = 1024;

/// How long one stays, in nanoseconds, before another request may take its place.
pub const EXEMPLAR_AGE: u64 = 1_000_000_000;

/// How long a `traceparent` of version 00 is, in bytes.
pub const TRACE_PARENT: usize = 55;

/// Where its parts begin, behind the version: the trace's id, that of the client's span, the flags. A `-` stands before each.
const TRACE_ID: usize = 3;
const SPAN_ID: usize = 36;
const FLAGS: usize = 53;

const ONES: u64 = 0x0101_0101_0101_0101;

/// The id of a trace: 16 bytes, as they are written.
pub type TraceId = [u64; 2];

/// Which one it is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ExemplarKey {
    /// The place of its series among the native histograms.
    pub place: u32,
    /// The bucket of the latency histogram.
    pub bucket: u32,
}

/// A request.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exemplar {
    /// When it ended.
    pub end: u64,
    /// How long it took.
    pub duration: u64,
    /// The trace that it belongs to.
    pub trace: TraceId,
}

/// Takes the trace's id from the `traceparent` at `at` of the buffer. `false`: that is none, or says that the trace is not recorded: no
/// exemplar leads to one that is not.
#[inline(always)]
pub fn take(trace: &mut TraceId, buffer: &[u8; BUFFER], at: usize) -> bool {
    let digits = |place: usize| hexadecimal(word(buffer, at + place));
    let mut valid = 1;
    let mut i = 0;
    while i < trace.len() {
        let (low, high) = (digits(TRACE_ID + 16 * i), digits(TRACE_ID + 16 * i + 8));
        trace[i] = low.0 | high.0 << 32;
        valid &= low.1 & high.1;
        i += 1;
    }
    let (first, second) = (digits(SPAN_ID), digits(SPAN_ID + 8));
    valid &= first.1 & second.1;
    let byte = |place: usize| word(buffer, at + place) as u8;
    // The lowest bit of a hexadecimal digit: letters begin with an even one, and have an odd code.
    let digit = byte(FLAGS + 1);
    let is_sampled = (digit ^ (digit >> 6)) & 1 == 1;
    valid != 0
        && trace[0] | trace[1] != 0
        && first.0 | second.0 != 0
        && word(buffer, at) as u32 & 0x00ff_ffff == u32::from_le_bytes(*b"00-\0")
        && byte(SPAN_ID - 1) == b'-'
        && byte(FLAGS - 1) == b'-'
        && is_sampled
        && ends_line(buffer, at + TRACE_PARENT)
}

/// The four bytes that a word's eight digits stand for, and 1 if all are lower-case hexadecimal digits, else 0.
#[inline(always)]
fn hexadecimal(text: u64) -> (u64, u64) {
    // Digits are 0x30 to 0x39, letters 0x61 to 0x66.
    let letters = (text >> 6) & ONES;
    let values = (text & (0x0f * ONES)) + 9 * letters;
    let is_usual = text == values + 0x30 * (ONES - letters) + 0x57 * letters;
    // Nothing above 15, and letters from 10 on.
    let is_small = values & (0xf0 * ONES) == 0;
    let is_in_order = ((values + 6 * ONES) >> 4) & ONES == letters;
    let pairs = (values << 4 | values >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs | pairs >> 8) & 0x0000_ffff_0000_ffff;
    let bytes = (fours | fours >> 16) & 0xffff_ffff;
    (bytes, (is_usual && is_small && is_in_order) as u64)
}

#[cfg(feature = "user")]
mod pod {
    // SAFETY: repr(C), made of integers without padding: any bytes are a value.
    unsafe impl aya::Pod for super::ExemplarKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Exemplar {}
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bytes::buffer;

    fn take(value: &str) -> Option<[u8; 16]> {
        let mut trace = TraceId::default();
        let buffer = buffer(format!("traceparent: {value}").as_bytes(), b"a");
        let bytes = |trace: TraceId| (u128::from(trace[1]) << 64 | u128::from(trace[0])).to_le_bytes();
        super::take(&mut trace, &buffer, 13).then(|| bytes(trace))
    }

    #[test]
    fn only_recorded_traces_are_taken() {
        for (flags, is_recorded) in [
            ("00", false),
            ("01", true),
            ("02", false),
            ("03", true),
            ("0a", false),
            ("fb", true),
        ] {
            let value = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}\n");
            assert_eq!(take(&value).is_some(), is_recorded, "{flags}");
        }
    }

    #[test]
    fn what_is_no_trace_parent() {
        for value in [
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more\r\n",
            "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01\r\n",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01\r\n",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01\r\n",
            "00-4bf92f3577b34da6a3ce929d0e0e473G-00f067aa0ba902b7-01\r\n",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01\r\n",
            "00-4bf9\r\nHost: a\r\n\r\n",
            "",
        ] {
            assert_eq!(take(value), None, "{value:?}");
        }
    }

    #[test]
    fn digits_are_told_from_others() {
        for byte in 0..=u8::MAX {
            let digit = matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            for place in 0..8 {
                let mut text = *b"09af1234";
                text[place] = byte;
                assert_eq!(hexadecimal(u64::from_le_bytes(text)).1 == 1, digit, "{byte:#x} {place}");
            }
        }
    }

    proptest! {
        #[test]
        fn ids_are_read(trace: u128, span: u64) {
            let value = format!("00-{trace:032x}-{span:016x}-01\r\n");
            let expected = (trace != 0 && span != 0).then(|| trace.to_be_bytes());
            prop_assert_eq!(take(&value), expected);
        }
    }
}
