//! The other side of the control socket: `coshift status` and `coshift apps`.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::{Answer, IDLE, Request};

/// Longest answer that is read.
const MAX_ANSWER: u64 = 1 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientFault {
    /// Nobody listens.
    #[error("no agent answers at {} ({why}); is `coshift run` going?", path.display())]
    NoAgent {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// It broke off, or said something else.
    #[error("the agent at {}: {why}", path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What happened.
        why: String,
    },
}

/// Asks the agent at `path`.
///
/// # Errors
/// [`ClientFault`] where there is no answer; [`Answer::Error`] is one.
pub fn ask(path: &Path, request: &Request) -> Result<Answer, ClientFault> {
    let broken = |why: String| ClientFault::Broken { path: path.into(), why };
    let mut stream = UnixStream::connect(path).map_err(|error| {
        let why = match error.kind() {
            ErrorKind::NotFound => "there is no such socket".into(),
            _ => error.to_string(),
        };
        ClientFault::NoAgent { path: path.into(), why }
    })?;
    let mut line = serde_json::to_string(request).map_err(|error| broken(error.to_string()))?;
    line.push('\n');
    stream
        .set_read_timeout(Some(IDLE))
        .and_then(|()| stream.write_all(line.as_bytes()))
        .map_err(|error| broken(error.to_string()))?;
    let mut answer = String::new();
    BufReader::new(&stream)
        .take(MAX_ANSWER)
        .read_line(&mut answer)
        .map_err(|error| broken(error.to_string()))?;
    serde_json::from_str(&answer).map_err(|error| broken(format!("no answer: {error}")))
}
