//! Events that a program missed because it was running already on that CPU.
//!
//! A tracing program does not run when it would interrupt itself (`bpf_prog->active` in the kernel). On a kernel with full
//! preemption that can happen, and the kernel counts it.

use std::{
    fs, io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

/// How many events a program has missed: `recursion_misses` of its descriptor's fdinfo, which Linux has since 5.12.
///
/// # Errors
///
/// If the kernel does not say.
pub fn missed(program: BorrowedFd<'_>) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_raw_fd()))?;
    let count = text.lines().find_map(|line| line.strip_prefix("recursion_misses:"));
    count
        .and_then(|count| count.trim().parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the kernel does not count missed events"))
}
