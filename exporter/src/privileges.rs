//! The privileges that Vigie needs, and what is missing without each.
//!
//! A process has as many as the kernel says are effective. Neither the rights to administer the network nor those to raise limits are among
//! them: nothing here asks for these.

use std::{fs, io};

use log::warn;

/// A capability (capabilities(7)), and what it is for.
#[derive(Debug)]
pub struct Capability {
    /// Its name, a label value.
    pub name: &'static str,
    /// Its number in `include/uapi/linux/capability.h`.
    number: u32,
    /// What is missing without it, as the end of "without it …".
    pub without: &'static str,
}

/// Those that full function needs.
pub const CAPABILITIES: [Capability; 5] = [
    Capability {
        name: "CAP_BPF",
        number: 39,
        without: "no program can be loaded",
    },
    Capability {
        name: "CAP_PERFMON",
        number: 38,
        without: "no program can be loaded",
    },
    Capability {
        name: "CAP_SYS_PTRACE",
        number: 19,
        without: "services are named by their command lines as they are shown, bytes that they read and write on disks are not \
                  counted, and whoever has listened before Vigie's start is unknown until it answers",
    },
    Capability {
        name: "CAP_DAC_READ_SEARCH",
        number: 2,
        without: "whoever has listened before Vigie's start is unknown until it answers, and ports that several services share, and unix \
                  sockets, are nobody's",
    },
    Capability {
        name: "CAP_SYS_ADMIN",
        number: SYS_ADMIN,
        without: "ports in other network namespaces have no backlog limit, overflows and open connections",
    },
];

/// `CAP_SYS_ADMIN`. The kernel takes it for `CAP_BPF` and `CAP_PERFMON` as well (`bpf_capable()`, `perfmon_capable()`).
const SYS_ADMIN: u32 = 21;

/// What is missing where other processes are hidden although the capabilities are there.
pub const HIDDEN: &str = "no other process shows its executable, although the capabilities are there: a security module or a sandbox (AppArmor, \
                          Landlock) does not let Vigie look; without it, services are named by their command lines as they are shown";

// === impl Capability ===

impl Capability {
    /// Whether it is among these, a bit for each.
    pub fn is_in(&self, effective: u64) -> bool {
        let implied = matches!(self.name, "CAP_BPF" | "CAP_PERFMON");
        let has = |number: u32| effective >> number & 1 == 1;
        has(self.number) || (implied && has(SYS_ADMIN))
    }
}

/// The effective capabilities of this process, a bit for each, from `/proc/self/status`.
pub fn effective() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .unwrap_or(0)
}

/// Whether all other processes are hidden. Single ones may be, by their own wish.
pub fn are_others_hidden() -> bool {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut is_denied = false;
    for id in ids.filter(|id| *id != std::process::id()) {
        match fs::read_link(format!("/proc/{id}/exe")) {
            Ok(_) => return false,
            Err(error) => is_denied |= error.kind() == io::ErrorKind::PermissionDenied,
        }
    }
    is_denied
}

/// Says what is missing, in the log.
pub fn warn_of_missing() {
    let effective = effective();
    let mut is_complete = true;
    for Capability { name, without, .. } in CAPABILITIES.iter().filter(|capability| !capability.is_in(effective)) {
        is_complete = false;
        warn!("{name} is missing: without it, {without}");
    }
    if is_complete && are_others_hidden() {
        warn!("{HIDDEN}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_implies_another_is_enough() {
        let missing = |effective: u64| {
            let missing = CAPABILITIES.iter().filter(|one| !one.is_in(effective));
            missing
                .map(|one| one.name.trim_start_matches("CAP_"))
                .collect::<Vec<_>>()
        };
        assert_eq!(missing(u64::MAX), Vec::<&str>::new());
        assert_eq!(missing(1 << 21), ["SYS_PTRACE", "DAC_READ_SEARCH"]);
        assert_eq!(
            missing(1 << 39 | 1 << 38),
            ["SYS_PTRACE", "DAC_READ_SEARCH", "SYS_ADMIN"]
        );
        assert_eq!(missing(1 << 38 | 1 << 19 | 1 << 2), ["BPF", "SYS_ADMIN"]);
    }
}
