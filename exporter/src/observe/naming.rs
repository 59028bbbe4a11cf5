//! The name of the service a process belongs to.
//!
//! A name is made of what does not change while the process lives: its unit, its container, its executable and the arguments
//! it was started with. So it is the same whenever Vigie looks, and after the next deployment. Ids, addresses, ports and times are never in it.

mod interpreter;
mod java;
mod options;
mod python;
pub(crate) mod random;
mod remembered;
mod script;
mod title;
mod unit;
mod workers;

pub use remembered::Remembered;
pub use workers::{named_by_parent, namer};

use crate::config::{ExeRule, ServiceRule, unit_matches};
use crate::observe::cgroup::{container_id, place, systemd_unit};
use crate::observe::containers::{Container, ContainerFiles};
use crate::observe::identity::Identity;
use crate::observe::process::ProcessInfo;

/// Longest service name, in characters.
const MAX_NAME: usize = 128;
/// Digits of the container id that tell containers without a name apart.
const SHORT_ID: usize = 12;

/// What is known of the service of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Described {
    /// Index of the first rule that matches, and the name it gives.
    pub rule: Option<(usize, String)>,
    /// Name of the systemd unit, without what is random in it. None for runtimes of containers, sessions and
    /// managers of other people's programs.
    pub unit: Option<String>,
    /// Container, with the names that its runtime has for it.
    pub container: Option<Container>,
    /// Machine that systemd-nspawn, LXC or another runs, none for the host.
    pub machine: Option<String>,
    /// Name of the application: executable and program.
    pub app: String,
    /// Whether a better name may be seen later: the process was gone, runs nothing that has a name, is a worker of an
    /// unknown server, or in a pod whose files are not there yet.
    pub is_weak: bool,
}

// === impl Described ===

impl Described {
    /// Whether somebody has asked for it to run.
    #[must_use]
    pub fn is_managed(&self) -> bool {
        self.unit.is_some() || self.container.is_some()
    }

    /// The labels of the service and of this instance. A unit that is shared runs several applications, and names none of them.
    #[must_use]
    pub fn identity(&self, unit_is_shared: bool) -> Identity {
        let Self {
            rule,
            unit,
            container,
            machine,
            app,
            is_weak: _,
        } = self;
        let rule = rule.as_ref().map(|(_, name)| name);
        let unit = unit.as_ref().filter(|_| !unit_is_shared);
        let of_container =
            |field: fn(&Container) -> &Option<String>| container.as_ref().and_then(|found| field(found).as_ref());
        let service = rule
            .or(unit)
            .or_else(|| of_container(|found| &found.service))
            .unwrap_or(app);
        let instance = match container {
            Some(Container { name: Some(name), .. }) => name.as_str(),
            Some(Container { id, .. }) => id.get(..SHORT_ID).unwrap_or(id),
            None => machine.as_deref().unwrap_or_default(),
        };
        let text =
            |field: fn(&Container) -> &Option<String>| of_container(field).map(String::as_str).unwrap_or_default();
        Identity {
            service: sanitize(service, MAX_NAME).into(),
            container: instance.into(),
            namespace: text(|found| &found.namespace).into(),
            pod: text(|found| &found.pod).into(),
        }
    }
}

/// Describes the service of a process.
///
/// `parent` is only used when [`named_by_parent`] holds, so that the workers of a server bear its name: it is what
/// [`namer`] finds.
#[must_use]
pub fn describe(
    process: &ProcessInfo,
    parent: Option<&ProcessInfo>,
    listening_ports: &[u16],
    rules: &[ServiceRule],
    files: &ContainerFiles,
) -> Described {
    let parent = parent.filter(|parent| workers::stands_for(parent, process));
    let rule = rules.iter().enumerate().find(|(_, rule)| {
        rule_matches(rule, process, listening_ports)
            || parent.is_some_and(|parent| rule_matches(rule, parent, listening_ports))
    });
    let place = place(&process.cgroups);
    let container = place.container.map(|id| files.find(&id, &process.cgroups));
    let is_unnamed_in_pod = container.as_ref().is_some_and(|container| {
        container.service.is_none() && process.cgroups.iter().any(|line| line.contains("kubepods"))
    });
    let named_after = parent.unwrap_or(process);
    let app = interpreter::app_name(named_after);
    let is_orphan = parent.is_none() && named_by_parent(process);
    Described {
        rule: rule.map(|(index, rule)| (index, sanitize(&rule.name, MAX_NAME))),
        unit: place
            .unit
            .as_deref()
            .and_then(unit::name)
            .map(|name| sanitize(&name, MAX_NAME)),
        container,
        machine: place.machine.map(|name| sanitize(&name, MAX_NAME)),
        is_weak: is_orphan || is_unnamed_in_pod || interpreter::says_nothing(&app, named_after),
        app: sanitize(&app, MAX_NAME),
    }
}

/// Whether every condition of a rule is met.
#[must_use]
pub fn rule_matches(rule: &ServiceRule, process: &ProcessInfo, listening_ports: &[u16]) -> bool {
    let unit = |wanted: &String| systemd_unit(&process.cgroups).is_some_and(|unit| unit_matches(wanted, &unit));
    let container = |prefix: &String| container_id(&process.cgroups).is_some_and(|id| id.starts_with(prefix.as_str()));
    let port = rule.ports.iter().any(|port| listening_ports.contains(port));
    (rule.ports.is_empty() || port)
        && rule.exe.as_ref().is_none_or(|exe| exe_matches(exe, process))
        && rule.unit.as_ref().is_none_or(unit)
        && rule.container.as_ref().is_none_or(container)
        && rule.cmdline.as_ref().is_none_or(|regex| {
            // A title over the arguments may come at any time, so the arguments count, too.
            regex.is_match(&process.command_line())
                || process
                    .original
                    .as_ref()
                    .is_some_and(|argv| regex.is_match(&argv.join(" ")))
        })
}

/// Compares with the executable, with what it was started as (`argv[0]`), and
/// with the target of the path when it is a link such as `/usr/bin/python3`.
fn exe_matches(rule: &ExeRule, process: &ProcessInfo) -> bool {
    let Some(exe) = process.exe_path() else {
        return false;
    };
    let started_as = process.arguments().first().map(String::as_str).unwrap_or_default();
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
