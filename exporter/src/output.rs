//! The file that a command writes in the end.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process,
};

/// Where it goes to. What is there is replaced when all is written, and not before; what is no file (a pipe, a terminal, `/dev/stdout`) is
/// written to as it is.
#[derive(Debug)]
pub enum Output {
    /// Standard output.
    Standard,
    /// No regular file.
    Stream(File),
    /// A regular file, or none yet.
    Replaced(Replaced),
}

/// A new file beside the one that it is to replace. Dropped, it is removed.
#[derive(Debug)]
pub struct Replaced {
    file: File,
    new: PathBuf,
    path: PathBuf,
    is_done: bool,
}

// === impl Output ===

impl Output {
    /// Opens what `path` names; `-` is standard output.
    ///
    /// # Errors
    ///
    /// If it cannot be written: what takes long is not worth it then.
    pub fn open(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Standard);
        }
        match fs::metadata(path) {
            Ok(old) if !old.is_file() => {
                return Ok(Self::Stream(File::options().write(true).open(path)?));
            }
            Ok(old) => {
                // It has to be one that may be written, as the directory, too.
                File::options().write(true).open(path)?;
                Replaced::of(fs::canonicalize(path)?, Some(old.permissions().mode()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Replaced::of(path.to_owned(), None),
            Err(error) => Err(error),
        }
        .map(Self::Replaced)
    }

    /// Writes all of it.
    ///
    /// # Errors
    ///
    /// If there is no room, or nobody reads it any more: then what was there still is.
    pub fn write(self, text: &[u8]) -> io::Result<()> {
        match self {
            Self::Standard => {
                let mut out = io::stdout().lock();
                out.write_all(text)?;
                out.flush()
            }
            Self::Stream(mut file) => file.write_all(text),
            Self::Replaced(replaced) => replaced.write(text),
        }
    }
}

// === impl Replaced ===

impl Replaced {
    fn of(path: PathBuf, mode: Option<u32>) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?;
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}", process::id()));
        let new = path.with_file_name(hidden);
        let file = File::options().write(true).create_new(true).open(&new)?;
        let replaced = Self {
            file,
            new,
            path,
            is_done: false,
        };
        if let Some(mode) = mode {
            replaced
                .file
                .set_permissions(fs::Permissions::from_mode(mode & 0o7777))?;
        }
        Ok(replaced)
    }

    fn write(mut self, text: &[u8]) -> io::Result<()> {
        self.file.write_all(text)?;
        // A full disk may say so only now.
        self.file.sync_all()?;
        fs::rename(&self.new, &self.path)?;
        self.is_done = true;
        Ok(())
    }
}

impl Drop for Replaced {
    fn drop(&mut self) {
        if !self.is_done {
            let _ = fs::remove_file(&self.new);
        }
    }
}
