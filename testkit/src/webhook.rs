//! A receiver of webhooks: what a program tells it, in JSON, is kept to be looked at.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);
/// Largest body that is taken.
const BODY_LIMIT: usize = 4 * 1024 * 1024;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The path that it was sent to.
    pub path: String,
    /// Its body.
    pub body: Value,
}

/// A server on a free port of 127.0.0.1 that answers every POST of JSON with 200. Stopped on drop.
#[derive(Debug)]
pub struct Webhook {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    messages: Mutex<Vec<Message>>,
    /// What was sent and was no such message.
    errors: Mutex<Vec<String>>,
}

// === impl Webhook ===

impl Webhook {
    /// Starts it.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port for webhooks")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let thread = thread::spawn({
            let shared = Arc::clone(&shared);
            move || serve(&listener, &shared)
        });
        Ok(Self {
            address,
            shared,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All messages so far, in the order in which they came.
    ///
    /// # Errors
    ///
    /// If somebody has sent anything else.
    pub fn messages(&self) -> Result<Vec<Message>> {
        let errors = lock(&self.shared.errors);
        ensure!(errors.is_empty(), "not a webhook's message: {}", errors.join("; "));
        Ok(lock(&self.shared.messages).clone())
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // So that it looks at the flag.
        let _ = TcpStream::connect_timeout(&self.address, TIMEOUT);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(listener: &TcpListener, shared: &Shared) {
    for stream in listener.incoming() {
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        // Kept before it is answered, and before the connection is closed: by then its sender may ask for it.
        let result = stream.and_then(|mut stream| match receive(&stream) {
            Ok(message) => {
                lock(&shared.messages).push(message);
                stream.write_all(ANSWER)
            }
            Err(error) => {
                lock(&shared.errors).push(error.to_string());
                Ok(())
            }
        });
        if let Err(error) = result {
            lock(&shared.errors).push(error.to_string());
        }
    }
}

/// Reads the one request of a connection.
fn receive(stream: &TcpStream) -> io::Result<Message> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (method, path) = (
        words.next().unwrap_or_default().to_owned(),
        words.next().unwrap_or_default().to_owned(),
    );
    let mut length = 0;
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    if method != "POST" || length > BODY_LIMIT {
        return Err(io::Error::other(format!("{method} {path} with {length} bytes")));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = serde_json::from_slice(&body).map_err(io::Error::other)?;
    Ok(Message { path, body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Client, Request};
    use serde_json::json;

    #[test]
    fn messages_are_kept_in_order() {
        let webhook = Webhook::start().unwrap();
        for number in [1, 2] {
            let request = Request::post(format!("/to/{number}"), json!({ "n": number }).to_string());
            let response = Client::connect(webhook.address()).unwrap().send(&request).unwrap();
            assert_eq!(response.status, 200);
        }
        let messages = webhook.messages().unwrap();
        let seen: Vec<(&str, &Value)> = messages.iter().map(|m| (m.path.as_str(), &m.body["n"])).collect();
        assert_eq!(seen, [("/to/1", &json!(1)), ("/to/2", &json!(2))]);
    }

    #[test]
    fn anything_else_is_an_error() {
        for request in [Request::get("/"), Request::post("/", "no JSON")] {
            let webhook = Webhook::start().unwrap();
            assert!(Client::connect(webhook.address()).unwrap().send(&request).is_err());
            assert!(webhook.messages().is_err());
        }
    }
}
