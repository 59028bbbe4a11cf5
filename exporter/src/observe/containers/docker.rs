//! Docker's own files: `/var/lib/docker/containers/<id>/config.v2.json`.

use std::{collections::HashMap, path::Path};

use serde::Deserialize;

use super::{Container, clean, generated, is_id, read_json};

/// Where Docker keeps its containers, as a package and as a snap.
const DIRECTORIES: [&str; 2] = [
    "var/lib/docker/containers",
    "var/snap/docker/common/var-lib-docker/containers",
];
/// Labels that say what a container runs: Compose, Swarm, ECS.
const SERVICES: [&str; 3] = [
    "com.docker.compose.service",
    "com.docker.swarm.service.name",
    "com.amazonaws.ecs.container-name",
];

#[derive(Deserialize)]
struct File {
    #[serde(rename = "Name", default)]
    name: String,
    #[serde(rename = "Config", default)]
    config: Config,
}

#[derive(Deserialize, Default)]
struct Config {
    #[serde(rename = "Labels", default)]
    labels: Option<HashMap<String, String>>,
}

/// What Docker says of a container.
pub(super) fn read(root: &Path, id: &str) -> Option<Container> {
    let paths = DIRECTORIES
        .iter()
        .map(|directory| root.join(directory).join(id).join("config.v2.json"));
    let file: File = is_id(id).then_some(paths)?.find_map(|path| read_json(&path))?;
    let labels = file.config.labels.unwrap_or_default();
    let label = |name: &str| labels.get(name).and_then(|value| clean(value));
    let name = clean(file.name.trim_start_matches('/'));
    // cri-dockerd names the containers of Kubernetes with labels.
    let pod = label("io.kubernetes.pod.name");
    if let Some(pod) = pod {
        let name = label("io.kubernetes.container.name");
        return Some(Container {
            id: id.to_owned(),
            service: name.clone(),
            name,
            namespace: label("io.kubernetes.pod.namespace"),
            pod: Some(pod),
        });
    }
    let service = SERVICES.iter().find_map(|name| label(name));
    Some(Container {
        id: id.to_owned(),
        service: service.or_else(|| name.as_deref().and_then(generated::chosen)),
        name,
        ..Container::default()
    })
}
