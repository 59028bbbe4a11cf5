//! Route templates such as `/api/stores/{id}/stock`.

use thiserror::Error;

/// A route template given by the user.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Template {
    text: String,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Segment {
    Literal(String),
    Any,
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
    /// The template holds a wildcard.
    #[error("wildcards are not supported in a route: use one {{name}} per segment")]
    Wildcard,
    /// Two slashes follow each other.
    #[error("a route cannot hold an empty segment: remove the doubled '/'")]
    EmptySegment,
    /// A parameter has no name.
    #[error("a route parameter needs a name: write {{id}} instead of {{}}")]
    EmptyName,
    /// A parameter name holds something else than letters, digits, `_` and `-`.
    #[error("a route parameter name takes letters, digits, '_' and '-': write it like {{id}}")]
    BadName,
    /// A brace appears inside a literal segment.
    #[error("a route parameter must fill a whole segment: write /{{id}}/, not /item-{{id}}/")]
    PartialSegment,
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
        if text.contains(['?', '#']) {
            return Err(TemplateError::QueryOrFragment);
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(TemplateError::Blank);
        }
        if text.contains('*') || text.contains("...}") {
            return Err(TemplateError::Wildcard);
        }
        let last = rest.split('/').count() - 1;
        let segments = rest
            .split('/')
            .enumerate()
            .map(|(index, segment)| parse_segment(segment, index == last))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            text: text.to_owned(),
            segments,
        })
    }

    /// Whether a request path, without its query string, has the shape of this template.
    ///
    /// Literal segments are compared byte for byte, a parameter stands for
    /// exactly one non-empty segment, and a trailing slash counts.
    #[must_use]
    pub fn matches(&self, path: &[u8]) -> bool {
        let Some(rest) = path.strip_prefix(b"/") else {
            return false;
        };
        let mut parts = rest.split(|&byte| byte == b'/');
        self.segments.iter().all(|segment| match (segment, parts.next()) {
            (Segment::Literal(text), Some(part)) => text.as_bytes() == part,
            (Segment::Any, Some(part)) => !part.is_empty(),
            (_, None) => false,
        }) && parts.next().is_none()
    }

    /// The template as it was written, which is also the label value.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The first template of the list that matches the path.
#[must_use]
pub fn first_match<'a>(templates: &'a [Template], path: &[u8]) -> Option<&'a Template> {
    templates.iter().find(|template| template.matches(path))
}

fn parse_segment(segment: &str, is_last: bool) -> Result<Segment, TemplateError> {
    if segment.is_empty() && !is_last {
        return Err(TemplateError::EmptySegment);
    }
    if !segment.contains(['{', '}']) {
        return Ok(Segment::Literal(segment.to_owned()));
    }
    let name = segment
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .filter(|name| !name.contains(['{', '}']))
        .ok_or(TemplateError::PartialSegment)?;
    if name.is_empty() {
        return Err(TemplateError::EmptyName);
    }
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    if !name.chars().all(allowed) {
        return Err(TemplateError::BadName);
    }
    Ok(Segment::Any)
}

#[cfg(test)]
mod tests;
