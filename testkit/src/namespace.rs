//! Network namespaces of other processes.

use anyhow::{Context as _, Result, anyhow};
use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::{io, thread};

fn path(process: &str) -> String {
    format!("/proc/{process}/ns/net")
}

/// The network namespace of a process, as the kernel names it; `None` if the process is gone.
pub fn network(process: u32) -> Option<PathBuf> {
    fs::read_link(path(&process.to_string())).ok()
}

/// The network namespace of this thread.
pub fn own_network() -> io::Result<PathBuf> {
    fs::read_link(path("thread-self"))
}

/// Runs `work` on a thread in the network namespace of a process. Threads that it starts are in there, too.
pub fn in_network_of<T: Send>(process: u32, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let namespace = File::open(path(&process.to_string())).context("opening a network namespace")?;
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            enter(&namespace).context("entering a network namespace")?;
            work()
        });
        worker
            .join()
            .map_err(|_| anyhow!("a thread in another network namespace panicked"))?
    })
}

/// Moves this thread, and no other one, into a network namespace.
fn enter(namespace: &File) -> io::Result<()> {
    // SAFETY: setns reads no memory; the descriptor is open.
    let code = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
    if code == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
