//! Contention and caps at one level: who gives way to whom.

use coshift_shared::units::MAX_SUB_NETWORKS;

use super::{Board, Plan};
use crate::demand::{Bounds, Load, Margin};
use crate::power::ONE_Q15;
use crate::schedule::Loads;

impl Board<'_, '_> {
    /// Whether nothing is late and the board's time suffices.
    pub(super) fn holds_together(&self, plan: &Plan) -> bool {
        plan.utilisation <= u32::from(self.policy.utilisation_permille())
            && self.schedule.keeps(&plan.times)
    }

    fn replace(&self, plan: &mut Plan, slot: usize, old: &Load, new: &Load) {
        if let Some(place) = plan.loads.get_mut(slot) {
            *place = Some(*new);
        }
        self.schedule.change(&mut plan.times, slot, new.guarded_us);
        plan.work_mw = plan.work_mw.saturating_sub(old.power_mw).saturating_add(new.power_mw);
        plan.utilisation = plan
            .utilisation
            .saturating_sub(old.utilisation_permille)
            .saturating_add(new.utilisation_permille);
    }

    /// Has each application make room for the others, the lowest priority first: what costs none
    /// of its promises, or, where `promises_go`, what those that rank higher are owed.
    #[inline(never)]
    pub(super) fn make_room(&self, level: u8, margin: Margin, plan: &mut Plan, promises_go: bool) {
        let limit_permille = u32::from(self.policy.utilisation_permille());
        for slot in self.order.map(usize::from) {
            let (Some(seat), Some(old)) = (self.seat(slot), at(&plan.loads, slot)) else {
                continue;
            };
            let column = seat.table.column(level);
            let fastest = if promises_go {
                seat.demand.fastest(column, level)
            } else {
                seat.demand.fastest_at_floor(column, level)
            };
            if old.sub_network == fastest {
                continue;
            }
            let (room_us, claimed_us) =
                self.schedule.room_us(&plan.times, slot, old.guarded_us, seat.outranked_by);
            let others = plan.utilisation.saturating_sub(old.utilisation_permille);
            let share = limit_permille.saturating_sub(others);
            let fits = old.guarded_us <= room_us && old.utilisation_permille <= share;
            let owed = old.guarded_us > claimed_us || old.utilisation_permille > share;
            if fits || (promises_go && !owed) {
                continue;
            }
            let room_us = if promises_go { claimed_us } else { room_us };
            let latency_us =
                seat.demand.latency_within(room_us, margin).min(seat.demand.weighing(share));
            let bounds = Bounds { latency_us, ..Bounds::OPEN };
            let new = seat.pick(level, bounds, margin, &mut plan.effort);
            let Some(new) = new else { continue };
            let serves = new.latency_us <= latency_us && seat.demand.serves(&new, margin);
            if serves || promises_go {
                self.replace(plan, slot, &old, &new);
            }
        }
    }

    /// Has each application save power until the cap is kept, the lowest priority first.
    #[inline(never)]
    pub(super) fn save(&self, level: u8, margin: Margin, cap_mw: u32, plan: &mut Plan) {
        // The cap before bias: cap·2¹⁵ ÷ bias, in 32 bits.
        let bias = u32::from(self.power.bias_q15(level)).max(1);
        let one = u32::from(ONE_Q15);
        let whole = cap_mw.checked_div(bias).unwrap_or(0).saturating_mul(one);
        let rest = cap_mw.checked_rem(bias).unwrap_or(0).saturating_mul(one);
        let cap_mw = whole.saturating_add(rest.checked_div(bias).unwrap_or(0));
        for slot in self.order.map(usize::from) {
            let power_mw = self.total_mw(level, plan);
            if power_mw <= cap_mw {
                return;
            }
            let (Some(seat), Some(old)) = (self.seat(slot), at(&plan.loads, slot)) else {
                continue;
            };
            let works_mw = plan.work_mw.saturating_sub(old.power_mw);
            let others = plan.utilisation.saturating_sub(old.utilisation_permille);
            let (room_us, _) =
                self.schedule.room_us(&plan.times, slot, old.guarded_us, seat.outranked_by);
            let latency_us = seat.demand.latency_within(room_us.max(old.guarded_us), margin);
            // What is idle depends on what is chosen: the least there is first, and less energy
            // until the whole fits.
            let least_mw = works_mw.saturating_add(self.idle_mw(level, others));
            let mut energy_uj = seat.demand.weighing(cap_mw.saturating_sub(least_mw));
            for _ in 0..MAX_SUB_NETWORKS {
                let bounds = Bounds { latency_us, energy_uj };
                let new = seat.pick(level, bounds, margin, &mut plan.effort);
                let Some(new) = new else { break };
                let utilisation = others.saturating_add(new.utilisation_permille);
                let whole_mw = works_mw
                    .saturating_add(new.power_mw)
                    .saturating_add(self.idle_mw(level, utilisation));
                if whole_mw <= cap_mw || new.energy_uj > energy_uj {
                    if new.power_mw < old.power_mw {
                        self.replace(plan, slot, &old, &new);
                    }
                    break;
                }
                energy_uj = new.energy_uj.saturating_sub(1);
            }
        }
    }
}

fn at(loads: &Loads, slot: usize) -> Option<Load> {
    loads.get(slot).copied().flatten()
}
