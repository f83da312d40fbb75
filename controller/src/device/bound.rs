//! Levels that cannot be better than the best one so far, seen before they are judged in full.

use coshift_shared::units::MAX_APPLICATIONS;

use super::{Board, Candidate, Plan, Trouble, search};
use crate::demand::Margin;
use crate::schedule::{Loads, Times};

impl Board<'_, '_> {
    /// Judges one level unless it is plain that it cannot be better than `best`. `plan` is room to
    /// work in.
    pub(super) fn judge_against(
        &self,
        level: u8,
        margin: Margin,
        best: &Candidate,
        plan: &mut Plan,
    ) -> Option<Candidate> {
        // With no utilisation: the least there is.
        let idle_mw = self.idle_mw(level, 0);
        // Among equals the lower level wins.
        let most_mw = best.power_mw.saturating_add(u32::from(level < best.level));
        let kept = best.trouble == Trouble::NONE;
        let cheapest = kept && !self.wishing;
        if cheapest && self.biased(level, idle_mw) >= most_mw {
            return None;
        }
        if best.trouble.over_cap_mw == 0 && self.is_hopeless(level, margin, best, plan) {
            return None;
        }
        // Making room and saving take away from the applications, and never give: alone they have
        // what they wish for, and otherwise take the least energy that keeps their promises.
        let least_mw = || idle_mw.saturating_add(self.known_work_mw(level, margin));
        if cheapest && self.biased(level, least_mw()) >= most_mw {
            return None;
        }
        // What an application cannot have alone it cannot have with others or under a cap.
        let unserved = self.alone(level, margin, plan);
        if best.trouble.over_cap_mw == 0 && best.trouble.unserved < unserved {
            return None;
        }
        if kept && self.wishing && self.wishes(plan) > best.wishes {
            return None;
        }
        let least_mw = idle_mw.saturating_add(plan.work_mw);
        if cheapest && self.biased(level, least_mw) >= most_mw {
            return None;
        }
        Some(self.settle(level, margin, plan))
    }

    /// Whether a level has more trouble than `best`, which is under the cap, however much the
    /// applications give up. Those that rank above all that `best` leaves unserved must be served
    /// to be better than it, and need a sub-network at their floor; the fastest such one, and the
    /// fastest of all for the others, take the least time there is.
    fn is_hopeless(&self, level: u8, margin: Margin, best: &Candidate, plan: &mut Plan) -> bool {
        let mut unserved = 0;
        for seat in self.seats.iter().flatten() {
            let known = seat.demand.knows_fastest(level);
            let effort = if known { search::BOUND } else { const { search::BOUND + search::PICK } };
            plan.effort = plan.effort.saturating_add(effort);
            if !seat.demand.can_serve(seat.table.column(level), level, margin) {
                unserved |= seat.weight;
            }
        }
        if unserved > best.trouble.unserved {
            return true;
        }
        // Alone, an application that can be served is in time.
        if !self.shared && unserved == 0 {
            return false;
        }
        let (mut loads, mut utilisation) = (Loads::default(), 0_u32);
        for (place, seat) in loads.iter_mut().zip(&self.seats) {
            let Some(seat) = seat else { continue };
            let column = seat.table.column(level);
            let fastest = if seat.weight > best.trouble.unserved {
                seat.demand.fastest_at_floor(column, level)
            } else {
                seat.demand.fastest(column, level)
            };
            let Some(load) = seat.demand.load(column, fastest, margin) else { continue };
            utilisation = utilisation.saturating_add(load.utilisation_permille);
            *place = Some(load);
        }
        let limit_permille = u32::from(self.policy.utilisation_permille());
        let mut times = Times::default();
        self.schedule.times(&loads, self.shared, &mut times);
        let mut late_us = 0_u32;
        for (late, seat) in self.schedule.late_us(&times).zip(&self.seats) {
            if let Some(seat) = seat.as_ref().filter(|_| late > 0) {
                unserved |= seat.weight;
                late_us = late_us.saturating_add(late);
            }
        }
        let over_utilisation_permille = utilisation.saturating_sub(limit_permille);
        // A level where everything might fit but for the cap counts for what the cap is in the way
        // of, also where it cannot win.
        let fits = unserved == 0 && over_utilisation_permille == 0;
        let least = Trouble { unserved, over_utilisation_permille, late_us, ..Trouble::NONE };
        !fits && least > best.trouble
    }

    /// Power of the applications whose picks are known, each alone, mW.
    fn known_work_mw(&self, level: u8, margin: Margin) -> u32 {
        let mut work_mw = 0_u32;
        for seat in self.seats.iter().flatten() {
            let column = seat.table.column(level);
            let known = seat.demand.known(column, level, margin);
            if let Some(cell) = known.and_then(|pick| column.cell(pick)) {
                work_mw = work_mw.saturating_add(seat.demand.power_mw(cell.energy_uj));
            }
        }
        work_mw
    }

    fn wishes(&self, plan: &Plan) -> [u32; MAX_APPLICATIONS] {
        let mut wishes = [0; MAX_APPLICATIONS];
        for (load, seat) in plan.loads.iter().zip(&self.seats) {
            if let (Some(load), Some(seat)) = (load, seat) {
                seat.put_wish(load, &mut wishes);
            }
        }
        wishes
    }
}
