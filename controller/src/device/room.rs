//! Contention and caps at one level: who gives way to whom.

use coshift_shared::to_controller::{Degrade, Objective};
use coshift_shared::units::NO_POWER_CAP;

use super::{Board, Plan, Seat, search};
use crate::allowance::{Allowance, Busy, Cap};
use crate::column::Bounds;
use crate::demand::{Load, Margin};
use crate::parking::Idle;
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

    /// Has each application make room for the others, the lowest priority first: all that is
    /// missing, or as much as costs none of its promises, or, where `promises_go`, what those that
    /// rank higher are owed.
    #[inline(never)]
    pub(super) fn make_room(&self, level: u8, margin: Margin, plan: &mut Plan, promises_go: bool) {
        let limit_permille = u32::from(self.policy.utilisation_permille());
        for slot in self.order.map(usize::from) {
            let (Some(seat), Some(old)) = (self.seat(slot), at(&plan.loads, slot)) else {
                continue;
            };
            plan.effort = plan.effort.saturating_add(search::ROOM);
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
            // Where the fastest is too slow, none makes all the room without promises.
            let quick = column.cell(fastest).is_some_and(|cell| cell.latency_us <= latency_us);
            let mut new = None;
            if quick || promises_go {
                let bounds = Bounds { latency_us, ..Bounds::OPEN };
                new = seat.pick(level, bounds, margin, &mut plan.effort);
            }
            if !promises_go {
                let serves =
                    |new: &Load| new.latency_us <= latency_us && seat.demand.serves(new, margin);
                // It makes what room it can, and the next one the rest.
                new = new.filter(serves).or_else(|| {
                    let within_budget = |load: &Load| load.energy_uj <= seat.demand.budget_uj();
                    let fastest = seat.demand.load(column, fastest, margin).filter(within_budget);
                    let quickest = fastest.or_else(|| {
                        let pick = search::pick(column.len());
                        plan.effort = plan.effort.saturating_add(pick);
                        let quickest = seat.demand.quickest_served(column)?;
                        seat.demand.load(column, quickest, margin)
                    })?;
                    let less = quickest.guarded_us < old.guarded_us;
                    (less && seat.demand.serves(&quickest, margin)).then_some(quickest)
                });
            }
            if let Some(new) = new {
                self.replace(plan, slot, &old, &new);
            }
        }
    }

    /// Has each application save power until the caps are kept, the lowest priority first: what
    /// costs none of its promises, or, where `promises_go`, what the caps leave it.
    #[inline(never)]
    pub(super) fn save(&self, level: u8, margin: Margin, plan: &mut Plan, promises_go: bool) {
        let mut mean =
            Cap { mw: self.before_bias(level, self.cap_mw(margin)), others: Busy::default() };
        let mut peak = Cap {
            mw: match self.peak_cap_mw(margin) {
                NO_POWER_CAP => NO_POWER_CAP,
                cap_mw => self.before_bias(level, cap_mw),
            },
            others: Busy::default(),
        };
        let mut peaks = self.peaks(plan);
        for slot in self.order.map(usize::from) {
            let all_mw = plan.busy().drawn_mw(&plan.idle);
            let peak_kept = peak.mw == NO_POWER_CAP || peaks.drawn_mw(&plan.idle) <= peak.mw;
            if all_mw <= mean.mw && peak_kept {
                return;
            }
            let (Some(seat), Some(old)) = (self.seat(slot), at(&plan.loads, slot)) else {
                continue;
            };
            mean.others = plan.busy().without(&old.busy());
            peak.others = peaks.without(&seat.peak(&old));
            let keeps = |load: &Load, idle: &Idle| {
                mean.keeps(mean.others.with(&load.busy()), idle)
                    && (peak.mw == NO_POWER_CAP
                        || peak.keeps(peak.others.with(&seat.peak(load)), idle))
            };
            let lean = if promises_go {
                None
            } else {
                let Some(lean) = self.leanest(level, margin, plan, slot) else { continue };
                Some(lean)
            };
            // One that is not the last to save saves what it can.
            let left = if lean.is_none_or(|lean| keeps(&lean, &plan.idle)) {
                self.saving(level, margin, plan, slot, (&mean, &peak))
            } else {
                None
            };
            let serves = |left: &Load| seat.demand.serves(left, margin) && keeps(left, &plan.idle);
            let new = left.filter(|left| promises_go || serves(left)).or(lean);
            let Some(new) = new else { continue };
            let kept = keeps(&new, &plan.idle);
            if kept || mean.others.with(&new.busy()).drawn_mw(&plan.idle) < all_mw {
                self.replace(plan, slot, &old, &new);
                peaks = peak.others.with(&seat.peak(&new));
            }
        }
    }

    /// What an application takes that keeps its promises and is to save as much as it can.
    fn leanest(&self, level: u8, margin: Margin, plan: &mut Plan, slot: usize) -> Option<Load> {
        let (seat, old) = (self.seat(slot)?, at(&plan.loads, slot)?);
        if !seat.demand.serves(&old, margin) {
            return None;
        }
        let column = seat.table.column(level);
        // What has least energy for its objective has it already, unless it made room for others.
        if seat.application.targets.objective == Objective::LeastEnergy {
            return Some(old);
        }
        let effort = const { search::LEAN }.saturating_add(search::pick(column.len()));
        plan.effort = plan.effort.saturating_add(effort);
        let latency_us = self.latency_us(margin, plan, slot, seat, &old);
        let lean = seat.demand.leanest_served(column, latency_us, margin)?;
        seat.demand.load(column, lean, margin)
    }

    /// Policy's latency that an application may take without being later than it is, or taking more time
    /// than the others leave, µs.
    fn latency_us(
        &self,
        margin: Margin,
        plan: &Plan,
        slot: usize,
        seat: &Seat<'_, '_>,
        old: &Load,
    ) -> u32 {
        let (room_us, _) =
            self.schedule.room_us(&plan.times, slot, old.guarded_us, seat.outranked_by);
        let limit_permille = u32::from(self.policy.utilisation_permille());
        let others = plan.utilisation.saturating_sub(old.utilisation_permille);
        let share_us = seat.demand.weighing(limit_permille.saturating_sub(others));
        let in_time_us = seat.demand.latency_within(room_us.max(old.guarded_us), margin);
        in_time_us.min(share_us.max(old.latency_us))
    }

    /// What an application takes to keep caps on the mean power and on that of any window.
    #[inline]
    fn saving(
        &self,
        level: u8,
        margin: Margin,
        plan: &mut Plan,
        slot: usize,
        (mean, peak): (&Cap, &Cap),
    ) -> Option<Load> {
        let (Some(seat), Some(old)) = (self.seat(slot), at(&plan.loads, slot)) else {
            return None;
        };
        let latency_us = self.latency_us(margin, plan, slot, seat, &old);
        let column = seat.table.column(level);
        if !seat.demand.knows_ends(level) {
            plan.effort = plan.effort.saturating_add(search::pick(column.len()));
        }
        let (least, slowest_us) = seat.demand.extent(column, level);
        let allowance = Allowance::new(seat.demand, &plan.idle, mean, peak, &least, slowest_us);
        // Only who would rather be late looks for less than the fastest takes.
        if allowance.is_empty() && seat.application.targets.degrade != Degrade::Deadline {
            plan.effort = plan.effort.saturating_add(search::LEFT);
            return seat.demand.load(column, seat.demand.fastest(column, level), margin);
        }
        // Nothing idles less than beside the others alone.
        let left_mw = mean.mw.saturating_sub(mean.others.drawn_mw(&plan.idle));
        // Beyond all of the time requests wait, and work draws less than its sum.
        let others = plan.utilisation.saturating_sub(old.utilisation_permille);
        let overloads = latency_us > seat.demand.weighing(1000_u32.saturating_sub(others));
        let energy_uj = match (allowance.is_empty(), overloads) {
            (true, _) => 0,
            (false, true) => u32::MAX,
            (false, false) => seat.demand.weighing(left_mw),
        };
        let bounds = Bounds { latency_us, energy_uj, allowance: Some(&allowance) };
        let mut effort = plan.effort.saturating_add(search::LEFT);
        let new = seat.pick(level, bounds, margin, &mut effort);
        let worked_out = search::worked_out(allowance.times());
        plan.effort = effort.saturating_add(worked_out);
        new
    }

    /// A cap before the level's bias: cap·2¹⁵ ÷ bias, in 32 bits.
    fn before_bias(&self, level: u8, cap_mw: u32) -> u32 {
        let bias = u32::from(self.power.bias_q15(level)).max(1);
        let one = u32::from(ONE_Q15);
        let whole = cap_mw.checked_div(bias).unwrap_or(0).saturating_mul(one);
        let rest = cap_mw.checked_rem(bias).unwrap_or(0).saturating_mul(one);
        whole.saturating_add(rest.checked_div(bias).unwrap_or(0))
    }

    /// What the loads of a plan can take of one window.
    pub(super) fn peaks(&self, plan: &Plan) -> Busy {
        let mut peaks = Busy::default();
        for (load, seat) in plan.loads.iter().zip(&self.seats) {
            if let (Some(load), Some(seat)) = (load, seat) {
                peaks = peaks.with(&seat.peak(load));
            }
        }
        peaks
    }
}

impl Seat<'_, '_> {
    fn peak(&self, load: &Load) -> Busy {
        load.busy().raised(self.demand.crest_q10(load.latency_us))
    }
}

fn at(loads: &Loads, slot: usize) -> Option<Load> {
    loads.get(slot).copied().flatten()
}
