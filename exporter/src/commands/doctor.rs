//! `vigie doctor`: can Vigie see requests on this host, and what to do if not.

use std::{fs, io::Write as _};

use anyhow::Result;
use clap::Args;

use crate::{
    kernel::load::{KERNEL_BTF, Loaded, Probe, Settings, load, pid_max, sees_requests},
    logging::Level,
};

/// The flags of `vigie doctor`.
#[derive(Args, Debug)]
pub struct Doctor {
    /// Try the programs as `vigie serve` loads them with this level.
    #[arg(long = "log.kernel-level", value_name = "LEVEL", default_value = "off")]
    kernel_log_level: Level,
}

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
            log_level: self.kernel_log_level as u8,
            pid_max: pid_max()?,
        };
        let sees = match load(&settings) {
            Ok(Loaded { ebpf: _, probes }) => {
                for probe in &probes {
                    let what = format!("probe {}", probe.name);
                    match &probe.error {
                        None => line(true, &what, &format!("{}{}", probe.place(), effort(probe)))?,
                        Some(error) => line(false, &what, &format!("{error}; without it, {}", probe.role.without()))?,
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

/// What a probe's program has cost the kernel's verifier, where the kernel says.
fn effort(probe: &Probe) -> String {
    probe.verified.map_or_else(String::new, |verified| {
        format!(
            " (verified {} instructions in {:.3} s)",
            verified.instructions,
            verified.time.as_secs_f64()
        )
    })
}

/// The effective capabilities of this process, a bit for each, from `/proc/self/status`.
fn effective_capabilities() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .unwrap_or(0)
}
