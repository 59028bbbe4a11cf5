//! Events that a program missed because it was running already on that CPU.
//!
//! A tracing program does not run when it would interrupt itself (`bpf_prog->active` in the kernel). On a kernel with full
//! preemption that can happen, and the kernel counts it.

use std::{io, mem::offset_of, os::fd::BorrowedFd};

/// `BPF_OBJ_GET_INFO_BY_FD`, from `enum bpf_cmd`.
const GET_INFO: libc::c_int = 15;

/// The beginning of `struct bpf_prog_info`, up to what is read here.
///
/// Source: `include/uapi/linux/bpf.h`; `recursion_misses` came with Linux 5.12.
#[repr(C)]
#[derive(Default)]
struct ProgramInfo {
    kind: u32,
    id: u32,
    tag: [u8; 8],
    lengths: [u32; 2],
    instructions: [u64; 2],
    load_time: u64,
    uid: u32,
    map_count: u32,
    maps: u64,
    name: [u8; 16],
    ifindex: u32,
    flags: u32,
    netns: [u64; 2],
    ksym_counts: [u32; 2],
    ksyms: [u64; 2],
    btf: u32,
    func_info_size: u32,
    func_info: u64,
    func_info_count: u32,
    line_info_count: u32,
    line_info: [u64; 2],
    jited_line_info_count: u32,
    line_info_sizes: [u32; 2],
    tag_count: u32,
    tags: u64,
    run_time: u64,
    run_count: u64,
    recursion_misses: u64,
}

#[repr(C)]
struct Attribute {
    fd: u32,
    length: u32,
    info: u64,
}

/// How many events a program has missed.
///
/// # Errors
///
/// If the kernel does not say.
pub fn missed(program: BorrowedFd<'_>) -> io::Result<u64> {
    use std::os::fd::AsRawFd as _;

    const { assert!(offset_of!(ProgramInfo, run_time) == 192 && offset_of!(ProgramInfo, recursion_misses) == 208) };
    let mut info = ProgramInfo::default();
    let mut attribute = Attribute {
        fd: program.as_raw_fd().cast_unsigned(),
        length: size_of::<ProgramInfo>() as u32,
        info: (&raw mut info).addr() as u64,
    };
    // SAFETY: the attribute is one that this command takes, and points to a writable structure of the length it says.
    let code = unsafe { libc::syscall(libc::SYS_bpf, GET_INFO, &raw mut attribute, size_of::<Attribute>()) };
    if code < 0 { Err(io::Error::last_os_error()) } else { Ok(info.recursion_misses) }
}
