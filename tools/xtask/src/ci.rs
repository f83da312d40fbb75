//! `cargo xtask ci`: everything a change must pass.

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::embedded::Toolchain;
use crate::setup::{self, Need};
use crate::tally::Tally;
use crate::test;
use crate::workspace::{self, Workspace};

/// Run everything a change must pass: format, lints, docs, no_std builds, all tests.
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
    let mut doc = workspace.cargo();
    doc.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
    tally.check("rustdoc", workspace::run(&mut doc));
    deny(&workspace, &mut tally);
    match embedded(args.yes) {
        Ok(toolchain) => tally.check("no_std", no_std(&workspace, &toolchain)),
        Err(error) if workspace::in_ci() => tally.check("no_std", Err(error)),
        Err(error) => tally.skip("no_std", &format!("{error:#}")),
    }
    test::all(&workspace, args.yes, &[], &mut tally)?;
    Ok(tally.close())
}

fn cargo(workspace: &Workspace, args: &[&str]) -> Result<()> {
    workspace::run(workspace.cargo().args(args))
}

fn embedded(yes: bool) -> Result<Toolchain> {
    let environment = setup::ensure(&[Need::Toolchain], yes)?;
    Toolchain::choose(&environment).context("no toolchain for the embedded target")
}

/// The two libraries of the firmware, each alone: no feature of a neighbour may hide a need of
/// the standard library.
fn no_std(workspace: &Workspace, toolchain: &Toolchain) -> Result<()> {
    for package in ["coshift-shared", "coshift-controller"] {
        let mut command = workspace.cargo();
        command.args(["build", "--package", package, "--profile", "firmware"]);
        command.arg("--target-dir").arg(workspace.target_dir.join("firmware"));
        toolchain.apply(&mut command);
        workspace::run(&mut command)?;
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
