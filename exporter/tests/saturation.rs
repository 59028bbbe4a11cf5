//! Utilisation, saturation and errors agree with the kernel's own books, and with what the test did.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that panics has failed, as it should, and what it prints helps to see why"
)]

mod common;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use common::{OK, connect, python, settled_scrape, vigie};
use testkit::{
    Scrape, Server, TempDir, free_port, namespace, python_app, sched::wait_until_quiet, socket::reset_on_close,
};

const PAUSE: Duration = Duration::from_millis(50);

/// What every server here has: an answer, and a few lines of HTTP.
const PRELUDE: &str = r#"
import os, resource, signal, socket, struct, sys, threading, time
port = int(sys.argv[1])
def answer(connection, text=b"ok"):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
def request(connection):
    got = b""
    while not got.endswith(b"\r\n\r\n"):
        piece = connection.recv(65536)
        if not piece:
            return None
        got += piece
    return got.split()[1]
"#;

fn start(script: &str) -> Server {
    python_app(&python(), &format!("{PRELUDE}{script}"), &[]).unwrap()
}

/// A config that names the service on a port.
fn config(dir: &TempDir, name: &str, port: u16) -> String {
    let text = format!("services: [{{name: {name}, port: {port}}}]");
    let file = dir.write("vigie.yml", text.as_bytes()).unwrap();
    file.to_str().unwrap().to_owned()
}

/// The one value of a service, which has to be there.
fn of(scrape: &Scrape, name: &str, service: &str) -> f64 {
    let value = scrape.value(name, &[("service", service)]).unwrap();
    value.unwrap_or_else(|| panic!("{name} has no {service}"))
}

fn get(stream: &mut TcpStream, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let head = common::read_head(stream).unwrap();
    let length = head.to_lowercase();
    let length = length.split_once("content-length: ").unwrap().1;
    let length = length.lines().next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    String::from_utf8(body).unwrap()
}

// === cgroups ===

/// A cgroup of the test's own, and one in it; both are removed in the end.
struct Cgroup {
    outer: PathBuf,
    inner: PathBuf,
    is_second: bool,
}

impl Cgroup {
    /// In the hierarchy that has this controller.
    fn new(controller: &str) -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let find = |wanted: &dyn Fn(&str, &str) -> bool| {
            mounts.lines().find_map(|line| {
                let (left, right) = line.split_once(" - ")?;
                let mut right = right.split(' ');
                let (kind, options) = (right.next()?, right.nth(1)?);
                wanted(kind, options).then(|| PathBuf::from(left.split(' ').nth(4).unwrap()))
            })
        };
        let first = find(&|kind, options| kind == "cgroup" && options.split(',').any(|option| option == controller));
        let is_second = first.is_none();
        let top = first.unwrap_or_else(|| find(&|kind, _| kind == "cgroup2").expect("this host has no cgroups"));
        let outer = top.join(format!("vigie-test-{controller}-{}", std::process::id()));
        let inner = outer.join("inner");
        let cgroup = Self {
            outer,
            inner,
            is_second,
        };
        if is_second {
            fs::write(top.join("cgroup.subtree_control"), format!("+{controller}")).unwrap();
        }
        fs::create_dir(&cgroup.outer).unwrap();
        if is_second {
            fs::write(cgroup.outer.join("cgroup.subtree_control"), format!("+{controller}")).unwrap();
        }
        fs::create_dir(&cgroup.inner).unwrap();
        cgroup
    }

    fn set(&self, first: &[(&str, &str)], second: &[(&str, &str)]) {
        for (name, text) in if self.is_second { second } else { first } {
            fs::write(self.outer.join(name), text).unwrap();
        }
    }

    fn put(&self, process: u32) {
        fs::write(self.inner.join("cgroup.procs"), process.to_string()).unwrap();
    }

    /// Periods, throttled periods, and throttled nanoseconds.
    fn throttled(&self) -> (u64, u64, u64) {
        let text = fs::read_to_string(self.outer.join("cpu.stat")).unwrap();
        let number = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.map(|number| number.parse::<u64>().unwrap())
        };
        let time = number("throttled_time").or_else(|| number("throttled_usec").map(|time| time * 1000));
        (
            number("nr_periods").unwrap(),
            number("nr_throttled").unwrap(),
            time.unwrap(),
        )
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let end = Instant::now() + Duration::from_secs(5);
        for directory in [&self.inner, &self.outer] {
            // What was in there has been killed, and goes when it goes.
            while fs::remove_dir(directory).is_err() && Instant::now() < end {
                thread::sleep(PAUSE);
            }
        }
    }
}

/// A quota that is set on a cgroup above the server's own, and used up.
#[test]
fn a_cpu_quota_is_as_its_cgroup_says() {
    let dir = TempDir::new().unwrap();
    let cgroup = Cgroup::new("cpu");
    let server = start(
        r#"
listener = socket.create_server(("127.0.0.1", port))
while True:
    connection, _ = listener.accept()
    if request(connection):
        end = time.process_time() + 0.2
        while time.process_time() < end:
            pass
        answer(connection)
    connection.close()
"#,
    );
    let vigie = vigie(&["--config.file", &config(&dir, "held", server.port())]);
    let free = vigie.scrape().unwrap();
    let labels = [("service", "held")];
    assert_eq!(free.value("service_cpu_limit_cores", &labels), Ok(None));
    assert_eq!(free.value("service_cpu_throttled_seconds_total", &labels), Ok(None));
    cgroup.set(
        &[("cpu.cfs_period_us", "50000"), ("cpu.cfs_quota_us", "10000")],
        &[("cpu.max", "10000 50000")],
    );
    cgroup.put(server.pid());
    assert_eq!(get(&mut connect(server.address()), "/"), "ok");
    let mut kernel = cgroup.throttled();
    loop {
        thread::sleep(Duration::from_millis(300));
        let now = cgroup.throttled();
        if now == kernel {
            break;
        }
        kernel = now;
    }
    let scrape = vigie.scrape().unwrap();
    println!("the kernel says {kernel:?}");
    assert!(kernel.1 >= 10 && kernel.2 >= 100_000_000, "{kernel:?}");
    let seen = (
        of(&scrape, "service_cpu_periods_total", "held") as u64,
        of(&scrape, "service_cpu_throttled_periods_total", "held") as u64,
        (of(&scrape, "service_cpu_throttled_seconds_total", "held") * 1e9).round() as u64,
    );
    assert_eq!(seen, kernel);
    assert_eq!(of(&scrape, "service_cpu_limit_cores", "held"), 0.2);
    drop(server);
    // Its last process is gone: what it has counted stays.
    let scrape = vigie.scrape().unwrap();
    assert_eq!(of(&scrape, "service_cpu_periods_total", "held") as u64, kernel.0);
    assert_eq!(scrape.value("service_cpu_limit_cores", &labels), Ok(None));
}

#[test]
fn a_memory_limit_is_as_it_was_set() {
    let dir = TempDir::new().unwrap();
    let cgroup = Cgroup::new("memory");
    let server = start("listener = socket.create_server((\"127.0.0.1\", port))\ntime.sleep(1000)");
    let limit = 256 << 20;
    let text = limit.to_string();
    cgroup.set(&[("memory.limit_in_bytes", &text)], &[("memory.max", &text)]);
    cgroup.put(server.pid());
    let vigie = vigie(&["--config.file", &config(&dir, "bounded", server.port())]);
    let scrape = vigie.scrape().unwrap();
    assert_eq!(of(&scrape, "service_memory_limit_bytes", "bounded"), f64::from(limit));
    drop(server);
}

// === processes ===

/// The ids of a process and of its children.
fn family(process: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap();
    let mut all = vec![process];
    all.extend(children.split_whitespace().map(|id| id.parse::<u32>().unwrap()));
    all
}

/// Threads, resident pages, open files, and bytes written, as `/proc` lists them.
fn books(process: u32) -> (u64, u64, u64, u64) {
    let dir = PathBuf::from(format!("/proc/{process}"));
    let count = |name: &str| fs::read_dir(dir.join(name)).unwrap().count() as u64;
    let status = fs::read_to_string(dir.join("statm")).unwrap();
    let io = fs::read_to_string(dir.join("io")).unwrap();
    let written = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap();
    (
        count("task"),
        status.split(' ').nth(1).unwrap().parse().unwrap(),
        count("fd"),
        written.parse().unwrap(),
    )
}

/// A master and two workers, which start after Vigie; one of them is close to its limit, and one of them ends.
#[test]
fn processes_are_as_proc_says() {
    let vigie = vigie(&[]);
    let server = start(
        r#"
resource.setrlimit(resource.RLIMIT_NOFILE, (800, 1024))
listener = socket.create_server(("127.0.0.1", port))
# Who waits in accept() itself has a descriptor in hand that no list shows; so it waits in poll().
listener.settimeout(1000)
def worker(number):
    files = [open("/dev/null") for _ in range(20 + 100 * number)]
    threads = [threading.Thread(target=time.sleep, args=(1000,), daemon=True) for _ in range(5)]
    if number == 1:
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, 1024))
    with open("written%d" % number, "wb") as file:
        file.write(b"x" * 4000000)
        file.flush()
        os.fsync(file.fileno())
    for thread in threads:
        thread.start()
    while True:
        connection, _ = listener.accept()
        connection.settimeout(None)
        if request(connection):
            answer(connection)
        connection.close()
for number in range(2):
    if os.fork() == 0:
        worker(number)
time.sleep(1000)
"#,
    );
    let name = server.port().to_string();
    // It has a name of its own making: the port leads to it, once it has answered there.
    let service = |scrape: &Scrape| {
        let mut samples = scrape.samples("service_listening");
        let sample = samples.find(|sample| sample.labels["port"] == name);
        sample.map(|sample| sample.labels["service"].clone())
    };
    let end = Instant::now() + Duration::from_secs(10);
    while family(server.pid()).iter().map(|id| books(*id).0).sum::<u64>() < 13 && Instant::now() < end {
        thread::sleep(PAUSE);
    }
    get(&mut connect(server.address()), "/");
    let scrape = settled_scrape(&vigie, |scrape| service(scrape).is_some());
    let service = service(&scrape).unwrap();
    // So that neither its memory nor its files change between the scrape and the look into /proc.
    for id in family(server.pid()) {
        wait_until_quiet(id).unwrap();
    }
    let scrape = vigie.scrape().unwrap();
    let ids = family(server.pid());
    let all: Vec<_> = ids.iter().map(|id| books(*id)).collect();
    let sum = |part: fn(&(u64, u64, u64, u64)) -> u64| all.iter().map(part).sum::<u64>();
    println!("{service}: {all:?}");
    let value = |scrape: &Scrape, name: &str| of(scrape, name, &service) as u64;
    assert_eq!(value(&scrape, "service_processes"), 3);
    assert_eq!(value(&scrape, "service_threads"), sum(|books| books.0));
    assert_eq!(sum(|books| books.0), 1 + 6 + 6);
    assert_eq!(value(&scrape, "service_open_fds"), sum(|books| books.2));
    // SAFETY: the call has no preconditions.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.cast_unsigned();
    let pages = value(&scrape, "service_resident_memory_bytes") / page;
    assert!(pages.abs_diff(sum(|books| books.1)) <= 3, "{pages} pages");
    assert_eq!(value(&scrape, "service_max_fds"), 300);
    let fds = books(ids[2]).2;
    assert_eq!(of(&scrape, "service_open_fds_ratio", &service), fds as f64 / 300.0);
    let written = value(&scrape, "service_disk_written_bytes_total");
    assert_eq!(written, sum(|books| books.3));
    assert!(written >= 8_000_000, "{written}");
    // SAFETY: kill reads no memory. The worker is the child of a server that has not ended, and does not reap it.
    assert_eq!(unsafe { libc::kill(ids[2].cast_signed(), libc::SIGKILL) }, 0);
    let scrape = settled_scrape(&vigie, |scrape| value(scrape, "service_processes") == 2);
    assert_eq!(value(&scrape, "service_processes"), 2);
    assert_eq!(value(&scrape, "service_threads"), 7);
    assert_eq!(value(&scrape, "service_max_fds"), 800);
    assert_eq!(value(&scrape, "service_disk_written_bytes_total"), written);
}

// === listening ===

/// Answers `listen`, `stop` and `again` on its standard input's stand-in: signals.
const LISTENER: &str = r#"
listener = None
def listen(*_):
    global listener
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(5)
def stop(*_):
    global listener
    listener.close()
signal.signal(signal.SIGUSR1, stop)
signal.signal(signal.SIGUSR2, listen)
listen()
listener.accept()[0].close()
while True:
    time.sleep(1000)
"#;

/// What the metrics say of a port: listening, backlog, limit, open connections, overflows.
fn port_state(scrape: &Scrape, port: u16) -> [Option<f64>; 5] {
    let port = port.to_string();
    [
        "service_listening",
        "service_listen_backlog",
        "service_listen_backlog_limit",
        "service_connections_open",
        "service_listen_overflows_total",
    ]
    .map(|name| scrape.value(name, &[("port", &port)]).unwrap())
}

/// Starts to connect, and does not wait for it.
fn knock(address: SocketAddr) -> std::os::fd::OwnedFd {
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: the call has no preconditions.
    let fd = unsafe { libc::socket(libc::AF_INET, kind, 0) };
    assert!(fd >= 0);
    // SAFETY: the descriptor was just made, and is nobody else's.
    let socket: std::os::fd::OwnedFd = unsafe { std::os::fd::FromRawFd::from_raw_fd(fd) };
    let place = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from(Ipv4Addr::LOCALHOST).to_be(),
        },
        sin_zero: [0; 8],
    };
    // SAFETY: the address is of the size given.
    unsafe { libc::connect(fd, (&raw const place).cast(), size_of_val(&place) as u32) };
    socket
}

#[test]
fn a_backlog_fills_and_overflows() {
    let server = start(LISTENER);
    let port = server.port();
    // It never answers a request: a rule says that it is a server.
    let dir = TempDir::new().unwrap();
    let vigie = vigie(&["--config.file", &config(&dir, "fills", port)]);
    let settled = |expected: [f64; 5]| {
        let expected = expected.map(Some);
        let scrape = settled_scrape(&vigie, |scrape| port_state(scrape, port) == expected);
        assert_eq!(port_state(&scrape, port), expected);
    };
    settled([1.0, 0.0, 5.0, 0.0, 0.0]);
    let mut clients: Vec<TcpStream> = (0..4).map(|_| connect(server.address())).collect();
    settled([1.0, 4.0, 5.0, 4.0, 0.0]);
    // The kernel lets one more wait than it was told.
    clients.extend((0..2).map(|_| connect(server.address())));
    settled([1.0, 6.0, 5.0, 6.0, 0.0]);
    let _late: Vec<_> = (0..3).map(|_| knock(server.address())).collect();
    let scrape = settled_scrape(&vigie, |scrape| port_state(scrape, port)[4] >= Some(3.0));
    let overflows = port_state(&scrape, port)[4].unwrap();
    println!("{overflows} dropped");
    assert!(overflows >= 3.0, "{overflows}");
    assert_eq!(port_state(&scrape, port)[..3], [1.0, 6.0, 5.0].map(Some));

    // It stops: the series stay. It listens again: another socket, the same counter.
    server.signal(libc::SIGUSR1).unwrap();
    let scrape = settled_scrape(&vigie, |scrape| port_state(scrape, port)[0] == Some(0.0));
    let [listening, backlog, limit, open, stays] = port_state(&scrape, port);
    assert_eq!([listening, backlog, limit, open], [0.0; 4].map(Some));
    assert!(stays.unwrap() >= overflows, "{stays:?} {overflows}");
    drop(clients);
    server.signal(libc::SIGUSR2).unwrap();
    let scrape = settled_scrape(&vigie, |scrape| port_state(scrape, port)[0] == Some(1.0));
    assert_eq!(port_state(&scrape, port)[..3], [1.0, 0.0, 5.0].map(Some));
    assert!(port_state(&scrape, port)[4] >= stays);
    let before = port_state(&scrape, port)[4];
    drop(server);
    let scrape = settled_scrape(&vigie, |scrape| port_state(scrape, port)[0] == Some(0.0));
    assert_eq!(port_state(&scrape, port)[0], Some(0.0));
    assert!(port_state(&scrape, port)[4] >= before);
}

/// Connections that were accepted are open until they are closed, and two sockets on one port are one.
#[test]
fn open_connections_are_exact() {
    let server = start(
        r#"
def listen():
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(50)
    return listener
def serve(listener):
    kept = []
    while True:
        connection, _ = listener.accept()
        kept.append(connection)
first, second = listen(), listen()
threading.Thread(target=serve, args=(first,), daemon=True).start()
serve(second)
"#,
    );
    let port = server.port();
    let dir = TempDir::new().unwrap();
    let vigie = vigie(&["--config.file", &config(&dir, "keeps", port)]);
    let before = settled_scrape(&vigie, |scrape| port_state(scrape, port)[0].is_some());
    // A client that waited for the server to be there has gone, and the server keeps its side.
    let open = port_state(&before, port)[3].unwrap();
    let clients: Vec<TcpStream> = (0..25).map(|_| connect(server.address())).collect();
    let expected = [1.0, 0.0, 100.0, open + 25.0, 0.0].map(Some);
    let scrape = settled_scrape(&vigie, |scrape| port_state(scrape, port) == expected);
    assert_eq!(port_state(&scrape, port), expected);
    for client in &clients[..10] {
        reset_on_close(client).unwrap();
    }
    drop(clients.into_iter().take(10).collect::<Vec<_>>());
    let expected = [1.0, 0.0, 100.0, open, 0.0].map(Some);
    let scrape = settled_scrape(&vigie, |scrape| port_state(scrape, port)[3] <= Some(open + 15.0));
    // The last fifteen were closed in order: the server's side of each is still open.
    assert_eq!(port_state(&scrape, port)[3], Some(open + 15.0));
    assert_eq!(port_state(&scrape, port)[..3], expected[..3]);
}

/// In a network namespace of its own, where the port may be another service's outside.
#[test]
fn a_server_in_its_own_network_is_seen() {
    let dir = TempDir::new().unwrap();
    let port = free_port().unwrap();
    let script = dir
        .write(&format!("app_{port}.py"), format!("{PRELUDE}{LISTENER}").as_bytes())
        .unwrap();
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", "ip link set lo up; exec \"$0\" \"$@\""]);
    command.arg(python()).arg(script).arg(port.to_string());
    let server = Server::start(command, TempDir::new().unwrap(), port).unwrap();
    let outside = namespace::own_network().unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let knock = || {
        let inside = namespace::network(server.pid()).filter(|network| *network != outside);
        inside.and_then(|_| namespace::in_network_of(server.pid(), || Ok(TcpStream::connect(address)?)).ok())
    };
    server.wait_for(Duration::from_secs(10), knock).unwrap();
    let vigie = vigie(&["--config.file", &config(&dir, "inside", port)]);
    let connect = || namespace::in_network_of(server.pid(), || Ok(TcpStream::connect(address)?)).unwrap();
    let _clients: Vec<TcpStream> = (0..3).map(|_| connect()).collect();
    let expected = [1.0, 3.0, 5.0, 3.0, 0.0].map(Some);
    let scrape = settled_scrape(&vigie, |scrape| port_state(scrape, port) == expected);
    assert_eq!(port_state(&scrape, port), expected);
    drop(server);
    let scrape = settled_scrape(&vigie, |scrape| port_state(scrape, port)[0] == Some(0.0));
    assert_eq!(port_state(&scrape, port)[0], Some(0.0));
}

/// A unix socket's backlog: the service is known by a request that it answered.
#[test]
fn a_unix_backlog_is_seen() {
    use std::os::unix::net::UnixStream;
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("socket");
    let vigie = vigie(&[]);
    let server = python_app(
        &python(),
        &format!(
            "{PRELUDE}{}",
            r#"
tcp = socket.create_server(("127.0.0.1", port))
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[2])
listener.listen(9)
connection, _ = listener.accept()
request(connection)
answer(connection)
time.sleep(1000)
"#
        ),
        &[path.to_str().unwrap()],
    )
    .unwrap();
    let client = server
        .wait_for(Duration::from_secs(10), || UnixStream::connect(&path).ok())
        .unwrap();
    (&client).write_all(b"GET /unix HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = [0; OK.len()];
    (&client).read_exact(&mut answer).unwrap();
    let waiting: Vec<UnixStream> = (0..4).map(|_| UnixStream::connect(&path).unwrap()).collect();
    let labels = settled_scrape(&vigie, |scrape| {
        scrape
            .samples("http_requests_total")
            .any(|sample| sample.labels["handler"] == "/unix")
    });
    let service = labels
        .samples("http_requests_total")
        .find(|sample| sample.labels["handler"] == "/unix")
        .expect("unix sockets are seen from Linux 6.3 on")
        .labels["service"]
        .clone();
    let scrape = vigie.scrape().unwrap();
    let value = |name: &str| scrape.value(name, &[("service", &service), ("port", "unix")]).unwrap();
    assert_eq!(value("service_listening"), Some(1.0));
    assert_eq!(value("service_listen_backlog"), Some(waiting.len() as f64));
    assert_eq!(value("service_listen_backlog_limit"), Some(9.0));
    assert_eq!(value("service_connections_open"), None);
}

// === TCP ===

/// Answers; under `/reset` it resets the connection then, under `/info` it says how often it had to send again.
const RESETTING: &str = r#"
listener = socket.create_server(("127.0.0.1", port))
def serve(connection):
    try:
        while True:
            path = request(connection)
            if path is None:
                break
            if path == b"/info":
                info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
                answer(connection, b"%d" % struct.unpack_from("I", info, 100))
                continue
            answer(connection)
            if path == b"/reset":
                connection.recv(1)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                break
    except OSError:
        pass
    connection.close()
while True:
    connection, _ = listener.accept()
    threading.Thread(target=serve, args=(connection,), daemon=True).start()
"#;

fn resets(scrape: &Scrape, direction: &str) -> f64 {
    let labels = [("service", "tcp"), ("direction", direction)];
    scrape.value("service_tcp_resets_total", &labels).unwrap().unwrap()
}

#[test]
fn resets_are_exact() {
    let dir = TempDir::new().unwrap();
    let server = start(RESETTING);
    let vigie = vigie(&["--config.file", &config(&dir, "tcp", server.port())]);
    let before = vigie.scrape().unwrap();
    assert_eq!((resets(&before, "sent"), resets(&before, "received")), (0.0, 0.0));
    for _ in 0..7 {
        let mut stream = connect(server.address());
        get(&mut stream, "/");
        reset_on_close(&stream).unwrap();
    }
    for _ in 0..4 {
        let mut stream = connect(server.address());
        get(&mut stream, "/reset");
        stream.write_all(b"x").unwrap();
        assert!(stream.read(&mut [0; 1]).is_err());
    }
    // Closed in order: no reset.
    for _ in 0..5 {
        get(&mut connect(server.address()), "/");
    }
    let counts = |scrape: &Scrape| (resets(scrape, "sent"), resets(scrape, "received"));
    let scrape = settled_scrape(&vigie, |scrape| counts(scrape) == (4.0, 7.0));
    assert_eq!(counts(&scrape), (4.0, 7.0));
    assert_eq!(of(&scrape, "service_tcp_retransmits_total", "tcp"), 0.0);
}

/// Lets a socket take nothing that comes from the network, or everything again.
fn filter(stream: &TcpStream, drops: bool) {
    let mut program = [libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: 0,
    }];
    let filter = libc::sock_fprog {
        len: 1,
        filter: program.as_mut_ptr(),
    };
    let option = if drops {
        libc::SO_ATTACH_FILTER
    } else {
        libc::SO_DETACH_FILTER
    };
    // SAFETY: the program lives as long as the call, which copies it.
    let result = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const filter).cast(),
            size_of_val(&filter) as u32,
        )
    };
    assert_eq!(result, 0);
}

/// The client drops what it gets for a while: no network has to be broken for that.
#[test]
fn retransmits_are_the_sockets_own() {
    let dir = TempDir::new().unwrap();
    let server = start(RESETTING);
    let vigie = vigie(&["--config.file", &config(&dir, "tcp", server.port())]);
    // TCP sends again after a few milliseconds: until Vigie has named the service, that would be nobody's.
    get(&mut connect(server.address()), "/");
    let port = server.port().to_string();
    let is_named = |scrape: &Scrape| scrape.sum("http_requests_total", &[("service", "tcp"), ("port", &port)]) == 1.0;
    assert!(is_named(&settled_scrape(&vigie, is_named)));
    let mut expected = 0;
    for wait in [300, 1500] {
        let mut stream = connect(server.address());
        get(&mut stream, "/");
        filter(&stream, true);
        stream.write_all(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n").unwrap();
        thread::sleep(Duration::from_millis(wait));
        filter(&stream, false);
        let mut answer = [0; OK.len()];
        stream.read_exact(&mut answer).unwrap();
        let again: u64 = get(&mut stream, "/info").parse().unwrap();
        println!("{wait} ms: the socket has sent {again} segments again");
        assert!(again > 0);
        expected += again;
    }
    let scrape = vigie.scrape().unwrap();
    assert_eq!(of(&scrape, "service_tcp_retransmits_total", "tcp") as u64, expected);
}

// === the host ===

/// Each family agrees with the file that it comes from, at two moments.
#[test]
fn the_host_is_as_proc_says() {
    let vigie = vigie(&[]);
    let stat = || {
        let text = fs::read_to_string("/proc/stat").unwrap();
        let mut ticks = 0;
        for line in text
            .lines()
            .filter(|line| line.starts_with("cpu") && !line.starts_with("cpu "))
        {
            let numbers = line.split_whitespace().skip(1).take(8);
            ticks += numbers.map(|number| number.parse::<u64>().unwrap()).sum::<u64>();
        }
        ticks as f64 / 100.0
    };
    let before = stat();
    let scrape = vigie.scrape().unwrap();
    let after = stat();
    let seen = scrape.sum("vigie_host_cpu_seconds_total", &[]);
    // Idle time is not counted up at the moment it is read, on every kernel.
    assert!(seen >= before - 0.1 && seen <= after + 0.1, "{before} {seen} {after}");
    let cpus = thread::available_parallelism().unwrap().get();
    assert_eq!(scrape.samples("vigie_host_cpu_seconds_total").count(), 8 * cpus);
    assert_eq!(
        scrape.samples("vigie_services_runqueue_wait_seconds_total").count(),
        cpus
    );
    let by_cpu = scrape.sum("vigie_services_runqueue_wait_seconds_total", &[]);
    let by_service = scrape.sum("service_runqueue_wait_seconds_sum", &[]);
    assert!(
        (by_cpu - by_service).abs() <= 0.05 * by_service + 0.05,
        "{by_cpu} {by_service}"
    );
    let memory = fs::read_to_string("/proc/meminfo").unwrap();
    let total = memory.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024;
    assert_eq!(
        scrape.value("vigie_host_memory_total_bytes", &[]).unwrap(),
        Some(total as f64)
    );
    let received = |direction| {
        scrape.sum(
            "vigie_host_network_bytes_total",
            &[("device", "lo"), ("direction", direction)],
        )
    };
    assert!(received("receive") > 0.0);
    assert_eq!(received("receive"), received("transmit"));
    for name in ["loop0", "ram0", "zram0"] {
        assert_eq!(
            scrape.value("vigie_host_disk_io_seconds_total", &[("device", name)]),
            Ok(None)
        );
    }
    for disk in fs::read_dir("/sys/block").unwrap() {
        let name = disk.unwrap().file_name().into_string().unwrap();
        if !["loop", "ram", "zram"].iter().any(|kind| name.starts_with(kind)) {
            let read = scrape.value("vigie_host_disk_read_bytes_total", &[("device", &name)]);
            assert!(read.unwrap().is_some(), "{name}");
        }
    }
    let pressure = scrape.samples("vigie_host_pressure_seconds_total").count();
    assert_eq!(pressure > 0, fs::read("/proc/pressure/cpu").is_ok());
    let waits = scrape.samples("vigie_host_runqueue_wait_seconds_total").count();
    assert_eq!(waits > 0, Path::new("/proc/schedstat").exists());
}

// === bytes ===

/// What a service exchanges with its clients is what its requests and responses are, and after an upgrade more than that.
#[test]
fn bytes_on_the_network_are_exact() {
    let server = start(
        r#"
listener = socket.create_server(("127.0.0.1", port))
def serve(connection):
    while (path := request(connection)) is not None:
        if path != b"/upgrade":
            answer(connection, b"x" * 5000)
            continue
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n")
        while piece := connection.recv(65536):
            connection.sendall(piece)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],)).start()
"#,
    );
    let dir = TempDir::new().unwrap();
    let vigie = vigie(&["--config.file", &config(&dir, "exchange", server.port())]);
    let mut stream = connect(server.address());
    for _ in 0..50 {
        get(&mut stream, "/");
    }
    let sums = |scrape: &Scrape| {
        let service = [("service", "exchange")];
        [
            ("service_network_receive_bytes_total", "http_request_size_bytes_sum"),
            ("service_network_transmit_bytes_total", "http_response_size_bytes_sum"),
        ]
        .map(|(network, http)| (of(scrape, network, "exchange"), scrape.sum(http, &service)))
    };
    let count = |scrape: &Scrape| scrape.sum("http_requests_total", &[("service", "exchange")]);
    let scrape = settled_scrape(&vigie, |scrape| count(scrape) == 50.0);
    for (network, http) in sums(&scrape) {
        assert_eq!(network, http);
    }
    let [(received, _), (sent, _)] = sums(&scrape);
    assert_eq!(received, 50.0 * "GET / HTTP/1.1\r\nHost: here\r\n\r\n".len() as f64);
    assert!(sent > 50.0 * 5000.0);
    stream
        .write_all(b"GET /upgrade HTTP/1.1\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n")
        .unwrap();
    assert!(common::read_head(&mut stream).unwrap().contains("101"));
    let mut echo = vec![7; 10_000];
    stream.write_all(&echo).unwrap();
    stream.read_exact(&mut echo).unwrap();
    let more = |scrape: &Scrape| sums(scrape).map(|(network, http)| network - http);
    let scrape = settled_scrape(&vigie, |scrape| more(scrape) == [10_000.0; 2]);
    assert_eq!(more(&scrape), [10_000.0; 2]);
}
