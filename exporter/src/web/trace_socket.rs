//! The unix socket of traces. They show paths as they are, which is for those alone whom the file system lets in: root, Vigie's own user, and
//! the group `vigie` where there is one.

use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, lchown},
        net::UnixStream,
    },
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use log::warn;
use tokio::net::UnixListener;

/// Where it is if nothing else is said.
pub const USUAL: &str = "/run/vigie/trace.sock";
/// The group that may trace.
const GROUP: &str = "vigie";

/// A socket in the file system, until this is dropped.
#[derive(Debug)]
pub struct TraceSocket {
    /// Where clients come.
    pub listener: UnixListener,
    path: PathBuf,
}

// === impl TraceSocket ===

impl TraceSocket {
    /// Listens there. What an earlier Vigie has left is replaced.
    ///
    /// # Errors
    ///
    /// If another Vigie listens there, something else is there, or it cannot be made.
    pub fn open(path: &Path) -> Result<Self> {
        let made = || format!("cannot make the socket of traces {}", path.display());
        if let Some(directory) = path.parent() {
            if !directory.exists() {
                fs::create_dir_all(directory).with_context(made)?;
                // The socket itself says who may come in, whatever the umask is.
                fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).with_context(made)?;
            }
            let found = fs::metadata(directory).with_context(made)?;
            let is_own = found.uid() == 0 || found.uid() == rustix::process::geteuid().as_raw();
            if !is_own || found.mode() & 0o022 != 0 {
                bail!(
                    "{} is writable for others, who could put another file in the socket's place: choose another with --trace.socket",
                    directory.display()
                );
            }
        }
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                bail!(
                    "{} is there, and no socket: choose another with --trace.socket",
                    path.display()
                )
            }
            Ok(_) if UnixStream::connect(path).is_ok() => bail!(
                "another Vigie has the socket of traces {}: choose another with --trace.socket",
                path.display()
            ),
            Ok(_) => fs::remove_file(path).with_context(made)?,
            Err(_) => {}
        }
        // Nobody is let in before it has its owner and its mode.
        let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
        let listener = UnixListener::bind(path);
        rustix::process::umask(before);
        let socket = Self {
            listener: listener.with_context(made)?,
            path: path.to_owned(),
        };
        if let Some(group) = group_id(&fs::read_to_string("/etc/group").unwrap_or_default()) {
            match lchown(path, None, Some(group)) {
                Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(0o660)).with_context(made)?,
                Err(error) => warn!("the group {GROUP} cannot be let in to {}: {error}", path.display()),
            }
        }
        Ok(socket)
    }

    /// The same where Vigie can do without: it says what it lacks.
    pub fn open_if_possible(path: &Path) -> Option<Self> {
        Self::open(path)
            .inspect_err(|error| warn!("no traces are served: {error:#}"))
            .ok()
    }
}

impl Drop for TraceSocket {
    fn drop(&mut self) {
        let _: io::Result<()> = fs::remove_file(&self.path);
    }
}

/// The id of the group that may trace, by the text of `/etc/group` (group(5)).
fn group_id(groups: &str) -> Option<u32> {
    let mut lines = groups.lines().map(|line| line.split(':'));
    let mut fields = lines.find_map(|mut fields| (fields.next() == Some(GROUP)).then_some(fields))?;
    fields.nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_is_found() {
        assert_eq!(group_id("root:x:0:\nvigie:x:997:ann,bob\n"), Some(997));
        assert_eq!(group_id("vigies:x:1:\nx:vigie:2:\n"), None);
        assert_eq!(group_id("vigie"), None);
    }

    #[tokio::test]
    async fn what_is_left_behind_is_replaced_and_what_is_used_is_not() {
        let directory = std::env::temp_dir().join(format!("vigie-socket-{}", std::process::id()));
        let path = directory.join("run/trace.sock");
        let socket = TraceSocket::open(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert!(mode == 0o600 || mode == 0o660, "{mode:o}");
        let refused = TraceSocket::open(&path).unwrap_err();
        assert!(refused.to_string().contains("another Vigie"), "{refused}");
        drop(socket);
        assert!(!path.exists());
        // As after kill -9.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(TraceSocket::open(&path).unwrap());
        fs::write(&path, "mine").unwrap();
        assert!(TraceSocket::open(&path).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        fs::remove_dir_all(directory).unwrap();
    }
}
