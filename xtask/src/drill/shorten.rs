//! Copies of the project's own files, with shorter times or another address, and nothing else changed.

/// Keys of rule files, and the longest that their times may be in a drill.
pub const RULES: [(&str, u64); 3] = [("for", 5), ("keep_firing_for", 5), ("interval", 1)];
/// Keys of Alertmanager's configuration, likewise.
pub const ROUTES: [(&str, u64); 2] = [("group_wait", 1), ("group_interval", 2)];

/// A copy, and what was changed in it.
#[derive(Debug, PartialEq)]
pub struct Copy {
    pub text: String,
    pub changes: Vec<String>,
}

/// Replaces times behind these keys that are longer than allowed, in seconds.
pub fn shorten(text: &str, longest: &[(&str, u64)]) -> Copy {
    let mut changes = Vec::new();
    let lines = text.lines().map(|line| {
        let Some((key, value)) = key_and_value(line) else {
            return line.to_owned();
        };
        let limit = longest.iter().find(|(name, _)| *name == key);
        match (limit, seconds(value)) {
            (Some((_, limit)), Some(seconds)) if seconds > *limit => {
                let change = format!("{key}: {value} -> {limit}s");
                if !changes.contains(&change) {
                    changes.push(change);
                }
                let at = line.rfind(value).unwrap_or(line.len());
                format!("{}{limit}s{}", &line[..at], &line[at + value.len()..])
            }
            _ => line.to_owned(),
        }
    });
    let text = lines.fold(String::new(), |text, line| text + &line + "\n");
    Copy { text, changes }
}

/// Sends what goes to a URL to a port of this host instead, on the same path.
pub fn redirect(text: &str, port: u16) -> Copy {
    let mut changes = Vec::new();
    let lines = text.lines().map(|line| {
        let Some((key @ ("url" | "api_url"), value)) = key_and_value(line) else {
            return line.to_owned();
        };
        let url = value.trim_matches(['"', '\'']);
        let Some((_, rest)) = url.split_once("://") else {
            return line.to_owned();
        };
        let path = rest.find('/').map_or("/", |at| &rest[at..]);
        let new = format!("http://127.0.0.1:{port}{path}");
        changes.push(format!("{key}: {url} -> {new}"));
        line.replace(url, &new)
    });
    let text = lines.fold(String::new(), |text, line| text + &line + "\n");
    Copy { text, changes }
}

/// `key: value` of a line of YAML in block style, also as the first key of an item.
fn key_and_value(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start();
    let line = line.strip_prefix("- ").unwrap_or(line).trim_start();
    let (key, value) = line.split_once(": ")?;
    let value = value.split(" #").next().unwrap_or(value).trim();
    (!value.is_empty()).then_some((key, value))
}

/// A time as Prometheus writes it: `1h30m`.
pub fn seconds(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut sum = 0;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let unit = &rest[digits..];
        let end = unit.find(|letter: char| letter.is_ascii_digit()).unwrap_or(unit.len());
        sum += number
            * match &unit[..end] {
                "s" => 1,
                "m" => 60,
                "h" => 3600,
                "d" => 86_400,
                "w" => 604_800,
                _ => return None,
            };
        rest = &unit[end..];
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_times_are_replaced() {
        let rules = "groups:\n  - name: for: 5m\n    interval: 30s\n    rules:\n      - alert: A\n        expr: rate(x[5m]) > 1\n        for: 1m # a while\n      - for: 2s\n        alert: B\n";
        let copy = shorten(rules, &RULES);
        assert_eq!(
            copy.text,
            rules
                .replace("interval: 30s", "interval: 1s")
                .replace("for: 1m", "for: 5s")
        );
        assert_eq!(copy.changes, ["interval: 30s -> 1s", "for: 1m -> 5s"]);
    }

    #[test]
    fn a_url_keeps_its_path() {
        let config = "receivers:\n  - name: p1\n    webhook_configs:\n      - url: 'http://hook.example:9000/p1'\n        send_resolved: true\n";
        let chat = "      - api_url: http://hook.example/chat # anchors need not be looked at\n";
        assert!(redirect(chat, 1).text.contains("- api_url: http://127.0.0.1:1/chat #"));
        let copy = redirect(config, 1234);
        assert_eq!(copy.text, config.replace("hook.example:9000", "127.0.0.1:1234"));
        assert_eq!(
            copy.changes,
            ["url: http://hook.example:9000/p1 -> http://127.0.0.1:1234/p1"]
        );
    }

    #[test]
    fn times_are_sums() {
        let known = [
            ("90s", Some(90)),
            ("1h30m", Some(5400)),
            ("1d", Some(86_400)),
            ("5", None),
            ("x", None),
            ("", Some(0)),
        ];
        for (text, expected) in known {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }
}
