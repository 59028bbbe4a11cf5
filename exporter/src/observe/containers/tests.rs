use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Container, ContainerFiles, KEPT, MAX_ENTRIES, MAX_NAME};

const ID: &str = "3f2a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8";
const OTHER: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// A directory that goes with the test.
struct Root(PathBuf);

impl Root {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vigie-containers-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn docker(&self, id: &str, text: &str) {
        self.write(&format!("var/lib/docker/containers/{id}/config.v2.json"), text);
    }

    fn find(&self, id: &str) -> Container {
        ContainerFiles::new(&self.0).find(id, &[])
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn container(name: &str, service: &str, namespace: &str, pod: &str) -> Container {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Container {
        id: ID.to_owned(),
        name: some(name),
        service: some(service),
        namespace: some(namespace),
        pod: some(pod),
    }
}

#[test]
fn docker_names_its_containers() {
    let root = Root::new("docker");
    for (text, name, service) in [
        (r#"{"Name":"/shop","Config":{"Labels":null}}"#, "shop", "shop"),
        (
            r#"{"Name":"/acme-web-1","Config":{"Labels":{"com.docker.compose.service":"web","com.docker.compose.project":"acme"}}}"#,
            "acme-web-1",
            "web",
        ),
        (r#"{"Name":"/angry_einstein","Config":{}}"#, "angry_einstein", ""),
        (r#"{"Name":"/zen_curie7"}"#, "zen_curie7", ""),
        (r#"{"Name":"/angry_birds-web"}"#, "angry_birds-web", "angry_birds-web"),
        (
            r#"{"Name":"/web-0a1b2c3d-1111-2222-3333-444455556666"}"#,
            "web-0a1b2c3d-1111-2222-3333-444455556666",
            "web",
        ),
        (
            r#"{"Name":"/shop_web.1.k3x9q7z2m4n6p8r1s5t0u2v4w","Config":{"Labels":{"com.docker.swarm.service.name":"shop_web"}}}"#,
            "shop_web.1.k3x9q7z2m4n6p8r1s5t0u2v4w",
            "shop_web",
        ),
        ("{\"Name\":\"/a\\nb\"}", "a_b", "a_b"),
    ] {
        root.docker(ID, text);
        assert_eq!(root.find(ID), container(name, service, "", ""), "{text}");
    }
    root.docker(ID, &format!("{{\"Name\":\"/{}\"}}", "é".repeat(1000)));
    assert_eq!(root.find(ID).name.unwrap().chars().count(), MAX_NAME);
    for broken in ["", "{", "[]", r#"{"Name":7}"#] {
        root.docker(ID, broken);
        assert_eq!(root.find(ID), container("", "", "", ""), "{broken}");
    }
}

#[test]
fn kubernetes_names_its_containers() {
    let expected = container("web", "web", "shop", "web-7d9f-x2x");
    let bundle = r#"{"annotations":{"io.kubernetes.cri.container-name":"web","io.kubernetes.cri.sandbox-name":"web-7d9f-x2x",
        "io.kubernetes.cri.sandbox-namespace":"shop"}}"#;
    for directory in ["run/containerd", "run/k3s/containerd"] {
        let root = Root::new("bundle");
        root.write(
            &format!("{directory}/io.containerd.runtime.v2.task/k8s.io/{ID}/config.json"),
            bundle,
        );
        assert_eq!(root.find(ID), expected, "{directory}");
    }
    let root = Root::new("logs");
    root.write(&format!("var/log/containers/web-7d9f-x2x_shop_web-{ID}.log"), "");
    root.write(&format!("var/log/containers/nonsense-{OTHER}.log"), "");
    assert_eq!(root.find(ID), expected);
    assert_eq!(root.find(OTHER).name, None);

    let root = Root::new("cri-dockerd");
    root.docker(
        ID,
        r#"{"Name":"/k8s_web_web-7d9f-x2x_shop_1_0","Config":{"Labels":{"io.kubernetes.container.name":"web",
            "io.kubernetes.pod.name":"web-7d9f-x2x","io.kubernetes.pod.namespace":"shop"}}}"#,
    );
    assert_eq!(root.find(ID), expected);
}

#[test]
fn a_pod_is_known_before_its_container() {
    let root = Root::new("pod");
    let uid = "0f6b2c1e-1111-2222-3333-444455556666";
    let cgroups = [
        format!("0::/kubepods/besteffort/pod{uid}/{ID}"),
        format!(
            "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice/cri-containerd-{ID}.scope",
            uid.replace('-', "_")
        ),
    ];
    root.write(&format!("var/log/pods/shop_web-7d9f-x2x_{uid}/web/0.log"), "");
    let files = ContainerFiles::new(&root.0);
    for line in &cgroups {
        let found = files.find(ID, std::slice::from_ref(line));
        assert_eq!(found, container("web", "web", "shop", "web-7d9f-x2x"), "{line}");
    }
    root.write(&format!("var/log/pods/shop_web-7d9f-x2x_{uid}/sidecar/0.log"), "");
    let found = files.find(ID, &cgroups[..1]);
    assert_eq!(found, container("", "", "shop", "web-7d9f-x2x"));
    // Its log appears, and says it all.
    root.write(&format!("var/log/containers/web-7d9f-x2x_shop_web-{ID}.log"), "");
    let found = files.find(ID, &cgroups[..1]);
    assert_eq!(found, container("web", "web", "shop", "web-7d9f-x2x"));
}

#[test]
fn podman_and_crio_list_their_containers() {
    for file in ["containers.json", "volatile-containers.json"] {
        let root = Root::new("podman");
        let path = format!("var/lib/containers/storage/overlay-containers/{file}");
        root.write(
            &path,
            &format!(
                r#"[{{"id":"{OTHER}","names":["nostalgic_hopper"]}},{{"id":"{ID}","names":["shop"],"image":"x","flags":{{}}}}]"#
            ),
        );
        assert_eq!(root.find(ID), container("shop", "shop", "", ""), "{file}");
        assert_eq!(root.find(OTHER).service, None);
        root.write(
            &path,
            &format!(r#"[{{"id":"{ID}","names":["k8s_web_web-7d9f-x2x_shop_0f6b_0","other"]}}]"#),
        );
        assert_eq!(root.find(ID), container("web", "web", "shop", "web-7d9f-x2x"), "{file}");
    }
}

#[test]
fn absent_files_are_no_error_and_are_asked_for_again() {
    let root = Root::new("absent");
    let files = ContainerFiles::new(&root.0);
    assert_eq!(files.find(ID, &[]), container("", "", "", ""));
    assert!(files.known.borrow().is_empty());
    root.docker(ID, r#"{"Name":"/shop"}"#);
    assert_eq!(files.find(ID, &[]).name.as_deref(), Some("shop"));
    // What was found stays.
    fs::remove_dir_all(root.0.join("var")).unwrap();
    assert_eq!(files.find(ID, &[]).name.as_deref(), Some("shop"));
    assert_eq!(
        ContainerFiles::new(Path::new("/nowhere")).find("../../etc", &[]).name,
        None
    );
}

#[test]
fn names_kept_are_bounded() {
    let root = Root::new("bounded");
    let files = ContainerFiles::new(&root.0);
    let id = |number: usize| format!("{number:064x}");
    for number in 0..KEPT.get() + 100 {
        root.docker(&id(number), r#"{"Name":"/shop"}"#);
        assert_eq!(files.find(&id(number), &[]).name.as_deref(), Some("shop"));
    }
    assert_eq!(files.known.borrow().len(), KEPT.get());
    // The oldest went, the newest stayed.
    fs::remove_dir_all(root.0.join("var")).unwrap();
    assert_eq!(files.find(&id(0), &[]).name, None);
    assert_eq!(files.find(&id(KEPT.get()), &[]).name.as_deref(), Some("shop"));
}

/// A host with more containers than a list holds: what is listed is right, and the rest has no pod.
#[test]
fn lists_are_bounded() {
    let root = Root::new("many");
    let count = MAX_ENTRIES + 500;
    for number in 0..count {
        root.write(&format!("var/log/containers/p{number}_n_c-{number:064x}.log"), "");
    }
    let files = ContainerFiles::new(&root.0);
    let pods = (0..count).map(|number| files.find(&format!("{number:064x}"), &[]).pod);
    let pods: Vec<Option<String>> = pods.collect();
    let named = pods.iter().zip(0..).filter(|(pod, _)| pod.is_some());
    assert!(named.clone().all(|(pod, number)| *pod == Some(format!("p{number}"))));
    assert_eq!(named.count(), MAX_ENTRIES);
}

#[test]
fn lists_shrink_with_their_files() {
    let root = Root::new("shrink");
    let log = |number: usize| format!("var/log/containers/p{number}_n_c-{number:064x}.log");
    let files = ContainerFiles::new(&root.0);
    for number in 0..300 {
        root.write(&log(number), "");
    }
    assert_eq!(files.find(&format!("{:064x}", 7), &[]).pod.as_deref(), Some("p7"));
    let listed = |files: &ContainerFiles| files.lists.borrow().logs.as_ref().map(|list| list.containers.len());
    assert_eq!(listed(&files), Some(300));
    for number in 0..299 {
        fs::remove_file(root.0.join(log(number))).unwrap();
    }
    assert_eq!(files.find(&format!("{:064x}", 299), &[]).pod.as_deref(), Some("p299"));
    assert_eq!(listed(&files), Some(1));
    fs::remove_dir_all(root.0.join("var")).unwrap();
    assert_eq!(files.find(ID, &[]).pod, None);
    assert_eq!(listed(&files), None);
}
