//! The Rust toolchain's components, and bpf-linker.

use super::{installing, ok};
use crate::{command, paths};
use anyhow::{Context as _, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Pinned together with `rust-toolchain.toml`: it uses the compiler's own LLVM.
const BPF_LINKER: &str = "0.10.4";

/// The components, and a file of each inside the toolchain.
const COMPONENTS: [(&str, &str); 3] = [
    ("rust-src", "lib/rustlib/src/rust/library/core/Cargo.toml"),
    ("rustfmt", "bin/cargo-fmt"),
    ("clippy", "bin/cargo-clippy"),
];

/// Adds what the toolchain of `rust-toolchain.toml` lacks. The toolchain itself is there: it built this program.
pub fn ensure_components() -> Result<()> {
    let toolchain = sysroot()?;
    let missing = missing_components(&toolchain);
    if !missing.is_empty() {
        let list = missing.join(" ");
        if paths::find_program("rustup").is_none() {
            bail!("this Rust toolchain has no {list}, and there is no rustup to add it");
        }
        installing(&format!("{list} (rustup)"));
        command::run(in_workspace("rustup")?.args(["component", "add"]).args(&missing))?;
        let missing = missing_components(&toolchain);
        ensure!(missing.is_empty(), "rustup did not add {}", missing.join(" "));
    }
    let name = toolchain.file_name().unwrap_or_default().to_string_lossy();
    ok(&format!(
        "rust {name} with {}",
        COMPONENTS.map(|(component, _)| component).join(", ")
    ));
    Ok(())
}

fn sysroot() -> Result<PathBuf> {
    Ok(command::output(in_workspace("rustc")?.args(["--print", "sysroot"]))?.into())
}

fn missing_components(toolchain: &Path) -> Vec<&'static str> {
    let missing = COMPONENTS.iter().filter(|(_, file)| !toolchain.join(file).exists());
    missing.map(|(component, _)| *component).collect()
}

/// A program that looks at `rust-toolchain.toml`.
fn in_workspace(program: &str) -> Result<Command> {
    let mut command = Command::new(program);
    command.current_dir(paths::root()?);
    Ok(command)
}

/// Builds bpf-linker if its version is not the pinned one.
pub fn ensure_bpf_linker() -> Result<()> {
    let wanted = format!("bpf-linker {BPF_LINKER}");
    if installed_bpf_linker().is_ok_and(|version| version == wanted) {
        ok(&wanted);
        return Ok(());
    }
    installing(&format!("{wanted} (cargo install; takes some minutes)"));
    let mut install = command::cargo([
        "install",
        "--locked",
        "bpf-linker",
        "--version",
        &format!("={BPF_LINKER}"),
    ])?;
    // It is no part of this workspace: cargo builds it in a directory that it removes.
    command::run(install.env_remove("CARGO_TARGET_DIR"))?;
    let version = installed_bpf_linker().context("is the directory of cargo's programs in PATH?")?;
    ensure!(
        version == wanted,
        "installed {wanted}, but the one in PATH is {version}"
    );
    Ok(())
}

fn installed_bpf_linker() -> Result<String> {
    command::output(Command::new("bpf-linker").arg("--version"))
}
