//! `vigie-truth`: what clients and servers know of their own requests, beside what Vigie says of them.
//!
//! Each row is a client and a server on bare sockets in this process, with every byte and every system call chosen, and a
//! clock of their own. It needs no other program than Vigie, so that it runs in a machine that has nothing else.

mod judge;
mod peer;
mod raw;
mod report;
mod rows;
mod run;
mod suite;

use anyhow::{Context as _, Result};
use clap::Parser;
use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use testkit::host::Host;
use testkit::{TempDir, stop, vigie};

/// Runs the rows, and compares what clients and servers know with what Vigie says.
#[derive(Parser, Debug)]
struct Arguments {
    /// The program under test
    #[arg(long, value_name = "PATH", required_unless_present = "serve_starved")]
    vigie: Option<PathBuf>,
    /// Only the rows that need nothing but sockets and the kernel
    #[arg(long)]
    core: bool,
    /// Only rows with one of these texts in their names, or their groups'
    #[arg(long, value_name = "NAME", num_args = 1..)]
    rows: Vec<String>,
    /// By how much two means may differ, relative to the client's; 2 ms are always right
    #[arg(long, value_name = "SHARE", default_value_t = 0.02)]
    time_tolerance: f64,
    /// Print the table as JSON
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Print the table as Markdown
    #[arg(long)]
    markdown: bool,
    /// Be the server of a row
    #[arg(long, value_name = "PORT", hide = true)]
    serve_starved: Option<u16>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether Vigie is right in every row.
#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn run(arguments: &Arguments) -> Result<bool> {
    if let Some(port) = arguments.serve_starved {
        return rows::serve_starved(port).map(|()| true);
    }
    let stop = stop::on_signal()?;
    let _host = Host::beside_others()?;
    let directory = TempDir::new()?;
    let config = directory.write("vigie.yml", config()?.as_bytes())?;
    let config = config.to_str().context("a temporary directory that is not UTF-8")?;
    let binary = arguments.vigie.as_ref().context("which Vigie?")?;
    let vigie = vigie(binary, &["--config.file", config])?;
    let choice = suite::Choice {
        core_only: arguments.core,
        names: arguments.rows.clone(),
    };
    let (lines, scrape) = suite::run(&vigie, &choice, arguments.time_tolerance, &stop)?;
    let wrong = lines.iter().filter(|line| !line.is_right()).count();
    if arguments.json {
        print!("{}", report::json(&lines));
    } else if arguments.markdown {
        print!("{}", report::markdown(&lines));
    } else {
        println!("{}", report::text(&lines));
        println!("lost on the whole host, by Vigie's account: {}", scrape.lost_text());
        println!("{} rows, {wrong} wrong", lines.len());
    }
    Ok(wrong == 0)
}

/// Routes enough for all rows, whose servers are one service, and the handler of the row about long-lived ones.
fn config() -> Result<String> {
    let program = env::current_exe().context("where is this program?")?;
    Ok(format!(
        "max_routes: 5000\nservices:\n  - name: truth\n    exe: {:?}\n    long_lived: [{:?}]\n",
        program.to_str().context("a path that is not UTF-8")?,
        rows::LONG_LIVED,
    ))
}
