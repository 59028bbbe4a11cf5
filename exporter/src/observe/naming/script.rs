//! Names of scripts, with enough of their path to tell them apart.

use std::path::{Component, Path, PathBuf};

use super::random;

/// File names that say nothing of the service.
const GENERIC: [&str; 13] = [
    "server",
    "index",
    "main",
    "app",
    "manage",
    "__main__",
    "www",
    "application",
    "service",
    "quarkus-run",
    "start",
    "launcher",
    "run",
];
/// Endings under which those names are still generic.
const ENDINGS: [&str; 15] = [
    "", "js", "mjs", "cjs", "ts", "mts", "cts", "tsx", "py", "pyc", "rb", "php", "pl", "jar", "war",
];
/// Directories that say nothing of the service either.
const LAYOUT: [&str; 12] = [
    "src",
    "dist",
    "build",
    "bin",
    "lib",
    "out",
    "target",
    "quarkus-app",
    "tomcat",
    "catalina",
    "jetty",
    "base",
];
/// Directories of deployments, of which a name says nothing at all: `/srv/shop/releases/20261127/app.py`.
const DEPLOYMENT: [&str; 3] = ["releases", "current", "node_modules"];
/// Where programs make directories of their own.
const TEMPORARY: [&[&str]; 3] = [&["tmp"], &["var", "tmp"], &["dev", "shm"]];
/// Directories of the system, which belong to no service.
const SYSTEM: [&str; 11] = [
    "usr", "local", "opt", "sbin", "bin", "app", "srv", "root", "home", "tmp", "lib",
];

/// The part of a path after its last slash.
pub(super) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// `shop.js`, or `shop-api/server.js` when the file name is a common one. Empty if nothing in it is a name.
pub(super) fn name(path: &str, cwd: Option<&Path>) -> String {
    let parts = resolve(path, cwd, !matches!(path, "." | "./" | ""));
    let Some((file, parents)) = parts.split_last() else {
        return String::new();
    };
    let file = without_version(file);
    if !is_generic(&file) {
        return clean_file(&file);
    }
    match climb(parents) {
        parents if parents.is_empty() => file,
        parents => format!("{parents}/{file}"),
    }
}

/// The name of a program by its file: `shop`, or `pay/server` for `/srv/pay/server`.
pub(super) fn program(path: &Path) -> String {
    let parts = resolve(&path.to_string_lossy(), None, true);
    let Some((file, parents)) = parts.split_last() else {
        return String::new();
    };
    let own = parents.iter().rfind(|parent| !LAYOUT.contains(&parent.as_str()));
    match own {
        Some(own) if is_generic(file) && !SYSTEM.contains(&own.as_str()) && !is_temporary(path) => {
            format!("{own}/{file}")
        }
        _ => clean_file(file),
    }
}

/// `shop`, or `shop/tomcat`: the end of a directory's path, with enough of it to say something.
pub(super) fn directory(path: &str, cwd: Option<&Path>) -> String {
    climb(&resolve(path, cwd, false))
}

/// `puma/shop`: a tool, then the name of the working directory.
pub(super) fn in_directory(tool: &str, cwd: Option<&Path>) -> String {
    match resolve(".", cwd, false).last() {
        Some(directory) => format!("{tool}/{directory}"),
        None => tool.to_owned(),
    }
}

/// `shop/dev`: the name of the working directory, then a task.
pub(super) fn under_directory(task: &str, cwd: Option<&Path>) -> String {
    match resolve(".", cwd, false).last() {
        Some(directory) => format!("{directory}/{task}"),
        None => task.to_owned(),
    }
}

/// The innermost directories up to the first that says something.
fn climb(directories: &[String]) -> String {
    let mut name = String::new();
    for directory in directories.iter().rev() {
        name = if name.is_empty() {
            directory.clone()
        } else {
            format!("{directory}/{name}")
        };
        if !LAYOUT.contains(&directory.as_str()) {
            break;
        }
    }
    name
}

fn is_generic(file: &str) -> bool {
    let (stem, ending) = file.rsplit_once('.').unwrap_or((file, ""));
    GENERIC.contains(&stem) && ENDINGS.contains(&ending)
}

/// `shop.jar` for `shop-1.4.2-SNAPSHOT.jar`: a deployment is no new service.
fn without_version(file: &str) -> String {
    let Some((stem, ending)) = file.rsplit_once('.') else {
        return file.to_owned();
    };
    if !matches!(ending, "jar" | "war") {
        return file.to_owned();
    }
    let version = stem.match_indices('-').map(|(place, _)| place).find(|&place| {
        let rest = stem.get(place + 1..).unwrap_or_default();
        rest.starts_with(|c: char| c.is_ascii_digit()) && rest.contains('.')
    });
    match version.and_then(|place| stem.get(..place)) {
        Some(stem) if !stem.is_empty() => format!("{stem}.{ending}"),
        _ => file.to_owned(),
    }
}

/// A file name without random parts, empty if it has no others.
fn clean_file(file: &str) -> String {
    let (stem, ending) = match file.rsplit_once('.') {
        Some((stem, ending)) if ENDINGS.contains(&ending) => (stem, Some(ending)),
        _ => (file, None),
    };
    match (random::without(stem), ending) {
        (None, _) => String::new(),
        // Dots and dashes at the ends of a name belong to it, if there is nothing else to take away.
        (Some(clean), _) if clean == stem.trim_matches(['-', '_', '@', ':', '.']) => file.to_owned(),
        (Some(clean), Some(ending)) => format!("{clean}.{ending}"),
        (Some(clean), None) => clean,
    }
}

/// The segments of a path, from the working directory, without `.` and `..`, and without directories that say nothing.
fn resolve(path: &str, cwd: Option<&Path>, ends_in_file: bool) -> Vec<String> {
    let full = cwd.map_or_else(|| PathBuf::from(path), |cwd| cwd.join(path));
    let mut parts = Vec::new();
    for component in full.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            Component::ParentDir => {
                parts.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    let last = parts.len().saturating_sub(usize::from(ends_in_file));
    let temporary = temporary_depth(&parts);
    let mut place = 0;
    parts.retain(|part| {
        place += 1;
        if place > last {
            return true;
        }
        let is_made_up = match temporary {
            Some(depth) if place <= depth => true,
            Some(depth) if place == depth + 1 => {
                part.starts_with("tmp") || part.contains(|c: char| c.is_ascii_digit() || c.is_ascii_uppercase())
            }
            _ => false,
        };
        !is_made_up && !random::is_random(part) && !DEPLOYMENT.contains(&part.as_str())
    });
    for part in &mut parts {
        // The Nix store: a hash of 32 letters and digits before each name.
        if let Some((hash, name)) = part.split_once('-')
            && hash.len() == 32
            && hash.bytes().all(|byte| byte.is_ascii_alphanumeric())
        {
            *part = name.to_owned();
        }
    }
    parts
}

fn is_temporary(path: &Path) -> bool {
    let parts: Vec<String> = path
        .components()
        .filter_map(|part| match part {
            Component::Normal(part) => Some(part.to_string_lossy().into_owned()),
            _ => None,
        })
        .collect();
    temporary_depth(&parts).is_some()
}

/// How many segments the directory for temporary files has in which a path begins.
fn temporary_depth(parts: &[String]) -> Option<usize> {
    TEMPORARY
        .iter()
        .find(|directory| {
            parts.len() >= directory.len() && parts.iter().zip(**directory).all(|(part, name)| part == name)
        })
        .map(|directory| directory.len())
}
