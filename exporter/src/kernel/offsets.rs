//! What the eBPF programs have to know of the running kernel, as constants to write into them.

use anyhow::{Context as _, Result, ensure};

use super::btf::Btf;

/// A member of a kernel structure: the constant that takes its offset, the structure, the member, its size in bytes.
type Member = (&'static str, &'static str, &'static str, u32);

const MEMBERS: [Member; 13] = [
    ("SOCK_NUM", "sock", "__sk_common.skc_num", 2),
    ("SOCK_STATE", "sock", "__sk_common.skc_state", 1),
    ("TCP_RCV_NXT", "tcp_sock", "rcv_nxt", 4),
    ("TCP_COPIED_SEQ", "tcp_sock", "copied_seq", 4),
    ("TASK_PID", "task_struct", "pid", 4),
    ("TASK_TGID", "task_struct", "tgid", 4),
    ("TASK_RUN_DELAY", "task_struct", "sched_info.run_delay", 8),
    ("TASK_RUNTIME", "task_struct", "se.sum_exec_runtime", 8),
    ("TASK_NVCSW", "task_struct", "nvcsw", 8),
    ("TASK_NIVCSW", "task_struct", "nivcsw", 8),
    ("TASK_STATE", "task_struct", "__state", 4),
    ("TASK_ON_RQ", "task_struct", "on_rq", 4),
    ("TASK_CPU", "task_struct", "thread_info.cpu", 4),
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

/// The offset of every member that the programs load, by the name of the constant.
///
/// # Errors
///
/// If the kernel has no such member, or one of another size: the programs cannot work then.
pub fn resolve(btf: &Btf<'_>) -> Result<Vec<(&'static str, u32)>> {
    let mut offsets = Vec::with_capacity(MEMBERS.len() + REGISTERS.len());
    for (constant, strukt, member, size) in MEMBERS {
        let found = btf
            .size(strukt, member)
            .with_context(|| format!("this kernel's BTF has no {strukt}.{member}"))?;
        ensure!(
            found == size,
            "{strukt}.{member} is {found} bytes in this kernel, not {size}: this Vigie does not know it"
        );
        offsets.push((constant, btf.offset(strukt, member)?));
    }
    for (constant, member, inside) in REGISTERS {
        offsets.push((constant, btf.offset("pt_regs", member)? + inside));
    }
    Ok(offsets)
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
