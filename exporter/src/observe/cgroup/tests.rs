use proptest::prelude::*;

use super::{Place, container_id, place, systemd_unit};

const ID: &str = "3f2a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8";
const OTHER: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn unit(line: &str) -> Option<String> {
    systemd_unit(&[line])
}

#[test]
fn finds_the_innermost_service() {
    for (line, expected) in [
        ("0::/system.slice/nginx.service", Some("nginx.service")),
        ("1:name=systemd:/system.slice/nginx.service", Some("nginx.service")),
        (
            "0::/system.slice/system-postgresql.slice/postgresql@15-main.service",
            Some("postgresql@15-main.service"),
        ),
        (
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/shop.service",
            Some("shop.service"),
        ),
        ("0::/system.slice/shop.service/workers", Some("shop.service")),
        ("0::/system.slice/shop\\x2dapi.service", Some("shop-api.service")),
        ("0::/system.slice/bad\\x2.service", Some("bad\\x2.service")),
        ("0::/system.slice/_memory.service", Some("memory.service")),
        ("0::/user.slice/user-1000.slice/user@1000.service/init.scope", None),
        ("0::/user.slice/user-1000.slice/session-3.scope", None),
        ("0::/init.scope", None),
        ("0::/system.slice/.service", None),
        ("4:memory:/system.slice/nginx.service", None),
        ("0::/", None),
        ("", None),
    ] {
        assert_eq!(unit(line).as_deref(), expected, "{line}");
    }
}

#[test]
fn reads_hybrid_hierarchies() {
    let lines = ["4:memory:/x", "1:name=systemd:/system.slice/a.service", "0::/"];
    assert_eq!(systemd_unit(&lines).as_deref(), Some("a.service"));
    let lines = ["1:name=systemd:/system.slice/a.service", "0::/b.service"];
    assert_eq!(systemd_unit(&lines).as_deref(), Some("b.service"));
}

#[test]
fn finds_container_ids() {
    for path in [
        format!("0::/docker/{ID}"),
        format!("5:cpu,cpuacct:/docker/{ID}"),
        format!("0::/system.slice/docker-{ID}.scope"),
        format!("0::/system.slice/docker.service/docker/{ID}"),
        format!("0::/system.slice/containerd.service/kubepods-x.slice:cri-containerd:{ID}"),
        format!("0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-containerd-{ID}.scope"),
        format!("0::/kubepods/besteffort/pod0f6b2c1e/{ID}"),
        format!("0::/kubepods.slice/kubepods-pod1.slice/crio-{ID}.scope"),
        format!("0::/machine.slice/libpod-{ID}.scope"),
        format!("0::/machine.slice/libpod-{ID}.scope/container"),
        format!("0::/user.slice/user@1000.service/user.slice/libpod-{ID}.scope"),
        format!("0::/system.slice/shop.service/libpod-payload-{ID}"),
        format!("0::/libpod_parent/libpod-{ID}"),
        format!("0::/docker/{OTHER}/docker/{ID}"),
        format!("0::/docker/{ID}/system.slice/nginx.service"),
        format!("0::/../../docker/{ID}"),
    ] {
        assert_eq!(container_id(&[&path]).as_deref(), Some(ID), "{path}");
    }
}

#[test]
fn refuses_what_is_not_a_container_id() {
    for path in [
        "0::/docker/3f2a1b2c3d4e".to_owned(),
        format!("0::/docker/{}", &ID[1..]),
        format!("0::/docker/{ID}0"),
        format!("0::/docker/{}", ID.to_uppercase()),
        format!("0::/machine.slice/libpod-conmon-{ID}.scope"),
        format!("0::/pod/crio-conmon-{ID}.scope"),
        format!("0::/system.slice/{ID}-123.service"),
        format!("0::/system.slice/{ID}.service"),
        "0::/system.slice/nginx.service".to_owned(),
        ID.to_owned(),
    ] {
        assert_eq!(container_id(&[&path]), None, "{path}");
    }
}

proptest! {
    #[test]
    fn never_panics(lines in prop::collection::vec(any::<String>(), 0..4)) {
        let _ = systemd_unit(&lines);
        let _ = container_id(&lines);
        let _ = place(&lines);
    }

    #[test]
    fn odd_paths_never_panic(path in "0::[/a-f0-9é:.x\\\\-]{0,90}(\\.scope|\\.service)?") {
        let _ = systemd_unit(&[&path]);
        let _ = place(&[&path]);
        if let Some(id) = container_id(&[&path]) {
            prop_assert_eq!(id.len(), 64);
        }
    }
}

fn found(line: &str) -> (Option<String>, Option<String>, Option<String>) {
    let Place {
        unit,
        container,
        machine,
    } = place(&[line]);
    (unit, container, machine)
}

#[test]
fn a_unit_of_a_machine_is_not_the_hosts() {
    for (line, unit, machine) in [
        ("0::/system.slice/store.service", Some("store.service"), None),
        (
            "0::/machine.slice/machine-foo.scope/payload/system.slice/store.service",
            Some("store.service"),
            Some("foo"),
        ),
        (
            "0::/machine.slice/systemd-nspawn@foo.service/payload/system.slice/store.service",
            Some("store.service"),
            Some("foo"),
        ),
        (
            "0::/machine.slice/systemd-nspawn@foo.service/payload",
            None,
            Some("foo"),
        ),
        (
            "0::/machine.slice/systemd-nspawn@foo.service/supervisor",
            Some("systemd-nspawn@foo.service"),
            None,
        ),
        (
            "0::/lxc.payload.foo/system.slice/store.service",
            Some("store.service"),
            Some("foo"),
        ),
        ("0::/lxc.monitor.foo", None, None),
        (
            "0::/lxc/101/ns/system.slice/store.service",
            Some("store.service"),
            Some("101"),
        ),
        (
            "0::/lxc.payload/foo/system.slice/store.service",
            Some("store.service"),
            Some("foo"),
        ),
        ("3:memory:/lxc/foo/system.slice/store.service", None, Some("foo")),
        (
            "0::/machine.slice/machine-qemu\\x2d17\\x2dshop\\x2ddb.scope/libvirt/emulator",
            None,
            Some("shop-db"),
        ),
        ("0::/lxc", None, None),
        ("0::/machine.slice/machine-.scope", None, None),
    ] {
        let expected = (unit.map(str::to_owned), None, machine.map(str::to_owned));
        assert_eq!(found(line), expected, "{line}");
    }
}

#[test]
fn a_container_may_be_in_a_unit_or_a_machine() {
    let id = || Some(ID.to_owned());
    let text = |text: &str| Some(text.to_owned());
    let line = format!("0::/system.slice/shop.service/libpod-payload-{ID}");
    assert_eq!(found(&line), (text("shop.service"), id(), None));
    let line = format!("0::/docker/{ID}/system.slice/nginx.service");
    assert_eq!(found(&line), (text("nginx.service"), id(), None));
    let line = format!("0::/lxc.payload.foo/docker/{ID}");
    assert_eq!(found(&line), (None, id(), text("foo")));
    assert_eq!(found(&format!("0::/lxc/{ID}")), (None, id(), None));
}

#[test]
fn hierarchies_agree_on_a_machine() {
    let lines = [
        "4:memory:/lxc/foo",
        "1:name=systemd:/lxc/foo/system.slice/a.service",
        "0::/",
    ];
    let place = place(&lines);
    assert_eq!(
        (place.unit.as_deref(), place.machine.as_deref()),
        (Some("a.service"), Some("foo"))
    );
}
