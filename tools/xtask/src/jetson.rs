//! What is compiled for the processor of a Jetson: the engine's tests, which run under an emulator, and
//! the tools with CUDA (`cuda.rs`).

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::embedded::{JETSON, Toolchain};
use crate::environment::{JETSON_EMULATOR, JETSON_LIBRARIES, JETSON_LINKER};
use crate::setup::{self, Need};
use crate::tally::Tally;
use crate::test;
use crate::workspace::{self, Workspace};

/// Tests that need nothing but the kernels: every operator in every instruction set, whole
/// sub-networks forwards and backwards.
const TESTS: [&str; 3] = ["instruction_sets", "inference", "training"];

/// Builds the engine's tests for the Jetson's processor, without candle, and runs them emulated.
pub(crate) fn check(workspace: &Workspace, yes: bool, tally: &mut Tally) {
    let name = "tests of the engine on aarch64";
    let command = match prepare(workspace, yes) {
        Ok(command) => command,
        Err(error) if workspace::in_ci() => return tally.check(name, Err(error)),
        Err(error) => return tally.skip(name, &format!("{error:#}")),
    };
    test::counted(name, command, tally);
}

fn prepare(workspace: &Workspace, yes: bool) -> Result<Command> {
    let mut command = workspace.cargo();
    command.args(["test", "--package", "coshift-engine", "--no-default-features"]);
    for test in TESTS {
        command.args(["--test", test]);
    }
    compile_for(workspace, &toolchain(yes)?, &mut command);
    command.args(["--no-fail-fast", "--", "--show-output"]);
    Ok(command)
}

/// The toolchain for this processor, once all that it takes is there.
pub(crate) fn toolchain(yes: bool) -> Result<Toolchain> {
    let environment = setup::ensure(&[Need::Jetson], yes)?;
    Toolchain::choose_for_jetson(&environment).context("no toolchain for the processor")
}

/// Makes a cargo command, whose subcommand is given, compile for it; its programs run emulated.
pub(crate) fn compile_for(workspace: &Workspace, toolchain: &Toolchain, command: &mut Command) {
    command.arg("--target-dir").arg(target_dir(workspace));
    toolchain.apply_with_std(JETSON, command);
    let variable =
        |what: &str| format!("CARGO_TARGET_{}_{what}", JETSON.to_uppercase().replace('-', "_"));
    command.env(variable("LINKER"), JETSON_LINKER);
    command.env(variable("RUNNER"), format!("{JETSON_EMULATOR} -L {JETSON_LIBRARIES}"));
}

/// Where cargo puts what is compiled for it.
pub(crate) fn target_dir(workspace: &Workspace) -> PathBuf {
    workspace.target_dir.join("jetson")
}
