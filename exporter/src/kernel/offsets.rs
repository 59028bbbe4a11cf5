//! What the eBPF programs have to know of the running kernel, as constants to write into them.

use anyhow::{Context as _, Result, ensure};

use super::btf::Btf;

/// A member of a kernel structure: the constant that takes its offset, the structure, the member, the sizes in bytes
/// that it may have, and the
/// one probe that needs it, if the others can do without.
type Member = (
    &'static str,
    &'static str,
    &'static str,
    &'static [u32],
    Option<&'static str>,
);

const SWITCH: Option<&str> = Some("switch");
const TASKS: Option<&str> = Some("tasks");
/// Not a probe, but what the probes measure.
pub const PHASES: &str = "phases";
const OF_PHASES: Option<&str> = Some(PHASES);
const RETRANSMIT: Option<&str> = Some("retransmit");

const MEMBERS: [Member; 30] = [
    ("SOCK_NUM", "sock", "__sk_common.skc_num", &[2], None),
    ("SOCK_STATE", "sock", "__sk_common.skc_state", &[1], None),
    ("SOCK_FAMILY", "sock", "__sk_common.skc_family", &[2], None),
    ("SOCK_TYPE", "sock", "sk_type", &[2], None),
    ("SOCK_QUEUED", "sock", "sk_receive_queue.qlen", &[4], None),
    ("TCP_RCV_NXT", "tcp_sock", "rcv_nxt", &[4], None),
    ("TCP_COPIED_SEQ", "tcp_sock", "copied_seq", &[4], None),
    ("TCP_WRITE_SEQ", "tcp_sock", "write_seq", &[4], OF_PHASES),
    ("TCP_SND_UNA", "tcp_sock", "snd_una", &[4], OF_PHASES),
    ("TCP_CHRONO_START", "tcp_sock", "chrono_start", &[4], OF_PHASES),
    ("TCP_CHRONO_STAT", "tcp_sock", "chrono_stat", &[12], OF_PHASES),
    (
        "TASK_ARRIVED",
        "task_struct",
        "sched_info.last_arrival",
        &[8],
        OF_PHASES,
    ),
    ("TASK_RUNS", "task_struct", "sched_info.pcount", &[8], SWITCH),
    ("TASK_START", "task_struct", "start_time", &[8], OF_PHASES),
    ("TASK_SIGNAL", "task_struct", "signal", &[8], OF_PHASES),
    ("SIGNAL_THREADS", "signal_struct", "nr_threads", &[4], OF_PHASES),
    ("TASK_PID", "task_struct", "pid", &[4], None),
    ("TASK_TGID", "task_struct", "tgid", &[4], None),
    ("TASK_LEADER", "task_struct", "group_leader", &[8], None),
    ("TASK_BORN", "task_struct", "start_boottime", &[8], None),
    ("TASK_EXIT_CODE", "task_struct", "exit_code", &[4], Some("exit")),
    ("TASK_RUN_DELAY", "task_struct", "sched_info.run_delay", &[8], SWITCH),
    ("TASK_RUNTIME", "task_struct", "se.sum_exec_runtime", &[8], SWITCH),
    ("TASK_NVCSW", "task_struct", "nvcsw", &[8], SWITCH),
    ("TASK_NIVCSW", "task_struct", "nivcsw", &[8], SWITCH),
    ("TASK_STATE", "task_struct", "__state", &[4], TASKS),
    // An int until 6.18, a byte in 7.x; the programs load the first byte.
    ("TASK_ON_RQ", "task_struct", "on_rq", &[4, 1], TASKS),
    ("SKB_CB", "sk_buff", "cb", &[48], RETRANSMIT),
    ("CB_SEGMENTS", "tcp_skb_cb", "tcp_gso_segs", &[2], RETRANSMIT),
    ("TASK_CPU", "task_struct", "thread_info.cpu", &[4], TASKS),
];

/// Where the registers of a system call are in `struct pt_regs`: its number, its second and third argument.
///
/// x86-64: the system call ABI, `orig_ax` keeps the number. arm64: `syscallno`, and x1 and x2 of `regs`.
#[cfg(target_arch = "x86_64")]
const REGISTERS: [(&str, &str, u32); 3] = [
    ("REGS_SYSCALL", "orig_ax", 0),
    ("REGS_SECOND", "si", 0),
    ("REGS_THIRD", "dx", 0),
];
#[cfg(target_arch = "aarch64")]
const REGISTERS: [(&str, &str, u32); 3] = [
    ("REGS_SYSCALL", "syscallno", 0),
    ("REGS_SECOND", "regs", 8),
    ("REGS_THIRD", "regs", 16),
];

/// Where the members are in the running kernel.
#[derive(Debug, Default)]
pub struct Offsets {
    /// The offset of every member that was found, by the name of the constant.
    pub found: Vec<(&'static str, u32)>,
    /// The probes that cannot work without a member that was not found, and why.
    pub unusable: Vec<(&'static str, String)>,
}

/// Looks up every member that the programs load.
///
/// # Errors
///
/// If the kernel lacks a member that no probe can do without, or has one of another size.
pub fn resolve(btf: &Btf<'_>) -> Result<Offsets> {
    let mut offsets = Offsets::default();
    for (constant, strukt, member, sizes, probe) in MEMBERS {
        match (look_up(btf, strukt, member, sizes), probe) {
            (Ok(offset), _) => offsets.found.push((constant, offset)),
            (Err(error), Some(probe)) => offsets.unusable.push((probe, format!("{error:#}"))),
            (Err(error), None) => return Err(error),
        }
    }
    for (constant, member, inside) in REGISTERS {
        offsets.found.push((constant, btf.offset("pt_regs", member)? + inside));
    }
    Ok(offsets)
}

/// Where a unix socket's address is.
///
/// # Errors
///
/// If this kernel has no unix sockets, or other ones.
pub fn unix_address(btf: &Btf<'_>) -> Result<u32> {
    look_up(btf, "unix_sock", "addr", &[8])
}

/// Where a task's parent and its cgroups are.
///
/// # Errors
///
/// If this kernel's tasks do not have both.
pub fn family(btf: &Btf<'_>) -> Result<[u32; 2]> {
    let parent = look_up(btf, "task_struct", "real_parent", &[8])?;
    Ok([parent, look_up(btf, "task_struct", "cgroups", &[8])?])
}

fn look_up(btf: &Btf<'_>, strukt: &str, member: &str, sizes: &[u32]) -> Result<u32> {
    let found = btf
        .size(strukt, member)
        .with_context(|| format!("this kernel's BTF has no {strukt}.{member}"))?;
    ensure!(
        sizes.contains(&found),
        "{strukt}.{member} is {found} bytes in this kernel, not {sizes:?}: this Vigie does not know it"
    );
    Ok(btf.offset(strukt, member)?)
}

/// The numbers of the system calls whose buffers the programs read, by the name of the constant.
pub const SYSCALLS: [(&str, i64); 8] = [
    ("SYS_READ", libc::SYS_read),
    ("SYS_RECVFROM", libc::SYS_recvfrom),
    ("SYS_READV", libc::SYS_readv),
    ("SYS_RECVMSG", libc::SYS_recvmsg),
    ("SYS_WRITE", libc::SYS_write),
    ("SYS_SENDTO", libc::SYS_sendto),
    ("SYS_WRITEV", libc::SYS_writev),
    ("SYS_SENDMSG", libc::SYS_sendmsg),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_has_all_members() {
        let bytes = std::fs::read("/sys/kernel/btf/vmlinux").expect("Vigie needs a kernel with BTF");
        let offsets = resolve(&Btf::parse(&bytes).unwrap()).unwrap();
        assert_eq!(offsets.found.len(), MEMBERS.len() + REGISTERS.len());
        assert!(offsets.unusable.is_empty());
    }
}
