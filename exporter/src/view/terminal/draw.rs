//! The screen.

use std::time::Duration;

use ratatui::{
    Frame,
    buffer::Buffer,
    layout::{Alignment, Rect},
    style::Style,
    text::{Line, Span},
    widgets::{Block, Clear, Paragraph, Sparkline, Widget as _},
};

use super::{
    app::App,
    columns::{Column, fitting, shortened},
    data::Data,
    detail::{self, clock, flow},
    help,
    rows::{Level, Row, Target, title},
    theme::Theme,
};
use crate::view::{
    interval::Interval,
    number::{NOTHING, count, duration, or_nothing, percent},
    phase::{PHASES, cells},
    work::{Route, Work},
};

/// Lines above the rows: two about the host, one about what is shown, the titles.
const HEAD: u16 = 4;
/// Lines about the chosen row, and the line above them.
const DETAIL: u16 = 6;
/// The same where a route is looked at: with two plots.
const ROUTE_DETAIL: u16 = 13;
/// Screens that are lower have no such lines.
const LOW: u16 = 16;

/// What does not change while it runs.
#[derive(Clone, Debug)]
pub struct Context {
    /// Where the metrics come from.
    pub source: String,
    /// The host's name.
    pub host: String,
    /// The time between two scrapes.
    pub period: Duration,
    /// Colours.
    pub theme: Theme,
}

/// Draws everything.
pub fn draw(frame: &mut Frame<'_>, app: &mut App, context: &Context) {
    let area = frame.area();
    let buffer = frame.buffer_mut();
    head(buffer, area, app, context);
    let wanted = match (&app.level, area.height) {
        (_, height) if height < LOW => 0,
        (Level::Route(_), height) => ROUTE_DETAIL.min(height / 2 + 2),
        (_, _) => DETAIL,
    };
    let [table, below] = split(inner(area), wanted);
    app.places = usize::from(table.height.saturating_sub(1));
    let rows = app.rows();
    let chosen = app.chosen(&rows);
    self::table(buffer, table, app, &rows, chosen, context.theme);
    if below.height > 0 {
        self::below(buffer, below, app, rows.get(chosen), context.theme);
    }
    foot(buffer, area, app, context);
    if app.is_help {
        help(buffer, area, context.theme);
    }
}

/// What is between the lines about the host and the last line.
fn inner(area: Rect) -> Rect {
    let head = (HEAD - 1).min(area.height);
    Rect {
        y: area.y + head,
        height: (area.height - head).saturating_sub(1),
        ..area
    }
}

fn split(area: Rect, wanted: u16) -> [Rect; 2] {
    let below = wanted.min(area.height);
    let table = area.height - below;
    [
        Rect { height: table, ..area },
        Rect {
            y: area.y + table,
            height: below,
            ..area
        },
    ]
}

/// Writes a line at a place, as far as it fits.
fn put(buffer: &mut Buffer, area: Rect, y: u16, line: &Line<'_>) {
    if y < area.bottom() {
        buffer.set_line(area.x, y, line, area.width);
    }
}

fn head(buffer: &mut Buffer, area: Rect, app: &App, context: &Context) {
    let theme = context.theme;
    let data = app.data();
    let time = data
        .interval
        .as_ref()
        .map(|interval| clock(interval.end))
        .unwrap_or_default();
    let right = format!("{time} UTC, every {}", humantime::format_duration(context.period));
    let mut left = vec![
        Span::styled("vigie top", theme.heading()),
        Span::raw(format!("  {}  ", context.host)),
    ];
    if app.is_frozen() {
        left.push(Span::styled(" FROZEN ", theme.marked()));
    } else {
        left.push(Span::styled(context.source.clone(), theme.faint()));
    }
    let left = Line::from(left);
    put(buffer, area, area.y, &left);
    if left.width() + right.len() + 2 <= usize::from(area.width) {
        let line = Line::styled(right, theme.faint()).alignment(Alignment::Right);
        let row = Rect { height: 1, ..area };
        line.render(row, buffer);
    }
    if let Some(interval) = &data.interval {
        let lines = flow(host(data, interval, theme), area.width);
        if let Some(line) = lines.first() {
            put(buffer, area, area.y + 1, line);
        }
    }
    put(buffer, area, area.y + 2, &place(app, theme));
}

/// The host in one line.
fn host(data: &Data, interval: &Interval, theme: Theme) -> detail::Pieces {
    let all = Work::sum(interval.routes.values());
    let plain = Style::new();
    let mut pieces = vec![
        (
            format!("{} req/s", count(all.requests() / interval.seconds)),
            theme.strong(),
        ),
        (
            format!("errors {}", or_nothing(all.error_share(), percent)),
            if all.class(5) + all.aborted > 0.0 {
                theme.bad()
            } else {
                plain
            },
        ),
        (format!("cpu {}", or_nothing(interval.host.busy(), percent)), plain),
    ];
    if let Some(runnable) = interval.host.runnable() {
        let cpus = interval.host.run_queues.len();
        let style = if runnable > 2.0 * cpus as f64 {
            theme.odd()
        } else {
            plain
        };
        let of = if cpus == 1 { "1 cpu" } else { &format!("{cpus} cpus") };
        pieces.push((format!("run queue {} on {of}", count(runnable)), style));
    }
    if let Some(stolen) = interval.host.stolen().filter(|share| *share >= 0.01) {
        pieces.push((format!("stolen {}", percent(stolen)), theme.odd()));
    }
    let in_flight: Vec<f64> = interval
        .services
        .values()
        .filter_map(|service| service.in_flight)
        .collect();
    let in_flight = (!in_flight.is_empty()).then(|| in_flight.iter().sum());
    pieces.push((format!("in flight {}", or_nothing(in_flight, count)), plain));
    let lost = data.lost.values().fold(0.0, |sum, count| sum + count);
    let style = if lost > 0.0 { theme.odd() } else { plain };
    pieces.push((format!("lost {}", count(lost)), style));
    pieces
}

/// Where the table is in the tree.
fn place(app: &App, theme: Theme) -> Line<'static> {
    let mut spans = match &app.level {
        Level::Services => vec![Span::raw("services")],
        Level::Routes => vec![Span::raw("routes of all services")],
        Level::Service(service) => vec![Span::raw("services › "), Span::styled(service.clone(), theme.strong())],
        Level::Route(route) => {
            let interval = app.data().interval.as_ref();
            let name = interval.map_or_else(String::new, |interval| title(route, interval));
            vec![
                Span::raw(format!("services › {} › ", route.service)),
                Span::styled(name, theme.strong()),
            ]
        }
    };
    if !app.filter.is_empty() && !app.is_typing {
        spans.push(Span::styled(format!("  filter: {}", app.filter), theme.odd()));
    }
    Line::from(spans)
}

fn table(buffer: &mut Buffer, area: Rect, app: &mut App, rows: &[Row], chosen: usize, theme: Theme) {
    if area.height == 0 {
        return;
    }
    let longest = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
    let columns = fitting(area.width, longest as u16);
    app.columns = columns.iter().map(|(column, _)| *column).collect();
    let mut x = area.x;
    for (column, width) in &columns {
        let title = column.title();
        let arrow = if app.is_reversed { '▲' } else { '▼' };
        let is_sorted = *column == app.sort;
        let text = match (column.is_left(), is_sorted) {
            (true, true) => format!("{title}{arrow}"),
            // The arrow is in the gap where the title fills its place.
            (false, true) => format!("{arrow}{title}"),
            (_, false) => title.to_owned(),
        };
        let style = if is_sorted { theme.heading() } else { theme.strong() };
        let length = text.chars().count() as u16;
        let begin = if column.is_left() {
            x
        } else {
            (x + width).saturating_sub(length)
        };
        buffer.set_stringn(begin, area.y, &text, usize::from(length), style);
        x += width + 1;
    }
    let shown = rows.iter().enumerate().skip(app.first).take(app.places);
    for (y, (place, row)) in (area.y + 1..area.bottom()).zip(shown) {
        let mut x = area.x;
        for (column, width) in &columns {
            cell(buffer, x, y, *column, *width, row, theme);
            x += width + 1;
        }
        if place == chosen {
            // Not the bar: it is read by its colours.
            let mut x = area.x;
            for (column, width) in &columns {
                if *column != Column::Phases {
                    let gap = u16::from(x + width < area.right());
                    buffer.set_style(Rect::new(x, y, width + gap, 1), theme.marked());
                }
                x += width + 1;
            }
        }
    }
    if rows.is_empty() && area.height > 1 {
        let text = match (&app.data().interval, app.filter.is_empty()) {
            (None, _) => "waiting for the second scrape…",
            (_, false) => "nothing fits the filter: Esc clears it",
            (_, true) => "no service has been seen yet: the first request or listener brings it",
        };
        buffer.set_stringn(area.x, area.y + 1, text, usize::from(area.width), theme.faint());
    }
}

fn cell(buffer: &mut Buffer, x: u16, y: u16, column: Column, width: u16, row: &Row, theme: Theme) {
    if column == Column::Phases && !matches!(row.target, Target::Status(_) | Target::More(..)) {
        return bar(buffer, x, y, width, &row.work, theme);
    }
    let text = match column {
        Column::Phases => String::new(),
        _ => column.text(row),
    };
    let text = match column {
        Column::Name => shortened(&text, usize::from(width)),
        // Half a number is another number.
        _ if text.chars().count() > usize::from(width) => "…".to_owned(),
        _ => text,
    };
    let length = text.chars().count() as u16;
    let begin = if column.is_left() {
        x
    } else {
        (x + width).saturating_sub(length)
    };
    let style = match column {
        _ if text == "0" || text == "0%" || text == NOTHING => theme.faint(),
        Column::Name => match row.target {
            Target::Service(_) => theme.strong(),
            Target::More(..) => theme.faint(),
            _ => Style::new(),
        },
        Column::Errors if row.work.class(5) + row.work.aborted > 0.0 => theme.bad(),
        Column::Errors | Column::ClientErrors => theme.odd(),
        Column::ServerErrors | Column::Aborted => theme.bad(),
        _ => Style::new(),
    };
    buffer.set_stringn(begin, y, &text, usize::from(width), style);
}

/// A bar in which each phase has its part, made of its letter.
fn bar(buffer: &mut Buffer, x: u16, y: u16, width: u16, work: &Work, theme: Theme) {
    let parts = work
        .phases
        .as_ref()
        .and_then(|seconds| cells(seconds, usize::from(width)));
    let Some(parts) = parts else {
        buffer.set_string(x, y, NOTHING, theme.faint());
        return;
    };
    let mut x = x;
    for (place, (phase, length)) in PHASES.iter().zip(parts).enumerate() {
        let text: String = std::iter::repeat_n(phase.letter, length).collect();
        buffer.set_string(x, y, &text, theme.phase(place));
        x += length as u16;
    }
}

fn below(buffer: &mut Buffer, area: Rect, app: &App, row: Option<&Row>, theme: Theme) {
    let rule = "─".repeat(usize::from(area.width));
    buffer.set_string(area.x, area.y, rule, theme.faint());
    let area = Rect {
        y: area.y + 1,
        height: area.height - 1,
        ..area
    };
    let Some(interval) = &app.data().interval else {
        return;
    };
    let lines = match (&app.level, row) {
        (Level::Route(route), _) => return of_route(buffer, area, app, interval, route, theme),
        (_, Some(row)) => detail::lines(row, app.data(), interval, theme, area.width),
        (_, None) => Vec::new(),
    };
    for (y, line) in (area.y..area.bottom()).zip(lines) {
        put(buffer, area, y, &line);
    }
}

/// A route, with plots of its latest time.
fn of_route(buffer: &mut Buffer, area: Rect, app: &App, interval: &Interval, route: &Route, theme: Theme) {
    let data = app.data();
    let row = Row {
        target: Target::Route(route.clone()),
        name: String::new(),
        work: interval.routes.get(route).cloned().unwrap_or_default(),
        seconds: interval.seconds,
        total: data.totals.get(route).map_or(0.0, |totals| totals.requests()),
        service: None,
    };
    let lines = detail::lines(&row, data, interval, theme, area.width);
    let mut y = area.y;
    for line in lines.into_iter().take(usize::from(area.height)) {
        put(buffer, area, y, &line);
        y += 1;
    }
    let history = data.history(|other| other == route);
    let width = usize::from(area.width.saturating_sub(14)).min(history.len());
    let latest = &history[history.len() - width..];
    let left = area.bottom().saturating_sub(y);
    let height = (left / 2).min(3);
    if height == 0 {
        return;
    }
    let rates: Vec<f32> = latest.iter().map(|point| point.rate).collect();
    let quantiles: Vec<f32> = latest.iter().map(|point| point.p95).collect();
    let most = |values: &[f32]| values.iter().copied().fold(0.0, f32::max);
    let plots = [
        (format!("req/s ≤{}", count(most(&rates).into())), rates),
        (format!("p95 ≤{}", duration(most(&quantiles).into())), quantiles),
    ];
    for (label, values) in plots {
        let most = most(&values);
        buffer.set_stringn(area.x, y, label, 13, Style::new());
        // Whole numbers are drawn: in thousandths of the largest.
        let heights = values
            .iter()
            .map(|value| (value / most.max(f32::MIN_POSITIVE) * 1000.0) as u64);
        let place = Rect::new(area.x + 14, y, width as u16, height);
        Sparkline::default()
            .data(heights.collect::<Vec<u64>>())
            .max(1000)
            .style(theme.plot())
            .render(place, buffer);
        y += height;
    }
}

fn foot(buffer: &mut Buffer, area: Rect, app: &App, context: &Context) {
    let theme = context.theme;
    let Some(y) = area.bottom().checked_sub(1) else {
        return;
    };
    if let Some(failure) = &app.failure {
        let text = format!(" {failure}: trying again ");
        let text = shortened(&text, usize::from(area.width));
        return put(buffer, area, y, &Line::styled(text, theme.marked()));
    }
    if app.is_typing {
        return put(
            buffer,
            area,
            y,
            &Line::styled(format!("/{}▏", app.filter), theme.strong()),
        );
    }
    let is_restart = app.data().interval.as_ref().is_some_and(|interval| interval.is_restart);
    if is_restart {
        return put(
            buffer,
            area,
            y,
            &Line::styled(" Vigie has started anew ", theme.marked()),
        );
    }
    let key = |key: &'static str| (key.to_owned(), theme.heading());
    let what = |what: &'static str| (what.to_owned(), theme.faint());
    let pieces = [
        [key("q"), what("quit")],
        [key("?"), what("help")],
        [key("⏎"), what("into")],
        [key("esc"), what("back")],
        [key("←→"), what("sort")],
        [key("/"), what("filter")],
        [key("tab"), what("routes")],
        [key("space"), what("freeze")],
    ];
    let mut spans = Vec::new();
    let mut used = 0;
    for [(key, key_style), (what, what_style)] in pieces {
        let length = key.chars().count() + what.chars().count() + 3;
        if used + length > usize::from(area.width) + 2 {
            break;
        }
        used += length;
        spans.extend([
            Span::styled(key, key_style),
            Span::raw(" "),
            Span::styled(what, what_style),
            Span::raw("  "),
        ]);
    }
    put(buffer, area, y, &Line::from(spans));
}

fn help(buffer: &mut Buffer, area: Rect, theme: Theme) {
    let longest = help::LINES.iter().map(|line| line.chars().count()).max().unwrap_or(0) as u16;
    let (width, height) = (
        (longest + 4).min(area.width),
        (help::LINES.len() as u16 + 2).min(area.height),
    );
    let place = Rect::new(
        area.x + (area.width - width) / 2,
        area.y + (area.height - height) / 2,
        width,
        height,
    );
    Clear.render(place, buffer);
    let block = Block::bordered()
        .title(" keys and columns: any key closes this ")
        .border_style(theme.heading());
    let lines: Vec<Line<'_>> = help::LINES.iter().map(|line| Line::raw(*line)).collect();
    Paragraph::new(lines).block(block).render(place, buffer);
}

#[cfg(test)]
mod tests;
