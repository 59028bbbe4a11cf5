//! Errors of the configuration, one line each.

use serde_saphyr::{Error as YamlError, Location, MessageFormatter, Spanned, UserMessageFormatter};
use thiserror::Error;

use super::text::{cut, one_line, quoted};

/// What is wrong with a configuration: where, what, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{origin}{}: {problem}: {hint}", at(*line, *column))]
pub struct ConfigError {
    origin: String,
    line: u64,
    column: u64,
    problem: String,
    hint: String,
}

impl ConfigError {
    /// Line and column, counted from 1, when they are known.
    #[cfg(test)]
    pub(super) fn position(&self) -> Option<(u64, u64)> {
        (self.line > 0).then_some((self.line, self.column))
    }

    pub(super) fn unreadable(origin: &str, flag: &str, error: &std::io::Error) -> Self {
        let problem = format!("cannot read the configuration: {}", one_line(&error.to_string()));
        let hint = format!("check the path given to {flag} and its permissions");
        Place::nowhere(&problem, &hint).of(origin)
    }

    pub(super) fn too_large(origin: &str, flag: &str, limit: u64) -> Self {
        let problem = format!("the configuration is larger than {} KiB", limit / 1024);
        Place::nowhere(&problem, &format!("check the path given to {flag}")).of(origin)
    }

    pub(super) fn not_utf8(origin: &str, error: &std::str::Utf8Error) -> Self {
        let problem = format!("invalid utf-8 after byte {}", error.valid_up_to());
        Place::nowhere(&problem, "save the file as utf-8 text").of(origin)
    }

    pub(super) fn yaml(origin: &str, error: &YamlError) -> Self {
        let (problem, hint) = explain(error);
        let location = error.location().unwrap_or(Location::UNKNOWN);
        Place::new(location, &problem, &hint).of(origin)
    }
}

/// A problem at a place of a file that is not named yet.
#[derive(Debug)]
pub(crate) struct Place {
    location: Location,
    problem: String,
    hint: String,
}

impl Place {
    fn new(location: Location, problem: &str, hint: &str) -> Self {
        Self {
            location,
            problem: problem.to_owned(),
            hint: hint.to_owned(),
        }
    }

    fn nowhere(problem: &str, hint: &str) -> Self {
        Self::new(Location::UNKNOWN, problem, hint)
    }

    pub(crate) fn at<T>(value: &Spanned<T>, problem: &str, hint: &str) -> Self {
        Self::new(value.referenced, problem, hint)
    }

    pub(crate) fn of(self, origin: &str) -> ConfigError {
        ConfigError {
            origin: origin.chars().map(|c| if c.is_control() { '?' } else { c }).collect(),
            line: self.location.line(),
            column: self.location.column(),
            problem: one_line(&self.problem),
            hint: one_line(&self.hint),
        }
    }
}

fn at(line: u64, column: u64) -> String {
    if line == 0 {
        String::new()
    } else {
        format!(":{line}:{column}")
    }
}

/// The problem and the hint for an error of the YAML library.
fn explain(error: &YamlError) -> (String, String) {
    match error.without_snippet() {
        YamlError::AliasError { error, .. } => explain(error),
        YamlError::SerdeUnknownField { field, expected, .. } => (
            format!("unknown key {}", quoted(field)),
            format!("known keys: {}", expected.join(", ")),
        ),
        YamlError::DuplicateMappingKey { key, .. } => (
            key.as_ref().map_or_else(
                || "duplicate key".to_owned(),
                |key| format!("duplicate key {}", quoted(key)),
            ),
            "keep only one of them".to_owned(),
        ),
        YamlError::SerdeMissingField { field, .. } => (
            format!("missing key \"{field}\""),
            format!("add a line \"{field}: ...\""),
        ),
        YamlError::SerdeInvalidType {
            unexpected, expected, ..
        }
        | YamlError::SerdeInvalidValue {
            unexpected, expected, ..
        } => (found(unexpected), format!("expected {expected}")),
        YamlError::NullIntoString { .. } => (
            "the value is missing".to_owned(),
            "write some text after the key, or remove the key".to_owned(),
        ),
        YamlError::Unexpected { expected, .. } => (
            "wrong type of value".to_owned(),
            format!("expected {}", plain_type(expected)),
        ),
        YamlError::InvalidScalar { ty, .. } => {
            ("wrong type of value".to_owned(), format!("expected {}", plain_type(ty)))
        }
        YamlError::MultipleDocuments { .. } => (
            "several yaml documents in the file".to_owned(),
            "keep only one, remove the lines \"---\"".to_owned(),
        ),
        other => (
            cut(&UserMessageFormatter.format_message(other)),
            "check the yaml syntax and the indentation".to_owned(),
        ),
    }
}

/// What was found, in the words of the documentation.
fn found(unexpected: &str) -> String {
    match unexpected {
        "unit value" => "the value is missing".to_owned(),
        "map" => "found keys and values".to_owned(),
        "sequence" => "found a list".to_owned(),
        other => format!("found {}", cut(other)),
    }
}

/// A type of the YAML library in the words of the documentation.
fn plain_type(name: &str) -> &str {
    match name {
        "i64" | "integer" => "a whole number",
        "f64" | "floating point" | "floating point value" => "a number",
        "sequence" | "sequence start" => "a list",
        "mapping" | "mapping start" => "keys and values",
        "string scalar" | "scalar" => "a single value",
        other => other,
    }
}
