//! `cargo xtask soak`: the long campaigns.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::setup::{self, Need};
use crate::tally::Tally;
use crate::test;
use crate::workspace::{self, Workspace};

/// Campaigns, in the order they run.
const CAMPAIGNS: [&str; 4] = ["power-cuts", "bit-flips", "twin", "ground"];

/// Run the long campaigns against the release image in the emulator.
///
/// power-cuts: power lost, torn or wrong words at every store of a policy upload, and every bit
/// of both slots flipped afterwards. bit-flips: a thousand bits of registers and memory flipped while
/// it decides. twin: a million random inputs answered by the image and by this machine. ground: three scenarios of the
/// proving ground decided by the image as by this machine. `cargo xtask ci` runs a part of each. What
/// they print goes with its date into docs/reliability.md, that of ground into docs/results.md.
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
    let environment = setup::ensure(&[Need::Toolchain, Need::Emulator], args.yes)?;
    let mut build = workspace.cargo();
    build.args(["build", "--package", "coshift-tests", "--package", "coshift-host"]);
    workspace::run(build.args(["--bin", "soak", "--bin", "coshift"]))?;
    let wanted =
        CAMPAIGNS.iter().filter(|name| args.campaign.as_deref().is_none_or(|one| one == **name));
    let mut tally = Tally::default();
    let mut command = std::process::Command::new(workspace.host_program("soak"));
    test::hand_over(&workspace, &environment, &mut command, &mut tally);
    if tally.failures() > 0 {
        bail!("the images were not built");
    }
    // The variables serve every campaign.
    let variables: Vec<_> = command
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect();
    for name in wanted {
        let mut command = std::process::Command::new(workspace.host_program("soak"));
        command.arg(name).envs(variables.iter().cloned());
        tally.check(name, workspace::run(&mut command));
    }
    Ok(tally.close())
}
