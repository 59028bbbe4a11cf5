//! What the standard library has no name for on a socket.

use std::io;
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd as _, OwnedFd};

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

/// Listens where others may listen at the same time (`SO_REUSEPORT`), as the two instances of a deployment do.
///
/// # Errors
///
/// If the address is none of IPv4, or somebody listens there who does not share it.
pub fn shared_listener(address: SocketAddr) -> io::Result<TcpListener> {
    /// How many connections may wait.
    const BACKLOG: libc::c_int = 128;
    let SocketAddr::V4(address) = address else {
        return Err(io::Error::other("only addresses of IPv4 are shared"));
    };
    // SAFETY: socket reads no memory.
    let socket = check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the descriptor has just been made, and nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    option(&socket, libc::SO_REUSEPORT, &1_i32)?;
    let name = socket_name(address);
    let size = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    // SAFETY: the pointer is to a name of the size given, which the kernel only reads.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const name).cast(), size) })?;
    // SAFETY: listen reads no memory.
    check(unsafe { libc::listen(socket.as_raw_fd(), BACKLOG) })?;
    Ok(socket.into())
}

fn socket_name(address: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes(address.ip().octets()),
        },
        sin_zero: [0; 8],
    }
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

fn option<T>(socket: &impl AsRawFd, name: i32, value: &T) -> io::Result<()> {
    // SAFETY: the pointer is to a value of the size given, which the kernel only reads.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
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
    use std::net::Ipv4Addr;

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
    fn a_port_is_shared_with_who_shares_it() {
        let one = shared_listener(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = one.local_addr().unwrap();
        let other = shared_listener(address).unwrap();
        assert_eq!(other.local_addr().unwrap(), address);
        assert!(TcpListener::bind(address).is_err());
        drop(one);
        let _client = TcpStream::connect(address).unwrap();
        other.accept().unwrap();
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
