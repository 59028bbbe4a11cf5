use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use super::{Heap, find_copy, is_intact, is_program};
use crate::observe::process::ProcessInfo;

/// Writes over its arguments what `setproctitle` would, and says that it has done so.
const PYTHON: &str = "
import os, sys
fields = open('/proc/self/stat').read().rsplit(')', 1)[1].split()
start, end = int(fields[45]), int(fields[48])
title = b'shop: worker 17'
with open('/proc/self/mem', 'r+b', 0) as memory:
    memory.seek(start)
    memory.write(title + bytes(end - start - len(title)))
print('ready', flush=True)
sys.stdin.read()
";
const NODE: &str = "process.title = 'shop'; console.log('ready'); process.stdin.resume();";

/// A program that waits, and is ended with the test.
struct Running {
    child: Child,
    directory: PathBuf,
}

impl Running {
    fn new(program: &str, before: &[&str], file: &str, text: &str, after: &[&str]) -> Self {
        let directory = std::env::temp_dir().join(format!("vigie-original-{file}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(file), text).unwrap();
        let mut child = Command::new(program)
            .args(before)
            .arg(file)
            .args(after)
            .current_dir(&directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n");
        Self { child, directory }
    }

    fn info(&self) -> ProcessInfo {
        ProcessInfo::read(self.child.id()).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

#[test]
fn finds_the_arguments_of_node_under_its_title() {
    let node = Running::new("node", &["--max-old-space-size=64"], "pay.js", NODE, &["--port", "80é"]);
    let info = node.info();
    assert_eq!(info.argv, ["shop"]);
    let arguments = ["node", "--max-old-space-size=64", "pay.js", "--port", "80é"];
    assert_eq!(info.original, Some(strings(&arguments)));
    assert_eq!(info.arguments(), arguments);
}

#[test]
fn finds_the_arguments_of_python_under_its_title() {
    let python = Running::new("python3", &["-u"], "pay.py", PYTHON, &["--name", "é€", ""]);
    let info = python.info();
    assert_eq!(info.argv, ["shop: worker 17"]);
    // A wrapper may have started the python with another path.
    let original = info.original.unwrap();
    assert_eq!(
        original.get(1..),
        Some(strings(&["-u", "pay.py", "--name", "é€", ""]).as_slice())
    );
    assert!(info.executed.is_some_and(|path| path.ends_with("/python3")));
}

#[test]
fn arguments_without_a_title_are_not_looked_for() {
    let python = Running::new("python3", &["-u"], "plain.py", "print('ready'); input()", &["", "a b"]);
    let info = python.info();
    // A wrapper may have started the python with another path.
    assert_eq!(
        info.argv.get(1..),
        Some(strings(&["-u", "plain.py", "", "a b"]).as_slice())
    );
    assert_eq!(info.original, None);
}

#[test]
fn a_command_line_of_200_kilobytes_is_read_whole() {
    let long = "x".repeat(100_000);
    let options = ["-X", &long, "-X", &long];
    let python = Running::new("python3", &options, "long.py", "print('ready'); input()", &["end"]);
    assert_eq!(
        python.info().argv.get(5..),
        Some(strings(&["long.py", "end"]).as_slice())
    );
}

#[test]
fn tells_arguments_from_titles() {
    for (cmdline, lengths, expected) in [
        (&b"a\0bc\0"[..], &[1, 2][..], true),
        (b"a\0\0", &[1, 0], true),
        (b"a\0bc\0", &[2, 1], false),
        (b"abc\0\0", &[1, 2], false),
        (b"abcdefg", &[1, 2], false),
        (b"a", &[1, 2], false),
        (b"", &[0], false),
    ] {
        assert_eq!(is_intact(cmdline, lengths), expected, "{cmdline:?}");
    }
}

/// A heap at an address, made of words and a text behind them.
fn heap(base: u64, words: &[u64], text: &[u8]) -> Vec<u64> {
    let padded: Vec<u8> = text.iter().copied().chain([0; 8]).collect();
    let text = padded
        .chunks_exact(8)
        .map(|word| u64::from_le_bytes(word.try_into().unwrap()));
    assert_eq!(base % 8, 0);
    words.iter().copied().chain(text).collect()
}

#[test]
fn a_copy_has_the_number_and_lengths_of_the_arguments() {
    let find = |words: &[u64], text: &[u8], lengths: &[usize]| find_copy(&heap(800, words, text), 800, lengths, "node");
    let pointers = [7, 824, 829];
    assert_eq!(
        find(&pointers, b"node\0a.js\0", &[4, 4]),
        Some(strings(&["node", "a.js"]))
    );
    assert_eq!(find(&pointers, b"node\0a.js\0", &[4, 3]), None);
    assert_eq!(find(&pointers, b"node\0a.jsx", &[4, 4]), None);
    assert_eq!(find(&pointers, b"path\0a.js\0", &[4, 4]), None);
    assert_eq!(find(&[7, 824, 1 << 60], b"node\0a.js\0", &[4, 4]), None);
    assert_eq!(find(&[7, 824, 0], b"node\0a.js\0", &[4, 4]), None);
    // A text that ends with the memory has no end.
    assert_eq!(
        Heap {
            words: &[u64::MAX],
            base: 8
        }
        .text(8, 8),
        None
    );
    assert_eq!(
        Heap {
            words: &[u64::MAX],
            base: 8
        }
        .wide_text(8, 8),
        None
    );
}

#[test]
fn the_first_argument_is_the_program() {
    for (argument, program, expected) in [
        ("python", "python3.11", true),
        ("/usr/bin/python3", "python3.13t", true),
        ("nodejs", "node", true),
        ("/opt/ruby", "ruby3.1", true),
        ("HOME", "node", false),
        ("", "node", false),
        ("1234", "node", false),
    ] {
        assert_eq!(is_program(argument, program), expected, "{argument}");
    }
}
