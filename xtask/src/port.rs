//! The ports that people open: the usual one, or the next that is free.

use anyhow::{Context as _, Result, ensure};
use std::net::{Ipv4Addr, TcpListener};

/// How many ports are tried.
const PORTS: u16 = 100;

/// The port that was asked for with `--port`, or the first free one from the usual one on.
///
/// # Errors
///
/// If somebody listens there already.
pub fn choose(asked: Option<u16>, usual: u16) -> Result<u16> {
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    match asked {
        Some(port) => {
            ensure!(
                is_free(&port),
                "cannot listen on port {port}: is another program there?"
            );
            Ok(port)
        }
        None => (usual..usual + PORTS).find(is_free).with_context(|| {
            let last = usual + PORTS - 1;
            format!("no port from {usual} to {last} is free: give one with --port")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_refused_or_passed_over() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = choose(Some(port), port).unwrap_err().to_string();
        assert!(error.contains(&format!("port {port}")), "{error}");
        assert_ne!(choose(None, port.min(u16::MAX - PORTS)).unwrap(), port);
    }
}
