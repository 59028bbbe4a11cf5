//! The lines of the Prometheus text format 0.0.4, as far as Vigie writes it: no timestamps, no tabs.

use std::borrow::Cow;

/// A sample's line, cut before its value. Two scrapes of one Vigie write the same series in the same way, so that the text
/// before the value names it.
///
/// `None`: not a sample.
pub fn cut(line: &str) -> Option<(&str, f64)> {
    if line.starts_with('#') {
        return None;
    }
    // A label's value may hold a space, the number may not.
    let (series, value) = line.trim_end().rsplit_once(' ')?;
    Some((series, value.parse().ok()?))
}

/// The name of a series.
pub fn name(series: &str) -> &str {
    series.split('{').next().unwrap_or_default()
}

/// The labels of a series, in their order.
pub fn labels(series: &str) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
    let mut rest = series.split_once('{').map_or("", |(_, rest)| rest);
    std::iter::from_fn(move || {
        let (name, after) = rest.split_once("=\"")?;
        let end = closing_quote(after)?;
        rest = after[end + 1..].trim_start_matches(',');
        Some((name, unescaped(&after[..end])))
    })
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    })
}

fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        plain.push(match letter {
            '\\' => match letters.next() {
                Some('n') => '\n',
                Some(other) => other,
                None => '\\',
            },
            letter => letter,
        });
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut() {
        assert_eq!(cut("a 1"), Some(("a", 1.0)));
        assert_eq!(cut("a{b=\"c d\"} 1.5e3"), Some(("a{b=\"c d\"}", 1500.0)));
        assert_eq!(cut("a{le=\"+Inf\"} +Inf"), Some(("a{le=\"+Inf\"}", f64::INFINITY)));
        for line in ["", "# TYPE a counter", "# HELP a 1", "a", "a b"] {
            assert_eq!(cut(line), None, "{line}");
        }
    }

    #[test]
    fn labels_are_read_as_the_encoder_writes_them() {
        let series = r#"a{b="x\"\\\n,c=\"",d="",e="}{"}"#;
        let found: Vec<_> = labels(series).collect();
        assert_eq!(name(series), "a");
        assert_eq!(
            found,
            [
                ("b", Cow::from("x\"\\\n,c=\"")),
                ("d", Cow::from("")),
                ("e", Cow::from("}{"))
            ]
        );
        assert_eq!(labels("a").count(), 0);
        assert_eq!(labels("a{b=\"c").count(), 0);
    }
}
