//! With the feature `cuda`: compiles the kernels with `nvcc`.
//!
//! `nvcc` is that of `CUDA_HOME` (or `CUDA_PATH`), else of the `PATH`. `CUDA_COMPUTE_CAP` names the
//! compute capabilities, `87` or `8.7`, several with commas; without it that of the machine's own
//! device. The outcome is one file with machine code for each, and PTX of the last for devices that
//! came later.
//!
//! With `COSHIFT_CUDA_KERNELS=none` the file has no kernels and nothing of CUDA is needed: for lints, and
//! for tests over an emulated driver, which has kernels of its own. Such a program says at its first use
//! of a device that it has none.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

const FOLDER: &str = "src/kernels/cuda";
const SWITCH: &str = "COSHIFT_CUDA_KERNELS";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    println!("cargo::rerun-if-changed={FOLDER}");
    for name in ["CUDA_HOME", "CUDA_PATH", "CUDA_COMPUTE_CAP", "PATH", SWITCH] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let outcome = match env::var(SWITCH) {
        Err(_) => compile(),
        Ok(what) if what == "none" => without_kernels(),
        Ok(what) => Err(format!("{SWITCH} is `{what}`, expected `none` or nothing")),
    };
    if let Err(why) = outcome {
        eprintln!("the kernels of feature `cuda`: {why}");
        exit(1);
    }
}

/// Where the kernels go, for `device.rs` to include.
fn target() -> Result<PathBuf, String> {
    let out = env::var_os("OUT_DIR").ok_or("no OUT_DIR")?;
    Ok(Path::new(&out).join("kernels.fatbin"))
}

/// A file for devices in which there is nothing: number, version, length of the header, of the rest.
fn without_kernels() -> Result<(), String> {
    let target = target()?;
    let mut bytes = 0xba55_ed50_u32.to_le_bytes().to_vec();
    bytes.extend([1, 0, 16, 0]);
    bytes.extend(0_u64.to_le_bytes());
    std::fs::write(&target, bytes).map_err(|error| format!("{}: {error}", target.display()))?;
    println!("cargo::rustc-env=COSHIFT_CUDA_CAPABILITIES=none");
    Ok(())
}

fn compile() -> Result<(), String> {
    let capabilities = capabilities()?;
    let nvcc = nvcc();
    let mut command = Command::new(&nvcc);
    command.args(["-std=c++17", "-O3", "--fatbin", "-o"]);
    command.arg(target()?);
    for capability in &capabilities {
        let target = format!("arch=compute_{capability},code=sm_{capability}");
        command.args(["-gencode", &target]);
    }
    if let Some(last) = capabilities.last() {
        command.args(["-gencode", &format!("arch=compute_{last},code=compute_{last}")]);
    }
    command.arg(Path::new(FOLDER).join("kernels.cu"));
    let output = command.output().map_err(|error| {
        let nvcc = nvcc.display();
        format!("{nvcc}: {error}; set CUDA_HOME to a CUDA toolkit, or run cargo xtask cuda")
    })?;
    if !output.status.success() {
        let (out, err) = (output.stdout, output.stderr);
        let said = [String::from_utf8_lossy(&out), String::from_utf8_lossy(&err)].concat();
        return Err(format!("{command:?} fails:\n{said}"));
    }
    println!("cargo::rustc-env=COSHIFT_CUDA_CAPABILITIES={}", capabilities.join(", "));
    Ok(())
}

fn nvcc() -> PathBuf {
    ["CUDA_HOME", "CUDA_PATH"]
        .iter()
        .filter_map(env::var_os)
        .map(|home| Path::new(&home).join("bin/nvcc"))
        .find(|nvcc| nvcc.is_file())
        .unwrap_or_else(|| "nvcc".into())
}

/// Compute capabilities in ascending order: `["87", "90"]`.
fn capabilities() -> Result<Vec<String>, String> {
    let text = match env::var("CUDA_COMPUTE_CAP") {
        Ok(text) => text,
        Err(_) => {
            let asked = Command::new("nvidia-smi")
                .args(["--query-gpu=compute_cap", "--format=csv,noheader"])
                .output();
            let output = asked.ok().filter(|output| output.status.success());
            let output = output.ok_or(
                "no CUDA_COMPUTE_CAP, and nvidia-smi names no device; \
                 set it to 87 for Orin, 90 for H100",
            )?;
            String::from_utf8_lossy(&output.stdout).trim().replace('\n', ",")
        }
    };
    let mut found = Vec::new();
    for part in text.split(',').map(str::trim) {
        let digits = part.trim_start_matches("sm_").replace('.', "");
        let number: u32 = digits.parse().map_err(|_| {
            format!("CUDA_COMPUTE_CAP is `{text}`, expected numbers like 87 or 8.7, with commas")
        })?;
        found.push(number);
    }
    found.sort_unstable();
    found.dedup();
    Ok(found.into_iter().map(|number| number.to_string()).collect())
}
