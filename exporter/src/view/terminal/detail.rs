//! Everything about one row, below the table.

use ratatui::{
    style::Style,
    text::{Line, Span},
};

use super::{
    data::Data,
    rows::{Row, Target},
    theme::Theme,
};
use crate::view::{
    histogram::Quantile,
    interval::{Interval, Service},
    number::{NOTHING, bytes, count, duration, or_nothing, percent, quantile},
    phase::{PHASES, shares},
    work::Work,
};

/// Pieces that stay whole, each with its style.
pub type Pieces = Vec<(String, Style)>;

/// Lines of pieces: as many pieces in each as there is room for. Without pieces there is no line.
pub fn flow(pieces: Pieces, width: u16) -> Vec<Line<'static>> {
    if pieces.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![Line::default()];
    let mut used = 0;
    for (text, style) in pieces {
        let length = text.chars().count();
        if used > 0 && used + 2 + length > usize::from(width) {
            lines.push(Line::default());
            used = 0;
        }
        if let Some(line) = lines.last_mut() {
            if used > 0 {
                line.push_span("  ");
                used += 2;
            }
            line.push_span(Span::styled(text, style));
            used += length;
        }
    }
    lines
}

/// What is known of a row.
pub fn lines(row: &Row, data: &Data, interval: &Interval, theme: Theme, width: u16) -> Vec<Line<'static>> {
    let plain = Style::new();
    let mut lines = flow(title(row, data, theme), width);
    lines.extend(flow(phases(&row.work, theme), width));
    lines.extend(flow(statuses(&row.work, row.seconds, theme), width));
    let mut pieces = Vec::new();
    if let Some(mean) = row.work.durations().mean() {
        pieces.push((format!("mean {}", duration(mean)), plain));
    }
    for (name, q) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)] {
        let value = row.work.durations().quantile(q);
        if value != Quantile::None {
            pieces.push((format!("{name} {}", quantile(value)), plain));
        }
    }
    for (name, histogram) in [("queue", &row.work.queue), ("runqueue", &row.work.runqueue)] {
        if histogram.count() > 0.0 {
            pieces.push((format!("{name} p95 {}", quantile(histogram.quantile(0.95))), plain));
        }
    }
    lines.extend(flow(pieces, width));
    if let Some(service) = &row.service {
        lines.extend(flow(of_service(service, interval, theme), width));
    }
    lines
}

fn title(row: &Row, data: &Data, theme: Theme) -> Pieces {
    let name = match &row.target {
        Target::Service(name) => name.clone(),
        Target::Route(route) => format!("{} {}", route.method, route.handler),
        Target::Status(Some(status)) => format!("status {status}"),
        Target::Status(None) => "without an answer".to_owned(),
        Target::More(name, rest) => format!("{rest} more routes of {name}: Enter shows them"),
    };
    let mut pieces = vec![(name, theme.strong())];
    if let Target::Route(route) = &row.target {
        pieces.push((format!("of {} on port {}", route.service, route.port), Style::new()));
    }
    if !matches!(row.target, Target::More(..)) {
        let since = data.since.map(clock).unwrap_or_default();
        pieces.push((format!("{} requests since {since}", row.total), Style::new()));
    }
    pieces
}

fn phases(work: &Work, theme: Theme) -> Pieces {
    let Some(shares) = work.phases.as_ref().and_then(shares) else {
        return Vec::new();
    };
    let parts = PHASES.iter().zip(shares).enumerate();
    parts
        .filter(|(_, (_, share))| *share > 0.0)
        .map(|(place, (phase, share))| {
            let text = format!(" {} {} {} ", phase.letter, phase.name, percent(share));
            (text, theme.phase(place))
        })
        .collect()
}

fn statuses(work: &Work, seconds: f64, theme: Theme) -> Pieces {
    let mut pieces: Pieces = work
        .statuses
        .iter()
        .filter(|(_, answers)| answers.count > 0.0)
        .map(|(status, answers)| {
            let style = match status / 100 {
                5 => theme.bad(),
                4 => theme.odd(),
                _ => Style::new(),
            };
            (format!("{status}: {}/s", count(answers.count / seconds)), style)
        })
        .collect();
    if work.aborted > 0.0 {
        pieces.push((format!("aborted: {}/s", count(work.aborted / seconds)), theme.bad()));
    }
    pieces
}

fn of_service(service: &Service, interval: &Interval, theme: Theme) -> Pieces {
    let rate = |value: f64| count(value / interval.seconds);
    let plain = Style::new();
    let mut pieces = vec![
        (format!("in flight {}", or_nothing(service.in_flight, count)), plain),
        backlog(service, theme),
        (format!("cpus {}", or_nothing(service.cpu, rate)), plain),
        (
            match &service.wait {
                Some(wait) => format!(
                    "run queue {}/s, p99 {}",
                    duration(wait.sum / interval.seconds),
                    quantile(wait.quantile(0.99))
                ),
                None => format!("run queue {NOTHING}"),
            },
            plain,
        ),
    ];
    if service.overflows() > 0.0 {
        pieces.push((format!("overflows {}/s", rate(service.overflows())), theme.bad()));
    }
    if let Some(throttled) = service.throttled.filter(|seconds| *seconds > 0.0) {
        let text = format!("throttled {}/s", duration(throttled / interval.seconds));
        pieces.push((text, theme.odd()));
    }
    for (name, value) in [("connections", service.connections), ("threads", service.threads)] {
        if let Some(value) = value {
            pieces.push((format!("{name} {}", count(value)), plain));
        }
    }
    if let Some(memory) = service.memory {
        pieces.push((format!("memory {}", bytes(memory)), plain));
    }
    for port in service.down() {
        pieces.push((format!("port {port} no longer listens"), theme.bad()));
    }
    pieces
}

fn backlog(service: &Service, theme: Theme) -> (String, Style) {
    match service.backlog() {
        Some((backlog, limit)) => {
            let text = format!("backlog {}/{}", count(backlog), or_nothing(limit, count));
            let is_full = limit.is_some_and(|limit| backlog >= 0.8 * limit);
            (text, if is_full { theme.bad() } else { Style::new() })
        }
        None => (format!("backlog {NOTHING}"), Style::new()),
    }
}

/// The time of a day, in UTC.
pub fn clock(time: std::time::SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(time).to_string();
    text.get(11..19).unwrap_or_default().to_owned()
}
