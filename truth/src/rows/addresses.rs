//! IPv6, and IPv4 on a socket of IPv6.

use super::{Group, row};
use crate::run::Run;
use anyhow::Result;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub const GROUP: Group = Group {
    title: "addresses",
    rows: &[row("IPv6", six), row("IPv4 to a server on [::]", four_in_six)],
};

/// Two requests to the server that listens here, from a client that looks for it there.
fn exchange(run: &mut Run<'_>, listen: SocketAddr, connect: IpAddr, path: &str) -> Result<()> {
    run.listen_on(listen, connect)?;
    let (mut client, server) = run.pair()?;
    run.small(&mut client, &server, path)?;
    run.small(&mut client, &server, path)?;
    run.keep((client, server));
    Ok(())
}

fn six(run: &mut Run<'_>) -> Result<()> {
    let here = Ipv6Addr::LOCALHOST;
    let listen = SocketAddr::from((here, run.port()));
    exchange(run, listen, here.into(), "/addresses/six")
}

fn four_in_six(run: &mut Run<'_>) -> Result<()> {
    let everywhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    exchange(run, everywhere, Ipv4Addr::LOCALHOST.into(), "/addresses/four")
}
