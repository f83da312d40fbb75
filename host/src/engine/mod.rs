//! Engines: what runs a sub-network on a request.

mod scripted;

pub use scripted::ScriptedEngine;

use std::sync::Arc;

use crate::clock::Time;

/// One inference to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Running number of the request; comes back with the result.
    pub request: u64,
    /// Name of the application.
    pub application: Arc<str>,
    /// Slot of the application.
    pub slot: u8,
    /// Application table of the policy: which network.
    pub table: u8,
    /// Sub-network to run.
    pub sub_network: u8,
    /// Level achieved at the start; `None` = the clocks are none of the list.
    pub level: Option<u8>,
    /// When it starts.
    pub start: Time,
}

/// Why an inference failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("inference of slot {slot} failed: {why}")]
pub struct EngineFault {
    /// Slot of the application.
    pub slot: u8,
    /// What went wrong.
    pub why: String,
}

/// Runs sub-networks. One engine runs one request at a time.
pub trait Engine: Send {
    /// Runs a job to its end and returns its latency, µs.
    ///
    /// # Errors
    /// [`EngineFault`]; the agent goes on with the next request.
    fn run(&mut self, job: &Job) -> Result<u32, EngineFault>;
}
