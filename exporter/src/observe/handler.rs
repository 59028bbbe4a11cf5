//! From a request target to a handler: the route's template, a label value.

use vigie_ebpf::{path::ID, segment::Segment};

use super::secret;

/// The template of a path that no template of the config matches: segments that are identifiers, or may be secrets, become `{id}`, the rest
/// stays. `truncated` says that only the beginning of the path is known.
///
/// An absolute-form target (RFC 9112, 3.2.2) is reduced to its path. Bytes that are not UTF-8, and control characters,
/// are written as `%XX`, as they would be in a URL.
pub fn automatic(target: &[u8], truncated: bool) -> String {
    let mut handler = String::with_capacity(target.len());
    let mut before = &[][..];
    for (i, segment) in path(target).split(|byte| *byte == b'/').enumerate() {
        if i > 0 {
            handler.push('/');
        }
        let mut counts = Segment::default();
        segment.iter().for_each(|byte| counts.push(*byte));
        if counts.is_id() || secret::may_be(segment, before) {
            handler.push_str(ID);
        } else {
            push_printable(&mut handler, segment);
        }
        before = segment;
    }
    if truncated {
        handler.push('…');
    }
    handler
}

/// The path of a request target.
pub fn path(target: &[u8]) -> &[u8] {
    let Some(scheme) = target.windows(3).position(|window| window == b"://") else {
        return target;
    };
    if !target[..scheme].iter().all(u8::is_ascii_alphanumeric) {
        return target;
    }
    let authority = &target[scheme + 3..];
    match authority.iter().position(|byte| *byte == b'/') {
        Some(slash) => &authority[slash..],
        None => b"/",
    }
}

fn push_printable(handler: &mut String, segment: &[u8]) {
    for chunk in segment.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() {
                let mut bytes = [0; 4];
                push_escaped(handler, character.encode_utf8(&mut bytes).as_bytes());
            } else {
                handler.push(character);
            }
        }
        push_escaped(handler, chunk.invalid());
    }
}

fn push_escaped(handler: &mut String, bytes: &[u8]) {
    for byte in bytes {
        handler.push_str(&format!("%{byte:02X}"));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn targets_become_handlers() {
        for (target, handler) in [
            (&b"/api/produits/17"[..], "/api/produits/{id}"),
            (
                b"/api/magasins/507f1f77bcf86cd799439011/stock",
                "/api/magasins/{id}/stock",
            ),
            (b"/", "/"),
            (b"//a//", "//a//"),
            (b"*", "*"),
            (b"http://a.example/b/1", "/b/{id}"),
            (b"http://a.example", "/"),
            (b"a.example:443", "a.example:443"),
            (b"/caf\xc3\xa9/\xff\x01", "/café/%FF%01"),
        ] {
            assert_eq!(automatic(target, false), handler);
        }
        assert_eq!(automatic(b"/a", true), "/a…");
    }

    proptest! {
        /// What the kernel hashes as one shape is one handler, and the other way round.
        #[test]
        fn shapes_are_handlers(one in "(/[a-c0-3]{0,3}){1,3}", other in "(/[a-c0-3]{0,3}){1,3}") {
            let same_shape = vigie_ebpf::path::shape(one.as_bytes()) == vigie_ebpf::path::shape(other.as_bytes());
            prop_assert_eq!(same_shape, automatic(one.as_bytes(), false) == automatic(other.as_bytes(), false));
        }
    }
}
