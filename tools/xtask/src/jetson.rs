//! Tests of the engine compiled for the processor of a Jetson, under an emulator.

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
    let environment = setup::ensure(&[Need::Jetson], yes)?;
    let toolchain =
        Toolchain::choose_for_jetson(&environment).context("no toolchain for the processor")?;
    Ok(command(workspace, &toolchain))
}

fn command(workspace: &Workspace, toolchain: &Toolchain) -> Command {
    let mut command = workspace.cargo();
    command.args(["test", "--package", "coshift-engine", "--no-default-features"]);
    for test in TESTS {
        command.args(["--test", test]);
    }
    command.arg("--target-dir").arg(workspace.target_dir.join("jetson"));
    toolchain.apply_with_std(JETSON, &mut command);
    let variable =
        |what: &str| format!("CARGO_TARGET_{}_{what}", JETSON.to_uppercase().replace('-', "_"));
    command.env(variable("LINKER"), JETSON_LINKER);
    command.env(variable("RUNNER"), format!("{JETSON_EMULATOR} -L {JETSON_LIBRARIES}"));
    command.args(["--no-fail-fast", "--", "--show-output"]);
    command
}
