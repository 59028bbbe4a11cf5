//! Listening and serving.

use std::{cell::RefCell, convert::Infallible, net::SocketAddr, pin::pin, rc::Rc, time::Duration};

use anyhow::{Context as _, Result};
use http_body_util::Either;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use log::{debug, warn};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    time::Instant,
};

use super::{
    connections::{Connections, Unsent, Watched},
    pages::{Door, Scrape, Site},
    trace_socket::TraceSocket,
};

/// How long nobody is let in when nobody can be.
const PAUSE: Duration = Duration::from_millis(100);

/// Listens on an address: `host:port`, or `:port` for every address of the host.
///
/// # Errors
///
/// If the address cannot be understood, or is in use.
pub async fn listen(address: &str) -> Result<(TcpListener, SocketAddr)> {
    let hint = || format!("cannot listen on {address}: choose another with --web.listen-address");
    let listener = match address.strip_prefix(':') {
        // An IPv6 socket takes IPv4 as well, where the host has IPv6.
        Some(port) => match TcpListener::bind(format!("[::]:{port}")).await {
            Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
                TcpListener::bind(format!("0.0.0.0:{port}")).await
            }
            result => result,
        },
        None => TcpListener::bind(address).await,
    };
    let listener = listener.with_context(hint)?;
    let local = listener.local_addr().with_context(hint)?;
    Ok((listener, local))
}

/// Serves the site on a listener, for ever. The connections are those of all listeners.
pub async fn serve(listener: TcpListener, site: Rc<Site>, connections: Rc<Connections>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => begin(stream, Door::Network(peer.ip()), &site, &connections).await,
            Err(error) => pause(&error).await,
        }
    }
}

/// Serves traces on a unix socket, for ever.
pub async fn serve_traces(socket: TraceSocket, site: Rc<Site>, connections: Rc<Connections>) {
    loop {
        match socket.listener.accept().await {
            Ok((stream, _)) => begin(stream, Door::TraceSocket, &site, &connections).await,
            Err(error) => pause(&error).await,
        }
    }
}

/// Out of file descriptors, most likely: they come back.
async fn pause(error: &std::io::Error) {
    warn!("cannot accept a connection: {error}");
    tokio::time::sleep(PAUSE).await;
}

async fn begin<S>(stream: S, door: Door, site: &Rc<Site>, connections: &Rc<Connections>)
where
    S: AsyncRead + AsyncWrite + Unsent + Unpin + 'static,
{
    tokio::task::spawn_local(converse(stream, door, Rc::clone(site), Rc::clone(connections)));
    // Else there could be a hundred more before the first of them makes another one close.
    tokio::task::yield_now().await;
}

/// Answers what is asked on a connection, until it ends.
async fn converse<S>(stream: S, door: Door, site: Rc<Site>, connections: Rc<Connections>)
where
    S: AsyncRead + AsyncWrite + Unsent + Unpin,
{
    let clients = site.watch.clients();
    let place = connections.add(clients);
    if place.takes_anothers {
        // The other one closes before anything is done for this one.
        tokio::task::yield_now().await;
    }
    let connection = &place.connection;
    let last = RefCell::new(None);
    let service = service_fn(|request| {
        let (site, connections, last) = (&site, &connections, &last);
        async move {
            connection.has_asked();
            connections.has_come();
            let mut response = site.answer(&request, door, connections).await;
            if let Either::Right(lines) = response.body_mut() {
                lines.are_for(connection);
            }
            // Whoever sends another request has got the answer to the one before.
            let scrape = response.extensions_mut().remove::<Scrape>();
            last.replace(scrape.map(|scrape| (scrape, Instant::now())));
            Ok::<_, Infallible>(response)
        }
    });
    let stream = TokioIo::new(Watched::new(stream, Rc::clone(connection)));
    let mut served = pin!(http1::Builder::new().serve_connection(stream, service));
    let mut is_last = false;
    let result = loop {
        tokio::select! {
            result = served.as_mut() => break Some(result),
            // Closed for another client.
            () = connection.has_to_close() => break None,
            () = connection.has_waited() => break None,
            // What is asked for is answered yet.
            () = connections.are_stopping(), if !is_last => {
                is_last = true;
                served.as_mut().graceful_shutdown();
            }
        }
    };
    if let Some(Err(error)) = &result {
        debug!("a client went away: {error}");
        if has_stalled(error) {
            clients.stalled.set(clients.stalled.get() + 1);
        }
    }
    let Some((scrape, time)) = last.take() else { return };
    let is_impatient = scrape.patience.is_some_and(|patience| time.elapsed() < patience);
    if connection.is_cut.get() || (result.is_some() && is_impatient) {
        debug!("a scraper has not got its answer");
        site.lost(&scrape);
    }
}

/// Whether a client has taken nothing for too long. That it has sent no head is an error of another kind.
fn has_stalled(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    source.is_some_and(|error| error.kind() == std::io::ErrorKind::TimedOut)
}
