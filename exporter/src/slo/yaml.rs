//! A file of rules for Prometheus.

use std::fmt::Write as _;

/// A group of rules, which are evaluated one after the other.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) rules: Vec<Rule>,
}

/// A recording rule or an alert.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) expression: String,
    pub(super) labels: Vec<(String, String)>,
    pub(super) annotations: Vec<(&'static str, String)>,
}

/// Which of the two it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Record,
    Alert,
}

/// Writes groups that are evaluated every 30 s.
pub(super) fn write(comment: &[&str], groups: &[Group]) -> String {
    let mut text = String::new();
    for line in comment {
        let _ = writeln!(text, "# {line}");
    }
    text.push_str("groups:\n");
    for group in groups {
        let _ = writeln!(text, "  - name: {}", quoted(&group.name));
        text.push_str("    interval: 30s\n    rules:\n");
        for rule in &group.rules {
            write_rule(&mut text, rule);
        }
    }
    text
}

// Writing to a String cannot fail: the results are dropped.

fn write_rule(text: &mut String, rule: &Rule) {
    let kind = match rule.kind {
        Kind::Record => "record",
        Kind::Alert => "alert",
    };
    let _ = writeln!(text, "      - {kind}: {}", rule.name);
    if rule.expression.contains('\n') {
        text.push_str("        expr: |\n");
        for line in rule.expression.lines() {
            let _ = writeln!(text, "          {line}");
        }
    } else {
        let _ = writeln!(text, "        expr: {}", quoted(&rule.expression));
    }
    let labels = rule.labels.iter().map(|(name, value)| (name.as_str(), value));
    write_map(text, "labels", labels);
    write_map(
        text,
        "annotations",
        rule.annotations.iter().map(|(name, value)| (*name, value)),
    );
}

fn write_map<'a>(text: &mut String, name: &str, pairs: impl Iterator<Item = (&'a str, &'a String)>) {
    let mut pairs = pairs.peekable();
    if pairs.peek().is_some() {
        let _ = writeln!(text, "        {name}:");
    }
    for (key, value) in pairs {
        let _ = writeln!(text, "          {key}: {}", quoted(value));
    }
}

/// A text between quotes: single ones, in which all but they stand for themselves, if it has no control characters.
fn quoted(text: &str) -> String {
    if text.contains(char::is_control) {
        // YAML 1.2 takes what JSON takes. A text cannot fail to be JSON.
        return serde_json::to_string(text).unwrap_or_default();
    }
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_as_they_were() {
        for text in ["", "plain", "it's", "a \"b\" \\d: {{ $x }}", "tab\tline\n", "true", "é"] {
            let yaml = format!("a: {}", quoted(text));
            let read: std::collections::BTreeMap<String, String> = serde_saphyr::from_str(&yaml).unwrap();
            assert_eq!(read["a"], text, "{yaml}");
        }
    }
}
