//! A trace of a running `vigie serve`.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use tokio::{net::UnixStream, time::timeout};

use crate::{
    observe::{filter::Filter, tracers::Line},
    web::trace,
};

/// How long connecting and the head of an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How much is read of why a trace is refused, in bytes.
const REASON: usize = 1000;
/// How long a line can be, in bytes.
const LINE: usize = 65_536;

/// What answers at a socket.
pub enum Found {
    /// A Vigie, which has begun a trace.
    Vigie(Box<Remote>),
    /// A Vigie that does not want to, and why.
    Refused(String),
    /// Something else.
    Other(String),
}

/// A trace of another process.
#[derive(Debug)]
pub struct Remote {
    socket: PathBuf,
    body: Incoming,
    /// What was received and is no whole line yet.
    rest: Vec<u8>,
    /// How much of it was looked at.
    seen: usize,
    id: u64,
}

/// Sends a request on a connection of its own.
async fn send(method: Method, socket: &Path, query: &str) -> Result<Response<Incoming>> {
    let ask = async {
        let stream = UnixStream::connect(socket).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Its errors are those of the answer.
        tokio::task::spawn_local(async move {
            let _ = connection.await;
        });
        let request = Request::builder()
            .method(method)
            .uri(format!("{}?{query}", trace::PATH))
            .header(HOST, "localhost")
            .body(Empty::<Bytes>::new())?;
        Ok::<_, anyhow::Error>(sender.send_request(request).await?)
    };
    let place = socket.display();
    match timeout(TIMEOUT, ask).await {
        Ok(result) => result.with_context(|| format!("cannot ask {place}")),
        Err(_) => Err(anyhow!("cannot ask {place}: no answer within {} s", TIMEOUT.as_secs())),
    }
}

/// Whether an error says that somebody is there, who does not let this user in.
pub fn is_forbidden(error: &anyhow::Error) -> bool {
    let errors = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    errors
        .into_iter()
        .any(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

// === impl Remote ===

impl Remote {
    /// Asks for a trace.
    ///
    /// # Errors
    ///
    /// If nobody answers.
    pub async fn begin(socket: &Path, filter: &Filter) -> Result<Found> {
        let response = send(Method::GET, socket, &filter.query()).await?;
        let status = response.status();
        let is_lines = response
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind == trace::LINES);
        if status == StatusCode::OK && is_lines {
            return Ok(Found::Vigie(Box::new(Self {
                socket: socket.to_owned(),
                body: response.into_body(),
                rest: Vec::new(),
                seen: 0,
                id: 0,
            })));
        }
        if response.headers().contains_key(trace::REFUSAL) {
            let text = Limited::new(response.into_body(), REASON).collect().await;
            let text = text.map_err(|error| anyhow!(error))?.to_bytes();
            return Ok(Found::Refused(String::from_utf8_lossy(&text).trim().to_owned()));
        }
        Ok(Found::Other(format!("{} answers {status}", trace::PATH)))
    }

    /// The next line; `None`: that was the last. Nothing is lost if it is not waited for.
    ///
    /// # Errors
    ///
    /// If it is not a line, or the connection breaks.
    pub async fn next(&mut self) -> Result<Option<Line>> {
        loop {
            if let Some(end) = self.rest[self.seen..].iter().position(|byte| *byte == b'\n') {
                let end = self.seen + end;
                let line: Line = serde_json::from_slice(&self.rest[..end]).context("this is no Vigie's trace")?;
                self.rest.drain(..=end);
                self.seen = 0;
                if let Line::Begin { trace } = &line {
                    self.id = trace.id;
                }
                return Ok(Some(line));
            }
            self.seen = self.rest.len();
            ensure!(self.seen <= LINE, "a line of more than {LINE} bytes is no Vigie's");
            let Some(frame) = self.body.frame().await else {
                return Ok(None);
            };
            let frame = frame.with_context(|| format!("the connection to {} is broken", self.socket.display()))?;
            if let Ok(data) = frame.into_data() {
                self.rest.extend_from_slice(&data);
            }
        }
    }

    /// Asks for the end.
    ///
    /// # Errors
    ///
    /// If nobody answers.
    pub async fn end(&self) -> Result<()> {
        send(Method::DELETE, &self.socket, &format!("id={}", self.id))
            .await
            .map(drop)
    }
}
