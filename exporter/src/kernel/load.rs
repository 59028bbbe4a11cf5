//! Loading the programs into the kernel, and attaching each to its hook.
//!
//! Each probe is tried on its own. What cannot be attached is missing from what Vigie sees, and is said: in the log, by
//! `vigie doctor`, and as `vigie_probe_attached`.

use std::fs;

use anyhow::{Context as _, Result, anyhow, ensure};
use aya::{
    Btf as AyaBtf, Ebpf, EbpfLoader, include_bytes_aligned,
    programs::{BtfTracePoint, Iter, ProgramError},
};
use vigie_ebpf::types::BOUNDS;

use super::{btf::Btf, offsets, process_table::ProcessTable};

/// Where the running kernel describes its own types.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// What a probe is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Without it no request is seen.
    Requests,
    /// Without it a request's time begins when it is read, not when it arrives.
    Arrival,
    /// Without it a request on a connection that is reset is not counted.
    Endings,
    /// Without it the CPU and run-queue metrics of services are missing.
    Scheduler,
    /// Without it a worker, or a process that became another program, may be taken for what it was before.
    Processes,
    /// Without it a thread may be taken for one that has ended.
    Threads,
    /// Without it `vigie_host_runqueue_length` is missing.
    RunQueue,
}

// === impl Role ===

impl Role {
    /// What is missing without the probe, as the end of "without it …".
    pub fn without(self) -> &'static str {
        match self {
            Self::Requests => "no request can be seen",
            Self::Arrival => "a request's duration begins when it is read, not when it arrives",
            Self::Endings => "a request on a connection that is reset is not counted",
            Self::Scheduler => "the CPU and run-queue metrics of services are missing",
            Self::Processes => "a worker may be taken for another service until its first request",
            Self::Threads => "a thread's first stint may be missing from its service",
            Self::RunQueue => "vigie_host_runqueue_length is missing",
        }
    }
}

/// One program on one hook.
#[derive(Debug)]
pub struct Probe {
    /// The probe's name, a label value.
    pub name: &'static str,
    /// The kernel's hook, a label value.
    pub hook: &'static str,
    /// What it is needed for.
    pub role: Role,
    /// Why it could not be attached.
    pub error: Option<String>,
    program: &'static str,
}

/// Name, program, hook, the types of the hook's arguments that the program relies on, role.
type Plan = (&'static str, &'static str, &'static str, &'static [&'static str], Role);

const PROBES: [Plan; 10] = [
    (
        "ready",
        "vigie_ready",
        "sk_data_ready",
        &["const struct sock *"],
        Role::Arrival,
    ),
    (
        "receive",
        "vigie_receive",
        "sock_recv_length",
        &["struct sock *", "int", "int"],
        Role::Requests,
    ),
    (
        "send",
        "vigie_send",
        "sock_send_length",
        &["struct sock *", "int", "int"],
        Role::Requests,
    ),
    (
        "state",
        "vigie_state",
        "inet_sock_set_state",
        &["const struct sock *", "const int", "const int"],
        Role::Requests,
    ),
    (
        "destroy",
        "vigie_destroy",
        "tcp_destroy_sock",
        &["struct sock *"],
        Role::Endings,
    ),
    (
        "switch",
        "vigie_switch",
        "sched_switch",
        &["bool", "struct task_struct *"],
        Role::Scheduler,
    ),
    (
        "fork",
        "vigie_fork",
        "sched_process_fork",
        &["struct task_struct *", "struct task_struct *"],
        Role::Processes,
    ),
    (
        "free",
        "vigie_free",
        "sched_process_free",
        &["struct task_struct *"],
        Role::Threads,
    ),
    (
        "exec",
        "vigie_exec",
        "sched_process_exec",
        &["struct task_struct *"],
        Role::Processes,
    ),
    ("tasks", "vigie_tasks", "task", &[], Role::RunQueue),
];

/// What the programs are told before they are loaded.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The level of the kernel side's own log: 0 is off, 1 to 5 are error to trace.
    pub log_level: u8,
    /// The largest process id, from `/proc/sys/kernel/pid_max`.
    pub pid_max: u32,
}

/// The loaded programs.
#[derive(Debug)]
pub struct Loaded {
    /// Programs and maps.
    pub ebpf: Ebpf,
    /// What was tried.
    pub probes: Vec<Probe>,
}

/// Whether requests can be seen with these probes.
pub fn sees_requests(probes: &[Probe]) -> bool {
    probes
        .iter()
        .all(|probe| probe.role != Role::Requests || probe.error.is_none())
}

/// The host's largest process id plus one, from `/proc/sys/kernel/pid_max`.
///
/// # Errors
///
/// If it cannot be read.
pub fn pid_max() -> Result<u32> {
    const FILE: &str = "/proc/sys/kernel/pid_max";
    let text = fs::read_to_string(FILE).with_context(|| format!("cannot read {FILE}"))?;
    text.trim().parse().with_context(|| format!("{FILE} is not a number"))
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
    let bytes = fs::read(KERNEL_BTF)
        .with_context(|| format!("cannot read {KERNEL_BTF}: Vigie needs a kernel built with CONFIG_DEBUG_INFO_BTF"))?;
    let (offsets, signatures) = {
        let btf = Btf::parse(&bytes).context("cannot understand the kernel's BTF")?;
        (
            offsets::resolve(&btf)?,
            PROBES.map(|(_, _, hook, arguments, role)| check(&btf, hook, arguments, role)),
        )
    };
    let btf = AyaBtf::parse(&bytes, aya::Endianness::default()).context("cannot understand the kernel's BTF")?;
    drop(bytes);

    let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
    let syscalls = offsets::SYSCALLS.map(|(name, number)| (name, number.cast_unsigned()));
    let process = std::process::id();
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
        .override_global(aya_log::LEVEL, &settings.log_level, true)
        .map_max_entries("PROCESSES", ProcessTable::blocks(settings.pid_max));
    let object = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/vigie-ebpf"));
    let mut ebpf = loader
        .load(object)
        .context("cannot create the eBPF maps: run Vigie as root, or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN")?;

    let mut probes = Vec::with_capacity(PROBES.len());
    for ((name, program, hook, _, role), signature) in PROBES.into_iter().zip(signatures) {
        let unusable = offsets.unusable.iter().find(|(probe, _)| *probe == name);
        let usable = unusable.map_or(Ok(()), |(_, reason)| Err(anyhow!("{reason}")));
        let error = usable
            .and(signature)
            .and_then(|()| attach(&mut ebpf, &btf, program, hook, role))
            .err();
        probes.push(Probe {
            name,
            hook,
            role,
            error: error.map(|error| describe(&error)),
            program,
        });
    }
    Ok(Loaded { ebpf, probes })
}

/// Whether a hook has the arguments that its program takes. Loading would not tell: to the verifier a number is a number.
fn check(btf: &Btf<'_>, hook: &str, expected: &[&str], role: Role) -> Result<()> {
    if role == Role::RunQueue {
        return Ok(());
    }
    let found = btf
        .tracepoint_args(hook)
        .map_err(|_| anyhow!("this kernel does not have the hook: kernels from 6.3 on do"))?;
    let fits = found.len() >= expected.len() && found.iter().zip(expected).all(|(found, expected)| found == expected);
    ensure!(fits, "this kernel's hook has other arguments: ({})", found.join(", "));
    Ok(())
}

fn attach(ebpf: &mut Ebpf, btf: &AyaBtf, program: &str, hook: &str, role: Role) -> Result<()> {
    let program = ebpf
        .program_mut(program)
        .context("the program is missing from this build")?;
    if role == Role::RunQueue {
        let program: &mut Iter = program.try_into()?;
        return Ok(program.load(hook, btf)?);
    }
    let program: &mut BtfTracePoint = program.try_into()?;
    program.load(hook, btf)?;
    program.attach()?;
    Ok(())
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
                .find(|line| !line.is_empty() && !line.starts_with("processed "))
                .unwrap_or("");
            format!("the kernel refuses the program: {io_error} {reason}")
        }
        _ => format!("{error:#}"),
    }
}

impl Probe {
    /// The name of the program in the object.
    pub fn program(&self) -> &'static str {
        self.program
    }
}
