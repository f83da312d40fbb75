//! Scenarios: a board, applications with targets over time, and what disturbs them.
//!
//! [`Scenario::load`] reads and checks a file (format: `docs/scenarios.md`); [`Instance::draw`] makes
//! everything random in it definite for one seed, so that all managers meet the same requests.

mod check;
pub mod contention;
mod error;
pub mod file;
mod instance;
pub mod series;

use coshift_plant::Board;
use coshift_plant::machine::Knob;
use coshift_shared::to_controller::{Degrade, Objective};

pub use error::ScenarioError;
pub use file::{Sensor, SwitchingFile as Switching};
pub use instance::{Instance, Request};

/// A checked scenario.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Name.
    pub name: String,
    /// Base of all seeds.
    pub seed: u64,
    /// Length, µs.
    pub end_us: u64,
    /// The board, ambient temperature and thermal resistance as in the scenario.
    pub board: Board,
    /// Whether the mode's least CPU clock binds every manager.
    pub cpu_floor: bool,
    /// Standard deviation of latencies without a trace, relative.
    pub noise: f64,
    /// Caps from a time (µs) on, in order, the first at 0.
    pub limits: Vec<Limits>,
    /// Clocks held by something else.
    pub pins: Vec<Pin>,
    /// Sensors that are gone for a while.
    pub losses: Vec<Loss>,
    /// What the managers' tables have wrong.
    pub policy_error: PolicyError,
    /// Applications, 1 to 4.
    pub applications: Vec<Application>,
    /// FNV-1a of the scenario and board file.
    pub hash: u64,
}

/// Caps from a time on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From when, µs.
    pub at_us: u64,
    /// Board input power, mW.
    pub power_mw: Option<u32>,
    /// Hottest zone, m°C.
    pub temp_mdeg_c: Option<i32>,
}

/// A clock held by something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin {
    /// From when, µs.
    pub from_us: u64,
    /// Until when, µs.
    pub to_us: u64,
    /// The clock.
    pub knob: Knob,
    /// Its value, kHz.
    pub khz: u32,
}

/// A sensor that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// From when, µs.
    pub from_us: u64,
    /// Until when, µs.
    pub to_us: u64,
    /// The sensor.
    pub sensor: Sensor,
}

/// Errors of the tables given to the managers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PolicyError {
    /// Policy's ÷ board's latencies.
    pub latency_scale: f64,
    /// Spread of the latencies, relative.
    pub latency_spread: f64,
    /// Policy's ÷ board's energies.
    pub energy_scale: f64,
    /// Spread of the energies, relative.
    pub energy_spread: f64,
}

impl PolicyError {
    /// Tables that are right.
    pub const NONE: Self =
        Self { latency_scale: 1.0, latency_spread: 0.0, energy_scale: 1.0, energy_spread: 0.0 };
}

/// When requests are released.
#[derive(Debug, Clone, PartialEq)]
pub enum Arrivals {
    /// Every so many µs; known to the agent.
    Periodic(f64),
    /// Poisson with this mean distance, µs.
    Poisson(f64),
    /// At these times, µs, ascending.
    Times(Vec<u64>),
}

/// What multiplies latencies.
#[derive(Debug, Clone, PartialEq)]
pub enum Slowdown {
    /// Noise alone.
    Noise,
    /// One value a request, in order, repeating: the first from the start, the second from
    /// `from_us` on.
    Trace {
        /// Before.
        quiet: Vec<f64>,
        /// From `from_us` on.
        loaded: Vec<f64>,
        /// When, µs.
        from_us: u64,
    },
    /// Markov chains, the second from `from_us` on.
    Markov {
        /// The model.
        model: contention::Model,
        /// When, µs.
        from_us: u64,
    },
    /// Regimes of exponential length, from `from_us` on, with noise.
    Switching {
        /// Slowdown while on.
        on: f64,
        /// Mean length, µs.
        mean_us: f64,
        /// When, µs.
        from_us: u64,
    },
}

/// An application.
#[derive(Debug, Clone)]
pub struct Application {
    /// Name.
    pub name: String,
    /// Its network's place in the board.
    pub network: usize,
    /// When requests are released.
    pub arrivals: Arrivals,
    /// What slows them down.
    pub slowdown: Slowdown,
    /// Share that may miss the deadline.
    pub miss_target: f64,
    /// Larger is served first.
    pub priority: u8,
    /// Targets from a time on, in order, the first at 0.
    pub targets: Vec<Targets>,
}

/// Targets from a time on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Targets {
    /// From when, µs.
    pub at_us: u64,
    /// Relative deadline, µs.
    pub deadline_us: u32,
    /// Least accuracy, 0.01 %.
    pub floor_bp: u16,
    /// Objective.
    pub objective: Objective,
    /// What is given up first.
    pub degrade: Degrade,
    /// Energy budget of a request beyond idle, µJ; 0 = none.
    pub energy_budget_uj: u32,
}

impl Application {
    /// Targets in force at a time.
    #[must_use]
    pub fn targets_at(&self, us: u64) -> &Targets {
        let after = self.targets.partition_point(|targets| targets.at_us <= us);
        &self.targets[after.saturating_sub(1)]
    }

    /// Whether the agent knows the next release.
    #[must_use]
    pub fn releases_known(&self) -> bool {
        matches!(self.arrivals, Arrivals::Periodic(_))
    }

    /// Mean distance of requests, µs.
    #[must_use]
    pub fn period_us(&self, end_us: u64) -> u32 {
        let mean = match &self.arrivals {
            Arrivals::Periodic(us) | Arrivals::Poisson(us) => *us,
            Arrivals::Times(times) => {
                let used = times.partition_point(|time| *time < end_us);
                end_us as f64 / used.max(1) as f64
            }
        };
        // Within the range: the checks keep it between 1 ms and an hour.
        mean.round().clamp(1.0, f64::from(u32::MAX)) as u32
    }
}

impl Scenario {
    /// Caps in force at a time.
    #[must_use]
    pub fn limits_at(&self, us: u64) -> Limits {
        let after = self.limits.partition_point(|limits| limits.at_us <= us);
        self.limits[after.saturating_sub(1)]
    }

    /// The network of an application.
    #[must_use]
    pub fn network(&self, application: usize) -> &coshift_plant::board::Network {
        &self.board.networks[self.applications[application].network]
    }
}
