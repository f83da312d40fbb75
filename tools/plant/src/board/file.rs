//! The board file, field by field. Units stand in the names.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::provenance::ProvenanceEntry;

/// A whole board file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoardFile {
    /// Version of the format, [`super::FORMAT`].
    pub format: u32,
    /// Name: 1 to 16 of `a-z`, `0-9`, `_`, `-`.
    pub name: String,
    /// What the board is, in words.
    pub title: String,
    /// Runtime the latencies hold for, 1 to 8 of `a-z`, `0-9`, `_`, `-`.
    pub runtime: String,
    /// Precision, bits.
    pub precision_bits: u8,
    /// Batch.
    pub batch: u8,
    /// Index of the park level; left out where parking does not pay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub park_level: Option<u8>,
    /// Highest share of the time that requests may take, %, 0.1 to 100.
    pub utilisation_limit_pct: f64,
    /// What a reader should know, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Useful tuples of clocks, sorted by (GPU, memory, CPU), at most 32.
    pub levels: Vec<LevelFile>,
    /// Clocks that the kernel's governors choose from; left out where nothing is to be compared
    /// with them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clocks: Option<ClocksFile>,
    /// Settle times.
    pub settle: SettleFile,
    /// Caps.
    #[serde(default)]
    pub caps: CapsFile,
    /// Power law.
    pub power: PowerFile,
    /// Thermal law.
    pub thermal: ThermalFile,
    /// Networks by name.
    #[serde(default)]
    pub network: BTreeMap<String, NetworkFile>,
    /// Sources by key.
    #[serde(default)]
    pub sources: BTreeMap<String, String>,
    /// Marks of all numbers.
    #[serde(default)]
    pub provenance: Vec<ProvenanceEntry>,
}

/// One tuple of clocks, MHz, exact to the kHz.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelFile {
    /// CPU clock.
    pub cpu_mhz: f64,
    /// GPU clock.
    pub gpu_mhz: f64,
    /// Memory clock.
    pub emc_mhz: f64,
}

/// The kernel's frequency tables within the power mode that the file stands for: from the mode's
/// minimum to its maximum, MHz, exact to the kHz, ascending, 1 to 64 each. Every CPU and GPU clock
/// of a level is among them. The memory clock has no table: no governor moves it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClocksFile {
    /// CPU clocks.
    pub cpu_mhz: Vec<f64>,
    /// GPU clocks.
    pub gpu_mhz: Vec<f64>,
}

/// Time from a clock's change to its taking effect, ms.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettleFile {
    /// CPU clock.
    pub cpu_ms: f64,
    /// GPU clock.
    pub gpu_ms: f64,
    /// Memory clock.
    pub emc_ms: f64,
}

/// Caps; left out where nothing binds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CapsFile {
    /// Board input power, W.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_w: Option<f64>,
    /// Temperature, °C.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temp_c: Option<f64>,
}

/// Power law, see [`crate::law::PowerLaw`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PowerFile {
    /// CPU and memory clock at which `idle` and `busy` hold.
    pub at: AtFile,
    /// Idle power by GPU clock.
    pub idle: IdleFile,
    /// Busy power by GPU clock.
    pub busy: BusyFile,
    /// Memory term.
    pub emc: EmcFile,
    /// CPU term.
    pub cpu: CpuFile,
}

/// Clocks at which the fit of idle and busy power holds, MHz.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AtFile {
    /// CPU clock.
    pub cpu_mhz: f64,
    /// Memory clock.
    pub emc_mhz: f64,
}

/// Idle power: `base_w + gpu_w_per_ghz·f_gpu`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdleFile {
    /// Part that no clock changes, W.
    pub base_w: f64,
    /// Part in proportion to the GPU clock, W/GHz.
    pub gpu_w_per_ghz: f64,
}

/// Busy power: `base_w + gpu_w_per_ghz·f_gpu + gpu_power_w·f_gpu^gpu_exponent`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BusyFile {
    /// Part that no clock changes, W.
    pub base_w: f64,
    /// Part in proportion to the GPU clock, W/GHz.
    pub gpu_w_per_ghz: f64,
    /// Part with the power of the GPU clock, W/GHz^exponent.
    pub gpu_power_w: f64,
    /// The exponent (3 or 5).
    pub gpu_exponent: f64,
}

/// Memory term, for each GHz above the memory clock in `at`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmcFile {
    /// Idle power, W/GHz.
    pub idle_w_per_ghz: f64,
    /// Busy power beyond idle, as a share of it, 1/GHz: a slower memory keeps the GPU waiting.
    pub busy_share_per_ghz: f64,
}

/// CPU term: `w_per_ghz_v2·f·V(f)²`, with `V(f) = max(volt_min, volt_base + volt_per_ghz·f)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CpuFile {
    /// The factor while a request runs, W/(GHz·V²).
    pub w_per_ghz_v2: f64,
    /// Share of it drawn while idle, 0 to 1.
    pub idle_share: f64,
    /// Lowest voltage, V.
    pub volt_min: f64,
    /// Voltage at 0 GHz of the straight part, V.
    pub volt_base: f64,
    /// Slope of the straight part, V/GHz.
    pub volt_per_ghz: f64,
}

/// Thermal law, see [`crate::law::ThermalLaw`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThermalFile {
    /// Thermal resistance from board input power to the hottest zone, K/W.
    pub resistance_k_per_w: f64,
    /// Time constant, s.
    pub time_constant_s: f64,
    /// Ambient temperature unless a scenario says another, °C.
    pub ambient_c: f64,
    /// Temperature at which the board lowers its clocks by itself, °C.
    pub throttle_c: f64,
}

/// A network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkFile {
    /// Images (crops) a request is made of, at least 1.
    pub tiles: u32,
    /// Share of the busy power above idle that this network draws, above 0; 1 where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activity: Option<f64>,
    /// Hash of the model, 16 hexadecimal digits; left out where no model is bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_hash: Option<String>,
    /// How the sub-networks' latencies follow from their figures.
    pub latency: LatencyFile,
    /// Sub-networks, sorted by accuracy, at most 16.
    pub sub_network: Vec<SubNetworkFile>,
}

/// How the latency law's coefficients are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// From work: `a` from tiles × MACs, `b` from tiles × bytes, `c` from blocks.
    Scaled,
    /// From a latency known at the highest level, split into `a`, `b` and `c` by given ratios: every
    /// sub-network has the same shape.
    Anchored,
    /// Given with each sub-network.
    Explicit,
}

/// `[network.NAME.latency]`. Which fields go with which rule is said at each.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatencyFile {
    /// The rule.
    pub rule: Rule,
    /// CPU clock at which the launch part holds, MHz (scaled, explicit).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ref_mhz: Option<f64>,
    /// Exponent of the law, 1 to 100 (scaled, anchored).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p: Option<f64>,
    /// Launch part, ms a block (scaled).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ms_per_block: Option<f64>,
    /// GPU part, MHz·ms for 10^6 MACs (scaled).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_mhz_ms_per_mmac: Option<f64>,
    /// Memory part, MHz·ms for 10^6 bytes (scaled).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emc_mhz_ms_per_mb: Option<f64>,
    /// Launch part ÷ whole latency at the highest level, 0 to 0.99 (anchored).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_share: Option<f64>,
    /// Memory part ÷ GPU part at the highest level (anchored).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emc_over_gpu: Option<f64>,
    /// Factor on every `anchor_ms` (anchored); 1 where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor_scale: Option<f64>,
}

/// Coefficients of the latency law of one sub-network (rule explicit).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplicitLaw {
    /// `a`, MHz·ms.
    pub gpu_mhz_ms: f64,
    /// `b`, MHz·ms.
    pub emc_mhz_ms: f64,
    /// `c`, ms at `cpu_ref_mhz`.
    pub cpu_ms: f64,
    /// Exponent, 1 to 100.
    pub p: f64,
}

/// A sub-network. Which figures a rule needs is said at [`Rule`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubNetworkFile {
    /// Identifier in its model, differs from the others'.
    pub id: u32,
    /// Accuracy, %.
    pub accuracy_pct: f64,
    /// Multiply-accumulates of one image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub macs: Option<u64>,
    /// Parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<u64>,
    /// Bytes moved for one image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Blocks that run one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<u32>,
    /// Side of the square input, pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<u32>,
    /// Confidence at which an early exit is taken, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_threshold: Option<f64>,
    /// Latency at the highest level, ms (rule anchored).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor_ms: Option<f64>,
    /// Coefficients (rule explicit).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub law: Option<ExplicitLaw>,
}
