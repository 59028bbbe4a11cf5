//! What a scrape shows, whatever the format: families of metrics with labels.
//!
//! The `prometheus` crate's own families copy every label's name and value for each metric, which is most of the cost of a
//! scrape at a thousand routes. Here, metrics of one route share their labels, and histograms their bounds.

use std::{borrow::Cow, collections::HashMap, rc::Rc};

use prometheus::proto::{self, MetricType};
use vigie_ebpf::native::{NATIVE_FIRST, NATIVE_SCHEMA, Native};

use crate::observe::ledger::Example;

/// What kind of metrics a family has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A count and a sum.
    Summary,
    /// Counts by size.
    Histogram,
}

/// What a line of the text formats has beside the name and the labels, at the most: a suffix, a bound, and a number.
const LINE: usize = 48;

/// What stands between a bucket's bound and its count in the text formats.
const BEHIND_BOUND: &str = "\"} ";

/// A label's name and its value.
pub type Pair<'a> = (&'static str, Cow<'a, str>);

/// The labels of a metric: those that it shares with others, and at most one of its own, which stands behind them.
#[derive(Clone, Debug)]
pub struct LabelSet<'a> {
    shared: Rc<Shared<'a>>,
    own: Option<Pair<'a>>,
}

/// LabelSet that several metrics have.
#[derive(Debug)]
struct Shared<'a> {
    pairs: Vec<Pair<'a>>,
    /// As the text formats write them, without braces. Empty if there are none.
    text: String,
}

/// The bounds of histograms, in the unit of their family.
#[derive(Debug)]
pub struct Bounds {
    /// Each bound, with what stands for it in the text formats up to the count. The last one is infinite.
    bounds: Vec<(f64, String)>,
}

/// Counts by size.
#[derive(Clone, Debug)]
pub struct Histogram {
    /// The buckets' upper bounds.
    pub bounds: Rc<Bounds>,
    /// How many there are in each bucket, and in no lower one.
    pub counts: Vec<u64>,
    /// The sum of all sizes.
    pub sum: f64,
    /// The same in native buckets, where that was asked for.
    pub native: Option<NativeHistogram>,
    /// Some of what was counted, where that was asked for. The sizes are durations.
    pub exemplars: Vec<Example>,
}

/// Counts in the buckets of Prometheus' native histograms.
#[derive(Clone, Debug)]
pub struct NativeHistogram {
    /// How fine the buckets are.
    pub schema: i32,
    /// Up to which size they count as zero.
    pub zero_threshold: f64,
    /// How many do.
    pub zero_count: u64,
    /// The buckets that are not empty, by their index.
    pub buckets: Vec<(i32, u64)>,
}

/// The value of a metric, of the kind of its family.
#[derive(Clone, Debug)]
pub enum Value {
    /// That of a counter or a gauge.
    Number(f64),
    /// That of a summary.
    Summary {
        /// How many there are.
        count: u64,
        /// The sum of their sizes.
        sum: f64,
    },
    /// That of a histogram.
    Histogram(Histogram),
}

/// A value with its labels.
#[derive(Clone, Debug)]
pub struct Metric<'a> {
    /// The labels.
    pub labels: LabelSet<'a>,
    /// The value.
    pub value: Value,
    /// When it was 0, in seconds since 1970, if that is known.
    pub created: Option<f64>,
}

/// Metrics of one name.
#[derive(Clone, Debug)]
pub struct Family<'a> {
    /// The name, with `_total` if it is a counter.
    pub name: Cow<'static, str>,
    /// What it says.
    pub help: Cow<'static, str>,
    /// Of what kind its metrics are.
    pub kind: Kind,
    /// The metrics.
    pub metrics: Vec<Metric<'a>>,
}

/// A label.
pub fn pair<'a>(name: &'static str, value: impl Into<Cow<'a, str>>) -> Pair<'a> {
    (name, value.into())
}

/// Appends a label as the text formats write it.
pub fn push_pair(text: &mut String, (name, value): &Pair<'_>) {
    text.push_str(name);
    text.push_str("=\"");
    push_escaped(text, value, true);
    text.push('"');
}

/// Appends a text with what the text formats escape in it; quotes only in a label's value, or everywhere in OpenMetrics.
pub fn push_escaped(text: &mut String, value: &str, with_quotes: bool) {
    let special = |byte: &u8| matches!(byte, b'\\' | b'\n') || (with_quotes && *byte == b'"');
    if !value.as_bytes().iter().any(special) {
        return text.push_str(value);
    }
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '"' if with_quotes => text.push_str("\\\""),
            character => text.push(character),
        }
    }
}

/// Appends a number as all formats write it.
pub fn push_number(text: &mut String, value: f64) {
    use std::fmt::Write as _;
    if value.is_infinite() {
        text.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    } else if value.fract() == 0.0 && value.abs() < 9e15 {
        text.push_str(itoa::Buffer::new().format(value as i64));
    } else {
        // Writing to a String cannot fail.
        let _ = write!(text, "{value}");
    }
}

/// A counter's metric.
pub fn counter<'a>(labels: impl Into<LabelSet<'a>>, value: f64) -> Metric<'a> {
    Metric {
        labels: labels.into(),
        value: Value::Number(value),
        created: None,
    }
}

/// A gauge's metric.
pub fn gauge<'a>(labels: impl Into<LabelSet<'a>>, value: f64) -> Metric<'a> {
    counter(labels, value)
}

/// A summary's metric.
pub fn summary<'a>(labels: impl Into<LabelSet<'a>>, count: u64, sum: u64) -> Metric<'a> {
    Metric {
        labels: labels.into(),
        value: Value::Summary { count, sum: sum as f64 },
        created: None,
    }
}

/// A histogram's metric.
pub fn histogram<'a>(
    labels: impl Into<LabelSet<'a>>,
    bounds: &Rc<Bounds>,
    counts: impl Into<Vec<u64>>,
    sum: f64,
) -> Metric<'a> {
    Metric {
        labels: labels.into(),
        value: Value::Histogram(Histogram {
            bounds: Rc::clone(bounds),
            counts: counts.into(),
            sum,
            native: None,
            exemplars: Vec::new(),
        }),
        created: None,
    }
}

/// A family.
pub fn family<'a>(name: &'static str, kind: Kind, help: &'static str, metrics: Vec<Metric<'a>>) -> Family<'a> {
    Family {
        name: name.into(),
        help: help.into(),
        kind,
        metrics,
    }
}

/// A family of the `prometheus` crate, whose metrics have no labels.
pub fn from_crate<'a>(family: &proto::MetricFamily) -> Option<Family<'a>> {
    let kind = match family.get_field_type() {
        MetricType::COUNTER => Kind::Counter,
        MetricType::GAUGE => Kind::Gauge,
        _ => return None,
    };
    let value = |metric: &proto::Metric| match kind {
        Kind::Counter => metric.get_counter().get_value(),
        _ => metric.get_gauge().get_value(),
    };
    let metrics = family.get_metric().iter();
    Some(Family {
        metrics: metrics.map(|metric| counter(vec![], value(metric))).collect(),
        name: family.name().to_owned().into(),
        help: family.help().to_owned().into(),
        kind,
    })
}

// === impl Metric ===

impl Metric<'_> {
    /// The same, with the time when it was 0, in seconds since 1970.
    pub fn created(self, time: f64) -> Self {
        Self {
            created: Some(time),
            ..self
        }
    }
}

// === impl LabelSet ===

impl<'a> From<Vec<Pair<'a>>> for LabelSet<'a> {
    fn from(pairs: Vec<Pair<'a>>) -> Self {
        let mut text = String::new();
        for pair in &pairs {
            if !text.is_empty() {
                text.push(',');
            }
            push_pair(&mut text, pair);
        }
        Self {
            shared: Rc::new(Shared { pairs, text }),
            own: None,
        }
    }
}

impl<'a> LabelSet<'a> {
    /// These labels, shared, and one more.
    pub fn with(&self, name: &'static str, value: impl Into<Cow<'a, str>>) -> Self {
        Self {
            shared: Rc::clone(&self.shared),
            own: Some(pair(name, value)),
        }
    }

    /// All of them.
    pub fn pairs(&self) -> impl Iterator<Item = &Pair<'a>> {
        self.shared.pairs.iter().chain(&self.own)
    }

    /// How many bytes they have in the text formats, without braces.
    fn text_size(&self) -> usize {
        let own = self
            .own
            .as_ref()
            .map_or(0, |(name, value)| name.len() + value.len() + 4);
        self.shared.text.len() + own
    }

    /// Writes them anew as the text formats do behind a name: in braces, or nothing at all.
    pub fn write_behind_name(&self, text: &mut String) {
        text.clear();
        text.push('{');
        self.push_to(text);
        match text.len() {
            1 => text.clear(),
            _ => text.push('}'),
        }
    }

    /// Writes anew what stands before a bucket's bound, up to its quotation mark.
    pub fn write_before_bound(&self, text: &mut String, name: &str) {
        text.clear();
        text.push_str(name);
        text.push_str("_bucket{");
        let length = text.len();
        self.push_to(text);
        if text.len() > length {
            text.push(',');
        }
        text.push_str("le=\"");
    }

    /// Appends them as the text formats write them, without braces.
    fn push_to(&self, text: &mut String) {
        text.push_str(&self.shared.text);
        if let Some(pair) = &self.own {
            if !self.shared.text.is_empty() {
                text.push(',');
            }
            push_pair(text, pair);
        }
    }
}

/// Label sets in which a label has another name. What they share, they share still.
#[derive(Debug)]
pub struct Renamed<'a> {
    from: &'static str,
    to: &'static str,
    /// What was shared, each with what takes its place.
    known: HashMap<*const Shared<'a>, (Rc<Shared<'a>>, LabelSet<'a>)>,
}

// === impl Renamed ===

impl<'a> Renamed<'a> {
    /// Nothing yet.
    pub fn new(from: &'static str, to: &'static str) -> Self {
        Self {
            from,
            to,
            known: HashMap::new(),
        }
    }

    /// The same labels, one of them with another name. A label of a metric's own stays as it is.
    pub fn of(&mut self, labels: &LabelSet<'a>) -> LabelSet<'a> {
        let (from, to) = (self.from, self.to);
        let (_, renamed) = self.known.entry(Rc::as_ptr(&labels.shared)).or_insert_with(|| {
            let pairs = labels.shared.pairs.iter().cloned();
            let pairs = pairs.map(|(name, value)| (if name == from { to } else { name }, value));
            // It is kept, so that nothing else is ever at its address.
            (Rc::clone(&labels.shared), pairs.collect::<Vec<_>>().into())
        });
        LabelSet {
            shared: Rc::clone(&renamed.shared),
            own: labels.own.clone(),
        }
    }
}

// === impl Family ===

impl Family<'_> {
    /// About how many bytes the text formats need for it, and rather too many: a text that grows is copied.
    pub fn text_size(&self) -> usize {
        let lines = |metric: &Metric<'_>| {
            let samples = match &metric.value {
                Value::Number(_) => 1,
                Value::Summary { .. } => 2,
                Value::Histogram(histogram) => histogram.counts.len() + 2,
            };
            samples + usize::from(metric.created.is_some())
        };
        let line = |labels: &LabelSet<'_>| self.name.len() + labels.text_size() + LINE;
        let metrics = self.metrics.iter();
        let metrics = metrics.map(|metric| lines(metric) * line(&metric.labels));
        2 * (self.name.len() + self.help.len() + LINE) + metrics.sum::<usize>()
    }
}

// === impl Bounds ===

impl Bounds {
    /// These upper bounds, and an infinite one behind them.
    pub fn new(bounds: impl IntoIterator<Item = f64>) -> Rc<Self> {
        let all = bounds.into_iter().chain([f64::INFINITY]);
        Rc::new(Self {
            bounds: all.map(|bound| (bound, bound_text(bound) + BEHIND_BOUND)).collect(),
        })
    }

    /// Each bound, with how the text formats write it, as a decimal with a point, and what follows up to the count.
    pub fn iter(&self) -> impl Iterator<Item = (f64, &str)> {
        self.bounds.iter().map(|(bound, text)| (*bound, text.as_str()))
    }
}

/// The encoder of the `prometheus` crate writes the bound 1 as `le="1"`, and Prometheus 3 and OpenMetrics as `le="1.0"`:
/// the same series would have two names.
fn bound_text(bound: f64) -> String {
    let mut text = String::new();
    push_number(&mut text, bound);
    if bound.is_finite() && bound.fract() == 0.0 {
        text.push_str(".0");
    }
    text
}

// === impl NativeHistogram ===

impl NativeHistogram {
    /// That of the kernel side's counts.
    pub fn new(counts: &Native) -> Self {
        let places = (NATIVE_FIRST..).zip(counts).skip(1);
        Self {
            schema: NATIVE_SCHEMA,
            zero_threshold: (f64::from(NATIVE_FIRST) / 8.0).exp2(),
            zero_count: counts[0],
            buckets: places
                .filter(|(_, count)| **count > 0)
                .map(|(index, count)| (index, *count))
                .collect(),
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.zero_count + self.buckets.iter().map(|(_, count)| count).sum::<u64>()
    }
}

// === impl Histogram ===

impl Histogram {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Appends its buckets as the text formats write them. `before_bound` is what stands in each line up to the bound, and
    /// `end` appends what stands behind the count.
    pub fn push_buckets(&self, text: &mut String, before_bound: &str, end: impl Fn(&mut String, f64)) {
        // Most buckets have the count of the one before.
        let (mut buffer, mut shown) = (itoa::Buffer::new(), 0);
        let mut digits = buffer.format(shown);
        for (bound, bound_text, count) in self.cumulative() {
            if count != shown {
                shown = count;
                digits = buffer.format(count);
            }
            text.push_str(before_bound);
            text.push_str(bound_text);
            text.push_str(digits);
            end(text, bound);
            text.push('\n');
        }
    }

    /// The last exemplar of the bucket with this upper bound.
    pub fn exemplar(&self, bound: f64) -> Option<&Example> {
        if self.exemplars.is_empty() {
            return None;
        }
        let (place, _) = self.bounds.iter().enumerate().find(|(_, (known, _))| *known >= bound)?;
        // Where requests have become another series' they have left theirs.
        if self.counts.get(place)? == &0 {
            return None;
        }
        let above = match place.checked_sub(1) {
            Some(before) => self.bounds.bounds.get(before)?.0,
            None => f64::NEG_INFINITY,
        };
        let inside = self
            .exemplars
            .iter()
            .filter(|example| example.duration > above && example.duration <= bound);
        inside.max_by(|a, b| a.end.total_cmp(&b.end))
    }

    /// Each bound, with how many are not above it.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, &str, u64)> {
        let mut sum = 0;
        self.bounds.iter().zip(&self.counts).map(move |((bound, text), count)| {
            sum += count;
            (bound, text, sum)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_have_a_decimal_point() {
        let bounds = Bounds::new([0.0005, 0.5, 1.0, 10.0]);
        let texts: Vec<&str> = bounds
            .iter()
            .filter_map(|(_, text)| text.strip_suffix(BEHIND_BOUND))
            .collect();
        assert_eq!(texts, ["0.0005", "0.5", "1.0", "10.0", "+Inf"]);
    }

    #[test]
    fn numbers_are_written_without_an_exponent() {
        for (value, expected) in [
            (0.0, "0"),
            (-3.0, "-3"),
            (0.25, "0.25"),
            (1e15, "1000000000000000"),
            (1e17, "100000000000000000"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            let mut text = String::new();
            push_number(&mut text, value);
            assert_eq!(text, expected);
        }
    }
}
