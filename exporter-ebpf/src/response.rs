//! From bytes to the head of a response (RFC 9112, 4).

use crate::{
    bytes::{BUFFER, word},
    head::{self, Framing, Head, SEVEN},
};

/// Where the space before the status is.
const STATUS: usize = 8;

/// The status in the first bytes of a response, or `None` if this is none.
#[inline(always)]
fn status(buffer: &[u8; BUFFER]) -> Option<u64> {
    if word(buffer, 0) & SEVEN != u64::from_le_bytes(*b"HTTP/1.\0") {
        return None;
    }
    // Bytes 8 to 15: the space, three digits, and what follows.
    let code = word(buffer, 8);
    let (a, b, c) = (
        ((code >> 8) as u8).wrapping_sub(b'0'),
        ((code >> 16) as u8).wrapping_sub(b'0'),
        ((code >> 24) as u8).wrapping_sub(b'0'),
    );
    if code as u8 != b' ' || a > 9 || b > 9 || c > 9 || a == 0 {
        return None;
    }
    Some(a as u64 * 100 + b as u64 * 10 + c as u64)
}

/// Reads the head of a response that lies as a whole in the first `WINDOW` bytes of the buffer, and says where it ends.
///
/// `length` is how many bytes of the buffer are the message's; behind them may be anything. `None`: [`head::Reader`] has
/// to look.
#[inline(always)]
pub fn scan<const WINDOW: usize>(buffer: &[u8; BUFFER], length: usize) -> Option<(Head, usize)> {
    let status = status(buffer)?;
    let mut framing = Framing::default();
    let (end, done) = head::scan::<WINDOW, true>(buffer, &mut framing, STATUS, length);
    // It is the request's that matters.
    framing.trace = 0;
    done.then_some((Head { status, framing }, end))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        bytes::{WINDOW, buffer},
        head::{Reader, UNCLEAR},
        step::Step,
    };

    fn read(bytes: &[u8]) -> (Step, Head, usize) {
        let mut reader = Reader::default();
        for (i, byte) in bytes.iter().enumerate() {
            if reader.push(*byte) {
                return (reader.step(), *reader.head(), i + 1);
            }
        }
        (Step::More, *reader.head(), bytes.len())
    }

    fn head(status: u64, length: Option<u64>, chunked: bool) -> Head {
        Head {
            status,
            framing: Framing {
                length: length.unwrap_or(0),
                has_length: u64::from(length.is_some()),
                chunked: u64::from(chunked),
                expects: 0,
                event_stream: 0,
                trace: 0,
            },
        }
    }

    #[test]
    fn heads_as_servers_send_them() {
        for (text, expected) in [
            (
                "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nContent-Type: text/html\r\nContent-Length: 612\r\nETag: \"x\"\r\n\r\n",
                head(200, Some(612), false),
            ),
            (
                "HTTP/1.1 404 Not Found\r\ncontent-length:22\r\n\r\n",
                head(404, Some(22), false),
            ),
            (
                "HTTP/1.1 200 OK\r\nTRANSFER-ENCODING:  Chunked \r\n\r\n",
                head(200, None, true),
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
                head(200, None, true),
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, gzip\r\n\r\n",
                Head {
                    status: 200,
                    framing: Framing {
                        chunked: UNCLEAR,
                        ..Framing::default()
                    },
                },
            ),
            ("HTTP/1.0 200\n\n", head(200, None, false)),
            ("HTTP/1.1 100 Continue\r\n\r\n", head(100, None, false)),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 12x\r\n\r\n",
                Head {
                    status: 200,
                    framing: Framing {
                        length: 12,
                        has_length: UNCLEAR,
                        ..Framing::default()
                    },
                },
            ),
            (
                "HTTP/1.1 200 OK\r\nX-Content-Length: 7\r\nContent-Lengths: 8\r\n\r\n",
                head(200, None, false),
            ),
        ] {
            let fast = scan::<WINDOW>(&buffer(text.as_bytes(), b"\n"), text.len());
            assert!(fast.is_none_or(|fast| fast == (expected, text.len())), "{text}");
            assert_eq!(
                fast.is_none(),
                text.contains("  C") || text.contains(',') || text.contains("12x"),
                "{text}"
            );
            assert_eq!(read(text.as_bytes()), (Step::Done, expected, text.len()), "{text}");
        }
    }

    #[test]
    fn what_is_no_response() {
        for text in [
            "GET / HTTP/1.1\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 abc\r\n\r\n",
            "HTTP/1.1 099 x\r\n\r\n",
        ] {
            assert_eq!(
                scan::<WINDOW>(&buffer(text.as_bytes(), b"\n"), text.len()),
                None,
                "{text}"
            );
            assert_eq!(read(text.as_bytes()).0, Step::Bad, "{text}");
        }
    }

    #[test]
    fn streams_of_events() {
        for (field, is_stream) in [
            ("Content-Type: text/event-stream", 1),
            ("content-type:text/event-stream", 1),
            ("CONTENT-TYPE: TEXT/EVENT-STREAM", 1),
            ("Content-Type: text/event-stream; charset=utf-8", 1),
            ("Content-Type: text/event-stream;charset=utf-8", 1),
            ("Content-Type: text/event-stream ; charset=utf-8", 1),
            ("Content-Type: text/event-stream\t", 1),
            ("Content-Type:  text/event-stream", 1),
            ("Content-Type:\ttext/event-stream  ", 1),
            ("Content-Type: text/html\r\nContent-Type: text/event-stream", 1),
            ("Content-Type: text/event-stream\r\nContent-Type: text/html", 0),
            ("Content-Type: text/event-streams", 0),
            ("Content-Type: text/event-strea", 0),
            ("Content-Type: text/event-stream,text/html", 0),
            ("Content-Type: text/ event-stream", 0),
            ("Content-Type: text\x0fevent-stream", 0),
            ("Content-Type: text/event\rstream", 0),
            ("Content-Type: \"text/event-stream\"", 0),
            ("Content-Type: multipart/mixed; a=text/event-stream", 0),
            ("Content-Type:", 0),
            ("Content-Type\x1a text/event-stream", 0),
            ("Content-Types: text/event-stream", 0),
            ("X-Content-Type: text/event-stream", 0),
            ("Content-Typo: text/event-stream", 0),
            ("Accept: text/event-stream", 0),
        ] {
            for behind in ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", ""] {
                let text = format!("HTTP/1.1 200 OK\r\n{field}\r\n{behind}\r\n");
                let (step, slow, end) = read(text.as_bytes());
                assert_eq!(
                    (step, slow.framing.event_stream, end),
                    (Step::Done, is_stream, text.len()),
                    "{text:?}"
                );
                let fast = scan::<WINDOW>(&buffer(text.as_bytes(), b"\n"), text.len());
                assert!(fast.is_none_or(|fast| fast == (slow, text.len())), "{text:?}");
                let has_blanks = ["  ", ":\t", "Type:\r"].iter().any(|blanks| text.contains(blanks));
                assert!(fast.is_some() || has_blanks, "{text:?}");
            }
        }
    }

    /// Heads that no sound server sends. The fuzzer found that the two parsers took them differently.
    #[test]
    fn both_parsers_take_odd_fields_alike() {
        for (text, expected) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\rx\r\n\r\n",
                head(200, None, false),
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\rgzip\r\n\r\n",
                head(200, None, false),
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length\x1a 5\r\n\r\n",
                head(200, None, false),
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding\x1a chunked\r\n\r\n",
                head(200, None, false),
            ),
            (
                "HTTP/1.1 200 OK\nContent-Length: 5\nContent-Length\n\n",
                head(200, Some(5), false),
            ),
        ] {
            let (step, slow, _) = read(text.as_bytes());
            let is = |word: u64| word == 1;
            assert_eq!(
                (step, is(slow.framing.has_length), is(slow.framing.chunked)),
                (
                    Step::Done,
                    is(expected.framing.has_length),
                    is(expected.framing.chunked)
                ),
                "{text:?}"
            );
            if let Some((fast, _)) = scan::<WINDOW>(&buffer(text.as_bytes(), b"\n"), text.len()) {
                assert_eq!(fast, expected, "{text:?}");
            }
        }
    }

    #[test]
    fn a_stale_end_is_not_believed() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 1";
        for cut in 0..text.len() {
            assert_eq!(
                scan::<WINDOW>(&buffer(&text.as_bytes()[..cut], b"0\r\n\r\n"), cut),
                None
            );
        }
    }

    proptest! {
        #[test]
        fn scan_equals_reader(
            start in prop_oneof![4 => "HTTP/1\\.[01] [1-5][0-9]{2} [a-zA-Z ]{0,12}", 1 => "[ -~]{0,16}"],
            lines in prop::collection::vec(prop_oneof![
                "[A-Za-z-]{1,20}: [ -~]{0,40}",
                "(Content-Length|content-length): ?[0-9]{1,10}",
                "(Content-Length|content-length): ?[0-9]{1,17} ?",
                "(Content-Length|content-length): ?[0-9x ]{1,20}",
                "(Transfer-Encoding|TRANSFER-encoding): ?(chunked|gzip, chunked|gzip|Chunked )",
                "(Content-Type|content-TYPE):[ \t]{0,2}(text/event-stream|text/Event-Stream|text/event-strea|text/html)( ?;[a-z=]{1,9}|[ -~\t]{0,2})",
            ], 0..6),
            newline in prop_oneof![Just("\r\n"), Just("\n")],
            cut in 0usize..600,
            behind in prop::collection::vec(any::<u8>(), 1..40),
        ) {
            let mut text = format!("{start}{newline}");
            for line in lines {
                text.push_str(&line);
                text.push_str(newline);
            }
            text.push_str(newline);
            let text = &text.as_bytes()[..cut.min(text.len())];
            let (step, head, end) = read(text);
            if let Some((fast, fast_end)) = scan::<WINDOW>(&buffer(text, &behind), text.len()) {
                prop_assert_eq!((step, head, end), (Step::Done, fast, fast_end));
            }
        }

        /// The usual head is never left to the slow parser.
        #[test]
        fn scan_takes_the_usual(
            status in 100u64..1000,
            lines in prop::collection::vec("[A-BD-SU-Z][A-Za-z-]{1,12}: [!-~][ -~]{0,20}", 0..8),
            media in prop_oneof!["[a-z]{1,12}/[a-z+.-]{1,12}(; charset=utf-8)?", Just("text/event-stream".to_owned())],
            length in 0u64..1_000_000_000_000_000,
            chunked: bool,
        ) {
            let framing = if chunked { "transfer-encoding: chunked".to_owned() } else { format!("Content-Length: {length}") };
            let text = format!("HTTP/1.1 {status} Something\r\nContent-Type: {media}\r\n{}{framing}\r\n\r\n", lines.iter().map(|line| format!("{line}\r\n")).collect::<String>());
            let mut expected = head(status, (!chunked).then_some(length), chunked);
            expected.framing.event_stream = u64::from(media == "text/event-stream");
            prop_assert_eq!(scan::<WINDOW>(&buffer(text.as_bytes(), b"\r\n"), text.len()), Some((expected, text.len())));
        }

        #[test]
        fn bytes_of_any_kind_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..800), length in 0usize..5000) {
            let _ = scan::<WINDOW>(&buffer(&bytes, b"\0"), length);
            let _ = read(&bytes);
        }
    }
}
