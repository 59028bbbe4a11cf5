//! What the standard library has no name for on a socket.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;

/// Lets the close of a connection be a reset, whatever is still to be sent or read.
pub fn reset_on_close(stream: &TcpStream) -> io::Result<()> {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    option(stream, libc::SO_LINGER, &linger)
}

/// Lets the kernel hold about this many bytes that are still to be sent, and no more as time goes by.
pub fn limit_send_buffer(stream: &TcpStream, bytes: i32) -> io::Result<()> {
    option(stream, libc::SO_SNDBUF, &bytes)
}

/// Lets the kernel hold about this many bytes that are still to be read, and no more as time goes by.
pub fn limit_receive_buffer(stream: &TcpStream, bytes: i32) -> io::Result<()> {
    option(stream, libc::SO_RCVBUF, &bytes)
}

fn option<T>(stream: &TcpStream, name: i32, value: &T) -> io::Result<()> {
    // SAFETY: the pointer is to a value of the size given, which the kernel only reads.
    let result = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            (&raw const *value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::{Ipv4Addr, TcpListener};

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (one, listener.accept().unwrap().0)
    }

    #[test]
    fn the_other_side_is_reset() {
        for (resets, expected) in [(false, Ok(0)), (true, Err(io::ErrorKind::ConnectionReset))] {
            let (one, mut other) = pair();
            if resets {
                reset_on_close(&one).unwrap();
            }
            drop(one);
            assert_eq!(other.read(&mut [0; 1]).map_err(|error| error.kind()), expected);
        }
    }

    #[test]
    fn the_buffer_stays_small() {
        let (mut one, _other) = pair();
        limit_send_buffer(&one, 64 * 1024).unwrap();
        one.set_nonblocking(true).unwrap();
        let mut taken = 0;
        while let Ok(count) = one.write(&[0; 1 << 20]) {
            taken += count;
        }
        assert!((1..1 << 21).contains(&taken), "{taken} bytes");
    }
}
