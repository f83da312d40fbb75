//! What is missing where no level fits.

use coshift_shared::to_host::{Missing, Shortfall};
use coshift_shared::units::MAX_APPLICATIONS;

use super::{Board, Candidate, Seat};
use crate::demand::Margin;
use crate::schedule::{Loads, Times};

impl Board<'_, '_> {
    /// Names what is missing where no level fits. `cap_is_thermal` says what the power cap is for.
    #[must_use]
    #[inline(never)]
    pub fn shortfall(&self, best: &Candidate, cap_is_thermal: bool) -> Shortfall {
        let seats =
            || (0..u8::MAX).zip(&self.seats).filter_map(|(slot, s)| s.as_ref().map(|s| (slot, s)));
        for (slot, seat) in seats() {
            let missing = seat.accuracy_missing_bp();
            if missing > 0 {
                return Shortfall { what: Missing::Accuracy, slot, amount: u32::from(missing) };
            }
        }
        for (slot, seat) in seats() {
            let missing = seat.time_missing_us(self);
            if missing > 0 {
                return Shortfall { what: Missing::Time, slot, amount: missing };
            }
        }
        // A minimum of some periods may have come under the cap.
        if best.uncapped_mw != u32::MAX && best.uncapped_mw > self.caps.plain_mw {
            let amount = best.uncapped_mw.saturating_sub(self.caps.plain_mw);
            let what = if cap_is_thermal { Missing::Temperature } else { Missing::Power };
            return Shortfall { what, slot: u8::MAX, amount };
        }
        // The highest priority that is not served.
        let highest = 128_u8.wrapping_shr(best.trouble.unserved.leading_zeros());
        let named = seats().find(|(_, seat)| best.trouble.unserved != 0 && seat.weight == highest);
        if let Some((slot, seat)) = named {
            let amount = seat.energy_missing_uj(self);
            if amount > 0 {
                return Shortfall { what: Missing::Energy, slot, amount };
            }
        }
        // Each application fits alone, together they do not.
        if best.trouble.over_utilisation_permille > 0 {
            let amount = best.trouble.over_utilisation_permille;
            return Shortfall { what: Missing::Utilisation, slot: u8::MAX, amount };
        }
        if best.trouble.late_us == 0 && best.trouble.over_cap_mw > 0 {
            let what = if cap_is_thermal { Missing::Temperature } else { Missing::Power };
            return Shortfall { what, slot: u8::MAX, amount: best.trouble.over_cap_mw };
        }
        let Some((slot, seat)) = named else {
            return Shortfall { what: Missing::Time, slot: u8::MAX, amount: best.trouble.late_us };
        };
        // What it lacks at this level with the sub-network that would keep its floor.
        let mut loads: Loads = [None; MAX_APPLICATIONS];
        for ((load, sub_network), other) in loads.iter_mut().zip(best.sub_networks).zip(&self.seats)
        {
            let Some(other) = other else { continue };
            let own = core::ptr::eq(other, seat);
            let column = other.table.column(best.level);
            let at_floor = || other.demand.fastest_at_floor(column, best.level);
            let runs = if own { at_floor() } else { sub_network };
            *load = other.demand.load(column, runs, Margin::Plain);
        }
        let mut times = Times::default();
        self.schedule.times(&loads, self.shared, &mut times);
        let late_us = self.schedule.late_us(&times).nth(usize::from(slot));
        let amount = late_us.unwrap_or(best.trouble.late_us);
        let used = loads
            .iter()
            .flatten()
            .fold(0_u32, |used, load| used.saturating_add(load.utilisation_permille));
        let over = used.saturating_sub(u32::from(self.policy.utilisation_permille()));
        if amount == 0 && over > 0 {
            return Shortfall { what: Missing::Utilisation, slot, amount: over };
        }
        Shortfall { what: Missing::Time, slot, amount }
    }
}

impl Seat<'_, '_> {
    /// Accuracy that even the best sub-network lacks, 0.01 %.
    fn accuracy_missing_bp(&self) -> u16 {
        if self.demand.floor() < self.table.len() {
            return 0;
        }
        let best = self.table.len().saturating_sub(1);
        self.application.targets.accuracy_floor_bp.saturating_sub(self.accuracy_bp(best))
    }

    /// Time that the fastest sub-network at the floor lacks on its best level, µs.
    fn time_missing_us(&self, board: &Board<'_, '_>) -> u32 {
        let mut least = u32::MAX;
        for level in (0..board.policy.levels()).filter(|level| board.has(*level)) {
            let column = self.table.column(level);
            let fastest = self.demand.fastest_at_floor(column, level);
            if let Some(load) = self.demand.load(column, fastest, Margin::Plain) {
                least = least.min(load.guarded_us);
            }
        }
        least.saturating_sub(self.application.targets.deadline_us)
    }

    /// Energy over the budget of the least that keeps floor and deadline on any level, µJ.
    fn energy_missing_uj(&self, board: &Board<'_, '_>) -> u32 {
        if self.demand.budget_uj() == u32::MAX {
            return 0;
        }
        let mut least = u32::MAX;
        for level in (0..board.policy.levels()).filter(|level| board.has(*level)) {
            least = least.min(self.demand.least_energy_uj(self.table.column(level)));
        }
        if least == u32::MAX { 0 } else { least.saturating_sub(self.demand.budget_uj()) }
    }
}
