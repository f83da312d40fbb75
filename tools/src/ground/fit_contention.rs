//! `coshift-tools fit-contention`: a Markov model of contention from two traces.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::scenario::contention::{Chain, Model};
use super::scenario::series::{median, numbers};

/// Fits a Markov model of contention to a trace and prints it as TOML (`scenarios/contention.toml`).
#[derive(Args, Debug, Clone)]
pub struct FitContentionArgs {
    /// Name of the model.
    #[arg(long)]
    pub name: String,
    /// Trace under contention, CSV, plain or gzip.
    #[arg(long)]
    pub trace: PathBuf,
    /// Trace in quiet.
    #[arg(long)]
    pub baseline: PathBuf,
    /// Column of both.
    #[arg(long, default_value = "compute_us")]
    pub column: String,
    /// Latency in quiet that the trace is divided by, in the trace's unit; the median of the
    /// baseline where left out.
    #[arg(long)]
    pub unit: Option<f64>,
    /// What both are, for the file.
    #[arg(long)]
    pub source: String,
    /// Use only the first part of each trace (0 to 1), so that the rest can judge the fit.
    #[arg(long, default_value_t = 0.5)]
    pub part: f64,
}

/// Runs the command.
///
/// # Errors
/// One line that names file, line and column.
pub fn run(args: &FitContentionArgs) -> Result<()> {
    let quiet = numbers(&args.baseline, &args.column)?;
    let loaded = numbers(&args.trace, &args.column)?;
    let quiet_unit = median(&quiet);
    let part = |values: &[f64], unit: f64| -> Vec<f64> {
        let count = (args.part.clamp(0.0, 1.0) * values.len() as f64).round() as usize;
        values.iter().take(count.max(2)).map(|value| value / unit).collect()
    };
    let model = Model {
        source: args.source.clone(),
        quiet: Chain::fit(&part(&quiet, quiet_unit)),
        loaded: Chain::fit(&part(&loaded, args.unit.unwrap_or(quiet_unit))),
    };
    print!("{}", text(&args.name, &model));
    Ok(())
}

fn text(name: &str, model: &Model) -> String {
    let list = |values: &[f64]| values.iter().map(f64::to_string).collect::<Vec<_>>().join(", ");
    let chain = |kind: &str, chain: &Chain| {
        let rows: Vec<String> =
            chain.steps.iter().map(|row| format!("    [{}],\n", list(row))).collect();
        let edges = list(&chain.edges);
        format!("[model.{name}.{kind}]\nedges = [{edges}]\nsteps = [\n{}]\n\n", rows.concat())
    };
    let head = format!("[model.{name}]\nsource = {:?}\n\n", model.source);
    head + &chain("quiet", &model.quiet) + &chain("loaded", &model.loaded)
}
