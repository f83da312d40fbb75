//! The board: knobs (clocks) and monitors (achieved clocks, power, load, temperature).

mod scripted;
mod virtual_board;

pub use scripted::ScriptedPlatform;
pub use virtual_board::VirtualBoard;

use crate::clock::Time;
use crate::engine::Job;

/// A value with the time it was taken at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading<T> {
    /// The value.
    pub value: T,
    /// When the sensor took it.
    pub at: Time,
}

/// The monitors of one moment; what is missing is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Readings {
    /// Level achieved; `None` = the clocks are none of the list.
    pub level: Option<u8>,
    /// Clocks achieved, MHz: CPU, GPU, memory; 0 = not known.
    pub clocks_mhz: [u16; 3],
    /// Board input power, mW.
    pub power_mw: Option<Reading<u32>>,
    /// GPU load, 0.1 %.
    pub gpu_load_permille: Option<Reading<u16>>,
    /// The two hottest zones, m°C.
    pub temperatures_mdeg_c: [Option<Reading<i32>>; 2],
}

/// The clocks as read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Achieved {
    /// Level; `None` = the clocks are none of the list.
    pub level: Option<u8>,
    /// Whether the settle window of the last change is over.
    pub settled: bool,
    /// Inside that window: the level that comes, and in how many µs.
    pub next: Option<(u8, u32)>,
}

/// Why a level was not applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct PlatformFault {
    /// The knob.
    pub what: String,
    /// What the system said.
    pub why: String,
}

/// A board.
pub trait Platform {
    /// Asks for the clocks of a level; what is reached is read back by [`Platform::achieved`].
    ///
    /// # Errors
    /// [`PlatformFault`] where a knob refuses; nothing is changed then.
    fn apply(&mut self, level: u8, now: Time) -> Result<(), PlatformFault>;

    /// The clocks as they are.
    fn achieved(&mut self, now: Time) -> Achieved;

    /// All monitors.
    fn read(&mut self, now: Time) -> Readings;

    /// A job starts. Real boards notice by themselves; virtual ones have to be told.
    fn started(&mut self, job: &Job, now: Time) {
        let _ = (job, now);
    }

    /// A job ended at `now`, after `latency_us` of the board's time.
    fn worked(&mut self, job: &Job, latency_us: u32, now: Time) {
        let _ = (job, latency_us, now);
    }

    /// Energy of the whole board since the start, mJ, by the board's model; `None` where there is
    /// none.
    fn energy_mj(&mut self, now: Time) -> Option<u64> {
        let _ = now;
        None
    }

    /// Whether time on this board is a model's: then a request waits for the requests before it as
    /// long as they would have taken the board, whatever this machine did meanwhile.
    fn models_time(&self) -> bool {
        false
    }

    /// Images (crops) that a request of a policy's table is made of; `None` where the board does not
    /// know.
    fn tiles(&self, table: u8) -> Option<u32> {
        let _ = table;
        None
    }

    /// What kind of board it is, for reports: `virtual:NAME`, `scripted`.
    fn describe(&self) -> String;
}
