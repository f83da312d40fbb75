//! Boards and what is asked of them, weighed in floating point by the laws of `docs/control.md`, with
//! none of the controller's code. Parking is off, and nothing was measured.

use coshift_shared::policy::{Cell, Level, TableImage};
use coshift_shared::to_controller::{Objective, Targets};
use coshift_shared::to_host::Decision;

/// Highest utilisation of the policies.
pub const MOST_BUSY: f64 = 0.9;
/// Window over which the cap on power is kept, µs, and the part of it kept for single requests.
pub const WINDOW_US: f64 = 100_000.0;
pub const SPARE: f64 = 1.0 / 256.0;

/// splitmix64.
pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn between(&mut self, from: f64, until: f64) -> f64 {
        from + (until - from) * (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// From `from` up to and with `to`.
    pub fn count(&mut self, from: usize, to: usize) -> usize {
        from + (self.bits() % (to - from + 1) as u64) as usize
    }

    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.count(0, all.len() - 1)]
    }
}

/// A board and what is asked of it.
#[derive(Debug, Clone)]
pub struct Case {
    pub idle_mw: Vec<u32>,
    /// Sub-networks of each application: accuracy, and a cell for each level.
    pub tables: Vec<Vec<(u16, Vec<Cell>)>>,
    pub asked: Vec<Targets>,
    pub cap_mw: u32,
}

/// A level and a sub-network for each application.
pub type Set = (usize, Vec<usize>);

/// The guard of a controller that has measured nothing.
pub fn guard(targets: &Targets) -> f64 {
    let aim = 0.7 * f64::from(targets.miss_target_bp) / 1e4;
    1.0 + 0.02 + 0.02 * (3.0 * ((1.0 / 16.0 / aim).powf(0.25) - 1.0)).max(0.0)
}

impl Case {
    pub fn policy(&self) -> Vec<u8> {
        let level = |(place, idle_mw): (u32, &u32)| Level {
            cpu_khz: 1,
            gpu_khz: 1 + place,
            emc_khz: 1,
            idle_mw: *idle_mw,
        };
        let levels = (0..).zip(&self.idle_mw).map(level).collect();
        let tables = self.tables.iter().enumerate().map(|(place, rows)| {
            let accuracies: Vec<u16> = rows.iter().map(|row| row.0).collect();
            let levels = self.idle_mw.len() as u32;
            TableImage::sample(&format!("net{place}"), &accuracies, levels, |sub, level| {
                rows[sub as usize].1[level as usize]
            })
        });
        super::image(levels, tables.collect(), None).to_bytes().unwrap()
    }

    /// Every level with every set of sub-networks.
    pub fn sets(&self) -> impl Iterator<Item = Set> + '_ {
        let sizes: Vec<usize> = self.tables.iter().map(Vec::len).collect();
        let count: usize = sizes.iter().product();
        (0..self.idle_mw.len()).flat_map(move |level| {
            let sizes = sizes.clone();
            (0..count).map(move |mut number| {
                let digit = |size: &usize| {
                    let digit = number % size;
                    number /= size;
                    digit
                };
                (level, sizes.iter().map(digit).collect())
            })
        })
    }

    /// Latency, µs, and energy, µJ, of an application's sub-network in a set.
    pub fn cell(&self, slot: usize, (level, set): &Set) -> (f64, f64) {
        let cell = self.tables[slot][set[slot]].1[*level];
        (f64::from(cell.latency_us), f64::from(cell.energy_uj))
    }

    /// Those of all applications, with what is asked of them.
    pub fn loads<'s>(&'s self, set: &'s Set) -> impl Iterator<Item = ((f64, f64), &'s Targets)> {
        self.asked.iter().enumerate().map(|(slot, asked)| (self.cell(slot, set), asked))
    }

    /// Mean power of a set, mW, and that of the worst window with what is kept for single requests: what
    /// caps are held against. A board that is asked for more than it can do is always busy.
    pub fn powers_mw(&self, set: &Set) -> (f64, f64) {
        let idle_mw = f64::from(self.idle_mw[set.0]);
        let (mut mean_mw, mut peak_mw, mut mean_busy, mut peak_busy) = (0.0, 0.0, 0.0, 0.0);
        for ((latency, energy), asked) in self.loads(set) {
            let period = f64::from(asked.period_us);
            let whole = (WINDOW_US / period).floor();
            let part = ((WINDOW_US - whole * period) / latency).min(1.0);
            let crest = (period / WINDOW_US * (whole + part)).max(1.0);
            mean_mw += energy / period * 1000.0;
            mean_busy += latency / period;
            peak_mw += energy / period * 1000.0 * crest;
            peak_busy += latency / period * crest;
        }
        let drawn_mw = |work_mw: f64, busy: f64| idle_mw + work_mw / busy.max(1.0);
        (drawn_mw(mean_mw, mean_busy), drawn_mw(peak_mw, peak_busy) / (1.0 - SPARE))
    }

    /// Power that a set needs of a cap, mW.
    pub fn drawn_mw(&self, set: &Set) -> f64 {
        let (mean_mw, peak_mw) = self.powers_mw(set);
        mean_mw.max(peak_mw)
    }

    /// Whether an application's own promises are kept, each widened by the share `wider`.
    pub fn serves(&self, slot: usize, set: &Set, wider: f64) -> bool {
        let asked = &self.asked[slot];
        let (latency, energy) = self.cell(slot, set);
        let (within, budget) = (1.0 + wider, f64::from(asked.energy_budget_uj));
        self.tables[slot][set.1[slot]].0 >= asked.accuracy_floor_bp
            && latency * guard(asked) <= f64::from(asked.deadline_us) * within
            && latency / f64::from(asked.period_us) <= MOST_BUSY * within
            && (budget == 0.0
                || asked.objective == Objective::LeastEnergy
                || energy <= budget * within)
    }

    /// By how much requests of an application may miss their deadline, µs; negative where they have
    /// time to spare.
    pub fn over_us(&self, slot: usize, set: &Set) -> f64 {
        let deadline = f64::from(self.asked[slot].deadline_us);
        let (mut queued, mut blocking) = (0.0, 0.0);
        for ((latency, _), other) in self.loads(set) {
            let needed = latency * guard(other);
            let earlier = deadline - f64::from(other.deadline_us);
            if earlier < 0.0 {
                blocking = f64::max(blocking, needed);
            } else {
                queued += needed * (1.0 + earlier / f64::from(other.period_us));
            }
        }
        queued + blocking - deadline
    }

    /// What a decision has run.
    pub fn set(&self, decision: &Decision) -> Set {
        let subs = decision.sub_networks[..self.asked.len()].iter().map(|sub| (*sub).into());
        (decision.run_level.into(), subs.collect())
    }
}
