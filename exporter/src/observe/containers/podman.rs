//! Lists of containers that Podman and CRI-O keep, in the format of the containers/storage library.

use std::path::Path;

use serde::Deserialize;

use super::{Container, MAX_ENTRIES, clean, generated, is_id, read_json};

/// The containers of root. Those of `podman run --rm` are in the second list.
pub(super) const LISTS: [&str; 2] = [
    "var/lib/containers/storage/overlay-containers/containers.json",
    "var/lib/containers/storage/overlay-containers/volatile-containers.json",
];

#[derive(Deserialize)]
struct Entry {
    id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
}

/// All containers of a list that have a name.
pub(super) fn list(path: &Path) -> Vec<Container> {
    let entries: Vec<Entry> = read_json(path).unwrap_or_default();
    let container = |entry: Entry| {
        let name = entry.names?.first().and_then(|name| clean(name))?;
        is_id(&entry.id).then(|| of_name(entry.id, name))
    };
    entries.into_iter().take(MAX_ENTRIES).filter_map(container).collect()
}

fn of_name(id: String, name: String) -> Container {
    // CRI-O: `k8s_<container>_<pod>_<namespace>_<uid>_<attempt>`, and none of these may hold a `_`.
    let parts: Vec<&str> = name.split('_').collect();
    if let ["k8s", container, pod, namespace, _, _] = parts.as_slice() {
        return Container {
            id,
            name: clean(container),
            service: clean(container),
            namespace: clean(namespace),
            pod: clean(pod),
        };
    }
    Container {
        id,
        service: generated::chosen(&name),
        name: Some(name),
        ..Container::default()
    }
}
