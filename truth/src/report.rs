//! The table, in its three forms.

use crate::judge::Verdict;
use crate::rows::Row;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use testkit::table::{Table, milliseconds};

/// Below it, in seconds, a mean is shown with one decimal more.
const SHORT: f64 = 0.01;

/// A row and what is said about it.
pub struct Line {
    pub group: &'static str,
    pub row: &'static Row,
    pub verdict: Verdict,
}

/// The cells that all forms share.
struct Cells {
    method: String,
    handler: String,
    status: String,
    client: String,
    vigie: String,
    client_ms: String,
    vigie_ms: String,
}

// Writing to a String cannot fail: the results are dropped.

// === impl Line ===

impl Line {
    pub fn is_right(&self) -> bool {
        self.verdict.problems.is_empty()
    }

    fn cells(&self) -> Cells {
        let Verdict {
            counts,
            means,
            aborted,
            problems: _,
        } = &self.verdict;
        let expected: Vec<_> = counts.iter().filter(|(_, (truth, _))| *truth > 0).collect();
        let sum = |number: fn(&(u64, u64)) -> u64| counts.values().map(number).sum::<u64>();
        let with_aborted = |answered: u64, aborted_too: u64| {
            if aborted.0 == 0 && aborted.1 == 0 {
                answered.to_string()
            } else {
                format!("{answered} + {aborted_too} aborted")
            }
        };
        Cells {
            method: all(expected.iter().map(|((_, method, _), _)| method.clone())),
            handler: all(expected.iter().map(|((handler, _, _), _)| short(handler))),
            status: all(expected.iter().map(|((_, _, status), _)| status.to_string())),
            client: with_aborted(sum(|count| count.0), aborted.0),
            vigie: with_aborted(sum(|count| count.1), aborted.1),
            client_ms: time(means.map(|means| means.0)),
            vigie_ms: time(means.map(|means| means.1)),
        }
    }
}

fn time(seconds: Option<f64>) -> String {
    match seconds {
        Some(seconds) if seconds < SHORT => format!("{:.2}", seconds * 1e3),
        seconds => milliseconds(seconds),
    }
}

/// The values there are: one, or how many.
fn all(values: impl Iterator<Item = String>) -> String {
    let values: BTreeSet<String> = values.collect();
    match values.len() {
        0 => "-".to_owned(),
        1 => values.into_iter().collect(),
        many => format!("{many} kinds"),
    }
}

fn short(handler: &str) -> String {
    const SHOWN: usize = 28;
    if handler.chars().count() <= SHOWN {
        return handler.to_owned();
    }
    handler.chars().take(SHOWN).chain(['~']).collect()
}

/// The table as text, and each thing that differs under it.
pub fn text(lines: &[Line]) -> String {
    let mut table = Table::new(4, ["", "", "", "", "count", "", "mean ms", "", ""]);
    let [client, vigie] = ["client", "Vigie"];
    let header = ["case", "method", "handler", "status", client, vigie, client, vigie, ""];
    table.add(header.map(str::to_owned));
    let mut group = "";
    for line in lines {
        if line.group != group {
            group = line.group;
            table.add([format!("[{group}]")]);
        }
        let cells = line.cells();
        let verdict = if line.is_right() { "" } else { "WRONG" };
        table.add([
            line.row.name.to_owned(),
            cells.method,
            cells.handler,
            cells.status,
            cells.client,
            cells.vigie,
            cells.client_ms,
            cells.vigie_ms,
            verdict.to_owned(),
        ]);
    }
    let mut text = table.render();
    for line in lines.iter().filter(|line| !line.is_right()) {
        let _ = writeln!(text, "\n{}:", line.row.name);
        for problem in &line.verdict.problems {
            let _ = writeln!(text, "  {problem}");
        }
    }
    text
}

/// The table for a README: short columns, and no problem in words.
pub fn markdown(lines: &[Line]) -> String {
    let mut text =
        String::from("| case | count: client | Vigie | mean ms: client | Vigie | |\n|---|---:|---:|---:|---:|---|\n");
    let mut group = "";
    for line in lines {
        if line.group != group {
            group = line.group;
            let _ = writeln!(text, "| **{group}** | | | | | |");
        }
        let cells = line.cells();
        let verdict = if line.is_right() { "" } else { "wrong" };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {verdict} |",
            line.row.name, cells.client, cells.vigie, cells.client_ms, cells.vigie_ms
        );
    }
    text
}

/// An object for each row, for other programs.
pub fn json(lines: &[Line]) -> String {
    let objects = lines.iter().map(|line| {
        let cells = line.cells();
        let problems: Vec<String> = line.verdict.problems.iter().map(|problem| quoted(problem)).collect();
        let number = |value: Option<f64>| value.map_or_else(|| "null".to_owned(), |value| value.to_string());
        let means = line.verdict.means;
        format!(
            "{{\"group\":{},\"case\":{},\"method\":{},\"handler\":{},\"status\":{},\"client\":{},\"vigie\":{},\
             \"client_seconds\":{},\"vigie_seconds\":{},\"right\":{},\"problems\":[{}]}}",
            quoted(line.group),
            quoted(line.row.name),
            quoted(&cells.method),
            quoted(&cells.handler),
            quoted(&cells.status),
            quoted(&cells.client),
            quoted(&cells.vigie),
            number(means.map(|means| means.0)),
            number(means.map(|means| means.1)),
            line.is_right(),
            problems.join(",")
        )
    });
    format!("[\n{}\n]\n", objects.collect::<Vec<_>>().join(",\n"))
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(letter));
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::GROUPS;

    fn line(handler: &str, counts: (u64, u64), problems: &[&str]) -> Line {
        let key = (handler.to_owned(), "GET".to_owned(), 200);
        Line {
            group: GROUPS[0].title,
            row: &GROUPS[0].rows[0],
            verdict: Verdict {
                counts: [(key, counts)].into(),
                means: Some((0.0012, 0.25)),
                aborted: (0, 1),
                problems: problems.iter().map(|problem| (*problem).to_owned()).collect(),
            },
        }
    }

    #[test]
    fn a_wrong_row_is_named_with_its_problems() {
        let text = text(&[line("/a", (3, 3), &[]), line("/b", (3, 2), &["a \"problem\""])]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[3].ends_with("GET     /a       200     3 + 0 aborted  3 + 1 aborted     1.20  250.0"),
            "{text}"
        );
        assert!(
            lines[4].contains("2 + 1 aborted") && lines[4].ends_with("WRONG"),
            "{text}"
        );
        assert!(
            text.ends_with(&format!("\n{}:\n  a \"problem\"\n", GROUPS[0].rows[0].name)),
            "{text}"
        );
    }

    #[test]
    fn json_is_escaped() {
        let json = json(&[line("/\"\\\n", (1, 1), &["a \"problem\""])]);
        assert!(json.contains(r#""handler":"/\"\\\u000a""#), "{json}");
        assert!(json.contains(r#""right":false,"problems":["a \"problem\""]"#), "{json}");
    }

    #[test]
    fn markdown_has_as_many_cells_everywhere() {
        let table = markdown(&[line("/a", (3, 3), &[]), line("/a|b", (3, 2), &["x"])]);
        let cells: BTreeSet<usize> = table.lines().map(|line| line.matches('|').count()).collect();
        assert_eq!(cells, BTreeSet::from([7]), "{table}");
        assert!(table.trim_end().ends_with("| wrong |"), "{table}");
    }

    #[test]
    fn names_are_unique() {
        let names: Vec<&str> = GROUPS.iter().flat_map(|group| group.rows).map(|row| row.name).collect();
        let unique: BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(names.len(), unique.len());
        assert!(names.iter().all(|name| name.len() <= 48 && !name.contains('|')));
    }
}
