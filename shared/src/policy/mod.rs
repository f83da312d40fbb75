//! The policy image: what the controller knows of a board and of the networks on it.
//!
//! Expected latency (µs) and marginal energy (µJ) for every (application table, sub-network,
//! level), idle power (mW) and clocks (kHz) of every level, settle times, caps. The image is read
//! in place, from flash or RAM, never copied. All numbers are little-endian and need no alignment.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | magic `CSPL` |
//! | 4 | 2 | format, [`FORMAT`] |
//! | 6 | 2 | size of this header, [`HEADER`] |
//! | 8 | 4 | length of the image |
//! | 12 | 4 | CRC-32C of everything from offset 16 to the end |
//! | 16 | 4 | sequence number of the image |
//! | 20 | 16 | board, ASCII, padded with zeros |
//! | 36 | 8 | runtime, ASCII, padded with zeros |
//! | 44 | 1 | precision, bits |
//! | 45 | 1 | batch |
//! | 46 | 1 | number of levels, 1 to 32 |
//! | 47 | 1 | number of application tables, 1 to 4 |
//! | 48 | 12 | settle times of CPU, GPU, memory clock, µs, `u32` each |
//! | 60 | 4 | power cap of the board, mW; `u32::MAX` = none |
//! | 64 | 4 | temperature cap, m°C; `i32::MAX` = none |
//! | 68 | 2 | highest utilisation, 0.1 % |
//! | 70 | 1 | park level; 255 = parking does not pay on this board |
//! | 71 | 1 | reserved, 0 |
//! | 72 | 16 × levels | level: CPU, GPU, memory clock in kHz, idle power in mW, `u32` each |
//! | … | 32 × tables | table: name (16, ASCII), offset of its rows `u32`, sub-networks `u8`, 11 reserved |
//! | … | 16 × sub-networks | row: id `u32`, model hash `u64`, accuracy 0.01 % `u16`, exit threshold `u16` |
//! | … | 8 × levels × sub-networks | cell, level by level: latency µs `u32`, energy µJ `u32` |
//!
//! The parts follow one another without gaps: the rows of the first table begin where the directory
//! ends, those of the next one where the cells before them end, and the image ends with the last
//! cell. Levels are sorted by (GPU, memory, CPU) clock and differ; sub-networks by accuracy. Names
//! of tables differ. Reserved bytes are zero. The exit threshold is the confidence, in 1/65535, at
//! which an early exit is taken; 65535 = none.

#[cfg(any(test, feature = "std"))]
mod build;
mod check;
mod fault;
pub mod slot;
mod view;

#[cfg(any(test, feature = "std"))]
pub use build::{BuildFault, PolicyImage, TableImage};
pub use check::PolicyCheck;
pub use fault::{Named, PolicyFault};
pub use view::{Column, PolicyView, TableView};

/// Version of the format.
pub const FORMAT: u16 = 1;
/// Bytes of the image's header.
pub const HEADER: usize = 72;
/// First bytes of every image.
pub const MAGIC: [u8; 4] = *b"CSPL";
/// Most bytes of an image: 32 levels, 4 tables of 16 sub-networks.
pub const MAX_IMAGE: usize = 72 + 32 * 16 + 4 * (32 + 16 * 16 + 32 * 16 * 8);
/// Largest latency (µs), energy (µJ) and idle power (mW) of an image, so that sums of four and
/// products with a slowdown in Q8.24 fit their types.
pub const MAX_VALUE: u32 = 1 << 30;
/// Largest settle time of an image, µs: clocks that take longer are of no use to a control loop of
/// 20 to 500 ms.
pub const MAX_SETTLE_US: u32 = 1_000_000;

const LEVEL: usize = 16;
const TABLE: usize = 32;
const ROW: usize = 16;
const CELL: usize = 8;
/// Where the part covered by the CRC starts.
const CHECKED: usize = 16;

/// Where a policy image is: flash, RAM or a file read by the host.
pub trait PolicySource {
    /// The image's bytes.
    fn image(&self) -> &[u8];
}

impl PolicySource for &[u8] {
    fn image(&self) -> &[u8] {
        self
    }
}

/// One tuple of clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// CPU clock, kHz.
    pub cpu_khz: u32,
    /// GPU clock, kHz.
    pub gpu_khz: u32,
    /// Memory clock, kHz.
    pub emc_khz: u32,
    /// Board input power at this level with nothing to do, mW.
    pub idle_mw: u32,
}

impl Level {
    /// The order of levels in an image.
    #[must_use]
    pub fn order(&self) -> (u32, u32, u32) {
        (self.gpu_khz, self.emc_khz, self.cpu_khz)
    }
}

/// One sub-network of an application table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubNetwork {
    /// Identifier of the sub-network in its model.
    pub id: u32,
    /// Hash of the model it belongs to; 0 = not bound to a model.
    pub model_hash: u64,
    /// Accuracy, 0.01 %.
    pub accuracy_bp: u16,
    /// Confidence of the early exit, 1/65535; 65535 = none.
    pub exit_threshold: u16,
}

/// Expectation for one (sub-network, level).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// Expected latency of a request, µs.
    pub latency_us: u32,
    /// Energy of a request beyond idle, µJ.
    pub energy_uj: u32,
}

/// Settle times of clock changes, µs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settle {
    /// CPU clock.
    pub cpu_us: u32,
    /// GPU clock.
    pub gpu_us: u32,
    /// Memory clock.
    pub emc_us: u32,
}

impl Settle {
    /// Settle time of a change from one level to another: that of the slowest clock that differs.
    #[must_use]
    pub fn between(&self, from: &Level, to: &Level) -> u32 {
        let cpu = if from.cpu_khz == to.cpu_khz { 0 } else { self.cpu_us };
        let gpu = if from.gpu_khz == to.gpu_khz { 0 } else { self.gpu_us };
        let emc = if from.emc_khz == to.emc_khz { 0 } else { self.emc_us };
        cpu.max(gpu).max(emc)
    }
}
