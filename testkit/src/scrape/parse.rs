//! The lines of the text format.

use super::{Family, Kind, Labels, ParseError, Sample, Scrape};
use std::collections::{BTreeMap, BTreeSet};

type Problem<T> = Result<T, String>;

pub fn parse(text: &str) -> Result<Scrape, ParseError> {
    let mut parser = Parser::default();
    for (index, line) in text.split_inclusive('\n').enumerate() {
        parser.line(index + 1, line).map_err(|problem| ParseError {
            line: index + 1,
            problem,
        })?;
    }
    Ok(parser.scrape)
}

#[derive(Default)]
struct Parser {
    scrape: Scrape,
    /// HELP texts by family name, until their TYPE line.
    helps: BTreeMap<String, String>,
    seen: BTreeSet<(String, Labels)>,
    /// The family of the last sample, and those that ended.
    current: String,
    ended: BTreeSet<String>,
}

impl Parser {
    fn line(&mut self, number: usize, line: &str) -> Problem<()> {
        let line = line.strip_suffix('\n').ok_or("the last line has no line end")?;
        if let Some(comment) = line.trim_start().strip_prefix('#') {
            return self.comment(number, comment.trim_start());
        }
        if line.trim().is_empty() {
            Ok(())
        } else {
            self.sample(line)
        }
    }

    fn comment(&mut self, number: usize, comment: &str) -> Problem<()> {
        let (keyword, rest) = comment.split_once([' ', '\t']).unwrap_or((comment, ""));
        let rest = rest.trim_start();
        let (name, rest) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
        match keyword {
            "HELP" => self.help(name, rest),
            "TYPE" => self.kind(number, name, rest.trim()),
            _ => Ok(()),
        }
    }

    fn help(&mut self, name: &str, text: &str) -> Problem<()> {
        metric_name(name)?;
        let text = unescape(text, false)?;
        if self.scrape.family(name).is_some_and(|family| !family.help.is_empty()) || self.helps.contains_key(name) {
            return Err(format!("second HELP of {name}"));
        }
        match self.scrape.families.iter_mut().find(|family| family.name == name) {
            Some(family) => family.help = text,
            None => {
                self.helps.insert(name.to_owned(), text);
            }
        }
        Ok(())
    }

    fn kind(&mut self, line: usize, name: &str, kind: &str) -> Problem<()> {
        metric_name(name)?;
        if self.scrape.family(name).is_some() {
            return Err(format!("second TYPE of {name}"));
        }
        let kind = match kind {
            "counter" => Kind::Counter,
            "gauge" => Kind::Gauge,
            "histogram" => Kind::Histogram,
            "summary" => Kind::Summary,
            "untyped" => Kind::Untyped,
            _ => return Err(format!("unknown type {kind:?}")),
        };
        let help = self.helps.remove(name).unwrap_or_default();
        self.scrape.families.push(Family {
            name: name.to_owned(),
            kind,
            help,
            line,
        });
        Ok(())
    }

    fn sample(&mut self, line: &str) -> Problem<()> {
        let line = line.trim();
        let name_end = line.find(['{', ' ', '\t']).ok_or("no value")?;
        let (name, rest) = line.split_at(name_end);
        metric_name(name)?;
        let (labels, rest) = match rest.trim_start().strip_prefix('{') {
            Some(rest) => labels(rest)?,
            None => (Labels::new(), rest),
        };
        let mut words = rest.split_whitespace();
        let value = number(words.next().ok_or("no value")?)?;
        if let Some(timestamp) = words.next() {
            timestamp
                .parse::<i64>()
                .map_err(|_| format!("bad timestamp {timestamp:?}"))?;
        }
        if let Some(word) = words.next() {
            return Err(format!("{word:?} after the sample"));
        }
        self.add(Sample {
            name: name.to_owned(),
            labels,
            value,
        })
    }

    fn add(&mut self, sample: Sample) -> Problem<()> {
        let family = family_of(&self.scrape, &sample.name).ok_or_else(|| format!("{} has no TYPE", sample.name))?;
        let is_count = match family.kind {
            Kind::Counter => true,
            Kind::Histogram => !sample.name.ends_with("_sum"),
            _ => false,
        };
        if is_count && (sample.value < 0.0 || sample.value.is_nan()) {
            return Err(format!("{} is {}", sample.name, sample.value));
        }
        if family.name != self.current {
            let family = family.name.clone();
            if self.ended.contains(&family) {
                return Err(format!("the samples of {family} are not together"));
            }
            self.ended.insert(std::mem::replace(&mut self.current, family));
        }
        if !self.seen.insert((sample.name.clone(), sample.labels.clone())) {
            return Err(format!("second sample of {} {:?}", sample.name, sample.labels));
        }
        self.scrape.samples.push(sample);
        Ok(())
    }
}

/// The family a sample belongs to. A histogram or a summary has suffixed names too.
fn family_of<'a>(scrape: &'a Scrape, name: &str) -> Option<&'a Family> {
    let suffixed = |suffix: &str, kinds: &[Kind]| {
        let family = scrape.family(name.strip_suffix(suffix)?)?;
        kinds.contains(&family.kind).then_some(family)
    };
    scrape
        .family(name)
        .filter(|family| family.kind != Kind::Histogram)
        .or_else(|| suffixed("_bucket", &[Kind::Histogram]))
        .or_else(|| suffixed("_sum", &[Kind::Histogram, Kind::Summary]))
        .or_else(|| suffixed("_count", &[Kind::Histogram, Kind::Summary]))
}

/// Parses what follows `{`, and gives what follows `}`.
fn labels(mut rest: &str) -> Problem<(Labels, &str)> {
    let mut labels = Labels::new();
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((labels, after));
        }
        let (name, after) = rest.split_once('=').ok_or("label without =")?;
        let name = name.trim_end();
        label_name(name)?;
        let quoted = after
            .trim_start()
            .strip_prefix('"')
            .ok_or("label value without quotes")?;
        let end = closing_quote(quoted).ok_or("label value without end")?;
        if labels
            .insert(name.to_owned(), unescape(&quoted[..end], true)?)
            .is_some()
        {
            return Err(format!("label {name} twice"));
        }
        rest = quoted[end + 1..].trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.starts_with('}') => {}
            None => return Err("no comma between labels".to_owned()),
        }
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(index),
            _ => {}
        }
    }
    None
}

/// Resolves `\\` and `\n`, and `\"` in label values. Anything else after a backslash is wrong.
fn unescape(text: &str, is_label: bool) -> Problem<String> {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            plain.push(letter);
            continue;
        }
        plain.push(match letters.next() {
            Some('\\') => '\\',
            Some('n') => '\n',
            Some('"') if is_label => '"',
            other => return Err(format!("bad escape {other:?} in {text:?}")),
        });
    }
    Ok(plain)
}

/// A number as Go's ParseFloat reads it (Rust's parser takes the same words for infinity and NaN).
pub fn number(text: &str) -> Problem<f64> {
    text.parse().map_err(|_| format!("bad number {text:?}"))
}

fn metric_name(name: &str) -> Problem<()> {
    is_name(name, ":_")
        .then_some(())
        .ok_or_else(|| format!("bad metric name {name:?}"))
}

fn label_name(name: &str) -> Problem<()> {
    is_name(name, "_")
        .then_some(())
        .ok_or_else(|| format!("bad label name {name:?}"))
}

fn is_name(name: &str, marks: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|letter: char| letter.is_ascii_digit())
        && name
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || marks.contains(letter))
}
