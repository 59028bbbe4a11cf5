//! Where an Alertmanager's notifications arrive: a server on a port of this host that keeps what it is sent.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(5);
/// No notification is as large.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// An alert of a notification.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    pub at: Instant,
    /// The path that it was sent to, by which receivers are told apart.
    pub path: String,
    /// `firing` or `resolved`.
    pub status: String,
    pub alert: String,
    pub service: String,
    pub severity: String,
    pub summary: String,
    pub runbook: String,
}

/// It listens until the process ends.
#[derive(Debug)]
pub struct Webhook {
    port: u16,
    notices: Arc<Mutex<Vec<Notice>>>,
}

// === impl Webhook ===

impl Webhook {
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen for notifications")?;
        let port = listener.local_addr()?.port();
        let notices = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&notices);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // What cannot be read was not delivered: Alertmanager sends it again.
                if let Ok(mut received) = receive(stream) {
                    kept.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .append(&mut received);
                }
            }
        });
        Ok(Self { port, notices })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The first notice with this status of an alert about a service whose name begins so.
    pub fn find(&self, alert: &str, service: &str, status: &str) -> Option<Notice> {
        let notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        notices
            .iter()
            .find(|notice| notice.alert == alert && notice.status == status && notice.service.starts_with(service))
            .cloned()
    }
}

/// Reads one request, answers it, and closes.
fn receive(stream: TcpStream) -> Result<Vec<Notice>> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    let mut reader = BufReader::new(&stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let body = body(&mut reader)?;
    let notices = notices(&path, &serde_json::from_slice(&body)?);
    (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    Ok(notices)
}

fn body(reader: &mut BufReader<&TcpStream>) -> Result<Vec<u8>> {
    let mut length = None;
    loop {
        let mut line = String::new();
        ensure!(reader.read_line(&mut line)? > 0, "no end of the head");
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = Some(value.trim().parse::<usize>()?);
        }
    }
    let length = length.context("a body without a length")?;
    ensure!(length <= MAX_BODY, "a body of {length} bytes");
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(body)
}

/// The alerts of a notification, as Alertmanager writes it.
fn notices(path: &str, body: &Value) -> Vec<Notice> {
    let at = Instant::now();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let alerts = body["alerts"].as_array().into_iter().flatten();
    let notices = alerts.map(|alert| Notice {
        at,
        path: path.to_owned(),
        status: text(&alert["status"]),
        alert: text(&alert["labels"]["alertname"]),
        service: text(&alert["labels"]["service"]),
        severity: text(&alert["labels"]["severity"]),
        summary: text(&alert["annotations"]["summary"]),
        runbook: text(&alert["annotations"]["runbook_url"]),
    });
    notices.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use testkit::{Client, Request};

    #[test]
    fn each_alert_of_a_notification_is_kept() {
        let webhook = Webhook::start().unwrap();
        let body = r#"{"alerts":[{"status":"firing","labels":{"alertname":"A","severity":"P1","service":"store-1"},"annotations":{"summary":"s"}},
            {"status":"resolved","labels":{"alertname":"B"}}]}"#;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, webhook.port()));
        let send = |request: Request| Client::connect(address).unwrap().send(&request);
        assert!(send(Request::post("/p1", "no JSON")).is_err());
        assert_eq!(send(Request::post("/p1", body)).unwrap().status, 200);
        let end = Instant::now() + TIMEOUT;
        while webhook.find("B", "", "resolved").is_none() && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
        let notice = webhook.find("A", "store-", "firing").unwrap();
        assert_eq!((&*notice.path, &*notice.severity, &*notice.summary), ("/p1", "P1", "s"));
        assert!(webhook.find("A", "shop-", "firing").is_none());
        assert!(webhook.find("B", "", "resolved").is_some() && webhook.find("B", "", "firing").is_none());
    }
}
