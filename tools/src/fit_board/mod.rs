//! `coshift-tools fit-board`: a board file from measured latencies and powers.
//!
//! `docs/data.md` says what the tables hold. Every network's latency law is fitted to all points or
//! to a few calibration points that the tool picks, and judged on the others; what the tables leave
//! open gets stated defaults, marked assumed in the file.

mod assemble;
mod assumed;
mod csv;
mod grid;
mod levels;
mod marks;
mod power;
mod store;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use coshift_plant::Board;
use coshift_plant::board::MAX_SUB_NETWORKS;
use coshift_plant::fit::board_power::{PowerFit, PowerSpan, board_power};
use coshift_plant::fit::{FitError, LatencyPoint, calibration_points, latency, latency_error};
use coshift_plant::law::LatencyLaw;
use coshift_plant::policy;
use serde::Serialize;

pub use csv::CsvError;

use grid::{Grid, Net};
use power::Powers;

/// Fewest points that a latency law is fitted to.
const FEWEST_POINTS: usize = 3;

/// Makes a board file from measurements: latency grid and, where there is one, power.
#[derive(Args, Debug)]
pub struct FitBoardArgs {
    /// Latency grid: CSV with net, gpu_mhz, emc_mhz, p50_us; cpu_mhz and accuracy_pct may be there.
    #[arg(long, value_name = "FILE")]
    pub latency: PathBuf,
    /// Power of the board: CSV with gpu_mhz, power_mw; emc_mhz and net may be there.
    #[arg(long, value_name = "FILE")]
    pub power: Option<PathBuf>,
    /// Fits to N points of each network, which it picks by their clocks, and judges on the others.
    #[arg(long, value_name = "N")]
    pub points: Option<usize>,
    /// Board file to write; its name is the board's.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Prints one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// How well a network's latency law meets the points it was judged on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NetErrors {
    /// Name of the network.
    pub net: String,
    /// Mean absolute relative error, %.
    pub mape_pct: f64,
    /// Largest absolute relative error, %.
    pub max_pct: f64,
}

/// What was fitted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fitted {
    /// Networks in the order of the grid.
    pub nets: Vec<NetErrors>,
}

/// A network's fitted law.
#[derive(Debug, Clone)]
struct FittedNet {
    name: String,
    law: LatencyLaw,
    error: FitError,
}

/// Runs the command.
///
/// # Errors
/// Names what is wrong with a table, its line and column, or what cannot be written.
pub fn run(args: &FitBoardArgs) -> Result<()> {
    let (fitted, power) = fit_board(args)?;
    if args.json {
        println!("{}", serde_json::to_string(&fitted)?);
        return Ok(());
    }
    println!("{}", args.out.display());
    for NetErrors { net, mape_pct, max_pct } in &fitted.nets {
        println!("  {net}: latency {mape_pct:.2} % mean, {max_pct:.1} % largest error");
    }
    if power.busy_measured {
        let FitError { mape_pct, max_pct } = power.error;
        println!("  power {mape_pct:.2} % mean, {max_pct:.1} % largest error");
    } else {
        println!("  power assumed: give --power to fit it");
    }
    Ok(())
}

/// Fits and writes the board file; nothing is written where anything is wrong.
///
/// # Errors
/// As [`run`].
pub fn fit_board(args: &FitBoardArgs) -> Result<(Fitted, PowerFit)> {
    for input in std::iter::once(&args.latency).chain(&args.power) {
        // Where one of both is not there, they are not the same file.
        let same = fs::canonicalize(input).ok().zip(fs::canonicalize(&args.out).ok());
        ensure!(
            same.is_none_or(|(input, out)| input != out),
            "--out {}: a file to write goes, this one is read",
            args.out.display()
        );
    }
    let grid = Grid::load(&args.latency)?;
    let latency_file = args.latency.display().to_string();
    check(&grid, args.points, &latency_file)?;
    let fitted = grid
        .nets
        .iter()
        .map(|net| fit_net(net, args.points, cpu_ref_mhz(&grid)))
        .collect::<Result<Vec<_>>>()?;

    let networks = assemble::networks(&grid);
    let (gpu, emc) = (grid.clocks(|point| point.gpu_mhz), grid.clocks(|point| point.emc_mhz));
    let span = PowerSpan { gpu_mhz: ends(&gpu), emc_mhz: ends(&emc) };
    let group_of = |name: &str| {
        let net = grid.nets.iter().position(|net| net.name == name)?;
        networks.iter().position(|(_, nets)| nets.contains(&net))
    };
    let powers = match &args.power {
        Some(path) => Some(Powers::load(path, group_of, span.emc_mhz[1])?),
        None => None,
    };
    let points = powers.as_ref().map_or(&[][..], |powers| &powers.points);
    let power = board_power(points, networks.len(), span);

    let known = marks::Known {
        latency_file: file_name(&args.latency),
        power_file: args.power.as_deref().map(file_name),
        power_has_emc: powers.as_ref().is_some_and(|powers| powers.has_emc),
        others: powers.map_or_else(Vec::new, |powers| powers.others),
        points: args.points,
    };
    let name = args.out.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into());
    let file = assemble::board(&name, &grid, &fitted, &power, &known);
    let text = assemble::text(&file)?;
    // What is written is what was checked: every number, and that a policy comes out of it.
    let board = Board::parse(&text, &args.out.display().to_string())
        .with_context(|| format!("{latency_file}: no sound board comes out"))?;
    policy::first_image(&board)
        .with_context(|| format!("{latency_file}: no policy comes out of the board"))?;
    store::write(&args.out, text.as_bytes())?;
    let errors = |net: FittedNet| NetErrors {
        net: net.name,
        mape_pct: net.error.mape_pct,
        max_pct: net.error.max_pct,
    };
    Ok((Fitted { nets: fitted.into_iter().map(errors).collect() }, power))
}

/// What one line of a grid cannot tell: numbers of points and of networks.
fn check(grid: &Grid, points: Option<usize>, file: &str) -> Result<()> {
    if let Some(count) = points {
        ensure!(count >= FEWEST_POINTS, "--points {count}: {FEWEST_POINTS} or more go");
    }
    for net in &grid.nets {
        let (name, found) = (&net.name, net.points.len());
        ensure!(
            found >= FEWEST_POINTS,
            "{file}: net {name}: {FEWEST_POINTS} points or more go, {found} found"
        );
        if let Some(count) = points {
            ensure!(
                found > count,
                "--points {count}: {file}: net {name} has {found} points, none is left to judge on"
            );
        }
    }
    let ladder = grid.nets.iter().filter(|net| net.accuracy_pct.is_some()).count();
    ensure!(
        ladder <= MAX_SUB_NETWORKS,
        "{file}: {MAX_SUB_NETWORKS} nets with accuracy_pct go into one ladder, {ladder} found"
    );
    Ok(())
}

/// Fits one network's law, to all points or to some, and judges it on all or on the others.
fn fit_net(net: &Net, points: Option<usize>, cpu_ref_mhz: f64) -> Result<FittedNet> {
    let clocks: Vec<[f64; 3]> =
        net.points.iter().map(|point| [point.cpu_mhz, point.gpu_mhz, point.emc_mhz]).collect();
    let (calibration, judged): (Vec<LatencyPoint>, Vec<LatencyPoint>) = match points {
        None => (net.points.clone(), net.points.clone()),
        Some(count) => {
            let chosen = calibration_points(&clocks, count);
            let at = |index: &usize| chosen.contains(index);
            let (chosen, others): (Vec<_>, Vec<_>) = (0..net.points.len()).partition(at);
            let pick = |indices: Vec<usize>| indices.iter().map(|i| net.points[*i]).collect();
            (pick(chosen), pick(others))
        }
    };
    let law = latency(&calibration, cpu_ref_mhz)
        .with_context(|| format!("net {}: no latency law comes out", net.name))?;
    Ok(FittedNet { name: net.name.clone(), law, error: latency_error(&law, &judged) })
}

/// The CPU clock that launch parts hold at: the highest, MHz.
fn cpu_ref_mhz(grid: &Grid) -> f64 {
    grid.points().map(|point| point.cpu_mhz).fold(0.0, f64::max)
}

/// First and last of ascending clocks; a grid has at least one point.
fn ends(clocks: &[f64]) -> [f64; 2] {
    [clocks.first().copied().unwrap_or(1.0), clocks.last().copied().unwrap_or(1.0)]
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into())
}
