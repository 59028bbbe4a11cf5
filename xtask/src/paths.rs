//! Where things are.

use anyhow::{Context as _, Result};
use std::env;
use std::path::{self, PathBuf};

/// The directory of the workspace.
pub fn root() -> Result<PathBuf> {
    // Cargo sets it when it runs this program; the compiled-in one is for a program that is started directly.
    let package = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    let root = package.parent().context("the package has no parent directory")?;
    Ok(root.to_owned())
}

/// Cargo's target directory: `CARGO_TARGET_DIR`, or `target` in the workspace.
pub fn target() -> Result<PathBuf> {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) if !dir.is_empty() => path::absolute(&dir).context("CARGO_TARGET_DIR is no path"),
        _ => Ok(root()?.join("target")),
    }
}

/// The first program of that name in `PATH`, or where Debian puts its servers.
pub fn find_server(name: &str) -> Option<PathBuf> {
    let system = PathBuf::from("/usr/sbin").join(name);
    find_program(name).or_else(|| system.is_file().then_some(system))
}

/// The first file of that name in the directories of `PATH`.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}
