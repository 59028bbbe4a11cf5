//! Names of processes that were known better before.

use std::num::NonZeroUsize;

use lru::LruCache;

use super::Described;
use crate::observe::process::ProcessInfo;

/// A process: its id, and when it started, because ids come again.
type Key = (u32, u64);

/// What processes were called when it was known best.
///
/// A worker loses what names it when its server dies, and a container's files go before its last process does. A description that
/// is weak gives way to an earlier one of the same process that was not. At its capacity, the process that was asked for least recently is forgotten first,
/// and would only be called less well.
#[derive(Debug)]
pub struct Remembered {
    known: LruCache<Key, Described>,
}

// === impl Remembered ===

impl Remembered {
    /// Room for a number of processes.
    #[must_use]
    pub fn new(capacity: NonZeroUsize) -> Self {
        Self {
            known: LruCache::new(capacity),
        }
    }

    /// The best description of a process that has been seen, this one included.
    pub fn settle(&mut self, process: &ProcessInfo, seen: Described) -> Described {
        let key = (process.pid, process.start_ticks);
        if !seen.is_weak {
            self.known.put(key, seen.clone());
            return seen;
        }
        self.known.get(&key).cloned().unwrap_or(seen)
    }

    /// Only these processes are there.
    pub fn keep(&mut self, is_there: impl Fn(u32) -> bool) {
        let gone: Vec<Key> = self
            .known
            .iter()
            .map(|(key, _)| *key)
            .filter(|(pid, _)| !is_there(*pid))
            .collect();
        for key in gone {
            self.known.pop(&key);
        }
    }

    /// A process has ended.
    pub fn forget(&mut self, pid: u32, start_ticks: u64) {
        self.known.pop(&(pid, start_ticks));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, start_ticks: u64) -> ProcessInfo {
        ProcessInfo {
            start_ticks,
            ..ProcessInfo::from_parts(pid, "python", Vec::new())
        }
    }

    fn described(app: &str, is_weak: bool) -> Described {
        Described {
            app: app.to_owned(),
            is_weak,
            ..Described::default()
        }
    }

    #[test]
    fn a_weak_description_gives_way_to_an_earlier_one_of_the_same_process() {
        let mut remembered = Remembered::new(NonZeroUsize::new(4).unwrap());
        let weak = || described("python", true);
        assert_eq!(remembered.settle(&process(7, 1), weak()), weak());
        let good = described("uvicorn/shop:app", false);
        assert_eq!(remembered.settle(&process(7, 1), good.clone()), good);
        assert_eq!(remembered.settle(&process(7, 1), weak()), good);
        // The id came again.
        assert_eq!(remembered.settle(&process(7, 2), weak()), weak());
        let better = described("python/pay.py", false);
        assert_eq!(remembered.settle(&process(7, 1), better.clone()), better);
        remembered.forget(7, 1);
        assert_eq!(remembered.settle(&process(7, 1), weak()), weak());
    }

    #[test]
    fn processes_remembered_are_bounded_and_forgotten() {
        let mut remembered = Remembered::new(NonZeroUsize::new(4).unwrap());
        for pid in 0..10 {
            remembered.settle(&process(pid, 1), described("shop", false));
        }
        assert_eq!(remembered.known.len(), 4);
        assert_eq!(
            remembered.settle(&process(5, 1), described("python", true)).app,
            "python"
        );
        assert_eq!(remembered.settle(&process(6, 1), described("python", true)).app, "shop");
        remembered.keep(|pid| pid == 9);
        assert_eq!(remembered.known.len(), 1);
        for pid in 0..10 {
            remembered.forget(pid, 1);
        }
        assert!(remembered.known.is_empty());
    }
}
