//! What the build script of a firmware package does: linker scripts and the policy image.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// Names the policy image to compile in; without it the firmware waits for a policy.
const POLICY_ENV: &str = "COSHIFT_POLICY_IMAGE";

/// Who names the interrupts of the microcontroller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupts {
    /// The package itself, in its vector table: there are no weak handlers.
    Own,
    /// The device crate of the HAL, with its own script `device.x`.
    Device,
}

/// Passes `memory.x` of the package and the scripts of start-up and logs to the linker, and puts the
/// policy image where `coshift_firmware::built_in_policy!` includes it. Nothing where the package is
/// compiled for the host.
///
/// # Errors
/// A file that cannot be read or written, by its name.
pub fn firmware(interrupts: Interrupts) -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=memory.x");
    println!("cargo:rerun-if-env-changed={POLICY_ENV}");
    if env::var("CARGO_CFG_TARGET_OS")? != "none" {
        return Ok(());
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::copy("memory.x", out.join("memory.x")).map_err(|error| format!("memory.x: {error}"))?;
    if interrupts == Interrupts::Own {
        write(&out.join("device.x"), &[])?;
    }
    println!("cargo:rustc-link-search={}", out.display());
    for argument in ["--nmagic", "-Tlink.x", "-Tdefmt.x"] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
    write(&out.join("policy.bin"), &policy()?)
}

/// The policy image; empty where none is named.
fn policy() -> Result<Vec<u8>, Box<dyn Error>> {
    let Some(path) = env::var_os(POLICY_ENV).filter(|path| !path.is_empty()) else {
        return Ok(Vec::new());
    };
    let path = PathBuf::from(path);
    println!("cargo:rerun-if-changed={}", path.display());
    fs::read(&path).map_err(|error| format!("{POLICY_ENV}: {}: {error}", path.display()).into())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    fs::write(path, bytes).map_err(|error| format!("{}: {error}", path.display()).into())
}
