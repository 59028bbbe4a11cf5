//! The Prometheus text format, version 0.0.4.
//!
//! The encoder of the `prometheus` crate writes the bound 1 as `le="1"`, and Prometheus 3 and OpenMetrics as `le="1.0"`:
//! the same series would have two names. This one writes the decimal point, and is faster, too.

use std::fmt::Write as _;

use prometheus::proto::{LabelPair, MetricFamily, MetricType};

/// The content type of this format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes the families as text.
pub fn encode(families: &[MetricFamily]) -> String {
    let mut text = String::with_capacity(64 * 1024);
    for family in families {
        encode_family(&mut text, family);
    }
    text
}

fn encode_family(text: &mut String, family: &MetricFamily) {
    let name = family.name();
    text.push_str("# HELP ");
    text.push_str(name);
    text.push(' ');
    push_escaped(text, family.help(), false);
    text.push_str("\n# TYPE ");
    text.push_str(name);
    text.push_str(match family.get_field_type() {
        MetricType::COUNTER => " counter\n",
        MetricType::GAUGE => " gauge\n",
        MetricType::SUMMARY => " summary\n",
        MetricType::HISTOGRAM => " histogram\n",
        MetricType::UNTYPED => " untyped\n",
    });
    let mut labels = String::new();
    for metric in family.get_metric() {
        labels.clear();
        for pair in metric.get_label() {
            push_label(&mut labels, pair);
        }
        match family.get_field_type() {
            MetricType::COUNTER => push_sample(text, name, "", &labels, metric.get_counter().get_value()),
            MetricType::GAUGE => push_sample(text, name, "", &labels, metric.get_gauge().get_value()),
            // Vigie has none.
            MetricType::UNTYPED => {}
            MetricType::SUMMARY => {
                let summary = metric.get_summary();
                push_sample(text, name, "_sum", &labels, summary.sample_sum());
                push_count(text, name, "_count", &labels, summary.sample_count());
            }
            MetricType::HISTOGRAM => {
                let histogram = metric.get_histogram();
                let length = labels.len();
                for bucket in histogram.get_bucket() {
                    if length > 0 {
                        labels.push(',');
                    }
                    labels.push_str("le=\"");
                    push_bound(&mut labels, bucket.upper_bound());
                    labels.push('"');
                    push_count(text, name, "_bucket", &labels, bucket.cumulative_count());
                    labels.truncate(length);
                }
                push_sample(text, name, "_sum", &labels, histogram.get_sample_sum());
                push_count(text, name, "_count", &labels, histogram.get_sample_count());
            }
        }
    }
}

fn push_label(labels: &mut String, pair: &LabelPair) {
    if !labels.is_empty() {
        labels.push(',');
    }
    labels.push_str(pair.name());
    labels.push_str("=\"");
    push_escaped(labels, pair.value(), true);
    labels.push('"');
}

fn push_name(text: &mut String, name: &str, suffix: &str, labels: &str) {
    text.push_str(name);
    text.push_str(suffix);
    if !labels.is_empty() {
        text.push('{');
        text.push_str(labels);
        text.push('}');
    }
    text.push(' ');
}

// Writing to a String cannot fail: the results are dropped.

fn push_count(text: &mut String, name: &str, suffix: &str, labels: &str, value: u64) {
    push_name(text, name, suffix, labels);
    let _ = writeln!(text, "{value}");
}

fn push_sample(text: &mut String, name: &str, suffix: &str, labels: &str, value: f64) {
    push_name(text, name, suffix, labels);
    push_number(text, value);
    text.push('\n');
}

fn push_number(text: &mut String, value: f64) {
    if value.is_infinite() {
        text.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    } else {
        let _ = write!(text, "{value}");
    }
}

fn push_bound(text: &mut String, bound: f64) {
    push_number(text, bound);
    if bound.is_finite() && bound.fract() == 0.0 {
        text.push_str(".0");
    }
}

fn push_escaped(text: &mut String, value: &str, is_label: bool) {
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '"' if is_label => text.push_str("\\\""),
            character => text.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::proto::{Bucket, Counter, Histogram, Metric};

    use super::*;

    fn pair(name: &str, value: &str) -> LabelPair {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    }

    #[test]
    fn the_format_is_as_specified() {
        let mut counter = Metric::from_label(vec![pair("a", "x\"\\\n")]);
        let mut value = Counter::default();
        value.set_value(12.0);
        counter.set_counter(value);
        let mut counters = MetricFamily::default();
        counters.set_name("c_total".to_owned());
        counters.set_help("Help\nme.".to_owned());
        counters.set_field_type(MetricType::COUNTER);
        counters.set_metric(vec![counter]);

        let mut histogram = Histogram::default();
        let buckets = [(0.0005, 1), (1.0, 2), (f64::INFINITY, 3)].map(|(bound, count)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(count);
            bucket
        });
        histogram.set_bucket(buckets.into());
        histogram.set_sample_sum(2.5);
        histogram.set_sample_count(3);
        let mut metric = Metric::from_label(vec![]);
        metric.set_histogram(histogram);
        let mut histograms = MetricFamily::default();
        histograms.set_name("h".to_owned());
        histograms.set_help("H".to_owned());
        histograms.set_field_type(MetricType::HISTOGRAM);
        histograms.set_metric(vec![metric]);

        assert_eq!(
            encode(&[counters, histograms]),
            "# HELP c_total Help\\nme.\n# TYPE c_total counter\nc_total{a=\"x\\\"\\\\\\n\"} 12\n\
             # HELP h H\n# TYPE h histogram\nh_bucket{le=\"0.0005\"} 1\nh_bucket{le=\"1.0\"} 2\nh_bucket{le=\"+Inf\"} 3\n\
             h_sum 2.5\nh_count 3\n"
        );
    }
}
