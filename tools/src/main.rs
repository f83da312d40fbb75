//! The command line of the offline tools.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Offline tools of Coshift.
#[derive(Parser, Debug)]
#[command(name = "coshift-tools", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    FitBoard(coshift_tools::fit_board::FitBoardArgs),
    Plan(coshift_tools::plan::PlanArgs),
    FitContention(coshift_tools::ground::fit_contention::FitContentionArgs),
    Report(coshift_tools::ground::report::ReportArgs),
    Results(coshift_tools::ground::book::ResultsArgs),
    Simulate(coshift_tools::ground::command::SimulateArgs),
    #[cfg(feature = "engine")]
    Assemble(coshift_tools::assemble::AssembleArgs),
    #[cfg(feature = "engine")]
    Bench(coshift_tools::bench::BenchArgs),
    #[cfg(feature = "engine")]
    Eval(coshift_tools::eval::EvalArgs),
    #[cfg(feature = "engine")]
    Export(coshift_tools::export::ExportArgs),
    #[cfg(feature = "engine")]
    Import(coshift_tools::import::ImportArgs),
    #[cfg(feature = "engine")]
    Pack(coshift_tools::pack::PackArgs),
    #[cfg(feature = "engine")]
    Search(coshift_tools::search::SearchArgs),
    #[cfg(feature = "engine")]
    Train(coshift_tools::train::TrainArgs),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::FitBoard(args) => coshift_tools::fit_board::run(&args),
        Command::Plan(args) => coshift_tools::plan::run(&args),
        Command::FitContention(args) => coshift_tools::ground::fit_contention::run(&args),
        Command::Report(args) => coshift_tools::ground::report::run(&args),
        Command::Results(args) => coshift_tools::ground::book::run(&args),
        Command::Simulate(args) => coshift_tools::ground::command::run(&args),
        #[cfg(feature = "engine")]
        Command::Assemble(args) => coshift_tools::assemble::run(&args),
        #[cfg(feature = "engine")]
        Command::Bench(args) => coshift_tools::bench::run(&args),
        #[cfg(feature = "engine")]
        Command::Eval(args) => coshift_tools::eval::run(&args),
        #[cfg(feature = "engine")]
        Command::Export(args) => coshift_tools::export::run(&args),
        #[cfg(feature = "engine")]
        Command::Import(args) => coshift_tools::import::run(&args),
        #[cfg(feature = "engine")]
        Command::Pack(args) => coshift_tools::pack::run(&args),
        #[cfg(feature = "engine")]
        Command::Search(args) => coshift_tools::search::run(&args),
        #[cfg(feature = "engine")]
        Command::Train(args) => coshift_tools::train::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", line(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes, but for those that are part of what was said before.
fn line(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}
