//! `vigie doctor`: can Vigie see requests on this host, and what to do if not.

use std::{fs, io::Write as _, process::ExitCode};

use anyhow::Result;
use clap::Args;

use crate::{
    kernel::load::{KERNEL_BTF, Loaded, Missing, Probe, Settings, load, sees_requests},
    logging::Level,
    privileges::{self, CAPABILITIES},
};

/// The flags of `vigie doctor`.
#[derive(Args, Debug)]
pub struct Doctor {
    /// Try the programs as `vigie serve` loads them with this level.
    #[arg(long = "log.kernel-level", value_name = "LEVEL", default_value = "off")]
    kernel_log_level: Level,
}

/// How much Vigie can see on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// All that it is made for.
    All,
    /// Requests, and not all of the rest.
    Part,
    /// No requests.
    Nothing,
}

// === impl Found ===

impl From<Found> for ExitCode {
    fn from(found: Found) -> Self {
        match found {
            Found::All => Self::SUCCESS,
            Found::Part => Self::from(2),
            Found::Nothing => Self::FAILURE,
        }
    }
}

// === impl Doctor ===

impl Doctor {
    /// Prints what was found.
    ///
    /// # Errors
    ///
    /// If standard output cannot be written.
    pub fn run(self) -> Result<Found> {
        let mut out = std::io::stdout().lock();
        let mut is_complete = true;
        let mut line = |good: bool, what: &str, found: &str| {
            is_complete &= good;
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
        let effective = privileges::effective();
        let mut has_all = true;
        for capability in &CAPABILITIES {
            if capability.is_in(effective) {
                line(true, capability.name, "effective")?;
                continue;
            }
            has_all = false;
            let missing = format!(
                "missing: without it, {}; run Vigie as root, or grant it",
                capability.without
            );
            line(false, capability.name, &missing)?;
        }
        if has_all && privileges::are_others_hidden() {
            line(false, "other processes", privileges::HIDDEN)?;
        }

        let settings = Settings {
            log_level: self.kernel_log_level as u8,
        };
        let sees = match load(&settings) {
            Ok(Loaded {
                ebpf: _,
                probes,
                missing,
            }) => {
                for probe in &probes {
                    let what = format!("probe {}", probe.name);
                    match &probe.error {
                        None => line(true, &what, &format!("{}{}", probe.place(), effort(probe)))?,
                        Some(error) => line(false, &what, &format!("{error}; without it, {}", probe.role.without()))?,
                    }
                }
                for Missing { name, error, without } in &missing {
                    line(false, name, &format!("{error}; without it, {without}"))?;
                }
                sees_requests(&probes)
            }
            Err(error) => {
                line(false, "load", &format!("{error:#}"))?;
                false
            }
        };
        let (found, summary) = match (sees, is_complete) {
            (true, true) => (Found::All, "Vigie can see requests on this host."),
            (true, false) => (
                Found::Part,
                "Vigie can see requests on this host, and not all of the rest.",
            ),
            (false, _) => (Found::Nothing, "Vigie cannot see requests on this host."),
        };
        writeln!(out, "\n{summary}")?;
        Ok(found)
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
