//! Any bytes may be taken for BTF: no panic, overflow or endless walk follows.
//!
//! Most random input ends at the header. So the first byte says what the rest
//! is: all of the BTF, its type section, or choices from which well-formed type
//! records are made. Short input is replaced by a small valid example, so that
//! no corpus has to be kept.
#![no_main]

#[path = "../../exporter/src/kernel/btf.rs"]
#[allow(dead_code, reason = "the exporter asks for more")]
mod btf;

use btf::Btf;
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

const STRINGS: &[u8] = b"\0s\0m\0n\0btf_trace_t\0a\0";
const S: u32 = 1;
const M: u32 = 3;
const N: u32 = 5;
const TRACEPOINT: u32 = 7;
const A: u32 = 19;
const TAIL: usize = 16;

/// `struct s { int m; union { const struct n { int m; } n; }; int a[4]; }` and
/// a tracepoint that takes a pointer to it.
#[rustfmt::skip]
const EXAMPLE: &[u32] = &[
    0, 1 << 24, 4, 32, // 1: int
    S, 4 << 24 | 3, 24, M, 1, 0, 0, 3, 32, A, 6, 64, // 2: struct s
    0, 5 << 24 | 1, 4, N, 4, 0, // 3: the union
    0, 10 << 24, 5, // 4: const
    N, 4 << 24 | 1, 4, M, 1, 0, // 5: struct n
    0, 3 << 24, 0, 1, 1, 4, // 6: array
    0, 2 << 24, 0, // 7: void *
    0, 2 << 24, 2, // 8: struct s *
    0, 13 << 24 | 2, 0, 0, 7, 0, 8, // 9: function
    0, 2 << 24, 9, // 10: pointer to it
    TRACEPOINT, 8 << 24, 10, // 11: typedef
];

fn bytes_of(words: impl IntoIterator<Item = u32>) -> Vec<u8> {
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

fn with_header(types: &[u8]) -> Vec<u8> {
    let types_len = types.len() as u32;
    let mut btf = bytes_of([0x0001_eb9f, 24, 0, types_len, types_len, STRINGS.len() as u32]);
    btf.extend_from_slice(types);
    btf.extend_from_slice(STRINGS);
    btf
}

/// Well-formed records, with ids and names that mostly exist.
fn generate(choices: &[u8]) -> Vec<u8> {
    let mut choices = choices.iter().map(|byte| u32::from(*byte));
    let mut words = Vec::new();
    while let Some(first) = choices.next() {
        let mut next = || choices.next().unwrap_or(0);
        let (kind, flag) = (first % 20, first / 128);
        let count = next() % 8;
        let name = |byte: u32| [0, S, M, N, TRACEPOINT][byte as usize % 5];
        words.extend([name(next()), flag << 31 | kind << 24 | count, next()]);
        match kind {
            1 => words.push(next() << 16 | next()),
            14 | 17 => words.push(next()),
            3 => words.extend([next(), next(), next() << (next() % 32)]),
            4 | 5 | 15 | 19 => {
                for _ in 0..count {
                    words.extend([name(next()), next(), next() * 8 + (next() << 24)]);
                }
            }
            6 | 13 => {
                for _ in 0..count {
                    words.extend([name(next()), next()]);
                }
            }
            _ => {}
        }
    }
    bytes_of(words)
}

fn ask(btf: &Btf, strukt: &str, path: &str) {
    for result in [btf.offset(strukt, path), btf.size(strukt, path)] {
        if let Err(error) = result {
            assert!(!error.to_string().is_empty());
        }
    }
}

/// The example has to be valid, or the fuzzer starts from next to nothing.
fn check_example() {
    let bytes = with_header(&bytes_of(EXAMPLE.iter().copied()));
    let btf = Btf::parse(&bytes).expect("the example is valid");
    assert_eq!(btf.offset("s", "n.m"), Ok(4));
    assert_eq!(btf.size("s", "a"), Ok(16));
    let args = btf.tracepoint_args("t");
    assert_eq!(args.expect("it has a tracepoint"), ["struct s *"]);
}

fuzz_target!(init: check_example(), |data: &[u8]| {
    let Some((mode, rest)) = data.split_first() else {
        return;
    };
    let owned;
    let bytes = match mode % 3 {
        0 => rest,
        1 => {
            owned = with_header(rest);
            &owned
        }
        _ => {
            owned = with_header(&generate(rest));
            &owned
        }
    };
    let Ok(btf) = Btf::parse(bytes) else { return };
    for (strukt, path) in [
        ("s", "m"),
        ("s", "n"),
        ("s", "n.m"),
        ("s", "n.n.n"),
        ("n", "m"),
    ] {
        ask(&btf, strukt, path);
    }
    let _ = std::hint::black_box(btf.tracepoint_args("t"));
    // And names from the input: the end of the data is in the string section.
    let tail = String::from_utf8_lossy(&data[data.len().saturating_sub(TAIL)..]);
    let (strukt, path) = tail.split_once('/').unwrap_or(("s", &tail));
    ask(&btf, strukt, path);
    let _ = std::hint::black_box(btf.tracepoint_args(path));
    let _ = std::hint::black_box(btf.function_args(path));
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut size = size;
    if size < 8 {
        // The words of the example, to which the kind of input is prepended.
        let types = bytes_of(EXAMPLE.iter().copied());
        let mode = (seed % 3) as u8;
        let body = if mode == 0 { with_header(&types) } else { types };
        if max_size > body.len() && data.len() > body.len() {
            data[0] = mode;
            data[1..=body.len()].copy_from_slice(&body);
            size = body.len() + 1;
        }
    }
    fuzzer_mutate(data, size, max_size)
});
