//! Programs that another task must not interrupt.
//!
//! While a program runs for one task, the kernel does not run it for another on the same CPU: it skips the event. That
//! could not happen as long as tracepoints were called with preemption off. Linux 7 leaves it on, so there the programs turn
//! it off themselves, with functions of the kernel that eBPF may call since 6.10 (`bpf_preempt_disable()` in
//! kernel/bpf/helpers.c). rustc has no relocations for these: the programs call helpers that do not exist, and here the
//! numbers of the functions are put in, or nothing.

use anyhow::Result;
use vigie_ebpf::types::{PREEMPT_DISABLE, PREEMPT_ENABLE};

use super::btf::Btf;

/// The first release whose tracepoints leave preemption on.
const PREEMPTIBLE: u32 = 7;

/// The length of an instruction, in bytes.
const INSTRUCTION: usize = 8;
/// `BPF_JMP | BPF_CALL`.
const CALL: u8 = 0x85;
/// `BPF_JMP | BPF_JA`: a jump by nothing is nothing.
const JUMP: u8 = 0x05;
/// The source register that marks a call of one of the kernel's own functions (`BPF_PSEUDO_KFUNC_CALL`).
const KERNEL_FUNCTION: u8 = 2 << 4;

/// The type ids of the functions that turn preemption off and on, if the running kernel makes that necessary.
pub fn functions(btf: &Btf<'_>, release: &str) -> Option<[u32; 2]> {
    let major: u32 = release.split('.').next()?.parse().ok()?;
    if major < PREEMPTIBLE {
        return None;
    }
    let id = |name| -> Result<u32> { Ok(btf.function_id(name)?) };
    Some([id("bpf_preempt_disable").ok()?, id("bpf_preempt_enable").ok()?])
}

/// Puts calls of these functions, or nothing, where the programs of an object file want them.
pub fn put(object: &mut [u8], functions: Option<[u32; 2]>) {
    for instruction in object.chunks_exact_mut(INSTRUCTION) {
        let [CALL, 0, 0, 0, number @ ..] = &*instruction else {
            continue;
        };
        let place = match number.try_into().map(i32::from_le_bytes) {
            Ok(PREEMPT_DISABLE) => 0,
            Ok(PREEMPT_ENABLE) => 1,
            _ => continue,
        };
        let (code, register, number) = match functions {
            Some(functions) => (CALL, KERNEL_FUNCTION, functions[place]),
            None => (JUMP, 0, 0),
        };
        instruction[..2].copy_from_slice(&[code, register]);
        instruction[4..].copy_from_slice(&number.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_marked_calls_change() {
        let call = |number: i32| [&[CALL, 0, 0, 0], &number.to_le_bytes()[..]].concat();
        let object = [call(5), call(PREEMPT_DISABLE), call(PREEMPT_ENABLE), vec![CALL, 0]].concat();
        let mut with = object.clone();
        put(&mut with, Some([0x1_0203, 7]));
        assert_eq!(with[..8], object[..8]);
        assert_eq!(with[8..16], [0x85, 0x20, 0, 0, 3, 2, 1, 0]);
        assert_eq!(with[16..24], [0x85, 0x20, 0, 0, 7, 0, 0, 0]);
        assert_eq!(with[24..], object[24..]);
        let mut without = object;
        put(&mut without, None);
        assert_eq!(without[8..24], [5, 0, 0, 0, 0, 0, 0, 0].repeat(2));
    }
}
