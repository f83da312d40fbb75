//! One application: targets, what was learned, and its sub-network at a given level.

use coshift_shared::policy::{Cell, PolicyView, TableView};
use coshift_shared::to_controller::{ApplicationState, Degrade, Outcomes, TailState, Targets};
use coshift_shared::units::{MAX_SUB_NETWORKS, NO_LEVEL, NO_SUB_NETWORK, slowdown};

use crate::estimator::{Learned, Slowdown, Tail};

/// Scale of [`Demand::weight_q20`].
const WEIGHT_SHIFT: u32 = 20;

/// State of one application slot in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Application {
    /// What it asks for.
    pub targets: Targets,
    /// What was learned of its slowdown.
    pub slowdown: Slowdown,
    /// Constants of the guard at the miss target.
    tail: Tail,
    /// Index of the next outcome expected.
    pub next_index: u32,
    /// Outcomes of the session, wrapping.
    pub outcomes: u32,
    /// Missed deadlines of the session, wrapping.
    pub misses: u32,
    /// Sub-network decided last.
    pub sub_network: u8,
}

/// What taking in one [`Outcomes`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    /// Samples learned from.
    pub learned: u32,
    /// Samples lost before this message.
    pub lost: u32,
}

impl Application {
    /// A new application that has learned nothing.
    #[must_use]
    pub fn new(targets: Targets) -> Self {
        Self {
            targets,
            slowdown: Slowdown::default(),
            tail: Tail::at(targets.miss_target_bp),
            next_index: 0,
            outcomes: 0,
            misses: 0,
            sub_network: NO_SUB_NETWORK,
        }
    }

    /// Takes other targets for the same table. What was learned stays; what is tied to the miss
    /// target is begun afresh where that changes.
    pub fn retarget(&mut self, targets: Targets) {
        if self.targets.miss_target_bp != targets.miss_target_bp {
            self.slowdown.retarget();
            self.tail = Tail::at(targets.miss_target_bp);
        }
        self.targets = targets;
    }

    /// Slowdown that decisions count on, Q8.24.
    #[must_use]
    pub fn guard_q24(&self) -> u32 {
        self.slowdown.guard_q24(&self.tail)
    }

    /// Learns from outcomes. Samples taken in before are passed over by their index, so that a
    /// message received twice changes nothing.
    pub fn take_in(&mut self, message: &Outcomes) -> Taken {
        let mut taken = Taken::default();
        let known = self.next_index.wrapping_sub(message.first_index);
        // More than half the range "known" is in truth a gap ahead.
        let known = if known > u32::MAX / 2 {
            taken.lost = message.first_index.wrapping_sub(self.next_index);
            0
        } else {
            known
        };
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        let count = u32::try_from(message.samples.len()).unwrap_or(0);
        if known >= message.samples.len() {
            return taken;
        }
        for sample in message.samples.iter().skip(known) {
            // A sample at a level outside the list says nothing about any cell.
            let valid = slowdown::from_wire(*sample).filter(|_| message.level != NO_LEVEL);
            if let Some(value) = valid {
                self.slowdown.observe(value, &self.tail);
                taken.learned = taken.learned.saturating_add(1);
            }
        }
        self.next_index = message.first_index.wrapping_add(count);
        self.outcomes = message.outcomes_total;
        self.misses = message.misses_total;
        taken
    }

    /// The state for a seed.
    #[must_use]
    pub fn state(&self, slot: u8) -> ApplicationState {
        let learned = self.slowdown.learned();
        ApplicationState {
            slot,
            mean_q24: learned.mean_q24,
            deviation_q24: learned.deviation_q24,
            beyond: learned.beyond,
            fast: learned.fast,
            next_index: self.next_index,
            outcomes: self.outcomes,
            misses: self.misses,
            sub_network: self.sub_network,
        }
    }

    /// The tail's state for a seed.
    #[must_use]
    pub fn tail_state(&self, slot: u8) -> TailState {
        let learned = self.slowdown.learned();
        TailState {
            slot,
            threshold_q24: learned.threshold_q24,
            excess_q24: learned.excess_q24,
            correction_q24: learned.correction_q24,
            boost_q24: learned.boost_q24,
            quiet: learned.quiet,
        }
    }

    /// Loads the state of a seed; the targets stay.
    pub fn load(&mut self, state: &ApplicationState) {
        self.slowdown = Slowdown::restore(&Learned {
            mean_q24: state.mean_q24,
            deviation_q24: state.deviation_q24,
            beyond: state.beyond,
            fast: state.fast,
            ..self.slowdown.learned()
        });
        self.next_index = state.next_index;
        self.outcomes = state.outcomes;
        self.misses = state.misses;
        self.sub_network = state.sub_network;
    }

    /// Loads the tail's state of a seed.
    pub fn load_tail(&mut self, state: &TailState) {
        self.slowdown = Slowdown::restore(&Learned {
            threshold_q24: state.threshold_q24,
            excess_q24: state.excess_q24,
            correction_q24: state.correction_q24,
            boost_q24: state.boost_q24,
            quiet: state.quiet,
            ..self.slowdown.learned()
        });
    }

    /// What the application demands of the board as things stand, with its deadline's guard
    /// raised by `hysteresis_permille`.
    #[must_use]
    pub fn demand<'p>(
        &self,
        policy: &PolicyView<'p>,
        hysteresis_permille: u32,
    ) -> Option<Demand<'p>> {
        let table = policy.table(self.targets.table)?;
        let guard = u64::from(self.guard_q24());
        let raise = guard.saturating_mul(u64::from(hysteresis_permille)).checked_div(1000)?;
        let per_us = (1000_u64 << WEIGHT_SHIFT).checked_div(u64::from(self.targets.period_us))?;
        let weight = per_us.saturating_mul(u64::from(self.slowdown.mean_q24())) >> 24;
        Some(Demand {
            targets: self.targets,
            table,
            guard_q24: u32::try_from(guard.saturating_add(raise)).unwrap_or(u32::MAX),
            weight_q20: u32::try_from(weight).unwrap_or(u32::MAX),
        })
    }
}

/// An application's demand, with everything that does not depend on the level worked out once.
#[derive(Debug, Clone, Copy)]
pub struct Demand<'p> {
    targets: Targets,
    table: TableView<'p>,
    guard_q24: u32,
    /// 1000 ÷ period (µs) × mean slowdown, Q.20: times a latency in µs it gives utilisation in
    /// 0.1 %, times an energy in µJ it gives mean power in mW.
    weight_q20: u32,
}

/// A sub-network chosen for one application at one level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pick {
    /// Its index.
    pub sub_network: u8,
    /// Guarded latency, µs, without blocking by others.
    pub guarded_us: u32,
    /// Time over the deadline, blocking included, µs.
    pub late_us: u32,
    /// Accuracy under the floor, 0.01 %.
    pub short_bp: u16,
    /// Share of the board's time, 0.1 %.
    pub utilisation_permille: u32,
    /// Mean power beyond idle, mW.
    pub power_mw: u32,
    /// Energy of a request, µJ: what sub-networks are ranked by.
    energy_uj: u32,
}

impl Pick {
    /// Whether it keeps deadline and floor.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.late_us == 0 && self.short_bp == 0
    }
}

/// Which sub-networks [`Demand::pick`] may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// The least energy that keeps deadline and floor; where there is none, what the application
    /// declared to give up first.
    Promised,
    /// The least energy that keeps the deadline, whatever the accuracy: for applications that
    /// give up accuracy when the board is over its power cap.
    Frugal,
}

impl Demand<'_> {
    /// Which promise goes first.
    #[must_use]
    pub fn degrade(&self) -> Degrade {
        self.targets.degrade
    }

    /// Relative deadline, µs.
    #[must_use]
    pub fn deadline_us(&self) -> u32 {
        self.targets.deadline_us
    }

    /// Priority of the application.
    #[must_use]
    pub fn priority(&self) -> u8 {
        self.targets.priority
    }

    /// Accuracy that even the best sub-network lacks, 0.01 %; 0 where the floor can be kept.
    #[must_use]
    pub fn accuracy_missing_bp(&self) -> u16 {
        let best = self.table.len().checked_sub(1).and_then(|last| self.table.sub_network(last));
        self.targets.accuracy_floor_bp.saturating_sub(best.map_or(0, |row| row.accuracy_bp))
    }

    /// Time that the fastest sub-network at the floor lacks at `level`, µs; 0 where the deadline
    /// can be kept.
    #[must_use]
    pub fn time_missing_us(&self, level: u8) -> u32 {
        (0..self.table.len())
            .filter_map(|index| self.consider(index, level, 0))
            .filter(|pick| pick.short_bp == 0)
            .map(|pick| pick.late_us)
            .min()
            .unwrap_or(u32::MAX)
    }

    fn consider(&self, sub_network: u8, level: u8, blocking_us: u32) -> Option<Pick> {
        let Cell { latency_us, energy_uj } = self.table.cell(sub_network, level)?;
        let accuracy_bp = self.table.sub_network(sub_network)?.accuracy_bp;
        let guarded = u64::from(latency_us).saturating_mul(u64::from(self.guard_q24)) >> 24;
        let guarded_us = u32::try_from(guarded).unwrap_or(u32::MAX);
        Some(Pick {
            sub_network,
            guarded_us,
            late_us: guarded_us
                .saturating_add(blocking_us)
                .saturating_sub(self.targets.deadline_us),
            short_bp: self.targets.accuracy_floor_bp.saturating_sub(accuracy_bp),
            utilisation_permille: self.weigh(latency_us),
            power_mw: self.weigh(energy_uj),
            energy_uj,
        })
    }

    fn weigh(&self, value: u32) -> u32 {
        let product = u64::from(value).saturating_mul(u64::from(self.weight_q20)) >> WEIGHT_SHIFT;
        u32::try_from(product).unwrap_or(u32::MAX)
    }

    /// The sub-network for `level` when others may block the board for `blocking_us`.
    #[must_use]
    pub fn pick(&self, level: u8, blocking_us: u32, rank: Rank) -> Option<Pick> {
        let mut best: Option<(Pick, (u32, u32, u32))> = None;
        for index in 0..self.table.len().min(u8::try_from(MAX_SUB_NETWORKS).unwrap_or(u8::MAX)) {
            let Some(pick) = self.consider(index, level, blocking_us) else { continue };
            let key = self.order(&pick, rank);
            if best.as_ref().is_none_or(|(_, least)| key < *least) {
                best = Some((pick, key));
            }
        }
        best.map(|(pick, _)| pick)
    }

    /// What [`Demand::pick`] minimises, first to last.
    fn order(&self, pick: &Pick, rank: Rank) -> (u32, u32, u32) {
        let short = u32::from(pick.short_bp);
        match (rank, self.targets.degrade) {
            (Rank::Frugal, _) => (pick.late_us, pick.energy_uj, short),
            (Rank::Promised, Degrade::Deadline) => (short, pick.late_us, pick.energy_uj),
            (Rank::Promised, _) => (pick.late_us, short, pick.energy_uj),
        }
    }
}
