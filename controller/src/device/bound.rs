//! Levels that cannot be better than the best one so far, seen before they are judged in full.

use coshift_shared::units::{MAX_APPLICATIONS, NO_POWER_CAP};

use super::{Board, Candidate, Plan, Trouble, search};
use crate::allowance::Busy;
use crate::demand::Margin;
use crate::schedule::{Loads, Times};

impl Board<'_, '_> {
    /// Judges the first half of a level unless it is plain that it cannot be better than `best`, and,
    /// where it may fit but for the cap, needs no less than `uncapped_mw`. `plan` is room to work in.
    pub(super) fn settle_against(
        &self,
        level: u8,
        margin: Margin,
        best: &Candidate,
        uncapped_mw: u32,
        plan: &mut Plan,
    ) -> Option<()> {
        // With no utilisation: the least there is.
        plan.idle = self.idle(level);
        let idle_mw = plan.idle.mw(0);
        // Among equals the lower level wins.
        let most_mw = best.power_mw.saturating_add(u32::from(level < best.level));
        let kept = best.trouble == Trouble::NONE;
        let cheapest = kept && !self.wishing;
        if cheapest && self.biased(level, idle_mw) >= most_mw {
            return None;
        }
        // Making room and saving take away from the applications, and never give: alone they have
        // what they wish for, and otherwise take the least energy that keeps their promises.
        let least_mw = || idle_mw.saturating_add(self.known_work_mw(level, margin));
        if cheapest && self.biased(level, least_mw()) >= most_mw {
            return None;
        }
        let mut least = self.promising(level, margin, best, idle_mw, uncapped_mw, plan)?;
        // What an application cannot have alone it cannot have with others or under a cap.
        let unserved = self.alone(level, margin, plan);
        least.unserved |= unserved;
        if unserved != 0 && least > best.trouble {
            return None;
        }
        if kept && self.wishing && self.wishes(plan) > best.wishes {
            return None;
        }
        let least_mw = idle_mw.saturating_add(plan.work_mw);
        if cheapest && self.biased(level, least_mw) >= most_mw {
            return None;
        }
        self.settle(level, margin, plan);
        Some(())
    }

    /// The least trouble of a level, however much the applications give up; `None` where that is
    /// more than `best` has. Those that rank above all that `best` leaves unserved must be served
    /// to be better than it, and need a sub-network at their floor; the fastest such one, and the
    /// quickest that each of the others can come to, take the least time there is; the leanest
    /// ones take the least power.
    #[inline(never)]
    fn promising(
        &self,
        level: u8,
        margin: Margin,
        best: &Candidate,
        idle_mw: u32,
        uncapped_mw: u32,
        plan: &mut Plan,
    ) -> Option<Trouble> {
        let cap_mw = self.cap_mw(margin);
        // Where `best` is under the cap, what needs more than the cap needs more than `best`.
        let cheapest = best.trouble == Trouble::NONE && !self.wishing;
        let capped = cap_mw != NO_POWER_CAP && !cheapest;
        let (mut unserved, mut work_mw, mut most_permille) = (0, 0_u32, 0_u32);
        for seat in self.seats.iter().flatten() {
            let column = seat.table.column(level);
            plan.effort = plan.effort.saturating_add(search::SERVES);
            if !seat.demand.knows_ends(level) {
                plan.effort = plan.effort.saturating_add(search::pick(column.len()));
            }
            if !seat.demand.can_serve(column, level, margin) {
                // Nothing else is worth to be known where `best` keeps everything.
                if best.trouble == Trouble::NONE {
                    return None;
                }
                unserved |= seat.weight;
            }
            if capped {
                plan.effort = plan.effort.saturating_add(search::REACH);
                let (power_mw, permille) = seat.demand.reach(column, level);
                work_mw = work_mw.saturating_add(power_mw);
                most_permille = most_permille.saturating_add(permille);
            }
        }
        let mut least = Trouble { unserved, ..Trouble::NONE };
        // A level where everything might fit but for the cap counts for what the cap is in the way
        // of, also where it cannot win.
        let mut counts = true;
        if capped {
            // No more is drawn than by a board that is always busy.
            let reach = Busy { work_mw, permille: most_permille };
            let least_mw = idle_mw.saturating_add(reach.drawn_beyond_idle_mw());
            let least_mw = self.biased(level, least_mw);
            least.over_cap_mw = least_mw.saturating_sub(cap_mw);
            counts = least_mw < uncapped_mw;
        }
        if least.over_cap_mw < best.trouble.over_cap_mw {
            return Some(least);
        }
        if (unserved != 0 || !counts) && least > best.trouble {
            return None;
        }
        // Alone, an application that can be served is in time.
        if !self.shared && unserved == 0 {
            return Some(least);
        }
        let (mut loads, mut utilisation) = (Loads::default(), 0_u32);
        for (place, seat) in loads.iter_mut().zip(&self.seats) {
            let Some(seat) = seat else { continue };
            plan.effort = plan.effort.saturating_add(search::LEAST);
            let column = seat.table.column(level);
            let fastest = if seat.weight > best.trouble.unserved {
                seat.demand.fastest_at_floor(column, level)
            } else {
                if !seat.demand.knows_quickest(level, capped) {
                    plan.effort = plan.effort.saturating_add(search::pick(column.len()));
                }
                seat.demand.quickest(column, level, capped)
            };
            let Some(load) = seat.demand.load(column, fastest, margin) else { continue };
            utilisation = utilisation.saturating_add(load.utilisation_permille);
            *place = Some(load);
        }
        let limit_permille = u32::from(self.policy.utilisation_permille());
        let mut times = Times::default();
        self.schedule.times(&loads, self.shared, &mut times);
        for (late_us, seat) in self.schedule.late_us(&times).zip(&self.seats) {
            if let Some(seat) = seat.as_ref().filter(|_| late_us > 0) {
                least.unserved |= seat.weight;
                least.late_us = least.late_us.saturating_add(late_us);
            }
        }
        least.over_utilisation_permille = utilisation.saturating_sub(limit_permille);
        let fits = least.unserved == 0 && least.over_utilisation_permille == 0;
        if (!fits || !counts) && least > best.trouble { None } else { Some(least) }
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
