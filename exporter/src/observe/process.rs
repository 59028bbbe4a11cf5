//! A process as `/proc` describes it.

mod original;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, statat};

/// Longest part of a `/proc` file that is read: what Linux lets arguments and environment have by default (`ARG_MAX`), a quarter
/// of the stack's limit of 8 MiB. A buffer grows with what is there, and few command lines have a kilobyte.
const READ_LIMIT: u64 = 2 * 1024 * 1024;

/// What `/proc/<pid>` says of a process at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessInfo {
    /// Process id.
    pub pid: u32,
    /// Id of the parent process.
    pub ppid: u32,
    /// Command name, at most 15 bytes.
    pub comm: String,
    /// Executable, when there is one; if it may not be read, what the process was started as.
    pub exe: Option<PathBuf>,
    /// Command line as it is shown, empty for a kernel thread. A program may have written a title over it.
    pub argv: Vec<String>,
    /// Arguments at its start, where the program has written over them and they were found elsewhere in its memory.
    pub original: Option<Vec<String>>,
    /// Path that was executed, before links were followed. Of a script that is the script.
    pub executed: Option<String>,
    /// Lines of the `cgroup` file.
    pub cgroups: Vec<String>,
    /// Working directory, when it may be read.
    pub cwd: Option<PathBuf>,
    /// Start time in clock ticks since boot, which tells apart two uses of a pid.
    pub start_ticks: u64,
    /// Process group. Its leader has the same process id, and may be gone.
    pub pgrp: u32,
    /// Session. Its leader has the same process id, and may be gone.
    pub session: u32,
}

/// What is used of a `stat` file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stat {
    /// Parent process, field 4.
    pub ppid: u32,
    /// Process group, field 5.
    pub pgrp: u32,
    /// Session, field 6.
    pub session: u32,
    /// Start time in clock ticks since boot, field 22.
    pub start_ticks: u64,
    /// Address of the number of arguments, field 28; 0 if it may not be known.
    start_stack: u64,
    /// First address of the heap, field 47.
    start_brk: u64,
    /// First address of the arguments' text, field 48.
    arg_start: u64,
    /// Address behind the arguments' text, field 49.
    arg_end: u64,
}

impl ProcessInfo {
    /// Reads a process of this host.
    ///
    /// What may not be read (working directory, memory) is left out.
    ///
    /// # Errors
    ///
    /// Fails when the process is gone, or was replaced while it was being read.
    pub fn read(pid: u32) -> io::Result<Self> {
        Self::read_in(Path::new("/proc"), pid)
    }

    /// Same as [`ProcessInfo::read`], from a given `proc` mount.
    ///
    /// # Errors
    ///
    /// Fails when the process is gone, or was replaced while it was being read.
    pub fn read_in(proc: &Path, pid: u32) -> io::Result<Self> {
        let dir = proc.join(pid.to_string());
        let stat = read_stat(&dir, pid)?;
        let comm = read_bytes(&dir.join("comm")).unwrap_or_default();
        let cmdline = read_bytes(&dir.join("cmdline")).unwrap_or_default();
        let mut process = Self::from_parts(
            pid,
            String::from_utf8_lossy(&comm).trim_end_matches('\n'),
            parse_argv(&cmdline),
        );
        process.ppid = stat.ppid;
        process.pgrp = stat.pgrp;
        process.session = stat.session;
        process.start_ticks = stat.start_ticks;
        process.exe = executable(&dir);
        let program = process.exe_path();
        let program = program
            .as_deref()
            .and_then(Path::file_name)
            .map(|name| name.to_string_lossy());
        if let Some(program) = program {
            let original = original::read(&dir, &stat, &cmdline, &program);
            process.original = original.arguments;
            process.executed = original.executed;
        }
        process.cwd = std::fs::read_link(dir.join("cwd")).ok();
        process.cgroups = parse_cgroup(&read_bytes(&dir.join("cgroup")).unwrap_or_default());
        if read_stat(&dir, pid)?.start_ticks != stat.start_ticks {
            return Err(gone(pid));
        }
        Ok(process)
    }

    /// The start time of a process, in clock ticks since boot.
    ///
    /// # Errors
    ///
    /// Fails when the process is gone.
    pub fn read_start(pid: u32) -> io::Result<u64> {
        Ok(read_stat(&Path::new("/proc").join(pid.to_string()), pid)?.start_ticks)
    }

    /// Whether this is still what runs under its id: it has neither ended nor become another program.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        executable(Path::new(&format!("/proc/{}", self.pid))) == self.exe
            && Self::read_start(self.pid).is_ok_and(|start| start == self.start_ticks)
    }

    /// Builds a process from what is always known of it.
    #[must_use]
    pub fn from_parts(pid: u32, comm: &str, argv: Vec<String>) -> Self {
        Self {
            pid,
            comm: comm.to_owned(),
            argv,
            ..Self::default()
        }
    }

    /// Command line with its arguments joined by spaces.
    #[must_use]
    pub fn command_line(&self) -> String {
        self.argv.join(" ")
    }

    /// Arguments at its start, as far as they are known.
    #[must_use]
    pub fn arguments(&self) -> &[String] {
        self.original.as_deref().unwrap_or(&self.argv)
    }

    /// Path of the executable, without the mark the kernel adds once it is deleted.
    #[must_use]
    pub fn exe_path(&self) -> Option<PathBuf> {
        use std::os::unix::ffi::{OsStrExt, OsStringExt};
        let bytes = self.exe.as_ref()?.as_os_str().as_bytes();
        let bytes = bytes.strip_suffix(b" (deleted)").unwrap_or(bytes);
        Some(std::ffi::OsString::from_vec(bytes.to_vec()).into())
    }
}

/// The children of a process, as `/proc/<pid>/task/<thread>/children` lists them; none where the kernel has no such file.
#[must_use]
pub fn children(pid: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(|child| child.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect()
}

/// A time since boot as `/proc/<pid>/stat` has it, in clock ticks: rounded down, as `nsec_to_clock_t()` in the kernel does.
#[must_use]
pub fn ticks(nanoseconds: u64) -> u64 {
    nanoseconds / (1_000_000_000 / rustix::param::clock_ticks_per_second())
}

/// The executable of a process, by its directory in `/proc`. Who may not trace the process (ptrace(2)) may not know it: then it is what the
/// process was started as, or shows itself as, which anybody may read.
fn executable(dir: &Path) -> Option<PathBuf> {
    match std::fs::read_link(dir.join("exe")) {
        Ok(path) => Some(path),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let shown = parse_argv(&read_bytes(&dir.join("cmdline")).ok()?).into_iter().next()?;
            let is_path = shown.starts_with('/');
            // A title: "nginx: master process".
            let name = shown.split([' ', ':']).next().filter(|_| !is_path).unwrap_or(&shown);
            // A login shell.
            Some(name.trim_start_matches('-').into()).filter(|name: &PathBuf| !name.as_os_str().is_empty())
        }
        Err(_) => None,
    }
}

/// The number of the network namespace of a process, by its directory in `/proc`, open (`at`) or by its path with a slash behind it: that of the file which lists the devices in it. Each
/// namespace has a file of its own, and other than at `ns/net` anybody may look at it.
pub fn network_namespace(at: impl AsFd, directory: &str) -> Option<u64> {
    statat(at, format!("{directory}net/dev"), AtFlags::empty())
        .ok()
        .map(|stat| stat.st_ino)
}

/// Whether a thread of a process has this command name.
#[must_use]
pub fn has_thread(process: &ProcessInfo, command: &str) -> bool {
    if process.comm == command {
        return true;
    }
    let threads = std::fs::read_dir(format!("/proc/{}/task", process.pid));
    let mut threads = threads.into_iter().flatten().flatten();
    threads.any(|thread| {
        let name = std::fs::read(thread.path().join("comm")).unwrap_or_default();
        String::from_utf8_lossy(&name).trim_end_matches('\n') == command
    })
}

/// Whether two processes run the same executable, as far as that can be read.
#[must_use]
pub fn run_the_same(one: u32, other: u32) -> bool {
    let exe = |pid: u32| executable(Path::new(&format!("/proc/{pid}")));
    exe(one).is_some_and(|exe_of_one| Some(exe_of_one) == exe(other))
}

/// Whether two processes are in the same cgroups, as far as that can be read.
#[must_use]
pub fn share_cgroups(one: u32, other: u32) -> bool {
    let cgroups = |pid: u32| std::fs::read(format!("/proc/{pid}/cgroup")).ok();
    cgroups(one).is_some_and(|of_one| Some(of_one) == cgroups(other))
}

/// Splits a `cmdline` file into its arguments.
#[must_use]
pub fn parse_argv(bytes: &[u8]) -> Vec<String> {
    let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    match bytes.get(..end) {
        None | Some([]) => Vec::new(),
        Some(used) => used
            .split(|&byte| byte == 0)
            .map(|argument| String::from_utf8_lossy(argument).into_owned())
            .collect(),
    }
}

/// Splits a `cgroup` file into its lines.
#[must_use]
pub fn parse_cgroup(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect()
}

/// What is used of a `stat` file.
///
/// The command name may hold blanks and parentheses, so the fields are counted
/// from the last parenthesis. Addresses are 0 for those who may not trace the process.
#[must_use]
pub fn parse_stat(bytes: &[u8]) -> Option<Stat> {
    let close = bytes.iter().rposition(|&byte| byte == b')')?;
    let text = std::str::from_utf8(bytes.get(close + 1..)?).ok()?;
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    // The first field behind the name is the third of the file.
    let field = |number: usize| fields.get(number - 3).copied();
    let address = |number: usize| field(number).and_then(|text| text.parse().ok()).unwrap_or(0);
    Some(Stat {
        ppid: field(4)?.parse().ok()?,
        pgrp: field(5)?.parse().unwrap_or(0),
        session: field(6)?.parse().unwrap_or(0),
        start_ticks: field(22)?.parse().ok()?,
        start_stack: address(28),
        start_brk: address(47),
        arg_start: address(48),
        arg_end: address(49),
    })
}

fn read_stat(dir: &Path, pid: u32) -> io::Result<Stat> {
    let bytes = read_bytes(&dir.join("stat"))?;
    parse_stat(&bytes).ok_or_else(|| gone(pid))
}

fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(READ_LIMIT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn gone(pid: u32) -> io::Error {
    io::Error::new(
        io::ErrorKind::NotFound,
        format!("process {pid} went away while it was being read: try again if it is expected"),
    )
}

#[cfg(test)]
mod tests;
