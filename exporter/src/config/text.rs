//! Short, one-line renderings of what the user wrote.

const MAX_SHOWN: usize = 60;

/// Longest message of a library that is shown whole.
const MAX_MESSAGE: usize = 160;

/// Quotes a value of the file, cut when it is long.
pub(crate) fn quoted(value: &str) -> String {
    format!("{:?}", cut_at(value, MAX_SHOWN))
}

/// A message made by a library, cut when it is long.
pub(super) fn cut(message: &str) -> String {
    cut_at(message, MAX_MESSAGE)
}

fn cut_at(text: &str, limit: usize) -> String {
    let mut shown: String = text.chars().take(limit).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    shown
}

/// Joins the lines of a message, lower-cases its first letter and drops its final dot.
pub(crate) fn one_line(message: &str) -> String {
    let clean: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let line = clean.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = line.trim_end_matches('.');
    let mut chars = line.chars();
    match (chars.next(), chars.next()) {
        // Keep acronyms such as YAML.
        (Some(first), Some(second)) if !second.is_uppercase() => {
            first.to_lowercase().chain(line.chars().skip(1)).collect()
        }
        _ => line.to_owned(),
    }
}
