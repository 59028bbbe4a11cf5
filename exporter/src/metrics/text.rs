//! The Prometheus text format, version 0.0.4.

use super::model::{Family, Kind, Value, push_escaped, push_number};

/// The version that is spoken.
pub const VERSION: &str = "0.0.4";
/// The content type of this format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes the families as text.
pub fn encode(families: &[Family<'_>]) -> String {
    let mut text = String::with_capacity(families.iter().map(Family::text_size).sum());
    for family in families {
        encode_family(&mut text, family);
    }
    text
}

fn encode_family(text: &mut String, family: &Family<'_>) {
    let name = &*family.name;
    text.push_str("# HELP ");
    text.push_str(name);
    text.push(' ');
    push_escaped(text, &family.help, false);
    text.push_str("\n# TYPE ");
    text.push_str(name);
    text.push_str(match family.kind {
        Kind::Counter => " counter\n",
        Kind::Gauge => " gauge\n",
        Kind::Summary => " summary\n",
        Kind::Histogram => " histogram\n",
    });
    // What stands behind the name, and before a bucket's bound.
    let (mut labels, mut bucket) = (String::new(), String::new());
    for metric in &family.metrics {
        metric.labels.write_behind_name(&mut labels);
        match &metric.value {
            Value::Number(number) => push_sample(text, name, "", &labels, *number),
            Value::Summary { count, sum } => {
                push_sample(text, name, "_sum", &labels, *sum);
                push_count(text, name, "_count", &labels, *count);
            }
            Value::Histogram(histogram) => {
                metric.labels.write_before_bound(&mut bucket, name);
                histogram.push_buckets(text, &bucket, |_, _| {});
                push_sample(text, name, "_sum", &labels, histogram.sum);
                push_count(text, name, "_count", &labels, histogram.count());
            }
        }
    }
}

fn push_name(text: &mut String, name: &str, suffix: &str, labels: &str) {
    text.push_str(name);
    text.push_str(suffix);
    text.push_str(labels);
    text.push(' ');
}

fn push_count(text: &mut String, name: &str, suffix: &str, labels: &str, value: u64) {
    push_name(text, name, suffix, labels);
    text.push_str(itoa::Buffer::new().format(value));
    text.push('\n');
}

fn push_sample(text: &mut String, name: &str, suffix: &str, labels: &str, value: f64) {
    push_name(text, name, suffix, labels);
    push_number(text, value);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::model::{Bounds, LabelSet, counter, family, histogram, pair, summary};

    #[test]
    fn the_format_is_as_specified() {
        let labels = vec![pair("a", "x\"\\\n")];
        let shared = LabelSet::from(vec![pair("a", "b")]);
        let families = [
            family("c_total", Kind::Counter, "Help\nme.", vec![counter(labels, 12.0)]),
            family(
                "h",
                Kind::Histogram,
                "H",
                vec![
                    histogram(vec![], &Bounds::new([0.0005, 1.0]), [1, 1, 1], 2.5),
                    histogram(shared.with("d", "e"), &Bounds::new([]), [4], 0.0),
                ],
            ),
            family("s", Kind::Summary, "S", vec![summary(shared, 2, 3)]),
        ];
        assert_eq!(
            encode(&families),
            "# HELP c_total Help\\nme.\n# TYPE c_total counter\nc_total{a=\"x\\\"\\\\\\n\"} 12\n\
             # HELP h H\n# TYPE h histogram\nh_bucket{le=\"0.0005\"} 1\nh_bucket{le=\"1.0\"} 2\nh_bucket{le=\"+Inf\"} 3\n\
             h_sum 2.5\nh_count 3\n\
             h_bucket{a=\"b\",d=\"e\",le=\"+Inf\"} 4\nh_sum{a=\"b\",d=\"e\"} 0\nh_count{a=\"b\",d=\"e\"} 4\n\
             # HELP s S\n# TYPE s summary\ns_sum{a=\"b\"} 3\ns_count{a=\"b\"} 2\n"
        );
    }
}
