//! The board: knobs (clocks) and monitors (achieved clocks, power, load, temperature).

mod scripted;

pub use scripted::ScriptedPlatform;

use crate::clock::Time;

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

    /// An inference ran until `now` and took `busy_us` for `energy_uj` (µJ, beyond idle). Real
    /// boards measure that; virtual ones have to be told.
    fn worked(&mut self, busy_us: u32, energy_uj: u32, now: Time) {
        let _ = (busy_us, energy_uj, now);
    }
}
