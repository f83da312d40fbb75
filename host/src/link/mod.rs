//! Links to the controller.

mod serial;

use std::path::PathBuf;

use coshift_shared::frame::Frame;

use crate::inputs::{self, InputFault};

pub use serial::SerialLink;

/// Bit rate where none is given.
pub const DEFAULT_BAUD: u32 = 1_000_000;

/// Where the controller is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkSpec {
    /// In the agent.
    InProcess,
    /// On a microcontroller behind a serial port.
    Serial {
        /// The port.
        path: PathBuf,
        /// Its bit rate.
        baud: u32,
    },
}

impl LinkSpec {
    /// Reads `in-process` or `serial:PATH[@BAUD]`.
    ///
    /// # Errors
    /// [`InputFault`] where it is neither.
    pub fn parse(argument: &str, text: &str) -> Result<Self, InputFault> {
        if text == "in-process" {
            return Ok(Self::InProcess);
        }
        let expectation = "a link, written like in-process or serial:/dev/ttyTHS1@1000000";
        let fault = || InputFault::new(argument, text, expectation);
        let port = text.strip_prefix("serial:").ok_or_else(fault)?;
        let (path, baud) = match port.rsplit_once('@') {
            Some((path, baud)) => {
                let baud = inputs::whole(&format!("{argument}, bit rate"), baud, 1200, 12_000_000)?;
                (path, u32::try_from(baud).unwrap_or(u32::MAX))
            }
            None => (port, DEFAULT_BAUD),
        };
        if path.is_empty() {
            return Err(fault());
        }
        Ok(Self::Serial { path: path.into(), baud })
    }
}

/// What a link reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEvent {
    /// It can carry frames.
    Up,
    /// Its port is gone, and why; it is looked for again.
    Down(String),
    /// Bytes arrived.
    Bytes(Vec<u8>),
}

/// Why a link cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("link {link}: {why}")]
pub struct LinkFault {
    /// The link as it was asked for.
    pub link: String,
    /// What went wrong.
    pub why: String,
}

/// A link to a microcontroller. It runs on threads of its own and never keeps the caller waiting.
pub trait Link: Send {
    /// Sends a frame; one that finds no room is dropped and counted. The protocol copes with
    /// lost frames, not with an agent that waits for a port.
    fn send(&mut self, frame: &Frame);

    /// Frames dropped so far.
    fn dropped(&self) -> u64;
}

#[cfg(test)]
mod tests {
    use super::LinkSpec;

    #[test]
    fn links_are_read() {
        let parse = |text| LinkSpec::parse("--link", text);
        assert_eq!(parse("in-process"), Ok(LinkSpec::InProcess));
        let serial = |path: &str, baud| Ok(LinkSpec::Serial { path: path.into(), baud });
        assert_eq!(parse("serial:/dev/ttyTHS1"), serial("/dev/ttyTHS1", 1_000_000));
        assert_eq!(parse("serial:/dev/pts/3@115200"), serial("/dev/pts/3", 115_200));
        for text in ["", "serial", "serial:", "serial:@9600", "tcp:1", "serial:/dev/x@fast"] {
            let fault = parse(text).unwrap_err().to_string();
            assert!(fault.starts_with("--link"), "{fault}");
        }
    }
}
