//! Workers that only the server which started them can name.
//!
//! Python's `multiprocessing` starts workers with the same arguments for every program: `-c 'from multiprocessing.spawn import …'`.
//! With the method `spawn` a worker is the child of its server. With `forkserver`, the default since Python 3.14, it is the
//! child of a fork server, and that is the child of the server.

use super::{interpreter, python};
use crate::observe::process::ProcessInfo;

/// Generations that are looked at: a worker, its fork server, its server, and one more for workers of workers.
const GENERATIONS: usize = 4;

/// Whether a process is a worker that only its parent can name.
#[must_use]
pub fn named_by_parent(process: &ProcessInfo) -> bool {
    interpreter::name_of(process).as_deref() == Some("python") && python::is_spawned_worker(process.arguments())
}

/// The process that names a worker: its server, wherever that is. None for all other processes, and for an orphan of which nobody is left.
#[must_use]
pub fn namer(process: &ProcessInfo) -> Option<ProcessInfo> {
    namer_by(process, |pid| ProcessInfo::read(pid).ok())
}

/// Same as [`namer`], with a function that reads a process.
fn namer_by(process: &ProcessInfo, read: impl Fn(u32) -> Option<ProcessInfo>) -> Option<ProcessInfo> {
    if !named_by_parent(process) {
        return None;
    }
    let read = |pid: u32| (pid > 1).then(|| read(pid)).flatten();
    let parents = std::iter::successors(read(process.ppid), |parent| {
        if named_by_parent(parent) {
            read(parent.ppid)
        } else {
            None
        }
    });
    let server = parents.take(GENERATIONS).find(|parent| stands_for(parent, process));
    // An orphan of a fork server that has died may still have its server at the head of its group.
    server.or_else(|| {
        [process.pgrp, process.session]
            .into_iter()
            .filter_map(read)
            .find(|leader| stands_for(leader, process) && leader.start_ticks <= process.start_ticks)
    })
}

/// Whether one process names another: same program, which the other needs, and itself no such worker.
pub(super) fn stands_for(server: &ProcessInfo, worker: &ProcessInfo) -> bool {
    named_by_parent(worker) && worker.exe.is_some() && server.exe == worker.exe && !named_by_parent(server)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAWN: &str = "from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=5, pipe_handle=7)";
    const FORK_SERVER: &str = "from multiprocessing.forkserver import main; main(5, 6, ['__main__'], **{'sys_path': ['/srv'], 'main_path': '/srv/shop.py'})";

    fn python(pid: u32, ppid: u32, arguments: &[&str]) -> ProcessInfo {
        let argv = [&["python"], arguments]
            .concat()
            .iter()
            .map(|&text| text.to_owned())
            .collect();
        ProcessInfo {
            ppid,
            pgrp: 10,
            session: 9,
            start_ticks: u64::from(pid),
            exe: Some("/usr/bin/python3.14".into()),
            ..ProcessInfo::from_parts(pid, "python", argv)
        }
    }

    fn found(worker: u32, all: &[ProcessInfo]) -> Option<u32> {
        let read = |pid: u32| all.iter().find(|process| process.pid == pid).cloned();
        namer_by(&read(worker).unwrap(), read).map(|server| server.pid)
    }

    #[test]
    fn a_server_names_the_workers_of_its_fork_server() {
        let all = [
            python(10, 1, &["shop.py"]),
            python(11, 10, &["-c", FORK_SERVER]),
            python(12, 11, &["-c", FORK_SERVER]),
            python(13, 10, &["-c", SPAWN, "--multiprocessing-fork"]),
            python(14, 13, &["-c", SPAWN, "--multiprocessing-fork"]),
            python(15, 10, &["pay.py"]),
        ];
        for worker in [11, 12, 13, 14] {
            assert_eq!(found(worker, &all), Some(10), "{worker}");
        }
        assert_eq!(found(10, &all), None);
        assert_eq!(found(15, &all), None);
    }

    #[test]
    fn an_orphan_is_named_by_the_head_of_its_group() {
        let orphan = python(12, 1, &["-c", FORK_SERVER]);
        assert_eq!(found(12, &[python(10, 1, &["shop.py"]), orphan.clone()]), Some(10));
        assert_eq!(found(12, &[python(9, 1, &["shop.py"]), orphan.clone()]), Some(9));
        // The id of the head was given to a younger process, or to another program.
        let mut younger = python(10, 1, &["shop.py"]);
        younger.start_ticks = 13;
        assert_eq!(found(12, &[younger, orphan.clone()]), None);
        let mut shell = python(10, 1, &["shop.py"]);
        shell.exe = Some("/usr/bin/bash".into());
        assert_eq!(found(12, &[shell, orphan.clone()]), None);
        assert_eq!(found(12, &[orphan]), None);
    }

    #[test]
    fn a_circle_of_parents_ends() {
        let all = [python(11, 12, &["-c", SPAWN]), python(12, 11, &["-c", SPAWN])];
        assert_eq!(found(11, &all), None);
    }
}
