//! The table as text, for where there is no terminal.

use std::fmt::Write as _;

use super::{
    columns::{Column, fitting},
    data::Data,
    detail::clock,
    draw::Context,
    rows::{Choice, Level, Row, rows},
};
use crate::view::phase::{PHASES, cells};

/// Wide enough for every column, beside the names.
const COLUMNS: u16 = 150;

/// All services and all their routes, each in a line.
pub fn table(data: &Data, context: &Context) -> String {
    let choice = Choice {
        level: &Level::Services,
        sort: Column::default(),
        is_reversed: false,
        filter: "",
        places: usize::MAX,
    };
    let rows = rows(data, &choice);
    let longest = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
    let name = u16::try_from(longest)
        .unwrap_or(u16::MAX - COLUMNS)
        .min(u16::MAX - COLUMNS);
    let columns = fitting(name + COLUMNS, name);
    let mut text = String::new();
    if let Some(interval) = &data.interval {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{} UTC, {}, {}, the last {:.3} s",
            clock(interval.end),
            context.host,
            context.source,
            interval.seconds
        );
    }
    line(&mut text, &columns, |column| column.title().to_owned());
    for row in &rows {
        line(&mut text, &columns, |column| match column {
            Column::Phases => bar(
                row,
                columns
                    .iter()
                    .find(|(other, _)| *other == column)
                    .map_or(0, |(_, width)| *width),
            ),
            _ => column.text(row),
        });
    }
    let legend: Vec<String> = PHASES
        .iter()
        .map(|phase| format!("{} {}: {}", phase.letter, phase.name, phase.meaning))
        .collect();
    let _ = writeln!(text, "phases: {}", legend.join("; "));
    text
}

fn line(text: &mut String, columns: &[(Column, u16)], cell: impl Fn(Column) -> String) {
    let mut line = String::new();
    for (column, width) in columns {
        let width = usize::from(*width);
        let cell = cell(*column);
        let _ = match column.is_left() {
            true => write!(line, "{cell:<width$} "),
            false => write!(line, "{cell:>width$} "),
        };
    }
    text.push_str(line.trim_end());
    text.push('\n');
}

fn bar(row: &Row, width: u16) -> String {
    let parts = row
        .work
        .phases
        .as_ref()
        .and_then(|seconds| cells(seconds, usize::from(width)));
    let Some(parts) = parts else {
        return Column::Phases.text(row);
    };
    let letters = PHASES.iter().zip(parts);
    letters
        .flat_map(|(phase, length)| std::iter::repeat_n(phase.letter, length))
        .collect()
}
