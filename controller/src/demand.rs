//! What one application demands of the board, and the sub-network that serves it best.
//!
//! Everything that does not depend on the level is worked out once a change of targets or of the
//! slowdown, divisions included. The sub-network that would run at a level if nothing stood in its
//! way is worked out when a decision first asks for it, and kept as long as it holds
//! ([`Demand::alone`]). A decision then looks cells up, and searches a level again only where
//! another application or a cap stands in the way.

use coshift_shared::policy::{Cell, Column, PolicyView};
use coshift_shared::to_controller::{Degrade, Objective, Targets};
use coshift_shared::units::MAX_LEVELS;

use crate::allowance::Busy;
use crate::column::{Bounds, MAX, first_at, last, leanest, quickest};
use crate::kept::{Ends, Memo, Pick, high, low};

/// Reserve on deadlines that a level must have over the current one to be changed to without
/// need: 0.5 %.
pub const HYSTERESIS_PERMILLE: u32 = 5;

/// Time over which a cap on power is kept, µs: the windows in which the proving ground counts time
/// over caps (`over_power_s`, docs/scenarios.md).
pub const CAP_WINDOW_US: u32 = 100_000;

/// Which guard counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Margin {
    /// The guard itself: for the level there is, and where the way out of trouble is sought.
    Plain,
    /// The guard raised by [`HYSTERESIS_PERMILLE`]: for levels to be changed to without need.
    Reserve,
}

/// A guard and its reciprocal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Guard {
    q24: u32,
    /// 2⁴⁸ ÷ guard, rounded down.
    inverse_q24: u32,
    /// Largest policy latency that keeps deadline and utilisation alone, µs.
    limit_us: u32,
}

/// Demand of one application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    plain: Guard,
    reserve: Guard,
    /// 1000 ÷ period (µs) × mean slowdown, Q.20: times a latency in µs it gives utilisation in
    /// 0.1 %, times an energy in µJ it gives mean power in mW.
    weight_q20: u32,
    /// 2³⁶ ÷ weight, rounded down.
    inverse_weight_q16: u32,
    /// 2³² ÷ period (µs), rounded up.
    rate_q32: u32,
    /// Period ÷ [`CAP_WINDOW_US`], Q.16, rounded up.
    windows_q16: u32,
    /// Requests that lie in such a window in full, however it lies.
    whole: u32,
    /// What is left of the window beside those, µs.
    rest_us: u32,
    /// Largest policy energy within the budget, µJ; `u32::MAX` where there is none.
    budget_uj: u32,
    /// First sub-network that keeps the accuracy floor; as many as there are where none does.
    floor: u8,
    /// Pick of each level: of either guard, as mostly both give the same.
    picks: [Memo<Pick>; MAX_LEVELS],
    /// The deadline goes before the floor.
    keeps_floor: bool,
    /// Levels whose ends are known, a bit each.
    ends_known: Memo<u32>,
    /// Ends of each level.
    ends: [Memo<Ends>; MAX_LEVELS],
    /// Levels whose quickest sub-network is known, a bit each.
    quickest_known: Memo<u32>,
    /// The fastest sub-network of each level that the application can come to.
    quickest: [Memo<u8>; MAX_LEVELS],
}

/// A sub-network considered for one application at one level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Its index.
    pub sub_network: u8,
    /// Policy's latency, µs.
    pub latency_us: u32,
    /// Policy's energy beyond idle, µJ.
    pub energy_uj: u32,
    /// Guarded latency, µs.
    pub guarded_us: u32,
    /// Share of the board's time, 0.1 %.
    pub utilisation_permille: u32,
    /// Mean power beyond idle, mW.
    pub power_mw: u32,
}

impl Load {
    /// What it takes in the mean.
    #[must_use]
    pub fn busy(&self) -> Busy {
        Busy { work_mw: self.power_mw, permille: self.utilisation_permille }
    }

    /// Its place in the policy.
    #[must_use]
    pub fn cell(&self) -> Cell {
        Cell { latency_us: self.latency_us, energy_uj: self.energy_uj }
    }
}

/// The bit of a level.
fn bit(level: u8) -> u32 {
    1_u32.wrapping_shl(u32::from(level))
}

/// `numerator ÷ divisor`, saturating; the largest value for a divisor of 0.
fn ratio(numerator: u64, divisor: u32) -> u32 {
    numerator
        .checked_div(u64::from(divisor))
        .map_or(u32::MAX, |value| u32::try_from(value).unwrap_or(u32::MAX))
}

/// `a·b ÷ 2^shift`, saturating.
fn scaled(a: u32, b: u32, shift: u32) -> u32 {
    u32::try_from(u64::from(a).saturating_mul(u64::from(b)) >> shift).unwrap_or(u32::MAX)
}

impl Demand {
    /// The demand of an application with these targets, and the slowdown's mean and guard.
    #[must_use]
    pub fn new(targets: &Targets, policy: &PolicyView<'_>, mean_q24: u32, guard_q24: u32) -> Self {
        let mut demand = Self {
            plain: Guard::default(),
            reserve: Guard::default(),
            weight_q20: 0,
            inverse_weight_q16: 0,
            rate_q32: ratio(1 << 32, targets.period_us).saturating_add(1),
            windows_q16: ratio(u64::from(targets.period_us) << 16, CAP_WINDOW_US).saturating_add(1),
            whole: CAP_WINDOW_US.checked_div(targets.period_us).unwrap_or(u32::MAX),
            rest_us: CAP_WINDOW_US.checked_rem(targets.period_us).unwrap_or(0),
            budget_uj: u32::MAX,
            floor: 0,
            picks: [const { Memo::new(Pick::UNKNOWN) }; MAX_LEVELS],
            keeps_floor: targets.degrade == Degrade::Deadline,
            ends_known: Memo::new(0),
            ends: [const { Memo::new(Ends { fastest: 0, reach: 0 }) }; MAX_LEVELS],
            quickest_known: Memo::new(0),
            quickest: [const { Memo::new(0) }; MAX_LEVELS],
        };
        if let Some(table) = policy.table(targets.table) {
            demand.floor = first_at(&table, targets.accuracy_floor_bp);
        }
        demand.follow(targets, policy, mean_q24, guard_q24);
        demand
    }

    /// Takes in another slowdown.
    pub fn follow(
        &mut self,
        targets: &Targets,
        policy: &PolicyView<'_>,
        mean_q24: u32,
        guard_q24: u32,
    ) {
        let per_us = ratio(1000 << 20, targets.period_us);
        self.weight_q20 = scaled(per_us, mean_q24, 24);
        self.inverse_weight_q16 = ratio(1 << 36, self.weight_q20);
        let budget_uj = if budgeted(targets) {
            ratio((u64::from(targets.energy_budget_uj) << 24) | 0xff_ffff, mean_q24)
        } else {
            u32::MAX
        };
        // Utilisation is cut off to whole 0.1 %.
        let utilisation = u64::from(policy.utilisation_permille());
        let most_us = ratio((utilisation << 20) | 0xf_ffff, self.weight_q20);
        let raise = scaled(guard_q24, (HYSTERESIS_PERMILLE << 20) / 1000, 20);
        let deadline_us = targets.deadline_us;
        if budget_uj != self.budget_uj {
            self.budget_uj = budget_uj;
            self.picks.iter().for_each(|pick| pick.set(Pick::UNKNOWN));
            self.quickest_known.set(0);
        }
        self.plain = Guard::new(guard_q24, deadline_us, most_us);
        self.reserve = Guard::new(guard_q24.saturating_add(raise), deadline_us, most_us);
    }

    /// Forgets what is only kept to save work.
    pub fn forget(&mut self) {
        self.picks.iter().for_each(|pick| pick.set(Pick::UNKNOWN));
        self.ends_known.set(0);
        self.quickest_known.set(0);
    }

    fn guard(&self, margin: Margin) -> &Guard {
        match margin {
            Margin::Plain => &self.plain,
            Margin::Reserve => &self.reserve,
        }
    }

    /// The sub-network at `level` as long as only the application's own promises count, where it
    /// is known.
    #[must_use]
    pub fn known(&self, column: Column<'_>, level: u8, margin: Margin) -> Option<u8> {
        let limit_us = self.guard(margin).limit_us;
        self.picks.get(usize::from(level))?.get().at(column, limit_us)
    }

    /// The sub-network at `level` as long as only the application's own promises count; known
    /// from then on.
    #[must_use]
    pub fn alone(&self, targets: &Targets, column: Column<'_>, level: u8, margin: Margin) -> u8 {
        let limit_us = self.guard(margin).limit_us;
        let bounds = Bounds { latency_us: limit_us, ..Bounds::OPEN };
        let sub_network = self.search(targets, column, level, bounds);
        if let Some(place) = self.picks.get(usize::from(level)) {
            place.set(Pick::around(column, limit_us, sub_network));
        }
        sub_network
    }

    /// The sub-network at `level` within `bounds` and the application's own promises.
    #[must_use]
    pub fn within(
        &self,
        targets: &Targets,
        column: Column<'_>,
        level: u8,
        bounds: Bounds<'_>,
        margin: Margin,
    ) -> u8 {
        let latency_us = bounds.latency_us.min(self.guard(margin).limit_us);
        self.search(targets, column, level, Bounds { latency_us, ..bounds })
    }

    /// The sub-network that keeps every promise and serves the objective best; where there is
    /// none, the one that gives up what the application declared.
    #[inline(never)]
    fn search(&self, targets: &Targets, column: Column<'_>, level: u8, bounds: Bounds<'_>) -> u8 {
        let within = Bounds { energy_uj: bounds.energy_uj.min(self.budget_uj), ..bounds };
        // Where the fastest at the floor is too slow, none serves.
        let fastest = self.fastest_both(column, level);
        let quick = column.cell(high(fastest)).is_some_and(|c| c.latency_us <= bounds.latency_us);
        if !quick || self.floor >= column.len() {
            return self.degraded(targets, column, fastest, bounds, within);
        }
        let served = match targets.objective {
            Objective::BestAccuracy => last(column, self.floor, MAX, within),
            Objective::LeastLatency => quickest(column, self.floor, within),
            _ => leanest(column, self.floor, within),
        };
        served.unwrap_or_else(|| self.degraded(targets, column, fastest, bounds, within))
    }

    /// What is given up, first to last: `accuracy` the floor, then the budget, then the deadline;
    /// `energy` the budget, then the floor, then the deadline; `deadline` the deadline, never the
    /// floor as long as any sub-network has it. The cap on energy goes before the deadline.
    #[inline(never)]
    fn degraded(
        &self,
        targets: &Targets,
        column: Column<'_>,
        fastest: u8,
        bounds: Bounds<'_>,
        within: Bounds<'_>,
    ) -> u8 {
        let free = within.energy_uj == u32::MAX && within.allowance.is_none();
        let budgeted = bounds.energy_uj != within.energy_uj;
        let (capped, within_budget) = (bounds.any_time(), within.any_time());
        let in_time =
            column.cell(low(fastest)).is_some_and(|cell| cell.latency_us <= bounds.latency_us);
        let found = match targets.degrade {
            Degrade::Deadline if free && self.floor < column.len() => return high(fastest),
            Degrade::Deadline => {
                // Without a row at the floor, the most accurate one alone counts.
                let from = self.floor.min(column.len().saturating_sub(1));
                let found = quickest(column, from, within_budget).or_else(|| {
                    // Without a budget the two bounds are the same.
                    budgeted.then(|| quickest(column, from, capped)).flatten()
                });
                return found.or_else(|| leanest(column, from, Bounds::OPEN)).unwrap_or(0);
            }
            _ if !in_time => None,
            Degrade::Energy => {
                leanest(column, self.floor, bounds).or_else(|| last(column, 0, self.floor, bounds))
            }
            _ => {
                let lower = last(column, 0, self.floor, within);
                // Without a budget the two bounds are the same.
                lower.or_else(|| budgeted.then(|| leanest(column, 0, bounds)).flatten())
            }
        };
        found
            .or_else(|| {
                // Neither deadline nor cap need be lost where the cap alone can be kept.
                bounds.allowance.and_then(|_| quickest(column, 0, capped))
            })
            .unwrap_or(low(fastest))
    }

    /// Weighs a sub-network.
    #[must_use]
    pub fn load(&self, column: Column<'_>, sub_network: u8, margin: Margin) -> Option<Load> {
        let Cell { latency_us, energy_uj } = column.cell(sub_network)?;
        Some(Load {
            sub_network,
            latency_us,
            energy_uj,
            guarded_us: scaled(latency_us, self.guard(margin).q24, 24),
            utilisation_permille: scaled(latency_us, self.weight_q20, 20),
            power_mw: self.power_mw(energy_uj),
        })
    }

    /// What requests of this sub-network take in the mean.
    #[must_use]
    pub fn busy(&self, cell: &Cell) -> Busy {
        Busy {
            work_mw: self.power_mw(cell.energy_uj),
            permille: scaled(cell.latency_us, self.weight_q20, 20),
        }
    }

    /// Mean power of requests that take so much energy each, mW.
    #[must_use]
    pub fn power_mw(&self, energy_uj: u32) -> u32 {
        scaled(energy_uj, self.weight_q20, 20)
    }

    /// Policy's latency whose guarded latency is at most `guarded_us`, µs.
    #[must_use]
    pub fn latency_within(&self, guarded_us: u32, margin: Margin) -> u32 {
        scaled(guarded_us, self.guard(margin).inverse_q24, 24)
    }

    /// Policy's latency (µs) or energy (µJ) whose utilisation (0.1 %) or power (mW) is at most
    /// `amount`.
    #[must_use]
    pub fn weighing(&self, amount: u32) -> u32 {
        scaled(amount, self.inverse_weight_q16, 16)
    }

    /// Requests that become due in `us`, Q16.16, rounded up.
    #[must_use]
    pub fn requests_q16(&self, us: u32) -> u32 {
        scaled(us, self.rate_q32, 16).saturating_add(1)
    }

    /// How much more of a window of [`CAP_WINDOW_US`] requests of this latency can take than of the
    /// mean one, Q.10, at least 1. With `T` the period, `W` the window and `L` the latency
    ///
    /// ```text
    /// crest = T/W · (⌊W/T⌋ + min(1, (W mod T)/L))
    /// ```
    ///
    /// for requests at least a period apart. The latency is the policy's, without slowdown: a
    /// longer one has a lower crest.
    #[must_use]
    pub fn crest_q10(&self, latency_us: u32) -> u32 {
        let part_q10 = if self.rest_us < latency_us {
            // The rest is at most a window: no overflow.
            (self.rest_us << 10).checked_div(latency_us).unwrap_or(1 << 10)
        } else {
            1 << 10
        };
        let requests_q10 = (self.whole.min(CAP_WINDOW_US) << 10).saturating_add(part_q10);
        scaled(requests_q10, self.windows_q16, 16).max(1 << 10)
    }

    /// First sub-network at the accuracy floor.
    #[must_use]
    pub fn floor(&self) -> u8 {
        self.floor
    }

    /// Largest policy energy within the budget, µJ.
    #[must_use]
    pub fn budget_uj(&self) -> u32 {
        self.budget_uj
    }

    /// The fastest sub-network at `level`.
    #[must_use]
    pub fn fastest(&self, column: Column<'_>, level: u8) -> u8 {
        low(self.fastest_both(column, level))
    }

    /// The fastest sub-network at `level` that keeps the floor, where any does.
    #[must_use]
    pub fn fastest_at_floor(&self, column: Column<'_>, level: u8) -> u8 {
        high(self.fastest_both(column, level))
    }

    /// Whether any sub-network at `level` keeps floor and deadline.
    #[must_use]
    pub fn can_serve(&self, column: Column<'_>, level: u8, margin: Margin) -> bool {
        let fastest = column.cell(self.fastest_at_floor(column, level));
        self.floor < column.len()
            && fastest.is_some_and(|cell| cell.latency_us <= self.guard(margin).limit_us)
    }

    /// Whether the ends of `level` are known; they are once asked for.
    #[must_use]
    pub fn knows_ends(&self, level: u8) -> bool {
        self.ends_known.get() & bit(level) != 0
    }

    /// Whether [`Self::quickest`] at `level` takes no search; it does not once asked for.
    #[must_use]
    pub fn knows_quickest(&self, level: u8, capped: bool) -> bool {
        capped || !self.keeps_floor || self.quickest_known.get() & bit(level) != 0
    }

    /// The fastest sub-network at `level` that the application can come to, whatever it gives up:
    /// one whose deadline goes first keeps the floor, or the most accurate sub-network where none
    /// is at it, and the budget where any of those does, but for a cap on power, which goes before the
    /// budget; any other may come to any sub-network.
    #[must_use]
    pub fn quickest(&self, column: Column<'_>, level: u8, capped: bool) -> u8 {
        if !self.keeps_floor {
            return self.fastest(column, level);
        }
        if capped && self.floor < column.len() {
            return self.fastest_at_floor(column, level);
        }
        let Some(place) = self.quickest.get(usize::from(level)) else { return 0 };
        let known = self.quickest_known.get();
        if known & bit(level) == 0 {
            place.set(self.quickest_of(column, level));
            self.quickest_known.set(known | bit(level));
        }
        place.get()
    }

    #[inline(never)]
    fn quickest_of(&self, column: Column<'_>, level: u8) -> u8 {
        let last = column.len().saturating_sub(1);
        if self.floor > last {
            return last;
        }
        let fastest = self.fastest_at_floor(column, level);
        if column.cell(fastest).is_none_or(|cell| cell.energy_uj <= self.budget_uj) {
            return fastest;
        }
        self.quickest_served(column).unwrap_or(fastest)
    }

    /// Bounds of what the application can come to at `level`, whatever it gives up: the least
    /// power beyond idle, mW, and the most utilisation, 0.1 %.
    #[must_use]
    pub fn reach(&self, column: Column<'_>, level: u8) -> (u32, u32) {
        let reach = self.ends(column, level).reach;
        let (Some(leanest), Some(slowest)) = (column.cell(low(reach)), column.cell(high(reach)))
        else {
            return (0, u32::MAX);
        };
        (self.power_mw(leanest.energy_uj), scaled(slowest.latency_us, self.weight_q20, 20))
    }

    /// No sub-network at `level` that the application can come to takes less energy than this cell,
    /// or less time, or more time than the second.
    #[must_use]
    pub fn extent(&self, column: Column<'_>, level: u8) -> (Cell, u32) {
        let Ends { fastest, reach } = self.ends(column, level);
        let at = |index| column.cell(index).unwrap_or(Cell { latency_us: 0, energy_uj: 0 });
        let latency_us = at(low(fastest)).latency_us;
        let energy_uj = at(low(reach)).energy_uj;
        (Cell { latency_us, energy_uj }, at(high(reach)).latency_us)
    }

    fn fastest_both(&self, column: Column<'_>, level: u8) -> u8 {
        self.ends(column, level).fastest
    }

    fn ends(&self, column: Column<'_>, level: u8) -> Ends {
        let Some(place) = self.ends.get(usize::from(level)) else { return Ends::default() };
        let known = self.ends_known.get();
        if known & bit(level) == 0 {
            let from = if self.keeps_floor { self.floor } else { 0 };
            place.set(Ends::of(column, self.floor, from.min(column.len().saturating_sub(1))));
            self.ends_known.set(known | bit(level));
        }
        place.get()
    }

    /// Whether a sub-network keeps every promise of the application, contention left out.
    #[must_use]
    pub fn serves(&self, load: &Load, margin: Margin) -> bool {
        load.sub_network >= self.floor
            && load.energy_uj <= self.budget_uj
            && load.latency_us <= self.guard(margin).limit_us
    }

    /// The sub-network within this policy latency that takes least energy of those that keep every
    /// promise of the application.
    #[must_use]
    pub fn leanest_served(&self, column: Column<'_>, most_us: u32, margin: Margin) -> Option<u8> {
        let latency_us = most_us.min(self.guard(margin).limit_us);
        let within = Bounds { latency_us, energy_uj: self.budget_uj, ..Bounds::OPEN };
        leanest(column, self.floor, within)
    }

    /// The fastest sub-network at the floor within the budget.
    #[must_use]
    pub fn quickest_served(&self, column: Column<'_>) -> Option<u8> {
        let within = Bounds { energy_uj: self.budget_uj, ..Bounds::OPEN };
        quickest(column, self.floor, within)
    }

    /// Least energy of a sub-network that keeps floor and deadline, µJ.
    #[must_use]
    pub fn least_energy_uj(&self, column: Column<'_>) -> u32 {
        let bounds = Bounds { latency_us: self.plain.limit_us, ..Bounds::OPEN };
        leanest(column, self.floor, bounds)
            .and_then(|index| column.cell(index))
            .map_or(u32::MAX, |cell| cell.energy_uj)
    }
}

impl Guard {
    fn new(q24: u32, deadline_us: u32, most_us: u32) -> Self {
        let inverse_q24 = ratio(1 << 48, q24);
        Self { q24, inverse_q24, limit_us: scaled(deadline_us, inverse_q24, 24).min(most_us) }
    }
}

/// Whether the energy budget counts: least energy has no use for one.
fn budgeted(targets: &Targets) -> bool {
    targets.energy_budget_uj > 0 && targets.objective != Objective::LeastEnergy
}
