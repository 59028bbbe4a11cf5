//! Names of scripts, with enough of their path to tell them apart.

use std::path::{Component, Path, PathBuf};

/// Script names that say nothing of the service.
const GENERIC: [&str; 7] = ["server", "index", "main", "app", "manage", "__main__", "www"];
/// Endings under which those names are still generic.
const ENDINGS: [&str; 14] = [
    "", "js", "mjs", "cjs", "ts", "mts", "cts", "tsx", "py", "pyc", "rb", "php", "pl", "jar",
];
/// Directories that say nothing of the service either.
const LAYOUT: [&str; 6] = ["src", "dist", "build", "bin", "lib", "out"];

/// The part of a path after its last slash.
pub(super) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// `shop.js`, or `shop-api/server.js` when the file name is a common one.
pub(super) fn name(path: &str, cwd: Option<&Path>) -> String {
    let parts = resolve(path, cwd);
    let Some((file, parents)) = parts.split_last() else {
        return String::new();
    };
    let mut name = file.clone();
    if !is_generic(file) {
        return name;
    }
    for parent in parents.iter().rev() {
        name = format!("{parent}/{name}");
        if !LAYOUT.contains(&parent.as_str()) {
            break;
        }
    }
    name
}

/// `puma/shop`: a tool, then the name of the working directory.
pub(super) fn in_directory(tool: &str, cwd: Option<&Path>) -> String {
    match resolve(".", cwd).last() {
        Some(directory) => format!("{tool}/{directory}"),
        None => tool.to_owned(),
    }
}

/// `shop/dev`: the name of the working directory, then a task.
pub(super) fn under_directory(task: &str, cwd: Option<&Path>) -> String {
    match resolve(".", cwd).last() {
        Some(directory) => format!("{directory}/{task}"),
        None => task.to_owned(),
    }
}

fn is_generic(file: &str) -> bool {
    let (stem, ending) = file.rsplit_once('.').unwrap_or((file, ""));
    GENERIC.contains(&stem) && ENDINGS.contains(&ending)
}

/// The segments of a path, from the working directory, without `.` and `..`.
fn resolve(path: &str, cwd: Option<&Path>) -> Vec<String> {
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
    parts
}
