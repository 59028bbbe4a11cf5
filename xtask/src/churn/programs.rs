//! The programs of the churn: this one, under many names, and its processes.

use super::cgroups::Container;
use super::child::{CHILD, THEN};
use anyhow::{Context as _, Result, ensure};
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use testkit::{Client, Request, TempDir};

/// What the names of all programs begin with.
pub const PREFIX: &str = "churn-";
/// The path of every request to a small server.
const PATH: &str = "/churn/items/1";

/// Names of this program, each a file of its own.
#[derive(Debug)]
pub struct Programs {
    dir: TempDir,
}

/// How a small server begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    AtOnce,
    /// Once [`Small::go`] is called.
    WhenTold,
    /// Beside another one on its port.
    Shared,
}

/// A small server: a process that answers every request with 200. Killed on drop.
#[derive(Debug)]
pub struct Small {
    // Dropped in this order: a cgroup is removed once its process has ended.
    child: Running,
    pub port: u16,
    pub container: Option<Container>,
}

/// A process that does not outlive this.
#[derive(Debug)]
struct Running(Child);

// === impl Programs ===

impl Programs {
    /// Copies this program once.
    pub fn new() -> Result<Self> {
        let dir = TempDir::new()?;
        // Its file may have been replaced by a build since.
        fs::copy("/proc/self/exe", dir.path().join(CHILD)).context("cannot copy this program")?;
        Ok(Self { dir })
    }

    /// The file of a name.
    pub fn path(&self, name: &str) -> Result<PathBuf> {
        let path = self.dir.path().join(name);
        if !path.exists() {
            fs::hard_link(self.dir.path().join(CHILD), &path)
                .with_context(|| format!("cannot name a program {name}"))?;
        }
        Ok(path)
    }

    /// What runs a child of that name, in a container if there is one.
    pub fn command(&self, name: &str, arguments: &[&str], container: Option<&Container>) -> Result<Command> {
        let program = self.path(name)?;
        let mut command = match container {
            None => Command::new(&program),
            Some(container) => {
                let mut runtime = Command::new(self.path("churn-runtime")?);
                runtime
                    .args([CHILD, "enter"])
                    .args(&container.cgroups)
                    .arg(THEN)
                    .arg(&program);
                runtime
            }
        };
        command
            .arg(CHILD)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        Ok(command)
    }

    /// What runs a small server of that name.
    pub fn server(&self, name: &str, port: u16, start: Start, container: Option<&Container>) -> Result<Command> {
        let mode = match start {
            Start::AtOnce => "serve",
            Start::WhenTold => "serve-when-told",
            Start::Shared => "share",
        };
        let mut command = self.command(name, &[mode, &port.to_string()], container)?;
        command.stdout(Stdio::piped());
        if start == Start::WhenTold {
            command.stdin(Stdio::piped());
        }
        Ok(command)
    }

    /// Starts a small server, and waits until it listens.
    pub fn start(&self, name: &str, port: u16, start: Start, container: Option<Container>) -> Result<Small> {
        let child = self.server(name, port, start, container.as_ref())?.spawn();
        let mut small = Small {
            child: Running(child.with_context(|| format!("cannot start {name}"))?),
            port,
            container,
        };
        if start != Start::WhenTold {
            small.listens().with_context(|| format!("{name} does not listen"))?;
        }
        Ok(small)
    }
}

// === impl Small ===

impl Small {
    /// One that was started by somebody else, and waits to be told.
    pub fn waiting(child: Child, port: u16) -> Self {
        Self {
            child: Running(child),
            port,
            container: None,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// Tells it to begin, and waits until it listens.
    pub fn go(&mut self) -> Result<()> {
        let mut stdin = self.child.0.stdin.take().context("it has been told")?;
        stdin.write_all(b"g")?;
        drop(stdin);
        self.listens()
    }

    /// Waits until it says that it listens.
    fn listens(&mut self) -> Result<()> {
        let stdout = self.child.0.stdout.as_mut().context("it has said so")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        ensure!(line.trim() == self.port.to_string(), "it said '{}'", line.trim());
        Ok(())
    }

    /// Sends so many requests on one connection, and fails if one is not answered with 200.
    pub fn ask(&self, requests: u64) -> Result<()> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let mut client = Client::connect(address).context("connecting to a small server")?;
        for _ in 0..requests {
            let response = client.send(&Request::get(PATH))?;
            ensure!(response.status == 200, "a small server answered {}", response.status);
        }
        Ok(())
    }

    /// Ends it with a signal, waits for that, and removes its container.
    pub fn end(mut self, signal: i32) -> Result<()> {
        self.child.signal(signal)?;
        self.child.0.wait().context("waiting for a small server")?;
        self.container.take().map_or(Ok(()), Container::remove)
    }
}

// === impl Running ===

impl Running {
    fn signal(&self, signal: i32) -> Result<()> {
        let id = libc::pid_t::try_from(self.0.id())?;
        // SAFETY: kill reads no memory; the process is our child, which is not reaped yet.
        let code = unsafe { libc::kill(id, signal) };
        ensure!(code == 0, "kill: {}", std::io::Error::last_os_error());
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail if it has been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a command to its end. A process that was just started may find its file busy.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot run {}", name(command)))?;
    ensure!(status.success(), "{} failed ({status})", name(command));
    Ok(())
}

fn name(command: &Command) -> String {
    let words: Vec<OsString> = [command.get_program()]
        .into_iter()
        .chain(command.get_args())
        .map(|word| Path::new(word).file_name().unwrap_or(word).to_owned())
        .collect();
    words
        .iter()
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
