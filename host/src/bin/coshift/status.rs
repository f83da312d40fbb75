//! `coshift status`.

use std::io::Write;

use coshift_host::control::{self, Answer, Request};

use crate::{Connection, Fault, human};

/// Show what a running agent does, and why
///
/// Who decides, the level with its clocks, the sub-networks, the reason in words and what is
/// missing where nothing fits; the link with versions, policy and counters of both sides; every
/// application with its latencies.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Fault> {
    let connection = &arguments.connection;
    let report = ask_status(connection)?;
    let mut out = std::io::stdout().lock();
    if connection.json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    } else {
        write!(out, "{}", human::status(&report))?;
    }
    Ok(())
}

/// The report of the agent.
pub(crate) fn ask_status(
    connection: &Connection,
) -> Result<Box<coshift_host::report::Report>, Fault> {
    match ask(connection, &Request::Status {})? {
        Answer::Status(report) => Ok(report),
        other => Err(unexpected(&other)),
    }
}

/// Asks the agent of a connection.
pub(crate) fn ask(connection: &Connection, request: &Request) -> Result<Answer, Fault> {
    let path = connection.control.clone().unwrap_or_else(control::default_path);
    Ok(control::ask(&path, request)?)
}

/// An answer that is an error, or none to the question.
pub(crate) fn unexpected(answer: &Answer) -> Fault {
    match answer {
        Answer::Error(why) => why.clone().into(),
        _ => "the agent answered another question".into(),
    }
}
