//! The scenario file, field by field. Units stand in the names; `docs/scenarios.md` documents it.

use serde::Deserialize;
use toml::Spanned;

/// A whole scenario file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioFile {
    /// Name: 1 to 48 of `a-z`, `0-9`, `_`, `-`.
    pub name: Spanned<String>,
    /// What arrivals, contention, noise and policy error are drawn from.
    #[serde(default)]
    pub seed: u64,
    /// Length, s.
    pub duration_s: Spanned<f64>,
    /// Board file, relative to the scenario's folder or absolute.
    pub board: Spanned<String>,
    /// Ambient temperature, °C; the board file's where left out.
    pub ambient_c: Option<Spanned<f64>>,
    /// Thermal resistance, K/W; the board file's where left out. What a board without fan has.
    pub thermal_resistance_k_per_w: Option<Spanned<f64>>,
    /// Whether the power mode's least CPU clock (the lowest of the board's table) binds every
    /// manager; no effect on boards without CPU clocks.
    #[serde(default = "yes")]
    pub cpu_floor: bool,
    /// Standard deviation of the latencies of applications without a trace or Markov model, %;
    /// 0.5 where left out.
    pub noise_pct: Option<Spanned<f64>>,
    /// Caps over time.
    #[serde(default)]
    pub limits: Vec<LimitsFile>,
    /// Clocks held by another tool, whatever a manager asks for.
    #[serde(default)]
    pub pinned: Vec<PinnedFile>,
    /// Sensors that give nothing for a while.
    #[serde(default)]
    pub sensor_loss: Vec<SensorLossFile>,
    /// What the tables given to the managers have wrong.
    pub policy_error: Option<PolicyErrorFile>,
    /// Applications, 1 to 4.
    #[serde(default)]
    pub application: Vec<ApplicationFile>,
}

fn yes() -> bool {
    true
}

/// Caps from a time on; what is left out is the board's own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsFile {
    /// From when, s.
    pub at_s: Spanned<f64>,
    /// Board input power, mW.
    pub power_cap_mw: Option<Spanned<f64>>,
    /// Hottest zone, °C.
    pub temp_cap_c: Option<Spanned<f64>>,
}

/// Clocks that something else holds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinnedFile {
    /// From when, s.
    pub from_s: Spanned<f64>,
    /// Until when, s; the end where left out.
    pub to_s: Option<Spanned<f64>>,
    /// CPU clock, MHz.
    pub cpu_mhz: Option<Spanned<f64>>,
    /// GPU clock, MHz.
    pub gpu_mhz: Option<Spanned<f64>>,
    /// Memory clock, MHz.
    pub emc_mhz: Option<Spanned<f64>>,
}

/// A monitor of the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sensor {
    /// Power sensor (VDD_IN).
    Power,
    /// All temperature zones.
    Temperature,
    /// GPU load.
    GpuLoad,
}

/// Sensors that are gone.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SensorLossFile {
    /// From when, s.
    pub from_s: Spanned<f64>,
    /// Until when, s; the end where left out.
    pub to_s: Option<Spanned<f64>>,
    /// Which.
    pub sensors: Vec<Sensor>,
}

/// Errors of the tables: each cell is the board's own times `scale` times a factor drawn evenly
/// from 1 ± `spread_pct` %.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyErrorFile {
    /// Policy's latencies ÷ the board's; below 1, the board is slower than its policy.
    pub latency_scale: Option<Spanned<f64>>,
    /// Spread of the latencies, %.
    pub latency_spread_pct: Option<Spanned<f64>>,
    /// Policy's energies ÷ the board's.
    pub energy_scale: Option<Spanned<f64>>,
    /// Spread of the energies, %.
    pub energy_spread_pct: Option<Spanned<f64>>,
}

/// An application.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplicationFile {
    /// Name, differs from the others'.
    pub name: Spanned<String>,
    /// A network of the board file.
    pub network: Spanned<String>,
    /// When requests are released.
    pub arrivals: Spanned<ArrivalsFile>,
    /// What slows it down; nothing but noise where left out.
    pub slowdown: Option<Spanned<SlowdownFile>>,
    /// Share of requests that may miss the deadline, 0 to 0.5.
    pub miss_target: Spanned<f64>,
    /// Larger is served first, 0 to 255; 0 where left out.
    #[serde(default)]
    pub priority: u8,
    /// Targets over time, the first at 0 s.
    #[serde(default)]
    pub target: Vec<TargetFile>,
}

/// Exactly one of `period_ms`, `poisson_per_s`, `csv`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArrivalsFile {
    /// Periodic, ms; known to the agent.
    pub period_ms: Option<f64>,
    /// Poisson, 1/s; the agent knows the mean only.
    pub poisson_per_s: Option<f64>,
    /// Time stamps in a file.
    pub csv: Option<String>,
    /// Its column: seconds, or `YYYY-MM-DD HH:MM:SS.f`.
    pub column: Option<String>,
    /// How many times faster than recorded; 1 where left out.
    pub speed: Option<f64>,
}

/// Exactly one of `csv`, `markov`, `switching`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlowdownFile {
    /// Trace of consecutive compute times.
    pub csv: Option<String>,
    /// Trace in quiet, whose median is the unit; `csv` itself where left out.
    pub baseline_csv: Option<String>,
    /// Column of both.
    pub column: Option<String>,
    /// Name of a fitted model (`scenarios/contention.toml`).
    pub markov: Option<String>,
    /// Contention switched on and off at random.
    pub switching: Option<SwitchingFile>,
    /// When contention begins, s; quiet before. 0 where left out.
    pub from_s: Option<f64>,
}

/// Regimes of exponential length.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchingFile {
    /// Slowdown while on.
    pub on: f64,
    /// Mean length of a regime, s.
    pub mean_s: f64,
}

/// What an application wants to be good at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectiveFile {
    /// Least energy at the accuracy floor.
    LeastEnergy,
    /// Best accuracy within the energy budget.
    BestAccuracy,
    /// Least latency, within the energy budget where there is one.
    LeastLatency,
}

/// What is given up first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DegradeFile {
    /// The accuracy floor.
    Accuracy,
    /// The deadline.
    Deadline,
    /// The energy budget.
    Energy,
}

/// Targets from a time on.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetFile {
    /// From when, s.
    pub at_s: Spanned<f64>,
    /// Relative deadline, ms.
    pub deadline_ms: Spanned<f64>,
    /// Least accuracy, %; 0 where left out.
    pub accuracy_floor_pct: Option<Spanned<f64>>,
    /// Objective.
    pub objective: ObjectiveFile,
    /// What is given up first; accuracy where left out.
    pub degrade: Option<DegradeFile>,
    /// Energy budget of a request beyond idle, mJ.
    pub energy_budget_mj: Option<Spanned<f64>>,
}
