//! `cargo xtask guard`: a load that ends when it does harm.
//!
//! It starts a command that puts load on a service, and asks Prometheus meanwhile how the service fares. When a limit is passed,
//! the command is stopped.

mod limits;
mod patrol;
mod reading;
mod trial;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
pub use limits::Limits;
pub use patrol::{End, Outcome, Patrol};
pub use reading::Queries;
use std::cell::RefCell;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};
use testkit::prometheus::Api;
use testkit::stop;
pub use trial::run as trial;

/// How long a load may take to end once it is told to.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
const POLL_PERIOD: Duration = Duration::from_millis(20);

#[derive(Args, Debug)]
pub struct Options {
    #[command(flatten)]
    limits: Limits,
    /// Where Prometheus is
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9090")]
    prometheus: String,
    /// The service to look at, as Vigie names it [default: all services together]
    #[arg(long)]
    service: Option<String>,
    /// Errors and p95 are those of this time; it has to hold two scrapes
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    window: u64,
    /// How often to look
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
    /// Try the guard out on a store of its own that does well, is slow, hangs and fails
    #[arg(long, conflicts_with = "command")]
    pub trial: bool,
    /// The command that makes the load, as `k6 run load.k6.js`
    #[arg(last = true, required_unless_present = "trial")]
    command: Vec<String>,
}

/// Runs the load, and fails if it had to be stopped, or fails itself.
#[expect(clippy::print_stdout, reason = "this line is what the command shows")]
pub fn run(options: &Options) -> Result<()> {
    let prometheus = Api {
        address: resolve(&options.prometheus)?,
    };
    let patrol = Patrol {
        prometheus,
        queries: Queries::new(options.service.as_deref(), options.window),
        limits: options.limits,
        every: Duration::from_secs(options.every),
        patience: Duration::from_secs(options.window),
    };
    // Asked once before anything is started: who cannot see cannot guard.
    patrol
        .queries
        .ask(prometheus)
        .with_context(|| format!("cannot watch through Prometheus at {}", options.prometheus))?;
    let stop = stop::on_signal()?;
    let mut load = Load::start(&options.command)?;
    let outcome = patrol.run(|| load.has_ended() || stop.load(Ordering::Relaxed));
    let status = load.end()?;
    if outcome.end != End::Ended {
        bail!("{outcome}");
    }
    ensure!(
        !stop.load(Ordering::Relaxed),
        "guard: told to stop, and stopped the load"
    );
    println!("{outcome}");
    ensure!(status.success(), "the load failed ({status})");
    Ok(())
}

fn resolve(address: &str) -> Result<SocketAddr> {
    let mut all = address
        .to_socket_addrs()
        .with_context(|| format!("'{address}' is no HOST:PORT"))?;
    all.next().with_context(|| format!("'{address}' has no address"))
}

/// A command in a process group of its own. It does not outlive this.
#[derive(Debug)]
struct Load {
    child: RefCell<Child>,
}

// === impl Load ===

impl Load {
    fn start(words: &[String]) -> Result<Self> {
        let (program, arguments) = words.split_first().context("no command")?;
        let child = Command::new(program)
            .args(arguments)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot run '{program}'"))?;
        Ok(Self { child: child.into() })
    }

    fn has_ended(&self) -> bool {
        !matches!(self.child.borrow_mut().try_wait(), Ok(None))
    }

    /// Ends it if it has not: SIGTERM, and SIGKILL if that does not help.
    fn end(&mut self) -> Result<ExitStatus> {
        let end = Instant::now() + STOP_TIMEOUT;
        if !self.has_ended() {
            self.signal(libc::SIGTERM);
        }
        while !self.has_ended() {
            if Instant::now() > end {
                self.signal(libc::SIGKILL);
                break;
            }
            thread::sleep(POLL_PERIOD);
        }
        Ok(self.child.get_mut().wait()?)
    }

    /// To the whole group: a shell, or npm, does not pass it on.
    fn signal(&self, signal: i32) {
        let id = self.child.borrow().id();
        if let Ok(group) = libc::pid_t::try_from(id) {
            // SAFETY: kill reads no memory; the group is that of our child, which is not reaped yet.
            unsafe { libc::kill(-group, signal) };
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // Whatever went wrong, the load is not left alone.
        let _ = self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(script: &str) -> Load {
        Load::start(&["sh", "-c", script].map(str::to_owned)).unwrap()
    }

    #[test]
    fn a_load_is_ended_with_all_its_processes() {
        let mut running = load("sleep 1000 & wait");
        assert!(!running.has_ended());
        assert!(!running.end().unwrap().success());
        let mut short = load("exit 3");
        while !short.has_ended() {
            thread::sleep(POLL_PERIOD);
        }
        assert_eq!(short.end().unwrap().code(), Some(3));
        assert!(Load::start(&["/no/such/load".to_owned()]).is_err());
    }

    #[test]
    fn an_address_has_a_host_and_a_port() {
        assert_eq!(resolve("127.0.0.1:9090").unwrap().port(), 9090);
        assert!(resolve("nowhere").is_err());
    }
}
