//! `cargo xtask firmware`: builds images.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::board::{self, Board};
use crate::embedded::{TARGET, Toolchain};
use crate::policy;
use crate::setup::{self, Need};
use crate::workspace::{self, Workspace};

/// Profile of the root `Cargo.toml` for images.
pub(crate) const PROFILE: &str = "firmware";
/// The symbol that a reachable panic of a release image calls, and nothing defines.
const PANIC_SYMBOL: &str = "coshift_the_release_image_has_a_panic_path";

/// Build the firmware image of a board.
///
/// The release image has no panic path (one would not link) and resets on a fault; the
/// development image reports panics and faults and then ends the emulator. The path of the image
/// is the only line on standard output.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The board
    #[arg(long, default_value = board::MPS2_AN386.name, value_parser = board::parse)]
    board: Board,
    /// Build the development image
    #[arg(long)]
    development: bool,
    /// Build the bring-up image, which exercises the board's parts on command
    #[arg(long)]
    bring_up: bool,
    /// Policy image to compile in (default: the file that COSHIFT_POLICY names, else
    /// one made from boards/xavier_nx.toml)
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Install what is missing without asking (CI=true does the same)
    #[arg(long)]
    yes: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.bring_up && !args.board.bench {
        bail!("{} has no bring-up image", args.board.name);
    }
    let workspace = Workspace::locate()?;
    let toolchain = toolchain(args.yes)?;
    let policy = policy::image(&workspace, args.policy.as_deref())?;
    let image = Image {
        board: args.board,
        program: if args.bring_up { Program::BringUp } else { Program::Firmware },
        development: args.development,
    };
    println!("{}", image.build(&workspace, &toolchain, &policy)?.display());
    Ok(ExitCode::SUCCESS)
}

/// The toolchain for images, installed where it was missing.
pub(crate) fn toolchain(yes: bool) -> Result<Toolchain> {
    let environment = setup::ensure(&[Need::Toolchain], yes)?;
    Toolchain::choose(&environment).context("no toolchain for the embedded target")
}

/// Which program of a firmware package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// The firmware itself.
    Firmware,
    /// The program that exercises the board's parts on command.
    BringUp,
    /// The program that measures controller steps.
    Steps,
    /// The program that measures frames and control periods.
    Wire,
    /// The program that measures uploads.
    Uploads,
    /// The program that answers what the host leaves in memory.
    Answers,
    /// The firmware with a policy store that uploads in place: one that the tests must refuse.
    InPlace,
}

/// One image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) board: Board,
    pub(crate) program: Program,
    pub(crate) development: bool,
}

impl Image {
    /// Builds the image and gives its path.
    ///
    /// # Errors
    /// When cargo fails, among others because the release image has a panic path.
    pub(crate) fn build(
        self,
        workspace: &Workspace,
        toolchain: &Toolchain,
        policy: &Path,
    ) -> Result<PathBuf> {
        let mut features = self.program.features().to_vec();
        features.extend(self.development.then_some("development"));
        let mut command = self.command(workspace, toolchain, policy, &features);
        workspace::run(&mut command)
            .with_context(|| format!("the {} was not built", self.describe()))?;
        let built =
            target_dir(workspace).join(TARGET).join(PROFILE).join(self.program.binary(self.board));
        // Cargo gives images of different features one name; each keeps its own here.
        let folder = images(workspace)?;
        let image = folder.join(self.file_name());
        let fresh = folder.join(format!("{}.{}", self.file_name(), std::process::id()));
        fs::copy(&built, &fresh)
            .and_then(|_| fs::rename(&fresh, &image))
            .with_context(|| format!("cannot copy {} to {}", built.display(), image.display()))?;
        Ok(image)
    }

    /// Shows that a panic path does not go unnoticed: a release image with one must not link.
    pub(crate) fn refuses_panic_path(
        self,
        workspace: &Workspace,
        toolchain: &Toolchain,
        policy: &Path,
    ) -> Result<()> {
        let mut command = self.command(workspace, toolchain, policy, &["panic-probe"]);
        eprintln!("$ {} (must fail)", workspace::describe(&command));
        let output = command.output().context("cannot start cargo")?;
        let text = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            bail!("an image with a panic path was linked");
        }
        if !text.contains(PANIC_SYMBOL) {
            bail!("it failed for another reason than {PANIC_SYMBOL}:\n{text}");
        }
        Ok(())
    }

    fn command(
        self,
        workspace: &Workspace,
        toolchain: &Toolchain,
        policy: &Path,
        features: &[&str],
    ) -> Command {
        let mut command = workspace.cargo();
        command.args(["build", "--package", self.board.package, "--profile", PROFILE]);
        command.args(["--bin", self.program.binary(self.board)]);
        command.arg("--target-dir").arg(target_dir(workspace));
        if !features.is_empty() {
            command.args(["--features", &features.join(",")]);
        }
        toolchain.apply(&mut command);
        Toolchain::note_stack_sizes(&mut command);
        // Every log statement is compiled in the development image.
        command.env("DEFMT_LOG", if self.development { "trace" } else { "info" });
        command.env("COSHIFT_POLICY_IMAGE", policy);
        command
    }

    fn file_name(self) -> String {
        let program = match self.program {
            Program::Firmware => "",
            Program::BringUp => "-bring-up",
            Program::Steps => "-steps",
            Program::Wire => "-wire",
            Program::Uploads => "-uploads",
            Program::Answers => "-answers",
            Program::InPlace => "-in-place",
        };
        let kind = if self.development { "-development" } else { "" };
        format!("{}{program}{kind}.elf", self.board.name)
    }

    /// For people: `release image of mps2-an386`.
    pub(crate) fn describe(self) -> String {
        let kind = if self.development { "development" } else { "release" };
        let program = match self.program {
            Program::Firmware => "",
            Program::BringUp => " bring-up",
            Program::Steps => " step-measuring",
            Program::Wire => " frame-measuring",
            Program::Uploads => " upload-measuring",
            Program::Answers => " answering",
            Program::InPlace => " in-place",
        };
        format!("{kind}{program} image of {}", self.board.name)
    }
}

impl Program {
    fn binary(self, board: Board) -> &'static str {
        match self {
            Self::Firmware | Self::InPlace => board.package,
            Self::BringUp => "bringup",
            Self::Steps => "steps",
            Self::Wire => "wire",
            Self::Uploads => "uploads",
            Self::Answers => "answers",
        }
    }

    fn features(self) -> &'static [&'static str] {
        match self {
            Self::InPlace => &["in-place-store"],
            Self::Firmware
            | Self::BringUp
            | Self::Steps
            | Self::Wire
            | Self::Uploads
            | Self::Answers => &[],
        }
    }
}

/// Images are built apart: their profile and toolchain share nothing with the host's.
pub(crate) fn target_dir(workspace: &Workspace) -> PathBuf {
    workspace.target_dir.join("firmware")
}

/// The folder of finished images.
pub(crate) fn images(workspace: &Workspace) -> Result<PathBuf> {
    let folder = target_dir(workspace).join("images");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_image_has_a_file_of_its_own() {
        let mut names = HashSet::new();
        let programs = [
            Program::Firmware,
            Program::BringUp,
            Program::Steps,
            Program::Wire,
            Program::Uploads,
            Program::Answers,
            Program::InPlace,
        ];
        for board in board::BOARDS {
            for program in programs {
                for development in [false, true] {
                    let image = Image { board, program, development };
                    assert!(names.insert(image.file_name()), "{}", image.file_name());
                }
            }
        }
        assert!(names.contains("mps2-an386.elf"));
    }
}
