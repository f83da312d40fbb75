//! `coshift apps`.

use std::io::Write;

use clap::Subcommand;
use coshift_host::control::{Answer, Request};

use crate::status::{ask, ask_status, unexpected};
use crate::{Connection, Fault, human};

const SPEC_HELP: &str = "NAME=NETWORK,deadline=33ms,rate=15[,floor=92.5][,priority=0][,miss=1%]\
                         [,degrade=...][,objective=...][,energy=500mJ]; coshift run --help says what they mean";

/// Set, list or remove applications of a running agent
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add an application, or change the targets of the one of its name
    ///
    /// What was learned about an application stays as long as its network does.
    Set {
        // Brackets in a doc comment would be links.
        #[arg(help = SPEC_HELP)]
        spec: String,
        #[command(flatten)]
        connection: Connection,
    },
    /// List the applications with their targets and latencies
    List {
        #[command(flatten)]
        connection: Connection,
    },
    /// Remove an application
    Rm {
        /// Its name
        name: String,
        #[command(flatten)]
        connection: Connection,
    },
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Fault> {
    match &arguments.command {
        Command::Set { spec, connection } => {
            change(connection, &Request::AppsSet { spec: spec.clone() })
        }
        Command::Rm { name, connection } => {
            change(connection, &Request::AppsRm { name: name.clone() })
        }
        Command::List { connection } => list(connection),
    }
}

/// Asks for a change and prints the answer.
pub(crate) fn change(connection: &Connection, request: &Request) -> Result<(), Fault> {
    let answer = ask(connection, request)?;
    let Answer::Done(text) = &answer else { return Err(unexpected(&answer)) };
    let mut out = std::io::stdout().lock();
    if connection.json {
        writeln!(out, "{}", serde_json::to_string(&answer)?)?;
    } else {
        writeln!(out, "{text}")?;
    }
    Ok(())
}

fn list(connection: &Connection) -> Result<(), Fault> {
    let report = ask_status(connection)?;
    let mut out = std::io::stdout().lock();
    if connection.json {
        writeln!(out, "{}", serde_json::to_string(&report.applications)?)?;
        return Ok(());
    }
    for application in &report.applications {
        writeln!(out, "{}", human::application(application))?;
    }
    if report.applications.is_empty() {
        writeln!(out, "no application")?;
    }
    Ok(())
}
