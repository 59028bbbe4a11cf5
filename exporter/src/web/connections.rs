//! The connections of clients: only so many at once, and none that takes nothing for long.
//!
//! A client that does not read keeps what it has asked for in memory, and each open connection keeps a descriptor. Both would be missing
//! where scrapes are made.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io::{self, IoSlice},
    os::fd::AsRawFd,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    sync::Notify,
    time::{Instant, Sleep, sleep, sleep_until, timeout},
};

use crate::{descriptors, metrics::clients::Clients};

/// How many connections may be open at once.
pub const MOST: usize = 512;
/// How long a client may take nothing of what is sent to it.
pub const STALL: Duration = Duration::from_secs(30);

/// How long a client may take to send the head of a request, from its first byte on, or from the beginning of the connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may wait for another request: longer than most scrapers' intervals.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// How long clients may take for what they have asked for when Vigie ends.
const PATIENCE: Duration = Duration::from_secs(3);

/// One connection.
#[derive(Debug)]
pub struct Connection {
    /// When bytes were last sent or received.
    moved: Cell<Instant>,
    /// Since when a head is waited for whose first bytes are here.
    head: Cell<Option<Instant>>,
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
    /// How many requests have come.
    requests: Cell<u64>,
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
    /// A request has come.
    pub fn has_asked(&self) {
        self.head.set(None);
    }

    /// Until when its client has to send a request.
    fn deadline(&self) -> Instant {
        match self.head.get() {
            _ if self.stays.get() || self.is_cut.get() => Instant::now() + IDLE_TIMEOUT,
            Some(since) => since + HEAD_TIMEOUT,
            None => self.moved.get() + IDLE_TIMEOUT,
        }
    }

    /// Waits until its client has not sent a request for too long.
    pub async fn has_waited(&self) {
        while self.deadline() > Instant::now() {
            // It may be less by then: a head has begun.
            sleep_until(self.deadline().min(Instant::now() + HEAD_TIMEOUT)).await;
        }
    }

    /// Waits until it has to go.
    pub async fn has_to_close(&self) {
        self.close.notified().await;
    }
}

// === impl Connections ===

impl Connections {
    /// A request has come.
    pub fn has_come(&self) {
        self.requests.set(self.requests.get() + 1);
    }

    /// How many clients and requests have come so far.
    pub fn came(&self) -> u64 {
        self.next.get() + self.requests.get()
    }

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

    /// Closes the connection whose client has taken nothing of its answer for longest, and for this time at the least. `false`: there is none.
    pub fn close_stalled(&self, time: Duration) -> bool {
        let mut open = self.open.borrow_mut();
        let now = Instant::now();
        let stalled = open.iter().filter(|(_, connection)| {
            let still = now.saturating_duration_since(connection.moved.get());
            connection.is_cut.get() && !connection.stays.get() && still >= time
        });
        let stillest = stalled.min_by_key(|(_, connection)| connection.moved.get());
        let Some(connection) = stillest
            .map(|(number, _)| *number)
            .and_then(|number| open.remove(&number))
        else {
            return false;
        };
        connection.close.notify_one();
        true
    }

    /// One more connection. If there are [`MOST`], or as many as there are descriptors for, the one that has been still for longest goes.
    pub fn add<'a>(&'a self, clients: &'a Clients) -> Place<'a> {
        let connection = Rc::new(Connection {
            moved: Cell::new(Instant::now()),
            head: Cell::new(Some(Instant::now())),
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
    fn unsent(&self) -> usize {
        unsent(self)
    }
}

impl Unsent for UnixStream {
    fn unsent(&self) -> usize {
        unsent(self)
    }
}

/// `SIOCOUTQ` (tcp(7), unix(7)): what the peer has not acknowledged, or read. 0 if the kernel does not say.
fn unsent(socket: &impl AsRawFd) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the kernel writes an `int` to the place that is given.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result == 0 {
        usize::try_from(bytes).unwrap_or(0)
    } else {
        0
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
            let now = Instant::now();
            self.connection.moved.set(now);
            // What has come of another head meanwhile is not read yet.
            self.connection.head.set(self.connection.head.get().map(|_| now));
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
            let now = Instant::now();
            self.connection.moved.set(now);
            let head = &self.connection.head;
            head.set(head.get().or(Some(now)));
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
    async fn a_client_may_wait_long_and_not_send_slowly() {
        let (connections, clients) = (Connections::default(), Clients::default());
        let (ours, mut theirs) = duplex(10);
        let place = connections.add(&clients);
        let connection = &place.connection;
        let mut stream = Watched::new(ours, Rc::clone(connection));
        let waits = |time| timeout(time, connection.has_waited());
        // It sends nothing at all.
        assert!(waits(HEAD_TIMEOUT - Duration::from_secs(1)).await.is_err());
        assert!(waits(Duration::from_secs(2)).await.is_ok());
        // It has sent a request, and is idle.
        connection.has_asked();
        connection.moved.set(Instant::now());
        assert!(waits(IDLE_TIMEOUT - Duration::from_secs(1)).await.is_err());
        // It begins another one, byte by byte.
        let begin = Instant::now();
        for _ in 0..4 {
            theirs.write_all(b"G").await.unwrap();
            stream.read_u8().await.unwrap();
            assert!(waits(Duration::from_secs(2)).await.is_err());
        }
        connection.has_waited().await;
        assert!(begin.elapsed() >= HEAD_TIMEOUT && begin.elapsed() < HEAD_TIMEOUT + Duration::from_secs(1));
        connection.stays.set(true);
        assert!(waits(10 * IDLE_TIMEOUT).await.is_err());
    }

    /// Whoever takes nothing of an answer goes when others wait, the stillest first; whoever has all of it, or waits for a trace, does not.
    #[tokio::test(start_paused = true)]
    async fn a_stalled_client_gives_way() {
        let (connections, clients) = (Connections::default(), Clients::default());
        let places: Vec<Place<'_>> = (0..5).map(|_| connections.add(&clients)).collect();
        for (number, place) in places.iter().enumerate() {
            place.connection.is_cut.set(number != 0);
            place.connection.stays.set(number == 1);
            place.connection.moved.set(Instant::now());
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        let time = Duration::from_millis(250);
        // The third has waited for 300 ms, the fourth for 200.
        assert!(connections.close_stalled(time));
        timeout(Duration::ZERO, places[2].connection.has_to_close())
            .await
            .unwrap();
        assert!(!connections.close_stalled(time));
        tokio::time::advance(time).await;
        assert!(connections.close_stalled(time) && connections.close_stalled(time) && !connections.close_stalled(time));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_left() {
        let (connections, clients) = (Connections::default(), Clients::default());
        let (ours, _theirs) = duplex(10);
        let mut stream = Watched::new(ours, Rc::clone(&connections.add(&clients).connection));
        let begin = Instant::now();
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
        let connection = Rc::clone(&connections.add(&clients).connection);
        let mut stream = Watched::new(ours, Rc::clone(&connection));
        let begin = Instant::now();
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
                // The other side learns of it in real time, if the windows let it, which on a busy machine may be a while.
                let (before, real) = (connection.moved.get(), std::time::Instant::now());
                while connection.moved.get() == before && real.elapsed() < Duration::from_millis(500) {
                    std::thread::sleep(Duration::from_millis(1));
                    tokio::task::yield_now().await;
                }
            }
            begin.elapsed()
        };
        let ((kind, written), read) = tokio::join!(write, read);
        assert_eq!(kind, io::ErrorKind::TimedOut);
        assert!(written > read && written < read + 2 * STALL, "{written:?} {read:?}");
    }
}
