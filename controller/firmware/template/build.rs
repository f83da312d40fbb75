//! Linker scripts and the policy image; nothing where the package is compiled for the host.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// Names the policy image to compile in; without it the firmware waits for a policy.
const POLICY_ENV: &str = "COSHIFT_POLICY_IMAGE";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=memory.x");
    println!("cargo:rerun-if-env-changed={POLICY_ENV}");
    if env::var("CARGO_CFG_TARGET_OS")? != "none" {
        return Ok(());
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::copy("memory.x", out.join("memory.x"))?;
    // Every interrupt is named in the vector table itself (`src/uart.rs`): no weak handlers.
    fs::write(out.join("device.x"), "")?;
    println!("cargo:rustc-link-search={}", out.display());
    for argument in ["--nmagic", "-Tlink.x", "-Tdefmt.x"] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
    policy(&out)
}

/// Copies the image to where `src/main.rs` includes it.
fn policy(out: &Path) -> Result<(), Box<dyn Error>> {
    let image = match env::var_os(POLICY_ENV).filter(|path| !path.is_empty()) {
        None => Vec::new(),
        Some(path) => {
            let path = PathBuf::from(path);
            println!("cargo:rerun-if-changed={}", path.display());
            fs::read(&path).map_err(|error| format!("{POLICY_ENV}: {}: {error}", path.display()))?
        }
    };
    fs::write(out.join("policy.bin"), &image)?;
    Ok(())
}
