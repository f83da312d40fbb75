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
    Eval(coshift_tools::eval::EvalArgs),
    Pack(coshift_tools::pack::PackArgs),
    Train(coshift_tools::train::TrainArgs),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Eval(args) => coshift_tools::eval::run(&args),
        Command::Pack(args) => coshift_tools::pack::run(&args),
        Command::Train(args) => coshift_tools::train::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
