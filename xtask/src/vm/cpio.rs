//! Writes a cpio archive in the form that Linux unpacks into its first file system ("newc").
//!
//! <https://docs.kernel.org/driver-api/early-userspace/buffer-format.html>

use std::collections::BTreeSet;

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// An archive in memory.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    directories: BTreeSet<String>,
}

// === impl Archive ===

impl Archive {
    /// Adds a directory, and those it is in.
    pub fn directory(&mut self, path: &str) {
        let path = path.trim_matches('/');
        if path.is_empty() || !self.directories.insert(path.to_owned()) {
            return;
        }
        self.parent(path);
        self.entry(path, DIRECTORY, (0, 0), &[]);
    }

    /// Adds a file that may be run.
    pub fn file(&mut self, path: &str, content: &[u8]) {
        let path = path.trim_matches('/');
        self.parent(path);
        self.entry(path, PROGRAM, (0, 0), content);
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, target: &str) {
        let path = path.trim_matches('/');
        self.parent(path);
        self.entry(path, LINK, (0, 0), target.as_bytes());
    }

    /// Adds a character device.
    pub fn device(&mut self, path: &str, major: u32, minor: u32) {
        let path = path.trim_matches('/');
        self.parent(path);
        self.entry(path, CHARACTER_DEVICE, (major, minor), &[]);
    }

    /// The archive, with its end.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn parent(&mut self, path: &str) {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.directory(parent);
        }
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.entries += 1;
        let (inode, links, length, name_length) = (self.entries, 1, content.len(), path.len() + 1);
        let (user, group, time, checksum) = (0, 0, 0, 0);
        let (device_major, device_minor) = device;
        let header = format!(
            "070701{inode:08x}{mode:08x}{user:08x}{group:08x}{links:08x}{time:08x}{length:08x}{:08x}{:08x}\
             {device_major:08x}{device_minor:08x}{name_length:08x}{checksum:08x}{path}\0",
            0, 0
        );
        self.bytes.extend_from_slice(header.as_bytes());
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    /// Header and content each end at a multiple of four.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    fn headers_are_as_the_kernel_reads_them() {
        let mut archive = Archive::default();
        archive.file("/a", b"hello");
        let bytes = archive.finish();
        // 110 bytes of header, "a\0", filled up to 112; 5 bytes, filled up to 8; then the end.
        let header = "070701\
            00000001000081ed000000000000000000000001000000000000000500000000000000000000000000000000\
            0000000200000000a\0";
        assert_eq!(&bytes[..112], header.as_bytes());
        assert_eq!(&bytes[112..120], b"hello\0\0\0");
        assert!(bytes[120..].starts_with(b"070701") && bytes.ends_with(b"TRAILER!!!\0\0\0\0"));
        assert_eq!(bytes.len() % 4, 0);
    }

    #[test]
    fn directories_come_once_and_before_what_is_in_them() {
        let mut archive = Archive::default();
        archive.file("/x/y/one", b"1");
        archive.link("x/y/two", "one");
        archive.device("dev/console", 5, 1);
        let bytes = archive.finish();
        let mut cpio = Command::new("busybox")
            .args(["cpio", "-t"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("there is no busybox: install busybox-static");
        cpio.stdin.take().unwrap().write_all(&bytes).unwrap();
        let output = cpio.wait_with_output().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "x\nx/y\nx/y/one\nx/y/two\ndev\ndev/console\n"
        );
    }
}
