//! `cargo xtask truth`: every case that Vigie promises to be right in, as its clients know it and as Vigie says.

use crate::{command, document, paths};
use anyhow::{Context as _, Result, ensure};
use clap::Args;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use testkit::stop;

/// Where the table stands in the README.
const START: &str = "<!-- truth: from here on written by `cargo xtask truth --write` -->";
const END: &str = "<!-- truth: up to here -->";

/// How often it is looked whether to stop.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Args, Debug, Default)]
pub struct Options {
    /// Write the table into README.md, too
    #[arg(long, conflicts_with_all = ["core", "rows"])]
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
    let release = command::build(&["vigie", "truth"])?;
    let mut suite = Command::new(release.join("vigie-truth"));
    suite.arg("--vigie").arg(release.join("vigie"));
    if options.core {
        suite.arg("--core");
    }
    if !options.rows.is_empty() {
        suite.arg("--rows").args(&options.rows);
    }
    if !options.write {
        let status = run_suite(&mut suite)?.status;
        ensure!(status.success(), "vigie-truth failed ({status})");
        return Ok(());
    }
    // A table with a wrong case is written, too, and then the command fails.
    let output = run_suite(suite.arg("--markdown").stdout(Stdio::piped()))?;
    let table = String::from_utf8(output.stdout).context("the table is not UTF-8")?;
    ensure!(!table.is_empty(), "vigie-truth gave no table ({})", output.status);
    println!("{table}");
    document::write(&paths::root()?.join("README.md"), START, Some(END), &table)?;
    ensure!(output.status.success(), "a case is wrong");
    Ok(())
}

/// Runs the suite to its end. A signal to this program is passed on once, and the suite then ends in order: in a process group of
/// its own, it does not get those of the terminal besides.
fn run_suite(suite: &mut Command) -> Result<Output> {
    let stop = stop::on_signal()?;
    let child = suite
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
        .context("cannot run vigie-truth")?;
    let process = libc::pid_t::try_from(child.id()).context("a process id")?;
    let has_ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !has_ended.load(Ordering::Relaxed) {
                if stop.load(Ordering::Relaxed) {
                    // SAFETY: kill reads no memory; the child has not been waited for, or has just been.
                    unsafe { libc::kill(process, libc::SIGTERM) };
                    return;
                }
                thread::sleep(LOOK);
            }
        });
        let output = child.wait_with_output();
        has_ended.store(true, Ordering::Relaxed);
        output.context("cannot wait for vigie-truth")
    })
}
