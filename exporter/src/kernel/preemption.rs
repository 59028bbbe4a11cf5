//! Programs that another task must not interrupt.
//!
//! While a program runs for one task, the kernel does not run it for another on the same CPU: it skips the event. That
//! could not happen as long as tracepoints were called with preemption off. Linux 7 leaves it on, so there the programs turn
//! it off themselves, with functions of the kernel that eBPF may call since 6.10 (`bpf_preempt_disable()` in
//! kernel/bpf/helpers.c). rustc has no relocations for these: the programs call helpers that do not exist, and here the
//! numbers of the functions are put in, or nothing.

use std::ops::Range;

use anyhow::{Context as _, Result, ensure};
use object::{LittleEndian, Object as _, ObjectSection as _, SectionKind, read::elf::ElfFile64};
use vigie_ebpf::types::{PREEMPT_DISABLE, PREEMPT_ENABLE};

use super::btf::Btf;

/// The first release whose tracepoints leave preemption on.
const PREEMPTIBLE: u32 = 7;

/// The functions, in the order of their type ids.
pub const FUNCTIONS: [&str; 2] = ["bpf_preempt_disable", "bpf_preempt_enable"];

/// The length of an instruction, in bytes.
const INSTRUCTION: usize = 8;
/// `BPF_JMP | BPF_CALL`.
const CALL: u8 = 0x85;
/// `BPF_JMP | BPF_JA`: a jump by nothing is nothing.
const JUMP: u8 = 0x05;
/// The source register that marks a call of one of the kernel's own functions (`BPF_PSEUDO_KFUNC_CALL`).
const KERNEL_FUNCTION: u8 = 2 << 4;

/// The type ids of the functions that turn preemption off and on, if the running kernel makes that necessary.
///
/// # Errors
///
/// If it does, and does not have them.
pub fn functions(btf: &Btf<'_>, release: &str) -> Result<Option<[u32; 2]>> {
    let major = release
        .split('.')
        .next()
        .and_then(|major| major.trim().parse::<u32>().ok());
    let major = major.with_context(|| format!("the kernel's release is no version: {release}"))?;
    if major < PREEMPTIBLE {
        return Ok(None);
    }
    let [off, on] = FUNCTIONS;
    Ok(Some([btf.function_id(off)?, btf.function_id(on)?]))
}

/// Puts calls of these functions, or nothing, where the programs of an object file want them: in its code, and nowhere else.
///
/// # Errors
///
/// If this is no object file of programs, or does not turn preemption off, and on again.
pub fn put(object: &mut [u8], functions: Option<[u32; 2]>) -> Result<()> {
    let mut count = [0; 2];
    for place in code(object)? {
        let code = object.get_mut(place).context("a section of code is cut short")?;
        ensure!(
            code.len() % INSTRUCTION == 0,
            "a section of code ends in the middle of an instruction"
        );
        for instruction in code.chunks_exact_mut(INSTRUCTION) {
            if let Some(which) = marked(instruction) {
                count[which] += 1;
                let (code, register, number) = match functions {
                    Some(functions) => (CALL, KERNEL_FUNCTION, functions[which]),
                    None => (JUMP, 0, 0),
                };
                instruction[..2].copy_from_slice(&[code, register]);
                instruction[4..].copy_from_slice(&number.to_le_bytes());
            }
        }
    }
    // Not as many of the one as of the other: the compiler may have a program end at several places.
    let [off, on] = count;
    ensure!(
        off != 0 && on != 0,
        "the programs turn preemption off at {off} places, and on at {on}"
    );
    Ok(())
}

/// Where the sections with code are in an object file.
fn code(object: &[u8]) -> Result<Vec<Range<usize>>> {
    let file = ElfFile64::<LittleEndian>::parse(object).context("the programs are no object file")?;
    let mut places = Vec::new();
    for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
        let (start, length) = section.file_range().context("a section of code has no bytes")?;
        let end = start.checked_add(length).context("a section of code has no end")?;
        places.push(usize::try_from(start)?..usize::try_from(end)?);
    }
    Ok(places)
}

/// Which of the functions an instruction stands for, if for any.
fn marked(instruction: &[u8]) -> Option<usize> {
    let [CALL, 0, 0, 0, number @ ..] = instruction else {
        return None;
    };
    match i32::from_le_bytes(number.try_into().ok()?) {
        PREEMPT_DISABLE => Some(0),
        PREEMPT_ENABLE => Some(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXECUTABLE: u64 = 4;

    fn call(number: i32) -> Vec<u8> {
        [&[CALL, 0, 0, 0], &number.to_le_bytes()[..]].concat()
    }

    /// An object file with a section of code and one of data, and where they are.
    fn object(code: &[u8], data: &[u8]) -> (Vec<u8>, usize, usize) {
        const NAMES: &[u8] = b"\0.text\0.data\0.shstrtab\0";
        let (code_at, data_at) = (64, 64 + code.len());
        let names_at = data_at + data.len();
        let headers_at = (names_at + NAMES.len()).next_multiple_of(8);
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(16, 0);
        // A relocatable file for BPF, and where its section headers are.
        file.extend([1, 0, 247, 0, 1, 0, 0, 0]);
        file.extend([0; 16]);
        file.extend((headers_at as u64).to_le_bytes());
        file.extend([0, 0, 0, 0, 64, 0, 0, 0, 0, 0, 64, 0, 4, 0, 3, 0]);
        file.resize(code_at, 0);
        file.extend([code, data, NAMES].concat());
        file.resize(headers_at, 0);
        for (name, kind, flags, at, length) in [
            (0u32, 0u32, 0, 0, 0),
            (1, 1, 2 | EXECUTABLE, code_at, code.len()),
            (7, 1, 2, data_at, data.len()),
            (13, 3, 0, names_at, NAMES.len()),
        ] {
            file.extend(name.to_le_bytes());
            file.extend(kind.to_le_bytes());
            for word in [flags, 0, at as u64, length as u64, 0, 1, 0] {
                file.extend(word.to_le_bytes());
            }
            file.resize(file.len().next_multiple_of(8), 0);
        }
        (file, code_at, data_at)
    }

    #[test]
    fn only_the_marked_calls_change() {
        let marks = [call(PREEMPT_DISABLE), call(PREEMPT_ENABLE)].concat();
        let (file, at, data) = object(&[call(5), marks.clone()].concat(), &marks);
        let mut with = file.clone();
        put(&mut with, Some([0x1_0203, 7])).unwrap();
        assert_eq!(with[..at + 8], file[..at + 8]);
        assert_eq!(with[at + 8..at + 16], [0x85, 0x20, 0, 0, 3, 2, 1, 0]);
        assert_eq!(with[at + 16..data], [0x85, 0x20, 0, 0, 7, 0, 0, 0]);
        // What looks like it in the data is data.
        assert_eq!(with[data..], file[data..]);
        let mut without = file;
        put(&mut without, None).unwrap();
        assert_eq!(without[at + 8..data], [5, 0, 0, 0, 0, 0, 0, 0].repeat(2));
    }

    #[test]
    fn what_is_no_code_is_refused() {
        let marks = [call(PREEMPT_DISABLE), call(PREEMPT_ENABLE)].concat();
        let refused = |mut file: Vec<u8>| {
            let before = file.clone();
            let error = put(&mut file, None).unwrap_err().to_string();
            (error, file == before)
        };
        let error = |file: Vec<u8>| refused(file).0;
        assert_eq!(
            refused(marks.clone()),
            ("the programs are no object file".to_owned(), true)
        );
        assert!(error(object(&call(PREEMPT_DISABLE), &marks).0).contains("off at 1 places, and on at 0"));
        assert!(error(object(&[], &marks).0).contains("off at 0 places, and on at 0"));
        assert!(error(object(&[&marks[..], &[0; 3]].concat(), &[]).0).contains("in the middle of an instruction"));
        // A section that is longer than the file.
        let (mut file, ..) = object(&marks, &[]);
        let header = file.len() - 3 * 64;
        file[header + 32..header + 40].copy_from_slice(&u64::MAX.to_le_bytes());
        let (text, is_unchanged) = refused(file);
        assert!(text.contains("section of code") && is_unchanged, "{text}");
    }

    #[test]
    fn functions_that_are_needed_and_missing_are_said() {
        // No types at all: the header, and a string section of one byte.
        let mut bytes = vec![0x9f, 0xeb, 1, 0, 24, 0, 0, 0];
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
        let btf = Btf::parse(&bytes).unwrap();
        assert_eq!(functions(&btf, "6.18.4-generic\n").unwrap(), None);
        for release in ["7.0.1\n", "7\n", "12.1"] {
            let error = functions(&btf, release).unwrap_err().to_string();
            assert!(error.contains("bpf_preempt_disable"), "{error}");
        }
        assert!(functions(&btf, "rolling").is_err());
    }
}
