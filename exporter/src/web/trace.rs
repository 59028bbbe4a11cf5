//! Traces: single requests, line by line, as they end.
//!
//! `GET /-/trace?service=…` answers with lines of JSON until the client goes away, or `DELETE /-/trace?id=…` ends it. The lines
//! show paths, which may hold what is nobody's business: they are on a unix socket.

use std::{
    convert::Infallible,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use http_body_util::{Either, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Bytes, Frame},
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
};
use tokio::sync::mpsc;

use super::{connections::Connection, pages::Site};
use crate::observe::filter::Filter;

/// Where traces are.
pub const PATH: &str = "/-/trace";
/// What the lines are.
pub const LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");
/// The header that tells a Vigie that refuses from anything else that answers.
pub const REFUSAL: &str = "vigie-refuses";
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// The lines of a trace, as a body.
#[derive(Debug)]
pub struct Lines {
    receiver: mpsc::Receiver<String>,
    /// The connection that stays as long as there may be more of them.
    connection: Option<Rc<Connection>>,
}

// === impl Lines ===

impl Lines {
    /// They are for the client of this connection.
    pub fn are_for(&mut self, connection: &Rc<Connection>) {
        connection.stays.set(true);
        self.connection = Some(Rc::clone(connection));
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            connection.stays.set(false);
        }
    }
}

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.receiver
            .poll_recv(context)
            .map(|line| line.map(|line| Ok(Frame::data(line.into()))))
    }
}

/// What is answered: a page, or lines without an end.
pub type Answer = Response<Either<Full<Bytes>, Lines>>;

fn refuse(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Either::Left(Full::new(text.into())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, PLAIN);
    response.headers_mut().insert(REFUSAL, HeaderValue::from_static("1"));
    response
}

/// Answers a request.
pub fn answer<B>(site: &Site, request: &Request<B>) -> Answer {
    if request.uri().path() != PATH {
        return refuse(StatusCode::NOT_FOUND, "there are traces here, and nothing else\n");
    }
    let query = request.uri().query().unwrap_or_default();
    match *request.method() {
        Method::GET => begin(site, query),
        Method::DELETE => end(site, query),
        _ => {
            let mut response = refuse(
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET and DELETE are answered here\n",
            );
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, DELETE"));
            response
        }
    }
}

fn begin(site: &Site, query: &str) -> Answer {
    let filter = match Filter::from_query(query) {
        Ok(filter) => filter,
        Err(failure) => return refuse(StatusCode::BAD_REQUEST, format!("{failure:#}\n")),
    };
    match site.watch.begin_trace(filter) {
        Ok(Some(receiver)) => {
            let mut response = Response::new(Either::Right(Lines {
                receiver,
                connection: None,
            }));
            response.headers_mut().insert(CONTENT_TYPE, LINES);
            response
        }
        Ok(None) => refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many trace already: end one of them\n",
        ),
        Err(failure) => refuse(StatusCode::INTERNAL_SERVER_ERROR, format!("{failure:#}\n")),
    }
}

fn end(site: &Site, query: &str) -> Answer {
    let id = query.strip_prefix("id=").and_then(|id| id.parse().ok());
    let Some(id) = id else {
        return refuse(StatusCode::BAD_REQUEST, "say which: id=…\n");
    };
    match site.watch.end_trace(id) {
        Ok(true) => refuse(StatusCode::OK, "ended\n"),
        Ok(false) => refuse(StatusCode::NOT_FOUND, "there is no such trace\n"),
        Err(failure) => refuse(StatusCode::INTERNAL_SERVER_ERROR, format!("{failure:#}\n")),
    }
}
