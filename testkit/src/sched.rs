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

/// For how long the books of a process have to stay as they are until it is quiet.
const QUIET: Duration = Duration::from_millis(100);
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

/// Waits until all threads of a process have left their CPUs, and none wakes up. Only then are its books complete.
pub fn wait_until_quiet(process: u32) -> io::Result<()> {
    let begin = Instant::now();
    let mut last = Sched::of_process(process)?;
    while begin.elapsed() < PATIENCE {
        thread::sleep(QUIET);
        let now = Sched::of_process(process)?;
        if now == last {
            return Ok(());
        }
        last = now;
    }
    let message = format!("process {process} has not been quiet for {QUIET:?} within {PATIENCE:?}");
    Err(io::Error::new(io::ErrorKind::TimedOut, message))
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
}
