//! What sets the clocks.

use coshift_plant::Board;
use coshift_plant::board::Level;

use super::SimulateError;
use super::podgov::{POLL_US, Podgov};
use super::schedutil::Schedutil;

/// What a manager sees of the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Time, µs.
    pub now_us: u64,
    /// Clocks in force.
    pub clocks: Level,
    /// Whether a core launches a request from now on.
    pub cpu_busy: bool,
    /// Time that the GPU spent on requests so far, µs.
    pub gpu_busy_us: u64,
}

/// Sets the clocks while requests are served.
pub trait ClockManager {
    /// Clocks that the board has at time 0.
    fn first(&self) -> Level;

    /// When it looks next by itself, µs; `None` = never.
    fn next_us(&self) -> Option<u64>;

    /// Called at that time, and whenever a clock changed, the core woke up or fell idle, or a
    /// request was done. Returns the clocks it asks for.
    fn step(&mut self, seen: &Seen) -> Level;
}

/// What a board comes with: schedutil and nvhost_podgov, the memory clock fixed.
#[derive(Debug, Clone)]
pub struct Stock {
    cpu: Schedutil,
    gpu: Podgov,
    first: Level,
    asked: Level,
    next_poll_us: u64,
    /// Busy time of the GPU at the last poll.
    polled_us: u64,
}

impl Stock {
    /// Idle governors at the lowest clocks of the board's tables, the memory clock at the highest of
    /// its levels. The GPU is polled at 25 ms, 50 ms and so on.
    ///
    /// # Errors
    /// [`SimulateError::NoClocks`] where the board file has no tables.
    pub fn new(board: &Board) -> Result<Self, SimulateError> {
        let tables = board.clocks.as_ref();
        let tables = tables.ok_or_else(|| SimulateError::NoClocks { board: board.name.clone() })?;
        let lowest = |table: &[u32]| table.first().copied().unwrap_or(0);
        let first = Level {
            cpu_khz: lowest(&tables.cpu_khz),
            gpu_khz: lowest(&tables.gpu_khz),
            // A board has at least one level.
            emc_khz: board.levels.iter().map(|level| level.emc_khz).max().unwrap_or(0),
        };
        let (cpu, gpu) = (Schedutil::new(&tables.cpu_khz), Podgov::new(&tables.gpu_khz));
        Ok(Self { cpu, gpu, first, asked: first, next_poll_us: POLL_US, polled_us: 0 })
    }

    /// The same with another governor of the GPU, at the clock that it asks for.
    #[must_use]
    pub fn with_gpu(self, gpu: Podgov) -> Self {
        let first = Level { gpu_khz: gpu.khz(), ..self.first };
        Self { gpu, first, asked: first, ..self }
    }

    /// Clocks asked for last.
    #[must_use]
    pub fn asked(&self) -> Level {
        self.asked
    }
}

impl ClockManager for Stock {
    fn first(&self) -> Level {
        self.first
    }

    fn next_us(&self) -> Option<u64> {
        Some(self.next_poll_us.min(self.cpu.next_us()))
    }

    fn step(&mut self, seen: &Seen) -> Level {
        if seen.now_us >= self.next_poll_us {
            let total_us = seen.now_us - (self.next_poll_us - POLL_US);
            self.gpu.poll(seen.now_us, seen.gpu_busy_us - self.polled_us, total_us);
            self.polled_us = seen.gpu_busy_us;
            self.next_poll_us = seen.now_us + POLL_US;
        }
        self.asked = Level {
            cpu_khz: self.cpu.step(seen.now_us, seen.cpu_busy, seen.clocks.cpu_khz),
            gpu_khz: self.gpu.khz(),
            emc_khz: self.first.emc_khz,
        };
        self.asked
    }
}

/// Clocks that never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held(pub Level);

impl ClockManager for Held {
    fn first(&self) -> Level {
        self.0
    }

    fn next_us(&self) -> Option<u64> {
        None
    }

    fn step(&mut self, _seen: &Seen) -> Level {
        self.0
    }
}
