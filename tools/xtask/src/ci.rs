//! `cargo xtask ci`: everything a change must pass.

use std::process::ExitCode;

use anyhow::Result;

use crate::board::BOARDS;
use crate::demo;
use crate::device_side;
use crate::embedded::{TARGET, Toolchain};
use crate::firmware::{self, Image, Program};
use crate::libraries;
use crate::policy;
use crate::release;
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
    tally.check("clippy with CUDA", device_side::lint(&workspace));
    // Libraries only: the doc comments of programs are their help texts, in which brackets mark
    // what may be left out.
    let mut doc = workspace.cargo();
    doc.args(["doc", "--workspace", "--no-deps", "--lib"]).env("RUSTDOCFLAGS", "-D warnings");
    tally.check("rustdoc", workspace::run(&mut doc));
    deny(&workspace, &mut tally);
    libraries::check(&workspace, args.yes, &mut tally);
    images(&workspace, args.yes, &mut tally);
    budgets(&workspace, args.yes, &mut tally);
    test::all(&workspace, args.yes, &[], &mut tally)?;
    test::counted("emulated CUDA driver", device_side::tests(&workspace), &mut tally);
    test::snapshot(&workspace, &mut tally);
    demo::step(&mut tally);
    Ok(tally.close())
}

fn cargo(workspace: &Workspace, args: &[&str]) -> Result<()> {
    workspace::run(workspace.cargo().args(args))
}

/// Lints of the code that the host's clippy does not see, and the images of the boards that no test
/// runs: both kinds, and the proof that the release image's link notices a panic path.
fn images(workspace: &Workspace, yes: bool, tally: &mut Tally) {
    let prepared = firmware::toolchain(yes)
        .and_then(|toolchain| Ok((toolchain, policy::image(workspace, None)?)));
    let (toolchain, policy) = match prepared {
        Ok(prepared) => prepared,
        Err(error) if workspace::in_ci() => return tally.check("images", Err(error)),
        Err(error) => return tally.skip("images", &format!("{error:#}")),
    };
    if toolchain == Toolchain::Rustup {
        tally.check("clippy of images", clippy_of_images(workspace, &toolchain));
    } else {
        // Debian's compiler has no clippy, and the pinned one no library source.
        tally.skip("clippy of images", &format!("{TARGET} in the pinned toolchain"));
    }
    for board in BOARDS.into_iter().filter(|board| board.chip.is_some()) {
        let image = |development| Image { board, program: Program::Firmware, development };
        let release = image(false).build(workspace, &toolchain, &policy);
        if let Ok(release) = &release {
            tally
                .check(&format!("budgets of {}", board.name), sizes::image_within_budgets(release));
        }
        tally.check(&image(false).describe(), release.map(|_| ()));
        let development = image(true).build(workspace, &toolchain, &policy).map(|_| ());
        tally.check(&image(true).describe(), development);
        let refused = image(false).refuses_panic_path(workspace, &toolchain, &policy);
        tally.check(&format!("a panic path does not link for {}", board.name), refused);
    }
}

/// The release image against its budgets, and what its instructions are counted with; where nothing can be measured, a skip outside of CI.
fn budgets(workspace: &Workspace, yes: bool, tally: &mut Tally) {
    match setup::ensure(&[Need::Toolchain, Need::Emulator], yes) {
        Err(error) if !workspace::in_ci() => tally.skip("budgets", &format!("{error:#}")),
        _ => {
            tally.check("budgets", sizes::within_budgets(workspace, yes));
            release::check_counter(workspace, yes, tally);
        }
    }
}

/// Lints of the code that the host's clippy does not see, for both kinds of image. Each board apart:
/// what they share is built with other features for each.
fn clippy_of_images(workspace: &Workspace, toolchain: &Toolchain) -> Result<()> {
    let shared = ["coshift-firmware", "coshift-capi"].map(|package| (package, String::new()));
    let boards = BOARDS.iter().flat_map(|board| {
        let development = format!("{}/development", board.package);
        [String::new(), development].map(|features| (board.package, features))
    });
    for (package, features) in shared.into_iter().chain(boards) {
        let mut command = workspace.cargo();
        command.args(["clippy", "--profile", "firmware"]);
        command.args(["--package", package, "--features", &features]);
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
