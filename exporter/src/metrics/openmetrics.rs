//! OpenMetrics 1.0.0, as text.

use super::model::{Family, Kind, Value, pair, push_escaped, push_number, push_pair};
use crate::observe::ledger::Example;

/// The version that is spoken.
pub const VERSION: &str = "1.0.0";
/// The content type of this format.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The units that names end in, before `_total`.
const UNITS: [&str; 4] = ["seconds", "bytes", "ratio", "cores"];

/// Writes the families; with a line for the time when each metric was 0, where that is known, only if asked for: Prometheus takes
/// it for a series of its own unless it is told otherwise.
pub fn encode(families: &[Family<'_>], with_created: bool) -> String {
    let mut text = String::with_capacity(families.iter().map(Family::text_size).sum());
    for family in families {
        encode_family(&mut text, family, with_created);
    }
    text.push_str("# EOF\n");
    text
}

fn encode_family(text: &mut String, family: &Family<'_>, with_created: bool) {
    // A counter's family is named without the suffix that its samples have.
    let name = match family.kind {
        Kind::Counter => family.name.strip_suffix("_total").unwrap_or(&family.name),
        _ => &family.name,
    };
    let kind = match family.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Summary => "summary",
        Kind::Histogram => "histogram",
    };
    for (what, value) in [("# TYPE ", kind), ("# UNIT ", unit(name)), ("# HELP ", &family.help)] {
        if !value.is_empty() {
            text.push_str(what);
            text.push_str(name);
            text.push(' ');
            push_escaped(text, value, true);
            text.push('\n');
        }
    }
    // What stands behind the name, and before a bucket's bound.
    let (mut labels, mut bucket) = (String::new(), String::new());
    for metric in &family.metrics {
        metric.labels.write_behind_name(&mut labels);
        let mut sample = |suffix: &str, value: f64| {
            text.push_str(name);
            text.push_str(suffix);
            text.push_str(&labels);
            text.push(' ');
            push_number(text, value);
            text.push('\n');
        };
        match &metric.value {
            Value::Number(number) if family.kind == Kind::Counter => sample("_total", *number),
            Value::Number(number) => sample("", *number),
            Value::Summary { count, sum } => {
                sample("_count", *count as f64);
                sample("_sum", *sum);
            }
            Value::Histogram(histogram) => {
                sample("_count", histogram.count() as f64);
                sample("_sum", histogram.sum);
                metric.labels.write_before_bound(&mut bucket, name);
                histogram.push_buckets(text, &bucket, |text, bound| {
                    if let Some(example) = histogram.exemplar(bound) {
                        push_exemplar(text, example);
                    }
                });
            }
        }
        if let Some(time) = metric.created.filter(|_| with_created) {
            text.push_str(name);
            text.push_str("_created");
            text.push_str(&labels);
            text.push(' ');
            push_number(text, time);
            text.push('\n');
        }
    }
}

/// Appends an exemplar. The label is called as OpenTelemetry and Grafana have it.
fn push_exemplar(text: &mut String, example: &Example) {
    let Example {
        duration,
        end,
        trace_id,
    } = example;
    text.push_str(" # {");
    push_pair(text, &pair("trace_id", trace_id));
    text.push_str("} ");
    push_number(text, *duration);
    text.push(' ');
    push_number(text, *end);
}

/// The unit that a name ends in; empty if in none.
fn unit(name: &str) -> &'static str {
    let ends = |unit: &&str| name.strip_suffix(*unit).is_some_and(|rest| rest.ends_with('_'));
    UNITS.into_iter().find(ends).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::model::{Bounds, LabelSet, counter, family, gauge, histogram, pair, summary};

    #[test]
    fn the_format_is_as_specified() {
        let shared = LabelSet::from(vec![pair("a", "b\"")]);
        let durations = histogram(shared.clone(), &Bounds::new([0.5, 1.0]), [1, 1, 1], 2.5);
        let families = [
            family(
                "c_seconds_total",
                Kind::Counter,
                "Say \"hi\"\n.",
                vec![counter(vec![], 1.5)],
            ),
            family("g", Kind::Gauge, "G", vec![gauge(shared.clone(), 2.0)]),
            family("h_seconds", Kind::Histogram, "H", vec![durations]),
            family("s_bytes", Kind::Summary, "S", vec![summary(shared, 2, 3)]),
        ];
        assert_eq!(
            encode(&families, true),
            "# TYPE c_seconds counter\n# UNIT c_seconds seconds\n# HELP c_seconds Say \\\"hi\\\"\\n.\nc_seconds_total 1.5\n\
             # TYPE g gauge\n# HELP g G\ng{a=\"b\\\"\"} 2\n\
             # TYPE h_seconds histogram\n# UNIT h_seconds seconds\n# HELP h_seconds H\n\
             h_seconds_count{a=\"b\\\"\"} 3\nh_seconds_sum{a=\"b\\\"\"} 2.5\n\
             h_seconds_bucket{a=\"b\\\"\",le=\"0.5\"} 1\n\
             h_seconds_bucket{a=\"b\\\"\",le=\"1.0\"} 2\n\
             h_seconds_bucket{a=\"b\\\"\",le=\"+Inf\"} 3\n\
             # TYPE s_bytes summary\n# UNIT s_bytes bytes\n# HELP s_bytes S\ns_bytes_count{a=\"b\\\"\"} 2\ns_bytes_sum{a=\"b\\\"\"} 3\n\
             # EOF\n"
        );
    }

    #[test]
    fn the_time_of_birth_is_there_if_asked_for() {
        let labels = LabelSet::from(vec![pair("a", "b")]);
        let created = 1_764_000_000.123;
        let families = [
            family(
                "c_total",
                Kind::Counter,
                "C",
                vec![counter(labels.clone(), 1.0).created(created), counter(vec![], 2.0)],
            ),
            family(
                "h",
                Kind::Histogram,
                "H",
                vec![histogram(labels.clone(), &Bounds::new([]), [1], 0.5).created(created)],
            ),
            family(
                "s",
                Kind::Summary,
                "S",
                vec![summary(labels, 2, 3).created(1_764_000_000.0)],
            ),
        ];
        let with = "# TYPE c counter\n# HELP c C\nc_total{a=\"b\"} 1\nc_created{a=\"b\"} 1764000000.123\nc_total 2\n\
             # TYPE h histogram\n# HELP h H\nh_count{a=\"b\"} 1\nh_sum{a=\"b\"} 0.5\nh_bucket{a=\"b\",le=\"+Inf\"} 1\n\
             h_created{a=\"b\"} 1764000000.123\n\
             # TYPE s summary\n# HELP s S\ns_count{a=\"b\"} 2\ns_sum{a=\"b\"} 3\ns_created{a=\"b\"} 1764000000\n\
             # EOF\n";
        assert_eq!(encode(&families, true), with);
        let without: String = with
            .lines()
            .filter(|line| !line.contains("_created"))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(encode(&families, false), without);
    }
}
