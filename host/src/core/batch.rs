//! Batching of outcomes: samples of one application, up to twelve of one cell a frame.

use coshift_shared::time::Instant;
use coshift_shared::to_controller::{MAX_SAMPLES, Outcomes, Targets};

/// One application slot as the agent keeps it: targets, running index, totals, samples not sent.
#[derive(Debug)]
pub struct Slot {
    /// Targets sent last.
    pub targets: Targets,
    /// Running index of the next sample.
    next_index: u32,
    /// Outcomes, wrapping.
    outcomes: u32,
    /// Missed deadlines, wrapping.
    misses: u32,
    /// Cell of the samples below: sub-network and level.
    cell: (u8, u8),
    samples: Vec<[u8; 2]>,
}

impl Slot {
    /// A slot without outcomes.
    #[must_use]
    pub fn new(targets: Targets) -> Self {
        Self {
            targets,
            next_index: 0,
            outcomes: 0,
            misses: 0,
            cell: (0, 0),
            samples: Vec::with_capacity(MAX_SAMPLES),
        }
    }

    /// Takes in one sample of the cell (sub-network, level); returns the frames that are full, or
    /// whose cell is over.
    pub fn push(
        &mut self,
        slot: u8,
        cell: (u8, u8),
        sample: [u8; 2],
        missed: bool,
        now: Instant,
    ) -> Vec<Outcomes> {
        let mut full = Vec::new();
        if self.cell != cell {
            full.extend(self.flush(slot, now));
            self.cell = cell;
        }
        self.samples.push(sample);
        self.outcomes = self.outcomes.wrapping_add(1);
        self.misses = self.misses.wrapping_add(u32::from(missed));
        if self.samples.len() == MAX_SAMPLES {
            full.extend(self.flush(slot, now));
        }
        full
    }

    /// The message of the samples that wait; `None` where none do.
    pub fn flush(&mut self, slot: u8, now: Instant) -> Option<Outcomes> {
        if self.samples.is_empty() {
            return None;
        }
        let mut message = Outcomes {
            at_us: now.us(),
            slot,
            sub_network: self.cell.0,
            level: self.cell.1,
            first_index: self.next_index,
            samples: Default::default(),
            outcomes_total: self.outcomes,
            misses_total: self.misses,
        };
        for sample in self.samples.drain(..) {
            // Never more than fit: `push` flushes at the limit.
            let _full = message.samples.push(sample);
            self.next_index = self.next_index.wrapping_add(1);
        }
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use coshift_shared::time::Instant;
    use coshift_shared::to_controller::{Degrade, Objective, Targets};

    use super::Slot;

    fn slot() -> Slot {
        Slot::new(Targets {
            table: 0,
            objective: Objective::LeastEnergy,
            deadline_us: 1000,
            period_us: 1000,
            accuracy_floor_bp: 0,
            miss_target_bp: 100,
            priority: 0,
            degrade: Degrade::Accuracy,
            energy_budget_uj: 0,
        })
    }

    #[test]
    fn frames_hold_one_cell_and_at_most_twelve_samples() {
        let now = Instant::START;
        let mut slot = slot();
        let mut frames = Vec::new();
        for n in 0..30_u8 {
            let cell = if n < 15 { (1, 2) } else { (1, 3) };
            frames.extend(slot.push(2, cell, [n, 1], n == 20, now));
        }
        frames.extend(slot.flush(2, now));
        assert_eq!(slot.flush(2, now), None);
        let shape: Vec<_> =
            frames.iter().map(|f| (f.first_index, f.samples.len(), f.level)).collect();
        assert_eq!(shape, [(0, 12, 2), (12, 3, 2), (15, 12, 3), (27, 3, 3)]);
        let samples: Vec<u8> = frames.iter().flat_map(|f| f.samples.iter().map(|s| s[0])).collect();
        assert_eq!(samples, (0..30).collect::<Vec<_>>());
        let totals: Vec<_> = frames.iter().map(|f| (f.outcomes_total, f.misses_total)).collect();
        assert_eq!(totals, [(12, 0), (15, 0), (27, 1), (30, 1)]);
    }
}
