//! `cargo xtask flash`: writes the image to a board.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

use crate::board::{self, Board};
use crate::environment::Environment;
use crate::firmware::{self, Image, Program};
use crate::policy;
use crate::workspace::{self, Workspace};

/// Write the release image to a board, over a debug probe (probe-rs).
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The board
    #[arg(long, value_parser = board::parse)]
    board: Board,
    /// Write the development image instead
    #[arg(long)]
    development: bool,
    /// Install what is missing without asking (CI=true does the same)
    #[arg(long)]
    yes: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let probe_rs = Environment::probe()?.probe_rs;
    let chip = chip(args.board, probe_rs.as_deref())?;
    let workspace = Workspace::locate()?;
    let toolchain = firmware::toolchain(args.yes)?;
    let policy = policy::image(&workspace, None)?;
    let image =
        Image { board: args.board, program: Program::Firmware, development: args.development };
    let path = image.build(&workspace, &toolchain, &policy)?;
    let mut download = Command::new("probe-rs");
    workspace::run(download.args(["download", "--verify", "--chip", chip]).arg(&path))?;
    workspace::run(Command::new("probe-rs").args(["reset", "--chip", chip]))?;
    Ok(ExitCode::SUCCESS)
}

/// The board's chip as probe-rs calls it, where the board and probe-rs exist.
fn chip(board: Board, probe_rs: Option<&Path>) -> Result<&'static str> {
    let Some(chip) = board.chip else {
        bail!(
            "{0} is an emulated board: run `cargo xtask qemu` instead of flashing it",
            board.name
        );
    };
    if probe_rs.is_none() {
        bail!("probe-rs is missing; install it with `cargo install probe-rs-tools --locked`");
    }
    Ok(chip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulated_board_cannot_be_flashed() {
        let error = chip(board::MPS2_AN386, Some(Path::new("/bin/probe-rs"))).unwrap_err();
        assert!(error.to_string().contains("mps2-an386 is an emulated board"), "{error}");
    }

    #[test]
    fn a_missing_probe_rs_is_told_with_the_command_that_installs_it() {
        let error = chip(board::NUCLEO_F411RE, None).unwrap_err().to_string();
        assert!(error.contains("cargo install probe-rs-tools"), "{error}");
        let probe_rs = Path::new("/bin/probe-rs");
        assert_eq!(chip(board::NUCLEO_F411RE, Some(probe_rs)).unwrap(), "STM32F411RETx");
    }
}
