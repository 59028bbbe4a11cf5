//! Running other programs, with errors that say which one failed and how.

use crate::paths;
use anyhow::{Context as _, Result, bail};
use std::env;
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// Cargo, in the workspace and with its target directory.
pub fn cargo<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Result<Command> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(arguments)
        .current_dir(paths::root()?)
        .env("CARGO_TARGET_DIR", paths::target()?);
    Ok(command)
}

/// Builds packages of the workspace as users do, and says where their programs are.
pub fn build(packages: &[&str]) -> Result<PathBuf> {
    let packages = packages.iter().flat_map(|package| ["--package", package]);
    run(&mut cargo(["build", "--release"].into_iter().chain(packages))?)?;
    Ok(paths::target()?.join("release"))
}

/// Runs a command with its output shown, and fails if it does.
pub fn run(command: &mut Command) -> Result<()> {
    let text = describe(command);
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot run '{text}'"))?;
    if !status.success() {
        bail!("'{text}' failed ({status})");
    }
    Ok(())
}

/// Runs cargo's tests with their output shown, and says how many of them were ignored.
#[expect(clippy::print_stdout, reason = "what the tests say is shown as it comes")]
pub fn run_tests(command: &mut Command) -> Result<u64> {
    let text = describe(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run '{text}'"))?;
    let mut ignored = 0;
    for line in BufReader::new(child.stdout.take().context("no output")?).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        println!("{line}");
        ignored += ignored_tests(&line).unwrap_or(0);
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("'{text}' failed ({status})");
    }
    Ok(ignored)
}

/// `test result: ok. 5 passed; 0 failed; 1 ignored; …`
fn ignored_tests(line: &str) -> Option<u64> {
    let (before, _) = line.strip_prefix("test result: ")?.split_once(" ignored;")?;
    before.rsplit(' ').next()?.parse().ok()
}

/// Runs a command and gives its standard output. What it wrote to the standard error is part of the failure.
pub fn output(command: &mut Command) -> Result<String> {
    Ok(text(&finished(command)?.stdout))
}

/// The same with what it wrote to the standard error behind it: where versions are told differs.
pub fn both_outputs(command: &mut Command) -> Result<String> {
    let output = finished(command)?;
    Ok(format!("{}\n{}", text(&output.stdout), text(&output.stderr)))
}

fn finished(command: &mut Command) -> Result<Output> {
    let what = describe(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run '{what}'"))?;
    if !output.status.success() {
        bail!("'{what}' failed ({}): {}", output.status, text(&output.stderr));
    }
    Ok(output)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// A command as one would type it, without its path.
fn describe(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let words = [name].into_iter().chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_failure_says_what_and_why() {
        let error = output(&mut shell("echo the reason >&2; exit 3"))
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "'sh -c echo the reason >&2; exit 3' failed (exit status: 3): the reason"
        );
        let error = run(&mut shell("exit 4")).unwrap_err().to_string();
        assert_eq!(error, "'sh -c exit 4' failed (exit status: 4)");
        let error = run(&mut Command::new("/no/such/program")).unwrap_err();
        assert!(format!("{error:#}").starts_with("cannot run 'program': "), "{error:#}");
    }

    #[test]
    fn ignored_tests_are_counted() {
        let line = "test result: ok. 5 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.02s";
        let script = format!("echo '{line}'; echo 'test a ... ignored'; echo '{line}'");
        assert_eq!(run_tests(&mut shell(&script)).unwrap(), 4);
        assert!(run_tests(&mut shell("exit 1")).is_err());
    }

    #[test]
    fn the_output_is_trimmed() {
        assert_eq!(output(&mut shell("echo ' 1.2 '; echo 3 >&2")).unwrap(), "1.2");
        assert_eq!(both_outputs(&mut shell("echo ' 1.2 '; echo 3 >&2")).unwrap(), "1.2\n3");
    }
}
