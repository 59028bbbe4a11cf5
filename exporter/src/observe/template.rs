//! Route templates such as `/api/stores/{id}/stock`, in the forms that frameworks have for them.
//!
//! The kernel does not know templates. It hashes a path to a shape, in which all identifiers are alike, and user space says which
//! route a shape is. A template may tell paths of one shape apart: `/v/{n:int}` matches `/v/17`, and not `/v/ada@example.org`. So what
//! matches also says whether it depends on the identifiers in the path, see [`Found`].

mod covers;
mod parse;

use regex::bytes::Regex;
use thiserror::Error;
use vigie_ebpf::segment::Segment as Form;

/// A route template given by the user.
#[derive(Debug, Clone)]
pub struct Template {
    text: String,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone)]
enum Segment {
    /// Exactly this.
    Literal(Literal),
    /// Anything that is not empty.
    Any,
    /// What a regular expression matches as a whole.
    Pattern(Regex),
    /// All segments that are left: at least one. If it is the only one, it may be empty, or not.
    Rest { may_be_empty: bool },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Literal {
    text: String,
    /// The same as clients send it, if that differs: with `%C3%A9` for `é`.
    encoded: Option<String>,
}

/// What the templates of a service say of a path.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// The first template that matches.
    pub template: Option<&'a Template>,
    /// Whether another path may be another template's that differs in its identifiers alone.
    pub by_value: bool,
}

/// Why a route template was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// The template does not start with a slash.
    #[error("a route must start with '/': write it like /api/items/{{id}}")]
    NoLeadingSlash,
    /// The template holds a query string or a fragment.
    #[error("a route cannot hold '?' or '#': keep only the path")]
    QueryOrFragment,
    /// The template holds a blank or a control character.
    #[error("a route cannot hold blanks or control characters: percent-encode them")]
    Blank,
    /// The template holds a wildcard before its end, or within a segment.
    #[error("what stands for all that is left must be the whole last segment: end the route with /* or /{{path:path}}")]
    Wildcard,
    /// A part of the path that may be missing.
    #[error("a part of a route cannot be optional: write one route with it, and one without")]
    Optional,
    /// Two slashes follow each other.
    #[error("a route cannot hold an empty segment: remove the doubled '/'")]
    EmptySegment,
    /// A parameter has no name.
    #[error("a route parameter needs a name: write {{id}} instead of {{}}")]
    EmptyName,
    /// A parameter name holds something else than letters, digits, `_` and `-`.
    #[error("a route parameter name takes letters, digits, '_' and '-': write it like {{id}}")]
    BadName,
    /// A parameter is of a type that is not known.
    #[error("a route parameter can be str, int, float, uuid, slug or path: write {{id}} for any text")]
    BadType,
    /// A regular expression.
    #[error("a route cannot hold a regular expression: write {{id}} in its place")]
    Expression,
    /// A bracket that is not closed, or not opened.
    #[error("a bracket in a route is not closed, or never opened: write a parameter like {{id}}")]
    Bracket,
    /// `[name]` within a segment.
    #[error("a parameter in square brackets must fill a whole segment: write item-{{id}} instead of item-[id]")]
    PartialSegment,
    /// Two parameters follow each other.
    #[error("nothing tells where one parameter ends and the next begins: put a character between them, or write one")]
    Adjacent,
    /// No path that Vigie reads as a whole is so long.
    #[error("a route of more than 512 bytes can never match: end it earlier, with /*")]
    TooLong,
}

/// A template beside a path.
#[derive(Clone, Copy)]
struct Compared {
    /// Whether it matches. `None`: that depends on the part of the path that is not known.
    matches: Option<bool>,
    /// Whether that may be otherwise for another path that differs in its identifiers alone.
    by_value: bool,
}

/// A segment of a template beside one of a path.
enum Fits {
    Yes,
    No,
    /// It does, and another identifier would not.
    ThisOne,
    /// It does not, and another identifier might.
    NotThisOne,
}

// === impl Template ===

impl Template {
    /// The template as it was written, which is also the label value.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a request path, without its query string, has the shape of this template.
    ///
    /// Literal segments are compared byte for byte, a parameter stands for
    /// one non-empty segment or a part of one, and a trailing slash counts.
    #[cfg(test)]
    #[must_use]
    pub fn matches(&self, path: &[u8]) -> bool {
        self.compare(path, false).matches == Some(true)
    }

    /// Whether it may tell paths apart that differ in their identifiers alone.
    fn tells_values(&self) -> bool {
        self.segments.iter().any(|segment| match segment {
            Segment::Literal(literal) => literal.is_id(),
            Segment::Pattern(_) => true,
            Segment::Any | Segment::Rest { .. } => false,
        })
    }

    /// Compares with a path, of which only the beginning may be known (`is_cut`).
    fn compare(&self, path: &[u8], is_cut: bool) -> Compared {
        const NO: Compared = Compared {
            matches: Some(false),
            by_value: false,
        };
        let Some(rest) = path.strip_prefix(b"/") else {
            return NO;
        };
        let parts: Vec<&[u8]> = rest.split(|byte| *byte == b'/').collect();
        let mut found = Compared {
            matches: Some(true),
            by_value: false,
        };
        for (i, segment) in self.segments.iter().enumerate() {
            let part = parts.get(i);
            if let Segment::Rest { may_be_empty } = segment {
                let is_empty = part.is_none_or(|part| part.is_empty()) && i + 1 >= parts.len();
                let is_there = part.is_some() && (*may_be_empty || is_cut || !is_empty);
                return if is_there { found } else { NO };
            }
            // What is known of the last segment is only its beginning.
            if is_cut && i + 1 >= parts.len() {
                found.matches = found.matches.filter(|matches| !matches);
                return found;
            }
            match part.map_or(Fits::No, |part| segment.fits(part)) {
                Fits::Yes => {}
                Fits::No => return NO,
                Fits::ThisOne => found.by_value = true,
                Fits::NotThisOne => {
                    found = Compared {
                        matches: Some(false),
                        by_value: true,
                    }
                }
            }
        }
        if parts.len() > self.segments.len() { NO } else { found }
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Template {}

// === impl Segment ===

impl Segment {
    fn fits(&self, part: &[u8]) -> Fits {
        let fits = |matches: bool, may_differ: bool| match (matches, may_differ && is_id(part)) {
            (true, false) => Fits::Yes,
            (false, false) => Fits::No,
            (true, true) => Fits::ThisOne,
            (false, true) => Fits::NotThisOne,
        };
        match self {
            Self::Literal(literal) => fits(literal.is(part), literal.is_id()),
            Self::Any | Self::Rest { .. } => fits(!part.is_empty(), false),
            Self::Pattern(pattern) => fits(pattern.is_match(part), true),
        }
    }
}

// === impl Literal ===

impl Literal {
    fn is(&self, part: &[u8]) -> bool {
        self.text.as_bytes() == part || self.encoded.as_ref().is_some_and(|text| text.as_bytes() == part)
    }

    /// Whether it looks like an identifier, as it is written or as clients send it.
    fn is_id(&self) -> bool {
        self.encoded.is_some() || is_id(self.text.as_bytes())
    }
}

/// Whether the kernel takes a segment of a path for an identifier.
fn is_id(part: &[u8]) -> bool {
    let mut form = Form::default();
    part.iter().for_each(|byte| form.push(*byte));
    form.is_id()
}

/// What the templates of a list say of a path, of which only the beginning may be known (`is_cut`).
#[must_use]
pub fn find<'a>(templates: &'a [Template], path: &[u8], is_cut: bool) -> Found<'a> {
    let mut by_value = false;
    for template in templates {
        let compared = template.compare(path, is_cut);
        by_value |= compared.by_value;
        match compared.matches {
            Some(true) => {
                return Found {
                    template: Some(template),
                    by_value,
                };
            }
            Some(false) => {}
            // This one may match, and so none behind it is known to be the first.
            None => break,
        }
    }
    Found {
        template: None,
        by_value,
    }
}

/// Whether a template of the list may tell paths apart that differ in their identifiers alone.
#[must_use]
pub fn tell_values(templates: &[Template]) -> bool {
    templates.iter().any(Template::tells_values)
}

#[cfg(test)]
mod tests;
