//! The names in an expression of PromQL, and whether there is anything of that name.

use std::collections::BTreeSet;

/// What Vigie's metrics begin with.
const OURS: [&str; 3] = ["http_", "service_", "vigie_"];
/// What a histogram's or a summary's series end with.
const ENDS: [&str; 3] = ["_bucket", "_sum", "_count"];

/// The names that an expression asks for and nobody gives: metrics of Vigie that are not in its catalogue, and recorded series
/// (with a colon) that no rule records.
pub fn unknown(expression: &str, catalogue: &BTreeSet<String>, recorded: &BTreeSet<String>) -> Vec<String> {
    let is_documented = |name: &str| {
        let base = ENDS.iter().find_map(|end| name.strip_suffix(end));
        catalogue.contains(name) || base.is_some_and(|base| catalogue.contains(base))
    };
    names(expression)
        .into_iter()
        .filter(|name| match name.contains(':') {
            true => !recorded.contains(name),
            false => OURS.iter().any(|begin| name.starts_with(begin)) && !is_documented(name),
        })
        .collect()
}

/// The metrics of docs/metrics.md: what is code in the first cell of a row.
pub fn catalogue(document: &str) -> BTreeSet<String> {
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split_once('`'))
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// Everything that looks like a name, outside of quotes.
fn names(expression: &str) -> BTreeSet<String> {
    let outside: String = expression.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_' || character == ':';
    outside
        .split(|character| !is_part(character))
        .filter(|word| word.starts_with(|character: char| character.is_ascii_alphabetic()))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_nobody_gives() {
        let catalogue =
            catalogue("| metric | type |\n|---|---|\n| `http_requests_total` | counter |\n| `http_x` | histogram |\n");
        let recorded = BTreeSet::from(["service:a:rate5m".to_owned()]);
        let of = |expression: &str| unknown(expression, &catalogue, &recorded);
        let good = r#"sum by (service) (rate(http_requests_total{a="http_nothing"}[5m])) / http_x_bucket{le="2.0"} + service:a:rate5m"#;
        assert!(of(good).is_empty());
        assert_eq!(of("rate(http_request_total[5m])"), ["http_request_total"]);
        assert_eq!(
            of("service:a:rate10m > http_x_total"),
            ["http_x_total", "service:a:rate10m"]
        );
    }
}
