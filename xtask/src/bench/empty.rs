//! Empty programs on Vigie's hooks: what any program there costs, the kernel's own statistics included.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};
use aya::Btf;
use aya::programs::loaded_programs;

/// `BPF_PROG_LOAD` and `BPF_RAW_TRACEPOINT_OPEN`, from `enum bpf_cmd`.
const PROGRAM_LOAD: libc::c_int = 5;
const RAW_TRACEPOINT_OPEN: libc::c_int = 17;
/// `BPF_PROG_TYPE_TRACING` and `BPF_TRACE_RAW_TP`.
const TRACING: u32 = 26;
const TRACE_RAW_TRACEPOINT: u32 = 23;
/// `r0 = 0; exit`.
const PROGRAM: [u64; 2] = [0xb7, 0x95];

/// The beginning of `union bpf_attr` for loading a program.
#[repr(C)]
#[derive(Default)]
struct Load {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    ifindex: u32,
    expected_attach_type: u32,
    btf: u32,
    func_info_size: u32,
    func_info: u64,
    func_info_count: u32,
    line_info_size: u32,
    line_info: u64,
    line_info_count: u32,
    attach_btf_id: u32,
}

/// The beginning of `union bpf_attr` for attaching to a raw tracepoint.
#[repr(C)]
#[derive(Default)]
struct Attach {
    name: u64,
    program: u32,
    reserved: u32,
}

/// An empty program, attached until it is dropped.
pub struct Empty {
    /// Its id.
    pub id: u32,
    _program: OwnedFd,
    _link: OwnedFd,
}

fn bpf<T>(command: libc::c_int, attribute: &T) -> io::Result<OwnedFd> {
    // SAFETY: the attribute is one that the command takes, with its own length.
    let code = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attribute), size_of::<T>()) };
    if code < 0 {
        return Err(io::Error::last_os_error());
    }
    let descriptor = i32::try_from(code).map_err(io::Error::other)?;
    // SAFETY: both commands answer with a descriptor that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Attaches an empty program to a tracepoint.
pub fn attach(btf: &Btf, hook: &str, name: &str) -> Result<Empty> {
    let license = c"GPL";
    let type_name = format!("btf_trace_{hook}");
    let mut load = Load {
        kind: TRACING,
        instruction_count: 2,
        instructions: PROGRAM.as_ptr().addr() as u64,
        license: license.as_ptr().addr() as u64,
        expected_attach_type: TRACE_RAW_TRACEPOINT,
        attach_btf_id: btf
            .id_by_type_name_kind(&type_name, aya_obj::btf::BtfKind::Typedef)
            .with_context(|| format!("this kernel has no {hook}"))?,
        ..Load::default()
    };
    for (place, byte) in load.name.iter_mut().zip(name.bytes().take(15)) {
        *place = byte;
    }
    let program = bpf(PROGRAM_LOAD, &load).with_context(|| format!("cannot load an empty program for {hook}"))?;
    let attribute = Attach {
        name: 0,
        program: program.as_raw_fd().cast_unsigned(),
        reserved: 0,
    };
    let link =
        bpf(RAW_TRACEPOINT_OPEN, &attribute).with_context(|| format!("cannot attach an empty program to {hook}"))?;
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_raw_fd()))?;
    let id = text
        .lines()
        .find_map(|line| line.strip_prefix("prog_id:"))
        .context("a program without an id")?;
    let id = id.trim().parse()?;
    // The program is there, under its own name.
    debug_assert!(loaded_programs().flatten().any(|program| program.id() == id));
    Ok(Empty {
        id,
        _program: program,
        _link: link,
    })
}
