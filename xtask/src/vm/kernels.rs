//! Debian's kernels, fetched with apt and kept in the user's cache directory.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use crate::command;
use crate::debian::{self, Apt, SUITES};

/// The word for the newest kernel that there is.
pub const NEWEST: &str = "newest";

const FLAVOR: &str = "-cloud-amd64";
/// What the packages that hold a kernel begin with. Since 7.x, `linux-image-…` only depends on `linux-binary-…`.
const HOLDERS: [&str; 2] = ["linux-binary-", "linux-image-"];
/// A kernel that can be booted.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// As it was asked for: "6.1", "newest".
    pub wanted: String,
    /// The package's version.
    pub version: String,
    /// The image.
    pub image: PathBuf,
}

/// The kernel of that series ("6.12", "7"), or the newest. Fetched if it is not there, or if `update` asks for newer ones.
pub fn get(wanted: &str, update: bool) -> Result<Kernel> {
    let is_version = wanted.split('.').all(|part| part.parse::<u32>().is_ok());
    ensure!(
        wanted == NEWEST || is_version,
        "'{wanted}' is no kernel: use a version like 6.12, or {NEWEST}"
    );
    let cache = debian::cache()?.join("kernels");
    let place = cache.join(wanted);
    if update || !place.join("vmlinuz").exists() {
        fetch(wanted, &cache, &place).with_context(|| format!("cannot fetch the kernel {wanted}"))?;
    }
    let version = fs::read_to_string(place.join("version")).context("cannot read the kernel's version")?;
    Ok(Kernel {
        wanted: wanted.to_owned(),
        version: version.trim().to_owned(),
        image: place.join("vmlinuz"),
    })
}

fn fetch(wanted: &str, cache: &Path, place: &Path) -> Result<()> {
    let apt = Apt::new()?;
    let (package, version) = newest(&apt, wanted)?;
    // Named after this process: another one may do the same now.
    let work = cache.join(format!("{wanted}.{}", std::process::id()));
    let result = (|| {
        fs::create_dir_all(&work)?;
        apt.unpack(&format!("{package}={version}"), &work.join("content"))?;
        let kernel = find_image(&work.join("content"))?;
        fs::rename(&kernel, work.join("vmlinuz"))?;
        fs::write(work.join("version"), &version)?;
        fs::remove_dir_all(work.join("content"))?;
        if place.exists() {
            fs::remove_dir_all(place)?;
        }
        fs::rename(&work, place)?;
        Ok(())
    })();
    if result.is_err() {
        // What is left of it is of no use; the error to show is the first one.
        let _ = fs::remove_dir_all(&work);
    }
    result
}

/// The kernel image of an unpacked package: in `/boot`, or, since 7.x, beside the modules.
fn find_image(content: &Path) -> Result<PathBuf> {
    let mut candidates = Vec::new();
    for directory in [content.join("boot"), content.join("usr/lib/modules")] {
        let Ok(entries) = fs::read_dir(directory) else {
            continue;
        };
        for entry in entries {
            let path = entry?.path();
            candidates.extend([path.join("vmlinuz"), path]);
        }
    }
    let is_image = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("vmlinuz") && path.is_file()
    };
    candidates
        .into_iter()
        .find(is_image)
        .context("the package holds no kernel image")
}

/// The package that holds the newest kernel of a series, and its version.
fn newest(apt: &Apt, wanted: &str) -> Result<(String, String)> {
    let pattern = format!("^({})[0-9].*{FLAVOR}$", HOLDERS.join("|"));
    let found = command::output(apt.command("apt-cache").args(["search", "--names-only", &pattern]))?;
    let names: Vec<&str> = found.lines().filter_map(|line| line.split(' ').next()).collect();
    ensure!(!names.is_empty(), "the mirror has no {FLAVOR} kernels");
    let records = command::output(
        apt.command("apt-cache")
            .args(["show", "--no-all-versions"])
            .args(&names),
    )?;
    let kernels = packages(&records);
    newest_of(&kernels, wanted).with_context(|| format!("the mirror has no kernel {wanted} in {}", SUITES.join(", ")))
}

/// Names and versions in the records of `apt-cache show`.
fn packages(records: &str) -> Vec<(String, String)> {
    let field = |record: &str, name: &str| {
        let line = record.lines().find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim().to_owned())
    };
    let packages = records.split("\n\n");
    packages
        .filter_map(|record| Some((field(record, "Package:")?, field(record, "Version:")?)))
        .collect()
}

/// The newest of these that is of the series. Of packages of one version the one that holds the kernel.
fn newest_of(packages: &[(String, String)], wanted: &str) -> Option<(String, String)> {
    let holder = |name: &str| HOLDERS.iter().rposition(|start| name.starts_with(start));
    let candidates = packages.iter().filter(|(name, version)| {
        let fits = wanted == NEWEST || version.starts_with(&format!("{wanted}."));
        fits && holder(name).is_some() && !name.contains("-unsigned-")
    });
    candidates
        .max_by_key(|(name, version)| (numbers(version), std::cmp::Reverse(holder(name))))
        .cloned()
}

/// The numbers in a version, to compare.
fn numbers(version: &str) -> Vec<u64> {
    let parts = version.split(|c: char| !c.is_ascii_digit());
    parts.filter_map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernels() -> Vec<(String, String)> {
        let records = "Package: linux-image-6.1.0-47-cloud-amd64\nVersion: 6.1.170-1\nSize: 1\n\n\
            Package: linux-image-6.1.0-50-cloud-amd64\nVersion: 6.1.176-1\n\n\
            Package: linux-image-6.12.94+deb13-cloud-amd64\nVersion: 6.12.94-1\n\n\
            Package: linux-image-6.12.107+deb13-cloud-amd64\nVersion: 6.12.107-1\n\n\
            Package: linux-binary-unsigned-7.2.13+deb14-cloud-amd64\nVersion: 7.2.13-1\n\n\
            Package: linux-binary-7.2.13+deb14-cloud-amd64\nVersion: 7.2.13-1\n\n\
            Package: linux-image-7.2.13+deb14-cloud-amd64\nVersion: 7.2.13-1\n";
        packages(records)
    }

    fn name(wanted: &str) -> Option<String> {
        newest_of(&kernels(), wanted).map(|(name, _)| name)
    }

    #[test]
    fn the_newest_of_a_series_is_taken() {
        assert_eq!(kernels().len(), 7);
        assert_eq!(name("6.1").unwrap(), "linux-image-6.1.0-50-cloud-amd64");
        assert_eq!(name("6.12").unwrap(), "linux-image-6.12.107+deb13-cloud-amd64");
        assert_eq!(name("5.15"), None);
    }

    #[test]
    fn the_package_that_holds_the_kernel_is_taken() {
        for wanted in ["7", "7.2", NEWEST] {
            assert_eq!(name(wanted).unwrap(), "linux-binary-7.2.13+deb14-cloud-amd64");
        }
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for wanted in ["", "6.x", "../7", "7."] {
            let error = get(wanted, false).unwrap_err().to_string();
            assert!(error.contains("is no kernel"), "{error}");
        }
    }
}
