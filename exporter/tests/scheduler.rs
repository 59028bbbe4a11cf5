//! The scheduler's metrics agree with the kernel's own books.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that panics has failed, as it should"
)]

mod common;

use std::{fs, thread};

use common::{python, settled_scrape, vigie};
use testkit::{python_app, sched::wait_until_quiet};

/// A server with threads that compute and threads that sleep, half of which end before the others; then it is quiet.
const BUSY: &str = r#"
import socket, sys, threading, time
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
def spin(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(1000))
def nap(times):
    for _ in range(times):
        time.sleep(0.001)
while True:
    connection, _ = listener.accept()
    line = connection.makefile("rb").readline()
    if not line:
        continue
    threads = [threading.Thread(target=spin, args=(0.5,)) for _ in range(3)] + [threading.Thread(target=nap, args=(200,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    connection.sendall(b"done\n")
    connection.close()
"#;

/// Run time and run-queue wait in nanoseconds of a process's main thread, and its switches, from /proc.
fn main_thread(process: u32) -> (u64, u64, u64, u64) {
    let text = fs::read_to_string(format!("/proc/{process}/schedstat")).unwrap();
    let numbers: Vec<u64> = text.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let number = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap()
            .trim()
            .parse::<u64>()
            .unwrap()
    };
    (
        numbers[0],
        numbers[1],
        number("voluntary_ctxt_switches:"),
        number("nonvoluntary_ctxt_switches:"),
    )
}

/// One thread only: its books are all in /proc, and must be equal to the nanosecond.
#[test]
fn one_thread_is_exact() {
    const SERVER: &str = r#"
import socket, sys, time
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    connection, _ = listener.accept()
    connection.recv(100)
    end = time.monotonic() + 0.05
    while time.monotonic() < end:
        pass
    time.sleep(0.005)
    connection.sendall(b"done")
    connection.close()
"#;
    let directory = testkit::TempDir::new().unwrap();
    let server = python_app(&python(), SERVER, &[]).unwrap();
    let config = format!("services: [{{name: exact, port: {}}}]", server.port());
    let file = directory.write("vigie.yml", config.as_bytes()).unwrap();
    let vigie = vigie(&["--config.file", file.to_str().unwrap()]);
    wait_until_quiet(server.pid()).unwrap();
    let request = || {
        use std::io::{Read as _, Write as _};
        let mut stream = common::connect(server.address());
        stream.write_all(b"hello").unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
        wait_until_quiet(server.pid()).unwrap();
    };
    // The first stint began before Vigie did.
    request();
    let labels = [("service", "exact")];
    let read = || {
        let scrape = vigie.scrape().unwrap();
        let value = |name: &str| scrape.sum(name, &labels);
        let switches = |kind: &str| {
            scrape.sum(
                "service_context_switches_total",
                &[("service", "exact"), ("type", kind)],
            )
        };
        (
            value("service_cpu_seconds_total"),
            value("service_runqueue_wait_seconds_sum"),
            switches("voluntary"),
            switches("involuntary"),
            value("service_runqueue_wait_seconds_count"),
        )
    };
    let (before, kernel_before) = (read(), main_thread(server.pid()));
    for _ in 0..10 {
        request();
    }
    let (after, kernel_after) = (read(), main_thread(server.pid()));
    let near = |seen: f64, kernel: u64| (seen * 1e9 - kernel as f64).abs() < 50.0;
    assert!(
        near(after.0 - before.0, kernel_after.0 - kernel_before.0),
        "CPU {} {}",
        after.0 - before.0,
        kernel_after.0 - kernel_before.0
    );
    assert!(
        near(after.1 - before.1, kernel_after.1 - kernel_before.1),
        "wait {} {}",
        after.1 - before.1,
        kernel_after.1 - kernel_before.1
    );
    assert_eq!((after.2 - before.2) as u64, kernel_after.2 - kernel_before.2);
    assert_eq!((after.3 - before.3) as u64, kernel_after.3 - kernel_before.3);
    // One wait for each departure that was seen.
    let (waits, switches) = (after.4 - before.4, (after.2 + after.3) - (before.2 + before.3));
    assert!(waits > 0.0 && waits <= switches, "{waits} {switches}");
}

/// Many threads, all alive when the load has ended: every switch of every one of them.
#[test]
fn switches_of_all_threads_are_exact() {
    const SERVER: &str = r#"
import queue, socket, sys, threading, time
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
work, done = queue.Queue(), queue.Queue()
def worker(number):
    while True:
        work.get()
        end = time.monotonic() + 0.02
        while number % 2 and time.monotonic() < end:
            sum(range(1000))
        for _ in range(20):
            time.sleep(0.001)
        done.put(None)
for number in range(8):
    threading.Thread(target=worker, args=(number,), daemon=True).start()
while True:
    connection, _ = listener.accept()
    if connection.recv(100):
        for _ in range(16):
            work.put(None)
        for _ in range(16):
            done.get()
        connection.sendall(b"done")
    connection.close()
"#;
    let directory = testkit::TempDir::new().unwrap();
    let server = python_app(&python(), SERVER, &[]).unwrap();
    let config = format!("services: [{{name: pool, port: {}}}]", server.port());
    let file = directory.write("vigie.yml", config.as_bytes()).unwrap();
    let vigie = vigie(&["--config.file", file.to_str().unwrap()]);
    let request = || {
        use std::io::{Read as _, Write as _};
        let mut stream = common::connect(server.address());
        stream.write_all(b"hello").unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
        wait_until_quiet(server.pid()).unwrap();
    };
    let kernel = || {
        let mut sums = (0, 0);
        for task in fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap() {
            let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            let number = |name: &str| -> u64 {
                let line = status.lines().find_map(|line| line.strip_prefix(name));
                line.unwrap().trim().parse().unwrap()
            };
            sums.0 += number("voluntary_ctxt_switches:");
            sums.1 += number("nonvoluntary_ctxt_switches:");
        }
        sums
    };
    let seen = || {
        let scrape = vigie.scrape().unwrap();
        let switches = |kind: &str| {
            let labels = [("service", "pool"), ("type", kind)];
            scrape.sum("service_context_switches_total", &labels) as u64
        };
        (switches("voluntary"), switches("involuntary"))
    };
    // Every thread has to leave a CPU once before it is known.
    request();
    request();
    let (seen_before, kernel_before) = (seen(), kernel());
    for _ in 0..5 {
        request();
    }
    let (seen, kernel) = (seen(), kernel());
    let grown = (kernel.0 - kernel_before.0, kernel.1 - kernel_before.1);
    println!("voluntary, involuntary: {grown:?}");
    assert!(grown.0 >= 5 * 16 * 20, "{grown:?}");
    assert_eq!((seen.0 - seen_before.0, seen.1 - seen_before.1), grown);
}

/// Threads that have ended are in the sums: their CPU time is the process's.
#[test]
fn dead_threads_count() {
    let directory = testkit::TempDir::new().unwrap();
    let server = python_app(&python(), BUSY, &[]).unwrap();
    let config = format!("services: [{{name: busy, port: {}}}]", server.port());
    let file = directory.write("vigie.yml", config.as_bytes()).unwrap();
    let vigie = vigie(&["--config.file", file.to_str().unwrap()]);
    let process_cpu = || {
        // utime and stime of the whole process, dead threads included, in clock ticks of 10 ms.
        let stat = fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
    };
    let cpu = |scrape: &testkit::Scrape| scrape.sum("service_cpu_seconds_total", &[("service", "busy")]);
    let (before, seen_before) = (process_cpu(), cpu(&vigie.scrape().unwrap()));
    use std::io::{Read as _, Write as _};
    let mut stream = common::connect(server.address());
    stream.write_all(b"go\n").unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    wait_until_quiet(server.pid()).unwrap();
    let scrape = settled_scrape(&vigie, |_| true);
    let (kernel, seen) = (process_cpu() - before, cpu(&scrape) - seen_before);
    println!("process {kernel}, Vigie {seen}");
    assert!((kernel - seen).abs() <= 0.03, "process {kernel}, Vigie {seen}");
    let voluntary = scrape.sum(
        "service_context_switches_total",
        &[("service", "busy"), ("type", "voluntary")],
    );
    assert!(voluntary >= 600.0, "{voluntary}");
    let waits = scrape.sum("service_runqueue_wait_seconds_count", &[("service", "busy")]);
    let switches = scrape.sum("service_context_switches_total", &[("service", "busy")]);
    assert!(waits > 0.9 * switches && waits <= switches, "{waits} {switches}");
}

/// The run queues hold at least the threads that spin here, and no CPU is missing.
#[test]
fn run_queue_lengths() {
    let vigie = vigie(&[]);
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let spinners: Vec<_> = (0..4)
        .map(|_| {
            let stop = std::sync::Arc::clone(&stop);
            thread::spawn(move || while !stop.load(std::sync::atomic::Ordering::Relaxed) {})
        })
        .collect();
    let length = |scrape: &testkit::Scrape| scrape.sum("vigie_host_runqueue_length", &[]);
    let scrape = settled_scrape(&vigie, |scrape| length(scrape) >= 4.0);
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    spinners.into_iter().for_each(|spinner| spinner.join().unwrap());
    let cpus = scrape.samples("vigie_host_runqueue_length").count();
    assert_eq!(cpus, thread::available_parallelism().unwrap().get());
    assert!(length(&scrape) >= 4.0);
}
