//! `cargo xtask test`: every test of the workspace, those in the emulator included.

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::board::{MPS2_AN386, TEMPLATE};
use crate::embedded::{TARGET, Toolchain};
use crate::environment::Environment;
use crate::firmware::{Image, Program};
use crate::jetson;
use crate::policy;
use crate::setup::{self, Need};
use crate::tally::Tally;
use crate::workspace::{self, Workspace};

/// Run all tests of the workspace, those in the emulator included.
///
/// Builds the firmware images first and hands their paths to the tests (COSHIFT_FIRMWARE,
/// COSHIFT_FIRMWARE_DEV, COSHIFT_FIRMWARE_IN_PLACE, COSHIFT_ANSWERS, COSHIFT_TEMPLATE, COSHIFT_POLICY,
/// COSHIFT_AGENT, COSHIFT_QEMU). The last line is
/// `N passed, N failed, N skipped`; a skip names what is missing. With CI=true a missing
/// emulator or embedded target is a failure.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Install what is missing without asking (CI=true does the same)
    #[arg(long)]
    yes: bool,
    /// Only the tests of these packages (default: the whole workspace)
    #[arg(short, long, value_name = "PACKAGE")]
    package: Vec<String>,
    /// Only the engine's tests that need no candle, compiled for the processor of a Jetson and
    /// emulated: the kernels in NEON
    #[arg(long, conflicts_with = "package")]
    aarch64: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let workspace = Workspace::locate()?;
    let mut tally = Tally::default();
    if args.aarch64 {
        jetson::check(&workspace, args.yes, &mut tally);
        return Ok(tally.close());
    }
    all(&workspace, args.yes, &args.package, &mut tally)?;
    Ok(tally.close())
}

/// Builds images, then runs the tests of `packages` (empty: of the workspace).
pub(crate) fn all(
    workspace: &Workspace,
    yes: bool,
    packages: &[String],
    tally: &mut Tally,
) -> Result<()> {
    let environment = match setup::ensure(&[Need::Toolchain, Need::Emulator], yes) {
        Ok(environment) => environment,
        Err(error) => {
            let name = "set-up of the emulator tests";
            if workspace::in_ci() {
                tally.check(name, Err(error));
            } else {
                tally.skip(name, &format!("{error:#}"));
            }
            Environment::probe()?
        }
    };
    let mut command = workspace.cargo();
    command.arg("test");
    hand_over(workspace, &environment, &mut command, tally);
    select(&mut command, packages);
    command.args(["--no-fail-fast", "--", "--show-output"]);

    // One set of features for programs and tests: the same build serves both.
    let mut build = workspace.cargo();
    build.args(["build", "--all-targets"]);
    select(&mut build, packages);
    // A failure shows again in the tests, with the programs that could be built.
    if let Err(error) = workspace::run(&mut build) {
        eprintln!("{error:#}");
    }

    let failures = tally.failures();
    let outcome = stream(&mut command, tally);
    // A program that does not compile or dies has no line of its own.
    if outcome.is_err() && tally.failures() == failures {
        tally.check("cargo test", outcome);
    }
    Ok(())
}

fn select(command: &mut Command, packages: &[String]) {
    if packages.is_empty() {
        command.arg("--workspace");
    }
    for package in packages {
        command.args(["--package", package]);
    }
}

/// Builds the images and sets the variables by which tests find them and the programs.
pub(crate) fn hand_over(
    workspace: &Workspace,
    environment: &Environment,
    command: &mut Command,
    tally: &mut Tally,
) {
    if workspace::in_ci() {
        command.env("COSHIFT_REQUIRE_EMULATOR", "1");
    }
    if let Some(emulator) = &environment.emulator {
        command.env("COSHIFT_QEMU", emulator);
    }
    command.env("COSHIFT_AGENT", workspace.host_program("coshift"));
    let policy = match policy::image(workspace, None) {
        Ok(policy) => policy,
        Err(error) => return tally.check("policy image", Err(error)),
    };
    command.env("COSHIFT_POLICY", &policy);
    let Some(toolchain) = Toolchain::choose(environment) else {
        tally.skip("firmware images", &format!("a toolchain for {TARGET}"));
        return;
    };
    let mut release_links = true;
    for (variable, board, program, development) in [
        ("COSHIFT_FIRMWARE", MPS2_AN386, Program::Firmware, false),
        ("COSHIFT_FIRMWARE_DEV", MPS2_AN386, Program::Firmware, true),
        ("COSHIFT_FIRMWARE_IN_PLACE", MPS2_AN386, Program::InPlace, false),
        ("COSHIFT_ANSWERS", MPS2_AN386, Program::Answers, false),
        ("COSHIFT_BRINGUP", MPS2_AN386, Program::BringUp, false),
        ("COSHIFT_BRINGUP_DEV", MPS2_AN386, Program::BringUp, true),
        ("COSHIFT_TEMPLATE", TEMPLATE, Program::Firmware, false),
    ] {
        let image = Image { board, program, development };
        let built = image.build(workspace, &toolchain, &policy).map(|path| {
            command.env(variable, path);
        });
        release_links &= development || board != MPS2_AN386 || built.is_ok();
        tally.check(&image.describe(), built);
    }
    let image = Image { board: MPS2_AN386, program: Program::Firmware, development: false };
    if !release_links {
        // Whatever its link says then, says nothing of the added path.
        return;
    }
    let refused = image.refuses_panic_path(workspace, &toolchain, &policy);
    tally.check("a panic path does not link", refused);
}

/// Runs the snapshot of the proving ground's results, which unoptimised builds leave out.
pub(crate) fn snapshot(workspace: &Workspace, tally: &mut Tally) {
    let mut command = workspace.cargo();
    command.args(["test", "--release", "--package", "coshift-tools", "--no-default-features"]);
    command.args(["--test", "ground_results", "--", "--show-output"]);
    counted("snapshot of the results", command, tally);
}

/// Runs a test command and counts its tests; a failure without a failed test, or without any test,
/// counts under `name`.
pub(crate) fn counted(name: &str, mut command: Command, tally: &mut Tally) {
    let (passed, failures) = (tally.passed(), tally.failures());
    let outcome = stream(&mut command, tally).and_then(|()| {
        ensure!(tally.passed() > passed, "no test ran");
        Ok(())
    });
    if outcome.is_err() && tally.failures() == failures {
        tally.check(name, outcome);
    }
}

/// Runs a test command, showing and counting its output.
fn stream(command: &mut Command, tally: &mut Tally) -> Result<()> {
    let line = workspace::describe(command);
    eprintln!("$ {line}");
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let output = child.stdout.take().context("no output of cargo")?;
    for bytes in BufReader::new(output).split(b'\n') {
        let bytes = bytes.context("cannot read the output of cargo")?;
        let text = String::from_utf8_lossy(&bytes);
        println!("{text}");
        tally.line(text.trim_end_matches('\r'));
    }
    let status = child.wait().context("cannot wait for cargo")?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}
