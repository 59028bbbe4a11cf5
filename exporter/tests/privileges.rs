//! What Vigie sees with fewer privileges than root has: the same names and counts, and no value for what it cannot know.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that panics has failed, as it should"
)]

mod common;

use std::{
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    time::Duration,
};

use common::{program_for_anybody, settled_scrape};
use testkit::{Client, Request, Scrape, Server, TempDir, Vigie, free_port, host::Host, namespace, vigie_as};

/// All that full function needs.
const ALL: [&str; 5] = ["bpf", "perfmon", "sys_ptrace", "dac_read_search", "sys_admin"];

/// How many requests each server gets.
const REQUESTS: u64 = 7;

/// Whoever runs the servers, and Vigie.
const SERVERS: &str = "1234";
const VIGIE: &str = "4242";

/// A command as another user, with these capabilities and no others.
fn run_as(user: &str, capabilities: &[&str], program: &Path) -> Command {
    let listed: Vec<String> = capabilities.iter().map(|name| format!(",+{name}")).collect();
    let listed = format!("-all{}", listed.concat());
    let mut command = Command::new("setpriv");
    command.args(["--reuid", user, "--regid", user, "--clear-groups", "--no-new-privs"]);
    command
        .args(["--inh-caps", &listed, "--ambient-caps", &listed])
        .arg(program);
    command
}

/// Two servers of another user: one here, and one in a network namespace of its own.
struct Servers {
    here: Server,
    inside: Server,
}

// === impl Servers ===

impl Servers {
    fn start(directory: &TempDir) -> Self {
        let script = "import http.server, sys\n\
                      http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()\n";
        let script = directory.write("inside.py", script.as_bytes()).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o644)).unwrap();
        let python = Path::new("/usr/bin/python3");
        let port = free_port().unwrap();
        let mut command = run_as(SERVERS, &[], python);
        command.args(["-m", "http.server", "--bind", "127.0.0.1", "--directory"]);
        command.arg(directory.path()).arg(port.to_string());
        let here = Server::start(command, TempDir::new().unwrap(), port).unwrap();
        here.wait_ready().unwrap();
        let port = free_port().unwrap();
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", "ip link set lo up; exec \"$0\" \"$@\"", "setpriv"]);
        command.args(["--reuid", SERVERS, "--regid", SERVERS, "--clear-groups"]);
        command.arg(python).arg(script).arg(port.to_string());
        let inside = Server::start(command, TempDir::new().unwrap(), port).unwrap();
        let outside = namespace::own_network().unwrap();
        let servers = Self { here, inside };
        let is_there = || namespace::network(servers.inside.pid()).filter(|network| *network != outside);
        servers
            .inside
            .wait_for(Duration::from_secs(10), || {
                is_there().and_then(|_| servers.connect_inside())
            })
            .unwrap();
        servers
    }

    fn connect_inside(&self) -> Option<Client> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.inside.port()));
        namespace::in_network_of(self.inside.pid(), || Ok(Client::connect(address)?)).ok()
    }

    fn request(&self) {
        for _ in 0..REQUESTS {
            let mut here = self.here.connect().unwrap();
            assert_eq!(here.send(&Request::get("/")).unwrap().status, 200);
            let mut inside = self.connect_inside().unwrap();
            assert_eq!(inside.send(&Request::get("/")).unwrap().status, 200);
        }
    }
}

/// What is shown of a port: the service, its requests, whether it listens, how many wait, and how many may.
type Shown = (String, u64, Option<f64>, Option<f64>, Option<f64>, Option<f64>);

fn shown(scrape: &Scrape, port: u16) -> Option<Shown> {
    let text = port.to_string();
    let mut of_port = scrape.samples("http_requests_total");
    let requests = of_port.find(|sample| sample.labels["port"] == text)?;
    let value = |name: &str| scrape.value(name, &[("port", &text)]).unwrap();
    Some((
        requests.labels["service"].clone(),
        requests.value as u64,
        value("service_listening"),
        value("service_listen_backlog"),
        value("service_listen_backlog_limit"),
        value("service_connections_open"),
    ))
}

/// Vigie as a user that nobody knows, with these capabilities.
fn vigie_with(directory: &TempDir, capabilities: &[&str]) -> Vigie {
    vigie_as(run_as(VIGIE, capabilities, &program_for_anybody(directory)), &[]).unwrap()
}

#[test]
fn fewer_privileges() {
    let _host = Host::beside_others().unwrap();
    let directory = TempDir::new().unwrap();
    let all = (Some(1.0), Some(0.0), Some(5.0), Some(0.0));
    let by_file = (Some(1.0), Some(0.0), None, None);
    for (count, inside, code) in [(2, by_file, 2), (3, by_file, 2), (4, by_file, 2), (5, all, 0)] {
        let capabilities = &ALL[..count];
        let vigie = vigie_with(&directory, capabilities);
        // Those that began before Vigie did may be found later: these begin behind it.
        let servers = Servers::start(&directory);
        servers.request();
        let expected = [
            ("python/http.server", servers.here.port(), all),
            ("python/inside.py", servers.inside.port(), inside),
        ];
        let expected = expected.map(|(name, port, (listening, backlog, limit, open))| {
            (port, Some((name.to_owned(), REQUESTS, listening, backlog, limit, open)))
        });
        let is_shown = |scrape: &Scrape| expected.iter().all(|(port, wanted)| shown(scrape, *port) == *wanted);
        let scrape = settled_scrape(&vigie, is_shown);
        for (port, wanted) in &expected {
            assert_eq!(shown(&scrape, *port), *wanted, "{capabilities:?}");
        }
        let (log, mut missing) = (vigie.log(), 0);
        for (number, name) in ALL.iter().enumerate() {
            let name = format!("CAP_{}", name.to_uppercase());
            let has = scrape.value("vigie_capability", &[("name", &name)]).unwrap();
            assert_eq!(has, Some(f64::from(u8::from(number < count))), "{name}");
            let said = log.matches(&format!("{name} is missing")).count();
            assert_eq!(said, usize::from(number >= count), "{log}");
            missing += said;
        }
        assert_eq!(missing, ALL.len() - count);
        let doctor = run_as(VIGIE, capabilities, &program_for_anybody(&directory))
            .arg("doctor")
            .output()
            .unwrap();
        let text = String::from_utf8(doctor.stdout).unwrap();
        assert_eq!(doctor.status.code(), Some(code), "{text}");
        assert_eq!(text.matches("missing: without it").count(), missing, "{text}");
    }
}

#[test]
fn too_few_privileges() {
    let directory = TempDir::new().unwrap();
    for capabilities in [
        &[][..],
        &["bpf"],
        &["perfmon"],
        &["sys_ptrace", "dac_read_search", "net_admin"],
    ] {
        let doctor = run_as(VIGIE, capabilities, &program_for_anybody(&directory))
            .arg("doctor")
            .output()
            .unwrap();
        let text = String::from_utf8(doctor.stdout).unwrap();
        assert_eq!(doctor.status.code(), Some(1), "{capabilities:?}: {text}");
        let mut serve = run_as(VIGIE, capabilities, &program_for_anybody(&directory));
        let output = serve
            .args(["serve", "--web.listen-address", "127.0.0.1:0"])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{capabilities:?}: {text}");
        assert!(
            text.contains("CAP_BPF and CAP_PERFMON") || text.contains("vigie doctor"),
            "{text}"
        );
    }
}
