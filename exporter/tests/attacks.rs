//! Clients that want to do harm: whoever scrapes is answered all the time, and their memory comes back.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that panics has failed, as it should"
)]

mod common;

use std::{
    fs,
    io::Write as _,
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use common::{answer_all, connect, server, settled_scrape, slow_to_read, vigie_alone, word};
use testkit::{Request, Scrape, Vigie};

/// Ports and paths that make the metrics large.
const PORTS: usize = 12;
const PATHS: usize = 120;
/// How long each attack goes on.
const TIME: Duration = Duration::from_secs(4);
/// How long a scrape may take meanwhile.
const LIMIT: Duration = Duration::from_secs(1);

/// Makes a Vigie show thousands of series.
fn fill(vigie: &Vigie) {
    let addresses: Vec<SocketAddr> = (0..PORTS).map(|_| server(answer_all)).collect();
    for address in &addresses {
        let mut client = testkit::Client::connect(*address).unwrap();
        for path in 0..PATHS {
            // Several times, so that each path becomes a route of its own.
            for _ in 0..2 {
                client.send(&Request::get(format!("/{}", word(path)))).unwrap();
            }
        }
    }
    let requests = |scrape: &Scrape| {
        let of = |address: &SocketAddr| scrape.requests(address.port()).values().sum::<u64>();
        addresses.iter().map(of).sum::<u64>()
    };
    let scrape = settled_scrape(vigie, |scrape| requests(scrape) == (2 * PORTS * PATHS) as u64);
    assert_eq!(requests(&scrape), (2 * PORTS * PATHS) as u64);
}

/// The resident memory of a process, in bytes.
fn resident(process: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/statm")).unwrap();
    let pages: u64 = text.split_ascii_whitespace().nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size() as u64
}

/// Scrapes on connections of their own for a while: the longest time that one took, the largest memory meanwhile, and the bytes of one.
fn scrape_for(vigie: &Vigie, time: Duration) -> (Duration, u64, usize) {
    let (mut longest, mut largest, mut bytes) = (Duration::ZERO, 0, 0);
    let begin = Instant::now();
    while begin.elapsed() < time {
        let asked = Instant::now();
        let answer = vigie.get("/metrics").unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        longest = longest.max(asked.elapsed());
        largest = largest.max(resident(vigie.pid()));
        bytes = answer.body.len();
        std::thread::sleep(Duration::from_millis(100));
    }
    (longest, largest, bytes)
}

const ASK: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";

/// An attack: its connections, as long as they are held.
type Attack = fn(SocketAddr) -> Vec<TcpStream>;

/// One of each kind.
fn attacks() -> [(&'static str, Attack); 6] {
    fn asks(address: SocketAddr, count: usize, requests: usize) -> Vec<TcpStream> {
        let client = |_| {
            let mut client = slow_to_read(address);
            client.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
            // What is not taken of it is not needed.
            let _ = client.write_all(&ASK.repeat(requests));
            client
        };
        (0..count).map(client).collect()
    }
    fn sends(address: SocketAddr, count: usize, bytes: &[u8]) -> Vec<TcpStream> {
        let client = |_| {
            let mut client = connect(address);
            let _ = client.write_all(bytes);
            client
        };
        (0..count).map(client).collect()
    }
    /// Each with a history of its own, and so with a body of its own.
    fn scrapes(address: SocketAddr, count: usize) -> Vec<TcpStream> {
        let client = |number| {
            let mut client = slow_to_read(address);
            let ask = format!(
                "GET /metrics?{number} HTTP/1.1\r\nHost: a\r\nUser-Agent: {number}\r\nX-Prometheus-Scrape-Timeout-Seconds: 1\r\n\r\n"
            );
            let _ = client.write_all(ask.repeat(3).as_bytes());
            client
        };
        (0..count).map(client).collect()
    }
    [
        ("30 readers that never read", |address| asks(address, 30, 1)),
        ("100 readers that never read", |address| asks(address, 100, 1)),
        ("50 connections with 200 requests each, never read", |address| {
            asks(address, 50, 200)
        }),
        ("60 scrapers that never read, each by another name", |address| {
            scrapes(address, 60)
        }),
        ("1,010 idle connections", |address| sends(address, 1010, b"")),
        ("1,010 heads that never end", |address| {
            sends(address, 1010, b"GET / HTTP/1.1\r\nX: ")
        }),
    ]
}

#[test]
fn whoever_scrapes_is_answered() {
    let vigie = vigie_alone(&[]);
    fill(&vigie);
    // What filling has needed comes back first.
    scrape_for(&vigie, Duration::from_secs(1));
    std::thread::sleep(Duration::from_secs(12));
    let (usual, _, bytes) = scrape_for(&vigie, TIME);
    let idle = resident(vigie.pid());
    println!("{bytes} bytes, a scrape in {usual:?}, {} MiB", idle >> 20);
    for (name, attack) in attacks() {
        let held = attack(vigie.server.address());
        let (longest, largest, _) = scrape_for(&vigie, TIME);
        drop(held);
        println!("{name}: a scrape in {longest:?}, {} MiB", largest >> 20);
        assert!(longest < LIMIT, "{name}: {longest:?}");
    }
    let end = Instant::now() + Duration::from_secs(30);
    while resident(vigie.pid()) > 2 * idle {
        assert!(Instant::now() < end, "{} of {idle} bytes", resident(vigie.pid()));
        std::thread::sleep(Duration::from_millis(200));
    }
    println!("afterwards: {} MiB", resident(vigie.pid()) >> 20);
}
