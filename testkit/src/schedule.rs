//! What the scheduler says about this thread.

use std::cell::OnceCell;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::str;
use std::time::Duration;

/// How long this thread has waited for a CPU so far while it could have run: the kernel's `run_delay`. 0 where the kernel
/// keeps no such books.
pub fn waited_for_cpu() -> Duration {
    thread_local! {
        // Opened once: it is read twice for each request.
        static BOOKS: OnceCell<Option<File>> = const { OnceCell::new() };
    }
    let nanoseconds = BOOKS.with(|books| {
        let file = books.get_or_init(|| File::open("/proc/thread-self/schedstat").ok());
        let mut text = [0; 64];
        let count = file.as_ref()?.read_at(&mut text, 0).ok()?;
        str::from_utf8(text.get(..count)?).ok()?.split(' ').nth(1)?.parse().ok()
    });
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;
    use std::time::Instant;

    #[test]
    fn more_threads_than_cpus_wait() {
        let stop = AtomicBool::new(false);
        let cpus = thread::available_parallelism().unwrap().get();
        thread::scope(|scope| {
            for _ in 0..2 * cpus {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                });
            }
            let (before, begin) = (waited_for_cpu(), Instant::now());
            while begin.elapsed() < Duration::from_millis(200) {
                std::hint::spin_loop();
            }
            let waited = waited_for_cpu() - before;
            stop.store(true, Ordering::Relaxed);
            assert!(waited > Duration::from_millis(10), "{waited:?}");
            assert!(waited < begin.elapsed(), "{waited:?}");
        });
    }
}
