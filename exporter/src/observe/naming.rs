//! The name of the service a process belongs to.

mod interpreter;
mod options;
mod python;
mod script;
mod title;

use crate::config::{ExeRule, ServiceRule};
use crate::observe::cgroup::{container_id, systemd_unit};
use crate::observe::process::ProcessInfo;

/// Longest service name, in characters.
const MAX_NAME: usize = 128;
/// Digits of the container id kept in a name.
const SHORT_ID: usize = 12;
/// Units of container runtimes: what runs in them is told by the executable.
const RUNTIMES: [&str; 9] = [
    "docker",
    "containerd",
    "crio",
    "podman",
    "kubelet",
    "k3s",
    "k3s-agent",
    "cri-docker",
    "lxd",
];

/// What is known of the service of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described {
    /// The rule of the config that matches, and its name.
    pub rule: Option<(usize, String)>,
    /// The systemd unit.
    pub unit: Option<String>,
    /// The container's id.
    pub container: Option<String>,
    /// The application.
    pub app: String,
    /// Whether a better name may be seen.
    pub is_weak: bool,
}

// === impl Described ===

impl Described {
    /// Whether somebody has asked for it to run.
    pub fn is_managed(&self) -> bool {
        self.unit.is_some() || self.container.is_some()
    }

    /// Who it is; whether its unit runs other applications besides.
    pub fn identity(&self, unit_is_shared: bool) -> crate::observe::identity::Identity {
        let unit = self
            .unit
            .as_deref()
            .filter(|_| !unit_is_shared && self.container.is_none());
        let name = self
            .rule
            .as_ref()
            .map(|(_, name)| name.as_str())
            .or(unit)
            .unwrap_or(&self.app);
        crate::observe::identity::Identity {
            service: name.into(),
            container: self.container.as_deref().unwrap_or_default().into(),
            ..crate::observe::identity::Identity::default()
        }
    }
}

/// Describes the service of a process.
pub fn describe(
    process: &ProcessInfo,
    parent: Option<&ProcessInfo>,
    ports: &[u16],
    rules: &[ServiceRule],
) -> Described {
    let name = service_name(process, parent, ports, rules);
    let unit = systemd_unit(&process.cgroups).and_then(|unit| unit.strip_suffix(".service").map(str::to_owned));
    Described {
        rule: name.rule.map(|rule| (rule, name.name)),
        unit: unit.filter(|unit| !RUNTIMES.contains(&unit.as_str())),
        container: container_id(&process.cgroups).map(|id| id.chars().take(SHORT_ID).collect()),
        app: sanitize(&interpreter::app_name(parent.unwrap_or(process)), MAX_NAME),
        is_weak: false,
    }
}

/// The name of a service, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceName {
    /// Name, 1 to 128 characters without control characters.
    pub name: String,
    /// Index of the rule that gave the name, if one did.
    pub rule: Option<usize>,
}

/// Names the service of a process.
///
/// The first matching rule wins. Without one the name is `app@container`, the
/// systemd unit, or a name made of the executable and the program it runs.
/// `parent` is only used when [`named_by_parent`] holds, so that the workers of
/// a server bear its name.
#[must_use]
pub fn service_name(
    process: &ProcessInfo,
    parent: Option<&ProcessInfo>,
    listening_ports: &[u16],
    rules: &[ServiceRule],
) -> ServiceName {
    let parent = parent.filter(|parent| stands_for(parent, process));
    let rule = rules.iter().enumerate().find(|(_, rule)| {
        rule_matches(rule, process, listening_ports)
            || parent.is_some_and(|parent| rule_matches(rule, parent, listening_ports))
    });
    if let Some((index, rule)) = rule {
        return ServiceName {
            name: sanitize(&rule.name, MAX_NAME),
            rule: Some(index),
        };
    }
    let app = || interpreter::app_name(parent.unwrap_or(process));
    let unit = || {
        let unit = systemd_unit(&process.cgroups)?;
        let name = unit.strip_suffix(".service")?.to_owned();
        (!RUNTIMES.contains(&name.as_str())).then_some(name)
    };
    let name = match container_id(&process.cgroups) {
        Some(id) => {
            let id: String = id.chars().take(SHORT_ID).collect();
            format!("{}@{id}", sanitize(&app(), MAX_NAME - SHORT_ID - 1))
        }
        None => sanitize(&unit().unwrap_or_else(app), MAX_NAME),
    };
    ServiceName { name, rule: None }
}

/// Whether a process is a worker that only its parent can name.
#[must_use]
pub fn named_by_parent(process: &ProcessInfo) -> bool {
    interpreter::name_of(process).as_deref() == Some("python") && python::is_spawned_worker(&process.argv)
}

/// Whether every condition of a rule is met.
#[must_use]
pub fn rule_matches(rule: &ServiceRule, process: &ProcessInfo, listening_ports: &[u16]) -> bool {
    let unit = |wanted: &String| systemd_unit(&process.cgroups).is_some_and(|unit| unit == *wanted);
    let container = |prefix: &String| container_id(&process.cgroups).is_some_and(|id| id.starts_with(prefix.as_str()));
    let port = rule.ports.iter().any(|port| listening_ports.contains(port));
    (rule.ports.is_empty() || port)
        && rule.exe.as_ref().is_none_or(|exe| exe_matches(exe, process))
        && rule.unit.as_ref().is_none_or(unit)
        && rule.container.as_ref().is_none_or(container)
        && rule
            .cmdline
            .as_ref()
            .is_none_or(|regex| regex.is_match(&process.command_line()))
}

/// Compares with the executable, with what it was started as (`argv[0]`), and
/// with the target of the path when it is a link such as `/usr/bin/python3`.
fn exe_matches(rule: &ExeRule, process: &ProcessInfo) -> bool {
    let Some(exe) = process.exe_path() else {
        return false;
    };
    let started_as = process.argv.first().map(String::as_str).unwrap_or_default();
    match rule {
        ExeRule::Path(path) => {
            exe == *path
                || path.as_os_str() == started_as
                || std::fs::canonicalize(path).is_ok_and(|target| target == exe)
        }
        ExeRule::Name(name) => {
            exe.file_name().is_some_and(|file| file == name.as_str()) || script::file_name(started_as) == name
        }
    }
}

/// Whether the parent names the process: same program, and a worker that needs it.
fn stands_for(parent: &ProcessInfo, process: &ProcessInfo) -> bool {
    named_by_parent(process) && process.exe.is_some() && parent.exe == process.exe
}

/// Cuts a name and replaces its control characters.
fn sanitize(name: &str, limit: usize) -> String {
    let clean: String = name
        .trim()
        .chars()
        .map(|c| if c.is_control() { '_' } else { c })
        .take(limit)
        .collect();
    if clean.is_empty() { "unknown".to_owned() } else { clean }
}

#[cfg(test)]
mod tests;
