//! What the scheduler has written down of threads: `schedstat` in `/proc`
//! (Documentation/scheduler/sched-stats.rst of Linux).
//!
//! On a busy machine a thread takes longer by what it waits for a CPU. A test that compares times takes that from here, and does not
//! allow for it with a bound of its own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

/// How often it is looked whether a process is quiet.
const PERIOD: Duration = Duration::from_millis(1);
/// How long that is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sums over threads, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sched {
    /// How long they have run.
    pub ran: u64,
    /// How long they could have run, and had no CPU.
    pub waited: u64,
}

// === impl Sched ===

impl Sched {
    /// Of the thread that calls it. What it has run since the kernel's last tick is not in it.
    pub fn of_this_thread() -> io::Result<Self> {
        Self::read(Path::new("/proc/thread-self/schedstat"))
    }

    /// Of each living thread of a process. A thread that ends meanwhile is left out.
    pub fn of_threads(process: u32) -> io::Result<BTreeMap<OsString, Self>> {
        let mut threads = BTreeMap::new();
        for thread in fs::read_dir(format!("/proc/{process}/task"))? {
            let thread = thread?;
            match Self::read(&thread.path().join("schedstat")) {
                Ok(sched) => drop(threads.insert(thread.file_name(), sched)),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(error),
                Err(_) => {}
            }
        }
        Ok(threads)
    }

    /// Of all living threads of a process: less than before when a thread has ended.
    pub fn of_process(process: u32) -> io::Result<Self> {
        let mut sum = Self::default();
        for thread in Self::of_threads(process)?.into_values() {
            sum.ran += thread.ran;
            sum.waited += thread.waited;
        }
        Ok(sum)
    }

    /// The wait for a CPU.
    pub fn waited(self) -> Duration {
        Duration::from_nanos(self.waited)
    }

    fn read(file: &Path) -> io::Result<Self> {
        let text = fs::read_to_string(file)?;
        Self::parse(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("schedstat says '{text}'")))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split_whitespace().map(|number| number.parse().ok());
        Some(Self {
            ran: numbers.next()??,
            waited: numbers.next()??,
        })
    }
}

/// Waits until all threads of a process have left their CPUs, and none wants one. Only then are its books complete. Some programs wake up ten
/// times a second for nothing: what counts is a moment at which all sleep.
pub fn wait_until_quiet(process: u32) -> io::Result<()> {
    let begin = Instant::now();
    loop {
        let before = Sched::of_threads(process)?;
        if !wants_a_cpu(process)? && Sched::of_threads(process)? == before {
            return Ok(());
        }
        if begin.elapsed() > PATIENCE {
            let message = format!("process {process} has not been quiet within {PATIENCE:?}");
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
        thread::sleep(PERIOD);
    }
}

/// Whether a thread of a process runs, or waits for a CPU.
fn wants_a_cpu(process: u32) -> io::Result<bool> {
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let Ok(stat) = fs::read(thread?.path().join("stat")) else {
            continue;
        };
        // Behind the name in parentheses: a blank, and the state.
        let name_end = stat.iter().rposition(|byte| *byte == b')');
        if name_end.and_then(|end| stat.get(end + 2)) == Some(&b'R') {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedulers_books_are_read() {
        assert!(Sched::of_process(std::process::id()).unwrap().ran > 0);
        assert!(Sched::of_this_thread().is_ok());
        let (ran, waited) = (100, 50);
        assert_eq!(Sched::parse("100 50 3\n").unwrap(), Sched { ran, waited });
        assert_eq!(Sched::parse("100\n"), None);
    }

    #[test]
    fn who_runs_is_not_quiet() {
        assert!(wants_a_cpu(std::process::id()).unwrap());
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        wait_until_quiet(child.id()).unwrap();
        assert!(!wants_a_cpu(child.id()).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
