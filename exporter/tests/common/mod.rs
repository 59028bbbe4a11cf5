//! What the tests share.

#![allow(dead_code, reason = "each test file uses a part of this")]

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    ops::{Deref, DerefMut},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use rustix::net::{AddressFamily, SocketType, sockopt};
use testkit::host::Host;
use testkit::{Counts, Scrape, TempDir, Vigie};

/// The program under test.
pub fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_vigie"))
}

/// A copy of the program, in a directory that anybody may look into from now on, and for anybody to run.
pub fn program_for_anybody(directory: &TempDir) -> PathBuf {
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = directory.path().join("vigie");
    if !copy.exists() {
        // By another process: a child that another test starts meanwhile would keep the file open for writing.
        let mut install = Command::new("install");
        install.args(["-m", "755"]).arg(binary()).arg(&copy);
        assert!(install.status().unwrap().success());
    }
    copy
}

/// Vigie, watching, and what keeps tests apart that look at numbers of the whole host.
pub struct Watch {
    vigie: Vigie,
    _host: Host,
}

impl Deref for Watch {
    type Target = Vigie;

    fn deref(&self) -> &Vigie {
        &self.vigie
    }
}

impl DerefMut for Watch {
    fn deref_mut(&mut self) -> &mut Vigie {
        &mut self.vigie
    }
}

/// Vigie, beside other tests.
pub fn vigie(arguments: &[&str]) -> Watch {
    let host = Host::beside_others().unwrap();
    Watch {
        vigie: testkit::vigie(binary(), arguments).unwrap(),
        _host: host,
    }
}

/// Vigie, with no other test on this host: for numbers that have no port, as what was lost.
pub fn vigie_alone(arguments: &[&str]) -> Watch {
    vigie_after(|| (), arguments)
}

/// The same, after something was changed of this host, which no other test sees.
pub fn vigie_after(change: impl FnOnce(), arguments: &[&str]) -> Watch {
    let host = Host::alone().unwrap();
    change();
    Watch {
        vigie: testkit::vigie(binary(), arguments).unwrap(),
        _host: host,
    }
}

/// A Python that has what the demo store needs: `cargo xtask setup` makes it, `cargo xtask test` names it.
pub fn python() -> PathBuf {
    let python = std::env::var_os("VIGIE_DEMO_PYTHON").expect("run the tests with 'cargo xtask test'");
    PathBuf::from(python)
}

/// The demo store's directory.
pub fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo")
}

/// Asks a Vigie for traces: `target` is the path with its query.
pub fn ask_for_traces(vigie: &Vigie, target: &str) -> UnixStream {
    let mut stream = UnixStream::connect(vigie.trace_socket()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// The counts of a port once they are as expected, or after two seconds, whatever they are then: a server's last system
/// call may return after its client has read the response.
pub fn settled(vigie: &Vigie, port: u16, expected: &Counts) -> Counts {
    settled_scrape(vigie, |scrape| scrape.requests(port) == *expected).requests(port)
}

/// A scrape that fits, or the last one after two seconds.
pub fn settled_scrape(vigie: &Vigie, fits: impl Fn(&Scrape) -> bool) -> Scrape {
    vigie.settled(fits).unwrap()
}

/// Counts written down: handler, method, status, count.
pub fn counts(list: &[(&str, &str, u16, u64)]) -> Counts {
    list.iter()
        .map(|(handler, method, status, count)| (((*handler).to_owned(), (*method).to_owned(), *status), *count))
        .collect()
}

/// Everything that Vigie says it has lost.
pub fn lost(scrape: &Scrape) -> f64 {
    scrape.sum("vigie_lost_total", &[])
}

/// A server in this process whose every byte the test decides: `handle` gets each accepted connection, in a thread of its
/// own.
pub fn server(handle: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let handle = Arc::new(handle);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            stream.set_nodelay(true).unwrap();
            let handle = Arc::clone(&handle);
            thread::spawn(move || handle(stream));
        }
    });
    address
}

/// A listener on IPv6, on a port that no server on IPv4 has: what is counted is told apart by the port.
pub fn listener_on_six() -> TcpListener {
    loop {
        let listener = TcpListener::bind("[::1]:0").unwrap();
        if TcpListener::bind(("127.0.0.1", listener.local_addr().unwrap().port())).is_ok() {
            return listener;
        }
    }
}

/// So many services, `python/NAME_0.py` and on: each listens until Vigie has seen it, and ends.
pub fn listen_and_end(vigie: &Vigie, name: &str, count: usize) {
    let dir = TempDir::new().unwrap();
    let code = b"import socket, sys; s = socket.create_server(('127.0.0.1', 0)); sys.stdin.read()\n";
    let names: Vec<String> = (0..count).map(|i| format!("{name}_{i}.py")).collect();
    for names in names.chunks(20) {
        let start = |name| {
            let script = dir.write(name, code).unwrap();
            let mut command = Command::new("python3");
            command.args(["-S", "-E"]).arg(script).stdin(Stdio::piped());
            command.spawn().unwrap()
        };
        let children: Vec<_> = names.iter().map(|name| start(name)).collect();
        let is_seen = |scrape: &Scrape, name| {
            let service = format!("python/{name}");
            scrape.sum("service_processes", &[("service", &service)]) == 1.0
        };
        let scrape = settled_scrape(vigie, |scrape| names.iter().all(|name| is_seen(scrape, name)));
        for mut child in children {
            drop(child.stdin.take());
            assert!(child.wait().unwrap().success());
        }
        for name in names {
            assert!(is_seen(&scrape, name), "{name}");
        }
    }
}

/// A name of letters that no rule takes for an identifier: another one for each number below 100,000.
pub fn word(number: usize) -> String {
    let letter = |digit: usize| char::from(b'g' + u8::try_from(digit % 10).unwrap());
    [10_000, 1000, 100, 10, 1]
        .map(|unit| letter(number / unit))
        .iter()
        .collect()
}

/// Sends these over one connection, and waits for each answer: method and target. Says how many.
pub fn request_in_turn<'a>(address: SocketAddr, requests: impl IntoIterator<Item = (&'a str, String)>) -> u64 {
    request_with("", address, requests)
}

/// The same with these lines of fields.
pub fn request_with<'a>(
    fields: &str,
    address: SocketAddr,
    requests: impl IntoIterator<Item = (&'a str, String)>,
) -> u64 {
    let mut stream = connect(address);
    let mut count = 0;
    for (method, target) in requests {
        stream
            .write_all(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes())
            .unwrap();
        read_head(&mut stream).unwrap();
        count += 1;
    }
    count
}

/// How many sockets a process has open.
pub fn sockets_of(process: u32) -> usize {
    let files = fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    let targets = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    targets
        .filter(|target| target.to_string_lossy().starts_with("socket:"))
        .count()
}

/// A connection to it.
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// A connection whose side here takes next to nothing until it is read.
pub fn slow_to_read(address: SocketAddr) -> TcpStream {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_recv_buffer_size(&socket, 1).unwrap();
    rustix::net::connect(&socket, &address).unwrap();
    TcpStream::from(socket)
}

/// Reads up to the empty line that ends a head. `None`: the peer has closed before it sent anything.
pub fn read_head(stream: &mut impl Read) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

/// Reads a request as a server would: with a large buffer.
pub fn read_request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 65536];
    match stream.read(&mut buffer) {
        Ok(0) | Err(_) => None,
        Ok(count) => Some(buffer[..count].to_vec()),
    }
}

/// A small answer.
pub const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Answers every request of a connection with [`OK`].
pub fn answer_all(mut stream: TcpStream) {
    let mut got = Vec::new();
    while let Some(piece) = read_request(&mut stream) {
        got.extend(piece);
        if got.ends_with(b"\r\n\r\n") {
            got.clear();
            if stream.write_all(OK).is_err() {
                return;
            }
        }
    }
}

/// The Prometheus servers to ask: the oldest that is supported, and the newest.
pub fn prometheus_servers() -> Vec<PathBuf> {
    let list = std::env::var_os("VIGIE_PROMETHEUS").expect("VIGIE_PROMETHEUS: paths of Prometheus servers");
    std::env::split_paths(&list).collect()
}

/// Has it scrape Vigie every second.
pub fn prometheus_config(address: impl ToString) -> String {
    format!(
        "global: {{scrape_interval: 1s}}\n\
         scrape_configs: [{{job_name: vigie, static_configs: [{{targets: [\"{}\"]}}]}}]\n",
        address.to_string()
    )
}

/// Asks a Prometheus until there is an answer that fits.
pub fn until<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    for _ in 0..200 {
        if let Some(answer) = ask() {
            return answer;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("Prometheus has not had it after 20 s");
}
