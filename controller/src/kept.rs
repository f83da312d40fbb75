//! What a demand keeps of a level once it was worked out.

use core::cell::Cell as Kept;

use coshift_shared::policy::Column;

use crate::column::{Bounds, MAX, leanest, quickest, slowest};

/// What can be worked out again at any time, and is kept to save that: equal to any other, since
/// nothing that is found depends on what is kept, but for where a decision leaves the rest of a
/// round to the next one.
#[derive(Debug, Clone, Default)]
pub struct Memo<T: Copy>(Kept<T>);

impl<T: Copy> PartialEq for Memo<T> {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl<T: Copy> Eq for Memo<T> {}

impl<T: Copy> Memo<T> {
    /// Keeps `value`.
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self(Kept::new(value))
    }

    /// What is kept.
    #[must_use]
    pub fn get(&self) -> T {
        self.0.get()
    }

    /// Keeps `value` from now on.
    pub fn set(&self, value: T) {
        self.0.set(value);
    }
}

/// What would run at a level if nothing stood in its way, and the limits on latency that give the
/// same: those with the same cells on either side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pick {
    /// The sub-network, in the low half; what is known, in the high one.
    chosen: u8,
    /// The sub-network just over the limit, in the low half, and that just under it.
    edges: u8,
}

/// The sub-networks at the ends of a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ends {
    /// The fastest one, in the low half, and the fastest at the floor.
    pub fastest: u8,
    /// Of those that the application can come to, whatever it gives up, the one that takes least
    /// energy, in the low half, and the slowest.
    pub reach: u8,
}

impl Ends {
    /// Of a column with this floor, and with reach from `from` on.
    #[inline(never)]
    #[must_use]
    pub fn of(column: Column<'_>, floor: u8, from: u8) -> Self {
        let fastest = quickest(column, 0, Bounds::OPEN).unwrap_or(0);
        let at_floor = if fastest >= floor {
            fastest
        } else {
            quickest(column, floor, Bounds::OPEN).unwrap_or(0)
        };
        let leanest = leanest(column, from, Bounds::OPEN).unwrap_or(0);
        let slowest = slowest(column, from).unwrap_or(0);
        Self { fastest: at_floor << 4 | low(fastest), reach: slowest << 4 | low(leanest) }
    }
}

impl Pick {
    /// Nothing known.
    pub const UNKNOWN: Self = Self { chosen: 0, edges: 0 };
    const KNOWN: u8 = 16;
    /// Some sub-network is under the limit.
    const UNDER: u8 = 32;
    /// Some sub-network is over the limit.
    const OVER: u8 = 64;

    /// `sub_network` is what runs under this limit on latency, µs.
    #[must_use]
    pub fn around(column: Column<'_>, limit_us: u32, sub_network: u8) -> Self {
        let (mut under, mut from_us) = (None, 0);
        let (mut over, mut until_us) = (None, u32::MAX);
        let mut index = 0_u8;
        for cell in column.cells(0, MAX) {
            if cell.latency_us <= limit_us {
                if cell.latency_us >= from_us {
                    (under, from_us) = (Some(index), cell.latency_us);
                }
            } else if cell.latency_us <= until_us {
                (over, until_us) = (Some(index), cell.latency_us);
            }
            index = index.wrapping_add(1);
        }
        let mut chosen = Self::KNOWN | low(sub_network);
        if under.is_some() {
            chosen |= Self::UNDER;
        }
        if over.is_some() {
            chosen |= Self::OVER;
        }
        Self { chosen, edges: under.unwrap_or(0) << 4 | low(over.unwrap_or(0)) }
    }

    /// The sub-network, where it is the same under this limit.
    #[must_use]
    pub fn at(self, column: Column<'_>, limit_us: u32) -> Option<u8> {
        let within = |index| column.cell(index).is_some_and(|cell| cell.latency_us <= limit_us);
        let holds = self.chosen & Self::KNOWN != 0
            && (self.chosen & Self::UNDER == 0 || within(high(self.edges)))
            && (self.chosen & Self::OVER == 0 || !within(low(self.edges)));
        holds.then_some(low(self.chosen))
    }
}

/// The low half of a byte.
#[must_use]
pub fn low(nibbles: u8) -> u8 {
    nibbles & 15
}

/// The high half of a byte.
#[must_use]
pub fn high(nibbles: u8) -> u8 {
    nibbles >> 4
}
