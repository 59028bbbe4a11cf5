//! Names of systemd units without what is random in them.

use super::random;

/// Units of container runtimes: what runs in them is told by the container or the application.
const RUNTIMES: [&str; 25] = [
    "amazon-ecs",
    "buildkit",
    "containerd",
    "cri-docker",
    "cri-o",
    "crio",
    "docker",
    "ecs",
    "incus",
    "k0scontroller",
    "k0sworker",
    "k3s",
    "k3s-agent",
    "kubelet",
    "libvirtd",
    "lxc",
    "lxd",
    "nomad",
    "podman",
    "rke2-agent",
    "rke2-server",
    "snap.docker.dockerd",
    "snap.lxd.daemon",
    "snap.microk8s.daemon-containerd",
    "snap.microk8s.daemon-kubelite",
];
/// Units that run other people's programs side by side. Such a unit never names what it runs, not even while that is one
/// program: with the second one the name would change.
const MANAGERS: [&str; 20] = [
    "anacron",
    "atd",
    "circus",
    "circusd",
    "cron",
    "crond",
    "cronie",
    "daemontools",
    "inetd",
    "monit",
    "openbsd-inetd",
    "runit",
    "s6",
    "ssh",
    "sshd",
    "supervisor",
    "supervisord",
    "svscan",
    "xinetd",
    "systemd-logind",
];
/// Numbers from here on are ports or user ids, below they count instances.
const FIRST_PORT: u32 = 1024;

/// The name that a unit gives to what runs in it, if it gives any.
pub(super) fn name(unit: &str) -> Option<String> {
    let base = unit.strip_suffix(".service")?;
    if is_transient(base) {
        return None;
    }
    let base = base
        .strip_prefix("dbus-:")
        .and_then(|rest| rest.split_once('-'))
        .map_or(base, |(_, name)| name);
    let (template, instance) = base.split_once('@').unwrap_or((base, ""));
    let template = random::without(without_process(template))?;
    if RUNTIMES.contains(&template.as_str()) || MANAGERS.contains(&template.as_str()) || template.starts_with("pm2-") {
        return None;
    }
    Some(match instance_name(instance) {
        Some(instance) => format!("{template}@{instance}"),
        None => template,
    })
}

/// Units that `systemd-run` and sessions make up: `run-r<id>`, `run-u17`, `run-p12-i34`, `session-3`.
fn is_transient(base: &str) -> bool {
    let is_counted = |rest: &str| {
        rest.contains(|c: char| c.is_ascii_digit())
            && rest.split('-').all(|part| {
                part.trim_start_matches(['r', 'u', 'p', 'i'])
                    .bytes()
                    .all(|byte| byte.is_ascii_hexdigit())
            })
    };
    ["run-", "session-"]
        .iter()
        .any(|start| base.strip_prefix(start).is_some_and(is_counted))
}

/// Desktops write `app-<launcher>-<application>-<process>`.
fn without_process(template: &str) -> &str {
    let is_application = template.strip_prefix("app-").is_some_and(|rest| rest.contains('-'));
    match template.rsplit_once('-') {
        Some((before, process)) if is_application && is_number(process) => before,
        _ => template,
    }
}

/// What is behind the `@`, if that is a name and not a connection, an address, a port or an id.
fn instance_name(instance: &str) -> Option<String> {
    if is_connection(instance) || random::is_address(instance) {
        return None;
    }
    if is_number(instance) {
        let is_index = instance.parse::<u32>().is_ok_and(|number| number < FIRST_PORT);
        return is_index.then(|| instance.to_owned());
    }
    let host = instance
        .rsplit_once(':')
        .filter(|(_, port)| is_number(port))
        .map_or(instance, |(host, _)| host);
    random::without(host)
}

/// Instances that systemd makes for sockets with `Accept=yes`: a number, then both addresses, or process and user.
fn is_connection(instance: &str) -> bool {
    let Some((number, peer)) = instance.split_once('-') else {
        return false;
    };
    let is_ids = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'_'))
    };
    is_number(number) && (peer.contains(':') || peer == "unknown" || is_ids(peer))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
