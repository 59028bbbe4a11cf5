//! The formats of a scrape, and which of them a client wants.

use super::{model::Family, openmetrics, protobuf, text};

/// A format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// The Prometheus text format.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The Prometheus protobuf format, which alone has native histograms.
    Protobuf,
}

/// How well a client's range of types fits a format.
fn of_range(range: &str) -> Option<(Format, u16)> {
    let mut parts = range.split(';').map(str::trim);
    let kind = parts.next()?;
    let mut weight = 1000;
    let (mut version, mut proto, mut encoding) = (None, None, None);
    for parameter in parts {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches('"');
        match &*name.trim().to_ascii_lowercase() {
            "q" => weight = thousandths(value)?,
            "version" => version = Some(value),
            "proto" => proto = Some(value),
            "encoding" => encoding = Some(value),
            _ => {}
        }
    }
    let format = match &*kind.to_ascii_lowercase() {
        "*/*" | "text/*" => Format::Text,
        "text/plain" if version.is_none_or(|version| version == text::VERSION) => Format::Text,
        "application/openmetrics-text" if version.is_none_or(|version| version == openmetrics::VERSION) => {
            Format::OpenMetrics
        }
        "application/vnd.google.protobuf"
            if proto.is_none_or(|proto| proto == protobuf::MESSAGE)
                && encoding.is_none_or(|encoding| encoding == protobuf::ENCODING) =>
        {
            Format::Protobuf
        }
        _ => return None,
    };
    (weight > 0).then_some((format, weight))
}

/// A weight of RFC 9110, 12.4.2, in thousandths.
fn thousandths(weight: &str) -> Option<u16> {
    let value: f64 = weight.parse().ok()?;
    (0.0..=1.0).contains(&value).then_some((value * 1000.0) as u16)
}

// === impl Format ===

impl Format {
    /// The format that fits the values of `Accept` headers best: of the highest weight, and of these the first.
    /// Text if none does.
    pub fn accepted<'a>(headers: impl Iterator<Item = &'a str>) -> Self {
        let mut best: Option<(Self, u16)> = None;
        for found in headers.flat_map(|header| header.split(',')).filter_map(of_range) {
            if best.is_none_or(|(_, weight)| found.1 > weight) {
                best = Some(found);
            }
        }
        best.map_or(Self::Text, |(format, _)| format)
    }

    /// The content type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => text::CONTENT_TYPE,
            Self::OpenMetrics => openmetrics::CONTENT_TYPE,
            Self::Protobuf => protobuf::CONTENT_TYPE,
        }
    }

    /// Writes families in this format. `with_created` is for OpenMetrics: protobuf always says when a metric was 0, and text never does.
    pub fn encode(self, families: &[Family<'_>], with_created: bool) -> Vec<u8> {
        match self {
            Self::Text => text::encode(families).into_bytes(),
            Self::OpenMetrics => openmetrics::encode(families, with_created).into_bytes(),
            Self::Protobuf => protobuf::encode(families),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_chooses() {
        let prometheus = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,\
            application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
            application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
            text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        let old = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
            text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (header, expected) in [
            (prometheus, Format::Protobuf),
            (old, Format::OpenMetrics),
            ("*/*", Format::Text),
            ("", Format::Text),
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                Format::Text,
            ),
            ("application/openmetrics-text", Format::OpenMetrics),
            (
                "application/openmetrics-text; version=\"1.0.0\"; charset=utf-8",
                Format::OpenMetrics,
            ),
            (
                "application/openmetrics-text; version=0.0.1, text/plain;q=0.1",
                Format::Text,
            ),
            ("application/openmetrics-text;q=0", Format::Text),
            ("application/openmetrics-text;q=2", Format::Text),
            ("application/vnd.google.protobuf;encoding=text", Format::Text),
            (
                "text/plain;q=0.5, APPLICATION/openmetrics-text ;Q=0.7",
                Format::OpenMetrics,
            ),
        ] {
            assert_eq!(Format::accepted([header].into_iter()), expected, "{header}");
        }
        assert_eq!(Format::accepted([].into_iter()), Format::Text);
        assert_eq!(
            Format::accepted(["text/plain;q=0.1", old].into_iter()),
            Format::OpenMetrics
        );
    }
}
