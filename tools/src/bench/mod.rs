//! `coshift-tools bench`: how fast things run on this machine.

#[cfg(feature = "cuda")]
mod cuda;
mod engine;
mod goals;
mod growth;
mod growth_plot;
mod measure;
mod peers;

use anyhow::Result;
use clap::{Args, Subcommand};

pub use engine::{EngineArgs, Row, bench};
pub use goals::missed;
pub use measure::{OnCpu, Runs, Times, measure};

/// Measures speed on this machine.
#[derive(Args, Debug)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    Engine(EngineArgs),
}

/// Runs the command.
///
/// # Errors
/// Names what is missing or does not fit.
pub fn run(args: &BenchArgs) -> Result<()> {
    match &args.what {
        What::Engine(args) => engine::run(args),
    }
}
