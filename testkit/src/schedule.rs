//! What the scheduler says about this thread, and is told about threads.

use std::cell::OnceCell;
use std::fs::{self, File};
use std::io;
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

/// Keeps the thread that calls on one CPU.
///
/// # Errors
///
/// If there is no such CPU, or the thread may not run there.
pub fn pin(cpu: usize) -> io::Result<()> {
    pin_thread(0, cpu)
}

/// Keeps all threads of a process on one CPU, and those that they will make.
///
/// # Errors
///
/// As for [`pin`]; or if the process is gone.
pub fn pin_process(process: u32, cpu: usize) -> io::Result<()> {
    for_each_thread(process, |thread| pin_thread(thread, cpu))
}

/// Changes how nice all threads of a process are, and those that they will make: from -20 to 19.
///
/// # Errors
///
/// If it may not be changed, or the process is gone.
pub fn renice_process(process: u32, nice: i32) -> io::Result<()> {
    for_each_thread(process, |thread| {
        // SAFETY: the function takes three numbers.
        done(unsafe { libc::setpriority(libc::PRIO_PROCESS, thread.cast_unsigned(), nice) })
    })
}

fn for_each_thread(process: u32, act: impl Fn(i32) -> io::Result<()>) -> io::Result<()> {
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let name = thread?.file_name();
        if let Some(thread) = name.to_str().and_then(|name| name.parse().ok()) {
            act(thread)?;
        }
    }
    Ok(())
}

/// 0 is the thread that calls.
fn pin_thread(thread: i32, cpu: usize) -> io::Result<()> {
    // SAFETY: cpu_set_t is plain data, for which zeros are valid.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is valid; CPU_SET ignores a CPU that has no place in it.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: the set is valid to read, and has the size given.
    done(unsafe { libc::sched_setaffinity(thread, size_of::<libc::cpu_set_t>(), &raw const set) })
}

fn done(result: i32) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
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
