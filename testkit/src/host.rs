//! What keeps runs apart that look at numbers of the whole host.

use std::fs::{File, TryLockError};
use std::time::{Duration, Instant};
use std::{env, io, thread};

/// Longer than any test holds its place.
const LIMIT: Duration = Duration::from_secs(30 * 60);
const PERIOD: Duration = Duration::from_millis(100);

/// A place on this host, held until it is dropped.
#[derive(Debug)]
pub struct Host {
    _file: File,
}

// === impl Host ===

impl Host {
    /// Waits until nobody is alone.
    pub fn beside_others() -> io::Result<Self> {
        Self::wait(file()?, File::try_lock_shared, LIMIT)
    }

    /// Waits until nobody else is there: for numbers that have no port, as what was lost.
    pub fn alone() -> io::Result<Self> {
        Self::wait(file()?, File::try_lock, LIMIT)
    }

    /// Not by a lock that waits: that would wait silently, and for ever, for a run that hangs.
    fn wait(file: File, try_lock: fn(&File) -> Result<(), TryLockError>, limit: Duration) -> io::Result<Self> {
        let begin = Instant::now();
        let mut is_said = false;
        loop {
            match try_lock(&file) {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) => {}
            }
            if !is_said {
                eprintln!("waiting for another test run");
                is_said = true;
            }
            if begin.elapsed() >= limit {
                let message = format!("another test run has not ended within {limit:?}: is it hanging?");
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            thread::sleep(PERIOD);
        }
    }
}

/// A file that every test of every run on this host locks.
fn file() -> io::Result<File> {
    File::options()
        .create(true)
        .append(true)
        .open(env::temp_dir().join("vigie-tests.lock"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TempDir;

    #[test]
    fn who_is_alone_is_waited_for_but_not_for_ever() {
        let dir = TempDir::new().unwrap();
        let open = || File::create(dir.path().join("lock")).unwrap();
        let beside = |limit| Host::wait(open(), File::try_lock_shared, limit);
        let alone = Host::wait(open(), File::try_lock, Duration::ZERO).unwrap();
        assert_eq!(beside(Duration::ZERO).unwrap_err().kind(), io::ErrorKind::TimedOut);
        let waiting = thread::scope(|scope| {
            let waiting = scope.spawn(|| beside(LIMIT));
            thread::sleep(PERIOD);
            drop(alone);
            waiting.join().unwrap().unwrap()
        });
        let _other = beside(Duration::ZERO).unwrap();
        assert!(Host::wait(open(), File::try_lock, Duration::ZERO).is_err());
        drop(waiting);
    }
}
