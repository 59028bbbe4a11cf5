//! Descriptors: how many files Vigie may have open at once, what they are for, and what was left out for want of them.
//!
//! Of those that the programs and maps in the kernel leave, a quarter each is for processes, network namespaces and clients. The last is for
//! what is opened and closed again.

use std::{
    fs, io,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use log::warn;
use rustix::process::{Resource, getrlimit, setrlimit};

/// More are not asked for: the kernel has a table of them.
const MOST: u64 = 1 << 20;

static LIMIT: OnceLock<u64> = OnceLock::new();
static SHARE: OnceLock<usize> = OnceLock::new();
/// What could not be opened.
static MISSED: AtomicU64 = AtomicU64::new(0);

/// How many there may be. At the first call, which comes before anything is opened that stays open, the soft limit is raised to the hard one, for
/// which nobody has to be asked.
pub fn limit() -> u64 {
    *LIMIT.get_or_init(|| {
        let mut limit = getrlimit(Resource::Nofile);
        let most = limit.maximum.unwrap_or(MOST).min(MOST);
        if limit.current.is_some_and(|current| current < most) {
            limit.current = Some(most);
            // Otherwise there are fewer.
            let _ = setrlimit(Resource::Nofile, limit);
        }
        getrlimit(Resource::Nofile).current.unwrap_or(MOST).min(MOST)
    })
}

/// How many may be for one of the purposes. What is open at the first call stays open.
pub fn share() -> usize {
    *SHARE.get_or_init(|| {
        let most = usize::try_from(limit()).unwrap_or(usize::MAX);
        let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        most.saturating_sub(open) / 4
    })
}

/// Counts what could not be opened if that is because there are too many open files, of Vigie or of the host.
pub fn note<T>(result: io::Result<T>) -> io::Result<T> {
    if let Err(error) = &result
        && is_want(error)
    {
        note_missed(1);
    }
    result
}

/// Whether this says that there are too many open files, of Vigie or of the host.
pub fn is_want(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// Counts what was left out because its share is used up.
pub fn note_missed(count: u64) {
    if count != 0 && MISSED.fetch_add(count, Ordering::Relaxed) == 0 {
        warn!(
            "{} open files are too few for this host: what needs more is left out (LimitNOFILE in the unit, ulimit -n)",
            limit()
        );
    }
}

/// How often something was left out.
pub fn missed() -> u64 {
    MISSED.load(Ordering::Relaxed)
}
