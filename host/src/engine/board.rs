//! The engine of a virtual board: real inference, the board's time.

use std::time::{Duration, Instant};

use super::{Engine, EngineFault, Infer, Job, Judged, Ran, ScriptedEngine};

/// Infers real images where a model is there for the network, and takes the time that the board
/// would take.
///
/// The latency that counts is the board's for (sub-network, achieved level), slowed down by the
/// scripts; the wall time is stretched to it. Where this machine needs longer than the board would,
/// the run is as long as it is, and the board's latency counts all the same: [`Ran::wall_us`] shows
/// it.
pub struct BoardEngine {
    pace: ScriptedEngine,
    infer: Option<Box<dyn Infer>>,
}

impl std::fmt::Debug for BoardEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let infers = self.infer.is_some();
        f.debug_struct("BoardEngine").field("pace", &self.pace).field("infers", &infers).finish()
    }
}

impl BoardEngine {
    /// An engine with the latencies of `pace`; without `infer` they are all there is.
    #[must_use]
    pub fn new(pace: ScriptedEngine, infer: Option<Box<dyn Infer>>) -> Self {
        Self { pace, infer }
    }
}

impl Engine for BoardEngine {
    fn run(&mut self, job: &Job) -> Result<Ran, EngineFault> {
        let latency_us = self.pace.latency_us(job)?;
        let start = Instant::now();
        let judged = match &mut self.infer {
            Some(infer) => infer.infer(job).map_err(|why| EngineFault { slot: job.slot, why })?,
            None => Judged::default(),
        };
        let wall = start.elapsed();
        std::thread::sleep(Duration::from_micros(latency_us.into()).saturating_sub(wall));
        let inferred = judged.images > 0;
        let wall_us = u32::try_from(wall.as_micros()).unwrap_or(u32::MAX);
        let Judged { images, right, early, adapted } = judged;
        let wall_us = if inferred { wall_us } else { 0 };
        Ok(Ran { latency_us, wall_us, images, right, early, adapted })
    }
}
