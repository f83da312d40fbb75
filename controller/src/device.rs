//! The level: the one tuple of clocks that all applications share.
//!
//! Every level is judged by the sub-networks its applications would run there and scored
//! lexicographically; the least score wins:
//!
//! 1. power over the cap, mW
//! 2. applications not served, the highest priority counting more than all lower ones together
//! 3. utilisation over the limit, 0.1 %
//! 4. time over deadlines, µs
//! 5. accuracy under floors, 0.01 %
//! 6. mean power `idle(level) + Σ rate·energy·slowdown`, mW
//!
//! A level *fits* when all but the last are zero. Requests are served one after another, earliest
//! deadline first, none interrupted: each application may be blocked by the longest guarded
//! request of the others.

use coshift_shared::policy::PolicyView;
use coshift_shared::to_controller::Degrade;
use coshift_shared::to_host::{Missing, Shortfall};
use coshift_shared::units::{MAX_APPLICATIONS, NO_POWER_CAP, NO_SUB_NETWORK};

use crate::application::{Application, Demand, Pick, Rank};

/// Reserve on deadlines and power that a level must have over the current one to be changed to
/// without need: 0.5 %.
pub const HYSTERESIS_PERMILLE: u32 = 5;

/// The slots of the board.
pub type Slots = [Option<Application>; MAX_APPLICATIONS];

/// What is wrong with a level; the order of the fields is the order of weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Trouble {
    /// Power over the cap, mW.
    pub over_cap_mw: u32,
    /// Applications not served, one bit each, ranked by priority.
    pub unserved: u32,
    /// Utilisation over the limit, 0.1 %.
    pub over_utilisation_permille: u32,
    /// Time over deadlines, summed, µs.
    pub late_us: u32,
    /// Accuracy under floors, summed, 0.01 %.
    pub short_bp: u32,
}

impl Trouble {
    /// Every promise is kept.
    pub const NONE: Self =
        Self { over_cap_mw: 0, unserved: 0, over_utilisation_permille: 0, late_us: 0, short_bp: 0 };
}

/// A level with the sub-networks that would run there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The level.
    pub level: u8,
    /// What is wrong with it.
    pub trouble: Trouble,
    /// Mean power, mW.
    pub power_mw: u32,
    /// Sub-network of each slot.
    pub sub_networks: [u8; MAX_APPLICATIONS],
}

/// The device manager's view of one moment.
#[derive(Debug, Clone, Copy)]
pub struct Board<'p> {
    policy: PolicyView<'p>,
    demands: [Option<Demand<'p>>; MAX_APPLICATIONS],
    /// Weight of each slot in [`Trouble::unserved`].
    weights: [u32; MAX_APPLICATIONS],
    power_cap_mw: u32,
}

impl<'p> Board<'p> {
    /// The view of `slots` under a power cap, with deadlines' guards raised by
    /// `hysteresis_permille`.
    #[must_use]
    pub fn new(
        policy: PolicyView<'p>,
        slots: &Slots,
        power_cap_mw: u32,
        hysteresis_permille: u32,
    ) -> Self {
        let demands =
            slots.map(|slot| slot.and_then(|slot| slot.demand(&policy, hysteresis_permille)));
        let mut weights = [0; MAX_APPLICATIONS];
        for (slot, weight) in (0..MAX_APPLICATIONS).zip(&mut weights) {
            let Some(own) = demands.get(slot).and_then(Option::as_ref) else { continue };
            let lower = (0..MAX_APPLICATIONS).zip(&demands).filter(|(other, demand)| {
                demand.as_ref().is_some_and(|demand| {
                    // Among equals the lower slot came first and counts more.
                    (demand.priority(), core::cmp::Reverse(*other))
                        < (own.priority(), core::cmp::Reverse(slot))
                })
            });
            // Not `count`: adapters of core that count inherit the overflow checks of this crate,
            // and a check the compiler cannot remove is a panic path.
            *weight = lower.fold(1_u32, |weight, _| weight.wrapping_shl(1));
        }
        Self { policy, demands, weights, power_cap_mw }
    }

    /// The level that needs least power with nothing to do.
    #[must_use]
    pub fn safest_level(&self) -> u8 {
        let idle = |level: u8| self.policy.level(level).map_or(u32::MAX, |level| level.idle_mw);
        (0..self.policy.levels()).min_by_key(|level| idle(*level)).unwrap_or(0)
    }

    /// Judges one level.
    #[must_use]
    pub fn judge(&self, level: u8) -> Candidate {
        let promised = self.judge_as(level, Rank::Promised);
        if promised.trouble.over_cap_mw == 0 {
            return promised;
        }
        // Over the cap: what the applications that give up accuracy first can save.
        let frugal = self.judge_as(level, Rank::Frugal);
        if frugal.trouble.over_cap_mw < promised.trouble.over_cap_mw { frugal } else { promised }
    }

    fn judge_as(&self, level: u8, rank: Rank) -> Candidate {
        let rank_of = |demand: &Demand<'_>| match demand.degrade() {
            Degrade::Deadline => Rank::Promised,
            _ => rank,
        };
        let choose = |demand: &Option<Demand<'_>>, blocking_us: u32| {
            demand.as_ref().and_then(|demand| demand.pick(level, blocking_us, rank_of(demand)))
        };
        let alone: [Option<Pick>; MAX_APPLICATIONS] =
            core::array::from_fn(|slot| self.demands.get(slot).and_then(|d| choose(d, 0)));
        let picks = if alone.iter().flatten().nth(1).is_none() {
            alone
        } else {
            self.with_blocking(&alone, choose)
        };
        self.sum(level, &picks)
    }

    /// Picks again with the blocking that the first picks cause, and charges the blocking that
    /// the second ones cause.
    fn with_blocking(
        &self,
        alone: &[Option<Pick>; MAX_APPLICATIONS],
        choose: impl Fn(&Option<Demand<'p>>, u32) -> Option<Pick>,
    ) -> [Option<Pick>; MAX_APPLICATIONS] {
        let again: [Option<Pick>; MAX_APPLICATIONS] = core::array::from_fn(|slot| {
            self.demands.get(slot).and_then(|demand| choose(demand, longest_other(alone, slot)))
        });
        core::array::from_fn(|slot| {
            let mut pick = again.get(slot).copied().flatten()?;
            let deadline_us = self.demands.get(slot)?.as_ref()?.deadline_us();
            pick.late_us = pick
                .guarded_us
                .saturating_add(longest_other(&again, slot))
                .saturating_sub(deadline_us);
            Some(pick)
        })
    }

    fn sum(&self, level: u8, picks: &[Option<Pick>; MAX_APPLICATIONS]) -> Candidate {
        let mut trouble = Trouble::NONE;
        let mut power_mw = self.policy.level(level).map_or(u32::MAX, |level| level.idle_mw);
        let mut utilisation = 0_u32;
        let mut sub_networks = [NO_SUB_NETWORK; MAX_APPLICATIONS];
        for ((pick, weight), sub_network) in
            picks.iter().zip(self.weights).zip(sub_networks.iter_mut())
        {
            let Some(pick) = pick else { continue };
            *sub_network = pick.sub_network;
            power_mw = power_mw.saturating_add(pick.power_mw);
            utilisation = utilisation.saturating_add(pick.utilisation_permille);
            trouble.late_us = trouble.late_us.saturating_add(pick.late_us);
            trouble.short_bp = trouble.short_bp.saturating_add(u32::from(pick.short_bp));
            if !pick.serves() {
                trouble.unserved |= weight;
            }
        }
        let limit = u32::from(self.policy.utilisation_permille());
        trouble.over_utilisation_permille = utilisation.saturating_sub(limit);
        trouble.over_cap_mw = power_mw.saturating_sub(self.power_cap_mw);
        Candidate { level, trouble, power_mw, sub_networks }
    }

    /// The best level; among equals the lowest.
    #[must_use]
    pub fn best(&self) -> Candidate {
        let mut best = self.judge(0);
        for level in 1..self.policy.levels() {
            let candidate = self.judge(level);
            if (candidate.trouble, candidate.power_mw) < (best.trouble, best.power_mw) {
                best = candidate;
            }
        }
        best
    }

    /// Names what is missing where no level fits.
    #[must_use]
    pub fn shortfall(&self) -> Shortfall {
        let slots = || {
            (0..u8::MAX).zip(&self.demands).filter_map(|(slot, d)| d.as_ref().map(|d| (slot, d)))
        };
        if let Some((slot, missing)) = slots()
            .map(|(slot, demand)| (slot, demand.accuracy_missing_bp()))
            .find(|(_, missing)| *missing > 0)
        {
            return Shortfall { what: Missing::Accuracy, slot, amount: u32::from(missing) };
        }
        let levels = || 0..self.policy.levels();
        for (slot, demand) in slots() {
            let missing = levels().map(|level| demand.time_missing_us(level)).min().unwrap_or(0);
            if missing > 0 {
                return Shortfall { what: Missing::Time, slot, amount: missing };
            }
        }
        let uncapped = Self { power_cap_mw: NO_POWER_CAP, ..*self }.best();
        if uncapped.trouble == Trouble::NONE {
            let amount = uncapped.power_mw.saturating_sub(self.power_cap_mw);
            return Shortfall { what: Missing::Power, slot: u8::MAX, amount };
        }
        // Each application fits alone, together they do not.
        if uncapped.trouble.over_utilisation_permille > 0 {
            let amount = uncapped.trouble.over_utilisation_permille;
            return Shortfall { what: Missing::Utilisation, slot: u8::MAX, amount };
        }
        let slot = (0..u8::MAX)
            .zip(self.weights)
            .find(|(_, weight)| uncapped.trouble.unserved & weight != 0)
            .map_or(u8::MAX, |(slot, _)| slot);
        Shortfall { what: Missing::Time, slot, amount: uncapped.trouble.late_us }
    }
}

/// The longest guarded request of the other slots, µs.
fn longest_other(picks: &[Option<Pick>; MAX_APPLICATIONS], own: usize) -> u32 {
    (0..MAX_APPLICATIONS)
        .zip(picks)
        .filter(|(slot, _)| *slot != own)
        .filter_map(|(_, pick)| pick.as_ref().map(|pick| pick.guarded_us))
        .max()
        .unwrap_or(0)
}
