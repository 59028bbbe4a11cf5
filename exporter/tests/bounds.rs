//! Tables that are full: what is dropped then is said, and everything that was sent is counted, or said to be lost.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that panics has failed, as it should"
)]

mod common;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use common::{
    OK, Watch, connect, listen_and_end, lost, read_head, read_request, server, settled_scrape, until, vigie,
    vigie_alone,
};
use rustix::process::{Pid, Signal, kill_process};
use testkit::{Request, Scrape, Shot, TempDir, closed_loop, free_port, http::Client, nginx, process_ids::spawn_as};

/// A name of letters that no rule takes for an identifier.
fn word(number: usize) -> String {
    let letter = |digit: usize| char::from(b'g' + u8::try_from(digit % 10).unwrap());
    [10_000, 1000, 100, 10, 1]
        .map(|unit| letter(number / unit))
        .iter()
        .collect()
}

/// Answers with 404, or with 200 if the query is `?ok`.
fn answer(mut stream: TcpStream) {
    while let Some(request) = read_request(&mut stream) {
        let is_ok = String::from_utf8(request).unwrap().contains("?ok ");
        let status = if is_ok { "200 OK" } else { "404 Not Found" };
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).unwrap();
    }
}

/// Requests these over one connection, and waits for each answer.
fn request_in_turn(address: SocketAddr, targets: impl IntoIterator<Item = String>, fields: &str) {
    let mut stream = connect(address);
    for target in targets {
        stream
            .write_all(format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes())
            .unwrap();
        read_head(&mut stream).unwrap();
    }
}

/// A Vigie that lets a service have this many routes.
fn with_routes(count: usize) -> (TempDir, Watch) {
    let directory = TempDir::new().unwrap();
    let config = format!("max_routes: {count}\n");
    let file = directory.write("vigie.yml", config.as_bytes()).unwrap();
    let vigie = vigie_alone(&["--config.file", file.to_str().unwrap()]);
    (directory, vigie)
}

fn total(scrape: &Scrape, port: u16) -> u64 {
    scrape.requests(port).values().sum()
}

/// More paths than the kernel and user space remember. What was forgotten is found again under the same name, and no request of it is
/// missing.
#[test]
fn more_paths_than_are_remembered() {
    const PATHS: usize = 18_000;
    let address = server(answer);
    let (_directory, vigie) = with_routes(5000);
    let real = || (0..10).map(|_| "/real?ok".to_owned());
    request_in_turn(address, real(), "");
    settled_scrape(&vigie, |scrape| total(scrape, address.port()) == 10);
    for paths in (0..PATHS).collect::<Vec<_>>().chunks(400) {
        request_in_turn(address, paths.iter().map(|path| format!("/{}", word(*path))), "");
        // Else they would not all be looked at.
        thread::sleep(Duration::from_millis(550));
    }
    request_in_turn(address, real(), "");
    // What was not found at first, and was forgotten since, is shown again, and then it has its name.
    request_in_turn(address, [format!("/{}?ok", word(0)), format!("/{}", word(1))], "");
    let sent = 20 + PATHS as u64 + 2;
    let scrape = settled_scrape(&vigie, |scrape| total(scrape, address.port()) == sent);
    assert_eq!(scrape.sum("vigie_routes_folded_total", &[("reason", "budget")]), 0.0);
    let expected = common::counts(&[
        ("/real", "GET", 200, 20),
        ("none", "GET", 404, PATHS as u64),
        // No scrape has shown this one as `none`.
        (&format!("/{}", word(0)), "GET", 404, 1),
        (&format!("/{}", word(0)), "GET", 200, 1),
    ]);
    assert_eq!(scrape.requests(address.port()), expected);
    assert_eq!(lost(&scrape), 0.0);
}

/// A service is flooded with new paths, after its slot was another's: so many are looked at, the rest is counted as what was not.
#[test]
fn new_paths_of_a_later_generation_are_limited() {
    const PATHS: usize = 6000;
    let vigie = vigie_alone(&[]);
    listen_and_end("takes", 260);
    let server = nginx(&[], "", 1).unwrap();
    let shown = |scrape: &Scrape| scrape.sum("vigie_events_total", &[("kind", "path")]);
    let before = shown(&vigie.scrape().unwrap());
    let records = closed_loop(server.address(), 1, PATHS, true, |_, i| Shot {
        handler: "none",
        request: Request::get(format!("/{}", word(i))),
        expected: Some(404),
    })
    .unwrap();
    assert_eq!(records.counts(), common::counts(&[("none", "GET", 404, PATHS as u64)]));
    let scrape = settled_scrape(&vigie, |scrape| total(scrape, server.port()) == PATHS as u64);
    assert_eq!(scrape.requests(server.port()), records.counts());
    let not_shown = scrape.sum("vigie_routes_folded_total", &[("reason", "budget")]);
    println!("{not_shown} of {PATHS} paths were not looked at");
    assert!(not_shown > 0.0);
    assert_eq!(shown(&scrape) - before + not_shown, PATHS as f64);
    assert_eq!(lost(&scrape), 0.0);
}

/// User space does not read what the kernel has to say, until there is no room for more: each request is counted, or lost and said to be.
#[test]
fn a_full_ring_loses_nothing_in_silence() {
    const PATHS: usize = 8000;
    let address = server(answer);
    let vigie = vigie_alone(&[]);
    request_in_turn(address, ["/first?ok".to_owned()], "");
    settled_scrape(&vigie, |scrape| total(scrape, address.port()) == 1);
    let process = Pid::from_raw(vigie.pid().cast_signed()).unwrap();
    kill_process(process, Signal::STOP).unwrap();
    request_in_turn(address, (0..PATHS).map(|path| format!("/{}", word(path))), "");
    kill_process(process, Signal::CONT).unwrap();
    let sent = PATHS as f64 + 1.0;
    let counted = |scrape: &Scrape| total(scrape, address.port()) as f64;
    let lost_by = |scrape: &Scrape, reason| scrape.sum("vigie_lost_total", &[("reason", reason)]);
    let all = |scrape: &Scrape| counted(scrape) + lost_by(scrape, "ring_full");
    let scrape = settled_scrape(&vigie, |scrape| all(scrape) == sent);
    let (full, forgotten) = (lost_by(&scrape, "ring_full"), lost_by(&scrape, "path_forgotten"));
    println!(
        "{} were counted, {full} lost, and of {forgotten} the path",
        counted(&scrape)
    );
    assert_eq!((all(&scrape), full + forgotten), (sent, lost(&scrape)));
    assert!(full > 0.0);
    // Then there is room again.
    request_in_turn(address, ["/first?ok".to_owned(), "/second?ok".to_owned()], "");
    let scrape = settled_scrape(&vigie, |scrape| all(scrape) == sent + 2.0);
    assert_eq!((all(&scrape), lost_by(&scrape, "ring_full")), (sent + 2.0, full));
}

/// More pipelined requests than are kept while the first is answered: those that have no place are lost, and said to be.
#[test]
fn too_many_pipelined_requests() {
    const REQUESTS: usize = 100;
    const REQUEST: &[u8] = b"GET /piped?ok HTTP/1.1\r\nHost: a\r\n\r\n";
    let address = server(|mut stream| {
        let mut all = Vec::new();
        while let Some(piece) = read_request(&mut stream) {
            all.extend(piece);
            if all.len() == REQUESTS * REQUEST.len() {
                for _ in 0..REQUESTS {
                    stream.write_all(OK).unwrap();
                }
                all.clear();
            }
        }
    });
    let vigie = vigie_alone(&[]);
    for round in 1..=3 {
        let mut stream = connect(address);
        stream.write_all(&REQUEST.repeat(REQUESTS)).unwrap();
        stream.read_exact(&mut vec![0; REQUESTS * OK.len()]).unwrap();
        drop(stream);
        let sent = (round * REQUESTS) as f64;
        let counted = |scrape: &Scrape| total(scrape, address.port()) as f64;
        let scrape = settled_scrape(&vigie, |scrape| counted(scrape) + lost(scrape) == sent);
        println!("{} were counted, and {} lost", counted(&scrape), lost(&scrape));
        assert_eq!(
            counted(&scrape) + scrape.sum("vigie_lost_total", &[("reason", "unmatched")]),
            sent
        );
        assert!(lost(&scrape) > 0.0);
    }
}

/// More series with exemplars than exemplars are kept.
#[test]
fn more_exemplars_than_are_kept() {
    const KEPT: usize = vigie_ebpf::exemplar::EXEMPLARS;
    const ROUTES: usize = KEPT + 400;
    let address = server(answer);
    let (_directory, vigie) = with_routes(3000);
    let paths = || (0..ROUTES).map(|path| format!("/{}?ok", word(path)));
    for round in 1..=2u64 {
        // The first request of a series is counted by user space, and has no exemplar.
        let field = format!("traceparent: 00-4bf92f3577b34da6a3ce929d0e0e{round:04x}-00f067aa0ba902b7-01\r\n");
        request_in_turn(address, paths(), &field);
        settled_scrape(&vigie, |scrape| total(scrape, address.port()) == round * ROUTES as u64);
    }
    let mut client = Client::connect(vigie.server.address()).unwrap();
    let request = Request::get("/metrics").header("accept", "application/openmetrics-text;version=1.0.0");
    let text = client.send(&request).unwrap().text();
    let shown: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once(" # {"))
        .map(|(_, id)| id)
        .collect();
    println!("{} exemplars of {ROUTES}", shown.len());
    // How many the kernel drops before it has to is its business: its list of the least recently used is a guess.
    assert!((1..=KEPT).contains(&shown.len()), "{}", shown.len());
    let latest = "trace_id=\"4bf92f3577b34da6a3ce929d0e0e0002\"}";
    assert!(shown.iter().all(|id| id.starts_with(latest)), "{shown:?}");
    assert_eq!(lost(&vigie.scrape().unwrap()), 0.0);
}

/// More clients than there may be at once: who has been still for longest goes, and whoever scrapes is answered.
#[test]
fn too_many_clients() {
    const CLIENTS: usize = 700;
    const MOST: usize = 512;
    let vigie = vigie_alone(&[]);
    let open = |scrape: &Scrape| scrape.sum("vigie_web_connections", &[]);
    let files = |scrape: &Scrape| scrape.sum("process_open_fds", &[]);
    let dropped = |scrape: &Scrape| scrape.sum("vigie_web_connections_dropped_total", &[("reason", "too_many")]);
    let before = settled_scrape(&vigie, |scrape| open(scrape) == 1.0);
    // Each is refused a trace first: only those that are shown one stay.
    let client = |_| {
        let mut client = connect(vigie.server.address());
        client
            .write_all(b"GET /-/trace HTTP/1.1\r\nHost: evil.example\r\n\r\n")
            .unwrap();
        assert!(read_head(&mut client).unwrap().starts_with("HTTP/1.1 403"));
        client
    };
    let mut clients: Vec<TcpStream> = (0..CLIENTS).map(client).collect();
    let scrape = vigie.scrape().unwrap();
    assert_eq!(open(&scrape), MOST as f64);
    // With that of the scrape.
    assert_eq!(dropped(&scrape), (CLIENTS + 1 - MOST) as f64);
    assert_eq!(files(&scrape) - files(&before), (MOST - 1) as f64);
    // The first ones were closed, and the last ones are answered.
    clients[0].read_to_end(&mut Vec::new()).unwrap();
    let last = clients.last_mut().unwrap();
    last.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(read_head(last).unwrap().contains("HTTP/1.1 200"));
    drop(clients);
    let after = settled_scrape(&vigie, |scrape| open(scrape) == 1.0);
    assert_eq!(files(&after), files(&before));
}

/// A client asks again and again, and takes nothing: it is left after 30 s.
#[test]
fn a_client_that_takes_nothing() {
    let vigie = vigie(&[]);
    let stalled = |scrape: &Scrape| scrape.sum("vigie_web_connections_dropped_total", &[("reason", "stalled")]);
    let mut client = connect(vigie.server.address());
    // More than the sockets on both sides have room for.
    let requests = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(400);
    client.write_all(&requests).unwrap();
    let begin = Instant::now();
    let scrape = until(|| {
        thread::sleep(Duration::from_millis(200));
        vigie
            .scrape()
            .ok()
            .filter(|scrape| stalled(scrape) > 0.0 || begin.elapsed() > Duration::from_secs(60))
    });
    assert_eq!(stalled(&scrape), 1.0);
    assert!(begin.elapsed() >= Duration::from_secs(29));
    settled_scrape(&vigie, |scrape| scrape.sum("vigie_web_connections", &[]) == 1.0);
}

/// A server of Python's own, in a process of its own, until this is dropped.
struct Http {
    process: Child,
    address: SocketAddr,
}

// === impl Http ===

impl Http {
    /// Starts a server of this class, with the process id `wanted`, or with any.
    fn start(class: &str, wanted: Option<u32>) -> Self {
        const CODE: &str = "\
            import sys, http.server as h\n\
            class Answer(h.BaseHTTPRequestHandler):\n\
            \x20   protocol_version = 'HTTP/1.1'\n\
            \x20   def log_message(self, *_): pass\n\
            \x20   def do_GET(self):\n\
            \x20       self.send_response(200)\n\
            \x20       self.send_header('Content-Length', '0')\n\
            \x20       self.end_headers()\n\
            getattr(h, sys.argv[1])(('127.0.0.1', int(sys.argv[2])), Answer).serve_forever()\n";
        let port = free_port().unwrap();
        let command = || {
            let mut command = Command::new("python3");
            command.args(["-c", CODE, class, &port.to_string()]);
            command
        };
        let process = match wanted {
            Some(id) => spawn_as(id, || Ok(command())).unwrap(),
            None => command().spawn().unwrap(),
        };
        let server = Self {
            process,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
        };
        let begin = Instant::now();
        while TcpStream::connect(server.address).is_err() {
            assert!(begin.elapsed() < Duration::from_secs(20), "the server does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        server
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// So many requests of each server in turn, so that they leave the CPU in turn.
fn request_each(servers: &[SocketAddr], count: usize) {
    let mut streams: Vec<TcpStream> = servers.iter().map(|server| connect(*server)).collect();
    for _ in 0..count {
        for stream in &mut streams {
            stream.write_all(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            read_head(stream).unwrap();
        }
    }
}

/// The largest process id, which is as it was when this is dropped.
struct PidMax(String);

// === impl PidMax ===

impl PidMax {
    const FILE: &str = "/proc/sys/kernel/pid_max";

    /// At least `least` ids.
    fn raise(least: u32) -> Self {
        let before = std::fs::read_to_string(Self::FILE).unwrap();
        if before.trim().parse::<u32>().unwrap() < least {
            std::fs::write(Self::FILE, least.to_string()).unwrap();
        }
        Self(before)
    }
}

impl Drop for PidMax {
    fn drop(&mut self) {
        let _ = std::fs::write(Self::FILE, &self.0);
    }
}

/// Two threads whose books have one place: that is said, and no request is missing. When one has ended, the place is the other's.
#[test]
fn threads_in_one_place() {
    const THREADS: u32 = vigie_ebpf::types::THREADS as u32;
    let _ids = PidMax::raise(4 * THREADS);
    let vigie = vigie_alone(&[]);
    let one = Http::start("HTTPServer", None);
    let other = Http::start("HTTPServer", Some(one.process.id() + THREADS));
    request_each(&[one.address, other.address], 200);
    let counted = |scrape: &Scrape, server: SocketAddr| total(scrape, server.port());
    let scrape = settled_scrape(&vigie, |scrape| {
        counted(scrape, one.address) == 200 && counted(scrape, other.address) == 200
    });
    let collisions = |scrape: &Scrape| scrape.sum("vigie_lost_total", &[("reason", "thread_collision")]);
    println!("{} collisions", collisions(&scrape));
    assert_eq!(
        (counted(&scrape, one.address), counted(&scrape, other.address)),
        (200, 200)
    );
    assert!(collisions(&scrape) > 0.0 && collisions(&scrape) == lost(&scrape));
    drop(one);
    // The kernel frees a thread a little later than it ends.
    request_each(&[other.address], 10);
    let before = lost(&settled_scrape(&vigie, |scrape| counted(scrape, other.address) == 210));
    request_each(&[other.address], 200);
    let scrape = settled_scrape(&vigie, |scrape| counted(scrape, other.address) == 410);
    assert_eq!((counted(&scrape, other.address), lost(&scrape)), (410, before));
}

/// Two processes with threads whose sums have one place: no request is missing, and the phases add up to the durations.
#[test]
fn processes_in_one_place() {
    const FOLLOWED: u32 = vigie_ebpf::types::FOLLOWED as u32;
    let vigie = vigie_alone(&[]);
    let one = Http::start("ThreadingHTTPServer", None);
    let id = one.process.id();
    let is_high = id > 2 * FOLLOWED;
    let other = Http::start(
        "ThreadingHTTPServer",
        Some(if is_high { id - FOLLOWED } else { id + FOLLOWED }),
    );
    request_each(&[one.address, other.address], 200);
    let check = |addresses: &[(SocketAddr, u64)]| {
        let scrape = settled_scrape(&vigie, |scrape| {
            addresses
                .iter()
                .all(|(address, count)| total(scrape, address.port()) == *count)
        });
        for (address, count) in addresses {
            assert_eq!(total(&scrape, address.port()), *count);
            let port = address.port().to_string();
            let durations = scrape.sum("http_request_duration_seconds_sum", &[("port", &port)]);
            let phases = scrape.sum("http_request_phase_seconds_total", &[("port", &port)]);
            assert!((durations - phases).abs() < 1e-6, "{durations} {phases}");
        }
        assert_eq!(lost(&scrape), 0.0);
        println!(
            "{} s are not attributed",
            scrape.sum("vigie_unattributed_seconds_total", &[])
        );
    };
    check(&[(one.address, 200), (other.address, 200)]);
    let gone = (one.address, 200);
    drop(one);
    request_each(&[other.address], 200);
    check(&[gone, (other.address, 400)]);
}
