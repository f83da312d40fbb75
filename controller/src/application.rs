//! One application: targets, what was learned, and what it demands of the board.

use coshift_shared::policy::PolicyView;
use coshift_shared::to_controller::{ApplicationState, Outcomes, TailState, Targets};
use coshift_shared::units::{NO_LEVEL, NO_SUB_NETWORK, slowdown};

use crate::demand::Demand;
use crate::estimator::{Learned, Slowdown, Tail};

/// State of one application slot in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// What it asks for.
    pub targets: Targets,
    /// What was learned of its slowdown.
    pub slowdown: Slowdown,
    /// Constants of the guard at the miss target.
    tail: Tail,
    /// What follows from targets and slowdown.
    demand: Demand,
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
    pub fn new(targets: Targets, policy: &PolicyView<'_>) -> Self {
        let (slowdown, tail) = (Slowdown::default(), Tail::at(targets.miss_target_bp));
        let guard_q24 = slowdown.guard_q24(&tail);
        Self {
            targets,
            slowdown,
            tail,
            demand: Demand::new(&targets, policy, slowdown.mean_q24(), guard_q24),
            next_index: 0,
            outcomes: 0,
            misses: 0,
            sub_network: NO_SUB_NETWORK,
        }
    }

    /// Takes other targets for the same table. What was learned stays; what is tied to the miss
    /// target is begun afresh where that changes.
    pub fn retarget(&mut self, targets: Targets, policy: &PolicyView<'_>) {
        if self.targets.miss_target_bp != targets.miss_target_bp {
            self.slowdown.retarget();
            self.tail = Tail::at(targets.miss_target_bp);
        }
        self.targets = targets;
        let (mean_q24, guard_q24) = (self.slowdown.mean_q24(), self.guard_q24());
        self.demand = Demand::new(&targets, policy, mean_q24, guard_q24);
    }

    /// What it demands of the board.
    #[must_use]
    pub fn demand(&self) -> &Demand {
        &self.demand
    }

    /// Forgets what is only kept to save work.
    pub fn forget(&mut self) {
        self.demand.forget();
    }

    fn follow(&mut self, policy: &PolicyView<'_>) {
        let (mean_q24, guard_q24) = (self.slowdown.mean_q24(), self.guard_q24());
        self.demand.follow(&self.targets, policy, mean_q24, guard_q24);
    }

    /// Slowdown that decisions count on, Q8.24.
    #[must_use]
    pub fn guard_q24(&self) -> u32 {
        self.slowdown.guard_q24(&self.tail)
    }

    /// Learns from outcomes. Samples taken in before are passed over by their index, so that a
    /// message received twice changes nothing.
    pub fn take_in(&mut self, message: &Outcomes, policy: &PolicyView<'_>) -> Taken {
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
        if taken.learned > 0 {
            self.follow(policy);
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
    pub fn load(&mut self, state: &ApplicationState, policy: &PolicyView<'_>) {
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
        let rows = policy.table(self.targets.table).map_or(0, |table| table.len());
        let known = state.sub_network < rows;
        self.sub_network = if known { state.sub_network } else { NO_SUB_NETWORK };
        self.follow(policy);
    }

    /// Loads the tail's state of a seed.
    pub fn load_tail(&mut self, state: &TailState, policy: &PolicyView<'_>) {
        self.slowdown = Slowdown::restore(&Learned {
            threshold_q24: state.threshold_q24,
            excess_q24: state.excess_q24,
            correction_q24: state.correction_q24,
            boost_q24: state.boost_q24,
            quiet: state.quiet,
            ..self.slowdown.learned()
        });
        self.follow(policy);
    }
}
