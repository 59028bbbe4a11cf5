//! System calls that the standard library has no name for.

use anyhow::{Context as _, Result, ensure};
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd as _, OwnedFd};
use std::ptr;

fn length(result: isize, what: &str) -> Result<usize> {
    usize::try_from(result)
        .map_err(|_| io::Error::last_os_error())
        .with_context(|| what.to_owned())
}

fn done(result: i32, what: &str) -> Result<()> {
    length(result as isize, what).map(drop)
}

/// `recv` with `MSG_PEEK`: how many bytes there are for a buffer of this size, which stay.
pub fn peek(stream: &TcpStream, size: usize) -> Result<usize> {
    stream.peek(&mut vec![0; size]).context("peeking")
}

/// `recv` with `MSG_WAITALL`: one call for this many bytes, however they come.
pub fn read_all(stream: &TcpStream, size: usize) -> Result<usize> {
    let mut buffer = vec![0_u8; size];
    // SAFETY: the buffer has room for `size` bytes.
    let got = unsafe { libc::recv(stream.as_raw_fd(), buffer.as_mut_ptr().cast(), size, libc::MSG_WAITALL) };
    length(got, "recv")
}

/// `recvmsg` into these buffers.
pub fn recvmsg(stream: &TcpStream, buffers: &mut [IoSliceMut<'_>]) -> Result<usize> {
    let mut message = message(buffers.as_mut_ptr().cast(), buffers.len());
    // SAFETY: IoSliceMut has the layout of iovec, and the buffers live as long as the call.
    let got = unsafe { libc::recvmsg(stream.as_raw_fd(), &raw mut message, 0) };
    length(got, "recvmsg")
}

/// `sendmsg` of these buffers.
pub fn sendmsg(stream: &TcpStream, buffers: &[IoSlice<'_>]) -> Result<usize> {
    let message = message(buffers.as_ptr().cast_mut().cast(), buffers.len());
    // SAFETY: IoSlice has the layout of iovec; sendmsg only reads the buffers, which live as long as the call.
    let sent = unsafe { libc::sendmsg(stream.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
    length(sent, "sendmsg")
}

fn message(buffers: *mut libc::iovec, count: usize) -> libc::msghdr {
    // SAFETY: msghdr is plain data, for which zeros are valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = buffers;
    message.msg_iovlen = count as _;
    message
}

/// A file in memory that holds these bytes.
pub fn memory_file(content: &[u8]) -> Result<File> {
    // SAFETY: the name is a C string.
    let descriptor = unsafe { libc::memfd_create(c"truth".as_ptr(), libc::MFD_CLOEXEC) };
    done(descriptor, "memfd_create")?;
    // SAFETY: it is a new descriptor that nobody else owns.
    let mut file = unsafe { File::from_raw_fd(descriptor) };
    io::Write::write_all(&mut file, content).context("filling the file")?;
    Ok(file)
}

/// `sendfile` of a whole file, in as many calls as it takes.
pub fn sendfile(stream: &TcpStream, file: &File, size: usize) -> Result<()> {
    let mut offset: libc::off_t = 0;
    while (offset as usize) < size {
        // SAFETY: both descriptors are open, and the offset is a valid off_t to read and write.
        let sent = unsafe {
            libc::sendfile(
                stream.as_raw_fd(),
                file.as_raw_fd(),
                &raw mut offset,
                size - offset as usize,
            )
        };
        ensure!(length(sent, "sendfile")? > 0, "the file ended early");
    }
    Ok(())
}

/// Moves a whole file to a socket by `splice`, through a pipe.
pub fn splice(stream: &TcpStream, file: &File, size: usize) -> Result<()> {
    let mut ends = [0; 2];
    // SAFETY: the array has room for the two descriptors.
    done(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }, "pipe2")?;
    // SAFETY: they are new descriptors that nobody else owns.
    let [from, to] = ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) });
    let mut offset: libc::off_t = 0;
    while (offset as usize) < size {
        // SAFETY: the descriptors are open, and the offset is a valid off_t to read and write.
        let moved = unsafe {
            libc::splice(
                file.as_raw_fd(),
                &raw mut offset,
                to.as_raw_fd(),
                ptr::null_mut(),
                size - offset as usize,
                0,
            )
        };
        let mut left = length(moved, "splice from the file")?;
        ensure!(left > 0, "the file ended early");
        while left > 0 {
            // SAFETY: the descriptors are open; no offsets are given.
            let moved = unsafe {
                libc::splice(
                    from.as_raw_fd(),
                    ptr::null_mut(),
                    stream.as_raw_fd(),
                    ptr::null_mut(),
                    left,
                    0,
                )
            };
            left -= length(moved, "splice to the socket")?;
        }
    }
    Ok(())
}

/// Lets `number` stand for the connection of `stream`, in one step: whoever had it loses it.
pub fn take_number(stream: TcpStream, number: TcpStream) -> Result<TcpStream> {
    // SAFETY: both descriptors are open; the one that is replaced is owned by `number`, which is given back.
    let result = unsafe { libc::dup3(stream.as_raw_fd(), number.as_raw_fd(), libc::O_CLOEXEC) };
    done(result, "dup3")?;
    Ok(number)
}

/// Lets this process have as many files open as it needs.
pub fn allow_files(count: u64) -> Result<()> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the limit is valid to write to.
    let got = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    done(got, "getrlimit")?;
    if limit.rlim_cur >= count {
        return Ok(());
    }
    limit.rlim_cur = count;
    limit.rlim_max = limit.rlim_max.max(count);
    // SAFETY: the limit is valid to read.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    done(set, "setrlimit")
}

/// Gives this process the lowest priority.
pub fn be_nice() -> Result<()> {
    // SAFETY: the function takes three numbers.
    done(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) }, "setpriority")
}

/// Lets the thread that calls run as soon as it can, before all threads of normal priority.
pub fn come_first() -> Result<()> {
    let priority = libc::sched_param { sched_priority: 1 };
    // SAFETY: the parameter is valid to read.
    let set = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const priority) };
    done(set, "sched_setscheduler")
}
