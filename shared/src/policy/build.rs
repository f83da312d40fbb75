//! Writing a policy image.

use std::string::String;
use std::vec::Vec;

use super::{
    Cell, FORMAT, HEADER, LEVEL, Level, MAGIC, PolicyFault, PolicyView, Settle, SubNetwork, TABLE,
};
use crate::crc32c;
use crate::units::{NO_LEVEL, NO_POWER_CAP, NO_TEMP_CAP};

/// The content of a policy image, to be written by [`PolicyImage::to_bytes`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyImage {
    /// Sequence number; the upload takes only that of the active image + 1.
    pub sequence: u32,
    /// Name of the board, at most 16 bytes of ASCII.
    pub board: String,
    /// Runtime the latencies hold for, at most 8 bytes of ASCII.
    pub runtime: String,
    /// Precision, bits.
    pub precision_bits: u8,
    /// Batch.
    pub batch: u8,
    /// Settle times.
    pub settle: Settle,
    /// Power cap, mW; [`crate::units::NO_POWER_CAP`] = none.
    pub power_cap_mw: u32,
    /// Temperature cap, m°C; [`crate::units::NO_TEMP_CAP`] = none.
    pub temp_cap_mdeg_c: i32,
    /// Highest utilisation, 0.1 %.
    pub utilisation_permille: u16,
    /// Thermal resistance to the surroundings, 0.05 K/W, rounded up; 0 = not known, 255 = 12.75 K/W
    /// or more.
    pub resistance_50mk_w: u8,
    /// Park level, where parking pays.
    pub park_level: Option<u8>,
    /// Levels, sorted by (GPU, memory, CPU) clock.
    pub levels: Vec<Level>,
    /// Application tables.
    pub tables: Vec<TableImage>,
}

/// One application table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableImage {
    /// Name of the network, at most 16 bytes of ASCII.
    pub name: String,
    /// Sub-networks, sorted by accuracy.
    pub sub_networks: Vec<SubNetwork>,
    /// Expectations, `cells[sub_network][level]`.
    pub cells: Vec<Vec<Cell>>,
}

impl PolicyImage {
    /// An image to try things with, number 1 of the board `test`: these levels and tables, settle
    /// times of 1, 5 and 8 ms, a utilisation of 90 %, no caps and no parking.
    #[must_use]
    pub fn sample(levels: Vec<Level>, tables: Vec<TableImage>) -> Self {
        Self {
            sequence: 1,
            board: "test".into(),
            runtime: "none".into(),
            precision_bits: 32,
            batch: 1,
            settle: Settle { cpu_us: 1_000, gpu_us: 5_000, emc_us: 8_000 },
            power_cap_mw: NO_POWER_CAP,
            temp_cap_mdeg_c: NO_TEMP_CAP,
            utilisation_permille: 900,
            resistance_50mk_w: 0,
            park_level: None,
            levels,
            tables,
        }
    }
}

impl TableImage {
    /// A table to try things with: a sub-network of each accuracy (0.01 %), numbered from 0 and
    /// without an early exit; `cell(sub_network, level)` at so many levels.
    #[must_use]
    pub fn sample(
        name: &str,
        accuracies_bp: &[u16],
        levels: u32,
        mut cell: impl FnMut(u32, u32) -> Cell,
    ) -> Self {
        let sub_network = |(id, accuracy_bp): (u32, &u16)| SubNetwork {
            id,
            model_hash: 0,
            accuracy_bp: *accuracy_bp,
            exit_threshold: u16::MAX,
        };
        let sub_networks: Vec<_> = (0..).zip(accuracies_bp).map(sub_network).collect();
        let cells = sub_networks
            .iter()
            .map(|sub| (0..levels).map(|level| cell(sub.id, level)).collect())
            .collect();
        Self { name: name.into(), sub_networks, cells }
    }
}

/// Why an image cannot be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildFault {
    /// A name is empty, not ASCII or too long.
    Name {
        /// The name.
        name: String,
        /// Most bytes there is place for.
        max: usize,
    },
    /// A table has not one row of cells a sub-network, each with one cell a level.
    Shape {
        /// Name of the table.
        table: String,
    },
    /// Two tables have the same name.
    Doubled {
        /// Name of the tables.
        table: String,
    },
    /// The image would not pass its own checks.
    Check(PolicyFault),
}

impl core::fmt::Display for BuildFault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Name { name, max } => {
                write!(f, "name \"{name}\": 1 to {max} ASCII characters go")
            }
            Self::Shape { table } => {
                write!(f, "table \"{table}\": one cell for every sub-network and level goes")
            }
            Self::Doubled { table } => write!(f, "table \"{table}\" is there twice"),
            Self::Check(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for BuildFault {}

fn padded(name: &str, max: usize) -> Result<Vec<u8>, BuildFault> {
    if name.is_empty() || name.len() > max || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(BuildFault::Name { name: name.into(), max });
    }
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(max, 0);
    Ok(bytes)
}

fn count(length: usize) -> u8 {
    u8::try_from(length).unwrap_or(u8::MAX)
}

impl PolicyImage {
    /// The bytes of the image, checked by [`PolicyView::open`].
    ///
    /// # Errors
    /// [`BuildFault`] names what cannot be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BuildFault> {
        let mut bytes = Vec::from(MAGIC);
        bytes.extend(FORMAT.to_le_bytes());
        bytes.extend(u16::try_from(HEADER).unwrap_or(0).to_le_bytes());
        bytes.extend([0; 8]);
        bytes.extend(self.sequence.to_le_bytes());
        bytes.extend(padded(&self.board, 16)?);
        bytes.extend(padded(&self.runtime, 8)?);
        bytes.extend([self.precision_bits, self.batch]);
        bytes.extend([count(self.levels.len()), count(self.tables.len())]);
        for time in [self.settle.cpu_us, self.settle.gpu_us, self.settle.emc_us] {
            bytes.extend(time.to_le_bytes());
        }
        bytes.extend(self.power_cap_mw.to_le_bytes());
        bytes.extend(self.temp_cap_mdeg_c.to_le_bytes());
        bytes.extend(self.utilisation_permille.to_le_bytes());
        bytes.extend([self.park_level.unwrap_or(NO_LEVEL), self.resistance_50mk_w]);
        for level in &self.levels {
            for value in [level.cpu_khz, level.gpu_khz, level.emc_khz, level.idle_mw] {
                bytes.extend(value.to_le_bytes());
            }
        }
        self.write_tables(&mut bytes)?;
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
        let crc = crc32c::of(bytes.get(super::CHECKED..).unwrap_or(&[])).to_le_bytes();
        for (place, value) in bytes.iter_mut().skip(8).zip(length.into_iter().chain(crc)) {
            *place = value;
        }
        PolicyView::open(&bytes).map_err(BuildFault::Check)?;
        Ok(bytes)
    }

    fn write_tables(&self, bytes: &mut Vec<u8>) -> Result<(), BuildFault> {
        let directory = HEADER
            .saturating_add(self.levels.len().saturating_mul(LEVEL))
            .saturating_add(self.tables.len().saturating_mul(TABLE));
        let mut body = Vec::new();
        for (index, table) in self.tables.iter().enumerate() {
            if self.tables.iter().take(index).any(|other| other.name == table.name) {
                return Err(BuildFault::Doubled { table: table.name.clone() });
            }
            let square = table.cells.len() == table.sub_networks.len()
                && table.cells.iter().all(|row| row.len() == self.levels.len());
            if !square {
                return Err(BuildFault::Shape { table: table.name.clone() });
            }
            bytes.extend(padded(&table.name, 16)?);
            let offset = u32::try_from(directory.saturating_add(body.len())).unwrap_or(u32::MAX);
            bytes.extend(offset.to_le_bytes());
            bytes.push(count(table.sub_networks.len()));
            bytes.extend([0; 11]);
            for row in &table.sub_networks {
                body.extend(row.id.to_le_bytes());
                body.extend(row.model_hash.to_le_bytes());
                body.extend(row.accuracy_bp.to_le_bytes());
                body.extend(row.exit_threshold.to_le_bytes());
            }
            for level in 0..self.levels.len() {
                for cell in table.cells.iter().filter_map(|row| row.get(level)) {
                    body.extend(cell.latency_us.to_le_bytes());
                    body.extend(cell.energy_uj.to_le_bytes());
                }
            }
        }
        bytes.extend(body);
        Ok(())
    }
}
