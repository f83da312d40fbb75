//! Board files: format, reading, checks.
//!
//! [`BoardFile`] is the file field by field (it can be written too); [`Board`] is what it means,
//! checked, with every sub-network's latency law worked out. `docs/decisions/0003-board-files.md`
//! says why the format is as it is.

mod check;
mod clocks;
mod error;
mod file;
mod networks;
mod outline;
mod provenance;
mod variant;

use std::path::Path;

pub use clocks::ClockTables;
pub use error::BoardError;
pub use file::{
    AtFile, BoardFile, BusyFile, CapsFile, ClocksFile, CpuFile, EmcFile, ExplicitLaw, IdleFile,
    LatencyFile, LevelFile, NetworkFile, PowerFile, Rule, SettleFile, SubNetworkFile, ThermalFile,
};
pub use provenance::{Mark, MarkedNumber, Provenance, ProvenanceEntry};
pub use variant::varied;

use crate::law::{LatencyLaw, PowerLaw, ThermalLaw};

/// Version of the format that this crate reads and writes.
pub const FORMAT: u32 = 1;
/// Most levels of a board.
pub const MAX_LEVELS: usize = 32;
/// Most sub-networks of a network.
pub const MAX_SUB_NETWORKS: usize = 16;

/// One tuple of clock frequencies, exact to the kHz.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Level {
    /// CPU clock, kHz.
    pub cpu_khz: u32,
    /// GPU clock, kHz.
    pub gpu_khz: u32,
    /// Memory clock (EMC), kHz.
    pub emc_khz: u32,
}

impl Level {
    /// CPU clock, MHz.
    #[must_use]
    pub fn cpu_mhz(&self) -> f64 {
        f64::from(self.cpu_khz) / 1e3
    }

    /// GPU clock, MHz.
    #[must_use]
    pub fn gpu_mhz(&self) -> f64 {
        f64::from(self.gpu_khz) / 1e3
    }

    /// Memory clock, MHz.
    #[must_use]
    pub fn emc_mhz(&self) -> f64 {
        f64::from(self.emc_khz) / 1e3
    }

    /// The order of levels in a board: by GPU, memory, CPU clock.
    #[must_use]
    pub fn order(&self) -> (u32, u32, u32) {
        (self.gpu_khz, self.emc_khz, self.cpu_khz)
    }
}

/// Time from a clock's change to its taking effect, µs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settle {
    /// CPU clock.
    pub cpu_us: u32,
    /// GPU clock.
    pub gpu_us: u32,
    /// Memory clock.
    pub emc_us: u32,
}

/// Limits of the board; `None` where nothing binds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Caps {
    /// Board input power, mW.
    pub power_mw: Option<u32>,
    /// Temperature, m°C.
    pub temp_mdeg_c: Option<i32>,
}

/// One sub-network of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct SubNetwork {
    /// Identifier in its model.
    pub id: u32,
    /// Accuracy, %.
    pub accuracy_pct: f64,
    /// Multiply-accumulates of one image.
    pub macs: Option<u64>,
    /// Parameters.
    pub params: Option<u64>,
    /// Blocks that run one after the other.
    pub blocks: Option<u32>,
    /// Side of the square input, pixels.
    pub resolution: Option<u32>,
    /// Confidence at which an early exit is taken, 0 to 1; `None` = no early exit.
    pub exit_threshold: Option<f64>,
    /// Latency of a whole request (all tiles).
    pub latency: LatencyLaw,
}

/// A network with its sub-networks, sorted by accuracy.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// Name, the key of the table in the file.
    pub name: String,
    /// Images (crops) a request is made of.
    pub tiles: u32,
    /// Share of the fitted busy power above idle that this network draws.
    pub activity: f64,
    /// Hash of the model the identifiers belong to; 0 = not bound to a model.
    pub model_hash: u64,
    /// Sub-networks, sorted by accuracy.
    pub sub_networks: Vec<SubNetwork>,
}

/// A checked board file.
#[derive(Debug, Clone, PartialEq)]
pub struct Board {
    /// Name, at most 16 characters.
    pub name: String,
    /// What the board is, in words.
    pub title: String,
    /// What a reader of results must know about the model.
    pub notes: Vec<String>,
    /// Runtime the latencies hold for, at most 8 characters.
    pub runtime: String,
    /// Precision, bits.
    pub precision_bits: u8,
    /// Batch.
    pub batch: u8,
    /// Levels, sorted by (GPU, memory, CPU) clock.
    pub levels: Vec<Level>,
    /// Clocks that the kernel's governors choose from.
    pub clocks: Option<ClockTables>,
    /// Index of the park level, where parking pays.
    pub park_level: Option<usize>,
    /// Highest share of the time that requests may take, 0.1 %.
    pub utilisation_permille: u16,
    /// Settle times.
    pub settle: Settle,
    /// Caps.
    pub caps: Caps,
    /// Power law.
    pub power: PowerLaw,
    /// Thermal law.
    pub thermal: ThermalLaw,
    /// Networks, by name.
    pub networks: Vec<Network>,
    /// Where every number comes from.
    pub provenance: Provenance,
}

impl Board {
    /// Reads and checks a board file.
    ///
    /// # Errors
    /// [`BoardError`] names the file, the line, the field and what was expected there.
    pub fn load(path: &Path) -> Result<Self, BoardError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| BoardError::whole(&name, &format!("cannot be read: {error}")))?;
        Self::parse(&text, &name)
    }

    /// Checks the text of a board file; `file` is what errors call it.
    ///
    /// # Errors
    /// As [`Board::load`].
    pub fn parse(text: &str, file: &str) -> Result<Self, BoardError> {
        check::board(text, file)
    }

    /// The network of this name.
    #[must_use]
    pub fn network(&self, name: &str) -> Option<&Network> {
        self.networks.iter().find(|network| network.name == name)
    }

    /// Names of the networks, sorted.
    #[must_use]
    pub fn network_names(&self) -> Vec<&str> {
        self.networks.iter().map(|network| network.name.as_str()).collect()
    }

    /// Expected latency of a request in quiet, µs, rounded, at least 1.
    #[must_use]
    pub fn latency_us(&self, sub_network: &SubNetwork, level: &Level) -> u32 {
        rounded(sub_network.latency.us(level)).max(1)
    }

    /// Energy of a request beyond idle, µJ: (busy power − idle power at that level) × latency,
    /// rounded, at least 1.
    #[must_use]
    pub fn energy_uj(&self, network: &Network, sub_network: &SubNetwork, level: &Level) -> u32 {
        let beyond_idle_w = self.power.busy_w(level, network.activity) - self.power.idle_w(level);
        rounded(beyond_idle_w * sub_network.latency.us(level)).max(1)
    }

    /// Board input power with nothing to do, mW, rounded.
    #[must_use]
    pub fn idle_mw(&self, level: &Level) -> u32 {
        rounded(self.power.idle_w(level) * 1e3)
    }

    /// Board input power while a network runs, mW, rounded.
    #[must_use]
    pub fn busy_mw(&self, network: &Network, level: &Level) -> u32 {
        rounded(self.power.busy_w(level, network.activity) * 1e3)
    }

    /// Tiles a request of `network` needs for its last (most accurate) sub-network to take about
    /// `target_us` at the highest level; at least 1.
    ///
    /// The latency of that sub-network is found from the network's present number of tiles: the GPU
    /// and memory parts are in proportion to it, the launch part is not.
    #[must_use]
    pub fn tiles_for(&self, network: &Network, target_us: f64) -> u32 {
        let (Some(top), Some(largest)) = (self.levels.last(), network.sub_networks.last()) else {
            return 1;
        };
        let launch_us = largest.latency.cpu_us(top);
        let a_tile_us = (largest.latency.us(top) - launch_us) / f64::from(network.tiles.max(1));
        if a_tile_us <= 0.0 {
            return 1;
        }
        rounded((target_us - launch_us) / a_tile_us).max(1)
    }
}

/// Rounds to the nearest whole number that fits; negative numbers give 0.
fn rounded(value: f64) -> u32 {
    let value = value.round();
    if value >= f64::from(u32::MAX) {
        u32::MAX
    } else if value >= 1.0 {
        // In range by the comparisons above.
        value as u32
    } else {
        0
    }
}
