//! One run of a row: its port, its connections, and what a correct observer must say about them.

use crate::peer::{OK, put, take};
use anyhow::{Context as _, Result};
use std::any::Any;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};
use testkit::{Client, CountKey, Response, Sched, Scrape, Vigie};

/// What is true of one run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Truth {
    /// Durations in seconds by (handler, method, status).
    pub answered: BTreeMap<CountKey, Vec<f64>>,
    /// How many requests got no answer, by (handler, method).
    pub aborted: BTreeMap<(String, String), u64>,
    /// How many requests of long-lived handlers were answered: they have no durations.
    pub long_lived: BTreeMap<CountKey, u64>,
}

/// One run of a row. It has a port of its own, so that its counts are nobody else's.
pub struct Run<'a> {
    vigie: &'a Vigie,
    listener: TcpListener,
    /// Where clients find the server.
    address: SocketAddr,
    truth: Truth,
    late: Option<String>,
    kept: Vec<Box<dyn Any + Send>>,
    /// What the row's thread had run, and waited for a CPU, when the row began.
    begin: Sched,
}

/// What is left of a run until it is judged.
pub struct Finished {
    pub port: u16,
    pub truth: Truth,
    /// What was not counted while its connection was idle, though it should have been.
    pub late: Option<String>,
    /// How long the row itself ran, or waited for a CPU, for each of its requests, in seconds.
    pub work: f64,
    /// The listener, so that nobody else gets its port, and connections: open until Vigie's counts have been read.
    _kept: Vec<Box<dyn Any + Send>>,
}

// === impl Truth ===

impl Truth {
    /// A request was answered in this time.
    pub fn answer(&mut self, handler: &str, method: &str, status: u16, start: Instant, end: Instant) {
        let key = (handler.to_owned(), method.to_owned(), status);
        let seconds = end.saturating_duration_since(start).as_secs_f64();
        self.answered.entry(key).or_default().push(seconds);
    }
}

// === impl Finished ===

#[cfg(test)]
impl Finished {
    pub fn of(port: u16, truth: Truth) -> Self {
        Self {
            port,
            truth,
            late: None,
            work: 0.0,
            _kept: Vec::new(),
        }
    }
}

// === impl Run ===

impl<'a> Run<'a> {
    pub fn new(vigie: &'a Vigie) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listening")?;
        let address = listener.local_addr()?;
        Ok(Self {
            vigie,
            listener,
            address,
            truth: Truth::default(),
            late: None,
            kept: Vec::new(),
            begin: Sched::of_this_thread().context("reading the scheduler's books")?,
        })
    }

    /// It has to be the thread that began it.
    pub fn finish(mut self) -> Result<Finished> {
        self.kept.push(Box::new(self.listener));
        let end = Sched::of_this_thread().context("reading the scheduler's books")?;
        let work = Duration::from_nanos(end.ran + end.waited - self.begin.ran - self.begin.waited);
        let requests: usize = self.truth.answered.values().map(Vec::len).sum();
        Ok(Finished {
            port: self.address.port(),
            truth: self.truth,
            late: self.late,
            work: work.as_secs_f64() / requests.max(1) as f64,
            _kept: self.kept,
        })
    }

    /// For a row whose server is another process.
    pub fn serve_elsewhere(&mut self, port: u16) {
        self.address.set_port(port);
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// For a row about addresses: where the server listens, and where clients find it. The port of a listener for IPv6 alone has
    /// to be this run's: one that the kernel chooses may be another run's for IPv4.
    pub fn listen_on(&mut self, listen: SocketAddr, connect: IpAddr) -> Result<()> {
        let listener = TcpListener::bind(listen).context("listening")?;
        self.address = SocketAddr::new(connect, listener.local_addr()?.port());
        let old = std::mem::replace(&mut self.listener, listener);
        self.keep(old);
        Ok(())
    }

    /// A connection, not yet accepted.
    pub fn connect(&self) -> Result<Client> {
        Client::connect(self.address).context("connecting")
    }

    /// Accepts the oldest connection.
    pub fn accept(&self) -> Result<TcpStream> {
        let (stream, _) = self.listener.accept().context("accepting")?;
        stream.set_nodelay(true)?;
        // A row that waits for what never comes is wrong, and must not wait forever.
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.set_write_timeout(Some(Duration::from_secs(30)))?;
        Ok(stream)
    }

    /// Both ends of a new connection.
    pub fn pair(&self) -> Result<(Client, TcpStream)> {
        let client = self.connect()?;
        Ok((client, self.accept()?))
    }

    /// Keeps a connection open until Vigie's counts have been read.
    pub fn keep(&mut self, what: impl Any + Send) {
        self.kept.push(Box::new(what));
    }

    /// A request was answered in this time.
    pub fn answered(&mut self, handler: &str, method: &str, status: u16, start: Instant, end: Instant) {
        self.truth.answer(handler, method, status, start, end);
    }

    /// A request was answered, and the client's clock is the truth.
    pub fn client_saw(&mut self, handler: &str, method: &str, response: &Response) {
        self.answered(handler, method, response.status, response.start, response.end);
    }

    /// A request got no answer.
    pub fn aborted(&mut self, handler: &str, method: &str) {
        *self
            .truth
            .aborted
            .entry((handler.to_owned(), method.to_owned()))
            .or_default() += 1;
    }

    /// A request of a long-lived handler was answered.
    pub fn long_lived(&mut self, handler: &str, method: &str, status: u16) {
        let key = (handler.to_owned(), method.to_owned(), status);
        *self.truth.long_lived.entry(key).or_default() += 1;
    }

    /// A request in one piece, and its answer in one piece.
    pub fn exchange(
        &mut self,
        (client, server): (&mut Client, &TcpStream),
        (handler, method): (&str, &str),
        request: &[u8],
        answer: &[u8],
    ) -> Result<()> {
        client.send_raw(request)?;
        take(server, request.len())?;
        put(server, answer)?;
        let response = client.read_response(method)?;
        self.client_saw(handler, method, &response);
        Ok(())
    }

    /// A small request for a path that is its own handler, and a small answer.
    pub fn small(&mut self, client: &mut Client, server: &TcpStream, path: &str) -> Result<()> {
        self.exchange((client, server), (path, "GET"), &crate::peer::get(path), OK)
    }

    /// Waits a little until Vigie has counted everything so far, while the connections stay as they are.
    pub fn visible_at_once(&mut self) -> Result<()> {
        let is_right = |scrape: &Scrape| self.truth.difference(scrape, self.port()).is_none();
        let scrape = self.vigie.settled(is_right)?;
        if let Some(difference) = self.truth.difference(&scrape, self.port()) {
            self.late.get_or_insert(difference);
        }
        Ok(())
    }
}
