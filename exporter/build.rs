//! Builds the eBPF programs and puts the object where `kernel::load` includes it from.

use aya_build::{Package, Toolchain};

fn main() -> anyhow::Result<()> {
    // `-Zbuild-std=core` is unstable, and core for BPF can be had in no other way. This lets the stable compiler take
    // that one flag, for that one build.
    // SAFETY: a build script has one thread at this point.
    unsafe { std::env::set_var("RUSTC_BOOTSTRAP", "1") };
    println!("cargo:rerun-if-changed=build.rs");
    // Not `env!`: cargo does not compile this anew when the directory has another name.
    let package = std::env::var("CARGO_MANIFEST_DIR")?;
    let toolchain = std::env::var("RUSTUP_TOOLCHAIN").unwrap_or_else(|_| "1.95.0".to_owned());
    aya_build::build_ebpf(
        [Package {
            name: "vigie-ebpf",
            root_dir: &format!("{package}/../exporter-ebpf"),
            ..Package::default()
        }],
        Toolchain::Custom(&toolchain),
    )
}
