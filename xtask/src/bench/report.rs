//! The table.

use std::fmt::Write as _;

/// Where the tables stand in docs/performance.md.
pub const START: &str = "<!-- bench: from here on written by `cargo xtask bench --write` -->";

/// What was measured.
#[derive(Default)]
pub struct Report {
    machine: String,
    programs: String,
    phases: String,
    against: String,
    lines: String,
}

/// The median, or 0 of nothing.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

// Writing to a String cannot fail: the results are dropped.

// === impl Report ===

impl Report {
    /// The machine.
    pub fn machine(&mut self, machine: &str) {
        machine.clone_into(&mut self.machine);
    }

    /// A row of the programs' table.
    pub fn program(&mut self, load: &str, hook: &str, real: f64, empty: f64, ratio: f64) {
        let _ = writeln!(
            self.programs,
            "| {load} | {hook} | {real:.0} | {empty:.0} | {ratio:.2} |"
        );
    }

    /// A row of the table of what the phases add.
    pub fn phases(&mut self, hook: &str, with: f64, without: f64, empty: f64, added: f64) {
        let _ = writeln!(
            self.phases,
            "| {hook} | {with:.0} | {without:.0} | {empty:.0} | {added:.2} |"
        );
    }

    /// A row of the table of two versions.
    pub fn against(&mut self, load: &str, hook: &str, this: f64, other: f64, ratio: f64) {
        let _ = writeln!(
            self.against,
            "| {load} | {hook} | {this:.0} | {other:.0} | {ratio:.3} |"
        );
    }

    /// The table of two versions, as Markdown.
    pub fn versions(&self) -> String {
        format!(
            "Machine: {}.\n\n\
             | load on nginx, keep-alive | hook | this, ns | the other, ns | ratio |\n|---|---|---:|---:|---:|\n{}",
            self.machine, self.against
        )
    }

    /// A row of the other table.
    pub fn line(&mut self, what: &str, value: &str) {
        let _ = writeln!(self.lines, "| {what} | {value} |");
    }

    /// The tables, as Markdown.
    pub fn markdown(&self) -> String {
        format!(
            "Machine: {}.\n\n\
             | load on nginx, keep-alive | hook | Vigie, ns | empty, ns | ratio |\n|---|---|---:|---:|---:|\n{}\n\
             | what the phases add, the same path | with, ns | without, ns | empty, ns | added, in empty programs |\n|---|---:|---:|---:|---:|\n{}\n\
             | what | value |\n|---|---|\n{}",
            self.machine, self.programs, self.phases, self.lines
        )
    }
}
