//! What holds the path of the clone that it was made in, and is of no use in another one.
//!
//! Cargo does not build a package anew when its directory has another name: programs go on to have the old one from
//! `env!("CARGO_MANIFEST_DIR")`, tests start the program at its old place, and the build script builds the old sources. So the
//! target directory says whose it is.

use super::{installing, ok};
use crate::{command, paths};
use anyhow::{Context as _, Result};
use std::fs;
use std::path::Path;

const STAMP: &str = "clone.stamp";

/// Removes what cargo has built of this workspace if it was built at another place, or nobody knows where.
pub fn ensure() -> Result<()> {
    let (root, target) = (paths::root()?, paths::target()?);
    if is_of(&target, &root) {
        ok("target directory of this clone");
        return Ok(());
    }
    installing("what cargo built of this workspace at another place (cargo clean)");
    for profile in ["dev", "release"] {
        command::run(&mut command::cargo(["clean", "--workspace", "--profile", profile])?)?;
    }
    fs::create_dir_all(&target)?;
    fs::write(target.join(STAMP), stamp(&root)).context("cannot write the stamp of the target directory")
}

/// Whether a target directory says that it belongs to the clone at this path.
fn is_of(target: &Path, root: &Path) -> bool {
    fs::read_to_string(target.join(STAMP)).is_ok_and(|text| text == stamp(root))
}

fn stamp(root: &Path) -> String {
    format!("{}\n", root.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::TempDir;

    #[test]
    fn a_target_directory_that_was_moved_is_of_another_clone() {
        let directory = TempDir::new().unwrap();
        let target = directory.path();
        let root = Path::new("/old/vigie");
        assert!(!is_of(target, root));
        fs::write(target.join(STAMP), stamp(root)).unwrap();
        assert!(is_of(target, root));
        assert!(!is_of(target, Path::new("/new/vigie")));
    }
}
