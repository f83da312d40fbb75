//! Searches over the sub-networks of one level.

use coshift_shared::policy::{Cell, Column, TableView};

use crate::allowance::Allowance;

/// More than any index of a sub-network.
pub const MAX: u8 = u8::MAX;

/// What a search must keep.
#[derive(Debug, Clone, Copy)]
pub struct Bounds<'b> {
    /// Largest policy latency, µs.
    pub latency_us: u32,
    /// Largest policy energy, µJ.
    pub energy_uj: u32,
    /// What the caps on power leave, where they are in the way.
    pub allowance: Option<&'b Allowance<'b>>,
}

impl Bounds<'_> {
    /// Nothing but the application's own promises.
    pub const OPEN: Self = Self { latency_us: u32::MAX, energy_uj: u32::MAX, allowance: None };

    /// The same without the bound on latency.
    #[must_use]
    pub fn any_time(self) -> Self {
        Self { latency_us: u32::MAX, ..self }
    }

    /// Whether the caps are kept with this sub-network, whose cell it is.
    fn allow(&self, index: u8, cell: &Cell) -> bool {
        self.allowance.is_none_or(|allowance| allowance.keeps(index, cell))
    }
}

/// The first sub-network of this accuracy (0.01 %); as many as there are where none has it.
#[must_use]
pub fn first_at(table: &TableView<'_>, accuracy_bp: u16) -> u8 {
    (0..table.len())
        .find(|row| table.sub_network(*row).is_some_and(|row| row.accuracy_bp >= accuracy_bp))
        .unwrap_or(table.len())
}

/// The sub-network from `from` on within `bounds` that takes least energy; the first among equals.
#[must_use]
pub fn leanest(column: Column<'_>, from: u8, bounds: Bounds<'_>) -> Option<u8> {
    // No search returns a cell of the largest value: it stands for none.
    let mut under = bounds.energy_uj.saturating_add(1);
    let mut cells = column.cells(from, MAX);
    let mut found = None;
    // Looking for one better cell after another takes half as long as comparing each in full.
    while let Some(cell) =
        cells.find(|cell| cell.energy_uj < under && cell.latency_us <= bounds.latency_us)
    {
        let index = index_before(column, cells.len());
        if bounds.allow(index, &cell) {
            (under, found) = (cell.energy_uj, Some(index));
        }
    }
    found
}

/// The fastest sub-network from `from` on within `bounds`; the first among equals.
#[must_use]
pub fn quickest(column: Column<'_>, from: u8, bounds: Bounds<'_>) -> Option<u8> {
    let mut under = bounds.latency_us.saturating_add(1);
    let mut cells = column.cells(from, MAX);
    let mut found = None;
    while let Some(cell) =
        cells.find(|cell| cell.latency_us < under && cell.energy_uj <= bounds.energy_uj)
    {
        let index = index_before(column, cells.len());
        if bounds.allow(index, &cell) {
            (under, found) = (cell.latency_us, Some(index));
        }
    }
    found
}

/// The slowest sub-network from `from` on.
#[must_use]
pub fn slowest(column: Column<'_>, from: u8) -> Option<u8> {
    let mut over = 0;
    let mut cells = column.cells(from, MAX);
    let mut found = None;
    while let Some(cell) = cells.find(|cell| cell.latency_us > over) {
        over = cell.latency_us;
        found = Some(index_before(column, cells.len()));
    }
    found
}

/// The sub-network before the last `rest` ones.
fn index_before(column: Column<'_>, rest: usize) -> u8 {
    let rest = u8::try_from(rest).unwrap_or(u8::MAX);
    column.len().wrapping_sub(rest).wrapping_sub(1)
}

/// The last sub-network from `from` on and before `until` within `bounds`.
#[inline]
#[must_use]
pub fn last(column: Column<'_>, from: u8, until: u8, bounds: Bounds<'_>) -> Option<u8> {
    let mut index = until.min(column.len());
    for cell in column.cells(from, until).rev() {
        index = index.wrapping_sub(1);
        let within = cell.latency_us <= bounds.latency_us && cell.energy_uj <= bounds.energy_uj;
        if within && bounds.allow(index, &cell) {
            return Some(index);
        }
    }
    None
}
