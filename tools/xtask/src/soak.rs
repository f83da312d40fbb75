//! `cargo xtask soak`: the long campaigns.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::jetson;
use crate::setup::{self, Need};
use crate::tally::Tally;
use crate::test;
use crate::workspace::{self, Workspace};

/// Campaigns, in the order they run. All but the last need the images.
const CAMPAIGNS: [&str; 5] = ["power-cuts", "bit-flips", "twin", "ground", NEON];
const NEON: &str = "neon";

/// Run the long campaigns, most of them against the release image in the emulator.
///
/// power-cuts: power lost, torn or wrong words at every store of a policy upload, and every bit
/// of both slots flipped afterwards. bit-flips: a thousand bits of registers and memory flipped while
/// it decides. twin: a million random inputs answered by the image and by this machine. ground: three
/// scenarios of the proving ground decided by the image as by this machine. neon: the engine's tests
/// compiled for the processor of a Jetson, as `cargo xtask test --aarch64`. `cargo xtask ci` runs a
/// part of each but neon. What they print goes with its date into docs/reliability.md, that of ground
/// into docs/results.md.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Campaign (default: all, one after another)
    #[arg(value_parser = CAMPAIGNS)]
    campaign: Option<String>,
    /// Install what is missing without asking (CI=true does the same)
    #[arg(long)]
    yes: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let workspace = Workspace::locate()?;
    let wanted = |name: &str| args.campaign.as_deref().is_none_or(|one| one == name);
    let mut tally = Tally::default();
    let on_images: Vec<&str> =
        CAMPAIGNS.into_iter().filter(|name| *name != NEON && wanted(name)).collect();
    if !on_images.is_empty() {
        against_images(&workspace, args.yes, &on_images, &mut tally)?;
    }
    if wanted(NEON) {
        jetson::check(&workspace, args.yes, &mut tally);
    }
    Ok(tally.close())
}

/// Builds the images and runs campaigns against them.
fn against_images(
    workspace: &Workspace,
    yes: bool,
    campaigns: &[&str],
    tally: &mut Tally,
) -> Result<()> {
    let environment = setup::ensure(&[Need::Toolchain, Need::Emulator], yes)?;
    let mut build = workspace.cargo();
    build.args(["build", "--package", "coshift-tests", "--package", "coshift-host"]);
    workspace::run(build.args(["--bin", "soak", "--bin", "coshift"]))?;
    let mut command = std::process::Command::new(workspace.host_program("soak"));
    test::hand_over(workspace, &environment, &mut command, tally);
    if tally.failures() > 0 {
        bail!("the images were not built");
    }
    // The variables serve every campaign.
    let variables: Vec<_> = command
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect();
    for name in campaigns {
        let mut command = std::process::Command::new(workspace.host_program("soak"));
        command.arg(name).envs(variables.iter().cloned());
        tally.check(name, workspace::run(&mut command));
    }
    Ok(())
}
