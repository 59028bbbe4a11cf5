//! One dashboard's questions, as Grafana puts them.

use crate::dashboards::lint::linter::{label_values, variable_query};
use anyhow::{Context as _, Result};
use serde_json::Value;
use std::collections::BTreeMap;
use testkit::Prometheus;
use testkit::prometheus::escape;

/// The time that is shown, in seconds of Unix time.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub begin: f64,
    pub end: f64,
}

/// For scrapes every second: Grafana's own is at least four of them, and a minute where nobody told it how often they are.
const RATE_INTERVAL: &str = "10s";
/// Between two points of a line.
const STEP: &str = "2";

/// Knows the values of a dashboard's variables.
#[derive(Debug)]
pub struct Asker<'a> {
    prometheus: &'a Prometheus,
    span: Span,
    values: BTreeMap<String, String>,
}

// === impl Asker ===

impl<'a> Asker<'a> {
    pub fn new(prometheus: &'a Prometheus, span: Span) -> Self {
        let seconds = (span.end - span.begin).ceil();
        let own = [
            ("__rate_interval", RATE_INTERVAL.to_owned()),
            ("__range", format!("{seconds}s")),
        ];
        Self {
            prometheus,
            span,
            values: own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        }
    }

    /// Sets all variables of the dashboard as they are when it is opened for the first time, and says which have no values.
    pub fn variables(&mut self, dashboard: &Value) -> Result<Vec<String>> {
        let mut problems = Vec::new();
        for variable in dashboard["templating"]["list"].as_array().into_iter().flatten() {
            let name = variable["name"].as_str().context("a variable without a name")?;
            if variable["type"] != "query" {
                continue;
            }
            let query = fill(variable_query(variable), &self.values);
            let (series, label) = label_values(&query).with_context(|| format!("no query of label values: {query}"))?;
            let target = format!(
                "/api/v1/label/{label}/values?match%5B%5D={}&{}",
                escape(series),
                self.time()
            );
            let found = self.prometheus.api(&target)?;
            let found: Vec<&str> = found
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            if found.is_empty() {
                problems.push(format!("no value for the variable '{name}': {query}"));
            }
            let value = match variable["allValue"].as_str() {
                Some(all) => all.to_owned(),
                None => regular(found.first().copied().unwrap_or_default()),
            };
            self.values.insert(name.to_owned(), value);
        }
        Ok(problems)
    }

    /// How many series with at least one number a query gives.
    pub fn target(&self, target: &Value) -> Result<usize> {
        let expression = target["expr"].as_str().context("a query without an expression")?;
        let query = escape(&fill(expression, &self.values));
        let api = match target["instant"] == true {
            true => format!("/api/v1/query?query={query}&time={}", self.span.end),
            false => format!("/api/v1/query_range?query={query}&step={STEP}&{}", self.time()),
        };
        let data = self.prometheus.api(&api)?;
        let series = data["result"].as_array().context("an answer that is no list")?;
        Ok(series.iter().filter(|series| has_number(series)).count())
    }

    fn time(&self) -> String {
        format!("start={}&end={}", self.span.begin, self.span.end)
    }
}

/// Whether a series has a value that can be drawn.
fn has_number(series: &Value) -> bool {
    let many = series["values"].as_array().into_iter().flatten();
    let mut all = many.chain([&series["value"]]).filter_map(|pair| pair[1].as_str());
    all.any(|value| value.parse::<f64>().is_ok_and(f64::is_finite))
}

/// A value as part of a regular expression, as Grafana writes it.
fn regular(value: &str) -> String {
    let mut text = String::new();
    for letter in value.chars() {
        if r"\^$*+?.()|[]{}/".contains(letter) && letter != '/' {
            text.push_str(r"\\");
        }
        text.push(letter);
    }
    text
}

/// Puts in the values of `$name` and `${name}`. What is not known stays, as the groups of a regular expression.
fn fill(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut filled = String::new();
    let mut parts = text.split('$');
    filled.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (open, rest) = part.strip_prefix('{').map_or(("", part), |rest| ("{", rest));
        let end = rest
            .find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'))
            .unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        match values.get(name) {
            Some(value) => {
                filled.push_str(value);
                filled.push_str(if open.is_empty() {
                    rest
                } else {
                    rest.strip_prefix('}').unwrap_or(rest)
                });
            }
            None => {
                filled.push('$');
                filled.push_str(part);
            }
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn variables_are_filled_in() {
        let values = [("a", "1"), ("ab", "2")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let filled = fill(r#"$a $ab ${a}s "${1}xx" $c"#, &values.into());
        assert_eq!(filled, r#"1 2 1s "${1}xx" $c"#);
        assert_eq!(regular("a.b/c:d"), r"a\\.b/c:d");
    }

    #[test]
    fn a_number_is_needed() {
        assert!(has_number(&json!({ "value": [1, "0"] })));
        assert!(has_number(&json!({ "values": [[1, "NaN"], [2, "3"]] })));
        assert!(!has_number(&json!({ "values": [[1, "NaN"], [2, "+Inf"]] })));
        assert!(!has_number(&json!({ "metric": {} })));
    }
}
