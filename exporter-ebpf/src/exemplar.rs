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

/// In words of eight bytes, the last of which has a byte more.
const WORDS: usize = TRACE_PARENT / 8 + 1;

/// A `traceparent`, as it came, and a byte more.
pub type TraceParent = [u64; WORDS];

/// Where its parts begin: the trace's id, that of the client's span, the flags. A `-` stands before each.
const TRACE_ID: usize = 3;
const SPAN_ID: usize = 36;
const FLAGS: usize = 53;

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
    /// Its `traceparent`.
    pub trace_parent: TraceParent,
}

/// Takes the `traceparent` at `at` of the buffer, if it is as long as it should be, and says that the trace is recorded: no
/// exemplar leads to one that is not. `false`: it is not. Whether the ids are any is for [`Exemplar::ids`] to say.
#[inline(always)]
pub fn take(trace_parent: &mut TraceParent, buffer: &[u8; BUFFER], at: usize) -> bool {
    let mut i = 0;
    while i < WORDS {
        // SAFETY: a place of the array. A volatile write, so that these are not made one copy, which is a loop over bytes.
        unsafe { (&raw mut trace_parent[i]).write_volatile(word(buffer, at + 8 * i)) };
        i += 1;
    }
    let byte = |at: usize| (trace_parent[at / 8] >> (at % 8 * 8)) as u8;
    let has_dashes = byte(TRACE_ID - 1) == b'-' && byte(SPAN_ID - 1) == b'-' && byte(FLAGS - 1) == b'-';
    // The lowest bit of a hexadecimal digit: letters begin with an even one, and have an odd code.
    let digit = byte(FLAGS + 1);
    let is_sampled = (digit ^ (digit >> 6)) & 1 == 1;
    trace_parent[0] as u16 == u16::from_le_bytes(*b"00")
        && has_dashes
        && is_sampled
        && ends_line(buffer, at + TRACE_PARENT)
}

#[cfg(any(test, feature = "user"))]
impl Exemplar {
    /// The trace's id and that of the client's span, in lower-case hexadecimal digits. `None`: they are none.
    pub fn ids(&self) -> Option<(String, String)> {
        let bytes: Vec<u8> = self.trace_parent.iter().flat_map(|word| word.to_le_bytes()).collect();
        let id = |from: usize, to: usize| {
            let id = bytes.get(from..to)?;
            let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            let is_valid = id.iter().all(is_digit) && id.iter().any(|byte| *byte != b'0');
            is_valid.then(|| String::from_utf8_lossy(id).into_owned())
        };
        Some((id(TRACE_ID, SPAN_ID - 1)?, id(SPAN_ID, FLAGS - 1)?))
    }
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
    use super::*;
    use crate::bytes::buffer;

    fn take(value: &str) -> Option<Exemplar> {
        let mut exemplar = Exemplar::default();
        let buffer = buffer(format!("traceparent: {value}").as_bytes(), b"a");
        super::take(&mut exemplar.trace_parent, &buffer, 13).then_some(exemplar)
    }

    #[test]
    fn ids_are_read() {
        let exemplar = take("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n").unwrap();
        assert_eq!(
            exemplar.ids(),
            Some(("4bf92f3577b34da6a3ce929d0e0e4736".into(), "00f067aa0ba902b7".into()))
        );
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
            "00-4bf9\r\nHost: a\r\n\r\n",
            "",
        ] {
            assert_eq!(take(value), None, "{value:?}");
        }
        for value in [
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01\r\n",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01\r\n",
            "00-4bf92f3577b34da6a3ce929d0e0e473G-00f067aa0ba902b7-01\r\n",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01\r\n",
            "00-\"\n92f3577b34da6a3ce929d0e0e4736\\-00f067aa0ba902b7-01\r\n",
        ] {
            assert_eq!(take(value).unwrap().ids(), None, "{value:?}");
        }
    }
}
