//! The servers that tests observe, and the program under test itself.

use crate::http::{Client, Request, Response};
use crate::process::{Server, free_port};
use crate::scrape::Scrape;
use crate::store;
use crate::temp_dir::TempDir;
use anyhow::{Context, Result, ensure};
use std::fmt::Write;
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

const STORE_TIMEOUT: Duration = Duration::from_secs(60);
/// Verifying the programs takes a tenth of a second each, and hundred times as long in an emulated machine.
const VIGIE_TIMEOUT: Duration = Duration::from_secs(120);
const SETTLE_TIMEOUT: Duration = Duration::from_secs(2);
const SETTLE_PERIOD: Duration = Duration::from_millis(20);
/// The statuses that [`nginx`] answers under `/status/`.
pub const STATUSES: [u16; 11] = [200, 204, 301, 400, 401, 403, 404, 418, 500, 502, 503];

/// nginx with static `files` (name, content), `/status/<code>` for each of [`STATUSES`], and the locations
/// given in nginx's own syntax. Listens on 127.0.0.1, and on `[::1]` where the host has it.
pub fn nginx(files: &[(&str, &[u8])], extra_locations: &str, workers: usize) -> Result<Server> {
    let dir = TempDir::new()?;
    fs::create_dir(dir.path().join("www"))?;
    for (name, content) in files {
        dir.write(&format!("www/{name}"), content)?;
    }
    let port = free_port()?;
    let site = nginx_site(dir.path(), port, extra_locations)?;
    nginx_with(dir, port, &site, workers)
}

/// nginx with a site of one's own: what stands in the `http` block, in nginx's own syntax. It listens on this port of
/// 127.0.0.1.
pub fn nginx_with(dir: TempDir, port: u16, site: &str, workers: usize) -> Result<Server> {
    let config = nginx_config(dir.path(), site, workers)?;
    let config = dir.write("nginx.conf", config.as_bytes())?;
    let mut command = Command::new("nginx");
    let path = env::var("PATH").unwrap_or_default();
    command
        .env("PATH", format!("{path}:/usr/sbin"))
        .args(["-e", "stderr", "-p"])
        .arg(dir.path())
        .arg("-c")
        .arg(config);
    let server = Server::start(command, dir, port)?;
    server.wait_ready()?;
    Ok(server)
}

fn nginx_site(dir: &Path, port: u16, extra_locations: &str) -> Result<String> {
    let dir = dir.display();
    let has_ipv6 = TcpListener::bind((Ipv6Addr::LOCALHOST, port)).is_ok();
    let listen_ipv6 = if has_ipv6 {
        format!("listen [::1]:{port};")
    } else {
        String::new()
    };
    let mut locations = String::new();
    for status in STATUSES {
        let answer = match status {
            204 => "204".to_owned(),
            301 => "301 /".to_owned(),
            _ => format!(r#"{status} "{status}\n""#),
        };
        writeln!(locations, "location = /status/{status} {{ return {answer}; }}")?;
    }
    Ok(format!(
        "server {{
listen 127.0.0.1:{port};
{listen_ipv6}
root {dir}/www;
{locations}
{extra_locations}
}}
"
    ))
}

fn nginx_config(dir: &Path, site: &str, workers: usize) -> Result<String> {
    let dir = dir.display();
    let mut temp_paths = String::new();
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        writeln!(temp_paths, "{kind}_temp_path {dir}/{kind};")?;
    }
    Ok(format!(
        "daemon off;
user root;
worker_processes {workers};
pid {dir}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
access_log off;
log_not_found off;
sendfile on;
keepalive_requests 10000000;
keepalive_timeout 600;
{temp_paths}
{site}
}}
"
    ))
}

/// The demo store under uvicorn, with a new SQLite database. `demo_dir` holds the package `store`.
pub fn uvicorn_store(python: &Path, demo_dir: &Path, workers: usize) -> Result<Server> {
    let dir = TempDir::new()?;
    let port = free_port()?;
    let mut command = store_command(python, demo_dir, dir.path(), port);
    command.args(["--workers", &workers.to_string()]);
    let server = Server::start(command, dir, port)?;
    wait_for_store(&server)?;
    Ok(server)
}

/// What starts the demo store, with one worker, and its SQLite database in a directory.
pub fn store_command(python: &Path, demo_dir: &Path, database: &Path, port: u16) -> Command {
    let mut command = Command::new(python);
    command
        .args([
            "-m",
            "uvicorn",
            "store.main:app",
            "--host",
            "127.0.0.1",
            "--no-access-log",
        ])
        .args(["--port", &port.to_string()])
        .current_dir(demo_dir)
        .env(
            "DATABASE_URL",
            format!("sqlite:///{}", database.join("store.db").display()),
        )
        .env("STORE_TOKEN", store::TOKEN)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONUNBUFFERED", "1");
    command
}

/// Waits until the demo store says that it is well.
pub fn wait_for_store(server: &Server) -> Result<()> {
    let health = Request::get("/sante").header("connection", "close");
    server.wait_for(STORE_TIMEOUT, || {
        let answer = server.connect().ok()?.send(&health).ok()?;
        (answer.status == 200).then_some(())
    })
}

/// A Python script that gets the port to listen on as its first argument, then `args`.
pub fn python_app(python: &Path, script: &str, args: &[&str]) -> Result<Server> {
    let dir = TempDir::new()?;
    let port = free_port()?;
    // A service is named after its script: each is one of its own.
    let script = dir.write(&format!("app_{port}.py"), script.as_bytes())?;
    let mut command = Command::new(python);
    command
        .arg(script)
        .arg(port.to_string())
        .args(args)
        .current_dir(dir.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONUNBUFFERED", "1");
    let server = Server::start(command, dir, port)?;
    server.wait_ready()?;
    Ok(server)
}

/// The name of its socket of traces, in a directory of its own.
const TRACE_SOCKET: &str = "trace.sock";

/// Vigie, serving its metrics.
#[derive(Debug)]
pub struct Vigie {
    /// The process; its address is the one of the metrics.
    pub server: Server,
}

/// Runs `vigie serve` on a free port with `args`, and waits until its log says where it listens.
pub fn vigie(binary: &Path, args: &[&str]) -> Result<Vigie> {
    vigie_with(binary, args, &[])
}

/// The same with variables of its environment (name, value).
pub fn vigie_with(binary: &Path, args: &[&str], environment: &[(&str, &str)]) -> Result<Vigie> {
    let mut command = Command::new(binary);
    command.envs(environment.iter().copied());
    vigie_as(command, args)
}

/// The same by a command that ends with the program: as another user, for instance.
pub fn vigie_as(mut command: Command, args: &[&str]) -> Result<Vigie> {
    let directory = TempDir::new()?;
    command
        .args(["serve", "--web.listen-address", "127.0.0.1:0", "--log.format", "json"])
        .arg("--trace.socket")
        .arg(directory.path().join(TRACE_SOCKET))
        .args(args);
    let mut server = Server::start(command, directory, 0)?;
    let address = server.wait_for(VIGIE_TIMEOUT, || listen_address(&server.log()))?;
    server.set_address(address);
    Ok(Vigie { server })
}

/// Finds the address in a complete log line that says `listening on http://ADDRESS`.
fn listen_address(log: &str) -> Option<SocketAddr> {
    let complete = &log[..log.rfind('\n')?];
    let (_, rest) = complete.split_once("listening on http://")?;
    let end = rest.find(|letter: char| !(letter.is_ascii_hexdigit() || ".:[]".contains(letter)));
    rest[..end.unwrap_or(rest.len())].parse().ok()
}

impl Vigie {
    /// The process id.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// Where its traces are.
    pub fn trace_socket(&self) -> PathBuf {
        self.server.dir().path().join(TRACE_SOCKET)
    }

    /// The process's log so far, as JSON lines.
    pub fn log(&self) -> String {
        self.server.log()
    }

    /// Requests a path on a connection of its own.
    pub fn get(&self, path: &str) -> Result<Response> {
        let mut client = Client::connect(self.server.address()).context("connecting to vigie")?;
        Ok(client.send(&Request::get(path).header("connection", "close"))?)
    }

    /// Gets and parses `/metrics`.
    pub fn scrape(&self) -> Result<Scrape> {
        let response = self.get("/metrics")?;
        ensure!(
            response.status == 200,
            "/metrics answered {}: {}",
            response.status,
            response.text()
        );
        let text = String::from_utf8(response.body).context("/metrics is not UTF-8")?;
        Ok(Scrape::parse(&text)?)
    }

    /// A scrape that fits, or the last one after two seconds, whatever it says then: a server's last system call may
    /// return after its client has read the response.
    pub fn settled(&self, fits: impl Fn(&Scrape) -> bool) -> Result<Scrape> {
        self.settled_within(SETTLE_TIMEOUT, fits)
    }

    /// The same with another limit, for servers that have to notice first that a client has gone.
    pub fn settled_within(&self, limit: Duration, fits: impl Fn(&Scrape) -> bool) -> Result<Scrape> {
        let end = Instant::now() + limit;
        loop {
            let scrape = self.scrape()?;
            if fits(&scrape) || Instant::now() > end {
                return Ok(scrape);
            }
            thread::sleep(SETTLE_PERIOD);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write as _};
    use std::net::Ipv4Addr;
    use std::thread;

    #[test]
    fn finds_the_address_in_a_json_log() {
        let log =
            "{\"message\":\"starting\"}\n{\"level\":\"info\",\"message\":\"listening on http://127.0.0.1:41234\"}\n";
        assert_eq!(listen_address(log), Some(SocketAddr::from(([127, 0, 0, 1], 41234))));
        assert_eq!(
            listen_address("listening on http://[::1]:80/metrics\n").unwrap().port(),
            80
        );
    }

    #[test]
    fn waits_for_the_whole_line() {
        assert_eq!(listen_address("{\"message\":\"listening on http://127.0.0.1:41"), None);
        assert_eq!(listen_address(""), None);
    }

    #[test]
    fn scrapes_the_address_that_the_log_gives() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let count = stream.read(&mut [0; 1000]).unwrap();
            let text = "# TYPE up gauge\nup 1\n";
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", text.len());
            stream.write_all(format!("{head}{text}").as_bytes()).unwrap();
            count
        });
        let dir = TempDir::new().unwrap();
        let binary = dir.path().join("vigie");
        let script = format!("#!/bin/sh\necho \"$@: listening on http://{address}\" >&2; exec sleep 1000\n");
        // Another process writes it: a file that this one has open for writing cannot be executed.
        let mut write = Command::new("sh");
        write
            .args(["-c", "printf %s \"$1\" > \"$0\" && chmod +x \"$0\""])
            .arg(&binary)
            .arg(script);
        assert!(write.status().unwrap().success());

        let vigie = vigie(&binary, &["--extra"]).unwrap();
        assert_eq!(vigie.server.address(), address);
        assert_eq!(vigie.scrape().unwrap().value("up", &[]), Ok(Some(1.0)));
        assert!(metrics.join().unwrap() > 0);
        let socket = vigie.trace_socket();
        let expected = format!(
            "serve --web.listen-address 127.0.0.1:0 --log.format json --trace.socket {} --extra:",
            socket.display()
        );
        assert!(vigie.log().starts_with(&expected), "{}", vigie.log());
    }
}
