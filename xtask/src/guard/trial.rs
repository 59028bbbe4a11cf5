//! A trial of the guard: a load that does no harm is left alone, and one whose service becomes slow, hangs or fails is stopped.

#![expect(clippy::print_stdout, reason = "these lines are what the command shows")]

use crate::command;
use crate::lab::stand::{End, INSTANCES, Plan, Stand};
use crate::setup::{Monitoring, Tools};
use anyhow::{Context as _, Result, ensure};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long the load takes that does no harm.
const GOOD_SECONDS: u64 = 8;
/// How long one would take that nobody stops.
const LONG_SECONDS: u64 = 300;
/// Within this the guard must have stopped it.
const LIMIT: Duration = Duration::from_secs(90);
/// What the load gets to begin with before harm comes.
const BEFORE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(1500);
const BREATH: Duration = Duration::from_millis(500);

/// Runs the real command four times, in front of a real service.
pub fn run(tools: &Tools, monitoring: &Monitoring) -> Result<()> {
    let vigie = command::build(&["vigie"])?.join("vigie");
    let mut stand = Stand::start(&Plan {
        tools,
        vigie: &vigie,
        monitoring,
        port: None,
        interval: "1s",
        rules: &[],
        alertmanager: None,
    })?;

    let (succeeded, said) = Guarded::start(&stand, GOOD_SECONDS, &[])?.wait(|| Ok(()))?;
    println!("a good load:\n{said}");
    ensure!(
        succeeded && said.contains("ended by itself"),
        "the guard did not leave a good load alone"
    );

    let all = |signal| (0..INSTANCES).try_for_each(|index| stand.signal(index, signal));
    let load = Guarded::start(&stand, LONG_SECONDS, &["--max-p95", "1"])?;
    let (succeeded, said) = load.wait(|| {
        all(libc::SIGSTOP)?;
        thread::sleep(PAUSE);
        all(libc::SIGCONT)?;
        thread::sleep(BREATH);
        Ok(())
    })?;
    println!("the store is slow:\n{said}");
    ensure!(
        !succeeded && said.contains("stopped the load") && said.contains("p95 "),
        "the guard did not see a slow store"
    );

    let load = Guarded::start(&stand, LONG_SECONDS, &[])?;
    all(libc::SIGSTOP)?;
    let (succeeded, said) = load.wait(|| Ok(()))?;
    all(libc::SIGCONT)?;
    println!("the store hangs:\n{said}");
    ensure!(
        !succeeded && said.contains("stopped the load") && said.contains("no answer for "),
        "the guard did not see that nothing is answered"
    );

    let load = Guarded::start(&stand, LONG_SECONDS, &[])?;
    thread::sleep(BEFORE);
    for index in 0..INSTANCES {
        stand.end(index, End::Kill)?;
    }
    let (succeeded, said) = load.wait(|| Ok(()))?;
    println!("the store fails:\n{said}");
    ensure!(
        !succeeded && said.contains("stopped the load") && said.contains("errors "),
        "the guard did not see errors"
    );
    stand.check()
}

/// The command `guard` with a load.
struct Guarded {
    child: Child,
    begin: Instant,
}

// === impl Guarded ===

impl Guarded {
    fn start(stand: &Stand, seconds: u64, flags: &[&str]) -> Result<Self> {
        // Its file may have been replaced by a build since. The guard is this program, too, and so is what it guards.
        let program = "/proc/self/exe";
        let mut command = Command::new(program);
        command
            .args(["guard", "--service", "balancer", "--window", "5", "--every", "1"])
            .args(["--prometheus", &stand.prometheus.server.address().to_string()])
            .args(flags)
            .arg("--")
            .arg(program)
            .args(["load", "--users", "5", "--seconds", &seconds.to_string()])
            .args(["--target", &stand.balancer.address().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Ok(Self {
            child: command.spawn().context("cannot start the guard")?,
            begin: Instant::now(),
        })
    }

    /// Waits for its end, and gives whether it succeeded and what it has written. `meanwhile` is called again and again.
    fn wait(mut self, mut meanwhile: impl FnMut() -> Result<()>) -> Result<(bool, String)> {
        while self.child.try_wait()?.is_none() {
            ensure!(self.begin.elapsed() < LIMIT, "the guard has not ended within {LIMIT:?}");
            meanwhile()?;
            thread::sleep(Duration::from_millis(50));
        }
        let (mut out, mut err) = (String::new(), String::new());
        // The load has the same pipes: their end is the proof that it is gone, too.
        std::io::Read::read_to_string(&mut self.child.stdout.take().context("no output")?, &mut out)?;
        std::io::Read::read_to_string(&mut self.child.stderr.take().context("no errors")?, &mut err)?;
        let status = self.child.wait()?;
        Ok((status.success(), format!("{out}{err}")))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let (Ok(None), Ok(id)) = (self.child.try_wait(), libc::pid_t::try_from(self.child.id())) {
            // SIGTERM, upon which it stops its load.
            // SAFETY: kill reads no memory; the process is our child, which is not reaped yet.
            unsafe { libc::kill(id, libc::SIGTERM) };
            let _ = self.child.wait();
        }
    }
}
