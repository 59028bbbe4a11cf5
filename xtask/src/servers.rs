//! `cargo xtask servers`: servers as their users run them, seen by their clients and by Vigie.

mod apache;
mod catalogue;
mod client;
mod compiled;
mod java;
mod javascript;
mod measure;
mod namespaces;
mod nginx;
mod php;
mod python;
mod report;
mod ruby;
mod verdict;
mod version;
mod watched;

use crate::{command, document, paths, setup};
use anyhow::{Result, bail, ensure};
use catalogue::{ROWS, Row};
use clap::Args;
use std::sync::atomic::Ordering;
use testkit::stop;

/// The flags of `cargo xtask servers`.
#[derive(Args, Debug)]
pub struct Options {
    /// Only these rows, by name, or by how their names begin
    names: Vec<String>,
    /// Write the table into docs/compatibility.md, too
    #[arg(long, conflicts_with = "names")]
    write: bool,
    /// How many requests to send in each run
    #[arg(long, value_name = "NUMBER", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(128..=100_000))]
    requests: u32,
}

// === impl Options ===

impl Options {
    /// Every server, nothing written.
    pub fn all() -> Self {
        Self {
            names: Vec::new(),
            write: false,
            requests: 1000,
        }
    }

    /// The rows that are asked for. Every name has to ask for one.
    fn rows(&self) -> Result<Vec<&'static Row>> {
        let fits = |row: &Row, name: &String| row.name.starts_with(name.as_str());
        if let Some(name) = self.names.iter().find(|name| !ROWS.iter().any(|row| fits(row, name))) {
            let known: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
            bail!("there is no server '{name}'; there are {}", known.join(", "));
        }
        let is_asked = |row: &&Row| self.names.is_empty() || self.names.iter().any(|name| fits(row, name));
        Ok(ROWS.iter().filter(is_asked).collect())
    }
}

/// Runs the rows, prints the table, and fails if a row does.
pub fn run(options: &Options) -> Result<()> {
    let rows = options.rows()?;
    setup::ensure()?;
    let tools = setup::ensure_servers()?;
    let bench = measure::Bench {
        vigie: command::build(&["vigie"])?.join("vigie"),
        tools,
        requests: options.requests as usize,
        stop: stop::on_signal()?,
    };
    let mut lines = Vec::new();
    for row in rows {
        lines.extend(report::progress(row, || bench.measure(row)));
        ensure!(
            !bench.stop.load(Ordering::Relaxed),
            "stopped before all rows were measured"
        );
    }
    report::show(&lines);
    if options.write {
        let path = paths::root()?.join("docs/compatibility.md");
        document::write(&path, report::START, None, &report::markdown(&lines)?)?;
    }
    let failed = lines.iter().filter(|line| !line.is_right()).count();
    ensure!(failed == 0, "{failed} of {} lines are wrong", lines.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(asked: &[&str]) -> Result<Vec<&'static str>> {
        let options = Options {
            names: asked.iter().map(|name| (*name).to_owned()).collect(),
            ..Options::all()
        };
        Ok(options.rows()?.iter().map(|row| row.name).collect())
    }

    #[test]
    fn rows_are_found_by_how_they_begin() {
        assert_eq!(names(&[]).unwrap().len(), ROWS.len());
        assert_eq!(names(&["uvicorn"]).unwrap(), ["uvicorn-asyncio", "uvicorn-uvloop"]);
        let error = names(&["go", "cobol"]).unwrap_err().to_string();
        assert!(
            error.starts_with("there is no server 'cobol'; there are uvicorn-"),
            "{error}"
        );
    }

    #[test]
    fn no_two_rows_have_the_same_name() {
        let mut names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ROWS.len());
    }
}
