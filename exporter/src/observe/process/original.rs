//! What a process was started with, when its command line has a title over it.
//!
//! `process.title` of Node and `setproctitle` of Python and Ruby write into the place of the arguments, which
//! `/proc/<pid>/cmdline` shows. What is left of the arguments is found in the memory of the process:
//!
//! - The kernel puts the number of arguments and a pointer to each on the stack (`create_elf_tables`,
//!   <https://elixir.bootlin.com/linux/v6.12/source/fs/binfmt_elf.c#L138>). Nobody writes over these, so the length of every
//!   argument stays known.
//! - `AT_EXECFN` behind them is the address of the path that was executed. It stands behind the environment, out of reach of titles.
//! - A runtime that lets its programs set a title has copied the arguments before, at the very beginning of its life, so
//!   the copy is at the beginning of its heap: 250 KB from it in Node 20, 4 KB in Python 3.11. The copy is an array of pointers to strings,
//!   of which the number and the lengths are known.

#[cfg(test)]
mod tests;

use std::{fs::File, os::unix::fs::FileExt, path::Path};

use super::{READ_LIMIT, Stat};

/// Bytes of the heap that are searched.
const HEAP: usize = 2 * 1024 * 1024;
/// Arguments up to which a copy is looked for.
const MAX_ARGUMENTS: usize = 1024;
/// Bytes of the stack that are read: the arguments' pointers, the environment's, and the auxiliary vector.
const STACK: usize = 64 * 1024;
/// Longest text that is read from one address.
const MAX_TEXT: usize = 4096;
/// Type of the entry with the path that was executed, `AT_EXECFN`.
const EXECUTED: u64 = 31;
/// Size of a pointer.
const WORD: usize = 8;

/// What is known of the start of a process.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Original {
    /// The arguments, if the command line does not show them any more and a copy was found.
    pub(super) arguments: Option<Vec<String>>,
    /// The path that was executed.
    pub(super) executed: Option<String>,
}

/// Reads what a process was started with. `program` is the file name of its executable.
pub(super) fn read(dir: &Path, stat: &Stat, cmdline: &[u8], program: &str) -> Original {
    if stat.start_stack == 0 || cmdline.is_empty() {
        // A kernel thread, or no permission to trace the process.
        return Original::default();
    }
    let Ok(memory) = File::open(dir.join("mem")) else {
        return Original::default();
    };
    let stack = read_words(&memory, stat.start_stack, STACK);
    let Some(start) = Start::of(&stack) else {
        return Original::default();
    };
    let executed = start
        .executed
        .and_then(|address| read_text(&memory, address, MAX_TEXT))
        .map(|text| String::from_utf8_lossy(&text).into_owned());
    Original {
        arguments: arguments(&memory, stat, cmdline, start.pointers, program),
        executed,
    }
}

/// What the kernel has put on the stack.
struct Start<'a> {
    /// Where each argument was.
    pointers: &'a [u64],
    /// Where the path is.
    executed: Option<u64>,
}

impl<'a> Start<'a> {
    fn of(stack: &'a [u64]) -> Option<Self> {
        let (&count, rest) = stack.split_first()?;
        let count = usize::try_from(count).ok()?;
        let pointers = rest.get(..count)?;
        let environment = rest.get(count + 1..).unwrap_or_default();
        let auxiliary = environment.iter().position(|&word| word == 0);
        let auxiliary = auxiliary.and_then(|end| environment.get(end + 1..)).unwrap_or_default();
        let executed = auxiliary.chunks_exact(2).find_map(|entry| match entry {
            [EXECUTED, address] => Some(*address),
            _ => None,
        });
        Some(Self { pointers, executed })
    }
}

fn arguments(memory: &File, stat: &Stat, cmdline: &[u8], pointers: &[u64], program: &str) -> Option<Vec<String>> {
    if pointers.is_empty() || pointers.len() > MAX_ARGUMENTS {
        return None;
    }
    let is_shown = |pointer: &u64| (stat.arg_start..stat.arg_end).contains(pointer);
    if pointers.len() > 1 && !pointers.iter().skip(1).any(is_shown) {
        // Programs such as redis-server copy each argument, and let the stack point to the copies.
        let texts = pointers.iter().map(|&pointer| read_text(memory, pointer, MAX_TEXT));
        let texts: Option<Vec<Vec<u8>>> = texts.collect();
        let texts = texts?
            .into_iter()
            .map(|text| String::from_utf8_lossy(&text).into_owned());
        return Some(texts.collect());
    }
    let lengths = lengths(stat, pointers)?;
    let is_whole = u64::try_from(cmdline.len()).is_ok_and(|length| length < READ_LIMIT);
    if lengths.len() < 2 || !is_whole || is_intact(cmdline, &lengths) {
        return None;
    }
    let heap = read_words(memory, stat.start_brk, HEAP);
    find_copy(&heap, stat.start_brk, &lengths, program)
}

/// The length of each argument, if they stand behind each other as the kernel has put them.
fn lengths(stat: &Stat, pointers: &[u64]) -> Option<Vec<usize>> {
    if pointers.first() != Some(&stat.arg_start) {
        return None;
    }
    let ends = pointers.iter().skip(1).chain([&stat.arg_end]);
    pointers
        .iter()
        .zip(ends)
        .map(|(start, end)| usize::try_from(end.checked_sub(*start)?.checked_sub(1)?).ok())
        .collect()
}

/// Whether a command line has its zero bytes where the arguments had them, and nowhere else.
fn is_intact(cmdline: &[u8], lengths: &[usize]) -> bool {
    let mut rest = cmdline;
    for &length in lengths {
        match rest.split_at_checked(length) {
            Some((argument, [0, after @ ..])) if !argument.contains(&0) => rest = after,
            _ => return false,
        }
    }
    true
}

/// Looks for an array of pointers to strings of the given lengths, of which the first is the program.
///
/// The strings are bytes, or `wchar_t` as Python has them: four bytes a character.
fn find_copy(heap: &[u64], base: u64, lengths: &[usize], program: &str) -> Option<Vec<String>> {
    let bytes = Heap { words: heap, base };
    heap.windows(lengths.len()).find_map(|pointers| {
        if !pointers.iter().all(|&pointer| bytes.holds(pointer)) {
            return None;
        }
        let read = |is_wide: bool| -> Option<Vec<String>> {
            let texts = pointers.iter().zip(lengths);
            texts
                .map(|(&pointer, &length)| {
                    if is_wide {
                        bytes.wide_text(pointer, length)
                    } else {
                        bytes.text(pointer, length)
                    }
                })
                .collect()
        };
        let found = read(false).or_else(|| read(true))?;
        found
            .first()
            .is_some_and(|first| is_program(first, program))
            .then_some(found)
    })
}

/// Whether `argv[0]` may be of an executable: `python` and `/usr/bin/python3` of `python3.11`.
fn is_program(argument: &str, program: &str) -> bool {
    let file = argument.rsplit('/').next().unwrap_or(argument);
    let stem = |text: &str| {
        // Versions, and the `t` of the free-threaded python.
        let text = text
            .strip_suffix('t')
            .filter(|rest| rest.ends_with(|c: char| c.is_ascii_digit()))
            .unwrap_or(text);
        text.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-'))
            .to_owned()
    };
    let (file, program) = (stem(file), stem(program));
    !file.is_empty() && (file.starts_with(&program) || program.starts_with(&file))
}

/// Memory of a process from a base address on.
struct Heap<'a> {
    words: &'a [u64],
    base: u64,
}

impl Heap<'_> {
    fn offset(&self, address: u64) -> Option<usize> {
        let offset = usize::try_from(address.checked_sub(self.base)?).ok()?;
        (offset < self.words.len() * WORD).then_some(offset)
    }

    fn holds(&self, address: u64) -> bool {
        self.offset(address).is_some()
    }

    fn byte(&self, offset: usize) -> Option<u8> {
        self.words.get(offset / WORD)?.to_le_bytes().get(offset % WORD).copied()
    }

    fn text(&self, address: u64, length: usize) -> Option<String> {
        let start = self.offset(address)?;
        if self.byte(start + length)? != 0 {
            return None;
        }
        let bytes: Option<Vec<u8>> = (start..start + length)
            .map(|offset| self.byte(offset).filter(|&byte| byte != 0))
            .collect();
        Some(String::from_utf8_lossy(&bytes?).into_owned())
    }

    /// A text of 32-bit characters that has the given length in UTF-8. Python writes a byte that is no UTF-8 as U+DC80 to U+DCFF.
    fn wide_text(&self, address: u64, length: usize) -> Option<String> {
        let start = self.offset(address)?;
        let mut text = String::new();
        let mut bytes = 0;
        for offset in (start..).step_by(4) {
            let mut code = [0; 4];
            for (place, byte) in code.iter_mut().enumerate() {
                *byte = self.byte(offset + place)?;
            }
            let code = u32::from_le_bytes(code);
            if code == 0 {
                break;
            }
            let is_escape = (0xDC80..=0xDCFF).contains(&code);
            let character = if is_escape {
                char::REPLACEMENT_CHARACTER
            } else {
                char::from_u32(code)?
            };
            bytes += if is_escape { 1 } else { character.len_utf8() };
            if bytes > length {
                return None;
            }
            text.push(character);
        }
        (bytes == length).then_some(text)
    }
}

/// Reads words up to the end of what is mapped.
fn read_words(memory: &File, address: u64, limit: usize) -> Vec<u64> {
    let bytes = read_bytes(memory, address, limit);
    let words = bytes.chunks_exact(WORD);
    words
        .filter_map(|word| word.try_into().ok().map(u64::from_ne_bytes))
        .collect()
}

/// Reads a text that ends with a zero byte.
fn read_text(memory: &File, address: u64, limit: usize) -> Option<Vec<u8>> {
    let mut bytes = read_bytes(memory, address, limit);
    let end = bytes.iter().position(|&byte| byte == 0)?;
    bytes.truncate(end);
    Some(bytes)
}

fn read_bytes(memory: &File, address: u64, limit: usize) -> Vec<u8> {
    const PAGE: usize = 4096;
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 * PAGE];
    // The kernel stops at a page that is not mapped, and fails if that is the first.
    while bytes.len() < limit {
        let wanted = chunk.len().min(limit - bytes.len());
        let Some(space) = chunk.get_mut(..wanted) else {
            break;
        };
        let at = address.checked_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        match at.map(|at| memory.read_at(space, at)) {
            Some(Ok(read)) if read > 0 => bytes.extend(chunk.iter().take(read)),
            _ => break,
        }
    }
    bytes
}
