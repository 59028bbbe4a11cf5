//! Kubernetes' names of containers, from the bundles of containerd and the kubelet's log directories.

use std::{collections::HashMap, path::Path};

use serde::Deserialize;

use super::{Container, MAX_ENTRIES, clean, is_id, read_json};

/// Links `<pod>_<namespace>_<container>-<id>.log`, which the kubelet makes soon after it has started a container.
pub(super) const LOGS: &str = "var/log/containers";
/// Directories `<namespace>_<pod>_<uid>/<container>`, which it makes before.
const PODS: &str = "var/log/pods";
/// Where containerd keeps the OCI bundle of a running container: its own, k3s' and RKE2's, MicroK8s', k0s'.
const BUNDLES: [&str; 4] = [
    "run/containerd",
    "run/k3s/containerd",
    "var/snap/microk8s/common/run/containerd",
    "run/k0s/containerd",
];
/// The directory of Kubernetes' containers in there.
const TASKS: &str = "io.containerd.runtime.v2.task/k8s.io";

#[derive(Deserialize)]
struct Bundle {
    #[serde(default)]
    annotations: HashMap<String, String>,
}

/// What containerd wrote for the runtime before it started a container.
pub(super) fn from_bundle(root: &Path, id: &str) -> Option<Container> {
    let paths = BUNDLES
        .iter()
        .map(|directory| root.join(directory).join(TASKS).join(id).join("config.json"));
    let bundle: Bundle = is_id(id).then_some(paths)?.find_map(|path| read_json(&path))?;
    let annotation = |key: &str| bundle.annotations.get(key).and_then(|value| clean(value));
    let name = annotation("io.kubernetes.cri.container-name");
    Some(Container {
        id: id.to_owned(),
        service: name.clone(),
        name,
        namespace: annotation("io.kubernetes.cri.sandbox-namespace"),
        pod: Some(annotation("io.kubernetes.cri.sandbox-name")?),
    })
}

/// All containers that have a log.
pub(super) fn list_logs(directory: &Path) -> Vec<Container> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().take(MAX_ENTRIES);
    let names = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    names.filter_map(|name| of_log(&name)).collect()
}

fn of_log(file: &str) -> Option<Container> {
    let (names, id) = file.strip_suffix(".log")?.rsplit_once('-')?;
    let mut names = names.splitn(3, '_');
    let (pod, namespace, name) = (names.next()?, names.next()?, names.next()?);
    is_id(id).then(|| Container {
        id: id.to_owned(),
        name: clean(name),
        service: clean(name),
        namespace: clean(namespace),
        pod: clean(pod),
    })
}

/// The pod of a container, from the pod's uid in the name of its cgroup. The container's name is known if the pod has only one.
pub(super) fn from_pod(root: &Path, id: &str, cgroup: &[String]) -> Option<Container> {
    let uid = cgroup.iter().find_map(|line| pod_uid(line))?;
    let entries = std::fs::read_dir(root.join(PODS)).ok()?.take(MAX_ENTRIES).flatten();
    let (directory, name) = entries
        .filter_map(|entry| Some((entry.path(), entry.file_name().into_string().ok()?)))
        .find(|(_, name)| name.ends_with(&format!("_{uid}")))?;
    let mut names = name.split('_');
    let (namespace, pod) = (names.next()?, names.next()?);
    let containers = std::fs::read_dir(directory).ok()?.take(2).flatten();
    let containers: Vec<String> = containers
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    let container = match containers.as_slice() {
        [only] => clean(only),
        _ => None,
    };
    Some(Container {
        id: id.to_owned(),
        name: container.clone(),
        service: container,
        namespace: clean(namespace),
        pod: clean(pod),
    })
}

/// The uid of `pod<uid>` or `kubepods-burstable-pod<uid>.slice`; systemd's form has `_` for `-`.
fn pod_uid(line: &str) -> Option<String> {
    line.split('/').rev().find_map(|segment| {
        let segment = segment.strip_suffix(".slice").unwrap_or(segment);
        let (before, uid) = segment.rsplit_once("pod")?;
        let is_uid = uid.len() >= 32
            && uid
                .bytes()
                .all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'-' | b'_'));
        let is_pod = before.is_empty() || (before.contains("kubepods") && before.ends_with('-'));
        (is_uid && is_pod).then(|| uid.replace('_', "-"))
    })
}
