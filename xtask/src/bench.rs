//! `cargo xtask bench`: what Vigie costs, as ratios taken in one run, and in nanoseconds beside.

mod empty;
pub mod machine;
mod programs;
mod report;
mod servers;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::{command, document, paths, setup::Tools};

/// The flags of `cargo xtask bench`.
#[derive(Args, Debug)]
pub struct Options {
    /// Write the table into docs/performance.md, too
    #[arg(long)]
    write: bool,
    /// How many windows of a quarter of a second, and rounds with and without Vigie, to take
    #[arg(long, default_value_t = 40)]
    windows: usize,
    /// Only what the phases of requests add to the programs
    #[arg(long, conflicts_with = "write")]
    phases: bool,
    /// Only the scrapes
    #[arg(long, conflicts_with_all = ["write", "phases"])]
    scrapes: bool,
    /// Only the programs
    #[arg(long, conflicts_with_all = ["write", "phases", "scrapes"])]
    programs: bool,
    /// Another program than that of this workspace, such as an older release
    #[arg(long, value_name = "FILE", conflicts_with = "write")]
    vigie: Option<PathBuf>,
    /// Only the programs, beside those of another Vigie that sees the same events, such as an older release
    #[arg(long, value_name = "FILE", conflicts_with_all = ["write", "phases", "scrapes", "programs"])]
    against: Option<PathBuf>,
}

/// What the parts of the benchmark need.
pub struct Context<'a> {
    /// The release build of Vigie.
    pub vigie: PathBuf,
    /// The tools that setup has found.
    pub tools: &'a Tools,
    /// The flags.
    pub windows: usize,
}

/// Runs all parts, and prints the table.
///
/// # Errors
///
/// If a part cannot run: a server that does not start, a kernel that does not let itself be measured.
#[expect(clippy::print_stdout, reason = "the table is what this command is for")]
pub fn run(tools: &Tools, options: &Options) -> Result<()> {
    let context = Context {
        vigie: match &options.vigie {
            Some(program) => program.clone(),
            None => command::build(&["vigie"])?.join("vigie"),
        },
        tools,
        windows: options.windows,
    };
    let mut report = report::Report::default();
    report.machine(&machine::describe()?);
    if let Some(other) = &options.against {
        programs::against(&context, other, &mut report)?;
        println!("{}", report.versions());
        return Ok(());
    }
    if options.phases {
        programs::phases(&context, &mut report)?;
        println!("{}", report.markdown());
        return Ok(());
    }
    if options.scrapes {
        servers::scrapes(&context, &mut report)?;
        println!("{}", report.markdown());
        return Ok(());
    }
    programs::measure(&context, &mut report)?;
    if options.programs {
        println!("{}", report.markdown());
        return Ok(());
    }
    programs::phases(&context, &mut report)?;
    servers::cost(&context, &mut report)?;
    servers::idle(&context, &mut report)?;
    servers::scrapes(&context, &mut report)?;
    let text = report.markdown();
    println!("{text}");
    if options.write {
        document::write(&paths::root()?.join("docs/performance.md"), report::START, None, &text)?;
    }
    Ok(())
}
