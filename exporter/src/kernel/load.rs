//! Loading the programs into the kernel, and attaching each to its hook.
//!
//! Each probe is tried on its own, on the best hook first: kernels from 6.3 on have tracepoints for what passes a socket, older
//! ones let programs run at the return of the functions that do it. What cannot be attached is missing from what Vigie sees, and is said: in the log, by
//! `vigie doctor`, and as `vigie_probe_attached`.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use aya::{
    Btf as AyaBtf, Ebpf, EbpfLoader, include_bytes_aligned,
    programs::{BtfTracePoint, FEntry, FExit, Iter, ProgramError},
};
use vigie_ebpf::types::BOUNDS;

use super::{
    btf::{Btf, BtfError},
    offsets, preemption,
};

/// Where the running kernel describes its own types.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Where the running kernel says its release.
const RELEASE: &str = "/proc/sys/kernel/osrelease";

/// The newest helper that the programs call: Linux has it since 5.15.
const NEWEST_HELPER: &str = "bpf_task_pt_regs";

/// The tracepoint that tells of what is read from a socket, of whatever kind.
const EVERY_SOCKET: &str = "sock_recv_length";

/// How the lines begin that the verifier ends its log with, behind the one that says what is wrong.
const STATISTICS: [&str; 5] = [
    "processed ",
    "stack depth ",
    "verification time ",
    "insns processed ",
    "mark_precise: ",
];

/// Set in the environment, it has functions tried in place of tracepoints: so the hooks of older kernels can be tested on
/// newer ones.
const FUNCTIONS_FIRST: &str = "VIGIE_HOOK_FUNCTIONS";

/// Set in the environment, it has every event heard of twice, on kernels that do not need it.
const TWICE: &str = "VIGIE_TWICE";

/// Set in the environment, it leaves the phases of requests out: so their cost can be measured.
const NO_PHASES: &str = "VIGIE_NO_PHASES";

/// What a probe is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Without it no request is seen.
    Requests,
    /// Without it a request's time begins when it is read, not when it arrives.
    Arrival,
    /// Without it a response that is sent by sendfile has no end. Kernels from 6.5 on do without it.
    Pages,
    /// Without it a request on a connection that is reset is not counted.
    Endings,
    /// Without it an event is lost that interrupts a program which deals with another. Only some kernels allow that.
    Again,
    /// Without it the CPU and run-queue metrics of services are missing.
    Scheduler,
    /// Without it a worker, or a process that became another program, may be taken for what it was before.
    Processes,
    /// Without it a thread may be taken for one that has ended.
    Threads,
    /// Without it a service that is killed looks like one that was stopped.
    Ends,
    /// Without it retransmits, or resets, of services are missing.
    Trouble,
    /// Without it `vigie_host_runqueue_length` is missing.
    RunQueue,
    /// What the programs on a socket's hooks have to know of a thread. Without it the phases of requests are not known.
    Phases,
}

// === impl Role ===

impl Role {
    /// What is missing without the probe, as the end of "without it …".
    pub fn without(self) -> &'static str {
        match self {
            Self::Requests => "no request can be seen",
            Self::Arrival => "a request's duration begins when it is read, not when it arrives",
            Self::Pages => "the end of a response that is sent by sendfile is not seen",
            Self::Endings => "a request on a connection that is reset is not counted",
            Self::Again => "a request is lost if a program is interrupted by another task's",
            Self::Scheduler => "the CPU and run-queue metrics of services are missing",
            Self::Processes => "a worker may be taken for another service until its first request",
            Self::Threads => "a thread's first stint may be missing from its service",
            Self::Ends => "a service that is killed, and is in no unit and no container, is not shown as down",
            Self::Trouble => "service_tcp_retransmits_total, or a direction of service_tcp_resets_total, is missing",
            Self::RunQueue => "vigie_host_runqueue_length is missing",
            Self::Phases => "all of a request's time is unattributed",
        }
    }
}

/// How a program is attached to its hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A tracepoint, with the kernel's own types.
    Tracepoint,
    /// The beginning of a function.
    Entry,
    /// The return of a function: its arguments, and what it returns.
    Exit,
    /// An iterator: it runs when it is read.
    Iterator,
}

/// One program on one hook.
#[derive(Debug)]
pub struct Probe {
    /// The probe's name, a label value.
    pub name: &'static str,
    /// The kernel's hook, a label value.
    pub hook: &'static str,
    /// What kind of a hook it is.
    pub kind: Kind,
    /// What it is needed for.
    pub role: Role,
    /// Why it could not be attached.
    pub error: Option<String>,
    /// What the kernel's verifier had to do.
    pub verified: Option<Verified>,
    program: &'static str,
}

/// What it took the kernel's verifier to accept a program.
#[derive(Clone, Copy, Debug)]
pub struct Verified {
    /// How many instructions it has followed. The limit is a million.
    pub instructions: u32,
    /// How long loading took.
    pub time: Duration,
}

/// One way to attach a probe.
struct Way {
    kind: Kind,
    program: &'static str,
    hook: &'static str,
    /// The types of the hook's first arguments, which the program relies on.
    arguments: &'static [&'static str],
    /// Whether the hook's arguments have to be these and no others: what a function returns is behind them.
    exactly: bool,
}

/// A probe, and the ways to attach it: the first that the kernel takes is used.
struct Plan {
    name: &'static str,
    role: Role,
    ways: &'static [Way],
}

const fn tracepoint(program: &'static str, hook: &'static str, arguments: &'static [&'static str]) -> Way {
    Way {
        kind: Kind::Tracepoint,
        program,
        hook,
        arguments,
        exactly: false,
    }
}

const fn exit(program: &'static str, hook: &'static str, arguments: &'static [&'static str]) -> Way {
    Way {
        kind: Kind::Exit,
        program,
        hook,
        arguments,
        exactly: true,
    }
}

const fn again(name: &'static str, ways: &'static [Way]) -> Plan {
    Plan {
        name,
        role: Role::Again,
        ways,
    }
}

const PROBES: [Plan; 20] = [
    Plan {
        name: "ready",
        role: Role::Arrival,
        ways: &[
            tracepoint("vigie_ready", "sk_data_ready", &["const struct sock *"]),
            Way {
                kind: Kind::Entry,
                program: "vigie_ready_entry",
                hook: "sock_def_readable",
                arguments: &["struct sock *"],
                exactly: true,
            },
        ],
    },
    Plan {
        name: "receive",
        role: Role::Requests,
        ways: &[
            tracepoint("vigie_receive", "sock_recv_length", &["struct sock *", "int", "int"]),
            exit(
                "vigie_receive_exit",
                "tcp_recvmsg",
                &["struct sock *", "struct msghdr *", "size_t", "int", "int *"],
            ),
            exit(
                "vigie_receive_exit_old",
                "tcp_recvmsg",
                &["struct sock *", "struct msghdr *", "size_t", "int", "int", "int *"],
            ),
        ],
    },
    Plan {
        name: "send",
        role: Role::Requests,
        ways: &[
            tracepoint("vigie_send", "sock_send_length", &["struct sock *", "int", "int"]),
            exit(
                "vigie_send_exit",
                "tcp_sendmsg",
                &["struct sock *", "struct msghdr *", "size_t"],
            ),
        ],
    },
    Plan {
        name: "sendpage",
        role: Role::Pages,
        ways: &[exit(
            "vigie_send_page",
            "tcp_sendpage",
            &["struct sock *", "struct page *", "int", "size_t", "int"],
        )],
    },
    Plan {
        name: "state",
        role: Role::Requests,
        ways: &[tracepoint(
            "vigie_state",
            "inet_sock_set_state",
            &["const struct sock *", "const int", "const int"],
        )],
    },
    Plan {
        name: "destroy",
        role: Role::Endings,
        ways: &[tracepoint("vigie_destroy", "tcp_destroy_sock", &["struct sock *"])],
    },
    again(
        "ready_again",
        &[tracepoint(
            "vigie_ready_again",
            "sk_data_ready",
            &["const struct sock *"],
        )],
    ),
    again(
        "receive_again",
        &[tracepoint(
            "vigie_receive_again",
            "sock_recv_length",
            &["struct sock *", "int", "int"],
        )],
    ),
    again(
        "send_again",
        &[tracepoint(
            "vigie_send_again",
            "sock_send_length",
            &["struct sock *", "int", "int"],
        )],
    ),
    again(
        "state_again",
        &[tracepoint(
            "vigie_state_again",
            "inet_sock_set_state",
            &["const struct sock *", "const int", "const int"],
        )],
    ),
    again(
        "destroy_again",
        &[tracepoint(
            "vigie_destroy_again",
            "tcp_destroy_sock",
            &["struct sock *"],
        )],
    ),
    Plan {
        name: "switch",
        role: Role::Scheduler,
        ways: &[tracepoint(
            "vigie_switch",
            "sched_switch",
            &["bool", "struct task_struct *"],
        )],
    },
    Plan {
        name: "fork",
        role: Role::Processes,
        ways: &[tracepoint(
            "vigie_fork",
            "sched_process_fork",
            &["struct task_struct *", "struct task_struct *"],
        )],
    },
    Plan {
        name: "free",
        role: Role::Threads,
        ways: &[tracepoint(
            "vigie_free",
            "sched_process_free",
            &["struct task_struct *"],
        )],
    },
    Plan {
        name: "exit",
        role: Role::Ends,
        ways: &[tracepoint(
            "vigie_exit",
            "sched_process_exit",
            &["struct task_struct *"],
        )],
    },
    Plan {
        name: "exec",
        role: Role::Processes,
        ways: &[tracepoint(
            "vigie_exec",
            "sched_process_exec",
            &["struct task_struct *"],
        )],
    },
    Plan {
        name: "retransmit",
        role: Role::Trouble,
        ways: &[tracepoint(
            "vigie_retransmit",
            "tcp_retransmit_skb",
            &["const struct sock *", "const struct sk_buff *"],
        )],
    },
    Plan {
        name: "reset_sent",
        role: Role::Trouble,
        ways: &[tracepoint(
            "vigie_reset_sent",
            "tcp_send_reset",
            &["const struct sock *", "const struct sk_buff *"],
        )],
    },
    Plan {
        name: "reset_received",
        role: Role::Trouble,
        ways: &[tracepoint(
            "vigie_reset_received",
            "tcp_receive_reset",
            &["struct sock *"],
        )],
    },
    Plan {
        name: "tasks",
        role: Role::RunQueue,
        ways: &[Way {
            kind: Kind::Iterator,
            program: "vigie_tasks",
            hook: "task",
            arguments: &[],
            exactly: false,
        }],
    },
];

/// What the programs are told before they are loaded.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The level of the kernel side's own log: 0 is off, 1 to 5 are error to trace.
    pub log_level: u8,
}

/// The loaded programs.
#[derive(Debug)]
pub struct Loaded {
    /// Programs and maps.
    pub ebpf: Ebpf,
    /// What was tried.
    pub probes: Vec<Probe>,
    /// What the programs do without besides.
    pub missing: Vec<Missing>,
}

/// Something that no probe is for, and that this kernel does not have.
#[derive(Debug)]
pub struct Missing {
    /// What it is.
    pub name: &'static str,
    /// Why the programs have to do without.
    pub error: String,
    /// What is missing then, as the end of "without it …".
    pub without: &'static str,
}

/// Takes what was found, or writes down what is missing.
fn found<T>(missing: &mut Vec<Missing>, name: &'static str, without: &'static str, result: Result<T>) -> Option<T> {
    result
        .map_err(|error| {
            missing.push(Missing {
                name,
                error: format!("{error:#}"),
                without,
            });
        })
        .ok()
}

/// Whether requests can be seen with these probes.
pub fn sees_requests(probes: &[Probe]) -> bool {
    probes
        .iter()
        .all(|probe| probe.role != Role::Requests || probe.error.is_none())
}

/// The PID namespace of this process, and that of the host: `PROC_PID_INIT_INO` in `include/linux/proc_ns.h`, which never changes.
const PID_NAMESPACE: &str = "/proc/self/ns/pid";
const HOST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// In a PID namespace of its own a process has other ids than in the kernel, where the programs run.
fn ensure_host_ids() -> Result<()> {
    let own =
        fs::read_link(PID_NAMESPACE).with_context(|| format!("cannot read {PID_NAMESPACE}: is /proc mounted?"))?;
    ensure!(
        own == Path::new(HOST_PID_NAMESPACE),
        "this is not the host's PID namespace, and processes have other ids here than in the kernel: run Vigie in the host's \
         (hostPID: true, --pid=host)"
    );
    Ok(())
}

/// The length of a jiffy, in nanoseconds: that of a tick of the coarse clock (`CLOCK_MONOTONIC_COARSE`).
fn jiffy() -> u64 {
    let mut resolution = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec, which the call writes.
    unsafe { libc::clock_getres(libc::CLOCK_MONOTONIC_COARSE, &raw mut resolution) };
    resolution.tv_nsec.unsigned_abs()
}

/// The bounds as the kernel side wants them: unused ones are never reached.
pub fn padded_bounds(bounds: &[u64]) -> [u64; BOUNDS] {
    let mut padded = [u64::MAX; BOUNDS];
    for (place, bound) in padded.iter_mut().zip(bounds) {
        *place = *bound;
    }
    padded
}

/// Loads everything, and attaches what can be attached.
///
/// # Errors
///
/// If nothing can be loaded: no BTF, no permission, a kernel whose structures are not known.
pub fn load(settings: &Settings) -> Result<Loaded> {
    ensure_host_ids()?;
    let bytes = fs::read(KERNEL_BTF)
        .with_context(|| format!("cannot read {KERNEL_BTF}: Vigie needs a kernel built with CONFIG_DEBUG_INFO_BTF"))?;
    let release = fs::read_to_string(RELEASE).with_context(|| format!("cannot read {RELEASE}"))?;
    let mut missing = Vec::new();
    let (offsets, signatures, functions) = {
        let btf = Btf::parse(&bytes).context("cannot understand the kernel's BTF")?;
        ensure!(
            btf.function_args(NEWEST_HELPER).is_ok(),
            "this kernel is too old: Vigie needs Linux 5.15 or newer ({NEWEST_HELPER} is missing)"
        );
        let mut offsets = offsets::resolve(&btf)?;
        let address = found(
            &mut missing,
            "unix sockets",
            "requests over unix sockets are not seen",
            unix_address(&btf),
        );
        offsets.found.push(("UNIX_ADDR", address.unwrap_or(0)));
        let [parent, cgroups] = found(
            &mut missing,
            "families of processes",
            "what the programs use that a service starts is not counted as the service's",
            offsets::family(&btf),
        )
        .unwrap_or_default();
        offsets
            .found
            .extend([("TASK_PARENT", parent), ("TASK_CGROUPS", cgroups)]);
        let functions = found(
            &mut missing,
            "preemption",
            Role::Again.without(),
            preemption::functions(&btf, &release),
        );
        (offsets, signatures(&btf), functions.flatten())
    };
    let btf = AyaBtf::parse(&bytes, aya::Endianness::default()).context("cannot understand the kernel's BTF")?;
    drop(bytes);

    let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
    let syscalls = offsets::SYSCALLS.map(|(name, number)| (name, number.cast_unsigned()));
    let process = std::process::id();
    // As for the hooks: so that it can be tested on kernels that do not need it.
    let is_twice = functions.is_some() || std::env::var_os(TWICE).is_some();
    let twice = u32::from(is_twice);
    // What the phases need is, among others, what the scheduler's probe needs.
    let is_for_phases = |(probe, _): &&(&str, String)| [offsets::PHASES, "switch"].contains(probe);
    let phases_error = match offsets.unusable.iter().find(is_for_phases) {
        Some((_, reason)) => Some(reason.clone()),
        None => std::env::var_os(NO_PHASES).map(|_| format!("{NO_PHASES} is set")),
    };
    let phases = u32::from(phases_error.is_none());
    let jiffy = jiffy();
    let mut loader = EbpfLoader::new();
    loader.btf(Some(&btf));
    for (name, offset) in &offsets.found {
        loader.override_global(name, offset, true);
    }
    for (name, number) in &syscalls {
        loader.override_global(name, number, true);
    }
    loader
        .override_global("SEED", &seed, true)
        .override_global("OWN_PROCESS", &process, true)
        .override_global("TWICE", &twice, true)
        .override_global("PHASES", &phases, true)
        .override_global("JIFFY", &jiffy, true)
        .override_global(aya_log::LEVEL, &settings.log_level, true);
    let mut object = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/vigie-ebpf")).to_vec();
    preemption::put(&mut object, functions).context("the programs of this build are broken")?;
    let mut ebpf = loader
        .load(&object)
        .context("cannot create the eBPF maps: run Vigie as root, or with CAP_BPF and CAP_PERFMON")?;

    let mut probes = Vec::with_capacity(PROBES.len());
    for (plan, signatures) in PROBES.iter().zip(signatures) {
        if plan.role == Role::Again && !is_twice {
            continue;
        }
        let unusable = offsets.unusable.iter().find(|(probe, _)| *probe == plan.name);
        if let Some(probe) = probe(&mut ebpf, &btf, plan, signatures, unusable.map(|(_, reason)| reason)) {
            probes.push(probe);
        }
    }
    // No program of its own, but missed like one.
    if let Some(error) = phases_error {
        probes.push(Probe {
            name: offsets::PHASES,
            hook: "task_struct",
            kind: Kind::Tracepoint,
            role: Role::Phases,
            error: Some(error),
            verified: None,
            program: "",
        });
    }
    Ok(Loaded { ebpf, probes, missing })
}

/// Where a unix socket's address is, if unix sockets can be watched: the functions that take the place of the tracepoints are TCP's.
fn unix_address(btf: &Btf<'_>) -> Result<u32> {
    ensure!(!only_functions(), "{FUNCTIONS_FIRST} is set");
    btf.tracepoint_args(EVERY_SOCKET)?;
    offsets::unix_address(btf)
}

/// Whether functions are tried in place of tracepoints.
fn only_functions() -> bool {
    std::env::var_os(FUNCTIONS_FIRST).is_some()
}

/// What the hook of each way says of its arguments, for each probe.
type Signatures = Vec<Vec<Result<(), Unfit>>>;

/// Why a program cannot be used with a hook.
enum Unfit {
    /// The kernel does not have it.
    Missing,
    /// What the kernel says of it cannot be used.
    Unclear(BtfError),
    /// It has other arguments.
    Other(String),
}

fn signatures(btf: &Btf<'_>) -> Signatures {
    let of = |plan: &Plan| plan.ways.iter().map(|way| check(btf, way)).collect();
    PROBES.iter().map(of).collect()
}

/// Whether a hook has the arguments that its program takes. Loading would not tell: to the verifier a number is a number.
fn check(btf: &Btf<'_>, way: &Way) -> Result<(), Unfit> {
    let found = match way.kind {
        Kind::Iterator => return Ok(()),
        Kind::Tracepoint => btf.tracepoint_args(way.hook),
        Kind::Entry | Kind::Exit => btf.function_args(way.hook),
    };
    let found = found.map_err(|error| match error {
        BtfError::NoTracepoint(_) | BtfError::NoFunction(_) => Unfit::Missing,
        error => Unfit::Unclear(error),
    })?;
    let expected = way.arguments;
    let fits = found.len() >= expected.len() && found.iter().zip(expected).all(|(found, expected)| found == expected);
    if !fits || way.exactly && found.len() != expected.len() {
        return Err(Unfit::Other(found.join(", ")));
    }
    Ok(())
}

/// Tries the ways of a probe until one is taken. `None`: this kernel does not need it.
fn probe(
    ebpf: &mut Ebpf,
    btf: &AyaBtf,
    plan: &Plan,
    signatures: Vec<Result<(), Unfit>>,
    unusable: Option<&String>,
) -> Option<Probe> {
    let mut errors: Vec<(&'static str, String)> = Vec::new();
    let mut result = None;
    let only_functions = only_functions() && plan.ways.len() > 1;
    for (way, signature) in plan.ways.iter().zip(signatures) {
        if only_functions && way.kind == Kind::Tracepoint {
            continue;
        }
        let error = match (unusable, signature) {
            (Some(reason), _) => reason.clone(),
            (None, Err(Unfit::Missing)) if plan.role == Role::Pages => return None,
            (None, Err(Unfit::Missing)) => "not in this kernel".to_owned(),
            (None, Err(Unfit::Unclear(error))) => error.to_string(),
            (None, Err(Unfit::Other(arguments))) => format!("its arguments are others in this kernel: ({arguments})"),
            (None, Ok(())) => match attach(ebpf, btf, way) {
                Ok(verified) => {
                    result = Some((way, verified));
                    break;
                }
                Err(error) => describe(&error),
            },
        };
        errors.push((way.hook, error));
    }
    let [first, ..] = plan.ways else {
        return None;
    };
    let way = result.as_ref().map_or(first, |(way, _)| way);
    let reasons = || {
        let reasons = errors.iter().map(|(hook, error)| format!("{hook}: {error}"));
        reasons.collect::<Vec<_>>().join("; ")
    };
    Some(Probe {
        name: plan.name,
        hook: way.hook,
        kind: way.kind,
        role: plan.role,
        error: result.is_none().then(reasons),
        verified: result.and_then(|(_, verified)| verified),
        program: way.program,
    })
}

/// Loads a program, and attaches it.
fn attach(ebpf: &mut Ebpf, btf: &AyaBtf, way: &Way) -> Result<Option<Verified>> {
    let begin = Instant::now();
    let program = ebpf
        .program_mut(way.program)
        .context("the program is missing from this build")?;
    let info = match way.kind {
        Kind::Tracepoint => {
            let program: &mut BtfTracePoint = program.try_into()?;
            program.load(way.hook, btf)?;
            program.attach()?;
            program.info()
        }
        Kind::Entry => {
            let program: &mut FEntry = program.try_into()?;
            program.load(way.hook, btf)?;
            program.attach()?;
            program.info()
        }
        Kind::Exit => {
            let program: &mut FExit = program.try_into()?;
            program.load(way.hook, btf)?;
            program.attach()?;
            program.info()
        }
        Kind::Iterator => {
            let program: &mut Iter = program.try_into()?;
            program.load(way.hook, btf)?;
            program.info()
        }
    };
    let time = begin.elapsed();
    let instructions = info.ok().and_then(|info| info.verified_instruction_count());
    Ok(instructions.map(|instructions| Verified { instructions, time }))
}

/// An error in one line, with what to do.
fn describe(error: &anyhow::Error) -> String {
    if std::env::var_os("VIGIE_VERIFIER_LOG").is_some() {
        return format!("{error:?}");
    }
    match error.downcast_ref::<ProgramError>() {
        Some(ProgramError::LoadError { io_error, verifier_log }) => {
            let log = verifier_log.to_string();
            let reason = log
                .lines()
                .rev()
                .find(|line| !line.is_empty() && !STATISTICS.iter().any(|start| line.starts_with(start)))
                .unwrap_or("");
            format!("the kernel refuses the program: {io_error} {reason}")
        }
        _ => format!("{error:#}"),
    }
}

impl Probe {
    /// The kind of the hook and its name, as one line says them.
    pub fn place(&self) -> String {
        let kind = match self.kind {
            Kind::Tracepoint => "tracepoint",
            Kind::Entry => "entry of function",
            Kind::Exit => "return of function",
            Kind::Iterator => "iterator",
        };
        format!("{kind} {}", self.hook)
    }

    /// The name of the program in the object.
    pub fn program(&self) -> &'static str {
        self.program
    }
}
