//! The Prometheus protobuf format: messages of `io.prometheus.client`, each after its length.
//!
//! The fields' numbers are those of `metrics.proto` in `prometheus/client_model`.

use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint},
};

use super::model::{self, Family, Kind, Metric, Value};
use crate::observe::ledger::Example;

/// The message that each family is.
pub const MESSAGE: &str = "io.prometheus.client.MetricFamily";
/// How they follow one another.
pub const ENCODING: &str = "delimited";
/// The content type of this format.
pub const CONTENT_TYPE: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// The numbers of the fields that are written one by one.
const FAMILY_METRIC: u32 = 4;
const METRIC_LABEL: u32 = 1;
const LABEL_NAME: u32 = 1;
const LABEL_VALUE: u32 = 2;

#[derive(Clone, PartialEq, Message)]
struct MetricFamilyMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    help: String,
    #[prost(int32, optional, tag = "3")]
    kind: Option<i32>,
    #[prost(message, repeated, tag = "4")]
    metric: Vec<MetricMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct LabelMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct MetricMessage {
    #[prost(message, repeated, tag = "1")]
    label: Vec<LabelMessage>,
    #[prost(message, optional, tag = "2")]
    gauge: Option<NumberMessage>,
    #[prost(message, optional, tag = "3")]
    counter: Option<CounterMessage>,
    #[prost(message, optional, tag = "4")]
    summary: Option<SummaryMessage>,
    #[prost(message, optional, tag = "7")]
    histogram: Option<HistogramMessage>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct NumberMessage {
    #[prost(double, optional, tag = "1")]
    value: Option<f64>,
}

/// A counter without an exemplar.
#[derive(Clone, Copy, PartialEq, Message)]
struct CounterMessage {
    #[prost(double, optional, tag = "1")]
    value: Option<f64>,
    #[prost(message, optional, tag = "3")]
    created: Option<TimestampMessage>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct SummaryMessage {
    #[prost(uint64, optional, tag = "1")]
    count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    sum: Option<f64>,
    #[prost(message, optional, tag = "4")]
    created: Option<TimestampMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct HistogramMessage {
    #[prost(uint64, optional, tag = "1")]
    count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    sum: Option<f64>,
    #[prost(message, repeated, tag = "3")]
    bucket: Vec<BucketMessage>,
    #[prost(sint32, optional, tag = "5")]
    schema: Option<i32>,
    #[prost(double, optional, tag = "6")]
    zero_threshold: Option<f64>,
    #[prost(uint64, optional, tag = "7")]
    zero_count: Option<u64>,
    #[prost(message, repeated, tag = "12")]
    positive_span: Vec<SpanMessage>,
    #[prost(sint64, repeated, packed = "false", tag = "13")]
    positive_delta: Vec<i64>,
    #[prost(message, optional, tag = "15")]
    created: Option<TimestampMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct BucketMessage {
    #[prost(uint64, optional, tag = "1")]
    cumulative_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    upper_bound: Option<f64>,
    #[prost(message, optional, tag = "3")]
    exemplar: Option<ExemplarMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct ExemplarMessage {
    #[prost(message, repeated, tag = "1")]
    label: Vec<LabelMessage>,
    #[prost(double, optional, tag = "2")]
    value: Option<f64>,
    #[prost(message, optional, tag = "3")]
    timestamp: Option<TimestampMessage>,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, Message)]
struct TimestampMessage {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct SpanMessage {
    #[prost(sint32, optional, tag = "1")]
    offset: Option<i32>,
    #[prost(uint32, optional, tag = "2")]
    length: Option<u32>,
}

/// Writes the families.
pub fn encode(families: &[Family<'_>]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1024 * 1024);
    // A family and a metric follow their lengths, which are not known before.
    let (mut family_bytes, mut metric_bytes) = (Vec::new(), Vec::new());
    for family in families {
        family_bytes.clear();
        push(&mut family_bytes, &head(family));
        for metric in &family.metrics {
            metric_bytes.clear();
            for pair in metric.labels.pairs() {
                push_label(&mut metric_bytes, pair);
            }
            push(&mut metric_bytes, &metric_of(family.kind, metric));
            push_part(&mut family_bytes, FAMILY_METRIC, &metric_bytes);
        }
        encode_varint(family_bytes.len() as u64, &mut bytes);
        bytes.extend_from_slice(&family_bytes);
    }
    bytes
}

/// Appends the fields of a message.
fn push(bytes: &mut Vec<u8>, message: &impl Message) {
    message.encode_raw(bytes);
}

/// Appends a field that is a message or a text.
fn push_part(bytes: &mut Vec<u8>, field: u32, part: &[u8]) {
    encode_key(field, WireType::LengthDelimited, bytes);
    encode_varint(part.len() as u64, bytes);
    bytes.extend_from_slice(part);
}

/// Appends a metric's label. Not by way of a [`LabelMessage`]: two texts of its own for each label were half of the cost.
fn push_label(bytes: &mut Vec<u8>, (name, value): &model::Pair<'_>) {
    let field = |text: &str| 1 + encoded_len_varint(text.len() as u64) + text.len();
    encode_key(METRIC_LABEL, WireType::LengthDelimited, bytes);
    encode_varint((field(name) + field(value)) as u64, bytes);
    push_part(bytes, LABEL_NAME, name.as_bytes());
    push_part(bytes, LABEL_VALUE, value.as_bytes());
}

/// A family without its metrics.
fn head(family: &Family<'_>) -> MetricFamilyMessage {
    // The enumeration MetricType.
    let kind = match family.kind {
        Kind::Counter => 0,
        Kind::Gauge => 1,
        Kind::Summary => 2,
        Kind::Histogram => 4,
    };
    MetricFamilyMessage {
        name: family.name.to_string(),
        help: family.help.to_string(),
        kind: Some(kind),
        metric: Vec::new(),
    }
}

/// A metric without its labels.
fn metric_of(kind: Kind, metric: &Metric<'_>) -> MetricMessage {
    let mut message = MetricMessage::default();
    let created = metric.created.map(timestamp);
    match &metric.value {
        Value::Number(number) => {
            let value = Some(*number);
            match kind {
                Kind::Counter => message.counter = Some(CounterMessage { value, created }),
                _ => message.gauge = Some(NumberMessage { value }),
            }
        }
        Value::Summary { count, sum } => {
            message.summary = Some(SummaryMessage {
                count: Some(*count),
                sum: Some(*sum),
                created,
            });
        }
        Value::Histogram(histogram) => {
            message.histogram = Some(HistogramMessage {
                created,
                ..histogram_of(histogram)
            });
        }
    }
    message
}

/// A time in seconds since 1970.
fn timestamp(time: f64) -> TimestampMessage {
    TimestampMessage {
        seconds: time.floor() as i64,
        nanos: (time.fract() * 1e9) as i32,
    }
}

fn exemplar(example: &Example) -> ExemplarMessage {
    ExemplarMessage {
        label: vec![LabelMessage {
            name: "trace_id".to_owned(),
            value: example.trace_id.clone(),
        }],
        value: Some(example.duration),
        timestamp: Some(timestamp(example.end)),
    }
}

fn histogram_of(histogram: &model::Histogram) -> HistogramMessage {
    let bucket = histogram.cumulative().map(|(bound, _, count)| BucketMessage {
        cumulative_count: Some(count),
        upper_bound: Some(bound),
        exemplar: histogram.exemplar(bound).map(exemplar),
    });
    let mut message = HistogramMessage {
        count: Some(histogram.count()),
        sum: Some(histogram.sum),
        bucket: bucket.collect(),
        ..HistogramMessage::default()
    };
    if let Some(native) = &histogram.native {
        // Prometheus refuses a native histogram whose buckets do not add up to this.
        message.count = Some(native.count());
        message.schema = Some(native.schema);
        message.zero_threshold = Some(native.zero_threshold);
        message.zero_count = Some(native.zero_count);
        (message.positive_span, message.positive_delta) = spans(&native.buckets);
        if native.buckets.is_empty() && native.zero_count == 0 {
            // By this, a native histogram without observations is told from a classic one.
            message.positive_span = vec![SpanMessage {
                offset: Some(0),
                length: Some(0),
            }];
        }
    }
    message
}

/// Spans of consecutive buckets, and the difference of each bucket's count from the one before.
fn spans(buckets: &[(i32, u64)]) -> (Vec<SpanMessage>, Vec<i64>) {
    let mut spans = Vec::<SpanMessage>::new();
    let (mut end, mut previous) = (0, 0);
    let mut deltas = Vec::with_capacity(buckets.len());
    for (index, count) in buckets {
        match spans.last_mut() {
            Some(span) if *index == end => span.length = span.length.map(|length| length + 1),
            _ => spans.push(SpanMessage {
                offset: Some(index - end),
                length: Some(1),
            }),
        }
        end = index + 1;
        let count = *count as i64;
        deltas.push(count - previous);
        previous = count;
    }
    (spans, deltas)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::model::{Bounds, NativeHistogram, counter, family, histogram, pair, summary};

    fn span(offset: i32, length: u32) -> SpanMessage {
        SpanMessage {
            offset: Some(offset),
            length: Some(length),
        }
    }

    #[test]
    fn buckets_become_spans_and_differences() {
        let (positive, deltas) = spans(&[(-3, 2), (-2, 5), (4, 1), (6, 1)]);
        assert_eq!(positive, [span(-3, 2), span(5, 1), span(1, 1)]);
        assert_eq!(deltas, [2, 3, -4, 0]);
        assert_eq!(spans(&[]), (vec![], vec![]));
    }

    #[test]
    fn the_time_of_birth_has_its_field() {
        let created = 1_764_000_000.25;
        let families = [
            family("c", Kind::Counter, "C", vec![counter(vec![], 1.0).created(created)]),
            family("s", Kind::Summary, "S", vec![summary(vec![], 2, 3).created(created)]),
            family(
                "h",
                Kind::Histogram,
                "H",
                vec![
                    histogram(vec![], &Bounds::new([]), [1], 0.5).created(created),
                    histogram(vec![], &Bounds::new([]), [1], 0.5),
                ],
            ),
        ];
        let mut bytes = &*encode(&families);
        let mut next = || MetricFamilyMessage::decode_length_delimited(&mut bytes).unwrap().metric;
        let expected = Some(TimestampMessage {
            seconds: 1_764_000_000,
            nanos: 250_000_000,
        });
        assert_eq!(next()[0].counter.unwrap().created, expected);
        assert_eq!(next()[0].summary.unwrap().created, expected);
        let histograms: Vec<_> = next()
            .into_iter()
            .map(|metric| metric.histogram.unwrap().created)
            .collect();
        assert_eq!(histograms, [expected, None]);
    }

    #[test]
    fn families_follow_one_another() {
        let mut metric = histogram(vec![pair("a", "b")], &Bounds::new([1.0]), [1, 2], 5.0);
        if let Value::Histogram(histogram) = &mut metric.value {
            histogram.native = Some(NativeHistogram {
                schema: 3,
                zero_threshold: 0.5,
                zero_count: 1,
                buckets: vec![(8, 2)],
            });
        }
        let families = [
            family("c_total", Kind::Counter, "C", vec![counter(vec![], 1.5)]),
            family("h", Kind::Histogram, "H", vec![metric]),
        ];
        let mut bytes = &*encode(&families);
        let first = MetricFamilyMessage::decode_length_delimited(&mut bytes).unwrap();
        let second = MetricFamilyMessage::decode_length_delimited(&mut bytes).unwrap();
        assert!(bytes.is_empty());
        assert_eq!(
            (first.name.as_str(), first.help.as_str(), first.kind),
            ("c_total", "C", Some(0))
        );
        assert_eq!(first.metric[0].counter.unwrap().value, Some(1.5));
        let metric = &second.metric[0];
        assert_eq!(
            (metric.label[0].name.as_str(), metric.label[0].value.as_str()),
            ("a", "b")
        );
        let histogram = metric.histogram.as_ref().unwrap();
        assert_eq!((histogram.count, histogram.sum), (Some(3), Some(5.0)));
        assert_eq!((histogram.schema, histogram.zero_count), (Some(3), Some(1)));
        assert_eq!(
            (&*histogram.positive_span, &*histogram.positive_delta),
            (&[span(8, 1)][..], &[2][..])
        );
        let buckets: Vec<_> = histogram
            .bucket
            .iter()
            .map(|bucket| bucket.cumulative_count.unwrap())
            .collect();
        assert_eq!(buckets, [1, 3]);
    }
}
