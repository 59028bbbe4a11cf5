use std::path::PathBuf;

use proptest::prelude::*;

use super::{ProcessInfo, has_thread, parse_argv, parse_cgroup, parse_stat};

fn parent_and_start(bytes: &[u8]) -> Option<(u32, u64)> {
    parse_stat(bytes).map(|stat| (stat.ppid, stat.start_ticks))
}

const TAIL: &str = "S 41 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 11 12";

#[test]
fn reads_stat_whatever_the_name() {
    for name in ["nginx", "a b", "a) S 1 (b", ")", "((", "x) R 9 9"] {
        let line = format!("42 ({name}) {TAIL}\n");
        assert_eq!(parent_and_start(line.as_bytes()), Some((41, 987_654)), "{name}");
    }
    assert_eq!(parse_stat(b"42 (a\xff\xfe) S 41"), None);
    let mut odd = b"42 (\xff) ".to_vec();
    odd.extend_from_slice(TAIL.as_bytes());
    assert_eq!(parent_and_start(&odd), Some((41, 987_654)));
    assert_eq!(parse_stat(b""), None);
}

#[test]
fn splits_command_lines() {
    assert_eq!(parse_argv(b"a\0b c\0"), ["a", "b c"]);
    assert_eq!(parse_argv(b"a\0\0b\0"), ["a", "", "b"]);
    assert_eq!(parse_argv(b"title\0\0\0\0"), ["title"]);
    assert_eq!(parse_argv(b"no end"), ["no end"]);
    assert_eq!(parse_argv(b"\xff\0"), ["\u{fffd}"]);
    assert!(parse_argv(b"").is_empty());
    assert!(parse_argv(b"\0\0").is_empty());
}

#[test]
fn drops_the_mark_of_deleted_executables() {
    let mut process = ProcessInfo::from_parts(1, "x", vec![]);
    assert_eq!(process.exe_path(), None);
    process.exe = Some(PathBuf::from("/srv/shop (deleted)"));
    assert_eq!(process.exe_path(), Some(PathBuf::from("/srv/shop")));
}

#[test]
fn reads_itself_and_reports_missing_processes() {
    let me = ProcessInfo::read(std::process::id()).unwrap();
    assert_eq!(me.pid, std::process::id());
    assert_eq!(me.exe, std::env::current_exe().ok());
    assert_eq!(me.cwd, std::env::current_dir().ok());
    assert!(me.start_ticks > 0 && me.ppid > 0);
    // 0 in what the host's first process has started in its own session, and where the leader is outside of the PID namespace.
    // SAFETY: the functions have no preconditions.
    let leaders = unsafe { (libc::getpgid(0), libc::getsid(0)) };
    assert_eq!((me.pgrp, me.session), (leaders.0 as u32, leaders.1 as u32));
    assert_eq!(me.original, None);
    assert!(!me.argv.is_empty() && !me.comm.is_empty());
    let error = ProcessInfo::read(u32::MAX).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
}

proptest! {
    #[test]
    fn parsers_never_panic(bytes in any::<Vec<u8>>()) {
        let _ = parse_stat(&bytes);
        let _ = parse_argv(&bytes);
        let _ = parse_cgroup(&bytes);
    }

    #[test]
    fn stat_of_any_name(name in "[^\n]{0,15}", ppid in any::<u32>(), ticks in any::<u64>()) {
        let line = format!("1 ({name}) S {ppid} 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {ticks} 0");
        prop_assert_eq!(parent_and_start(line.as_bytes()), Some((ppid, ticks)));
    }
}

/// What tells two processes of one clock tick apart: a name that none of its threads has is another's.
#[test]
fn a_thread_is_known_by_its_name() {
    let own = ProcessInfo::read(std::process::id()).unwrap();
    assert!(has_thread(&own, &own.comm));
    assert!(!has_thread(&own, "churn-dev"));
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let (begin, begun) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new().name("churn-dev".to_owned());
    let thread = thread.spawn(move || {
        begin.send(()).unwrap();
        let _ = stopped.recv();
    });
    begun.recv().unwrap();
    assert!(has_thread(&own, "churn-dev"));
    drop(stop);
    thread.unwrap().join().unwrap();
}
