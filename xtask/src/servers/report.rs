//! The table.

#![expect(clippy::print_stdout, reason = "the table is what this command is for")]

use super::catalogue::Row;
use super::measure::CONCURRENCIES;
use super::verdict::{Difference, Run};
use super::watched::Side;
use crate::bench::machine;
use anyhow::{Error, Result};
use std::fmt::Write as _;
use std::time::Instant;
use testkit::table::Table;

/// Where the table stands in the document.
pub const START: &str = "<!-- servers: from here on written by `cargo xtask servers --write` -->";

const COLUMNS: [&str; 11] = [
    "server",
    "version",
    "service",
    "1 client",
    "16",
    "128",
    "µs",
    "waited",
    "attributed",
    "lost",
    "",
];

/// One server, as Vigie saw it.
#[derive(Clone, Debug)]
pub struct Line {
    title: String,
    version: String,
    service: String,
    /// For each of [`CONCURRENCIES`].
    counts: [String; CONCURRENCIES.len()],
    /// The part of their time that was attributed, in percent: as above, of the first run each.
    attributed: [String; CONCURRENCIES.len()],
    /// With one client.
    difference: Option<Difference>,
    pub lost: String,
    /// All that is wrong.
    pub problems: Vec<String>,
}

// === impl Line ===

impl Line {
    pub fn new(side: &Side) -> Self {
        Self {
            title: side.title.clone(),
            version: side.version.clone(),
            service: side.service.to_owned(),
            counts: Default::default(),
            attributed: Default::default(),
            difference: None,
            lost: String::new(),
            problems: Vec::new(),
        }
    }

    /// What could not be measured.
    pub fn failed(name: &str, error: &Error) -> Self {
        Self {
            title: name.to_owned(),
            version: String::new(),
            service: String::new(),
            counts: Default::default(),
            attributed: Default::default(),
            difference: None,
            lost: String::new(),
            problems: vec![format!("{error:#}")],
        }
    }

    /// Adds a run. Of several with as many clients, the table shows one that is wrong.
    pub fn add(&mut self, concurrency: usize, run: Run) {
        let Run { cell, problems } = run;
        let known = CONCURRENCIES.iter().position(|known| *known == concurrency);
        if let Some(count) = known.and_then(|place| self.counts.get_mut(place))
            && (count.is_empty() || !problems.is_empty())
        {
            *count = cell;
        }
        self.wrong(concurrency, problems);
    }

    /// Adds how much of a run's time was attributed.
    pub fn attribute(&mut self, concurrency: usize, cell: String) {
        let known = CONCURRENCIES.iter().position(|known| *known == concurrency);
        if let Some(place) = known.and_then(|place| self.attributed.get_mut(place))
            && place.is_empty()
        {
            *place = cell;
        }
    }

    /// Adds what is wrong besides.
    pub fn wrong(&mut self, concurrency: usize, problems: Vec<String>) {
        let with = |problem| format!("with {concurrency} clients: {problem}");
        self.problems.extend(problems.into_iter().map(with));
    }

    /// Adds the means of durations: one run has to be right. The table shows the one that came nearest.
    pub fn time(&mut self, differences: &[Difference]) {
        let distance = |difference: &Difference| difference.seconds().abs();
        let nearest = differences.iter().copied();
        self.difference = nearest.min_by(|a, b| distance(a).total_cmp(&distance(b)));
        if !differences.iter().any(Difference::is_right) {
            let list: Vec<String> = differences
                .iter()
                .map(|run| {
                    format!(
                        "{} − {} (the client waited {})",
                        microseconds(run.client),
                        microseconds(run.vigie),
                        microseconds(run.waited)
                    )
                })
                .collect();
            self.problems.push(format!(
                "mean durations, client − Vigie, µs, not nearly the same in one run: {}",
                list.join(", ")
            ));
        }
    }

    pub fn is_right(&self) -> bool {
        self.problems.is_empty()
    }

    fn cells(&self) -> [String; COLUMNS.len()] {
        let [one, some, many] = self.counts.clone();
        let of = |part: fn(Difference) -> f64| self.difference.map_or("-".to_owned(), |run| microseconds(part(run)));
        let verdict = if self.is_right() { "OK" } else { "FAIL" };
        [
            self.title.clone(),
            self.version.clone(),
            self.service.clone(),
            one,
            some,
            many,
            of(|run| run.seconds()),
            of(|run| run.waited),
            self.attributed.join(" / "),
            self.lost.clone(),
            verdict.to_owned(),
        ]
    }
}

fn microseconds(seconds: f64) -> String {
    format!("{:.0}", seconds * 1e6)
}

/// Says how a row went, once it has been measured.
pub fn progress(row: &Row, measure: impl FnOnce() -> Vec<Line>) -> Vec<Line> {
    let begin = Instant::now();
    let lines = measure();
    let verdict = if lines.iter().all(Line::is_right) { "ok" } else { "FAIL" };
    println!("{:<20}{verdict:<6}{:.1} s", row.name, begin.elapsed().as_secs_f64());
    lines
}

/// Prints the table, and what is wrong.
pub fn show(lines: &[Line]) {
    let mut table = Table::new(6, COLUMNS);
    for line in lines {
        table.add(line.cells());
    }
    println!("\nCounts by handler, method and status, with 1, 16 and 128 clients; µs: mean duration, client − Vigie;");
    println!(
        "waited: how long the client's thread itself waited for a CPU, in µs; attributed: the part of the requests' time"
    );
    println!("whose phase is known, in percent, with 1, 16 and 128 clients\n");
    println!("{}", table.render());
    for line in lines {
        for problem in &line.problems {
            println!("{}: {problem}", line.title);
        }
    }
}

/// The table as Markdown.
pub fn markdown(lines: &[Line]) -> Result<String> {
    let mut text = format!("Machine: {}.\n\n", machine::describe()?);
    let header = COLUMNS
        .join(" | ")
        .replace("µs | waited", "client − Vigie, µs | client waited, µs")
        .replace("attributed", "attributed, %: 1 / 16 / 128");
    writeln!(text, "| {header} |\n|{}", "---|".repeat(COLUMNS.len()))?;
    for line in lines {
        let [title, version, service, rest @ ..] = line.cells();
        let service = format!("`{service}`");
        let cells: Vec<String> = [title, version, service].into_iter().chain(rest).collect();
        writeln!(text, "| {} |", cells.join(" | "))?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        Line::failed("x", &anyhow::anyhow!("why"))
    }

    #[test]
    fn a_run_that_is_wrong_is_not_hidden_by_one_that_is_right() {
        let mut line = Line {
            problems: Vec::new(),
            ..line()
        };
        let run = |cell: &str, problems: &[&str]| Run {
            cell: cell.to_owned(),
            problems: problems.iter().map(|&problem| problem.to_owned()).collect(),
        };
        line.add(16, run("exact", &[]));
        assert!(line.is_right());
        line.add(16, run("+1 −0", &["one too many"]));
        line.add(16, run("exact", &[]));
        assert_eq!((line.cells()[4].as_str(), line.cells()[10].as_str()), ("+1 −0", "FAIL"));
        assert_eq!(line.problems, ["with 16 clients: one too many"]);
    }

    #[test]
    fn what_could_not_run_is_wrong() {
        assert!(!line().is_right());
        assert_eq!(line().problems, ["why"]);
    }
}
