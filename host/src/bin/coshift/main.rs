//! The `coshift` command.
#![forbid(unsafe_code)]

mod apps;
mod human;
mod limits;
mod run;
mod status;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Shifts two gears at once: the sub-network that runs, and the clocks it runs at.
#[derive(Debug, Parser)]
#[command(name = "coshift", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

// Each is described where its arguments are.
#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<run::Arguments>),
    Status(status::Arguments),
    Apps(apps::Arguments),
    Limits(limits::Arguments),
}

/// What every command that talks to a running agent takes.
#[derive(Debug, clap::Args)]
struct Connection {
    /// Control socket of the agent [default: coshift.sock in $XDG_RUNTIME_DIR, or in /run]
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

/// Any error: one line.
type Fault = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    let result = match arguments.command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Apps(arguments) => apps::run(&arguments),
        Command::Limits(arguments) => limits::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            complain(&format!("error: {fault}"));
            ExitCode::FAILURE
        }
    }
}

/// Help and version as they are; of an error the part that says what is wrong, on one line.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        return match error.print() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    let text = error.to_string();
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        complain(&text);
        return ExitCode::from(2);
    }
    let said = text.split("\n\nUsage").next().unwrap_or(&text);
    let said = said.split("\n\nFor more").next().unwrap_or(said);
    let line: Vec<_> = said.split_whitespace().collect();
    complain(&format!("{}; see coshift --help", line.join(" ")));
    ExitCode::from(2)
}

/// Writes a line to standard error; where that is closed nobody listens.
fn complain(line: &str) {
    let _closed = writeln!(std::io::stderr(), "{line}");
}
