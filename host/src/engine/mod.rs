//! Engines: what runs a sub-network on a request.

#[cfg(feature = "engine")]
mod adapting;
mod board;
#[cfg(feature = "engine")]
mod inference;
mod scripted;

#[cfg(feature = "engine")]
pub use adapting::IMAGES as ADAPTATION_IMAGES;
pub use board::BoardEngine;
#[cfg(feature = "engine")]
pub use inference::{Input, ModelFault, Models};
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
    /// Where it starts inside the settle window of a change: the level that comes, and in how many
    /// µs.
    pub next: Option<(u8, u32)>,
    /// When it starts.
    pub start: Time,
}

/// What running a job came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ran {
    /// Latency that counts: on a virtual board the board's, else the measured one, µs.
    pub latency_us: u32,
    /// How long this machine inferred, µs; 0 where nothing was inferred. On a virtual board that is
    /// not [`Ran::latency_us`]: this machine is not the board.
    pub wall_us: u32,
    /// Images that were inferred.
    pub images: u32,
    /// Of these, images whose label was found.
    pub right: u32,
    /// Of these, images that left at an early exit.
    pub early: u32,
    /// What the model that ran had been adapted to.
    pub adapted: Adapted,
}

/// How far a model is adapted to the images that come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Adapted {
    /// Times since the start; 0 = it is as it was shipped.
    pub times: u32,
    /// Images that the statistics in use were taken from.
    pub images: u32,
}

impl Ran {
    /// A run that inferred nothing, or nothing that has a label.
    #[must_use]
    pub fn of_latency(latency_us: u32) -> Self {
        Self { latency_us, ..Self::default() }
    }
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
    /// Runs a job to its end.
    ///
    /// # Errors
    /// [`EngineFault`]; the agent goes on with the next request.
    fn run(&mut self, job: &Job) -> Result<Ran, EngineFault>;
}

/// What inference found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Judged {
    /// Images that were inferred.
    pub images: u32,
    /// Of these, images whose label was found.
    pub right: u32,
    /// Of these, images that left at an early exit.
    pub early: u32,
    /// What the model that ran had been adapted to.
    pub adapted: Adapted,
}

/// Runs networks on images.
pub trait Infer: Send {
    /// Infers the next images of a job's network with its sub-network.
    ///
    /// # Errors
    /// In words, why it cannot.
    fn infer(&mut self, job: &Job) -> Result<Judged, String>;
}
