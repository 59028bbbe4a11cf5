//! Names of containers, from the files that their runtimes keep.
//!
//! No runtime is asked: a socket of Docker's is root on the host, and files are enough. A file that is absent is a runtime
//! that is not used. What stands in a file is text of a stranger, so it is cleaned and cut.

mod docker;
mod generated;
mod kubernetes;
mod podman;

use std::{
    cell::RefCell,
    fs::File,
    io::Read,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use lru::LruCache;

/// Containers whose names are kept; the one that was asked for least recently goes first.
const KEPT: NonZeroUsize = NonZeroUsize::new(1024).unwrap();
/// Longest name of anything, in characters.
const MAX_NAME: usize = 128;
/// Longest file that is read, in bytes. A `config.v2.json` has 5 KB; a list of 1,000 containers has 1 MB.
const MAX_FILE: u64 = 16 * 1024 * 1024;
/// Age of a change after which the next one has another time stamp for certain.
const SETTLED: Duration = Duration::from_millis(100);
/// Most entries of a directory or list that are looked at. The kubelet runs 110 pods by default.
const MAX_ENTRIES: usize = 16 * 1024;

/// A container, and what its runtime calls it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Container {
    /// Full id, 64 hexadecimal digits.
    pub id: String,
    /// Name of this container: Docker's or Podman's, or that of the container within its Kubernetes pod.
    pub name: Option<String>,
    /// What it runs, for a person: the container's name in Kubernetes, the Compose service, or the name that somebody gave the
    /// container. A name that the runtime made up is none.
    pub service: Option<String>,
    /// Kubernetes namespace.
    pub namespace: Option<String>,
    /// Kubernetes pod.
    pub pod: Option<String>,
}

/// The files of all runtimes, below one root directory.
#[derive(Debug)]
pub struct ContainerFiles {
    root: PathBuf,
    known: RefCell<LruCache<String, Container>>,
    lists: RefCell<Lists>,
}

/// Files and directories that name many containers, read again when they have changed.
#[derive(Debug, Default)]
struct Lists {
    logs: Option<Listed>,
    podman: Vec<Option<Listed>>,
}

/// The containers of one list, and the time at which it was last written.
#[derive(Debug)]
struct Listed {
    changed: SystemTime,
    /// Whether it was read long enough after that time: a file system may give two changes within 10 ms the same time.
    is_settled: bool,
    containers: Vec<Container>,
}

// === impl ContainerFiles ===

impl ContainerFiles {
    /// Files below a directory: `/` for those of the host.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            known: RefCell::new(LruCache::new(KEPT)),
            lists: RefCell::default(),
        }
    }

    /// What the runtimes say of a container. `cgroup` are the lines of a `cgroup` file of one of its processes.
    ///
    /// Only what was found is kept, so a file that is written a moment later is seen at the next call.
    #[must_use]
    pub fn find(&self, id: &str, cgroup: &[String]) -> Container {
        if let Some(known) = self.known.borrow_mut().get(id) {
            return known.clone();
        }
        let found = kubernetes::from_bundle(&self.root, id)
            .or_else(|| docker::read(&self.root, id))
            .or_else(|| self.find_listed(id));
        match found {
            Some(container) => {
                self.known.borrow_mut().put(id.to_owned(), container.clone());
                container
            }
            // The directory of the pod is there before its container is, but may not say which container it is.
            None => kubernetes::from_pod(&self.root, id, cgroup).unwrap_or_else(|| Container {
                id: id.to_owned(),
                ..Container::default()
            }),
        }
    }

    fn find_listed(&self, id: &str) -> Option<Container> {
        let mut lists = self.lists.borrow_mut();
        let Lists { logs, podman } = &mut *lists;
        let logs_path = self.root.join(kubernetes::LOGS);
        if let Some(found) = listed(logs, &logs_path, kubernetes::list_logs, id) {
            return Some(found);
        }
        podman.resize_with(podman::LISTS.len(), || None);
        podman
            .iter_mut()
            .zip(podman::LISTS)
            .find_map(|(list, path)| listed(list, &self.root.join(path), podman::list, id))
    }
}

/// Looks a container up in a list, which is read first if it has changed.
fn listed(list: &mut Option<Listed>, path: &Path, read: fn(&Path) -> Vec<Container>, id: &str) -> Option<Container> {
    let changed = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let Some(changed) = changed else {
        *list = None;
        return None;
    };
    let fresh = list.take().filter(|list| list.is_settled && list.changed == changed);
    let fresh = list.insert(fresh.unwrap_or_else(|| Listed {
        changed,
        is_settled: changed.elapsed().is_ok_and(|age| age > SETTLED),
        containers: read(path),
    }));
    fresh.containers.iter().find(|container| container.id == id).cloned()
}

/// A name as a label may show it: without control characters, and not too long.
fn clean(name: &str) -> Option<String> {
    let name: String = name
        .trim()
        .chars()
        .map(|c| if c.is_control() { '_' } else { c })
        .take(MAX_NAME)
        .collect();
    (!name.is_empty()).then_some(name)
}

/// Reads a JSON file, of which only known keys are looked at.
fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Whether a text is a full container id, and so may be part of a path.
fn is_id(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests;
