//! The tables, and the numbers that stand above them.

use std::fmt::Write as _;

use super::{escape::escape, record::Record};
use crate::view::{
    host,
    interval::Service,
    number::{bytes, count, duration, or_nothing, percent, quantile},
    phase::{PHASES, shares},
    work::{Route, Work},
};

// Writing to a String cannot fail: the results are dropped.

/// A number with a name.
fn tile(html: &mut String, name: &str, class: &str, value: &str) {
    let _ = write!(
        html,
        "<div class=\"tile {class}\"><b>{}</b><span>{name}</span></div>",
        escape(value)
    );
}

/// The golden signals of some requests, as tiles.
pub fn signals(work: &Work, seconds: f64) -> String {
    let mut html = "<div class=\"tiles\">".to_owned();
    tile(&mut html, "requests", "requests", &work.requests().to_string());
    tile(&mut html, "per second", "", &count(work.requests() / seconds));
    let class = if work.class(5) + work.aborted > 0.0 { "bad" } else { "" };
    tile(&mut html, "errors", class, &or_nothing(work.error_share(), percent));
    let durations = work.durations();
    for (name, q) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)] {
        tile(&mut html, name, "", &quantile(durations.quantile(q)));
    }
    html.push_str("</div>\n");
    html
}

/// A bar of phases; nothing if Vigie does not say.
pub fn bar(work: &Work) -> String {
    let Some(shares) = work.phases.as_ref().and_then(shares) else {
        return "–".to_owned();
    };
    let mut html = "<div class=\"bar\">".to_owned();
    for (place, (phase, share)) in PHASES.iter().zip(shares).enumerate() {
        if share > 0.0 {
            let letter = if share >= 0.06 {
                phase.letter.to_string()
            } else {
                String::new()
            };
            let _ = write!(
                html,
                "<i class=\"phase{place}\" style=\"width:{:.2}%\" title=\"{} {}\">{letter}</i>",
                share * 100.0,
                phase.name,
                percent(share)
            );
        }
    }
    html.push_str("</div>");
    html
}

/// What the bars are made of.
pub fn legend() -> String {
    let keys = PHASES.iter().enumerate().map(|(place, phase)| {
        format!(
            "<span class=\"key phase{place}\"><b>{}</b> {}: {}</span>",
            phase.letter, phase.name, phase.meaning
        )
    });
    format!("<p class=\"legend\">{}</p>\n", keys.collect::<String>())
}

/// The endpoints of a service, the busiest first.
pub fn endpoints(routes: &[(&Route, &Work)], seconds: f64) -> String {
    let mut routes = routes.to_vec();
    routes.sort_by(|(_, a), (_, b)| b.requests().total_cmp(&a.requests()));
    let mut html = "<table class=\"endpoints\"><thead><tr><th>endpoint<th>requests<th>/s<th>4xx<th>5xx<th>aborted<th>mean<th>p50<th>p95\
                    <th>p99<th class=\"wide\">where the time went</tr></thead><tbody>\n"
        .to_owned();
    for (route, work) in routes {
        let Route {
            service: _,
            handler,
            method,
            port,
        } = route;
        let durations = work.durations();
        let _ = write!(
            html,
            "<tr data-route=\"{0} {1} {2}\"><th scope=\"row\"><span class=\"method\">{0}</span> <code>{1}</code> <span class=\"note\">:{2}</span>",
            escape(method),
            escape(handler),
            escape(port)
        );
        let cells = [
            ("requests", work.requests().to_string()),
            ("/s", count(work.requests() / seconds)),
            ("4xx", work.class(4).to_string()),
            ("5xx", work.class(5).to_string()),
            ("aborted", work.aborted.to_string()),
            ("mean", or_nothing(durations.mean(), duration)),
            ("p50", quantile(durations.quantile(0.5))),
            ("p95", quantile(durations.quantile(0.95))),
            ("p99", quantile(durations.quantile(0.99))),
        ];
        for (name, value) in cells {
            let class = match (name, value.as_str()) {
                (_, "0") => " class=\"zero\"",
                ("5xx" | "aborted", _) => " class=\"bad\"",
                ("4xx", _) => " class=\"warn\"",
                _ => "",
            };
            let _ = write!(html, "<td data-name=\"{name}\"{class}>{}</td>", escape(&value));
        }
        let _ = writeln!(html, "<td data-name=\"phases\" class=\"wide\">{}</td></tr>", bar(work));
    }
    html.push_str("</tbody></table>\n");
    html
}

/// How a service was at the end, in a line; nothing if Vigie does not say.
pub fn state(service: &Service) -> String {
    let mut parts = Vec::new();
    let ports: Vec<&str> = service.ports.keys().map(String::as_str).collect();
    if !ports.is_empty() {
        parts.push(format!("ports {}", ports.join(", ")));
    }
    for (name, value) in [("threads", service.threads), ("connections", service.connections)] {
        if let Some(value) = value {
            parts.push(format!("{name} {}", count(value)));
        }
    }
    if let Some(memory) = service.memory {
        parts.push(format!("memory {}", bytes(memory)));
    }
    if let Some((backlog, limit)) = service.backlog() {
        parts.push(format!("backlog {} of {}", count(backlog), or_nothing(limit, count)));
    }
    let down = service.down();
    if !down.is_empty() {
        parts.push(format!("no longer listens on {}", down.join(", ")));
    }
    match parts.is_empty() {
        true => String::new(),
        false => format!("<p class=\"note\">At the end: {}.</p>\n", escape(&parts.join("; "))),
    }
}

/// What was watched, by what, and what is missing from it.
pub fn facts(record: &Record, source: &str) -> String {
    let time = |time| humantime::format_rfc3339_seconds(time).to_string();
    let longest = record
        .intervals
        .iter()
        .map(|interval| interval.seconds)
        .fold(0.0, f64::max);
    let lost = record.lost();
    let lost = match lost.is_empty() {
        true => "nothing".to_owned(),
        false => {
            let lost = lost.iter().map(|(reason, count)| format!("{reason} {count}"));
            lost.collect::<Vec<_>>().join(", ")
        }
    };
    let mut rows = vec![
        ("host", host::name()),
        (
            "system",
            format!(
                "{}, Linux {} {}",
                host::distribution(),
                host::kernel(),
                std::env::consts::ARCH
            ),
        ),
        (
            "CPUs",
            format!(
                "{} {}",
                std::thread::available_parallelism().map_or(0, usize::from),
                host::processor()
            ),
        ),
        ("memory", or_nothing(host::memory(), bytes)),
        ("from", time(record.begin)),
        ("to", time(record.end())),
        (
            "looked at",
            format!(
                "{} times in {:.1} s, at the longest {longest:.2} s apart",
                record.intervals.len() + 1,
                record.seconds()
            ),
        ),
        ("watched by", format!("vigie {}, {source}", record.version)),
        ("lost", lost),
    ];
    if record.missed > 0 {
        rows.push(("missed", format!("{} times there was no answer", record.missed)));
    }
    if record.has_restarted() {
        rows.push((
            "restarted",
            "Vigie has started anew within this time: what came just before is missing".to_owned(),
        ));
    }
    let mut html = "<dl class=\"facts\">".to_owned();
    for (name, value) in rows {
        let _ = write!(html, "<dt>{name}</dt><dd>{}</dd>", escape(value.trim()));
    }
    html.push_str("</dl>\n");
    html
}
