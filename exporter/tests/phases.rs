//! Where requests' time went: known causes are named, and everything adds up.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that panics has failed, as it should, and what it prints helps to see why"
)]

mod common;

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use common::{OK, connect, python, read_head, read_request, settled_scrape, vigie_alone};
use testkit::{Client, Request, Sched, Scrape, Server, python_app, sched::wait_until_quiet, schedule};

const COMMON: &str = include_str!("causes/common.py");

/// A kind of server, and what its paths begin with.
const KINDS: [(&str, &str, &str); 4] = [
    ("a thread for each connection", include_str!("causes/threads.py"), ""),
    ("an event loop", include_str!("causes/loop.py"), ""),
    ("FastAPI, def", include_str!("causes/fastapi.py"), ""),
    ("FastAPI, async def", include_str!("causes/fastapi.py"), "/async"),
];

/// A comparison of times is right if one of so many runs is: a process can be stopped at any time on a virtual machine.
const RUNS: usize = 3;

/// Seconds by phase.
type Phases = BTreeMap<String, f64>;

/// One of the kinds of servers, watched, with its threads known and its routes taught.
struct Case {
    title: &'static str,
    prefix: &'static str,
    server: Server,
    vigie: common::Watch,
}

impl Case {
    fn all() -> impl Iterator<Item = Self> {
        KINDS.into_iter().map(|(title, script, prefix)| {
            let vigie = vigie_alone(&[]);
            let server = python_app(&python(), &format!("{COMMON}\n{script}"), &[]).unwrap();
            let case = Self {
                title,
                prefix,
                server,
                vigie,
            };
            let mut client = case.client();
            for path in ["/ok", "/sleep", "/spin", "/big", "/ok"] {
                case.get(&mut client, path);
            }
            case
        })
    }

    fn client(&self) -> Client {
        Client::connect(self.server.address()).unwrap()
    }

    fn request(&self, path: &str) -> Request {
        Request::get(format!("{}{path}", self.prefix))
    }

    fn get(&self, client: &mut Client, path: &str) {
        let response = client.send(&self.request(path)).unwrap();
        assert_eq!(response.status, 200, "{} {path}", self.title);
    }

    fn count(&self, scrape: &Scrape, path: &str) -> f64 {
        let (port, handler) = (self.server.port().to_string(), format!("{}{path}", self.prefix));
        scrape.sum("http_requests_total", &[("port", &port), ("handler", &handler)])
    }

    /// What the phases of a path grow by while `act` sends `count` requests to it.
    fn phases(&self, path: &str, count: u32, act: impl FnOnce()) -> Phases {
        let before = self.vigie.scrape().unwrap();
        let expected = self.count(&before, path) + f64::from(count);
        act();
        let after = settled_scrape(&self.vigie, |scrape| self.count(scrape, path) >= expected);
        assert_eq!(self.count(&after, path), expected, "{} {path}", self.title);
        let (port, handler) = (self.server.port().to_string(), format!("{}{path}", self.prefix));
        let labels = [("port", port.as_str()), ("handler", handler.as_str())];
        let mut phases = after.phases(&labels);
        for (phase, sum) in before.phases(&labels) {
            *phases.get_mut(&phase).unwrap() -= sum;
        }
        phases
    }

    /// At least `share` of the time of `count` requests that `act` sends to a path is one phase's, but for the wait for a CPU. That is
    /// no more than the kernel says of the server's threads: beside other load it is a part of every request. `act` gives its connection,
    /// which stays open until the kernel was asked: a thread of its own ends with it, and takes its books along.
    fn is_mostly<T>(&self, phase: &str, share: f64, path: &str, count: u32, act: impl Fn() -> T) {
        let mut found = Vec::new();
        for _ in 0..RUNS {
            let threads = || Sched::of_threads(self.server.pid()).unwrap();
            let (before, mut connection) = (threads(), None);
            let phases = self.phases(path, count, || connection = Some(act()));
            let waits = threads().into_iter().map(|(thread, now)| {
                let before = before.get(&thread).copied().unwrap_or_default();
                (now.waited() - before.waited()).as_secs_f64()
            });
            let waited: f64 = waits.sum();
            drop(connection);
            let (all, starved): (f64, f64) = (phases.values().sum(), phases["runqueue"]);
            if phases[phase] + starved >= share * all && starved <= waited + 0.001 {
                println!(
                    "{}, {path}: {phase} {:.1} %, runqueue {starved:.3} s, the kernel {waited:.3} s",
                    self.title,
                    phases[phase] / all * 100.0
                );
                return;
            }
            found.push((phases, waited));
        }
        panic!("{}, {path}: not {share} {phase}: {found:#?}", self.title);
    }
}

#[test]
fn computing_and_sleeping_are_told_apart() {
    for case in Case::all() {
        for (path, phase) in [("/spin", "cpu"), ("/sleep", "blocked")] {
            case.is_mostly(phase, 0.95, path, 20, || {
                let mut client = case.client();
                for _ in 0..20 {
                    case.get(&mut client, path);
                }
                client
            });
        }
    }
}

/// The server is stopped: nobody reads, and nobody waits for a CPU.
#[test]
fn a_request_that_nobody_reads_is_in_the_queue() {
    let stopped = |case: &Case, act: &mut dyn FnMut()| {
        case.server.signal(libc::SIGSTOP).unwrap();
        thread::sleep(Duration::from_millis(20));
        act();
        thread::sleep(Duration::from_millis(500));
        case.server.signal(libc::SIGCONT).unwrap();
    };
    for case in Case::all() {
        // In the accept backlog.
        case.is_mostly("queue", 0.95, "/ok", 1, || {
            let mut client = None;
            stopped(&case, &mut || {
                let mut new = case.client();
                new.send_raw(&raw(&case, "/ok")).unwrap();
                client = Some(new);
            });
            let mut client = client.unwrap();
            assert_eq!(client.read_response("GET").unwrap().status, 200);
            client
        });
        // In the receive queue.
        case.is_mostly("queue", 0.95, "/ok", 1, || {
            let mut client = case.client();
            // Accepted, and waited for.
            thread::sleep(Duration::from_millis(50));
            stopped(&case, &mut || client.send_raw(&raw(&case, "/ok")).unwrap());
            assert_eq!(client.read_response("GET").unwrap().status, 200);
            client
        });
    }
}

fn raw(case: &Case, path: &str) -> Vec<u8> {
    format!("GET {}{path} HTTP/1.1\r\nHost: a\r\n\r\n", case.prefix).into_bytes()
}

#[test]
fn a_slow_reader_is_the_response_s_time() {
    for case in Case::all() {
        case.is_mostly("send", 0.9, "/big", 1, || {
            let mut stream = connect(case.server.address());
            testkit::socket::limit_receive_buffer(&stream, 65_536).unwrap();
            stream.write_all(&raw(&case, "/big")).unwrap();
            let (mut got, mut buffer) = (0, vec![0; 200_000]);
            while got < 8_000_000 {
                thread::sleep(Duration::from_millis(15));
                got += stream.read(&mut buffer).unwrap();
            }
            stream
        });
    }
}

/// The waits of a server's threads for a CPU, in seconds: the kernel's own books.
fn kernel_waits(process: u32) -> f64 {
    Sched::of_process(process).unwrap().waited().as_secs_f64()
}

/// Beside three threads that want the same CPU, all the time, a server is not lazy but starved.
#[test]
fn a_starved_server_waits_for_a_cpu() {
    // They compute for 150 ms each: what a thread waits for after it has handed over an answer is no request's, but the kernel
    // counts it, too.
    const REQUESTS: u32 = 5;
    for case in Case::all() {
        let process = case.server.pid();
        schedule::pin_process(process, 1).unwrap();
        schedule::renice_process(process, 5).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let spinners: Vec<_> = (0..3)
            .map(|_| {
                let stop = Arc::clone(&stop);
                thread::spawn(move || {
                    schedule::pin(1).unwrap();
                    while !stop.load(Ordering::Relaxed) {}
                })
            })
            .collect();
        let mut client = case.client();
        case.get(&mut client, "/burn");
        let service_waits = || {
            let scrape = case.vigie.scrape().unwrap();
            let port = case.server.port().to_string();
            let service = scrape
                .samples("http_requests_total")
                .find(|sample| sample.labels.get("port") == Some(&port))
                .unwrap()
                .labels["service"]
                .clone();
            scrape.sum("service_runqueue_wait_seconds_sum", &[("service", &service)])
        };
        let mut found = Vec::new();
        let is_right = (0..RUNS).any(|_| {
            let (kernel, service) = (kernel_waits(process), service_waits());
            let phases = case.phases("/burn", REQUESTS, || {
                for _ in 0..REQUESTS {
                    case.get(&mut client, "/burn");
                }
            });
            wait_until_quiet(process).unwrap();
            let (kernel, service) = (kernel_waits(process) - kernel, service_waits() - service);
            let all: f64 = phases.values().sum();
            let share = phases["runqueue"] / all;
            let near = |waits: f64| (waits - kernel).abs() <= 0.05 * kernel;
            let text = format!(
                "{}: runqueue {:.1} %, {:.3} s; the service {service:.3} s, the kernel {kernel:.3} s",
                case.title,
                share * 100.0,
                phases["runqueue"]
            );
            println!("{text}");
            found.push(text);
            share >= 0.8 && near(phases["runqueue"]) && near(service)
        });
        stop.store(true, Ordering::Relaxed);
        spinners.into_iter().for_each(|spinner| spinner.join().unwrap());
        assert!(is_right, "{found:#?}");
    }
}

/// For each route: the phases add up to the durations, and the histograms have every request.
fn everything_adds_up(scrape: &Scrape) {
    let mut routes = 0;
    for sample in scrape.samples("http_request_phase_seconds_total") {
        if sample.labels["phase"] != "cpu" {
            continue;
        }
        routes += 1;
        let names = ["service", "port", "method", "handler"];
        let labels = names.map(|name| (name, sample.labels[name].as_str()));
        // Each is a sum of whole nanoseconds, and a float.
        assert_eq!(scrape.phases_not_adding_up(&labels), None, "{labels:?}");
        let requests = scrape.sum("http_requests_total", &labels);
        for (histogram, phase) in [
            ("http_request_queue_seconds", "queue"),
            ("http_request_runqueue_seconds", "runqueue"),
        ] {
            assert_eq!(
                scrape.sum(&format!("{histogram}_count"), &labels),
                requests,
                "{labels:?}"
            );
            let mut of_phase = labels.to_vec();
            of_phase.push(("phase", phase));
            let sum = scrape.sum(&format!("{histogram}_sum"), &labels);
            let phase = scrape.sum("http_request_phase_seconds_total", &of_phase);
            assert!((sum - phase).abs() < 1e-9, "{labels:?}: {sum} {phase}");
        }
    }
    assert!(routes > 0);
}

/// Also under the load of several clients, and for requests that the kernel could not count itself.
#[test]
fn phases_add_up_to_durations() {
    for case in Case::all() {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut client = case.client();
                    for path in ["/ok", "/sleep", "/spin", "/ok", "/nowhere", "/ok"] {
                        client.send(&case.request(path)).unwrap();
                    }
                });
            }
        });
        let expected = case.count(&case.vigie.scrape().unwrap(), "/ok").max(14.0);
        let scrape = settled_scrape(&case.vigie, |scrape| case.count(scrape, "/ok") >= expected);
        everything_adds_up(&scrape);
        let unattributed = scrape.sum("http_request_phase_seconds_total", &[("phase", "unattributed")]);
        let reasons = scrape.sum("vigie_unattributed_seconds_total", &[]);
        assert!((unattributed - reasons).abs() < 1e-6, "{unattributed} {reasons}");
    }
}

/// The number of a port's service's requests in flight, once it is as expected.
fn in_flight(vigie: &common::Watch, service: &str, expected: f64) {
    let read = |scrape: &Scrape| scrape.sum("http_requests_in_flight", &[("service", service)]);
    let scrape = settled_scrape(vigie, |scrape| read(scrape) == expected);
    assert_eq!(read(&scrape), expected);
}

/// Requests are in flight from when they are read until they are answered, or their connection is gone.
#[test]
fn requests_in_flight_are_exact() {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let address = common::server(move |mut stream| {
        while let Some(head) = read_head(&mut stream) {
            if head.contains("wait") {
                let _ = released.lock().unwrap().recv();
            }
            if stream.write_all(OK).is_err() {
                return;
            }
        }
    });
    let directory = testkit::TempDir::new().unwrap();
    let config = format!("services: [{{name: flights, port: {}}}]", address.port());
    let file = directory.write("vigie.yml", config.as_bytes()).unwrap();
    let vigie = vigie_alone(&["--config.file", file.to_str().unwrap()]);
    let get = |path: &str| {
        let mut stream = connect(address);
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes())
            .unwrap();
        stream
    };
    // The service is known, and no request is in flight.
    read_request(&mut get("/ok"));
    in_flight(&vigie, "flights", 0.0);
    let waiting: Vec<_> = (0..20).map(|_| get("/wait")).collect();
    in_flight(&vigie, "flights", 20.0);
    // Half of a head is no request yet to count. Its connection ends without one.
    let mut half = connect(address);
    half.write_all(b"GET /ok HTTP/1.1\r\nHo").unwrap();
    thread::sleep(Duration::from_millis(50));
    drop(half);
    // Three pipelined ones behind one that waits.
    let mut pipelined = connect(address);
    pipelined
        .write_all(b"GET /wait HTTP/1.1\r\n\r\nGET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n")
        .unwrap();
    // The server has read the first of these.
    in_flight(&vigie, "flights", 21.0);
    // Some clients leave, the others are answered.
    let mut waiting = waiting.into_iter();
    for stream in waiting.by_ref().take(5) {
        drop(stream);
    }
    for _ in 0..21 {
        release.send(()).unwrap();
    }
    for mut stream in waiting {
        assert!(read_request(&mut stream).is_some());
    }
    for _ in 0..3 {
        assert!(read_head(&mut pipelined).is_some());
        pipelined.read_exact(&mut [0; 2]).unwrap();
    }
    in_flight(&vigie, "flights", 0.0);
    drop(pipelined);
    in_flight(&vigie, "flights", 0.0);
}
