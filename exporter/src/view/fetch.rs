//! One HTTP GET, over plain TCP.

use std::{str::FromStr, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{
    Request, StatusCode, Uri,
    body::Bytes,
    client::conn::http1,
    header::{CONNECTION, HOST},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

/// More than any host's metrics.
const MAX_BYTES: usize = 256 << 20;

/// The address of metrics: `http://HOST[:PORT][/PATH]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// The host and the port to connect to.
    authority: String,
    path: String,
}

// === impl Url ===

impl Url {
    /// The same with one more thing asked for.
    pub fn with_query(&self, query: &str) -> Self {
        let Self { authority, path } = self;
        let mark = if path.contains('?') { '&' } else { '?' };
        Self {
            authority: authority.clone(),
            path: format!("{path}{mark}{query}"),
        }
    }
}

impl FromStr for Url {
    type Err = String;

    /// `http://` may be left out, the port is 80 then as elsewhere, and the path is `/metrics` if there is none.
    fn from_str(text: &str) -> Result<Self, String> {
        let full = match text.contains("://") {
            true => text.to_owned(),
            false => format!("http://{text}"),
        };
        let uri: Uri = full.parse().map_err(|error| format!("{error}"))?;
        if uri.scheme_str() != Some("http") {
            return Err("only http:// can be read".to_owned());
        }
        let authority = uri.authority().ok_or("it has no host")?;
        if authority.as_str().contains('@') {
            return Err("a user's name is of no use here".to_owned());
        }
        let path = match uri.path_and_query().map_or("/", |path| path.as_str()) {
            "/" => "/metrics",
            path => path,
        };
        let port = authority.port_u16().unwrap_or(80);
        Ok(Self {
            authority: format!("{}:{port}", authority.host()),
            path: path.to_owned(),
        })
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { authority, path } = self;
        write!(formatter, "http://{authority}{path}")
    }
}

/// Gets a text.
///
/// # Errors
///
/// If there is no answer within the limit, or another one than 200.
pub async fn get(url: &Url, limit: Duration) -> Result<String> {
    match timeout(limit, answer(url)).await {
        Ok(result) => result,
        Err(_) => bail!("no answer within {limit:?}"),
    }
}

async fn answer(url: &Url) -> Result<String> {
    let stream = TcpStream::connect(&url.authority).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(url.path.as_str())
        .header(HOST, url.authority.as_str())
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let text = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_BYTES).collect().await;
        let body = body
            .map_err(|error| anyhow::anyhow!("{error}"))
            .context("the answer breaks off")?;
        ensure!(status == StatusCode::OK, "the answer is {status}");
        String::from_utf8(body.to_bytes().into()).context("the answer is no text")
    };
    // The connection is driven by whoever waits for the answer.
    let mut connection = std::pin::pin!(connection);
    let mut text = std::pin::pin!(text);
    tokio::select! {
        text = &mut text => text,
        ended = &mut connection => {
            ended?;
            text.await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_completed() {
        for (text, expected) in [
            ("http://127.0.0.1:10190/metrics", "http://127.0.0.1:10190/metrics"),
            ("http://host/", "http://host:80/metrics"),
            ("host:10190", "http://host:10190/metrics"),
            ("http://[::1]:9/v?a=b", "http://[::1]:9/v?a=b"),
        ] {
            assert_eq!(text.parse::<Url>().unwrap().to_string(), expected);
        }
        let url: Url = "host:9/v?a=b".parse().unwrap();
        assert_eq!(url.with_query("c=d").to_string(), "http://host:9/v?a=b&c=d");
        for text in ["https://host/", "http://", "ftp://a", "http://me@host", ""] {
            assert!(text.parse::<Url>().is_err(), "{text}");
        }
    }
}
