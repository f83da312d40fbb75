//! Contention and caps at one level: who gives way to whom.

use coshift_shared::units::{MAX_SUB_NETWORKS, NO_POWER_CAP};

use super::{Board, Plan, Seat, of_busy};
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

    /// Has each application save power until the caps are kept, the lowest priority first.
    #[inline(never)]
    pub(super) fn save(&self, level: u8, margin: Margin, plan: &mut Plan) {
        let cap_mw = self.before_bias(level, self.cap_mw(margin));
        let peak_cap_mw = match self.peak_cap_mw(margin) {
            NO_POWER_CAP => None,
            cap_mw => Some(self.before_bias(level, cap_mw)),
        };
        for slot in self.order.map(usize::from) {
            let mut peaks = self.peak_loads(plan);
            let peak_kept =
                |peaks: &Peaks| peak_cap_mw.is_none_or(|cap| self.peak_of(level, peaks) <= cap);
            if self.total_mw(level, plan) <= cap_mw && peak_kept(&peaks) {
                return;
            }
            let (Some(seat), Some(old)) = (self.seat(slot), at(&plan.loads, slot)) else {
                continue;
            };
            peaks.take(&seat.peak(&old));
            let works_mw = plan.work_mw.saturating_sub(old.power_mw);
            let others = plan.utilisation.saturating_sub(old.utilisation_permille);
            let (room_us, _) =
                self.schedule.room_us(&plan.times, slot, old.guarded_us, seat.outranked_by);
            let latency_us = seat.demand.latency_within(room_us.max(old.guarded_us), margin);
            // What is idle depends on what is chosen: the least there is first, and less energy
            // until the whole fits.
            let least_mw = works_mw.saturating_add(self.idle_mw(level, others));
            let mut energy_uj = seat.demand.weighing(cap_mw.saturating_sub(least_mw));
            if let Some(peak_cap_mw) = peak_cap_mw {
                // No sub-network in time has a lower crest than the slowest there may be.
                let left_mw = peak_cap_mw.saturating_sub(self.peak_of(level, &peaks));
                let left_uj = seat.demand.weighing(seat.flat_mw(left_mw, latency_us));
                energy_uj = energy_uj.min(left_uj);
            }
            for _ in 0..MAX_SUB_NETWORKS {
                let bounds = Bounds { latency_us, energy_uj };
                let new = seat.pick(level, bounds, margin, &mut plan.effort);
                let Some(new) = new else { break };
                let utilisation = others.saturating_add(new.utilisation_permille);
                let whole_mw = works_mw
                    .saturating_add(new.power_mw)
                    .saturating_add(self.idle_mw(level, utilisation));
                let kept = whole_mw <= cap_mw && peak_kept(&peaks.with(&seat.peak(&new)));
                if kept || new.energy_uj > energy_uj {
                    if new.power_mw < old.power_mw {
                        self.replace(plan, slot, &old, &new);
                    }
                    break;
                }
                energy_uj = new.energy_uj.saturating_sub(1);
            }
        }
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
    pub(super) fn peak_loads(&self, plan: &Plan) -> Peaks {
        let mut peaks = Peaks::default();
        for (load, seat) in plan.loads.iter().zip(&self.seats) {
            if let (Some(load), Some(seat)) = (load, seat) {
                peaks = peaks.with(&seat.peak(load));
            }
        }
        peaks
    }

    /// Power over a window with these loads, without bias, mW.
    pub(super) fn peak_of(&self, level: u8, peaks: &Peaks) -> u32 {
        let work_mw = of_busy(peaks.work_mw, peaks.permille);
        self.idle_mw(level, peaks.permille.min(1000)).saturating_add(work_mw)
    }
}

/// What loads can take of one window: power beyond idle, mW, and time, 0.1 %.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Peaks {
    work_mw: u32,
    permille: u32,
}

impl Peaks {
    fn with(&self, other: &Self) -> Self {
        Self {
            work_mw: self.work_mw.saturating_add(other.work_mw),
            permille: self.permille.saturating_add(other.permille),
        }
    }

    fn take(&mut self, other: &Self) {
        self.work_mw = self.work_mw.saturating_sub(other.work_mw);
        self.permille = self.permille.saturating_sub(other.permille);
    }
}

impl Seat<'_, '_> {
    /// Mean power whose crest is `peak_mw` at this latency, rounded up.
    fn flat_mw(&self, peak_mw: u32, latency_us: u32) -> u32 {
        let crest_q10 = self.demand.crest_q10(latency_us);
        // Within 22 bits the division is one of 32 bits.
        match peak_mw.checked_shl(10).filter(|_| peak_mw < 1 << 22) {
            Some(peak_q10) => peak_q10.checked_div(crest_q10).unwrap_or(0).saturating_add(1),
            None => peak_mw,
        }
    }

    fn peak(&self, load: &Load) -> Peaks {
        let crest_q10 = u64::from(self.demand.crest_q10(load.latency_us));
        let raised = |value: u32| {
            u32::try_from(u64::from(value).saturating_mul(crest_q10) >> 10).unwrap_or(u32::MAX)
        };
        Peaks { work_mw: raised(load.power_mw), permille: raised(load.utilisation_permille) }
    }
}

fn at(loads: &Loads, slot: usize) -> Option<Load> {
    loads.get(slot).copied().flatten()
}
