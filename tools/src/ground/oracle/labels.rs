//! What a partial plan costs so far, and which of two partial plans at one level is not needed.

use std::cmp::Ordering;

/// Cost of a plan, in the order of importance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Energy over the power cap, mJ, in steps that hide rounding.
    pub over_cap: u32,
    /// Requests late.
    pub misses: u32,
    /// Accuracy under floors, 0.01 %, summed.
    pub shortfall: u32,
    /// Wishes of the objectives, summed: accuracy missing (0.01 %), or time (µs).
    pub wishes: u64,
    /// Energy, µJ.
    pub energy_uj: f64,
}

impl Cost {
    /// Nothing.
    pub const ZERO: Self = Self { over_cap: 0, misses: 0, shortfall: 0, wishes: 0, energy_uj: 0.0 };

    /// Everything before energy.
    fn promises(&self) -> (u32, u32, u32, u64) {
        (self.over_cap, self.misses, self.shortfall, self.wishes)
    }
}

impl PartialOrd for Cost {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let promises = self.promises().cmp(&other.promises());
        Some(promises.then(self.energy_uj.total_cmp(&other.energy_uj)))
    }
}

/// A partial plan: all requests up to some one, ending at a level.
#[derive(Debug, Clone, Copy)]
pub(super) struct Label {
    /// When the board is free, µs.
    pub(super) free_us: f64,
    pub(super) cost: Cost,
    /// Place of its last step in the arena.
    pub(super) step: u32,
}

/// Partial plans kept at one level: the best ones.
pub(super) const KEPT: usize = 5;

impl Label {
    /// Whether `other` at the same level can be forgotten: it is free no earlier, and is worse even
    /// if this one idles at the level until then.
    fn beats(&self, other: &Self, idle_w: f64) -> bool {
        if self.free_us > other.free_us {
            return false;
        }
        match self.cost.promises().cmp(&other.cost.promises()) {
            Ordering::Less => true,
            Ordering::Greater => false,
            Ordering::Equal => {
                let idle = idle_w * (other.free_us - self.free_us);
                self.cost.energy_uj + idle <= other.cost.energy_uj
            }
        }
    }
}

/// Adds a partial plan to those of a level.
pub(super) fn add(kept: &mut Vec<Label>, label: Label, idle_w: f64) -> bool {
    if kept.iter().any(|known| known.beats(&label, idle_w)) {
        return false;
    }
    kept.retain(|known| !label.beats(known, idle_w));
    kept.push(label);
    if kept.len() > KEPT {
        // The dearest of those that are not the earliest free goes.
        let earliest = (0..kept.len()).min_by(|a, b| kept[*a].free_us.total_cmp(&kept[*b].free_us));
        let dearest = (0..kept.len())
            .filter(|place| Some(*place) != earliest)
            .max_by(|a, b| kept[*a].cost.partial_cmp(&kept[*b].cost).unwrap_or(Ordering::Equal));
        if let Some(place) = dearest {
            kept.swap_remove(place);
        }
    }
    true
}
