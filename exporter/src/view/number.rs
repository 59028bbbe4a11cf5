//! Numbers for people: three digits that count, in at most six letters.

use super::histogram::Quantile;

/// What is shown where there is nothing to show.
pub const NOTHING: &str = "–";

/// Three digits that count, and never more than four letters: `0.05`, `1.23`, `12.3`, `123`.
fn three(value: f64) -> String {
    let text = match value {
        _ if value < 9.995 => format!("{value:.2}"),
        _ if value < 99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    };
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A rate or a number of anything, not below 0: `0`, `0.25`, `12.5`, `1234`, `12.3k`, `1.23M`.
pub fn count(value: f64) -> String {
    match value {
        _ if value > 0.0 && value < 0.005 => "<0.01".to_owned(),
        _ if value < 999.5 => three(value),
        _ if value < 99_999.5 => format!("{value:.0}"),
        _ if value < 999_500.0 => format!("{}k", three(value / 1e3)),
        _ if value < 999.5e6 => format!("{}M", three(value / 1e6)),
        _ => format!("{}G", three(value / 1e9)),
    }
}

/// A whole number in at most four letters: `0`, `1234`, `12k`.
pub fn whole(value: f64) -> String {
    match value {
        _ if value < 9_999.5 => format!("{value:.0}"),
        _ if value < 999_500.0 => format!("{:.0}k", value / 1e3),
        _ => format!("{:.0}M", value / 1e6),
    }
}

/// A duration: `85µs`, `1.2ms`, `3.45s`, `120s`.
pub fn duration(seconds: f64) -> String {
    match seconds {
        _ if seconds <= 0.0 => "0".to_owned(),
        _ if seconds < 0.000_999_5 => format!("{}µs", three(seconds * 1e6)),
        _ if seconds < 0.999_5 => format!("{}ms", three(seconds * 1e3)),
        _ if seconds < 99_999.5 => format!("{}s", three(seconds)),
        _ => format!("{}h", three(seconds / 3600.0)),
    }
}

/// A quantile of durations.
pub fn quantile(quantile: Quantile) -> String {
    match quantile {
        Quantile::None => NOTHING.to_owned(),
        Quantile::At(seconds) => duration(seconds),
        Quantile::Above(seconds) => format!(">{}", duration(seconds)),
    }
}

/// A share: `0%`, `0.25%`, `12.3%`, `100%`.
pub fn percent(share: f64) -> String {
    match share * 100.0 {
        percent if percent > 0.0 && percent < 0.005 => "<0.01%".to_owned(),
        percent => format!("{}%", three(percent)),
    }
}

/// Bytes: `512B`, `1.5MB`.
pub fn bytes(value: f64) -> String {
    match value {
        _ if value < 999.5 => format!("{value:.0}B"),
        _ if value < 999.5e3 => format!("{}kB", three(value / 1e3)),
        _ if value < 999.5e6 => format!("{}MB", three(value / 1e6)),
        _ if value < 999.5e9 => format!("{}GB", three(value / 1e9)),
        _ => format!("{}TB", three(value / 1e12)),
    }
}

/// What may be unknown.
pub fn or_nothing(value: Option<f64>, write: impl Fn(f64) -> String) -> String {
    value.map_or_else(|| NOTHING.to_owned(), write)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let counts = [
            0.0, 0.001, 0.25, 1.0, 9.996, 12.34, 999.4, 999.6, 99_999.0, 100_000.0, 2.5e6,
        ];
        assert_eq!(
            counts.map(count),
            [
                "0", "<0.01", "0.25", "1", "10", "12.3", "999", "1000", "99999", "100k", "2.5M"
            ]
        );
        let durations = [0.0, 0.000_085, 0.001_234, 0.05, 0.9996, 3.456, 120.0];
        assert_eq!(
            durations.map(duration),
            ["0", "85µs", "1.23ms", "50ms", "1s", "3.46s", "120s"]
        );
        assert_eq!([0.0, 0.0025, 0.123, 1.0].map(percent), ["0%", "0.25%", "12.3%", "100%"]);
        assert_eq!([10.0, 1500.0, 2.5e9].map(bytes), ["10B", "1.5kB", "2.5GB"]);
        assert_eq!(quantile(Quantile::Above(10.0)), ">10s");
    }

    /// Columns are six wide.
    #[test]
    fn no_number_is_wider_than_six() {
        let mut value = 1e-9;
        while value < 1e9 {
            for text in [count(value), duration(value.min(3.6e6)), percent(value.min(1.0))] {
                assert!(text.chars().count() <= 6, "{text}");
            }
            assert!(whole(value).chars().count() <= 4);
            value *= 1.07;
        }
    }
}
