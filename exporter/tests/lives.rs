//! Services come, go, are killed, and come back.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that panics has failed, as it should"
)]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use common::{Watch, listen_and_end, settled_scrape, vigie, vigie_alone};
use testkit::{Request, Scrape, Server, TempDir, free_port};

/// A real HTTP server, of Python's own, named after its file.
const SERVER: &str = r#"
import http.server, os, resource, signal, socket, subprocess, sys

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = b"ok"
        if self.path == "/work":
            code = "import time\nwhile time.process_time() < 0.5: pass"
            subprocess.run([sys.executable, "-S", "-c", code], check=True)
        elif self.path == "/used":
            books = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
            body = str(sum(one.ru_utime + one.ru_stime for one in books)).encode()
        elif self.path == "/leave":
            fd = server.socket.fileno()
            os.set_inheritable(fd, True)
            subprocess.Popen(["sleep", "60"], pass_fds=[fd])
        elif self.path == "/close":
            other.close()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments):
        pass

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
port = int(sys.argv[1])
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
other = socket.create_server(("127.0.0.2", port))
server.serve_forever()
"#;

/// Starts the server as `python/NAME.py`.
fn start(name: &str, port: u16, prepare: impl FnOnce(&mut Command)) -> Server {
    let dir = TempDir::new().unwrap();
    let script = dir.write(&format!("{name}.py"), SERVER.as_bytes()).unwrap();
    let mut command = Command::new("python3");
    command.arg(script).arg(port.to_string());
    prepare(&mut command);
    let server = Server::start(command, dir, port).unwrap();
    server.wait_ready().unwrap();
    server
}

fn get(server: &Server, path: &str) -> String {
    let response = server.connect().unwrap().send(&Request::get(path)).unwrap();
    assert_eq!(response.status, 200);
    String::from_utf8(response.body).unwrap()
}

fn listening(scrape: &Scrape, service: &str) -> Vec<(String, f64)> {
    let samples = scrape.samples("service_listening");
    let own = samples.filter(|sample| sample.labels.get("service").map(String::as_str) == Some(service));
    own.map(|sample| (sample.labels.get("port").cloned().unwrap_or_default(), sample.value))
        .collect()
}

fn requests(scrape: &Scrape, service: &str) -> f64 {
    scrape.sum("http_requests_total", &[("service", service)])
}

/// A scrape that fits, within the time that a retention of two seconds and its tick take.
fn later(vigie: &Watch, fits: impl Fn(&Scrape) -> bool) -> Scrape {
    for _ in 0..100 {
        let scrape = vigie.scrape().unwrap();
        if fits(&scrape) {
            return scrape;
        }
        thread::sleep(Duration::from_millis(100));
    }
    vigie.scrape().unwrap()
}

const SHORT: [&str; 2] = ["--retention", "2s"];

/// Whoever has started a server by hand, and ends it, knows: its counts stay for the retention, and it is not down.
#[test]
fn a_server_that_is_stopped_just_goes() {
    let vigie = vigie(&SHORT);
    let port = free_port().unwrap();
    let mut server = start("stopped", port, |_| ());
    for _ in 0..3 {
        get(&server, "/");
    }
    let service = "python/stopped.py";
    let scrape = settled_scrape(&vigie, |scrape| requests(scrape, service) == 3.0);
    assert_eq!(requests(&scrape, service), 3.0);
    assert_eq!(listening(&scrape, service), [(port.to_string(), 1.0)]);
    server.stop().unwrap();
    let scrape = later(&vigie, |scrape| listening(scrape, service).is_empty());
    assert_eq!(listening(&scrape, service), []);
    assert_eq!(requests(&scrape, service), 3.0);
    let scrape = later(&vigie, |scrape| requests(scrape, service) == 0.0);
    assert!(
        !scrape
            .samples("service_processes")
            .any(|sample| sample.labels.get("service").map(String::as_str) == Some(service))
    );
    assert_eq!(requests(&scrape, service), 0.0);
}

/// A server that is killed is down, as long as it is kept; and it comes back under its name.
#[test]
fn a_server_that_is_killed_is_down() {
    let vigie = vigie(&["--retention", "8s"]);
    let port = free_port().unwrap();
    let service = "python/killed.py";
    let server = start("killed", port, |_| ());
    get(&server, "/");
    server.signal(9).unwrap();
    drop(server);
    let down = [(port.to_string(), 0.0)];
    let scrape = later(&vigie, |scrape| listening(scrape, service) == down);
    assert_eq!(listening(&scrape, service), down);
    assert_eq!(scrape.sum("service_processes", &[("service", service)]), 0.0);
    let again = start("killed", port, |_| ());
    get(&again, "/");
    let up = [(port.to_string(), 1.0)];
    let scrape = later(&vigie, |scrape| {
        requests(scrape, service) == 2.0 && listening(scrape, service) == up
    });
    assert_eq!(
        (requests(&scrape, service), listening(&scrape, service)),
        (2.0, up.to_vec())
    );
    again.signal(9).unwrap();
    drop(again);
    let scrape = later(&vigie, |scrape| listening(scrape, service) == down);
    assert_eq!(listening(&scrape, service), down);
    let scrape = later(&vigie, |scrape| listening(scrape, service).is_empty());
    assert_eq!(
        (requests(&scrape, service), listening(&scrape, service)),
        (0.0, Vec::new())
    );
}

/// A listener that never answered a request is nobody's business.
#[test]
fn what_only_listened_leaves_nothing() {
    let vigie = vigie(&[]);
    let name = "only_listens.py";
    let dir = TempDir::new().unwrap();
    let script = "import socket, time\nlistener = socket.create_server(('127.0.0.1', 0))\nprint(listener.getsockname()[1], flush=True)\ntime.sleep(60)\n";
    let script = dir.write(name, script.as_bytes()).unwrap();
    let mut child = Command::new("python3")
        .arg(script)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let service = format!("python/{name}");
    let is_known = |scrape: &Scrape| {
        let mut samples = scrape.samples("service_processes");
        samples.any(|sample| sample.labels.get("service") == Some(&service) && sample.value == 1.0)
    };
    assert!(is_known(&later(&vigie, is_known)));
    assert_eq!(listening(&vigie.scrape().unwrap(), &service), []);
    child.kill().unwrap();
    child.wait().unwrap();
    let is_gone = |scrape: &Scrape| {
        !scrape
            .samples("service_processes")
            .any(|sample| sample.labels.get("service") == Some(&service))
    };
    let scrape = later(&vigie, is_gone);
    assert!(is_gone(&scrape));
    assert_eq!(listening(&scrape, &service), []);
}

/// A program that a handler runs is the service's work.
#[test]
fn the_work_of_children_is_the_services() {
    let vigie = vigie(&[]);
    let service = "python/works.py";
    let server = start("works", free_port().unwrap(), |_| ());
    get(&server, "/");
    let cpu = |scrape: &Scrape| scrape.sum("service_cpu_seconds_total", &[("service", service)]);
    // What the kernel says of the server and of its children that have ended.
    let used = || get(&server, "/used").parse::<f64>().unwrap();
    let before = used();
    let scrape = settled_scrape(&vigie, |scrape| requests(scrape, service) == 2.0);
    let own = cpu(&scrape);
    for _ in 0..3 {
        get(&server, "/work");
    }
    let (used, count) = (used() - before, 6.0);
    let scrape = settled_scrape(&vigie, |scrape| requests(scrape, service) == count);
    let own = cpu(&scrape) - own;
    // The answers to the last questions of each are in only one of them.
    assert!(used >= 1.5 && (own - used).abs() < 0.02, "{used} s, {own} s for Vigie");
    assert_eq!(scrape.sum("service_processes", &[("service", service)]), 1.0);
}

/// A child of a dead server still has its socket: there is a listener, and nobody accepts.
#[test]
fn listening_is_not_serving() {
    let vigie = vigie(&["--retention", "60s"]);
    let port = free_port().unwrap();
    let service = "python/leaves.py";
    let server = start("leaves", port, |_| ());
    get(&server, "/leave");
    let up = [(port.to_string(), 1.0)];
    assert_eq!(
        listening(&later(&vigie, |scrape| listening(scrape, service) == up), service),
        up
    );
    server.signal(9).unwrap();
    let down = [(port.to_string(), 0.0)];
    let scrape = later(&vigie, |scrape| listening(scrape, service) == down);
    assert_eq!(listening(&scrape, service), down);
}

/// Two addresses of one port; one is closed.
#[test]
fn a_port_that_loses_an_address_is_down() {
    let vigie = vigie(&[]);
    let port = free_port().unwrap();
    let service = "python/closes.py";
    let server = start("closes", port, |_| ());
    get(&server, "/");
    let up = [(port.to_string(), 1.0)];
    assert_eq!(
        listening(&later(&vigie, |scrape| listening(scrape, service) == up), service),
        up
    );
    get(&server, "/close");
    let down = [(port.to_string(), 0.0)];
    assert_eq!(
        listening(&later(&vigie, |scrape| listening(scrape, service) == down), service),
        down
    );
}

/// A cgroup of a container's shape, which is removed at the end.
struct Container(PathBuf);

impl Container {
    fn new(id: &str) -> Self {
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        let root = mounts
            .lines()
            .find_map(|line| line.split(' ').nth(1).filter(|_| line.contains(" cgroup2 ")))
            .expect("cgroup2 is mounted");
        let path = Path::new(root).join(format!("docker-{id}.scope"));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// Has the command run inside.
    fn enter(&self, command: &mut Command) {
        use std::os::unix::process::CommandExt as _;
        let procs = self.0.join("cgroup.procs");
        // SAFETY: opening and writing a file is all that is done between fork and exec.
        unsafe { command.pre_exec(move || fs::write(&procs, "0")) };
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        for _ in 0..50 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A deployment: the new container listens elsewhere, the old one ends. Nothing is down; then the last one ends.
#[test]
fn a_container_is_replaced() {
    let vigie = vigie(&["--retention", "60s"]);
    let service = "python/deployed.py";
    let ids = ["a1", "b2"].map(|begin| format!("{begin}{}", "0".repeat(62)));
    let containers = ids.each_ref().map(|id| Container::new(id));
    let ports = [free_port().unwrap(), free_port().unwrap()];
    let mut old = start("deployed", ports[0], |command| containers[0].enter(command));
    get(&old, "/");
    let mut new = start("deployed", ports[1], |command| containers[1].enter(command));
    get(&new, "/");
    let both = |scrape: &Scrape| listening(scrape, service).len() == 2;
    let scrape = later(&vigie, both);
    for (id, port) in ids.iter().zip(ports) {
        let labels = [
            ("service", service),
            ("container", &id[..12]),
            ("port", &port.to_string()),
        ];
        assert_eq!(scrape.value("service_listening", &labels).unwrap(), Some(1.0));
        assert_eq!(scrape.sum("http_requests_total", &labels), 1.0);
    }
    old.stop().unwrap();
    let up = [(ports[1].to_string(), 1.0)];
    let scrape = later(&vigie, |scrape| listening(scrape, service) == up);
    assert_eq!(listening(&scrape, service), up);
    assert_eq!(requests(&scrape, service), 2.0);
    // This one is missed: it was to run.
    new.stop().unwrap();
    let down = [(ports[1].to_string(), 0.0)];
    let scrape = later(&vigie, |scrape| listening(scrape, service) == down);
    assert_eq!(listening(&scrape, service), down);
}

/// What listens once, and ends, hundreds of times: what comes then has a name, and a scrape is as large as before.
#[test]
fn numbers_do_not_run_out() {
    let vigie = vigie_alone(&[]);
    listen_and_end(&vigie, "listens", 300);
    let server = start("named", free_port().unwrap(), |_| ());
    get(&server, "/");
    let scrape = settled_scrape(&vigie, |scrape| requests(scrape, "python/named.py") == 1.0);
    assert_eq!(requests(&scrape, "python/named.py"), 1.0);
    assert_eq!(requests(&scrape, "other"), 0.0);
    let dead = |scrape: &Scrape| {
        let samples = scrape.samples("service_processes");
        let services = samples.filter_map(|sample| sample.labels.get("service"));
        services
            .filter(|service| service.starts_with("python/listens_"))
            .count()
    };
    assert_eq!(dead(&later(&vigie, |scrape| dead(scrape) == 0)), 0);
}

/// An activator holds the socket, and starts the server when somebody comes: the one that accepts is the service.
#[test]
fn who_accepts_is_the_service() {
    const ACTIVATOR: &str = "import os, select, socket, sys\n\
        listener = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n\
        os.set_inheritable(listener.fileno(), True)\n\
        while True:\n\
        \x20   select.select([listener], [], [])\n\
        \x20   if os.fork() == 0:\n\
        \x20       os.execv(sys.executable, [sys.executable, sys.argv[2], str(listener.fileno())])\n\
        \x20   os.wait()\n";
    // It serves until nobody comes for a while.
    const ACTIVATED: &str = "import http.server, socket, sys\n\
        class Handler(http.server.BaseHTTPRequestHandler):\n\
        \x20   def do_GET(self):\n\
        \x20       self.send_response(204)\n\
        \x20       self.end_headers()\n\
        \x20   def log_message(self, *arguments):\n\
        \x20       pass\n\
        server = http.server.HTTPServer(('127.0.0.1', 0), Handler, bind_and_activate=False)\n\
        server.socket = socket.socket(fileno=int(sys.argv[1]))\n\
        server.timeout = 1\n\
        server.handle_timeout = lambda: sys.exit(0)\n\
        while True:\n\
        \x20   server.handle_request()\n";
    let vigie = vigie(&["--retention", "60s"]);
    let port = free_port().unwrap();
    let dir = TempDir::new().unwrap();
    let activated = dir.write("activated.py", ACTIVATED.as_bytes()).unwrap();
    let activator = dir.write("activator.py", ACTIVATOR.as_bytes()).unwrap();
    let mut command = Command::new("python3");
    command.arg(activator).arg(port.to_string()).arg(activated);
    let server = Server::start(command, dir, port).unwrap();
    server.wait_ready().unwrap();
    for _ in 0..3 {
        let response = server.connect().unwrap().send(&Request::get("/")).unwrap();
        assert_eq!(response.status, 204);
    }
    let service = "python/activated.py";
    let up = [(port.to_string(), 1.0)];
    let scrape = later(&vigie, |scrape| requests(scrape, service) == 3.0);
    assert_eq!(requests(&scrape, service), 3.0);
    assert_eq!(listening(&scrape, service), up);
    assert_eq!(listening(&scrape, "python/activator.py"), []);
    // It has ended, and the socket is still served: by whoever starts it again.
    let has_ended = |scrape: &Scrape| scrape.sum("service_processes", &[("service", service)]) == 0.0;
    let scrape = later(&vigie, has_ended);
    assert!(has_ended(&scrape));
    assert_eq!(listening(&scrape, service), up);
}
