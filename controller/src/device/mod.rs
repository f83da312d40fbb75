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
//! 6. energy over budgets, µJ
//! 7. what the objectives wish for beyond promises, the highest priority first: accuracy that is
//!    missing to 100 % (best accuracy), latency (least latency), nothing (least energy)
//! 8. mean power `bias(level)·(idle(level) + Σ rate·energy·slowdown)`, mW; where the agent parks
//!    the board between requests, `idle` is that of [`crate::parking`]
//!
//! A level *fits* when 1 to 6 are zero. Sub-networks are taken as if each application were alone;
//! where that does not fit, each in turn, the lowest priority first, makes room for the others,
//! and then saves power, within its own promises as long as that is possible.

mod bound;
mod caps;
mod rank;
mod room;
mod search;
mod shortfall;

use coshift_shared::policy::{PolicyView, TableView};
use coshift_shared::to_controller::Objective;
use coshift_shared::units::{MAX_APPLICATIONS, NO_POWER_CAP, NO_SUB_NETWORK};

pub use caps::PowerCaps;
pub use rank::{Candidate, Rank, Trouble};
pub use search::{BEGIN, Effort, Round, Search, Way};

use crate::allowance::Busy;
use crate::application::Application;
use crate::column::Bounds;
use crate::demand::{Demand, Load, Margin};
use crate::held::reaches;
use crate::parking::{Idle, Parking};
use crate::power::Power;
use crate::schedule::{Loads, Schedule, Times};

/// The slots of the board.
pub type Slots = [Option<Application>; MAX_APPLICATIONS];

/// One application as the device manager sees it.
#[derive(Debug, Clone, Copy)]
struct Seat<'a, 'p> {
    application: &'a Application,
    demand: &'a Demand,
    table: TableView<'p>,
    /// Bit in [`Trouble::unserved`]; larger is served first.
    weight: u8,
    /// Slots that are served before this one, a bit each.
    outranked_by: u8,
}

/// The device manager's view of one moment.
#[derive(Debug, Clone, Copy)]
pub struct Board<'a, 'p> {
    policy: PolicyView<'p>,
    seats: [Option<Seat<'a, 'p>>; MAX_APPLICATIONS],
    /// Slots, the lowest priority first; only those in use are named.
    order: [u8; MAX_APPLICATIONS],
    schedule: Schedule,
    caps: PowerCaps,
    power: &'a Power,
    /// Where the agent parks the board between requests.
    parking: Option<Parking>,
    /// Levels that can be had, a bit each.
    reach: u32,
    /// More than one application.
    shared: bool,
    /// Some application wishes for more than its promises.
    wishing: bool,
}

/// Sub-networks at one level, and what follows from them.
#[derive(Debug, Clone, Copy, Default)]
struct Plan {
    loads: Loads,
    times: Times,
    /// What the level takes with nothing to do.
    idle: Idle,
    /// Of the requests, without bias, mW.
    work_mw: u32,
    /// 0.1 %.
    utilisation: u32,
    /// Mean power, mW.
    power_mw: u32,
    /// Over a cap, mW.
    over_cap_mw: u32,
    /// See [`Candidate::uncapped_mw`].
    uncapped_mw: u32,
    /// Effort so far; see [`Effort`].
    effort: u32,
}

/// A level that was judged up to where promises go for the caps: one step need not do both.
#[derive(Debug, Clone, Copy)]
pub struct Half {
    level: u8,
    plan: Plan,
}

impl Half {
    /// Whether hardly anything is left to be done.
    #[must_use]
    pub fn keeps_caps(&self) -> bool {
        self.plan.over_cap_mw == 0
    }
}

impl Plan {
    fn busy(&self) -> Busy {
        Busy { work_mw: self.work_mw, permille: self.utilisation }
    }
}

/// The slots by rank, the lowest priority first; among equals the lower slot came first and ranks
/// higher. Empty slots are named last, as [`NO_SUB_NETWORK`].
fn ranked(slots: &[Option<Application>]) -> [u8; MAX_APPLICATIONS] {
    let mut order = [NO_SUB_NETWORK; MAX_APPLICATIONS];
    let mut left = 0_u8;
    for (bit, slot) in [1_u8, 2, 4, 8].into_iter().zip(slots) {
        if slot.is_some() {
            left |= bit;
        }
    }
    for place in &mut order {
        let mut lowest: Option<(u8, u8, u8)> = None;
        for ((index, bit), slot) in (0_u8..4).zip([1_u8, 2, 4, 8]).zip(slots) {
            let Some(application) = slot.as_ref().filter(|_| left & bit != 0) else { continue };
            let priority = application.targets.priority;
            if lowest.is_none_or(|(least, _, _)| priority <= least) {
                lowest = Some((priority, index, bit));
            }
        }
        let Some((_, index, bit)) = lowest else { break };
        *place = index;
        left &= !bit;
    }
    order
}

/// What follows from the applications' targets alone: worked out when they change.
#[derive(Debug, Clone, Copy)]
pub struct Arrangement {
    /// Slots, the lowest priority first; only those in use are named.
    order: [u8; MAX_APPLICATIONS],
    schedule: Schedule,
    /// More than one application.
    shared: bool,
    /// Some application wishes for more than its promises.
    wishing: bool,
}

impl Arrangement {
    /// The arrangement of these applications; slots left out at the end are empty.
    #[must_use]
    pub fn new(slots: &[Option<Application>]) -> Self {
        let wishes =
            |application: &Application| application.targets.objective != Objective::LeastEnergy;
        Self {
            order: ranked(slots),
            schedule: Schedule::new(slots),
            shared: slots.iter().flatten().nth(1).is_some(),
            wishing: slots.iter().flatten().any(wishes),
        }
    }

    /// Whether there are several applications.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.shared
    }
}

impl<'a, 'p> Board<'a, 'p> {
    /// The view of `slots` under caps; `parks` says that the agent may park the board.
    #[must_use]
    pub fn new(
        policy: PolicyView<'p>,
        slots: &'a Slots,
        caps: PowerCaps,
        power: &'a Power,
        parks: bool,
    ) -> Self {
        Self::arranged(policy, slots, &Arrangement::new(slots), caps, power, parks, u32::MAX)
    }

    /// The same, where the arrangement of the slots is known, with only the levels of `reach` to
    /// choose from, a bit each; see [`crate::held`].
    #[must_use]
    #[inline]
    pub fn arranged(
        policy: PolicyView<'p>,
        slots: &'a Slots,
        arrangement: &Arrangement,
        caps: PowerCaps,
        power: &'a Power,
        parks: bool,
        reach: u32,
    ) -> Self {
        let Arrangement { order, schedule, shared, wishing } = *arrangement;
        let mut seats: [Option<Seat<'a, 'p>>; MAX_APPLICATIONS] = [None; MAX_APPLICATIONS];
        let mut others = 0b1111_u8;
        for (weight, slot) in [1_u8, 2, 4, 8].into_iter().zip(order) {
            let application = slots.get(usize::from(slot)).and_then(Option::as_ref);
            let Some(application) = application else { continue };
            others &= !1_u8.wrapping_shl(u32::from(slot));
            if let Some(place) = seats.get_mut(usize::from(slot)) {
                *place = policy.table(application.targets.table).map(|table| Seat {
                    application,
                    demand: application.demand(),
                    table,
                    weight,
                    outranked_by: others,
                });
            }
        }
        let parking = if parks { Parking::new(&policy, slots) } else { None };
        Self { policy, seats, order, schedule, caps, power, parking, reach, shared, wishing }
    }

    /// The same with only these levels to choose from, a bit each; see [`crate::held`].
    #[must_use]
    pub fn within(self, reach: u32) -> Self {
        Self { reach, ..self }
    }

    /// The lowest level that can be had.
    #[must_use]
    pub fn lowest(&self) -> u8 {
        (0..self.policy.levels()).find(|level| self.has(*level)).unwrap_or(0)
    }

    /// Whether a level can be had.
    fn has(&self, level: u8) -> bool {
        reaches(self.reach, level)
    }

    /// The level that needs least power with nothing to do.
    #[must_use]
    pub fn safest_level(&self) -> u8 {
        let idle = |level: u8| self.policy.level(level).map_or(u32::MAX, |level| level.idle_mw);
        (0..self.policy.levels()).min_by_key(|level| idle(*level)).unwrap_or(0)
    }

    /// Judges one level.
    #[must_use]
    pub fn judge(&self, level: u8, margin: Margin) -> Candidate {
        self.judge_in(level, margin, &mut Plan::default())
    }

    /// Judges one level; `plan` is room to work in.
    fn judge_in(&self, level: u8, margin: Margin, plan: &mut Plan) -> Candidate {
        self.settle_in(level, margin, plan);
        self.finish(level, margin, plan)
    }

    #[inline(never)]
    fn settle_in(&self, level: u8, margin: Margin, plan: &mut Plan) {
        plan.idle = self.idle(level);
        self.alone(level, margin, plan);
        self.settle(level, margin, plan);
    }

    /// Judges the first half of a level, and notes what that took.
    #[must_use]
    pub fn begin(&self, level: u8, margin: Margin, effort: &mut Effort) -> Half {
        let mut half = Half { level, plan: Plan::default() };
        self.settle_in(level, margin, &mut half.plan);
        effort.spend(core::mem::take(&mut half.plan.effort));
        half
    }

    /// Judges the other half, and notes what that took.
    #[must_use]
    pub fn end(&self, half: &mut Half, margin: Margin, effort: &mut Effort) -> Candidate {
        let candidate = self.finish(half.level, margin, &mut half.plan);
        effort.spend(core::mem::take(&mut half.plan.effort));
        candidate
    }

    /// Takes each application as if it were alone. Those whose promises that does not keep, as in
    /// [`Trouble`].
    fn alone(&self, level: u8, margin: Margin, plan: &mut Plan) -> u8 {
        let mut unserved = 0;
        (plan.work_mw, plan.utilisation) = (0, 0);
        plan.effort = plan.effort.saturating_add(search::LEVEL);
        for (place, seat) in plan.loads.iter_mut().zip(&self.seats) {
            let Some(seat) = seat else { continue };
            plan.effort = plan.effort.saturating_add(const { search::ALONE + search::SETTLE });
            let column = seat.table.column(level);
            let pick = seat.demand.known(column, level, margin).unwrap_or_else(|| {
                plan.effort = plan.effort.saturating_add(search::pick(column.len()));
                seat.demand.alone(&seat.application.targets, column, level, margin)
            });
            let Some(load) = seat.demand.load(column, pick, margin) else { continue };
            plan.work_mw = plan.work_mw.saturating_add(load.power_mw);
            plan.utilisation = plan.utilisation.saturating_add(load.utilisation_permille);
            if !seat.demand.serves(&load, margin) {
                unserved |= seat.weight;
            }
            *place = Some(load);
        }
        unserved
    }

    /// What each application takes beside the others, and, as far as that costs no promise, under the
    /// caps.
    fn settle(&self, level: u8, margin: Margin, plan: &mut Plan) {
        self.schedule.times(&plan.loads, self.shared, &mut plan.times);
        if self.shared && !self.holds_together(plan) {
            self.make_room(level, margin, plan, false);
            if !self.holds_together(plan) {
                self.make_room(level, margin, plan, true);
            }
        }
        plan.uncapped_mw = u32::MAX;
        self.draw(level, margin, plan);
        if plan.over_cap_mw > 0 && self.holds_together(plan) && self.all_served(plan, margin) {
            plan.uncapped_mw = self.cap_mw(margin).saturating_add(plan.over_cap_mw);
            self.save(level, margin, plan, false);
            self.draw(level, margin, plan);
        }
    }

    /// The candidate, with what the caps leave where they are not kept yet.
    #[inline(never)]
    fn finish(&self, level: u8, margin: Margin, plan: &mut Plan) -> Candidate {
        if plan.over_cap_mw > 0 {
            self.save(level, margin, plan, true);
            self.draw(level, margin, plan);
        }
        let Plan { power_mw, over_cap_mw, uncapped_mw, .. } = *plan;
        let candidate = Candidate {
            level,
            trouble: Trouble { over_cap_mw, ..Trouble::NONE },
            wishes: [0; MAX_APPLICATIONS],
            power_mw,
            sub_networks: [NO_SUB_NETWORK; MAX_APPLICATIONS],
            uncapped_mw,
        };
        let mut candidate = self.weighed(margin, plan, candidate);
        if candidate.trouble == Trouble::NONE {
            candidate.uncapped_mw = power_mw;
        }
        candidate
    }

    fn cap_mw(&self, margin: Margin) -> u32 {
        match margin {
            Margin::Plain => self.caps.plain_mw,
            Margin::Reserve => self.caps.reserve_mw,
        }
    }

    fn peak_cap_mw(&self, margin: Margin) -> u32 {
        match margin {
            Margin::Plain => self.caps.peak_mw,
            Margin::Reserve => self.caps.peak_reserve_mw,
        }
    }

    /// Weighs what a plan draws.
    fn draw(&self, level: u8, margin: Margin, plan: &mut Plan) {
        (plan.power_mw, plan.over_cap_mw) = self.over_mw(level, margin, plan);
    }

    /// Mean power of a plan, and by how much it is over the cap, or over that on any window, mW.
    #[inline(never)]
    fn over_mw(&self, level: u8, margin: Margin, plan: &Plan) -> (u32, u32) {
        let power_mw = self.biased(level, plan.busy().drawn_mw(&plan.idle));
        let mut over_mw = power_mw.saturating_sub(self.cap_mw(margin));
        let peak_cap_mw = self.peak_cap_mw(margin);
        if peak_cap_mw != NO_POWER_CAP {
            let peak_mw = self.biased(level, self.peaks(plan).drawn_mw(&plan.idle));
            over_mw = over_mw.max(peak_mw.saturating_sub(peak_cap_mw));
        }
        (power_mw, over_mw)
    }

    /// What a level takes with nothing to do.
    fn idle(&self, level: u8) -> Idle {
        let Some(level) = self.policy.level(level) else { return Idle::awake(u32::MAX) };
        match &self.parking {
            Some(parking) => parking.idle(&level),
            None => Idle::awake(level.idle_mw),
        }
    }

    /// Power with the bias of a level, mW.
    fn biased(&self, level: u8, power_mw: u32) -> u32 {
        let bias = u64::from(self.power.bias_q15(level));
        u32::try_from(u64::from(power_mw).saturating_mul(bias) >> 15).unwrap_or(u32::MAX)
    }

    /// Whether every application's own promises are kept; contention is left out.
    fn all_served(&self, plan: &Plan, margin: Margin) -> bool {
        let pairs = plan.loads.iter().zip(&self.seats);
        let mut both = pairs.filter_map(|(load, seat)| Some((load.as_ref()?, seat.as_ref()?)));
        both.all(|(load, seat)| seat.demand.serves(load, margin))
    }

    fn seat(&self, slot: usize) -> Option<&Seat<'a, 'p>> {
        self.seats.get(slot).and_then(Option::as_ref)
    }

    /// The candidate with what its sub-networks leave to be wished for; its power was weighed.
    #[inline(never)]
    fn weighed(&self, margin: Margin, plan: &Plan, mut candidate: Candidate) -> Candidate {
        let limit_permille = u32::from(self.policy.utilisation_permille());
        let Candidate { trouble, wishes, sub_networks, .. } = &mut candidate;
        trouble.over_utilisation_permille = plan.utilisation.saturating_sub(limit_permille);
        let late = self.schedule.late_us(&plan.times);
        for (((load, seat), sub_network), late_us) in
            plan.loads.iter().zip(&self.seats).zip(sub_networks).zip(late)
        {
            let (Some(load), Some(seat)) = (load, seat) else { continue };
            *sub_network = load.sub_network;
            if late_us > 0 || !seat.demand.serves(load, margin) {
                trouble.unserved |= seat.weight;
                trouble.late_us = trouble.late_us.saturating_add(late_us);
                trouble.short_bp = trouble.short_bp.saturating_add(seat.short_bp(load));
                let over = load.energy_uj.saturating_sub(seat.demand.budget_uj());
                trouble.over_budget_uj = trouble.over_budget_uj.saturating_add(over);
            }
            if self.wishing {
                seat.put_wish(load, wishes);
            }
        }
        candidate
    }

    /// These sub-networks, one a slot, at `level`, by the plain guard.
    #[inline(never)]
    fn plan_of(&self, level: u8, sub_networks: &[u8; MAX_APPLICATIONS]) -> Plan {
        let mut plan = Plan { idle: self.idle(level), ..Plan::default() };
        for ((place, seat), sub_network) in plan.loads.iter_mut().zip(&self.seats).zip(sub_networks)
        {
            let Some(seat) = seat else { continue };
            let load = seat.demand.load(seat.table.column(level), *sub_network, Margin::Plain);
            let Some(load) = load else { continue };
            plan.work_mw = plan.work_mw.saturating_add(load.power_mw);
            plan.utilisation = plan.utilisation.saturating_add(load.utilisation_permille);
            *place = Some(load);
        }
        self.schedule.times(&plan.loads, self.shared, &mut plan.times);
        plan
    }

    /// Whether these sub-networks, one a slot, keep every promise at `level`, by the plain guard.
    #[must_use]
    #[inline(never)]
    pub fn keeps(&self, level: u8, sub_networks: &[u8; MAX_APPLICATIONS]) -> bool {
        let plan = self.plan_of(level, sub_networks);
        self.all_served(&plan, Margin::Plain)
            && self.holds_together(&plan)
            && self.over_mw(level, Margin::Plain, &plan).1 == 0
    }

    /// `level` with these sub-networks, one a slot, by the plain guard; `None` where an application
    /// has none of them. What would fit without a cap is left out.
    #[must_use]
    pub fn candidate(&self, level: u8, sub_networks: &[u8; MAX_APPLICATIONS]) -> Option<Candidate> {
        let candidate = self.incomplete(level, sub_networks);
        let mut named = candidate.sub_networks.iter().zip(&self.seats);
        named
            .all(|(sub_network, seat)| (*sub_network != NO_SUB_NETWORK) == seat.is_some())
            .then_some(candidate)
    }

    /// The same, without the applications that have none of them.
    #[must_use]
    #[inline(never)]
    pub fn incomplete(&self, level: u8, sub_networks: &[u8; MAX_APPLICATIONS]) -> Candidate {
        let plan = self.plan_of(level, sub_networks);
        let (power_mw, over_cap_mw) = self.over_mw(level, Margin::Plain, &plan);
        let candidate = Candidate {
            level,
            trouble: Trouble { over_cap_mw, ..Trouble::NONE },
            wishes: [0; MAX_APPLICATIONS],
            power_mw,
            sub_networks: [NO_SUB_NETWORK; MAX_APPLICATIONS],
            uncapped_mw: u32::MAX,
        };
        self.weighed(Margin::Plain, &plan, candidate)
    }

    /// The best level; among equals the lowest. Its `uncapped_mw` is the least of all levels
    /// where something was in the way.
    #[must_use]
    pub fn best(&self, margin: Margin) -> Candidate {
        let levels = self.policy.levels();
        let round = Round::after(levels.saturating_sub(1), Way::Up, false, false, levels);
        let mut search = Search::new(margin, round, None, false);
        loop {
            if let Some(best) = search.advance(self, &mut Effort::endless()) {
                return Candidate { uncapped_mw: search.round().uncapped_mw, ..best };
            }
        }
    }

    /// The same by judging every level: what [`Board::best`] must give.
    #[must_use]
    pub fn best_of_all(&self, margin: Margin) -> Candidate {
        let mut best = self.judge(self.lowest(), margin);
        let mut uncapped_mw = best.uncapped_mw;
        for level in (0..self.policy.levels()).filter(|level| self.has(*level)) {
            let candidate = self.judge(level, margin);
            uncapped_mw = uncapped_mw.min(candidate.uncapped_mw);
            if candidate.beats(&best) {
                best = candidate;
            }
        }
        best.uncapped_mw = uncapped_mw;
        best
    }
}

impl Seat<'_, '_> {
    fn pick(
        &self,
        level: u8,
        bounds: Bounds<'_>,
        margin: Margin,
        effort: &mut u32,
    ) -> Option<Load> {
        let column = self.table.column(level);
        *effort = effort.saturating_add(search::pick(column.len()));
        let targets = &self.application.targets;
        let sub_network = self.demand.within(targets, column, level, bounds, margin);
        self.demand.load(column, sub_network, margin)
    }

    /// Accuracy under the floor, 0.01 %.
    fn short_bp(&self, load: &Load) -> u32 {
        if load.sub_network >= self.demand.floor() {
            return 0;
        }
        let accuracy_bp = self.accuracy_bp(load.sub_network);
        u32::from(self.application.targets.accuracy_floor_bp.saturating_sub(accuracy_bp))
    }

    fn accuracy_bp(&self, sub_network: u8) -> u16 {
        self.table.sub_network(sub_network).map_or(0, |row| row.accuracy_bp)
    }

    /// Puts what is wished for in its place.
    fn put_wish(&self, load: &Load, wishes: &mut [u32; MAX_APPLICATIONS]) {
        // 8, 4, 2, 1: the highest priority first.
        let place = self.weight.leading_zeros().saturating_sub(4);
        let place = usize::try_from(place).unwrap_or(0);
        if let Some(wish) = wishes.get_mut(place) {
            *wish = self.wish(load);
        }
    }

    fn wish(&self, load: &Load) -> u32 {
        match self.application.targets.objective {
            Objective::BestAccuracy => {
                10_000_u32.saturating_sub(u32::from(self.accuracy_bp(load.sub_network)))
            }
            Objective::LeastLatency => load.latency_us,
            _ => 0,
        }
    }
}
