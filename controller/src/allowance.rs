//! What the caps on power leave one application at one level, beside the others.
//!
//! What a sub-network adds to the board's power is more than its own: the board idles the less the
//! longer it runs, and over a window of [`crate::demand::CAP_WINDOW_US`] its requests count by their
//! crest. So whether the caps are kept is worked out of each sub-network that a search comes to, once.

use core::cell::Cell as Kept;

use coshift_shared::policy::Cell;
use coshift_shared::units::NO_POWER_CAP;

use crate::demand::Demand;
use crate::parking::Idle;

/// Power beyond idle and time that requests take: of all time, or of one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Busy {
    /// mW.
    pub work_mw: u32,
    /// 0.1 %.
    pub permille: u32,
}

impl Busy {
    /// Both together.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        Self {
            work_mw: self.work_mw.saturating_add(other.work_mw),
            permille: self.permille.saturating_add(other.permille),
        }
    }

    /// Without the other.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        Self {
            work_mw: self.work_mw.saturating_sub(other.work_mw),
            permille: self.permille.saturating_sub(other.permille),
        }
    }

    /// So much more, in 1/1024.
    #[must_use]
    pub fn raised(&self, q10: u32) -> Self {
        let raised = |value: u32| {
            let value = u64::from(value).saturating_mul(u64::from(q10)) >> 10;
            u32::try_from(value).unwrap_or(u32::MAX)
        };
        Self { work_mw: raised(self.work_mw), permille: raised(self.permille) }
    }

    /// What a board draws that is busy with this, mW, without bias. One that is asked for more than
    /// it can do draws what it draws when it is always busy.
    #[must_use]
    pub fn drawn_mw(&self, idle: &Idle) -> u32 {
        idle.mw(self.permille).saturating_add(self.drawn_beyond_idle_mw())
    }

    /// The same beyond idle.
    #[must_use]
    pub fn drawn_beyond_idle_mw(&self) -> u32 {
        if self.permille <= 1000 {
            return self.work_mw;
        }
        // 32 bits are enough for boards of up to four kilowatts, and take a division of one
        // instruction.
        if self.work_mw < 1 << 22 {
            return self.work_mw.saturating_mul(1000).checked_div(self.permille).unwrap_or(0);
        }
        let busy = u64::from(self.work_mw).saturating_mul(1000);
        let busy = busy.checked_div(u64::from(self.permille)).unwrap_or(0);
        u32::try_from(busy).unwrap_or(u32::MAX)
    }
}

/// A cap, and what the other applications take under it.
#[derive(Debug, Clone, Copy)]
pub struct Cap {
    /// Without bias, mW; [`NO_POWER_CAP`] where there is none.
    pub mw: u32,
    /// What the others take.
    pub others: Busy,
}

impl Cap {
    /// What is left to an application for however long its work takes, mW.
    fn surely_mw(&self, idle: &Idle) -> u32 {
        self.mw.saturating_sub(idle.awake_mw()).saturating_sub(self.others.work_mw)
    }

    /// Whether the cap is kept where all together take this: whether no more than it is drawn, see
    /// [`Busy::drawn_mw`].
    #[must_use]
    #[inline]
    pub fn keeps(&self, all: Busy, idle: &Idle) -> bool {
        let Busy { work_mw, permille } = all;
        if let Some(unparked_mw) = idle.unparked_mw(permille) {
            let idle_mw = idle.parked_mw().saturating_add(unparked_mw);
            return work_mw.saturating_add(idle_mw) <= self.mw;
        }
        let Some(left_mw) = self.mw.checked_sub(idle.awake_mw()) else { return false };
        if permille <= 1000 {
            return work_mw <= left_mw;
        }
        // Always busy: less than one mW more.
        let (most, permille) = (u64::from(left_mw).saturating_add(1), u64::from(permille));
        u64::from(work_mw).saturating_mul(1000) < most.saturating_mul(permille)
    }
}

/// What the caps leave one application at one level.
#[derive(Debug)]
pub struct Allowance<'a> {
    demand: &'a Demand,
    /// What the level takes with nothing to do.
    idle: &'a Idle,
    /// Caps on the mean power and on that of any window.
    mean: &'a Cap,
    peak: &'a Cap,
    /// Up to this policy energy the caps are kept for however long it takes, µJ.
    surely_uj: u32,
    /// Sub-networks of which it was worked out, a bit each, and those of them that keep the caps.
    known: Kept<u16>,
    keeping: Kept<u16>,
    /// How often it was worked out.
    times: Kept<u32>,
}

impl<'a> Allowance<'a> {
    /// What caps on the mean power and on that of any window leave an application with this demand,
    /// none of whose sub-networks takes less energy than `least` or less time, and none more time
    /// than `slowest_us`.
    #[must_use]
    #[inline]
    pub fn new(
        demand: &'a Demand,
        idle: &'a Idle,
        mean: &'a Cap,
        peak: &'a Cap,
        least: &Cell,
        slowest_us: u32,
    ) -> Self {
        // No crest is higher than that of the shortest request.
        let most_q10 = demand.crest_q10(0);
        let (mut surely_mw, mut others) = (mean.surely_mw(idle), &mean.others);
        if peak.mw != NO_POWER_CAP {
            let peak_q10 = u64::from(peak.surely_mw(idle)) << 10;
            let peak_mw = peak_q10.checked_div(u64::from(most_q10)).unwrap_or(0);
            surely_mw = surely_mw.min(u32::try_from(peak_mw).unwrap_or(u32::MAX));
            others = &peak.others;
        }
        let surely_uj = demand.weighing(surely_mw);
        let allowance = Self {
            demand,
            idle,
            mean,
            peak,
            surely_uj,
            known: Kept::new(0),
            keeping: Kept::new(0),
            times: Kept::new(0),
        };
        // What draws the least keeps them where any does, unless more of the time makes it less.
        let slowest = demand.busy(&Cell { latency_us: slowest_us, energy_uj: 0 });
        let bound = others.with(&slowest.raised(most_q10)).permille <= 1000;
        if bound && least.energy_uj > surely_uj && !allowance.work_out(0, least, slowest_us) {
            allowance.known.set(u16::MAX);
        }
        allowance
    }

    /// Whether the caps are kept with this sub-network, whose cell it is.
    #[must_use]
    #[inline]
    pub fn keeps(&self, index: u8, cell: &Cell) -> bool {
        cell.energy_uj <= self.surely_uj
            || self.work_out(1_u16.wrapping_shl(index.into()), cell, cell.latency_us)
    }

    /// Whether the caps are kept with what this cell takes and the crest of this latency; known
    /// from then on of the sub-network of this bit.
    #[inline(never)]
    fn work_out(&self, bit: u16, cell: &Cell, crest_us: u32) -> bool {
        let (known, keeping) = (self.known.get(), self.keeping.get());
        if known & bit != 0 {
            return keeping & bit != 0;
        }
        self.times.set(self.times.get().saturating_add(1));
        self.known.set(known | bit);
        let own = self.demand.busy(cell);
        if self.peak.mw != NO_POWER_CAP {
            let raised = own.raised(self.demand.crest_q10(crest_us));
            let busy = self.peak.others.with(&raised);
            if !self.peak.keeps(busy, self.idle) {
                return false;
            }
            // Where that cap is kept, and the board is not always busy over a window, so is one on
            // the mean that is no lower.
            if self.peak.mw <= self.mean.mw && busy.permille <= 1000 {
                self.keeping.set(keeping | bit);
                return true;
            }
        }
        let keeps = self.mean.keeps(self.mean.others.with(&own), self.idle);
        if keeps {
            self.keeping.set(keeping | bit);
        }
        keeps
    }

    /// Whether it is known that no sub-network keeps the caps.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.get() == u16::MAX && self.keeping.get() == 0
    }

    /// How often it was worked out whether a sub-network keeps the caps.
    #[must_use]
    pub fn times(&self) -> u32 {
        self.times.get()
    }
}

#[cfg(test)]
mod tests {
    use std::{vec, vec::Vec};

    use super::*;

    fn idles() -> Vec<Idle> {
        let parked = |park_mw, run_mw, cost| Idle::parked(park_mw, run_mw, cost);
        vec![
            Idle::awake(0),
            Idle::awake(4_000),
            Idle::awake(u32::MAX),
            parked(1_500, 4_000, 0),
            parked(1_500, 4_000, 130),
            parked(1_500, 4_000, 499),
            parked(1_500, 4_000, 500),
            parked(4_000, 1_500, 20),
            parked(0, u32::MAX, 7),
        ]
    }

    #[test]
    fn a_cap_is_kept_where_no_more_than_it_is_drawn() {
        let edges = [0, 1, 239, 240, 739, 740, 741, 999, 1000, 1001, 2_500, u32::MAX];
        let mut kept = [0; 2];
        for idle in idles() {
            for (others, own) in edges.into_iter().flat_map(|a| edges.map(|b| (a, b))) {
                for work_mw in [0, 900, 4_200_000, u32::MAX] {
                    let others = Busy { work_mw: 500, permille: others };
                    let own = Busy { work_mw, permille: own };
                    let drawn_mw = others.with(&own).drawn_mw(&idle);
                    let caps = [0, 3_999, 5_000, u32::MAX - 1];
                    for cap_mw in caps.into_iter().chain([drawn_mw, drawn_mw.saturating_sub(1)]) {
                        // A saturated power is more than any cap.
                        let fits = drawn_mw <= cap_mw && drawn_mw < u32::MAX;
                        let keeps = Cap { mw: cap_mw, others }.keeps(others.with(&own), &idle);
                        if drawn_mw < u32::MAX {
                            assert_eq!(keeps, fits, "{cap_mw} {others:?} {own:?} {idle:?}");
                        }
                        kept[usize::from(fits)] += 1;
                    }
                }
            }
        }
        assert!(kept.iter().all(|count| *count > 1000), "{kept:?}");
    }

    #[test]
    fn more_work_for_as_long_draws_no_less() {
        for idle in idles() {
            for permille in (0..1_500).step_by(7) {
                let drawn_mw = |work_mw| Busy { work_mw, permille }.drawn_mw(&idle);
                assert!(drawn_mw(1_000) <= drawn_mw(1_001));
                assert!(idle.mw(permille) <= idle.mw(permille + 7), "{idle:?}");
            }
        }
    }

    #[test]
    fn what_a_busy_board_draws_is_the_same_in_either_width() {
        for permille in [1_001, 1_500, 40_000] {
            for work_mw in [1 << 21, (1 << 22) - 1, 1 << 22, (1 << 22) + 1] {
                let drawn_mw = Busy { work_mw, permille }.drawn_beyond_idle_mw();
                assert_eq!(u64::from(drawn_mw), u64::from(work_mw) * 1000 / u64::from(permille));
            }
        }
    }
}
