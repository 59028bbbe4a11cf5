//! Parts of names that say nothing: ids, times, addresses, what `mktemp` makes up.

use std::net::{IpAddr, SocketAddr};

/// Whether a whole word was made up by a program or counts something: it is another one at the next start.
pub(crate) fn is_random(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let is_number = digits == word.len();
    let is_hex = word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_alphanumeric = word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    // Six digits are a time, a date, a process id; fewer may be a version or a number that somebody chose.
    (is_number && word.len() >= 6)
        || (is_hex && !is_number && digits > 0 && word.len() >= 8)
        || (is_alphanumeric && word.len() >= 16 && turns(word) >= 4)
        || is_uuid(word)
        || is_temporary(word)
}

/// Whether a text is an address, with or without a port.
pub(crate) fn is_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok() || text.parse::<SocketAddr>().is_ok()
}

/// A name without its random parts and the separators before them. None if nothing is left.
pub(crate) fn without(name: &str) -> Option<String> {
    let rest = without_uuids(name);
    let mut kept = String::new();
    for (separator, word) in words(&rest, &['-', '_', '@', ':']) {
        if is_random(word) || is_address(word) {
            continue;
        }
        kept.push_str(separator);
        for (separator, part) in words(word, &['.']) {
            if !is_random(part) {
                kept.push_str(separator);
                kept.push_str(part);
            }
        }
    }
    let kept = kept.trim_matches(['-', '_', '@', ':', '.']);
    (!kept.is_empty()).then(|| kept.to_owned())
}

/// How often a word goes from digits to letters or back.
fn turns(word: &str) -> usize {
    let bytes = word.as_bytes();
    let pairs = bytes.iter().zip(bytes.iter().skip(1));
    pairs
        .filter(|(one, next)| one.is_ascii_digit() != next.is_ascii_digit())
        .count()
}

/// Names of Python's `tempfile`, `mktemp` and `go run`.
fn is_temporary(word: &str) -> bool {
    let number = |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
    let python = |rest: &str| {
        let is_its = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        rest.len() == 8 && rest.bytes().all(is_its) && rest.contains(|c: char| c.is_ascii_digit() || c == '_')
    };
    word.strip_prefix("go-build").is_some_and(number)
        || word.strip_prefix("tmp").is_some_and(python)
        || word.strip_prefix("tmp.").is_some_and(|rest| rest.len() >= 6)
}

fn is_uuid(word: &str) -> bool {
    word.len() == 36
        && word.bytes().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => byte == b'-' || byte == b'_',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn without_uuids(name: &str) -> String {
    let mut kept = String::new();
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        if rest.get(..36).is_some_and(is_uuid) {
            rest = rest.get(36..).unwrap_or_default();
        } else {
            kept.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        }
    }
    kept
}

/// Words with the separator that is before them; the first has none.
fn words<'a>(text: &'a str, separators: &'a [char]) -> impl Iterator<Item = (&'a str, &'a str)> {
    let mut before = "";
    text.split_inclusive(separators).map(move |piece| {
        let word = piece.strip_suffix(separators).unwrap_or(piece);
        let separator = std::mem::replace(&mut before, piece.get(word.len()..).unwrap_or_default());
        (separator, word)
    })
}
