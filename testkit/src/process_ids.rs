//! Process ids that return: the kernel gives the next one behind `/proc/sys/kernel/ns_last_pid` (proc_sys_kernel(5)).
//!
//! Nothing has to be put back: the kernel itself writes the id of each new process there.

use anyhow::{Context as _, Result, bail};
use std::fs;
use std::process::{Child, Command};

const LAST: &str = "/proc/sys/kernel/ns_last_pid";
/// Any process of the host may take the id first, and have it for a while.
const TRIES: usize = 2000;

/// Starts a process that gets the id `wanted`. What gets another one is killed: it has to wait until it is told to begin, or do no
/// harm.
///
/// # Errors
///
/// If there is no right to write to `ns_last_pid`, or others always get the id first.
pub fn spawn_as(wanted: u32, mut command: impl FnMut() -> Result<Command>) -> Result<Child> {
    let before = wanted.checked_sub(1).context("there is no process 0")?.to_string();
    for _ in 0..TRIES {
        let mut command = command()?;
        fs::write(LAST, &before).with_context(|| format!("cannot write {LAST}"))?;
        let mut child = command.spawn()?;
        if child.id() == wanted {
            return Ok(child);
        }
        child.kill()?;
        child.wait()?;
    }
    bail!("process id {wanted} did not come again in {TRIES} tries")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Needs the right to write to `ns_last_pid`: without it there is nothing to try.
    #[test]
    fn an_id_returns() {
        if fs::OpenOptions::new().write(true).open(LAST).is_err() {
            return;
        }
        let mut first = Command::new("true").spawn().unwrap();
        let id = first.id();
        first.wait().unwrap();
        let mut second = spawn_as(id, || Ok(Command::new("true"))).unwrap();
        assert_eq!(second.id(), id);
        second.wait().unwrap();
    }
}
