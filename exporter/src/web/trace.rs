//! Traces: single requests, line by line, as they end.
//!
//! `GET /-/trace?service=…` answers with lines of JSON until the client goes away, or `DELETE /-/trace?id=…` ends it. The lines
//! show paths, which may hold what is nobody's business: only clients on this host get them.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use http_body_util::{Either, Full};
use hyper::{
    Method, Request, Response, StatusCode, Uri,
    body::{Body, Bytes, Frame},
    header::{ALLOW, CONTENT_TYPE, HOST, HeaderValue},
    http::uri::Authority,
};
use tokio::sync::mpsc;

use super::pages::Site;
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
}

// === impl Lines ===

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

/// Answers a request of a client at `peer`, if it is for a trace.
pub fn answer<B>(site: &Site, request: &Request<B>, peer: SocketAddr) -> Option<Answer> {
    if request.uri().path() != PATH {
        return None;
    }
    if !peer.ip().to_canonical().is_loopback() || !names_loopback(request) {
        return Some(refuse(
            StatusCode::FORBIDDEN,
            "traces show paths: they are for clients on this host only, by its loopback address\n",
        ));
    }
    let query = request.uri().query().unwrap_or_default();
    Some(match *request.method() {
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
    })
}

/// Whether the request is for this host by a name that no other host can have: a page in a browser here, from a name that
/// somebody has made to mean this host, says that name.
fn names_loopback<B>(request: &Request<B>) -> bool {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let Some(Ok(authority)) = host.map(str::parse::<Authority>) else {
        return false;
    };
    let host = authority.host();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

fn begin(site: &Site, query: &str) -> Answer {
    let filter = match Filter::from_query(query) {
        Ok(filter) => filter,
        Err(failure) => return refuse(StatusCode::BAD_REQUEST, format!("{failure:#}\n")),
    };
    match site.watch.begin_trace(filter) {
        Ok(Some(receiver)) => {
            let mut response = Response::new(Either::Right(Lines { receiver }));
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

/// The URL of traces at the Vigie of this URL, with a query.
///
/// # Errors
///
/// If the two make no URL.
pub fn url(base: &Uri, query: &str) -> Result<Uri, hyper::http::Error> {
    let mut parts = base.clone().into_parts();
    parts.path_and_query = Some(format!("{PATH}?{query}").parse()?);
    Ok(Uri::from_parts(parts)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_taken() {
        for (host, expected) in [
            ("localhost:10190", true),
            ("LOCALHOST", true),
            ("127.0.0.1:10190", true),
            ("127.1.2.3", true),
            ("[::1]:80", true),
            ("[::ffff:127.0.0.1]", true),
            ("localhost.example", false),
            ("192.0.2.1:10190", false),
            ("rebound.example:10190", false),
            ("", false),
        ] {
            let request = Request::builder().header(HOST, host).body(()).unwrap();
            assert_eq!(names_loopback(&request), expected, "{host}");
        }
        assert!(!names_loopback(&Request::new(())));
    }

    #[test]
    fn urls_are_put_together() {
        let base: Uri = "http://127.0.0.1:10190/metrics?x".parse().unwrap();
        assert_eq!(
            url(&base, "rate=0").unwrap().to_string(),
            "http://127.0.0.1:10190/-/trace?rate=0"
        );
    }
}
