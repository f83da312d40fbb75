//! `cargo xtask demo`: what Coshift is for, in a minute.

mod baseline;
mod judge;
mod live;
mod page;
mod phases;
mod recording;
mod script;
#[cfg(test)]
mod simulated;
mod summary;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use coshift_plant::Board;

use crate::board::MPS2_AN386;
use crate::embedded::Toolchain;
use crate::environment::Environment;
use crate::firmware::{Image, Program};
use crate::policy;
use crate::setup::{self, Need};
use crate::tally::Tally;
use crate::workspace::{self, Workspace};

/// The virtual board: that of the policy compiled into the firmware.
const BOARD: &str = "xavier_nx";
/// Crops of each request that are really inferred.
const TILES_RUN: u16 = 16;
/// Exit code where the demonstration did not show what it says.
const CHECK_FAILED: u8 = 3;

/// Show in a minute what Coshift is for.
///
/// Builds the firmware and the agent, starts the firmware in the emulator (QEMU) and the agent on a
/// virtual Jetson Xavier NX with the small super-network, and lets things happen: the deadline is
/// tightened, the accuracy floor raised, a neighbour arrives, power is capped. Then the same
/// requests run in virtual time under the governors that such a board has today (schedutil for the
/// CPU, nvhost_podgov for the GPU). Prints a summary, writes report.html and the raw records, and
/// checks itself: exit code 3 where a change was not answered in time.
///
/// Without the emulator or the embedded target it says so and runs the controller in the agent.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Install what is missing without asking (CI=true does the same)
    #[arg(long)]
    yes: bool,
    /// Run the controller in the agent, without the emulator
    #[arg(long)]
    in_process: bool,
    /// Keep the first decision for ever: the self-check must notice
    #[arg(long)]
    freeze_decision: bool,
    /// Kill the emulator this many seconds after the agent's start: the twin takes over
    #[arg(long, value_name = "SECONDS", conflicts_with = "in_process")]
    kill_mcu: Option<f64>,
    /// Folder for report.html, trace.csv and periods.jsonl (default: demo in cargo's target folder)
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let passed = demonstrate(args)?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::from(CHECK_FAILED) })
}

/// The demonstration as a step of CI: everything must run to its end and leave its report. How soon
/// a change was answered depends on how busy the machine is, so that a late answer is no failure
/// there; the same script in virtual time, a unit test, must answer in time.
pub(crate) fn step(tally: &mut Tally) {
    let args =
        Args { yes: true, in_process: false, freeze_decision: false, kill_mcu: None, out: None };
    match demonstrate(&args) {
        Ok(true) => tally.check("demo", Ok(())),
        Ok(false) => tally.skip("demo: answers in time", "a machine with time for it"),
        Err(error) => tally.check("demo", Err(error)),
    }
}

/// Whether the demonstration showed what it says.
fn demonstrate(args: &Args) -> Result<bool> {
    let workspace = Workspace::locate()?;
    let firmware = if args.in_process { None } else { firmware(&workspace, args.yes)? };
    workspace::run(workspace.cargo().args(["build", "--package", "coshift-host"]))
        .context("the agent was not built")?;
    let built = Instant::now();
    let folder = out_folder(args, &workspace)?;
    let board = Board::load(&workspace.root.join(format!("boards/{BOARD}.toml")))?;
    let network = board.network(script::NETWORK).context("the board has no such network")?;
    let script = script::Script::new(network);
    let setting = live::Setting {
        agent: &workspace.host_program("coshift"),
        firmware: firmware.as_ref().map(|(emulator, image)| (emulator.as_path(), image.as_path())),
        board: BOARD,
        model: &workspace.root.join("models").join(script::NETWORK),
        tiles_run: TILES_RUN,
        folder: &folder,
        freeze: args.freeze_decision,
        kill_mcu_s: args.kill_mcu,
    };
    let recording = live::run(&script, &setting)?;
    let checks = judge::judge(&script, &board, network, &recording);
    let baselines = baseline::run(&board, network, &script, &recording)?;
    let mut result =
        summary::Summary::new(&board, network, &script, &recording, &baselines, checks);
    result.frozen = args.freeze_decision;
    // What was found first: a disk that is full must not take it away.
    print!("{}", result.text(TILES_RUN));
    eprintln!("{:.0} s after the build", built.elapsed().as_secs_f64());
    let report = folder.join("report.html");
    let page = page::page(&script, &recording, &baselines, &result, TILES_RUN)?;
    let written = [write(&report, &page), write_periods(&folder, &recording)];
    println!("\nreport: {}", report.display());
    let mut failed = written.into_iter().filter_map(Result::err).peekable();
    if failed.peek().is_some() {
        let lines: Vec<_> = failed.map(|error| format!("{error:#}")).collect();
        bail!("{}", lines.join("; "));
    }
    Ok(result.failed() == 0)
}

/// Emulator and firmware image; `None`, and a line that says why, where they cannot be had.
fn firmware(workspace: &Workspace, yes: bool) -> Result<Option<(PathBuf, PathBuf)>> {
    let environment = match setup::ensure(&[Need::Toolchain, Need::Emulator], yes) {
        Ok(environment) => environment,
        Err(error) if workspace::in_ci() => return Err(error),
        Err(error) => {
            eprintln!("the controller runs inside the agent: {error:#}");
            Environment::probe()?
        }
    };
    let Some((emulator, toolchain)) =
        environment.emulator.clone().zip(Toolchain::choose(&environment))
    else {
        return Ok(None);
    };
    match built(workspace, &toolchain) {
        Ok(image) => Ok(Some((emulator, image))),
        Err(error) if workspace::in_ci() => Err(error),
        Err(error) => {
            eprintln!("the controller runs inside the agent: {error:#}");
            Ok(None)
        }
    }
}

/// The firmware image with the virtual board's own policy: the agent computes the same.
fn built(workspace: &Workspace, toolchain: &Toolchain) -> Result<PathBuf> {
    let policy = policy::of_board(workspace, BOARD)?;
    let image = Image { board: MPS2_AN386, program: Program::Firmware, development: false };
    image.build(workspace, toolchain, &policy)
}

/// The folder for what the run leaves, without what an earlier run left.
fn out_folder(args: &Args, workspace: &Workspace) -> Result<PathBuf> {
    let folder = args.out.clone().unwrap_or_else(|| workspace.target_dir.join("demo"));
    let folder = std::path::absolute(folder)?;
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    for name in ["report.html", "trace.csv", "periods.jsonl", "agent.sock"] {
        match std::fs::remove_file(folder.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                bail!("{}: {error}", folder.join(name).display())
            }
            _ => {}
        }
    }
    Ok(folder)
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| path.display().to_string())
}

fn write_periods(folder: &Path, recording: &recording::Recording) -> Result<()> {
    let mut text = String::new();
    for report in &recording.periods {
        text += &serde_json::to_string(report)?;
        text.push('\n');
    }
    write(&folder.join("periods.jsonl"), &text)
}
