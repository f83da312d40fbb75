//! The driver's side of inference on GPUs, checked where there is neither CUDA nor a GPU.
//!
//! The engine is built without kernels then (`host/engine/build.rs`), and the tests bring an emulated
//! driver that has them. What candle has of CUDA is not among it: candle's build compiles its own
//! kernels with nvcc (`cargo xtask cuda --candle`).

use std::process::Command;

use anyhow::Result;

use crate::workspace::{self, Workspace};

/// The whole workspace with the feature, so that all that does not depend on it is built once for this
/// and for the usual lints and tests.
const SELECTION: [&str; 3] = ["--workspace", "--features", "coshift-tools/cuda"];
/// No kernels; and cudarc, which otherwise asks a toolkit, is told the release of CUDA.
const ENVIRONMENT: [(&str, &str); 2] =
    [("COSHIFT_CUDA_KERNELS", "none"), ("CUDARC_CUDA_VERSION", "13000")];

fn cargo(workspace: &Workspace, command: &str) -> Command {
    let mut cargo = workspace.cargo();
    cargo.arg(command).args(SELECTION).envs(ENVIRONMENT);
    cargo
}

/// Lints everything that the feature changes.
pub(crate) fn lint(workspace: &Workspace) -> Result<()> {
    workspace::run(cargo(workspace, "clippy").args(["--all-targets", "--", "-D", "warnings"]))
}

/// The tests over the emulated driver: the engine's, and the tool's command that compares on a device.
pub(crate) fn tests(workspace: &Workspace) -> Command {
    let mut command = cargo(workspace, "test");
    command.args(["--no-fail-fast", "--test", "cuda_device", "--test", "bench_cuda"]);
    command.args(["--", "--show-output"]);
    command
}
