//! What keeps runs apart that look at numbers of the whole host.

use std::fs::File;
use std::{env, io};

/// A place on this host, held until it is dropped.
#[derive(Debug)]
pub struct Host {
    _file: File,
}

// === impl Host ===

impl Host {
    /// Waits until nobody is alone.
    pub fn beside_others() -> io::Result<Self> {
        let file = file()?;
        file.lock_shared()?;
        Ok(Self { _file: file })
    }

    /// Waits until nobody else is there: for numbers that have no port, as what was lost.
    pub fn alone() -> io::Result<Self> {
        let file = file()?;
        file.lock()?;
        Ok(Self { _file: file })
    }
}

/// A file that every test of every run on this host locks.
fn file() -> io::Result<File> {
    File::options()
        .create(true)
        .append(true)
        .open(env::temp_dir().join("vigie-tests.lock"))
}
