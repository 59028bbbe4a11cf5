//! `cargo xtask truth`: every case that Vigie promises to be right in, as its clients know it and as Vigie says.

use crate::{command, document, paths};
use anyhow::{Context as _, Result, ensure};
use clap::Args;
use std::process::{Command, Stdio};

/// Where the table stands in the README.
const START: &str = "<!-- truth: from here on written by `cargo xtask truth --write` -->";
const END: &str = "<!-- truth: up to here -->";

#[derive(Args, Debug, Default)]
pub struct Options {
    /// Write the table into README.md, too
    #[arg(long)]
    write: bool,
    /// Only the cases that need nothing but sockets and the kernel
    #[arg(long)]
    core: bool,
    /// Only cases with one of these texts in their names, or their groups'
    #[arg(long, value_name = "NAME", num_args = 1..)]
    rows: Vec<String>,
}

/// Runs the suite, and fails if a case is wrong.
#[expect(clippy::print_stdout, reason = "the table is what this command is for")]
pub fn run(options: &Options) -> Result<()> {
    command::run(&mut command::cargo([
        "build",
        "--release",
        "--package",
        "vigie",
        "--package",
        "truth",
    ])?)?;
    let release = paths::target()?.join("release");
    let mut suite = Command::new(release.join("vigie-truth"));
    suite.arg("--vigie").arg(release.join("vigie"));
    if options.core {
        suite.arg("--core");
    }
    if !options.rows.is_empty() {
        suite.arg("--rows").args(&options.rows);
    }
    if !options.write {
        return command::run(&mut suite);
    }
    // Not command::output: a table with a wrong case is written, too, and then the command fails.
    let output = suite
        .arg("--markdown")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run vigie-truth")?;
    let table = String::from_utf8(output.stdout).context("the table is not UTF-8")?;
    ensure!(!table.is_empty(), "vigie-truth gave no table ({})", output.status);
    println!("{table}");
    document::write(&paths::root()?.join("README.md"), START, Some(END), &table)?;
    ensure!(output.status.success(), "a case is wrong");
    Ok(())
}
