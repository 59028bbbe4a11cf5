//! Child processes that never outlive the test that started them.

use crate::http::Client;
use crate::temp_dir::TempDir;
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};
use std::{io, process, thread};

const READY_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
const POLL_PERIOD: Duration = Duration::from_millis(10);
const LOG_TAIL_LINES: usize = 30;

/// A server in a child process, in its own process group and temporary directory.
///
/// On drop the group gets SIGTERM, and SIGKILL once its leader ended or after 5 s. The kernel also kills the
/// leader (not its workers) when the THREAD that started it ends: keep the guard on that thread, or on one
/// that ends before it.
#[derive(Debug)]
pub struct Server {
    child: Child,
    exit: Option<ExitStatus>,
    address: SocketAddr,
    dir: TempDir,
}

impl Server {
    /// Starts `command` with its output in `log` inside `dir`, which the server keeps. Does not wait.
    pub fn start(mut command: Command, dir: TempDir, port: u16) -> Result<Self> {
        let log = File::create(log_path(&dir)).context("creating the log")?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        // SAFETY: between fork and exec the closure only calls prctl, which is async-signal-safe.
        unsafe { command.pre_exec(die_with_parent) };
        let child = command
            .spawn()
            .with_context(|| format!("starting {:?}", command.get_program()))?;
        Ok(Self {
            child,
            exit: None,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            dir,
        })
    }

    /// The id of the group leader.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Where it listens: 127.0.0.1 and the port, unless [`Server::set_address`] says otherwise.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// For programs that choose their own address, or listen on another one than 127.0.0.1.
    pub fn set_address(&mut self, address: SocketAddr) {
        self.address = address;
    }

    pub fn dir(&self) -> &TempDir {
        &self.dir
    }

    /// All the process wrote so far to its standard output and error.
    pub fn log(&self) -> String {
        fs::read(log_path(&self.dir))
            .map(|log| String::from_utf8_lossy(&log).into_owned())
            .unwrap_or_default()
    }

    /// A new connection to the server.
    pub fn connect(&self) -> io::Result<Client> {
        Client::connect(self.address)
    }

    /// Waits up to 30 s for the port to accept connections.
    pub fn wait_ready(&self) -> Result<()> {
        self.wait_for(READY_TIMEOUT, || self.connect().ok().map(drop))
    }

    /// Polls `ready` until it gives something. Fails, with the end of the log, on exit and after `limit`.
    pub fn wait_for<T>(&self, limit: Duration, mut ready: impl FnMut() -> Option<T>) -> Result<T> {
        let end = Instant::now() + limit;
        loop {
            // Asked first: on a port of somebody else, a dead server would look ready.
            if self.has_exited() {
                bail!(
                    "process {} exited before it was ready; its log ends with:\n{}",
                    self.pid(),
                    self.log_tail()
                );
            }
            if let Some(value) = ready() {
                return Ok(value);
            }
            if Instant::now() >= end {
                bail!(
                    "process {} not ready after {limit:?}; its log ends with:\n{}",
                    self.pid(),
                    self.log_tail()
                );
            }
            thread::sleep(POLL_PERIOD);
        }
    }

    /// Whether the leader ended. It is not reaped, so its id stays its own.
    pub fn has_exited(&self) -> bool {
        if self.exit.is_some() {
            return true;
        }
        // SAFETY: siginfo_t is plain data, for which zeros are valid.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: `info` is a valid siginfo_t to write to; the process is our own child, not yet reaped.
        let result = unsafe { libc::waitid(libc::P_PID, self.pid(), &raw mut info, flags) };
        // SAFETY: waitid filled the fields of SIGCHLD, or left the zeros.
        result == 0 && unsafe { info.si_pid() } != 0
    }

    /// Sends a signal to the leader alone.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        self.kill(i64::from(self.pid()), signal)
    }

    /// Stops the whole group and gives the leader's exit status.
    pub fn stop(&mut self) -> io::Result<ExitStatus> {
        if let Some(exit) = self.exit {
            return Ok(exit);
        }
        let group = -i64::from(self.pid());
        // Errors mean that nobody is left to signal.
        let _ = self.kill(group, libc::SIGTERM);
        let end = Instant::now() + STOP_TIMEOUT;
        while !self.has_exited() && Instant::now() < end {
            thread::sleep(POLL_PERIOD);
        }
        // The leader is not reaped yet: the group's id cannot be another's. This also ends orphaned workers.
        let _ = self.kill(group, libc::SIGKILL);
        let exit = self.child.wait()?;
        self.exit = Some(exit);
        Ok(exit)
    }

    fn kill(&self, id: i64, signal: i32) -> io::Result<()> {
        if self.exit.is_some() {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        let id = libc::pid_t::try_from(id).map_err(io::Error::other)?;
        // SAFETY: kill reads no memory; the id is our unreaped child's, or its group's.
        if unsafe { libc::kill(id, signal) } == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let exit = self.stop();
        // A crash should not go unseen; nextest and cargo show this line with the failed test.
        if let Ok(Some(signal @ (libc::SIGSEGV | libc::SIGABRT | libc::SIGBUS))) = exit.map(|exit| exit.signal()) {
            eprintln!("process {} crashed with signal {signal}", self.pid());
        }
    }
}

fn log_path(dir: &TempDir) -> PathBuf {
    dir.path().join("log")
}

fn die_with_parent() -> io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes one number.
    let result = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// A port of 127.0.0.1 that nobody listens on, each time another one.
///
/// It is below the kernel's usual ephemeral range (32768 and up), so that no outgoing connection takes it
/// before the server does.
pub fn free_port() -> Result<u16> {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test processes that run at the same time begin far apart.
    let begin = (process::id().wrapping_mul(97) % u32::from(COUNT)) as u16;
    for _ in 0..COUNT {
        let offset = u32::from(begin) + u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = FIRST + (offset % u32::from(COUNT)) as u16;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Server {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Server::start(command, TempDir::new().unwrap(), free_port().unwrap()).unwrap()
    }

    fn is_running(pid: &str) -> bool {
        // A zombie that its new parent has not reaped yet is not running.
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[test]
    fn an_early_exit_fails_with_the_log() {
        let server = shell("echo the reason >&2; exit 3");
        let error = server.wait_ready().unwrap_err().to_string();
        assert!(error.contains("exited") && error.contains("the reason"), "{error}");
    }

    #[test]
    fn the_whole_group_ends_even_if_the_test_panics() {
        let server = shell("sleep 1000 & echo $!; trap '' TERM; wait; sleep 1000 & wait");
        let pid = server
            .wait_for(READY_TIMEOUT, || {
                server.log().ends_with('\n').then(|| server.log().trim().to_owned())
            })
            .unwrap();
        let leader = server.pid().to_string();
        assert!(is_running(&pid) && is_running(&leader));
        let panic = thread::spawn(move || {
            let _server = server;
            std::panic::resume_unwind(Box::new("as a failed test does"));
        });
        assert!(panic.join().is_err());
        assert!(!is_running(&leader));
        let end = Instant::now() + Duration::from_secs(2);
        while is_running(&pid) && Instant::now() < end {
            thread::sleep(POLL_PERIOD);
        }
        assert!(!is_running(&pid));
    }

    #[test]
    fn stop_gives_the_exit_status_once_and_for_all() {
        let mut server = shell("trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done");
        server
            .wait_for(READY_TIMEOUT, || server.log().contains("ready").then_some(()))
            .unwrap();
        assert_eq!(server.stop().unwrap().code(), Some(7));
        assert_eq!(server.stop().unwrap().code(), Some(7));
        assert!(server.has_exited());
        assert!(server.signal(libc::SIGTERM).is_err());
    }

    #[test]
    fn ports_differ() {
        assert_ne!(free_port().unwrap(), free_port().unwrap());
    }
}
