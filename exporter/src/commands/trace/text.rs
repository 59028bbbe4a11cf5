//! A request as a line for people.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Effects, Style as Ansi};
use jiff::tz::TimeZone;

use crate::observe::{
    traced::{PhaseSeconds, Traced},
    tracers::NotShown,
};

/// Phases that are less of the duration than this are left out.
const LEAST_SHARE: f64 = 0.01;

/// How lines are written.
pub struct Style {
    zone: TimeZone,
    is_coloured: bool,
}

/// A duration with three digits, in the unit that suits it.
fn human(seconds: f64) -> String {
    let (value, unit) = if seconds >= 0.9995 {
        (seconds, "s")
    } else if seconds >= 0.000_999_5 {
        (seconds * 1e3, "ms")
    } else {
        (seconds * 1e6, "µs")
    };
    let digits = if value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {unit}")
}

/// The phases that matter, in milliseconds.
fn phases(phases: &PhaseSeconds, duration: f64) -> String {
    let PhaseSeconds {
        queue,
        runqueue,
        cpu,
        blocked,
        send,
        unattributed,
    } = *phases;
    let list = [
        ("queue", queue),
        ("runq", runqueue),
        ("cpu", cpu),
        ("blocked", blocked),
        ("send", send),
        ("unattr", unattributed),
    ];
    let mut text = String::new();
    for (name, seconds) in list {
        if seconds > 0.0 && seconds >= duration * LEAST_SHARE {
            // Writing to a string does not fail.
            let _ = write!(text, "{name} {} ", three_digits(seconds * 1e3));
        }
    }
    if !text.is_empty() {
        text.push_str("ms");
    }
    text
}

fn three_digits(value: f64) -> String {
    let digits = match value {
        0.0..0.0995 => 3,
        0.0995..0.995 => 2,
        0.995..99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$}")
}

/// The same text without what would move a terminal's cursor.
fn printable(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            result.extend(character.escape_default());
        } else {
            result.push(character);
        }
    }
    result
}

/// What was shown, and what was not, in one line.
pub fn summary(shown: u64, not_shown: &NotShown) -> String {
    let mut text = format!("{shown} shown, {} not shown", not_shown.total());
    let reasons = not_shown.list();
    let reasons: Vec<_> = reasons
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(reason, count)| format!("{} {count}", reason.replace('_', " ")))
        .collect();
    if !reasons.is_empty() {
        let _ = write!(text, " ({})", reasons.join(", "));
    }
    text
}

// === impl Style ===

impl Style {
    /// In this host's time zone; with colours on a terminal, unless `NO_COLOR` is set (<https://no-color.org>).
    pub fn new(is_terminal: bool) -> Self {
        let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            zone: TimeZone::system(),
            is_coloured: is_terminal && !is_refused,
        }
    }

    /// A request.
    pub fn line(&self, request: &Traced) -> String {
        let Traced {
            time,
            service,
            port: _,
            method,
            handler,
            path,
            status,
            duration,
            phases: parts,
            request_bytes: _,
            response_bytes: _,
            process: _,
            thread: _,
        } = request;
        let time = time
            .to_zoned_datetime(self.zone.clone())
            .strftime("%H:%M:%S.%3f")
            .to_string();
        let status_text = if *status == 0 {
            "none".to_owned()
        } else {
            status.to_string()
        };
        // A path that was not kept is shown as its route, in brackets.
        let path = path
            .as_ref()
            .map_or_else(|| format!("[{}]", printable(handler)), |path| printable(path));
        let text = format!(
            "{time}  {service:<20}  {method:<7} {status}  {duration:>8}  {path:<32}  {phases}",
            time = self.paint(Ansi::new().effects(Effects::DIMMED), &time),
            service = printable(service),
            status = self.paint(colour(*status), &format!("{status_text:<4}")),
            duration = human(*duration),
            phases = self.paint(Ansi::new().effects(Effects::DIMMED), &phases(parts, *duration)),
        );
        text.trim_end().to_owned()
    }

    fn paint(&self, style: Ansi, text: &str) -> String {
        if self.is_coloured && !text.is_empty() {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }
}

fn colour(status: u16) -> Ansi {
    let colour = match status {
        200..300 => AnsiColor::Green,
        100..200 | 300..400 => AnsiColor::Cyan,
        400..500 => AnsiColor::Yellow,
        _ => AnsiColor::Red,
    };
    colour.on_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Traced {
        Traced {
            time: "2026-01-02T03:04:05.0678Z".parse().unwrap(),
            service: "nginx".to_owned(),
            port: 80,
            method: "GET".to_owned(),
            handler: "/a/{id}".to_owned(),
            path: Some("/a/17".to_owned()),
            status: 200,
            duration: 0.0123,
            phases: PhaseSeconds {
                queue: 0.0021,
                runqueue: 0.000_1,
                cpu: 0.0102,
                ..PhaseSeconds::default()
            },
            request_bytes: 1,
            response_bytes: 2,
            process: 3,
            thread: 4,
        }
    }

    fn style(is_coloured: bool) -> Style {
        Style {
            zone: TimeZone::UTC,
            is_coloured,
        }
    }

    #[test]
    fn a_line() {
        assert_eq!(
            style(false).line(&request()),
            "03:04:05.067  nginx                 GET     200    12.3 ms  /a/17                             queue 2.1 cpu 10.2 ms"
        );
        let aborted = Traced {
            path: None,
            status: 0,
            duration: 2.0,
            phases: PhaseSeconds::default(),
            service: "a\x1bb".to_owned(),
            ..request()
        };
        assert_eq!(
            style(false).line(&aborted),
            "03:04:05.067  a\\u{1b}b              GET     none    2.00 s  [/a/{id}]"
        );
    }

    #[test]
    fn colours_do_not_change_the_text() {
        for status in [0, 101, 200, 302, 404, 500] {
            let request = Traced { status, ..request() };
            let coloured = style(true).line(&request);
            let mut plain = String::new();
            let mut is_code = false;
            for character in coloured.chars() {
                match character {
                    '\x1b' => is_code = true,
                    'm' if is_code => is_code = false,
                    _ if is_code => {}
                    _ => plain.push(character),
                }
            }
            assert_ne!(coloured, plain);
            assert_eq!(plain, style(false).line(&request));
        }
    }

    #[test]
    fn durations_are_human() {
        for (seconds, expected) in [
            (0.0, "0.00 µs"),
            (0.000_001_234, "1.23 µs"),
            (0.000_999_4, "999 µs"),
            (0.000_999_6, "1.00 ms"),
            (0.012_34, "12.3 ms"),
            (0.123_4, "123 ms"),
            (0.999_6, "1.00 s"),
            (75.0, "75.0 s"),
            (3600.0, "3600 s"),
        ] {
            assert_eq!(human(seconds), expected);
        }
    }

    #[test]
    fn small_phases_are_left_out() {
        let parts = PhaseSeconds {
            queue: 0.000_05,
            runqueue: 0.008_2,
            cpu: 0.1,
            send: 0.000_999,
            ..PhaseSeconds::default()
        };
        assert_eq!(phases(&parts, 0.1), "runq 8.2 cpu 100 ms");
        assert_eq!(phases(&parts, 0.01), "runq 8.2 cpu 100 send 1.0 ms");
        assert_eq!(phases(&parts, 0.005), "queue 0.050 runq 8.2 cpu 100 send 1.0 ms");
        assert_eq!(phases(&PhaseSeconds::default(), 0.0), "");
    }

    #[test]
    fn the_summary_names_reasons() {
        assert_eq!(summary(3, &NotShown::default()), "3 shown, 0 not shown");
        let not_shown = NotShown {
            rate: 5,
            slow_client: 1,
            ..NotShown::default()
        };
        assert_eq!(summary(3, &not_shown), "3 shown, 6 not shown (rate 5, slow client 1)");
    }
}
