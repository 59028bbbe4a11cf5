//! `vigie doctor`: can Vigie see requests on this host, and what to do if not.

use std::{fs, io::Write as _};

use anyhow::Result;
use clap::Args;

use crate::kernel::load::{KERNEL_BTF, Loaded, Settings, load, pid_max, sees_requests};

/// The flags of `vigie doctor`: none.
#[derive(Args, Debug)]
pub struct Doctor {}

/// The capabilities that loading and attaching needs, by number (`include/uapi/linux/capability.h`).
const CAPABILITIES: [(&str, u32); 4] = [
    ("CAP_BPF", 39),
    ("CAP_PERFMON", 38),
    ("CAP_SYS_PTRACE", 19),
    ("CAP_DAC_READ_SEARCH", 2),
];

// === impl Doctor ===

impl Doctor {
    /// Prints what was found. `true`: Vigie can see requests here.
    ///
    /// # Errors
    ///
    /// If standard output cannot be written.
    pub fn run(self) -> Result<bool> {
        let mut out = std::io::stdout().lock();
        let mut line = |good: bool, what: &str, found: &str| {
            writeln!(out, "{:4}  {what:24}  {found}", if good { "ok" } else { "FAIL" })
        };

        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        line(
            !kernel.is_empty(),
            "kernel",
            &format!("{} {}", kernel.trim(), std::env::consts::ARCH),
        )?;
        match fs::metadata(KERNEL_BTF) {
            Ok(metadata) => line(
                true,
                "kernel types (BTF)",
                &format!("{KERNEL_BTF}, {} bytes", metadata.len()),
            )?,
            Err(error) => line(
                false,
                "kernel types (BTF)",
                &format!("{KERNEL_BTF}: {error}: use a kernel with CONFIG_DEBUG_INFO_BTF"),
            )?,
        }
        let effective = effective_capabilities();
        for (name, number) in CAPABILITIES {
            let has = effective >> number & 1 == 1;
            line(
                has,
                name,
                if has {
                    "effective"
                } else {
                    "missing: run Vigie as root, or grant it"
                },
            )?;
        }

        let settings = Settings {
            log_level: 0,
            pid_max: pid_max()?,
        };
        let sees = match load(&settings) {
            Ok(Loaded { ebpf: _, probes }) => {
                for probe in &probes {
                    let what = format!("probe {}", probe.name);
                    match &probe.error {
                        None => line(true, &what, probe.hook)?,
                        Some(error) => line(
                            false,
                            &what,
                            &format!("{}: {error}; without it, {}", probe.hook, probe.role.without()),
                        )?,
                    }
                }
                sees_requests(&probes)
            }
            Err(error) => {
                line(false, "load", &format!("{error:#}"))?;
                false
            }
        };
        writeln!(
            out,
            "\n{}",
            if sees {
                "Vigie can see requests on this host."
            } else {
                "Vigie cannot see requests on this host."
            }
        )?;
        Ok(sees)
    }
}

/// The effective capabilities of this process, a bit for each, from `/proc/self/status`.
fn effective_capabilities() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .unwrap_or(0)
}
