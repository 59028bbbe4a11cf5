//! Reading the small files of `/proc`, `/sys` and the cgroups through a buffer that is kept.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use crate::descriptors;
use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    io::Errno,
};

/// Longest file that is read.
const LIMIT: usize = 1 << 20;

/// A buffer for one file at a time.
#[derive(Debug)]
pub struct Reader {
    buffer: Vec<u8>,
}

// === impl Reader ===

impl Reader {
    /// An empty one.
    pub fn new() -> Self {
        Self { buffer: vec![0; 4096] }
    }

    /// The text of a file.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is no text.
    pub fn file(&mut self, path: &Path) -> io::Result<&str> {
        self.at(CWD, path)
    }

    /// The text of a file in an open directory.
    ///
    /// # Errors
    ///
    /// As [`Reader::file`].
    pub fn at(&mut self, directory: impl AsFd, path: impl rustix::path::Arg) -> io::Result<&str> {
        let file = openat(directory, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(io::Error::from);
        let file = descriptors::note(file)?;
        let mut length = 0;
        loop {
            if length == self.buffer.len() {
                if length >= LIMIT {
                    return Err(io::ErrorKind::FileTooLarge.into());
                }
                self.buffer.resize(2 * length, 0);
            }
            match rustix::io::read(&file, &mut self.buffer[length..]) {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        std::str::from_utf8(&self.buffer[..length]).map_err(|_| io::ErrorKind::InvalidData.into())
    }
}

/// A file of `/proc/<pid>` that is kept open, where there may be so many: opening one takes longer than reading it.
#[derive(Debug)]
pub struct Held {
    name: &'static str,
    file: Option<OwnedFd>,
}

// === impl Held ===

impl Held {
    /// The file of this name.
    pub fn new(name: &'static str) -> Self {
        Self { name, file: None }
    }

    /// Its text now. The kernel makes it anew for each read from the beginning, in one piece.
    ///
    /// # Errors
    ///
    /// If it cannot be read: the process is gone.
    pub fn read<'a>(&mut self, directory: &OwnedFd, keep: bool, reader: &'a mut Reader) -> io::Result<&'a str> {
        if !keep {
            self.file = None;
            return reader.at(directory, self.name);
        }
        let file = match &mut self.file {
            Some(file) => file,
            empty => empty.insert(openat(
                directory,
                self.name,
                OFlags::RDONLY | OFlags::CLOEXEC,
                Mode::empty(),
            )?),
        };
        let mut length = rustix::io::pread(&*file, &mut reader.buffer[..], 0)?;
        while length == reader.buffer.len() && length < LIMIT {
            reader.buffer.resize(2 * length, 0);
            length = rustix::io::pread(&*file, &mut reader.buffer[..], 0)?;
        }
        std::str::from_utf8(&reader.buffer[..length]).map_err(|_| io::ErrorKind::InvalidData.into())
    }
}

/// The number after a name at the start of a line: `name 12`, `name: 12 kB`.
pub fn number_after(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let rest = line.strip_prefix(name)?;
        let rest = rest.strip_prefix(':').unwrap_or(rest);
        let number = rest.strip_prefix([' ', '\t'])?.split_ascii_whitespace().next()?;
        number.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_whole_name() {
        let text = "nr_periods_all 7\nnr_periods 12\nMemTotal:        16 kB\nnone\n";
        assert_eq!(number_after(text, "nr_periods"), Some(12));
        assert_eq!(number_after(text, "MemTotal"), Some(16));
        assert_eq!(number_after(text, "none"), None);
        assert_eq!(number_after(text, "Mem"), None);
    }

    #[test]
    fn long_files_are_read_whole() {
        let mut reader = Reader::new();
        let path = std::env::temp_dir().join(format!("vigie-reader-{}", std::process::id()));
        let text = "x".repeat(10_000);
        std::fs::write(&path, &text).unwrap();
        let read = reader.file(&path).map(str::to_owned);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read.unwrap(), text);
        assert!(reader.file(&path).is_err());
    }
}
