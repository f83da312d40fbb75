//! Reading a policy image in place.
//!
//! [`PolicyView::open`] checks everything once: sizes, CRC, order, ranges. Look-ups afterwards are
//! total: an index out of range gives `None`, never a panic.

use super::{
    CELL, Cell, HEADER, LEVEL, Level, PolicyCheck, PolicyFault, ROW, Settle, SubNetwork, TABLE,
};
use crate::units::NO_LEVEL;

/// A checked policy image.
#[derive(Debug, Clone, Copy)]
pub struct PolicyView<'a> {
    pub(super) bytes: &'a [u8],
    levels: u8,
    tables: u8,
}

/// One application table of a checked image.
#[derive(Debug, Clone, Copy)]
pub struct TableView<'a> {
    pub(super) name: &'a [u8],
    rows: &'a [u8],
    cells: &'a [u8],
    sub_networks: u8,
}

pub(super) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes.get(offset..)?.first_chunk().map(|b| u16::from_le_bytes(*b))
}

pub(super) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|b| u32::from_le_bytes(*b))
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    bytes.get(offset..)?.first_chunk().map(|b| u64::from_le_bytes(*b))
}

pub(super) fn part(bytes: &[u8], offset: usize, length: usize) -> Option<&[u8]> {
    bytes.get(offset..offset.checked_add(length)?)
}

fn text(bytes: &[u8]) -> &str {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    core::str::from_utf8(bytes.get(..end).unwrap_or(&[])).unwrap_or("")
}

pub(super) fn length_u32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl<'a> PolicyView<'a> {
    /// Checks an image and opens it.
    ///
    /// # Errors
    /// [`PolicyFault`] names the first thing that is wrong.
    pub fn open(bytes: &'a [u8]) -> Result<Self, PolicyFault> {
        let mut check = PolicyCheck::default();
        loop {
            if let Some(view) = check.step(bytes)? {
                return Ok(view);
            }
        }
    }

    /// A view of bytes whose header passed.
    pub(super) fn unchecked(bytes: &'a [u8]) -> Self {
        let count = |place: usize| bytes.get(place).copied().unwrap_or(0);
        Self { bytes, levels: count(46), tables: count(47) }
    }

    /// The bytes of the image.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// CRC-32C of the image: its identity in Hello and Welcome.
    #[must_use]
    pub fn crc(&self) -> u32 {
        u32_at(self.bytes, 12).unwrap_or(0)
    }

    /// Sequence number of the image.
    #[must_use]
    pub fn sequence(&self) -> u32 {
        u32_at(self.bytes, 16).unwrap_or(0)
    }

    /// Name of the board.
    #[must_use]
    pub fn board(&self) -> &'a str {
        text(part(self.bytes, 20, 16).unwrap_or(&[]))
    }

    /// Runtime the latencies hold for.
    #[must_use]
    pub fn runtime(&self) -> &'a str {
        text(part(self.bytes, 36, 8).unwrap_or(&[]))
    }

    /// Precision of the networks' arithmetic, bits.
    #[must_use]
    pub fn precision_bits(&self) -> u8 {
        self.bytes.get(44).copied().unwrap_or(0)
    }

    /// Inputs of one inference.
    #[must_use]
    pub fn batch(&self) -> u8 {
        self.bytes.get(45).copied().unwrap_or(0)
    }

    /// Number of levels.
    #[must_use]
    pub fn levels(&self) -> u8 {
        self.levels
    }

    /// Number of application tables.
    #[must_use]
    pub fn tables(&self) -> u8 {
        self.tables
    }

    /// Settle times.
    #[must_use]
    pub fn settle(&self) -> Settle {
        let at = |offset| u32_at(self.bytes, offset).unwrap_or(0);
        Settle { cpu_us: at(48), gpu_us: at(52), emc_us: at(56) }
    }

    /// Power cap of the board, mW; [`crate::units::NO_POWER_CAP`] = none.
    #[must_use]
    pub fn power_cap_mw(&self) -> u32 {
        u32_at(self.bytes, 60).unwrap_or(0)
    }

    /// Temperature cap, m°C; [`crate::units::NO_TEMP_CAP`] = none.
    #[must_use]
    pub fn temp_cap_mdeg_c(&self) -> i32 {
        self.bytes.get(64..).and_then(|b| b.first_chunk()).map_or(0, |b| i32::from_le_bytes(*b))
    }

    /// Highest share of the board's time that requests may take, 0.1 %.
    #[must_use]
    pub fn utilisation_permille(&self) -> u16 {
        u16_at(self.bytes, 68).unwrap_or(0)
    }

    /// Thermal resistance to the surroundings, 0.05 K/W, rounded up; 0 = not known, 255 = 12.75 K/W
    /// or more.
    #[must_use]
    pub fn resistance_50mk_w(&self) -> u8 {
        self.bytes.get(71).copied().unwrap_or(0)
    }

    /// The park level, where parking pays on this board.
    #[must_use]
    pub fn park_level(&self) -> Option<u8> {
        self.bytes.get(70).copied().filter(|level| *level != NO_LEVEL)
    }

    /// A level.
    #[must_use]
    pub fn level(&self, index: u8) -> Option<Level> {
        if index >= self.levels {
            return None;
        }
        let offset = HEADER.checked_add(usize::from(index).checked_mul(LEVEL)?)?;
        let bytes = part(self.bytes, offset, LEVEL)?;
        Some(Level {
            cpu_khz: u32_at(bytes, 0)?,
            gpu_khz: u32_at(bytes, 4)?,
            emc_khz: u32_at(bytes, 8)?,
            idle_mw: u32_at(bytes, 12)?,
        })
    }

    pub(super) fn directory(&self, index: u8) -> Option<&'a [u8]> {
        if index >= self.tables {
            return None;
        }
        let levels = usize::from(self.levels).checked_mul(LEVEL)?;
        let before = usize::from(index).checked_mul(TABLE)?;
        part(self.bytes, HEADER.checked_add(levels)?.checked_add(before)?, TABLE)
    }

    /// An application table.
    #[must_use]
    pub fn table(&self, index: u8) -> Option<TableView<'a>> {
        let entry = self.directory(index)?;
        let offset = usize::try_from(u32_at(entry, 16)?).ok()?;
        let sub_networks = entry.get(20).copied()?;
        let rows = usize::from(sub_networks).checked_mul(ROW)?;
        let count = usize::from(sub_networks).checked_mul(usize::from(self.levels))?;
        Some(TableView {
            name: part(entry, 0, 16)?,
            rows: part(self.bytes, offset, rows)?,
            cells: part(self.bytes, offset.checked_add(rows)?, count.checked_mul(CELL)?)?,
            sub_networks,
        })
    }

    /// The table of this name, with its index.
    #[must_use]
    pub fn table_named(&self, name: &str) -> Option<(u8, TableView<'a>)> {
        (0..self.tables)
            .filter_map(|index| Some((index, self.table(index)?)))
            .find(|(_, table)| table.name() == name)
    }
}

impl<'a> TableView<'a> {
    /// Name of the network.
    #[must_use]
    pub fn name(&self) -> &'a str {
        text(self.name)
    }

    /// Number of sub-networks.
    #[must_use]
    pub fn len(&self) -> u8 {
        self.sub_networks
    }

    /// Whether there is no sub-network; never, in a checked image.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sub_networks == 0
    }

    /// A sub-network.
    #[must_use]
    pub fn sub_network(&self, index: u8) -> Option<SubNetwork> {
        let bytes = part(self.rows, usize::from(index).checked_mul(ROW)?, ROW)?;
        Some(SubNetwork {
            id: u32_at(bytes, 0)?,
            model_hash: u64_at(bytes, 4)?,
            accuracy_bp: u16_at(bytes, 12)?,
            exit_threshold: u16_at(bytes, 14)?,
        })
    }

    /// Expectation for a sub-network at a level.
    #[must_use]
    pub fn cell(&self, sub_network: u8, level: u8) -> Option<Cell> {
        if sub_network >= self.sub_networks {
            return None;
        }
        let place = usize::from(level)
            .checked_mul(usize::from(self.sub_networks))?
            .checked_add(usize::from(sub_network))?;
        let bytes = part(self.cells, place.checked_mul(CELL)?, CELL)?;
        Some(Cell { latency_us: u32_at(bytes, 0)?, energy_uj: u32_at(bytes, 4)? })
    }
}

impl<'a> TableView<'a> {
    /// Expectations of every sub-network at a level, in order; none where the level is out of
    /// range. Made for scanning: it checks the place of the column once.
    #[must_use]
    pub fn column(&self, level: u8) -> Column<'a> {
        let length = usize::from(self.sub_networks).saturating_mul(CELL);
        let offset = usize::from(level).saturating_mul(length);
        let (cells, _) = part(self.cells, offset, length).unwrap_or(&[]).as_chunks();
        Column { cells }
    }
}

/// One level of a table.
#[derive(Debug, Clone, Copy)]
pub struct Column<'a> {
    cells: &'a [[u8; CELL]],
}

impl Column<'_> {
    /// The cells of the sub-networks from `from` on and before `until`, in their order; none
    /// where there is none such.
    pub fn cells(
        &self,
        from: u8,
        until: u8,
    ) -> impl DoubleEndedIterator<Item = Cell> + ExactSizeIterator + use<'_> {
        let until = usize::from(until).min(self.cells.len());
        self.cells.get(usize::from(from)..until).unwrap_or(&[]).iter().map(cell)
    }

    /// Number of sub-networks.
    #[must_use]
    pub fn len(&self) -> u8 {
        u8::try_from(self.cells.len()).unwrap_or(u8::MAX)
    }

    /// Whether there is no sub-network.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// The cell of one sub-network.
    #[must_use]
    pub fn cell(&self, sub_network: u8) -> Option<Cell> {
        self.cells.get(usize::from(sub_network)).map(cell)
    }
}

fn cell(bytes: &[u8; CELL]) -> Cell {
    let [a, b, c, d, e, f, g, h] = *bytes;
    Cell {
        latency_us: u32::from_le_bytes([a, b, c, d]),
        energy_uj: u32::from_le_bytes([e, f, g, h]),
    }
}
