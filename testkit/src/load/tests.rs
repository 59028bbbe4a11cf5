use super::*;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// A server that answers 200 to any number of requests, each connection in its own thread.
struct Echo {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

/// `per_connection`: how many requests a connection serves. `answers_last`: whether the last of them is answered.
fn echo(per_connection: usize, answers_last: bool) -> Echo {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (connections, requests) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (opened, served) = (connections.clone(), requests.clone());
    thread::spawn(move || {
        for stream in listener.incoming() {
            opened.fetch_add(1, Ordering::Relaxed);
            let served = served.clone();
            thread::spawn(move || serve(stream.unwrap(), per_connection, answers_last, &served));
        }
    });
    Echo {
        address,
        connections,
        requests,
    }
}

fn serve(stream: TcpStream, count: usize, answers_last: bool, served: &AtomicUsize) {
    let mut reader = BufReader::new(&stream);
    for index in 1..=count {
        let mut closes = false;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            closes |= line.starts_with("connection: close");
            if line == "\r\n" {
                break;
            }
        }
        served.fetch_add(1, Ordering::Relaxed);
        if index < count || answers_last {
            (&stream)
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .unwrap();
        }
        if closes {
            return;
        }
    }
}

fn shot(handler: &'static str) -> Shot {
    Shot {
        handler,
        request: Request::get("/"),
        expected: Some(200),
    }
}

#[test]
fn closed_loop_sends_exactly_what_it_is_asked() {
    for keep_alive in [true, false] {
        let server = echo(usize::MAX, true);
        let asked = std::sync::Mutex::new(BTreeSet::new());
        let records = closed_loop(server.address, 3, 50, keep_alive, |thread, index| {
            assert!(asked.lock().unwrap().insert((thread, index)));
            shot(if index % 5 == 0 { "a" } else { "b" })
        })
        .unwrap();
        let count = |handler: &str| records.counts()[&(handler.to_owned(), "GET".to_owned(), 200)];
        assert_eq!((count("a"), count("b"), records.len()), (30, 120, 150));
        assert_eq!(server.requests.load(Ordering::Relaxed), 150);
        assert_eq!(
            server.connections.load(Ordering::Relaxed),
            if keep_alive { 3 } else { 150 }
        );
        assert!(records.unexpected().is_empty());
    }
}

#[test]
fn the_threads_share_a_number_that_they_do_not_divide() {
    let server = echo(usize::MAX, true);
    let seen = std::sync::Mutex::new(Vec::new());
    let records = shared_loop(server.address, 3, 11, true, |thread, index| {
        seen.lock().unwrap().push((thread, index));
        Some(shot("a"))
    })
    .unwrap();
    assert_eq!(records.len(), 11);
    assert_eq!(server.requests.load(Ordering::Relaxed), 11);
    let shares = [0, 1, 2].map(|thread| seen.lock().unwrap().iter().filter(|(of, _)| *of == thread).count());
    assert_eq!(shares, [4, 4, 3]);

    let shortened = shared_loop(server.address, 3, 11, true, |_, index| (index < 2).then(|| shot("a"))).unwrap();
    assert_eq!(shortened.len(), 6);
}

#[test]
fn an_unanswered_request_is_a_record_and_not_sent_again() {
    let server = echo(10, false);
    let records = closed_loop(server.address, 1, 100, true, |_, _| shot("a")).unwrap();
    assert_eq!((records.len(), records.transport_errors()), (100, 10));
    assert_eq!(server.requests.load(Ordering::Relaxed), 100);
    assert_eq!(server.connections.load(Ordering::Relaxed), 10);
    assert_eq!(records.unexpected().len(), 10);
}

#[test]
fn a_connection_closed_while_idle_is_replaced() {
    let server = echo(1, true);
    let records = closed_loop(server.address, 1, 10, true, |_, _| {
        thread::sleep(Duration::from_millis(30)); // So that the close has arrived.
        shot("a")
    })
    .unwrap();
    assert_eq!(records.transport_errors(), 0);
    assert_eq!(server.connections.load(Ordering::Relaxed), 10);
}

#[test]
fn nobody_listening_is_an_error() {
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap();
    assert!(closed_loop(address, 2, 1, true, |_, _| shot("a")).is_err());
    let stop = AtomicBool::new(false);
    let stages = [(1, Duration::from_millis(150))];
    let records = run_stages(
        address,
        &stages,
        Duration::ZERO..Duration::ZERO,
        &stop,
        |_| shot("a"),
        |_, _, _| {},
    );
    assert_eq!(records.transport_errors(), records.len());
    assert!((1..=3).contains(&records.len()));
}

const STAGE: Duration = Duration::from_millis(150);
const THINK: std::ops::Range<Duration> = Duration::from_millis(5)..Duration::from_millis(15);

#[test]
fn stages_add_users_and_end_them_without_aborted_requests() {
    let server = echo(usize::MAX, true);
    let stop = AtomicBool::new(false);
    let mut calls = Vec::new();
    let stages = [(2, STAGE), (5, STAGE), (1, STAGE)];
    let records = run_stages(
        server.address,
        &stages,
        THINK,
        &stop,
        |_| shot("a"),
        |stage, users, count| {
            calls.push((stage, users, count));
        },
    );
    assert_eq!(records.transport_errors(), 0);
    assert_eq!(records.len(), server.requests.load(Ordering::Relaxed));
    assert_eq!(server.connections.load(Ordering::Relaxed), 5);
    let steps: Vec<_> = calls.iter().map(|(stage, users, _)| (*stage, *users)).collect();
    assert_eq!(steps, [(0, 2), (1, 5), (2, 1), (2, 0)]);
    assert!(calls.is_sorted_by_key(|(_, _, count)| *count));
    assert_eq!(calls.last().unwrap().2, records.len());
    // 8 user-stages of about 15 requests each, on a host that may be busy.
    assert!((40..=240).contains(&records.len()), "{}", records.len());
    assert!(records.elapsed() >= 0.3);
}

#[test]
fn stages_end_when_told_to() {
    let server = echo(usize::MAX, true);
    let stop = AtomicBool::new(false);
    let begin = Instant::now();
    let stages = [(2, Duration::from_secs(600))];
    let think = Duration::from_secs(100)..Duration::from_secs(200);
    run_stages(
        server.address,
        &stages,
        think,
        &stop,
        |_| shot("a"),
        |_, _, _| stop.store(true, Ordering::Relaxed),
    );
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_panic_in_progress_ends_the_run() {
    let server = echo(usize::MAX, true);
    let stop = AtomicBool::new(false);
    let stages = [(2, Duration::from_secs(600))];
    let run = std::panic::AssertUnwindSafe(|| {
        run_stages(
            server.address,
            &stages,
            THINK,
            &stop,
            |_| shot("a"),
            |_, _, _| std::panic::resume_unwind(Box::new("as a failed assertion does")),
        )
    });
    assert!(std::panic::catch_unwind(run).is_err());
}

#[test]
fn a_user_opens_a_new_connection_after_a_5xx() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let opened = connections.clone();
    thread::spawn(move || {
        // Kept open: it is not the server that ends them.
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            opened.fetch_add(1, Ordering::Relaxed);
            let head = BufReader::new(&stream).lines();
            assert!(head.map_while(Result::ok).any(|line| line.is_empty()));
            stream
                .write_all(b"HTTP/1.1 500 Error\r\nContent-Length: 0\r\n\r\n")
                .unwrap();
            kept.push(stream);
        }
    });
    let stop = AtomicBool::new(false);
    let records = run_stages(address, &[(1, STAGE)], THINK, &stop, |_| shot("a"), |_, _, _| {});
    assert!(records.len() > 1);
    assert_eq!(records.transport_errors(), 0);
    assert_eq!(connections.load(Ordering::Relaxed), records.len());
}

#[test]
fn times_leave_transport_errors_out() {
    let start = Instant::now();
    let record = |handler, status, milliseconds| Record {
        handler,
        method: "GET".to_owned(),
        status,
        start,
        end: start + Duration::from_millis(milliseconds),
        waited: Duration::ZERO,
        expected: None,
    };
    let mut list: Vec<_> = (1..=100).map(|milliseconds| record("a", 200, milliseconds)).collect();
    list.push(record("a", 0, 100_000));
    list.push(record("b", 500, 7));
    let records = Records { list };
    let close = |value: f64, expected: f64| assert!((value - expected).abs() < 1e-9, "{value} is not {expected}");
    close(records.sum("a"), 5.05);
    close(records.mean("a").unwrap(), 0.0505);
    close(records.quantile("a", 0.95).unwrap(), 0.095);
    close(records.quantile("a", 0.0).unwrap(), 0.001);
    close(records.quantile("a", 1.0).unwrap(), 0.1);
    close(records.quantile("b", 0.5).unwrap(), 0.007);
    assert_eq!((records.mean("none"), records.quantile("none", 0.5)), (None, None));
    assert_eq!(records.by_handler()["a"].len(), 101);
    assert_eq!(records.unexpected().len(), 1);
}
