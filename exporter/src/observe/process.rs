//! A process as `/proc` describes it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Longest part of a `/proc` file that is read.
const READ_LIMIT: u64 = 128 * 1024;

/// What `/proc/<pid>` says of a process at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessInfo {
    /// Process id.
    pub pid: u32,
    /// Id of the parent process.
    pub ppid: u32,
    /// Command name, at most 15 bytes.
    pub comm: String,
    /// Executable, when there is one and it may be read.
    pub exe: Option<PathBuf>,
    /// Command line, empty for a kernel thread.
    pub argv: Vec<String>,
    /// Lines of the `cgroup` file.
    pub cgroups: Vec<String>,
    /// Working directory, when it may be read.
    pub cwd: Option<PathBuf>,
    /// Start time in clock ticks since boot, which tells apart two uses of a pid.
    pub start_ticks: u64,
}

impl ProcessInfo {
    /// Reads a process of this host.
    ///
    /// What may not be read (executable, working directory) is left out.
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
        let (parent, start_ticks) = read_stat(&dir, pid)?;
        let comm = read_bytes(&dir.join("comm")).unwrap_or_default();
        let mut process = Self::from_parts(
            pid,
            String::from_utf8_lossy(&comm).trim_end_matches('\n'),
            parse_argv(&read_bytes(&dir.join("cmdline")).unwrap_or_default()),
        );
        process.ppid = parent;
        process.start_ticks = start_ticks;
        process.exe = std::fs::read_link(dir.join("exe")).ok();
        process.cwd = std::fs::read_link(dir.join("cwd")).ok();
        process.cgroups = parse_cgroup(&read_bytes(&dir.join("cgroup")).unwrap_or_default());
        if read_stat(&dir, pid)?.1 != start_ticks {
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
        Ok(read_stat(&Path::new("/proc").join(pid.to_string()), pid)?.1)
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

/// Whether two processes run the same executable, as far as that can be read.
#[must_use]
pub fn run_the_same(one: u32, other: u32) -> bool {
    let exe = |pid: u32| std::fs::read_link(format!("/proc/{pid}/exe")).ok();
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

/// Parent id and start time (fields 4 and 22) of a `stat` file.
///
/// The command name may hold blanks and parentheses, so the fields are counted
/// from the last parenthesis.
#[must_use]
pub fn parse_stat(bytes: &[u8]) -> Option<(u32, u64)> {
    let close = bytes.iter().rposition(|&byte| byte == b')')?;
    let text = std::str::from_utf8(bytes.get(close + 1..)?).ok()?;
    let mut fields = text.split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let start_ticks = fields.nth(17)?.parse().ok()?;
    Some((parent, start_ticks))
}

fn read_stat(dir: &Path, pid: u32) -> io::Result<(u32, u64)> {
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
