//! A virtual machine: a kernel and a first file system in QEMU, with nothing but a serial line.

use std::{
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{initramfs::MARK, kernels::Kernel};

pub const PROGRAM: &str = "qemu-system-x86_64";

/// QEMU's own translator: KVM is not there in most virtual machines, and hangs in some.
const MACHINE: [&str; 18] = [
    "-accel",
    "tcg,thread=multi",
    "-m",
    "2G",
    "-no-user-config",
    "-display",
    "none",
    "-monitor",
    "none",
    "-serial",
    "stdio",
    "-nic",
    "none",
    "-no-reboot",
    "-append",
    // Linux counts the timer's ticks while it boots, against a clock that goes on when QEMU has no CPU: beside other load it would find
    // too few and panic (no_timer_check).
    // A panic reboots at once, which ends this machine. A CPU that hangs for a minute (twice the threshold) is one: the stacks of
    // all are then the last that is heard.
    "console=ttyS0 quiet no_timer_check panic=-1 softlockup_panic=1 watchdog_thresh=30 sysctl.kernel.softlockup_all_cpu_backtrace=1",
    "-name",
    "vigie",
];

/// After the instruction cmpxchg16b, an interrupt can find wrong flags in QEMU 7.2, and then Linux dies. It uses that instruction for
/// every small allocation before 7.0; since then seldom, but cannot do without: BPF programs would get no memory
/// (`kmalloc_nolock()`).
fn processor(kernel: &Kernel) -> &'static str {
    if is_before_7(kernel) { "max,cx16=off" } else { "max" }
}

/// How many CPUs a kernel gets. On 7.x an event is missed where tasks on one CPU interrupt programs in a certain order, and emulated
/// programs run a hundred times as long: there is room for the tasks.
fn cpus(kernel: &Kernel) -> &'static str {
    if is_before_7(kernel) { "2" } else { "6" }
}

fn is_before_7(kernel: &Kernel) -> bool {
    let major = kernel.version.split('.').next().and_then(|major| major.parse().ok());
    major.is_some_and(|major: u32| major < 7)
}

/// How often a machine is started that dies before it runs a program.
const STARTS: u32 = 3;
/// How often it is looked whether to stop.
const LOOK: Duration = Duration::from_millis(200);

/// How a program in the machine has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    pub name: String,
    pub code: i32,
    pub time: Duration,
    /// All it has written.
    pub output: Vec<String>,
}

/// Boots the kernel, and gives what the programs of the file system did. `show` sees each line as it comes. `limit` is for all
/// starts.
pub fn run(
    kernel: &Kernel,
    initramfs: &Path,
    limit: Duration,
    stop: &AtomicBool,
    show: impl Fn(&str),
) -> Result<Vec<Ended>> {
    let end = Instant::now() + limit;
    for _ in 0..STARTS {
        if let Some(ended) = start(kernel, initramfs, end, stop, &show)? {
            return Ok(ended);
        }
    }
    bail!("the kernel has not come up")
}

/// QEMU, which ends with this value.
struct Qemu(Child);

impl Drop for Qemu {
    fn drop(&mut self) {
        // Errors mean that it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `None`: the machine died before it ran a program.
fn start(
    kernel: &Kernel,
    initramfs: &Path,
    end: Instant,
    stop: &AtomicBool,
    show: &impl Fn(&str),
) -> Result<Option<Vec<Ended>>> {
    let mut command = Command::new(PROGRAM);
    command
        .args(MACHINE)
        .args(["-cpu", processor(kernel), "-smp", cpus(kernel)])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(initramfs)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        // A Ctrl-C is not QEMU's: this program ends it.
        .process_group(0);
    // SAFETY: between fork and exec the closure only calls prctl, which is async-signal-safe.
    unsafe { command.pre_exec(die_with_parent) };
    let mut qemu = Qemu(command.spawn().with_context(|| format!("cannot start {PROGRAM}"))?);
    let output = qemu.0.stdout.take().context("the machine has no output")?;
    let (sender, lines) = mpsc::channel();
    let reader = thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n') {
            let Ok(line) = line else { break };
            if sender
                .send(String::from_utf8_lossy(&line).trim_end().to_owned())
                .is_err()
            {
                break;
            }
        }
    });
    let mut transcript = Transcript::default();
    loop {
        ensure!(!stop.load(Ordering::Relaxed), "stopped before the machine has ended");
        match lines.recv_timeout(LOOK) {
            Ok(line) => {
                if !transcript.line(&line)? {
                    show(&line);
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if Instant::now() >= end {
            let running = transcript.running.map(|ended| ended.name);
            bail!(
                "the machine has not ended in time, in {}",
                running.as_deref().unwrap_or("no program")
            );
        }
    }
    drop(qemu);
    // It ends with the output.
    let _ = reader.join();
    transcript.end()
}

fn die_with_parent() -> std::io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes a signal's number.
    match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// What the serial line has said so far.
#[derive(Debug, Default)]
struct Transcript {
    is_up: bool,
    is_done: bool,
    running: Option<Ended>,
    ended: Vec<Ended>,
    /// What came outside of any program: the firmware, and a kernel that dies.
    other: Vec<String>,
}

// === impl Transcript ===

impl Transcript {
    /// Takes a line. `true`: it was a mark.
    fn line(&mut self, line: &str) -> Result<bool> {
        // The firmware may leave its escape codes before it.
        let Some((_, mark)) = line.split_once(MARK) else {
            match &mut self.running {
                Some(running) => running.output.push(line.to_owned()),
                None => self.other.push(line.to_owned()),
            }
            return Ok(false);
        };
        let words: Vec<&str> = mark.split_whitespace().collect();
        match (words.as_slice(), self.running.take()) {
            (["up"], None) => self.is_up = true,
            (["done"], None) => self.is_done = true,
            (["begin", name], None) => {
                self.running = Some(Ended {
                    name: (*name).to_owned(),
                    code: -1,
                    time: Duration::ZERO,
                    output: Vec::new(),
                });
            }
            (["end", name, code, seconds], Some(running)) if running.name == *name => self.ended.push(Ended {
                code: code.parse().context("an exit code is no number")?,
                time: Duration::from_secs_f64(seconds.parse().context("a time is no number")?),
                ..running
            }),
            _ => bail!("the machine has said '{}' out of turn", line.trim()),
        }
        Ok(true)
    }

    /// What all programs did, if the machine has come to its end. `None`: it has not even come to its first program.
    fn end(self) -> Result<Option<Vec<Ended>>> {
        if self.is_done {
            return Ok(Some(self.ended));
        }
        if !self.is_up {
            return Ok(None);
        }
        let running = self.running.map_or_else(Vec::new, |running| running.output);
        let lines = if running.is_empty() { self.other } else { running };
        let tail = lines[lines.len().saturating_sub(30)..].join("\n");
        bail!("the machine died; its last lines:\n{tail}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript(text: &str) -> Result<Transcript> {
        let mut transcript = Transcript::default();
        for line in text.lines() {
            transcript.line(&line.replace('@', MARK))?;
        }
        Ok(transcript)
    }

    #[test]
    fn each_program_has_its_output_and_code() {
        let text = "BIOS\n\u{1b}[2J@up\n@begin a\none\ntwo\n@end a 0 1.25\n@begin b\n@end b 3 0.00\n@done\nPower down";
        let ended = transcript(text).unwrap().end().unwrap().unwrap();
        let [a, b] = ended.as_slice() else {
            panic!("{ended:?}");
        };
        assert_eq!((a.name.as_str(), a.code, a.time.as_millis()), ("a", 0, 1250));
        assert_eq!(a.output, ["one", "two"]);
        assert_eq!((b.name.as_str(), b.code), ("b", 3));
        assert!(b.output.is_empty());
    }

    #[test]
    fn a_machine_that_dies_says_its_last_words() {
        assert!(transcript("BIOS\npanic").unwrap().end().unwrap().is_none());
        let error = transcript("@up\n@begin a\nKernel panic").unwrap().end().unwrap_err();
        assert!(error.to_string().ends_with("Kernel panic"), "{error}");
    }

    #[test]
    fn marks_out_of_turn_are_an_error() {
        for text in [
            "@up\n@end a 0 1",
            "@begin a\n@begin b",
            "@begin a\n@end b 0 1",
            "@begin a\n@done",
        ] {
            assert!(transcript(text).is_err(), "{text}");
        }
    }
}
