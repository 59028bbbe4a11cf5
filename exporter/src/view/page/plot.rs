//! Plots over time, as SVG.

use std::fmt::Write as _;

use super::{escape::escape, record::Record};
use crate::view::terminal::detail::clock;

/// The size of a plot, in its own units: about as many pixels on a phone.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 170.0;
/// Where its axes begin.
const LEFT: f64 = 46.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = HEIGHT - 18.0;

/// A plot.
pub struct Plot<'a> {
    /// What is above it.
    pub title: &'a str,
    /// How its values are written.
    pub write: fn(f64) -> String,
    /// Whether its series lie upon each other.
    pub is_stacked: bool,
    /// What is plotted.
    pub series: Vec<Series<'a>>,
}

/// A line, or a layer.
pub struct Series<'a> {
    /// Its name in the legend.
    pub name: &'a str,
    /// Its class in the style sheet, which gives it its colour.
    pub class: String,
    /// A value for each interval, `None` where there is none.
    pub values: Vec<Option<f64>>,
}

/// A heat map: how many observations there were, by interval and by size.
pub struct HeatMap<'a> {
    /// What is above it.
    pub title: &'a str,
    /// The upper bounds of its rows, the last one infinite.
    pub bounds: Vec<f64>,
    /// The observations of each interval, a number for each row.
    pub columns: Vec<Vec<f64>>,
    /// How its bounds are written.
    pub write: fn(f64) -> String,
}

/// From where to where each interval goes, on the plot.
fn spans(record: &Record) -> Vec<(f64, f64)> {
    let scale = (WIDTH - LEFT - 2.0) / record.seconds().max(f64::MIN_POSITIVE);
    let mut x = LEFT;
    let intervals = record.intervals.iter();
    intervals
        .map(|interval| {
            let begin = x;
            x += interval.seconds * scale;
            (begin, x)
        })
        .collect()
}

/// The number above all values at which an axis can end: 1, 2, 2.5 or 5 and zeros.
fn round_up(most: f64) -> f64 {
    if most <= 0.0 {
        return 1.0;
    }
    let ten = 10_f64.powf(most.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0];
    let fits = steps.into_iter().find(|step| step * ten >= most * 0.999_999);
    fits.unwrap_or(10.0) * ten
}

fn open(title: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
        escape(title)
    )
}

/// The times below the plot.
fn times(svg: &mut String, record: &Record) {
    let y = HEIGHT - 4.0;
    for (x, anchor, time) in [(LEFT, "start", record.begin), (WIDTH - 2.0, "end", record.end())] {
        let _ = write!(
            svg,
            "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{}</text>",
            clock(time)
        );
    }
}

// Writing to a String cannot fail: the results are dropped.

// === impl Plot ===

impl Plot<'_> {
    /// The figure; nothing if there is no value at all.
    pub fn figure(&self, record: &Record) -> String {
        let has_values = self
            .series
            .iter()
            .any(|series| series.values.iter().any(Option::is_some));
        if !has_values {
            return String::new();
        }
        let spans = spans(record);
        let most = round_up(self.most());
        let y = |value: f64| BOTTOM - value / most * (BOTTOM - TOP);
        let mut svg = open(self.title);
        for part in [0.0, 0.5, 1.0] {
            let (value, height) = (most * part, y(most * part));
            let _ = write!(
                svg,
                "<path class=\"grid\" d=\"M{LEFT} {height:.1}H{}\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - 2.0,
                LEFT - 5.0,
                height + 4.0,
                escape(&(self.write)(value))
            );
        }
        match self.is_stacked {
            true => self.layers(&mut svg, &spans, y),
            false => self.lines(&mut svg, &spans, y),
        }
        self.hints(&mut svg, record, &spans);
        times(&mut svg, record);
        svg.push_str("</svg>");
        let legend: String = match self.series.len() {
            1 => String::new(),
            _ => self
                .series
                .iter()
                .filter(|series| series.values.iter().any(Option::is_some))
                .map(|series| format!("<span class=\"key {}\">{}</span>", series.class, escape(series.name)))
                .collect(),
        };
        format!(
            "<figure><figcaption><b>{}</b> {legend}</figcaption>{svg}</figure>\n",
            escape(self.title)
        )
    }

    fn most(&self) -> f64 {
        let of = |place: usize| {
            let values = self.series.iter().filter_map(move |series| *series.values.get(place)?);
            match self.is_stacked {
                true => values.sum(),
                false => values.fold(0.0, f64::max),
            }
        };
        let places = self.series.first().map_or(0, |series| series.values.len());
        (0..places).map(of).fold(0.0, f64::max)
    }

    fn lines(&self, svg: &mut String, spans: &[(f64, f64)], y: impl Fn(f64) -> f64) {
        for series in &self.series {
            let mut path = String::new();
            let mut is_drawing = false;
            for ((from, to), value) in spans.iter().zip(&series.values) {
                let Some(value) = value else {
                    is_drawing = false;
                    continue;
                };
                let x = (from + to) / 2.0;
                // A point without neighbours is still to be seen: as a dot, which a line of no length is.
                let (first, next) = if is_drawing {
                    ("L", String::new())
                } else {
                    ("M", "h0".to_owned())
                };
                let _ = write!(path, "{first}{x:.1} {:.1}{next}", y(*value));
                is_drawing = true;
            }
            let _ = write!(svg, "<path class=\"line {}\" d=\"{path}\"/>", series.class);
        }
    }

    fn layers(&self, svg: &mut String, spans: &[(f64, f64)], y: impl Fn(f64) -> f64) {
        let mut heights = vec![0.0; spans.len()];
        for series in &self.series {
            let mut path = String::new();
            for (((from, to), value), height) in spans.iter().zip(&series.values).zip(&mut heights) {
                let value = value.unwrap_or(0.0);
                if value > 0.0 {
                    let (low, high) = (y(*height), y(*height + value));
                    let _ = write!(path, "M{from:.1} {low:.1}V{high:.1}H{to:.1}V{low:.1}Z");
                }
                *height += value;
            }
            let _ = write!(svg, "<path class=\"layer {}\" d=\"{path}\"/>", series.class);
        }
    }

    /// What a pointer shows: the numbers of each interval.
    fn hints(&self, svg: &mut String, record: &Record, spans: &[(f64, f64)]) {
        for (place, ((from, to), interval)) in spans.iter().zip(&record.intervals).enumerate() {
            let values = self.series.iter().filter_map(|series| {
                let value = (*series.values.get(place)?)?;
                Some(format!("{} {}", series.name, (self.write)(value)))
            });
            let text = values.collect::<Vec<_>>().join("\n");
            let _ = write!(
                svg,
                "<rect class=\"hint\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"><title>{}\n{}</title></rect>",
                to - from,
                BOTTOM - TOP,
                clock(interval.end),
                text.split('\n').map(escape).collect::<Vec<_>>().join("\n")
            );
        }
    }
}

// === impl HeatMap ===

impl HeatMap<'_> {
    /// The figure; nothing without observations.
    pub fn figure(&self, record: &Record) -> String {
        let most = self.columns.iter().flatten().copied().fold(0.0, f64::max);
        if most <= 0.0 {
            return String::new();
        }
        // Rows that are empty all the time, below and above, are left out.
        let is_used = |row: usize| {
            let values = self.columns.iter().filter_map(|column| column.get(row));
            values.fold(0.0, |sum, value| sum + value) > 0.0
        };
        let used: Vec<usize> = (0..self.bounds.len()).filter(|row| is_used(*row)).collect();
        let (low, high) = (used.first().copied().unwrap_or(0), used.last().copied().unwrap_or(0));
        let height = (BOTTOM - TOP) / (high - low + 1) as f64;
        let top = |row: usize| BOTTOM - (row - low + 1) as f64 * height;
        let mut svg = open(self.title);
        let every = ((high - low + 1) as f64 * 12.0 / (BOTTOM - TOP)).ceil().max(1.0) as usize;
        for row in (low..=high).step_by(every) {
            let bound = self.bounds[row];
            let label = match (bound.is_finite(), row.checked_sub(1)) {
                (false, Some(below)) => format!(">{}", (self.write)(self.bounds[below])),
                _ => (self.write)(bound),
            };
            let _ = write!(
                svg,
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 5.0,
                top(row) + height / 2.0 + 4.0,
                escape(&label)
            );
        }
        for ((from, to), column) in spans(record).iter().zip(&self.columns) {
            for row in low..=high {
                let count = column.get(row).copied().unwrap_or(0.0);
                if count > 0.0 {
                    let _ = write!(
                        svg,
                        "<rect class=\"heat\" x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill-opacity=\"{:.2}\"><title>{count}</title></rect>",
                        top(row),
                        to - from,
                        height,
                        // The eye sees small numbers as well.
                        0.12 + 0.88 * (count / most).sqrt()
                    );
                }
            }
        }
        times(&mut svg, record);
        svg.push_str("</svg>");
        format!(
            "<figure><figcaption><b>{}</b> <span class=\"note\">darkest: {most} requests</span></figcaption>{svg}</figure>\n",
            escape(self.title)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        for (most, expected) in [
            (0.0, 1.0),
            (1.0, 1.0),
            (1.01, 2.0),
            (37.0, 50.0),
            (0.21, 0.25),
            (990.0, 1000.0),
        ] {
            assert!((round_up(most) - expected).abs() < 1e-9, "{most}");
        }
    }
}
