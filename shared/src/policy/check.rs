//! What an image whose CRC is right must still hold.
//!
//! The CRC shows damage, not nonsense: an image comes from a file or over the link, so everything
//! the controller relies on is checked here once. The layout is canonical: the parts follow one
//! another without gaps or overlaps, and what is reserved is zero, so that two images of equal
//! content are equal.

use super::view::{length_u32, part, u16_at, u32_at};
use super::{
    CELL, CHECKED, FORMAT, HEADER, LEVEL, MAGIC, MAX_SETTLE_US, MAX_VALUE, Named, PolicyFault,
    PolicyView, ROW, TABLE,
};
use crate::crc32c;
use crate::units::{MAX_APPLICATIONS, MAX_LEVELS, MAX_SUB_NETWORKS, NO_LEVEL};

/// Whether a name of an image is 1 or more graphic ASCII characters, then only zeros.
fn sound_name(name: &[u8]) -> bool {
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    let (used, padding) = name.split_at_checked(end).unwrap_or((&[], &[]));
    !used.is_empty()
        && used.iter().all(u8::is_ascii_graphic)
        && padding.iter().all(|byte| *byte == 0)
}

/// Bytes of an image that one step adds to the CRC.
const CRC_SLICE: usize = 256;

/// The check of an image in slices, so that whoever checks it need not stop what else it does.
///
/// One step reads at most 512 bytes: a piece for the CRC, the levels, the directory, or the cells of
/// one sub-network. [`PolicyView::open`] is the same check without a break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PolicyCheck {
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    #[default]
    Header,
    Crc {
        offset: usize,
        crc: crc32c::Running,
    },
    Device,
    Levels,
    Layout,
    Name {
        table: u8,
    },
    Cells {
        table: u8,
        sub_network: u8,
        /// Accuracy of the sub-network before it.
        before: u16,
    },
}

impl PolicyCheck {
    /// Does one slice of the check of `bytes`, the whole image and the same at each call; the view
    /// of it once everything was checked.
    ///
    /// # Errors
    /// [`PolicyFault`] names the first thing that is wrong. The check is over then.
    pub fn step<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<PolicyView<'a>>, PolicyFault> {
        let view = PolicyView::unchecked(bytes);
        self.stage = match self.stage {
            Stage::Header => {
                check_header(bytes)?;
                Stage::Crc { offset: CHECKED, crc: crc32c::Running::default() }
            }
            Stage::Crc { offset, mut crc } => {
                let rest = bytes.get(offset..).unwrap_or(&[]);
                let piece = rest.get(..CRC_SLICE).unwrap_or(rest);
                crc.add(piece);
                if piece.len() == rest.len() {
                    let (found, expected) = (crc.value(), view.crc());
                    if found != expected {
                        return Err(PolicyFault::Crc { found, expected });
                    }
                    Stage::Device
                } else {
                    Stage::Crc { offset: offset.saturating_add(CRC_SLICE), crc }
                }
            }
            Stage::Device => {
                view.check_counts()?;
                view.check_device()?;
                Stage::Levels
            }
            Stage::Levels => {
                view.check_levels()?;
                Stage::Layout
            }
            Stage::Layout => {
                view.check_layouts()?;
                Stage::Name { table: 0 }
            }
            Stage::Name { table } if table >= view.tables() => return Ok(Some(view)),
            Stage::Name { table } => {
                view.check_name(table)?;
                Stage::Cells { table, sub_network: 0, before: 0 }
            }
            Stage::Cells { table, sub_network, before } => {
                if sub_network >= view.table(table).map_or(0, |table| table.len()) {
                    Stage::Name { table: table.saturating_add(1) }
                } else {
                    let before = view.check_sub_network(table, sub_network, before)?;
                    Stage::Cells { table, sub_network: sub_network.saturating_add(1), before }
                }
            }
        };
        Ok(None)
    }
}

fn check_header(bytes: &[u8]) -> Result<(), PolicyFault> {
    let found = length_u32(bytes.len());
    let header = part(bytes, 0, HEADER)
        .ok_or(PolicyFault::Length { found, expected: length_u32(HEADER) })?;
    if !header.starts_with(&MAGIC) {
        return Err(PolicyFault::Magic);
    }
    let format = u16_at(header, 4).unwrap_or(0);
    let size = u16_at(header, 6).unwrap_or(0);
    if format != FORMAT || usize::from(size) != HEADER {
        return Err(PolicyFault::Format { found: format, header: size });
    }
    let expected = u32_at(header, 8).unwrap_or(0);
    if found != expected {
        return Err(PolicyFault::Length { found, expected });
    }
    Ok(())
}

impl PolicyView<'_> {
    fn check_counts(&self) -> Result<(), PolicyFault> {
        if !(1..=MAX_LEVELS).contains(&usize::from(self.levels())) {
            return Err(PolicyFault::LevelCount(self.levels()));
        }
        if !(1..=MAX_APPLICATIONS).contains(&usize::from(self.tables())) {
            return Err(PolicyFault::TableCount(self.tables()));
        }
        Ok(())
    }

    fn check_layouts(&self) -> Result<(), PolicyFault> {
        let mut end = usize::from(self.levels())
            .saturating_mul(LEVEL)
            .saturating_add(usize::from(self.tables()).saturating_mul(TABLE))
            .saturating_add(HEADER);
        for table in 0..self.tables() {
            end = self.check_layout(table, end)?;
        }
        if end != self.bytes.len() {
            return Err(PolicyFault::Length {
                found: length_u32(self.bytes.len()),
                expected: length_u32(end),
            });
        }
        Ok(())
    }

    fn check_device(&self) -> Result<(), PolicyFault> {
        if !part(self.bytes, 20, 16).is_some_and(sound_name) {
            return Err(PolicyFault::Name(Named::Board));
        }
        if !part(self.bytes, 36, 8).is_some_and(sound_name) {
            return Err(PolicyFault::Name(Named::Runtime));
        }
        if self.precision_bits() == 0 {
            return Err(PolicyFault::Precision);
        }
        if self.batch() == 0 {
            return Err(PolicyFault::Batch);
        }
        let settle = self.settle();
        for time in [settle.cpu_us, settle.gpu_us, settle.emc_us] {
            if time > MAX_SETTLE_US {
                return Err(PolicyFault::Settle(time));
            }
        }
        let utilisation = self.utilisation_permille();
        if !(1..=1000).contains(&utilisation) {
            return Err(PolicyFault::Utilisation(utilisation));
        }
        let park = self.bytes.get(70).copied().unwrap_or(NO_LEVEL);
        if park != NO_LEVEL && park >= self.levels() {
            return Err(PolicyFault::ParkLevel(park));
        }
        self.check_reserved(71, 1)
    }

    fn check_reserved(&self, offset: usize, length: usize) -> Result<(), PolicyFault> {
        let bytes = part(self.bytes, offset, length).unwrap_or(&[]);
        match bytes.iter().position(|byte| *byte != 0) {
            None => Ok(()),
            Some(place) => {
                Err(PolicyFault::Reserved { offset: length_u32(offset.saturating_add(place)) })
            }
        }
    }

    fn check_levels(&self) -> Result<(), PolicyFault> {
        let mut before = (0, 0, 0);
        for index in 0..self.levels() {
            let level = self.level(index).ok_or(PolicyFault::Length {
                found: length_u32(self.bytes.len()),
                expected: length_u32(
                    usize::from(self.levels()).saturating_mul(LEVEL).saturating_add(HEADER),
                ),
            })?;
            if level.order() <= before {
                return Err(PolicyFault::LevelOrder(index));
            }
            if level.idle_mw > MAX_VALUE {
                return Err(PolicyFault::IdlePower(index));
            }
            before = level.order();
        }
        Ok(())
    }

    /// Checks the directory entry of a table whose rows begin at `begin`; where its cells end.
    fn check_layout(&self, table: u8, begin: usize) -> Result<usize, PolicyFault> {
        let short = |expected: usize| PolicyFault::Length {
            found: length_u32(self.bytes.len()),
            expected: length_u32(expected),
        };
        let entry = self.directory(table).ok_or(short(begin))?;
        let found = entry.get(20).copied().unwrap_or(0);
        if !(1..=MAX_SUB_NETWORKS).contains(&usize::from(found)) {
            return Err(PolicyFault::SubNetworkCount { table, found });
        }
        let place = u32_at(entry, 16).unwrap_or(0);
        if place != length_u32(begin) {
            return Err(PolicyFault::Offset { table, found: place, expected: length_u32(begin) });
        }
        let directory = usize::from(self.levels())
            .saturating_mul(LEVEL)
            .saturating_add(usize::from(table).saturating_mul(TABLE))
            .saturating_add(HEADER);
        self.check_reserved(directory.saturating_add(21), 11)?;
        let row = usize::from(self.levels()).saturating_mul(CELL).saturating_add(ROW);
        let end = usize::from(found).saturating_mul(row).saturating_add(begin);
        if end > self.bytes.len() { Err(short(end)) } else { Ok(end) }
    }

    fn check_name(&self, index: u8) -> Result<(), PolicyFault> {
        // There, since the layout was checked before.
        let Some(table) = self.table(index) else {
            return Err(PolicyFault::SubNetworkCount { table: index, found: 0 });
        };
        if !sound_name(table.name) {
            return Err(PolicyFault::Name(Named::Table(index)));
        }
        if (0..index).any(|other| self.table(other).is_some_and(|other| other.name == table.name)) {
            return Err(PolicyFault::DoubledName { table: index });
        }
        Ok(())
    }

    /// Checks a row and its cells; its accuracy, for the check of the next one.
    fn check_sub_network(
        &self,
        index: u8,
        sub_network: u8,
        before: u16,
    ) -> Result<u16, PolicyFault> {
        let Some(table) = self.table(index) else {
            return Err(PolicyFault::SubNetworkCount { table: index, found: 0 });
        };
        let accuracy = table.sub_network(sub_network).map_or(0, |row| row.accuracy_bp);
        if accuracy < before || accuracy > 10_000 {
            return Err(PolicyFault::AccuracyOrder { table: index, sub_network });
        }
        for level in 0..self.levels() {
            let sound = table.cell(sub_network, level).is_some_and(|cell| {
                (1..=MAX_VALUE).contains(&cell.latency_us)
                    && (1..=MAX_VALUE).contains(&cell.energy_uj)
            });
            if !sound {
                return Err(PolicyFault::Cell { table: index, sub_network, level });
            }
        }
        Ok(accuracy)
    }
}
