//! What hangs on the kernel's hooks: which calls are seen, how often, and from when on.
//!
//! `cargo xtask vm` runs this on other kernels, where requests are seen at the functions of TCP. All parts share one Vigie:
//! in a machine that is emulated, loading the programs takes seconds.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that panics has failed, as it should, and what it prints helps to see why"
)]

mod common;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
    ptr::null_mut,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use common::{
    OK, answer_all, ask_for_traces, connect, counts, listener_on_six, read_head, read_request, server, settled,
    settled_scrape, vigie_alone,
};
use testkit::{Counts, Measured, Request, Scrape, Shot, Stopwatch, TempDir, Vigie, closed_loop};

const REQUEST: &[u8] = b"GET /calls HTTP/1.1\r\nHost: here\r\n\r\n";

/// A part of the test.
type Part = fn(&Vigie);

#[test]
fn every_call_is_seen_once_and_at_its_time() {
    let vigie = vigie_alone(&[]);
    let parts: [(&str, Part); 7] = [
        ("one hook for each probe", hooks),
        ("counts at full speed", full_speed),
        ("every call that reads or writes", calls),
        ("sendfile", files),
        ("ipv6", six),
        ("durations", durations),
        ("single requests", single_requests),
    ];
    for (name, part) in parts {
        let begin = Instant::now();
        part(&vigie);
        println!("{name}: {:.1} s", begin.elapsed().as_secs_f64());
    }
    let scrape = vigie.scrape().unwrap();
    let mut losses = losses(&scrape);
    println!("lost: {losses:?}");
    if is_preemptible() {
        // The switches of the scheduler, for one, have no second program.
        losses.retain(|(reason, _)| reason != "reentered");
    }
    assert_eq!(losses, []);
}

/// What was lost, by reason.
fn losses(scrape: &Scrape) -> Vec<(String, f64)> {
    let samples = scrape.samples("vigie_lost_total").filter(|sample| sample.value != 0.0);
    samples
        .map(|sample| (sample.labels["reason"].clone(), sample.value))
        .collect()
}

/// Every probe is attached to one hook, and those of a request to hooks of one kind: which one, the kernel decides.
fn hooks(vigie: &Vigie) {
    let scrape = vigie.scrape().unwrap();
    let mut found: BTreeMap<String, Vec<(String, f64)>> = BTreeMap::new();
    for sample in scrape.samples("vigie_probe_attached") {
        let label = |name: &str| sample.labels[name].clone();
        found
            .entry(label("probe"))
            .or_default()
            .push((label("hook"), sample.value));
    }
    println!("{found:?}");
    for (probe, hooks) in &found {
        assert!(matches!(hooks.as_slice(), [(_, 1.0)]), "{probe}: {hooks:?}");
    }
    let version = version();
    let expected = if version < (6, 3) || std::env::var_os("VIGIE_HOOK_FUNCTIONS").is_some() {
        ["sock_def_readable", "tcp_recvmsg", "tcp_sendmsg"]
    } else {
        ["sk_data_ready", "sock_recv_length", "sock_send_length"]
    };
    assert_eq!(
        ["ready", "receive", "send"].map(|probe| found[probe][0].0.as_str()),
        expected
    );
    // Until 6.4 sendfile has a way of its own.
    assert_eq!(found.contains_key("sendpage"), version < (6, 5));
}

fn full_speed(vigie: &Vigie) {
    let address = server(answer_all);
    let shot = |handler: &'static str| {
        move |_: usize, _: usize| Shot {
            handler,
            request: Request::get(handler),
            expected: Some(200),
        }
    };
    let kept = closed_loop(address, 4, 500, true, shot("/kept")).unwrap();
    let closed = closed_loop(address, 4, 50, false, shot("/closed")).unwrap();
    assert_eq!((kept.transport_errors(), closed.transport_errors()), (0, 0));
    let expected = counts(&[("/closed", "GET", 200, 200), ("/kept", "GET", 200, 2000)]);
    expect(vigie, address, &expected);
}

/// Every request is shown, with its path, to whoever asks for it.
fn single_requests(vigie: &Vigie) {
    let address = server(answer_all);
    let mut trace = ask_for_traces(vigie, "/-/trace?rate=0");
    read_head(&mut trace).unwrap();
    closed_loop(address, 2, 250, true, |thread, i| Shot {
        handler: "/shown/{id}",
        request: Request::get(format!("/shown/{}", thread * 250 + i)),
        expected: Some(200),
    })
    .unwrap();
    expect(vigie, address, &counts(&[("/shown/{id}", "GET", 200, 500)]));
    let mut text = Vec::new();
    let is_all = |text: &[u8]| {
        let text = String::from_utf8_lossy(text);
        (0..500).all(|i| text.matches(&format!("\"path\":\"/shown/{i}\"")).count() == 1)
    };
    while !is_all(&text) {
        let mut buffer = [0; 65_536];
        let count = trace.read(&mut buffer).unwrap();
        assert_ne!(count, 0, "{}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&buffer[..count]);
    }
    drop(trace);
    settled_scrape(vigie, |scrape| scrape.sum("vigie_trace_clients", &[]) == 0.0);
}

/// Every request of a server is counted.
fn expect(vigie: &Vigie, address: SocketAddr, expected: &Counts) {
    assert_eq!(settled(vigie, address.port(), expected), *expected);
}

/// Whether a task can be taken off its CPU while a program runs for it. The kernel does not run the program for the next task then,
/// and counts that. Tracepoints are like this in 7.x.
fn is_preemptible() -> bool {
    version() >= (7, 0)
}

/// The kernel's version: major, minor.
fn version() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// A message in two buffers, for the calls that take such.
fn vector(buffer: &mut [u8]) -> [libc::iovec; 2] {
    let (one, two) = buffer.split_at_mut(16);
    [one, two].map(|part| libc::iovec {
        iov_base: part.as_mut_ptr().cast(),
        iov_len: part.len(),
    })
}

fn header(vector: &mut [libc::iovec; 2]) -> libc::msghdr {
    libc::msghdr {
        msg_name: null_mut(),
        msg_namelen: 0,
        msg_iov: vector.as_mut_ptr(),
        msg_iovlen: 2,
        msg_control: null_mut(),
        msg_controllen: 0,
        msg_flags: 0,
    }
}

const READS: [&str; 5] = ["read", "recv", "readv", "recvmsg", "peek"];

fn receive(stream: &TcpStream, call: &str) -> usize {
    let fd = stream.as_raw_fd();
    let mut buffer = [0; 4096];
    let mut vector = vector(&mut buffer);
    let mut header = header(&mut vector);
    let (start, length) = (vector[0].iov_base, 4096);
    // SAFETY: the vector's parts and the 4096 bytes from the first one's start are `buffer`, which lives long enough.
    let count = unsafe {
        match call {
            "read" => libc::read(fd, start, length),
            "recv" => libc::recv(fd, start, length, 0),
            "readv" => libc::readv(fd, vector.as_ptr(), 2),
            "recvmsg" => libc::recvmsg(fd, &raw mut header, 0),
            // Looking at the request three times makes it no other request.
            _ => {
                for _ in 0..3 {
                    libc::recv(fd, start, length, libc::MSG_PEEK);
                }
                libc::recv(fd, start, length, 0)
            }
        }
    };
    usize::try_from(count).unwrap()
}

const WRITES: [&str; 4] = ["write", "send", "writev", "sendmsg"];

fn send(stream: &TcpStream, call: &str, bytes: &[u8]) {
    let fd = stream.as_raw_fd();
    let mut buffer = bytes.to_vec();
    let mut vector = vector(&mut buffer);
    let header = header(&mut vector);
    let (start, length) = (vector[0].iov_base, bytes.len());
    // SAFETY: as in `receive`.
    let count = unsafe {
        match call {
            "write" => libc::write(fd, start, length),
            "send" => libc::send(fd, start, length, libc::MSG_NOSIGNAL),
            "writev" => libc::writev(fd, vector.as_ptr(), 2),
            _ => libc::sendmsg(fd, &raw const header, 0),
        }
    };
    assert_eq!(usize::try_from(count).unwrap(), bytes.len());
}

fn calls(vigie: &Vigie) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut client = connect(address);
    let (stream, _) = listener.accept().unwrap();
    let mut expected = 0;
    for read in READS {
        for write in WRITES {
            client.write_all(REQUEST).unwrap();
            assert_eq!(receive(&stream, read), REQUEST.len());
            send(&stream, write, OK);
            client.read_exact(&mut [0; OK.len()]).unwrap();
            expected += 1;
            let all = counts(&[("/calls", "GET", 200, expected)]);
            expect(vigie, address, &all);
        }
    }
    let port = address.port().to_string();
    let scrape = vigie.scrape().unwrap();
    let sum = |name: &str| scrape.sum(name, &[("port", port.as_str())]);
    assert_eq!(
        sum("http_request_size_bytes_sum"),
        (REQUEST.len() as u64 * expected) as f64
    );
    assert_eq!(sum("http_response_size_bytes_sum"), (OK.len() as u64 * expected) as f64);
}

/// A response whose body is sent by sendfile ends with its last byte, and has its size.
fn files(vigie: &Vigie) {
    const SIZE: usize = 1_000_003;
    let directory = TempDir::new().unwrap();
    let path = directory.write("body", &vec![b'x'; SIZE]).unwrap();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n");
    let length = head.len();
    let address = server(move |mut stream| {
        while read_request(&mut stream).is_some() {
            stream.write_all(head.as_bytes()).unwrap();
            let file = File::open(&path).unwrap();
            let mut offset = 0;
            while offset < SIZE as i64 {
                // SAFETY: both descriptors are open, and the offset is a value of that type.
                let count = unsafe {
                    libc::sendfile(
                        stream.as_raw_fd(),
                        file.as_raw_fd(),
                        &raw mut offset,
                        SIZE - offset as usize,
                    )
                };
                assert!(count > 0, "{}", std::io::Error::last_os_error());
            }
        }
    });
    let mut client = connect(address);
    for _ in 0..5 {
        client.write_all(b"GET /file HTTP/1.1\r\n\r\n").unwrap();
        client.read_exact(&mut vec![0; length + SIZE]).unwrap();
    }
    let expected = counts(&[("/file", "GET", 200, 5)]);
    expect(vigie, address, &expected);
    let port = address.port().to_string();
    let sizes = vigie
        .scrape()
        .unwrap()
        .sum("http_response_size_bytes_sum", &[("port", &port)]);
    assert_eq!(sizes, (5 * (length + SIZE)) as f64);
}

fn six(vigie: &Vigie) {
    let listener = listener_on_six();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || answer_all(listener.accept().unwrap().0));
    let mut client = connect(address);
    for _ in 0..10 {
        client.write_all(b"GET /six HTTP/1.1\r\n\r\n").unwrap();
        read_head(&mut client).unwrap();
        client.read_exact(&mut [0; 2]).unwrap();
    }
    let expected = counts(&[("/six", "GET", 200, 10)]);
    expect(vigie, address, &expected);
}

/// What a server and its client do, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Waits {
    /// The connection is open, and carries nothing.
    idle: u64,
    /// The request is there, and the connection is not accepted.
    backlog: u64,
    /// The connection is accepted, and the request is not read.
    queue: u64,
    /// The request is read, and not answered.
    handler: u64,
    /// Between each of ten bytes of the response.
    stream: u64,
    /// The handshake's last packet brings the request: the kernel waits for it (`TCP_DEFER_ACCEPT`).
    defer: bool,
}

fn durations(vigie: &Vigie) {
    let none = Waits::default();
    let rows = [
        Waits { idle: 300, ..none },
        Waits { backlog: 300, ..none },
        Waits { queue: 300, ..none },
        Waits { handler: 300, ..none },
        Waits { stream: 30, ..none },
        Waits {
            idle: 300,
            backlog: 300,
            defer: true,
            ..none
        },
    ];
    for waits in rows {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        if waits.defer {
            defer(&listener);
        }
        let port = listener.local_addr().unwrap().port();
        let mut before = 0.0;
        // The machine stalls now and then: its time is right if one run is.
        let mut runs = Vec::new();
        for count in 1..=3 {
            let truth = exchange(&listener, waits);
            let labels = [("port", &*port.to_string())];
            let scrape = settled_scrape(vigie, |scrape| {
                scrape.sum("http_request_duration_seconds_count", &labels) == f64::from(count)
            });
            assert_eq!(
                scrape.sum("http_request_duration_seconds_count", &labels),
                f64::from(count)
            );
            let sum = scrape.sum("http_request_duration_seconds_sum", &labels);
            runs.push((truth, sum - before));
            before = sum;
            if count >= 2 && runs.iter().any(is_right) {
                break;
            }
        }
        println!("{waits:?}: client, Vigie: {runs:.4?}");
        assert!(runs.iter().any(is_right), "{waits:?}: {runs:?}");
    }
}

/// Within two milliseconds, or two percent, but for what the client waited for a CPU; an emulated machine is slow, and asks for ten.
fn is_right((truth, seen): &(Measured, f64)) -> bool {
    let tolerance = std::env::var("VIGIE_TIME_TOLERANCE").map_or(0.02, |share| share.parse().unwrap());
    truth.agrees(*seen, 0.002_f64.max(truth.seconds * tolerance))
}

fn defer(listener: &TcpListener) {
    let seconds: i32 = 10;
    // SAFETY: the option's value is an int, and its size is given.
    let code = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            size_of::<i32>() as u32,
        )
    };
    assert_eq!(code, 0);
}

/// One request, and how long the client waited for it.
fn exchange(listener: &TcpListener, waits: Waits) -> Measured {
    let pause = |milliseconds| thread::sleep(Duration::from_millis(milliseconds));
    let (sender, sent) = mpsc::channel();
    let client = thread::spawn({
        let address: SocketAddr = listener.local_addr().unwrap();
        move || {
            let mut client = connect(address);
            pause(waits.idle);
            let clock = Stopwatch::start().unwrap();
            client.write_all(b"GET /wait HTTP/1.1\r\n\r\n").unwrap();
            sender.send(()).unwrap();
            read_head(&mut client).unwrap();
            client.read_exact(&mut [0; 10]).unwrap();
            clock.measure().unwrap()
        }
    });
    sent.recv().unwrap();
    pause(waits.backlog);
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_nodelay(true).unwrap();
    pause(waits.queue);
    read_request(&mut stream).unwrap();
    pause(waits.handler);
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        .unwrap();
    for _ in 0..10 {
        pause(waits.stream);
        stream.write_all(b"x").unwrap();
    }
    client.join().unwrap()
}
