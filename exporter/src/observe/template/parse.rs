//! From what is written in the config to a template.
//!
//! | stands for | written as |
//! |---|---|
//! | one segment, or a part of one | `{name}`, `<name>`, `:name`; a whole segment: `[name]` |
//! | one of a type | `{name:int}`, `<int:name>` |
//! | all that is left | `*`, `{name:path}`, `{name...}`, `*name`, `{*name}`, `<path:name>`, `[...name]` |

use regex::bytes::Regex;
use vigie_ebpf::request::PATH;

use super::{Literal, Segment, Template, TemplateError};

/// The types of parameters within one segment, with what they match: as Starlette, Flask and Django have them.
const TYPES: [(&str, &str); 6] = [
    ("str", ANY),
    ("string", ANY),
    ("int", "[0-9]+"),
    ("float", r"[0-9]+(?:\.[0-9]+)?"),
    (
        "uuid",
        "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}",
    ),
    ("slug", "[-a-zA-Z0-9_]+"),
];
const ANY: &str = "(?s-u:.)+";

/// A part of a segment.
enum Piece<'a> {
    Text(&'a str),
    /// A parameter, by what it matches.
    Value(&'static str),
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with the template, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err(TemplateError::NoLeadingSlash);
        };
        let is_optional = |segment: &str| segment.ends_with("?}") || segment.starts_with(':') && segment.ends_with('?');
        if rest.split('/').any(is_optional) {
            return Err(TemplateError::Optional);
        }
        if text.contains(['?', '#']) {
            return Err(TemplateError::QueryOrFragment);
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(TemplateError::Blank);
        }
        let last = rest.split('/').count() - 1;
        let segments: Vec<Segment> = rest
            .split('/')
            .enumerate()
            .map(|(index, segment)| parse_segment(segment, index == last))
            .collect::<Result<_, _>>()?;
        let shortest: usize = segments.iter().map(|segment| segment.shortest() + 1).sum();
        if shortest > PATH && !matches!(segments.last(), Some(Segment::Rest { .. })) {
            return Err(TemplateError::TooLong);
        }
        Ok(Self {
            text: text.to_owned(),
            segments,
        })
    }
}

impl Segment {
    /// The bytes of the shortest text that may match, or fewer.
    fn shortest(&self) -> usize {
        match self {
            Self::Literal(literal) => literal.text.len(),
            Self::Any | Self::Pattern(_) => 1,
            Self::Rest { .. } => 0,
        }
    }
}

fn parse_segment(segment: &str, is_last: bool) -> Result<Segment, TemplateError> {
    if segment.is_empty() && !is_last {
        return Err(TemplateError::EmptySegment);
    }
    if let Some(may_be_empty) = rest(segment)? {
        return if is_last {
            Ok(Segment::Rest { may_be_empty })
        } else {
            Err(TemplateError::Wildcard)
        };
    }
    if let Some(name) = segment.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        if name.starts_with('[') {
            return Err(TemplateError::Optional);
        }
        check_name(name)?;
        return Ok(Segment::Any);
    }
    match pieces(segment)?.as_slice() {
        [] => Ok(literal("")),
        [Piece::Text(text)] => Ok(literal(text)),
        [Piece::Value(ANY)] => Ok(Segment::Any),
        pieces => pattern(pieces),
    }
}

/// Whether a segment stands for all that is left, and if so whether that may be empty.
fn rest(segment: &str) -> Result<Option<bool>, TemplateError> {
    let within = |open: &str, close: &str| segment.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
    let braced = within("{", "}").filter(|name| !name.contains(['{', '}']));
    let (name, may_be_empty) = if segment == "*" {
        return Ok(Some(true));
    } else if let Some(name) = braced.and_then(|name| name.strip_suffix(":path").or_else(|| name.strip_suffix("..."))) {
        (name, true)
    } else if let Some(name) = braced.and_then(|name| name.strip_prefix('*')) {
        (name, false)
    } else if let Some(name) = within("<path:", ">").or_else(|| within("[...", "]")) {
        (name, false)
    } else if let Some(name) = segment.strip_prefix('*') {
        (name, false)
    } else if segment.contains('*') || segment.contains("...}") || segment.contains("...]") {
        return Err(match segment.starts_with("[[") {
            true => TemplateError::Optional,
            false => TemplateError::Wildcard,
        });
    } else {
        return Ok(None);
    };
    check_name(name)?;
    Ok(Some(may_be_empty))
}

/// The parts of a segment: text, and parameters between it.
fn pieces(segment: &str) -> Result<Vec<Piece<'_>>, TemplateError> {
    let mut pieces = Vec::new();
    let mut text = 0;
    let mut at = 0;
    while let Some(c) = segment[at..].chars().next() {
        let end = at + c.len_utf8();
        let value = match c {
            '{' => Some(bracketed(&segment[end..], '}')?),
            '<' => Some(bracketed(&segment[end..], '>')?),
            ':' => after_colon(&segment[..at], &segment[end..])?,
            '}' | '>' | ']' => return Err(TemplateError::Bracket),
            '[' => return Err(TemplateError::PartialSegment),
            _ => None,
        };
        let Some((value, length)) = value else {
            at = end;
            continue;
        };
        if text < at {
            pieces.push(Piece::Text(&segment[text..at]));
        } else if !pieces.is_empty() {
            return Err(TemplateError::Adjacent);
        }
        pieces.push(Piece::Value(value));
        at = end + length;
        text = at;
    }
    if text < segment.len() {
        pieces.push(Piece::Text(&segment[text..]));
    }
    Ok(pieces)
}

/// The parameter that begins behind a bracket, and how many bytes it takes with the bracket at its end.
fn bracketed(text: &str, close: char) -> Result<(&'static str, usize), TemplateError> {
    let (inside, _) = text.split_once(close).ok_or(TemplateError::Bracket)?;
    let (one, other) = match inside.split_once(':') {
        // Flask and Django name the type first.
        Some((kind, name)) if close == '>' => (name, Some(kind)),
        Some((name, kind)) => (name, Some(kind)),
        None => (inside, None),
    };
    check_name(one)?;
    let value = match other {
        Some("path") => return Err(TemplateError::Wildcard),
        Some(kind) => of_type(kind)?,
        None => ANY,
    };
    Ok((value, inside.len() + close.len_utf8()))
}

/// The parameter whose name stands behind a colon. A colon behind a letter, a digit or a bracket is itself: `/items/{id}:copy`.
fn after_colon(before: &str, text: &str) -> Result<Option<(&'static str, usize)>, TemplateError> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let is_itself = before.ends_with(|c: char| is_name(c) || matches!(c, '}' | '>'));
    let length = text.find(|c: char| !is_name(c)).unwrap_or(text.len());
    if is_itself || !text.starts_with(|c: char| c.is_alphabetic() || c == '_') {
        return Ok(None);
    }
    match text[length..].starts_with('(') {
        true => Err(TemplateError::Expression),
        false => Ok(Some((ANY, length))),
    }
}

fn of_type(kind: &str) -> Result<&'static str, TemplateError> {
    match TYPES.iter().find(|(name, _)| *name == kind) {
        Some((_, value)) => Ok(value),
        None if kind.chars().all(char::is_alphanumeric) => Err(TemplateError::BadType),
        None => Err(TemplateError::Expression),
    }
}

fn check_name(name: &str) -> Result<(), TemplateError> {
    if name.is_empty() {
        return Err(TemplateError::EmptyName);
    }
    if name.contains(['{', '<']) {
        return Err(TemplateError::Bracket);
    }
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    if name.chars().all(allowed) {
        Ok(())
    } else {
        Err(TemplateError::BadName)
    }
}

fn literal(text: &str) -> Segment {
    let encoded = encoded(text);
    Segment::Literal(Literal {
        encoded: (encoded != text).then_some(encoded),
        text: text.to_owned(),
    })
}

fn pattern(pieces: &[Piece<'_>]) -> Result<Segment, TemplateError> {
    let parts = pieces.iter().map(|piece| match piece {
        Piece::Value(value) => (*value).to_owned(),
        Piece::Text(text) => format!("(?:{}|{})", regex::escape(text), regex::escape(&encoded(text))),
    });
    let whole = format!("^(?:{})$", parts.collect::<String>());
    // All of it is written here, or escaped.
    Regex::new(&whole)
        .map(Segment::Pattern)
        .map_err(|_| TemplateError::TooLong)
}

/// A text as clients send it: what is not ASCII is percent-encoded.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            encoded.push(c);
            continue;
        }
        let mut bytes = [0; 4];
        for byte in c.encode_utf8(&mut bytes).as_bytes() {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
