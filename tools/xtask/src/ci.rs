//! `cargo xtask ci`: everything a change must pass.

use std::process::ExitCode;

use anyhow::Result;

use crate::board::MPS2_AN386;
use crate::demo;
use crate::embedded::{TARGET, Toolchain};
use crate::firmware;
use crate::setup::{self, Need};
use crate::sizes;
use crate::tally::Tally;
use crate::test;
use crate::workspace::{self, Workspace};

/// Run everything a change must pass: format, lints, docs, no_std builds, budgets, all tests, the demo.
///
/// Every step runs, whatever failed before it; the last line is
/// `N passed, N failed, N skipped`, each step counted as one.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Install what is missing without asking (CI=true does the same)
    #[arg(long)]
    yes: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let workspace = Workspace::locate()?;
    let mut tally = Tally::default();
    tally.check("fmt", cargo(&workspace, &["fmt", "--all", "--check"]));
    tally.check(
        "clippy",
        cargo(&workspace, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    );
    // Libraries only: the doc comments of programs are their help texts, in which brackets mark
    // what may be left out.
    let mut doc = workspace.cargo();
    doc.args(["doc", "--workspace", "--no-deps", "--lib"]).env("RUSTDOCFLAGS", "-D warnings");
    tally.check("rustdoc", workspace::run(&mut doc));
    deny(&workspace, &mut tally);
    match firmware::toolchain(args.yes) {
        Ok(toolchain) => {
            tally.check("no_std", no_std(&workspace, &toolchain));
            if toolchain == Toolchain::Rustup {
                tally.check("clippy of images", clippy_of_images(&workspace, &toolchain));
            } else {
                // Debian's compiler has no clippy, and the pinned one no library source.
                tally.skip("clippy of images", &format!("{TARGET} in the pinned toolchain"));
            }
        }
        Err(error) if workspace::in_ci() => tally.check("no_std", Err(error)),
        Err(error) => tally.skip("no_std", &format!("{error:#}")),
    }
    budgets(&workspace, args.yes, &mut tally);
    test::all(&workspace, args.yes, &[], &mut tally)?;
    demo::step(&mut tally);
    Ok(tally.close())
}

fn cargo(workspace: &Workspace, args: &[&str]) -> Result<()> {
    workspace::run(workspace.cargo().args(args))
}

/// The two libraries of the firmware, each alone: no feature of a neighbour may hide a need of
/// the standard library.
fn no_std(workspace: &Workspace, toolchain: &Toolchain) -> Result<()> {
    for package in ["coshift-shared", "coshift-controller"] {
        let mut command = workspace.cargo();
        command.args(["build", "--package", package, "--profile", "firmware"]);
        command.arg("--target-dir").arg(firmware::target_dir(workspace));
        toolchain.apply(&mut command);
        workspace::run(&mut command)?;
    }
    Ok(())
}

/// The release image against its budgets; where nothing can be measured, a skip outside of CI.
fn budgets(workspace: &Workspace, yes: bool, tally: &mut Tally) {
    match setup::ensure(&[Need::Toolchain, Need::Emulator], yes) {
        Err(error) if !workspace::in_ci() => tally.skip("budgets", &format!("{error:#}")),
        _ => tally.check("budgets", sizes::within_budgets(workspace, yes)),
    }
}

/// Lints of the code that the host's clippy does not see, for both kinds of image.
fn clippy_of_images(workspace: &Workspace, toolchain: &Toolchain) -> Result<()> {
    for features in [&[][..], &["--features", "development"]] {
        let mut command = workspace.cargo();
        command.args(["clippy", "--package", MPS2_AN386.package, "--lib", "--bins"]);
        command.args(["--profile", "firmware"]).args(features);
        command.arg("--target-dir").arg(firmware::target_dir(workspace));
        toolchain.apply(&mut command);
        workspace::run(command.args(["--", "-D", "warnings"]))?;
    }
    Ok(())
}

/// Licences, bans and sources of the dependencies. Building cargo-deny takes minutes, so it is
/// used where it is there.
fn deny(workspace: &Workspace, tally: &mut Tally) {
    if workspace::find_program("cargo-deny").is_none() {
        tally.skip("deny", "cargo-deny (cargo install --locked cargo-deny)");
        return;
    }
    let arguments = ["deny", "check", "bans", "licenses", "sources"];
    tally.check("deny", cargo(workspace, &arguments));
}
