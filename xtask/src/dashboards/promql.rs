//! Enough of PromQL to lint queries: which series are selected, how, and within which function. Whether a query is one at all
//! is for Prometheus to say.

use anyhow::{Context as _, Result, bail, ensure};

/// One selection of series within a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// The metric's name; empty if only labels select.
    pub name: String,
    pub matchers: Vec<Matcher>,
    /// What stands in brackets behind it.
    pub range: Option<String>,
    /// The functions and aggregations around it, the innermost last.
    pub around: Vec<String>,
}

/// A condition on a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matcher {
    pub label: String,
    /// `=`, `!=`, `=~` or `!~`.
    pub operator: String,
    pub value: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Number,
    Sign(String),
}

/// Words that are no metrics where no parenthesis follows them.
const KEYWORDS: [&str; 12] = [
    "and",
    "or",
    "unless",
    "atan2",
    "bool",
    "offset",
    "inf",
    "nan",
    "by",
    "without",
    "group_left",
    "group_right",
];
/// Words whose parentheses hold labels.
const BEFORE_LABELS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// All selections of a query.
pub fn selectors(query: &str) -> Result<Vec<Selector>> {
    let tokens = tokens(query)?;
    let mut rest = tokens.as_slice();
    let mut around: Vec<String> = Vec::new();
    let mut found = Vec::new();
    while let Some((token, tail)) = rest.split_first() {
        rest = match token {
            Token::Word(word) if BEFORE_LABELS.contains(&&*word.to_lowercase()) && is_sign(tail, "(") => {
                let end = tail
                    .iter()
                    .position(|token| is(token, ")"))
                    .context("a list of labels without an end")?;
                &tail[end + 1..]
            }
            Token::Word(word) if is_sign(tail, "(") => {
                around.push(word.to_lowercase());
                &tail[1..]
            }
            Token::Word(word) if KEYWORDS.contains(&&*word.to_lowercase()) || is_aggregation(word, tail) => tail,
            Token::Word(name) => selector(name, tail, &around, &mut found)?,
            Token::Sign(sign) => match &**sign {
                "(" => {
                    // Behind `sum by (label)`, too: which aggregation it is does not matter.
                    around.push(String::new());
                    tail
                }
                ")" => {
                    around.pop().context("a parenthesis that was not opened")?;
                    tail
                }
                "{" => selector("", rest, &around, &mut found)?,
                "[" => bail!("a range of what is no selector"),
                _ => tail,
            },
            Token::Text(_) | Token::Number => tail,
        };
    }
    ensure!(around.is_empty(), "a parenthesis that is not closed");
    Ok(found)
}

/// `sum by (…)`: an aggregation whose parenthesis comes later.
fn is_aggregation(word: &str, tail: &[Token]) -> bool {
    const AGGREGATIONS: [&str; 12] = [
        "sum",
        "min",
        "max",
        "avg",
        "group",
        "stddev",
        "stdvar",
        "count",
        "count_values",
        "bottomk",
        "topk",
        "quantile",
    ];
    AGGREGATIONS.contains(&word) && matches!(tail.first(), Some(Token::Word(next)) if next == "by" || next == "without")
}

fn is(token: &Token, sign: &str) -> bool {
    matches!(token, Token::Sign(found) if found == sign)
}

fn is_sign(tokens: &[Token], sign: &str) -> bool {
    tokens.first().is_some_and(|token| is(token, sign))
}

/// Reads what follows a metric's name, and says what is left.
fn selector<'a>(name: &str, tail: &'a [Token], around: &[String], found: &mut Vec<Selector>) -> Result<&'a [Token]> {
    let mut rest = tail;
    let mut matchers = Vec::new();
    if is_sign(rest, "{") {
        let end = rest
            .iter()
            .position(|token| is(token, "}"))
            .context("matchers without an end")?;
        for condition in rest[1..end].split(|token| is(token, ",")) {
            match condition {
                [] => {}
                [Token::Word(label), Token::Sign(operator), Token::Text(value)] => matchers.push(Matcher {
                    label: label.clone(),
                    operator: operator.clone(),
                    value: value.clone(),
                }),
                other => bail!("no matcher: {other:?}"),
            }
        }
        rest = &rest[end + 1..];
    }
    let mut range = None;
    if is_sign(rest, "[") {
        match rest {
            [_, Token::Text(text), ..] => range = Some(text.clone()),
            _ => bail!("a range without an end"),
        }
        rest = &rest[2..];
    }
    found.push(Selector {
        name: name.to_owned(),
        matchers,
        range,
        around: around.to_vec(),
    });
    Ok(rest)
}

fn tokens(query: &str) -> Result<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = query;
    while let Some(first) = rest.chars().next() {
        let length = |accept: fn(char) -> bool| rest.find(|letter| !accept(letter)).unwrap_or(rest.len());
        let taken = match first {
            ' ' | '\n' | '\t' => 1,
            '"' | '\'' => {
                let (text, length) = text(&rest[1..], first)?;
                tokens.push(Token::Text(text));
                1 + length
            }
            // What stands in brackets is one token behind the bracket.
            '[' => {
                let end = rest.find(']').context("a range without an end")?;
                tokens.push(Token::Sign("[".to_owned()));
                tokens.push(Token::Text(rest[1..end].to_owned()));
                end + 1
            }
            '0'..='9' | '.' => {
                tokens.push(Token::Number);
                length(|letter| letter.is_ascii_alphanumeric() || letter == '.')
            }
            _ if first.is_ascii_alphabetic() || first == '_' || first == ':' => {
                let length = length(|letter| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':');
                tokens.push(Token::Word(rest[..length].to_owned()));
                length
            }
            _ => {
                let sign = ["=~", "!~", "!=", "==", ">=", "<="]
                    .into_iter()
                    .find(|sign| rest.starts_with(sign));
                let sign = sign.unwrap_or(&rest[..first.len_utf8()]);
                tokens.push(Token::Sign(sign.to_owned()));
                sign.len()
            }
        };
        rest = &rest[taken..];
    }
    Ok(tokens)
}

/// A text up to its closing quote, and how long it is with that.
fn text(rest: &str, quote: char) -> Result<(String, usize)> {
    let mut text = String::new();
    let mut letters = rest.char_indices();
    while let Some((index, letter)) = letters.next() {
        if letter == quote {
            return Ok((text, index + letter.len_utf8()));
        }
        text.push(match letter {
            '\\' => letters.next().context("a text without an end")?.1,
            other => other,
        });
    }
    bail!("a text without an end")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(query: &str) -> Vec<(String, Option<String>, String)> {
        let selectors = selectors(query).unwrap();
        selectors
            .into_iter()
            .map(|selector| (selector.name, selector.range, selector.around.join("/")))
            .collect()
    }

    #[test]
    fn names_ranges_and_functions() {
        let query = r#"histogram_quantile(0.95, sum by (le, handler) (rate(a_bucket{job=~"$job"}[$__rate_interval])))"#;
        let expected = (
            "a_bucket".to_owned(),
            Some("$__rate_interval".to_owned()),
            "histogram_quantile//rate".to_owned(),
        );
        assert_eq!(found(query), [expected]);
        let query = "sum(rate(a_total[5m])) / ignoring (phase) group_left sum by (x) (b) or vector(0) > bool 1e3";
        let names: Vec<String> = found(query).into_iter().map(|(name, _, _)| name).collect();
        assert_eq!(names, ["a_total", "b"]);
        assert_eq!(found("a - b offset 5m")[1].0, "b");
        assert_eq!(found("slo:current_burn_rate:ratio")[0].0, "slo:current_burn_rate:ratio");
    }

    #[test]
    fn matchers_with_all_operators() {
        let all = selectors(r#"a{b="1", c!="}", d=~"(.)\".", e!~'x'} * {__name__="f"}"#).unwrap();
        let matchers: Vec<String> = all[0]
            .matchers
            .iter()
            .map(|matcher| format!("{}{}{}", matcher.label, matcher.operator, matcher.value))
            .collect();
        assert_eq!(matchers, ["b=1", "c!=}", "d=~(.)\".", "e!~x"]);
        assert_eq!((&*all[1].name, all[1].matchers.len()), ("", 1));
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for query in ["sum(a", "a)", "a{b=\"c", "a{b}", "a[5m", "sum(a)[5m:1m]", "sum by (b a"] {
            assert!(selectors(query).is_err(), "{query}");
        }
    }
}
