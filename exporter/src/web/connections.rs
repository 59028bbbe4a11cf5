//! The connections of clients: only so many at once, and none that takes nothing for long.
//!
//! A client that does not read keeps what it has asked for in memory, and each open connection keeps a descriptor. Both would be missing
//! where scrapes are made.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io::{self, IoSlice},
    os::fd::AsRawFd as _,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::Notify,
    time::{Sleep, sleep, timeout},
};

use crate::{descriptors, metrics::clients::Clients};

/// How many connections may be open at once.
pub const MOST: usize = 512;
/// How long a client may take nothing of what is sent to it.
pub const STALL: Duration = Duration::from_secs(30);

/// How long clients may take for what they have asked for when Vigie ends.
const PATIENCE: Duration = Duration::from_secs(3);

/// One connection.
#[derive(Debug)]
pub struct Connection {
    /// When bytes were last sent or received.
    moved: Cell<Instant>,
    /// Whether it is to stay when others would have to go: it waits for what may come late, by its client's wish.
    pub stays: Cell<bool>,
    /// Whether its client has not got all that was to be sent: the kernel has no room for it, or the client was gone before.
    pub is_cut: Cell<bool>,
    close: Notify,
}

/// The open connections, by the order in which they came.
#[derive(Debug, Default)]
pub struct Connections {
    open: RefCell<BTreeMap<u64, Rc<Connection>>>,
    next: Cell<u64>,
    is_stopping: Cell<bool>,
    stop: Notify,
    closed: Notify,
}

/// The place of a connection among the open ones. Dropped, it is given back.
#[derive(Debug)]
pub struct Place<'a> {
    connections: &'a Connections,
    clients: &'a Clients,
    number: u64,
    /// Whether another connection has to close for it.
    pub takes_anothers: bool,
    /// What is known of it.
    pub connection: Rc<Connection>,
}

// === impl Connection ===

impl Connection {
    /// Waits until it has to go.
    pub async fn has_to_close(&self) {
        self.close.notified().await;
    }
}

// === impl Connections ===

impl Connections {
    /// Closes the connections: at once those that wait for what may come late, and the others when they have got what they have asked
    /// for, or after [`PATIENCE`].
    pub async fn stop(&self) {
        self.is_stopping.set(true);
        self.stop.notify_waiters();
        let open: Vec<_> = self.open.borrow().values().map(Rc::clone).collect();
        for connection in open.iter().filter(|connection| connection.stays.get()) {
            connection.close.notify_one();
        }
        let all_closed = async {
            while !self.open.borrow().is_empty() {
                self.closed.notified().await;
            }
        };
        let _ = timeout(PATIENCE, all_closed).await;
    }

    /// Waits until nobody may ask for anything more.
    pub async fn are_stopping(&self) {
        if !self.is_stopping.get() {
            self.stop.notified().await;
        }
    }

    /// One more connection. If there are [`MOST`], or as many as there are descriptors for, the one that has been still for longest goes.
    pub fn add<'a>(&'a self, clients: &'a Clients) -> Place<'a> {
        let connection = Rc::new(Connection {
            moved: Cell::new(Instant::now()),
            stays: Cell::new(false),
            is_cut: Cell::new(false),
            close: Notify::new(),
        });
        let number = self.next.replace(self.next.get() + 1);
        let mut open = self.open.borrow_mut();
        let takes_anothers = open.len() >= MOST.min(descriptors::share());
        if takes_anothers {
            let may_go = open.iter().filter(|(_, connection)| !connection.stays.get());
            let stillest = may_go.min_by_key(|(_, connection)| connection.moved.get());
            if let Some(number) = stillest.map(|(number, _)| *number)
                && let Some(connection) = open.remove(&number)
            {
                connection.close.notify_one();
                clients.dropped.set(clients.dropped.get() + 1);
            }
        }
        open.insert(number, Rc::clone(&connection));
        clients.open.set(open.len());
        Place {
            connections: self,
            clients,
            number,
            takes_anothers,
            connection,
        }
    }
}

// === impl Place ===

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut open = self.connections.open.borrow_mut();
        open.remove(&self.number);
        self.clients.open.set(open.len());
        self.connections.closed.notify_one();
    }
}

/// A stream that knows how much its peer has yet to take.
pub trait Unsent {
    /// How many bytes were sent, and not taken by the peer yet.
    fn unsent(&self) -> usize;
}

impl Unsent for TcpStream {
    /// `SIOCOUTQ` (tcp(7)): what the peer has not acknowledged. 0 if the kernel does not say.
    fn unsent(&self) -> usize {
        let mut bytes: libc::c_int = 0;
        // SAFETY: the kernel writes an `int` to the place that is given.
        let result = unsafe { libc::ioctl(self.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
        if result == 0 {
            usize::try_from(bytes).unwrap_or(0)
        } else {
            0
        }
    }
}

/// The stream of a connection, which notes when bytes move, and fails if a client takes none for [`STALL`].
#[derive(Debug)]
pub struct Watched<S> {
    stream: S,
    connection: Rc<Connection>,
    stalled: Option<Stalled>,
}

/// Since when there is no room for what is to be sent.
#[derive(Debug)]
struct Stalled {
    until: Pin<Box<Sleep>>,
    /// What the client had yet to take then.
    unsent: usize,
}

// === impl Watched ===

impl<S: Unsent> Watched<S> {
    /// The stream of this connection.
    pub fn new(stream: S, connection: Rc<Connection>) -> Self {
        Self {
            stream,
            connection,
            stalled: None,
        }
    }

    /// What came of sending: an error if nothing has for too long.
    ///
    /// The kernel takes more only when a good part of what it has is gone. So a client that reads slowly is known by what it has
    /// left.
    fn sent(&mut self, context: &mut Context<'_>, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.connection.is_cut.set(!matches!(result, Poll::Ready(Ok(_))));
        if result.is_ready() {
            self.connection.moved.set(Instant::now());
            self.stalled = None;
            return result;
        }
        loop {
            let unsent = self.stream.unsent();
            let stalled = self.stalled.get_or_insert_with(|| Stalled {
                until: Box::pin(sleep(STALL)),
                unsent,
            });
            ready!(stalled.until.as_mut().poll(context));
            if unsent >= stalled.unsent {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.connection.moved.set(Instant::now());
            self.stalled = None;
        }
    }
}

impl<S: AsyncRead + Unsent + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        let has_come = buffer.filled().len() > before;
        if has_come {
            self.connection.moved.set(Instant::now());
        } else if result.is_ready() && self.stream.unsent() != 0 {
            // It has closed, and left something behind.
            self.connection.is_cut.set(true);
        }
        result
    }
}

impl<S: AsyncWrite + Unsent + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.sent(context, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.sent(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    impl Unsent for DuplexStream {
        fn unsent(&self) -> usize {
            0
        }
    }

    #[test]
    fn who_is_still_for_longest_goes() {
        let (connections, clients) = (Connections::default(), Clients::default());
        let mut places: Vec<Place<'_>> = (0..MOST).map(|_| connections.add(&clients)).collect();
        let long_ago = Instant::now() - Duration::from_secs(9);
        places[7].connection.moved.set(long_ago);
        places[3].connection.moved.set(long_ago - Duration::from_secs(1));
        places[3].connection.stays.set(true);
        let newest = connections.add(&clients);
        assert_eq!((clients.open.get(), clients.dropped.get()), (MOST, 1));
        assert!(!connections.open.borrow().contains_key(&7) && connections.open.borrow().contains_key(&3));
        // Its task gives back what is not its own any more.
        drop(places.remove(7));
        assert_eq!(clients.open.get(), MOST);
        drop((newest, places));
        assert_eq!((clients.open.get(), clients.dropped.get()), (0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_left() {
        let (connections, clients) = (Connections::default(), Clients::default());
        let (ours, _theirs) = duplex(10);
        let mut stream = Watched::new(ours, Rc::clone(&connections.add(&clients).connection));
        let begin = tokio::time::Instant::now();
        let result = stream.write_all(&[0; 100]).await;
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(begin.elapsed(), STALL);
    }

    /// Slower than the kernel takes more.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_little_is_kept() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut theirs = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (ours, _) = listener.accept().await.unwrap();
        let (connections, clients) = (Connections::default(), Clients::default());
        let mut stream = Watched::new(ours, Rc::clone(&connections.add(&clients).connection));
        let begin = tokio::time::Instant::now();
        let write = async {
            let result = stream.write_all(&vec![0; 50_000_000]).await;
            (result.unwrap_err().kind(), begin.elapsed())
        };
        let read = async {
            // Much at first: the windows of both sides fill.
            let mut taken = vec![0; 1_000_000];
            for _ in 0..6 {
                sleep(STALL - Duration::from_secs(1)).await;
                theirs.read_exact(&mut taken).await.unwrap();
                taken.truncate(600_000);
                // The other side learns of it in real time.
                std::thread::sleep(Duration::from_millis(20));
            }
            begin.elapsed()
        };
        let ((kind, written), read) = tokio::join!(write, read);
        assert_eq!(kind, io::ErrorKind::TimedOut);
        assert!(written > read && written < read + 2 * STALL, "{written:?} {read:?}");
    }
}
