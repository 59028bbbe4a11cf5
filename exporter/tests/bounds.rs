//! Tables that are full: what is dropped then is said, and everything that was sent is counted, or said to be lost.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that panics has failed, as it should"
)]

mod common;

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use aya::maps::{Array, Map, MapData};
use common::{
    OK, Watch, binary, connect, listen_and_end, lost, read_head, read_request, request_in_turn, request_with, server,
    settled_scrape, slow_to_read, sockets_of, until, vigie, vigie_after, vigie_alone, word,
};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use testkit::{Request, Scrape, TempDir, free_port, host::Host, http::Client, nginx, process_ids::spawn_as};
use vigie_ebpf::native::Native;

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
fn get_in_turn(address: SocketAddr, targets: impl IntoIterator<Item = String>) {
    request_in_turn(address, targets.into_iter().map(|target| ("GET", target)));
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
    get_in_turn(address, real());
    settled_scrape(&vigie, |scrape| total(scrape, address.port()) == 10);
    for paths in (0..PATHS).collect::<Vec<_>>().chunks(400) {
        get_in_turn(address, paths.iter().map(|path| format!("/{}", word(*path))));
        // Else they would not all be looked at.
        thread::sleep(Duration::from_millis(550));
    }
    get_in_turn(address, real());
    // What was not found at first, and was forgotten since, is shown again, and then it has its name.
    get_in_turn(address, [format!("/{}?ok", word(0)), format!("/{}", word(1))]);
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
    // Pipelined, for more than a thousand in a second on a slow machine, too.
    const BATCH: usize = 20;
    const PATHS: usize = 300 * BATCH;
    let vigie = vigie_alone(&[]);
    listen_and_end(&vigie, "takes", 260);
    let server = nginx(&[], "location / { return 404 no; }", 1).unwrap();
    let shown = |scrape: &Scrape| scrape.sum("vigie_events_total", &[("kind", "path")]);
    let before = shown(&vigie.scrape().unwrap());
    let mut stream = connect(server.address());
    for batch in (0..PATHS).collect::<Vec<_>>().chunks(BATCH) {
        let requests = batch
            .iter()
            .map(|path| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", word(*path)));
        stream.write_all(requests.collect::<String>().as_bytes()).unwrap();
        for _ in batch {
            let head = read_head(&mut stream).unwrap();
            assert!(head.contains(" 404 ") && head.contains("Content-Length: 2"), "{head}");
            stream.read_exact(&mut [0; 2]).unwrap();
        }
    }
    let scrape = settled_scrape(&vigie, |scrape| total(scrape, server.port()) == PATHS as u64);
    let expected = common::counts(&[("none", "GET", 404, PATHS as u64)]);
    assert_eq!(scrape.requests(server.port()), expected);
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
    get_in_turn(address, ["/first?ok".to_owned()]);
    settled_scrape(&vigie, |scrape| total(scrape, address.port()) == 1);
    let process = Pid::from_raw(vigie.pid().cast_signed()).unwrap();
    kill_process(process, Signal::STOP).unwrap();
    get_in_turn(address, (0..PATHS).map(|path| format!("/{}", word(path))));
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
    get_in_turn(address, ["/first?ok".to_owned(), "/second?ok".to_owned()]);
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
    let paths = || (0..ROUTES).map(|path| ("GET", format!("/{}?ok", word(path))));
    for round in 1..=2u64 {
        // The first request of a series is counted by user space, and has no exemplar.
        let field = format!("traceparent: 00-4bf92f3577b34da6a3ce929d0e0e{round:04x}-00f067aa0ba902b7-01\r\n");
        request_with(&field, address, paths());
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

/// More series than have native histograms. What is counted for the others is written to no place that all CPUs share.
#[test]
fn more_series_than_native_histograms() {
    const ROUTES: usize = vigie_ebpf::types::NATIVES + 100;
    let address = server(answer);
    let (_directory, vigie) = with_routes(3000);
    // The first request of a series is counted by user space, the others by the kernel.
    for round in 1..=3 {
        get_in_turn(address, (0..ROUTES).map(|path| format!("/{}?ok", word(path))));
        let sent = (round * ROUTES) as u64;
        let scrape = settled_scrape(&vigie, |scrape| total(scrape, address.port()) == sent);
        assert_eq!((total(&scrape, address.port()), lost(&scrape)), (sent, 0.0));
    }
    let counts = native_histograms(vigie.pid());
    let sum = |place| counts.get(&place, 0).unwrap().iter().sum::<u64>();
    let last = vigie_ebpf::types::NATIVES as u32 - 1;
    assert_eq!((sum(0), sum(1), sum(last)), (0, 3, 3));
}

/// The map with the native histograms of a Vigie.
fn native_histograms(process: u32) -> Array<MapData, Native> {
    let files = fs::read_dir(format!("/proc/{process}/fdinfo")).unwrap();
    let maps = files.filter_map(|file| {
        let text = fs::read_to_string(file.unwrap().path()).unwrap_or_default();
        let id = text.lines().find_map(|line| line.strip_prefix("map_id:"))?;
        MapData::from_id(id.trim().parse().unwrap()).ok()
    });
    let mut found = maps.filter(|map| map.info().unwrap().name_as_str() == Some("NATIVE"));
    Map::Array(found.next().unwrap()).try_into().unwrap()
}

/// The host gets more process ids while Vigie runs. A process with one of those is met once, as every other.
#[test]
fn more_process_ids_than_there_were() {
    const BEFORE: u32 = 32_768;
    let mut ids = None;
    let vigie = vigie_after(|| ids = Some(PidMax::set(BEFORE)), &[]);
    let _more = PidMax::raise(4 * BEFORE);
    let server = Http::start_by(|command| spawn_as(BEFORE + 4321, || Ok(command())).unwrap());
    let met = |scrape: &Scrape| scrape.sum("vigie_events_total", &[("kind", "process")]);
    let counted = |scrape: &Scrape| total(scrape, server.address.port());
    request_each(&[server.address], "/", 1);
    let before = met(&settled_scrape(&vigie, |scrape| counted(scrape) == 1));
    request_each(&[server.address], "/", 100);
    let scrape = settled_scrape(&vigie, |scrape| counted(scrape) == 101);
    assert_eq!((counted(&scrape), met(&scrape) - before), (101, 0.0));
    assert_eq!(lost(&scrape), 0.0);
}

/// Whoever makes more events than can be handled keeps nobody waiting: not those who ask, not those who scrape, and not the signal to end.
#[test]
fn a_flood_of_events() {
    let vigie = vigie_alone(&[]);
    let ends = Arc::new(AtomicBool::new(false));
    let floods: Vec<_> = (0..2)
        .map(|_| {
            let ends = Arc::clone(&ends);
            // Each is an event of a process that listens.
            thread::spawn(move || {
                while !ends.load(Ordering::Relaxed) {
                    drop(TcpListener::bind("127.0.0.1:0").unwrap());
                }
            })
        })
        .collect();
    let handled = |vigie: &Watch| vigie.scrape().unwrap().sum("vigie_events_total", &[("kind", "listen")]);
    let before = handled(&vigie);
    for _ in 0..5 {
        assert_eq!(vigie.get("/-/healthy").unwrap().status, 200);
    }
    // It has gone on meanwhile.
    let after = handled(&vigie);
    assert!(after > before, "{after} {before}");
    // The flood ends when Vigie has, and not before.
    vigie.server.signal(libc::SIGTERM).unwrap();
    let begin = Instant::now();
    while !vigie.server.has_exited() && begin.elapsed() < Duration::from_secs(20) {
        thread::sleep(Duration::from_millis(5));
    }
    let has_ended = vigie.server.has_exited();
    ends.store(true, Ordering::Relaxed);
    floods.into_iter().for_each(|flood| flood.join().unwrap());
    assert!(has_ended);
}

/// More clients than there may be at once: who has been still for longest goes, and whoever scrapes is answered.
#[test]
fn too_many_clients() {
    const CLIENTS: usize = 700;
    const MOST: usize = 512;
    let vigie = vigie_alone(&[]);
    let open = |scrape: &Scrape| scrape.sum("vigie_web_connections", &[]);
    // Of one that ends a little later than its connection: of the scrape before.
    let sockets_become = |count| until(|| (sockets_of(vigie.pid()) == count).then_some(()));
    let dropped = |scrape: &Scrape| scrape.sum("vigie_web_connections_dropped_total", &[("reason", "too_many")]);
    settled_scrape(&vigie, |scrape| open(scrape) == 1.0);
    let before = sockets_of(vigie.pid());
    // Each is refused a trace first: only those that are shown one stay.
    let client = |_| {
        let mut client = connect(vigie.server.address());
        client
            .write_all(b"GET /-/trace HTTP/1.1\r\nHost: here.example\r\n\r\n")
            .unwrap();
        assert!(read_head(&mut client).unwrap().starts_with("HTTP/1.1 403"));
        client
    };
    let mut clients: Vec<TcpStream> = (0..CLIENTS).map(client).collect();
    let scrape = vigie.scrape().unwrap();
    assert_eq!(open(&scrape), MOST as f64);
    // With that of the scrape.
    assert_eq!(dropped(&scrape), (CLIENTS + 1 - MOST) as f64);
    sockets_become(before + MOST - 1);
    // The first ones were closed, and the last ones are answered.
    clients[0].read_to_end(&mut Vec::new()).unwrap();
    let last = clients.last_mut().unwrap();
    last.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(read_head(last).unwrap().contains("HTTP/1.1 200"));
    drop(clients);
    settled_scrape(&vigie, |scrape| open(scrape) == 1.0);
    sockets_become(before);
}

/// A client asks again and again, and takes nothing: it is left after 30 s.
#[test]
fn a_client_that_takes_nothing() {
    let vigie = vigie(&[]);
    let stalled = |scrape: &Scrape| scrape.sum("vigie_web_connections_dropped_total", &[("reason", "stalled")]);
    let mut client = slow_to_read(vigie.server.address());
    // More than the sockets on both sides have room for, however little there is to show.
    let requests = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1500);
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

/// More processes, listeners and clients than there are descriptors for. Idle processes take none; where the limit cannot be raised, what is
/// left out is said, and whoever scrapes is answered.
#[test]
fn too_few_descriptors() {
    const IDLE: usize = 1100;
    const LISTENERS: usize = 60;
    const CODE: &str = "\
        import os, socket, sys, time\n\
        listeners = [socket.create_server(('127.0.0.1', 0)) for _ in range(int(sys.argv[1]))]\n\
        ports = [listener.getsockname()[1] for listener in listeners]\n\
        while listeners:\n\
        \x20   listener = listeners.pop()\n\
        \x20   if os.fork() == 0:\n\
        \x20       listeners.clear()\n\
        \x20       while True:\n\
        \x20           peer, _ = listener.accept()\n\
        \x20           peer.recv(1000)\n\
        \x20           peer.sendall(b'HTTP/1.1 204 OK\\r\\n\\r\\n')\n\
        \x20           peer.close()\n\
        listener.close()\n\
        for _ in range(int(sys.argv[2])):\n\
        \x20   if os.fork() == 0:\n\
        \x20       time.sleep(1000)\n\
        print(*ports, flush=True)\n\
        time.sleep(1000)\n";
    let dir = TempDir::new().unwrap();
    let script = dir.write("many_listen.py", CODE.as_bytes()).unwrap();
    let mut command = Command::new("python3");
    command.args(["-S", "-E"]).arg(script);
    command.args([LISTENERS.to_string(), IDLE.to_string()]);
    let mut listeners = Group(command.process_group(0).stdout(Stdio::piped()).spawn().unwrap());
    let mut ports = String::new();
    BufReader::new(listeners.0.stdout.take().unwrap())
        .read_line(&mut ports)
        .unwrap();
    let ports: Vec<u16> = ports.split_whitespace().map(|port| port.parse().unwrap()).collect();
    let service = [("service", "python/many_listen.py")];
    // The soft limit that systemd gives, and one that the programs alone would use up; the same as a hard one; less than the service has processes; and namespaces besides.
    let mut namespaces = Vec::new();
    for (limit, count) in [
        ("-Sn 1024", 0),
        ("-Sn 32", 0),
        ("-n 1024", 0),
        ("-n 200", 0),
        ("-n 200", 40),
    ] {
        namespaces.resize_with(count, Alone::start);
        let program = format!("#!/bin/sh\nulimit {limit} && exec {} \"$@\"\n", binary().display());
        let program = dir.write(&format!("vigie{limit}_{count}"), program.as_bytes()).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let host = Host::alone().unwrap();
        let vigie = testkit::vigie(&program, &[]).unwrap();
        let listen = |scrape: &Scrape| scrape.sum("service_listening", &service);
        let processes = |scrape: &Scrape| scrape.sum("service_processes", &service);
        // They listened before it began.
        let scrape = settled_scrape(&vigie, |scrape| processes(scrape) == LISTENERS as f64);
        assert_eq!(processes(&scrape), LISTENERS as f64, "{limit}");
        for port in &ports {
            get_in_turn(SocketAddr::from(([127, 0, 0, 1], *port)), ["/".to_owned()]);
        }
        let expected = (LISTENERS as f64, LISTENERS as f64);
        let scrape = settled_scrape(&vigie, |scrape| (listen(scrape), processes(scrape)) == expected);
        assert_eq!((listen(&scrape), processes(&scrape)), expected, "{limit}");
        // More clients than it may have files: the last one is answered.
        let mut clients: Vec<TcpStream> = (0..200).map(|_| connect(vigie.server.address())).collect();
        let last = clients.last_mut().unwrap();
        last.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert!(read_head(last).unwrap().contains("HTTP/1.1 200"), "{limit}");
        let scrape = settled_scrape(&vigie, |scrape| processes(scrape) == expected.1);
        assert_eq!((listen(&scrape), processes(&scrape)), expected, "{limit}");
        let open = scrape.sum("process_open_fds", &[]);
        let missed = scrape.sum("vigie_lost_total", &[("reason", "descriptors")]);
        println!("ulimit {limit}: {open} open, {missed} missed");
        assert_eq!(missed > 0.0, count > 0, "{limit}");
        drop((clients, vigie, host));
    }
}

/// A process and all that it has started, until this is dropped.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

/// More ports with connections that carry no HTTP than are counted by port: the rest is counted for nobody. When the service is
/// forgotten, there is room again.
#[test]
fn more_ports_without_http_than_are_counted() {
    const PORTS: usize = 600;
    const CODE: &str = "\
        import select, socket, sys\n\
        listeners = [socket.create_server(('127.0.0.1', 0)) for _ in range(int(sys.argv[1]))]\n\
        print(*[listener.getsockname()[1] for listener in listeners], flush=True)\n\
        while True:\n\
        \x20   for listener in select.select(listeners, [], [])[0]:\n\
        \x20       peer, _ = listener.accept()\n\
        \x20       peer.recv(100)\n\
        \x20       peer.send(b'no')\n\
        \x20       peer.close()\n";
    let looks: [&[u8]; 4] = [
        b"hello\n",
        b"\x16\x03\x01",
        b"PRI * HTTP/2.0",
        b"\r\n\r\n\0\r\nQUIT\n\x31",
    ];
    let vigie = vigie_alone(&["--retention", "60s"]);
    let dir = TempDir::new().unwrap();
    let script = dir.write("no_http.py", CODE.as_bytes()).unwrap();
    let mut command = Command::new("python3");
    command.arg(script).arg(PORTS.to_string()).stdout(Stdio::piped());
    let mut server = Http {
        process: command.spawn().unwrap(),
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
    };
    let mut ports = String::new();
    BufReader::new(server.process.stdout.take().unwrap())
        .read_line(&mut ports)
        .unwrap();
    let name = "vigie_not_http_connections_total";
    let of = |scrape: &Scrape, service| scrape.sum(name, &[("service", service)]);
    for port in ports.split_whitespace() {
        for first in looks {
            let mut stream = connect(SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap())));
            stream.write_all(first).unwrap();
            stream.read_to_end(&mut Vec::new()).unwrap();
        }
    }
    let service = "python/no_http.py";
    let sent = (PORTS * looks.len()) as f64;
    let scrape = settled_scrape(&vigie, |scrape| scrape.sum(name, &[]) == sent);
    let (own, rest) = (of(&scrape, service), of(&scrape, "other"));
    println!("{own} by port, {rest} without");
    // Those without a port of their own have places, too.
    assert_eq!((own, rest), (2048.0 - 4.0, sent - 2044.0));
    assert_eq!(scrape.sum(name, &[("service", "other"), ("port", "")]), rest);
    drop(server);
    let scrape = until(|| {
        thread::sleep(Duration::from_secs(1));
        vigie.scrape().ok().filter(|scrape| of(scrape, service) == 0.0)
    });
    assert_eq!(of(&scrape, "other"), rest);
    let address = common::server(
        |mut stream| {
            while read_request(&mut stream).is_some() && stream.write_all(b"no").is_ok() {}
        },
    );
    let mut stream = connect(address);
    stream.write_all(b"hello\n").unwrap();
    stream.read_exact(&mut [0; 2]).unwrap();
    let port = address.port().to_string();
    let scrape = settled_scrape(&vigie, |scrape| scrape.sum(name, &[("port", &port)]) == 1.0);
    assert_eq!(scrape.sum(name, &[("port", &port)]), 1.0);
}

/// Listeners in network namespaces of their own: one socket of Vigie's in each of these, while somebody listens there.
#[test]
fn sockets_in_namespaces_are_closed() {
    const NAMESPACES: usize = 20;
    let vigie = vigie_alone(&[]);
    let settled = |count| {
        let mut sockets = 0;
        let is_settled = (0..50).any(|_| {
            thread::sleep(Duration::from_millis(100));
            vigie.scrape().unwrap();
            thread::sleep(Duration::from_millis(50));
            sockets = sockets_of(vigie.pid());
            count == 0 || sockets == count
        });
        assert!(is_settled, "{sockets} sockets, not {count}");
        sockets
    };
    let before = settled(0);
    let servers: Vec<Alone> = (0..NAMESPACES).map(|_| Alone::start()).collect();
    settled(before + NAMESPACES);
    drop(servers);
    settled(before);
}

/// A process that listens in a network namespace of its own, until this is dropped.
struct Alone(Child);

// === impl Alone ===

impl Alone {
    fn start() -> Self {
        const CODE: &str = "import socket; s = socket.create_server(('', 80)); print(flush=True); s.accept()";
        let mut command = Command::new("unshare");
        command.args(["--net", "python3", "-S", "-E", "-c", CODE]);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        process.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        Self(process)
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server of Python's own, in a process of its own, until this is dropped.
struct Http {
    process: Child,
    address: SocketAddr,
}

// === impl Http ===

impl Http {
    /// Starts a server, which answers `/helped` after 5 ms of work of another thread; others wait for it, too.
    fn start() -> Self {
        Self::start_by(|command| command().spawn().unwrap())
    }

    /// The same, with a process id that is as another's but for a multiple of `distance`.
    fn start_beside(other: &Self, distance: u32) -> Self {
        let most: u32 = fs::read_to_string(PidMax::FILE).unwrap().trim().parse().unwrap();
        let id = other.process.id();
        let mut wanted = (id % distance..most).step_by(distance as usize);
        // A thread has a directory, too.
        let free = wanted.find(|id| *id > 300 && !Path::new("/proc").join(id.to_string()).exists());
        let free = free.expect("a free process id");
        Self::start_by(|command| spawn_as(free, || Ok(command())).unwrap())
    }

    fn start_by(start: impl FnOnce(&dyn Fn() -> Command) -> Child) -> Self {
        const CODE: &str = "\
            import sys, time, http.server as h\n\
            from concurrent.futures import ThreadPoolExecutor\n\
            helper = ThreadPoolExecutor(1)\n\
            def work():\n\
            \x20   end = time.thread_time() + 0.005\n\
            \x20   while time.thread_time() < end: pass\n\
            class Answer(h.BaseHTTPRequestHandler):\n\
            \x20   protocol_version = 'HTTP/1.1'\n\
            \x20   def log_message(self, *_): pass\n\
            \x20   def do_GET(self):\n\
            \x20       if self.path == '/helped': helper.submit(work).result()\n\
            \x20       self.send_response(200)\n\
            \x20       self.send_header('Content-Length', '0')\n\
            \x20       self.end_headers()\n\
            h.HTTPServer(('127.0.0.1', int(sys.argv[1])), Answer).serve_forever()\n";
        let port = free_port().unwrap();
        let process = start(&|| {
            let mut command = Command::new("python3");
            command.args(["-c", CODE, &port.to_string()]);
            command
        });
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
fn request_each(servers: &[SocketAddr], path: &str, count: usize) {
    let mut streams: Vec<TcpStream> = servers.iter().map(|server| connect(*server)).collect();
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    for _ in 0..count {
        for stream in &mut streams {
            stream.write_all(request.as_bytes()).unwrap();
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
        let before = fs::read_to_string(Self::FILE).unwrap();
        if before.trim().parse::<u32>().unwrap() < least {
            fs::write(Self::FILE, least.to_string()).unwrap();
        }
        Self(before)
    }

    /// This many ids.
    fn set(count: u32) -> Self {
        let before = fs::read_to_string(Self::FILE).unwrap();
        fs::write(Self::FILE, count.to_string()).unwrap();
        Self(before)
    }
}

impl Drop for PidMax {
    fn drop(&mut self) {
        let _ = fs::write(Self::FILE, &self.0);
    }
}

/// Two threads whose books have one place: that is said, and no request is missing. When one has ended, the place is the other's.
#[test]
fn threads_in_one_place() {
    const THREADS: u32 = vigie_ebpf::types::THREADS as u32;
    let mut ids = None;
    let vigie = vigie_after(|| ids = Some(PidMax::raise(4 * THREADS)), &[]);
    let one = Http::start();
    let other = Http::start_beside(&one, THREADS);
    request_each(&[one.address, other.address], "/", 200);
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
    request_each(&[other.address], "/", 10);
    let before = lost(&settled_scrape(&vigie, |scrape| counted(scrape, other.address) == 210));
    request_each(&[other.address], "/", 200);
    let scrape = settled_scrape(&vigie, |scrape| counted(scrape, other.address) == 410);
    assert_eq!((counted(&scrape, other.address), lost(&scrape)), (410, before));
    drop(vigie);
}

/// Two processes with threads whose sums have one place: one of them has it, and what helpers of the other do is not attributed. When
/// the one has ended, the place is the other's. No request is missing, and the phases add up to the durations.
#[test]
fn processes_in_one_place() {
    const FOLLOWED: u32 = vigie_ebpf::types::FOLLOWED as u32;
    let vigie = vigie_alone(&[]);
    let first = Http::start();
    let second = Http::start_beside(&first, FOLLOWED);
    request_each(&[first.address, second.address], "/helped", 20);
    // What is measured, and not attributed, of so many requests of a server.
    let seconds = |server: SocketAddr, requests: u64| {
        let scrape = settled_scrape(&vigie, |scrape| total(scrape, server.port()) == requests);
        assert_eq!(total(&scrape, server.port()), requests);
        assert_eq!(lost(&scrape), 0.0);
        let port = server.port().to_string();
        let durations = scrape.sum("http_request_duration_seconds_sum", &[("port", &port)]);
        let phase = |phase| scrape.sum("http_request_phase_seconds_total", &[("port", &port), ("phase", phase)]);
        let phases = scrape.sum("http_request_phase_seconds_total", &[("port", &port)]);
        assert!((durations - phases).abs() < 1e-6, "{durations} {phases}");
        let (unattributed, cpu) = (phase("unattributed"), phase("cpu"));
        println!("{durations} s: {cpu} on a CPU, {unattributed} not attributed");
        (unattributed, cpu)
    };
    // 20 times 5 ms of a helper, but for the first ones, until the process has its place.
    let is_known = |(unattributed, cpu): (f64, f64)| unattributed < 0.05 && cpu > 0.05;
    let is_not = |(unattributed, cpu): (f64, f64)| unattributed > 0.05 && cpu < 0.05;
    let (has, has_not) = if is_known(seconds(first.address, 20)) {
        (first, second)
    } else {
        (second, first)
    };
    assert!(is_known(seconds(has.address, 20)));
    let mut before = seconds(has_not.address, 20);
    assert!(is_not(before));
    drop(has);
    // The kernel frees a process a little later than it ends. Then the other takes the place, when it answers.
    let mut sent = 20;
    loop {
        request_each(&[has_not.address], "/helped", 1);
        sent += 1;
        let now = seconds(has_not.address, sent);
        let is_known = now.0 - before.0 < 0.0025 && now.1 - before.1 > 0.0025;
        before = now;
        if is_known {
            break;
        }
        assert!(sent < 200, "it never has the place");
    }
    request_each(&[has_not.address], "/helped", 20);
    let after = seconds(has_not.address, sent + 20);
    assert!(is_known((after.0 - before.0, after.1 - before.1)));
}
