//! What holds for every policy and every stream of inputs, saturated ones included.

mod common;

use common::random::{asked, policy, shape};
use common::streams::{
    Event, at_once, bad_seed, event, is_telemetry, limits, outcomes, stamped, telemetry, true_seed,
};
use common::{Bench, PERIOD_US, decision, step};
use coshift_controller::controller::{BEARABLE_MDEG_C, SEARCH};
use coshift_controller::demand::Margin;
use coshift_controller::device::{Board, PowerCaps, Slots, Trouble};
use coshift_controller::power::{Power, TEMP_RESERVE_MDEG_C};
use coshift_controller::{Controller, Input, Outputs};
use coshift_shared::policy::PolicyView;
use coshift_shared::time::{Duration, Instant};
use coshift_shared::to_controller::{
    Application, ApplicationState, Change, Degrade, DeviceState, Limits, Objective, Outcomes, Seed,
    SeedState, Targets, Telemetry, Temperature, ToController,
};
use coshift_shared::to_host::{Decision, Missing, Mode, Reason, ToHost};
use coshift_shared::units::{Age, NO_LEVEL, NO_POWER_CAP, NO_SUB_NETWORK, NO_TEMP_CAP};
use proptest::prelude::*;

/// A controller with its clock.
struct Driver<'p> {
    view: PolicyView<'p>,
    controller: Controller<'p>,
    now: Instant,
    seq: u16,
    /// See [`Event::Keep`].
    kept: Option<Vec<SeedState>>,
}

impl<'p> Driver<'p> {
    fn new(view: PolicyView<'p>, start: u32) -> Self {
        let now = Instant::from_us(start);
        let mut controller = Controller::new(Some(view));
        controller.start_session(now, PERIOD_US, 7);
        Self { view, controller, now, seq: 0, kept: None }
    }

    /// The same with no bound on the search of a decision.
    fn searching_all(view: PolicyView<'p>, start: u32) -> Self {
        let driver = Self::new(view, start);
        Self { controller: driver.controller.searching(u32::MAX), ..driver }
    }

    fn happen(&mut self, event: &Event) -> Outputs {
        match event {
            Event::Message(message) => self.give(message),
            Event::Seed(states) => self.seed(states),
            Event::Keep => {
                self.kept = Some(self.controller.seed().to_vec());
                Outputs::new()
            }
            Event::Kept => {
                let states = self.kept.clone();
                self.seed(&states.unwrap_or_else(|| self.controller.seed().to_vec()))
            }
            Event::Tick(us) => {
                self.now = self.now.after(Duration::from_us(*us));
                self.controller.step(self.now, Input::Tick)
            }
            Event::Wait(us) => {
                self.now = self.now.after(Duration::from_us(*us));
                Outputs::new()
            }
        }
    }

    /// Gives all parts of a seed; what the last one sends.
    fn seed(&mut self, states: &[SeedState]) -> Outputs {
        let parts = u8::try_from(states.len()).expect("a few parts");
        let mut out = Outputs::new();
        for (part, state) in (0..parts).zip(states) {
            out = self.give(&ToController::Seed(Seed { at_us: 0, part, parts, state: *state }));
        }
        out
    }

    fn give(&mut self, message: &ToController) -> Outputs {
        let message = stamped(message, self.now.us());
        self.seq = self.seq.wrapping_add(1);
        step(&mut self.controller, self.now, &message, self.seq)
    }

    /// What the controller knows of power, taken from its seed, the hottest temperature, and whether
    /// it was read too long ago.
    fn knows(&self) -> (Power, Option<i32>, bool) {
        let mut power = Power::default();
        let mut hottest = None;
        let mut blind = false;
        for part in &self.controller.seed() {
            match part {
                SeedState::Power(state) => {
                    let settled = (state.settled_q8 != u32::MAX).then_some(state.settled_q8);
                    power.load_common(state.common_q15, settled, state.sure_q8);
                }
                SeedState::Bias(state) => power.load_levels(state.first, &state.factors),
                SeedState::Sensors(state) => {
                    hottest = (state.temp_mdeg_c != i32::MIN).then_some(state.temp_mdeg_c);
                    blind = state.telemetry_us.wrapping_sub(state.believed_us) >= 25 * PERIOD_US;
                }
                _ => {}
            }
        }
        (power, hottest, blind)
    }

    /// Runs `look` on the board as the device manager sees it.
    fn board<T>(&self, temp_cap: i32, parks: bool, look: impl FnOnce(&Board<'_, '_>) -> T) -> T {
        let (power, hottest, blind) = self.knows();
        let thermal = |hottest: Option<i32>| match hottest {
            Some(last) if blind => {
                power.blind_cap_mw(last, temp_cap, self.view.resistance_50mk_w())
            }
            hottest => power.thermal_cap_mw(hottest, temp_cap),
        };
        let cap_mw = self.controller.power_cap_mw();
        let hotter = hottest.map(|hot: i32| hot.saturating_add(TEMP_RESERVE_MDEG_C));
        let caps = PowerCaps::new(cap_mw, thermal(hottest), thermal(hotter));
        let board = Board::new(self.view, self.controller.slots(), caps, &power, parks);
        look(&board.within(self.controller.held().reach()))
    }

    fn idle_mw(&self, level: u8) -> u32 {
        self.view.level(level).expect("a level of the policy").idle_mw
    }
}

/// Levels and sub-networks exist, or nothing was decided yet.
fn check_indices(
    driver: &Driver<'_>,
    slots: &Slots,
    found: &Decision,
) -> Result<(), TestCaseError> {
    if found.run_level == NO_LEVEL {
        prop_assert_eq!(found.sub_networks, [NO_SUB_NETWORK; 4]);
        return Ok(());
    }
    prop_assert!(found.run_level < driver.view.levels(), "{:?}", found);
    prop_assert!(found.park_level == NO_LEVEL || found.park_level < driver.view.levels());
    for (slot, sub_network) in slots.iter().zip(found.sub_networks) {
        let Some(slot) = slot else { continue };
        let table = driver.view.table(slot.targets.table).unwrap();
        // An application that came since has none before the next decision.
        prop_assert!(sub_network == NO_SUB_NETWORK || sub_network < table.len(), "{:?}", found);
    }
    Ok(())
}

fn sent(out: &Outputs) -> impl Iterator<Item = Decision> {
    out.iter().filter_map(|output| match output {
        ToHost::Decision(decision) => Some(*decision),
        _ => None,
    })
}

/// Limits in force, which the controller does not tell.
#[derive(Clone, Copy)]
struct Told {
    temp_cap: i32,
    parks: bool,
}

impl Told {
    fn new(view: &PolicyView<'_>) -> Self {
        Self { temp_cap: view.temp_cap_mdeg_c(), parks: false }
    }

    fn hear(&mut self, event: &Event) {
        if let Event::Message(ToController::Limits(limits)) = event {
            (self.temp_cap, self.parks) = (limits.temp_cap_mdeg_c, limits.parking);
        }
    }
}

/// Power while the hungriest of the sub-networks runs, mW.
fn busy_mw(policy: &PolicyView<'_>, decision: &Decision) -> u32 {
    let table = policy.table(0).unwrap();
    let cells = decision.sub_networks.iter().filter_map(|sub| table.cell(*sub, decision.run_level));
    let most = cells.map(|cell| cell.energy_uj * 100 / (cell.latency_us / 10)).max();
    policy.level(decision.run_level).unwrap().idle_mw + most.unwrap_or(0)
}

/// A seed whose device part names no level, and whose next part is refused, comes between a decision
/// that outcomes made and the telemetry behind it.
#[test]
fn a_seed_that_is_cut_short_leaves_no_telemetry_without_a_level() {
    let image = policy(1, 10, 3, 4_866_235_433_449_928_268, false);
    let mut driver = Driver::new(PolicyView::open(&image).unwrap(), Instant::START.us());
    let targets = Targets {
        table: 0,
        objective: Objective::LeastEnergy,
        deadline_us: 9_097,
        period_us: 9_808,
        accuracy_floor_bp: 0,
        miss_target_bp: 500,
        priority: 0,
        degrade: Degrade::Accuracy,
        energy_budget_uj: 0,
    };
    let change = Change::Set(targets);
    driver.give(&ToController::Application(Application { at_us: 0, slot: 1, change }));
    let telemetry = ToController::Telemetry(Telemetry {
        level: 0,
        power_mw: 1_000,
        ..common::telemetry(Instant::START, 35_000)
    });
    let level = |out: &Outputs| decision(out).expect("an answer").run_level;
    driver.happen(&Event::Wait(PERIOD_US));
    assert_eq!(level(&driver.give(&telemetry)), 0);
    driver.happen(&Event::Wait(PERIOD_US));
    let outcomes = ToController::Outcomes(Outcomes {
        at_us: 0,
        slot: 1,
        sub_network: 0,
        level: 0,
        first_index: 0,
        samples: [[255; 2]].into_iter().collect(),
        outcomes_total: 0,
        misses_total: 0,
    });
    assert!(decision(&driver.give(&outcomes)).is_some(), "no decision out of danger");
    let cut = driver.controller.seed().iter().rev().find_map(|part| match part {
        SeedState::Device(state) => Some(DeviceState { run_level: NO_LEVEL, ..*state }),
        _ => None,
    });
    driver.seed(&[SeedState::Device(cut.unwrap()), SeedState::Unused]);
    assert_eq!(level(&driver.give(&telemetry)), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Every index of every decision exists, also after seeds that lie, and every telemetry is
    /// answered by exactly one decision that names a sub-network for every application, but for those
    /// that came after another decision of the same period, or of which a seed says nothing.
    #[test]
    fn every_telemetry_is_answered_by_a_decision_whose_indices_exist(
        (levels, sub_networks, tables, seed, wild) in shape(),
        events in prop::collection::vec(
            prop_oneof![20 => event(), 2 => bad_seed(), 1 => true_seed()], 1..80
        ),
    ) {
        let image = policy(levels, sub_networks, tables, seed, wild);
        let mut driver = Driver::new(PolicyView::open(&image).unwrap(), Instant::START.us());
        let mut extra = false;
        for event in &events {
            let before = driver.controller.slots().clone();
            let out = driver.happen(event);
            let slots = driver.controller.slots().clone();
            // What time brought about came before an application of the same step.
            let application = matches!(event, Event::Message(ToController::Application(_)));
            for decision in sent(&out) {
                check_indices(&driver, if application { &before } else { &slots }, &decision)?;
            }
            if is_telemetry(event) {
                let answer = decision(&out);
                prop_assert!(answer.is_some(), "no answer");
                let answer = answer.unwrap();
                prop_assert_eq!(answer.at_us, driver.now.us());
                prop_assert!(answer.run_level != NO_LEVEL);
                let extra = core::mem::take(&mut extra);
                for (slot, sub) in driver.controller.slots().iter().zip(answer.sub_networks) {
                    let named = sub != NO_SUB_NETWORK;
                    prop_assert!(named == slot.is_some() || (extra && !named));
                }
            } else {
                let seeded = matches!(event, Event::Seed(_) | Event::Kept);
                extra |= sent(&out).count() > 0 || seeded;
            }
        }
    }

    /// With no bound on the search, the answer to telemetry in mode Run keeps every promise whenever
    /// judging every level finds one that does; and then its power is under the cap. What was
    /// decided since the last telemetry stands for a period.
    #[test]
    fn a_decision_is_feasible_and_under_the_cap_whenever_any_level_is(
        (levels, sub_networks, tables, seed, wild) in shape(),
        events in prop::collection::vec(event(), 1..80),
    ) {
        let image = policy(levels, sub_networks, tables, seed, wild);
        let mut driver = Driver::searching_all(PolicyView::open(&image).unwrap(), Instant::START.us());
        let mut told = Told::new(&driver.view);
        let mut extra = false;
        for event in &events {
            told.hear(event);
            let out = driver.happen(event);
            let Some(found) = decision(&out).filter(|_| is_telemetry(event)) else {
                extra |= sent(&out).count() > 0;
                continue;
            };
            if core::mem::take(&mut extra) || found.mode != Mode::Run || found.reason == Reason::Idle {
                continue;
            }
            let (best, runs, judged) = driver.board(told.temp_cap, told.parks, |board| {
                let (level, judged) = (driver.controller.level(), [Margin::Plain, Margin::Reserve]);
                let runs = board.candidate(level, &found.sub_networks);
                (board.best_of_all(Margin::Plain), runs, judged.map(|m| board.judge(level, m)))
            });
            let feasible = found.reason != Reason::Infeasible;
            // What runs may keep what the rules miss; then it is left as it is.
            let kept = runs.is_some_and(|runs| runs.trouble == Trouble::NONE);
            let fits = kept || best.trouble == Trouble::NONE;
            prop_assert_eq!(feasible, fits, "{:?}, {:?}", found, best);
            let cap_mw = driver.controller.power_cap_mw();
            prop_assert!(!feasible || found.power_mw <= cap_mw, "{:?} over {}", found, cap_mw);
            if kept && judged.iter().all(|judged| judged.trouble != Trouble::NONE) {
                continue;
            }
            // A level that is newly taken is chosen, and its sub-networks with it, under the reserve.
            let chosen = judged.iter().find(|judged| judged.power_mw == found.power_mw);
            prop_assert!(chosen.is_some(), "{:?}, {:?}", found, judged);
            let judged = judged[0];
            // Nothing fits, but some level is under the cap: then this one is.
            let under = best.trouble.over_cap_mw == 0;
            prop_assert!(!under || judged.trouble.over_cap_mw == 0, "{:?}, {:?}", found, best);
        }
    }

    /// Whatever happened before: once things stay as they are, the bounded search has come round
    /// after a level a period at most; then every promise is kept where judging every level finds
    /// one that does, and only otherwise nothing is said to.
    #[test]
    fn a_board_that_comes_to_rest_is_served_within_two_rounds(
        (levels, sub_networks, tables, seed, wild) in shape(),
        events in prop::collection::vec(event(), 1..80),
        last in telemetry(),
        effort in prop_oneof![Just(0), Just(SEARCH)],
    ) {
        let image = policy(levels, sub_networks, tables, seed, wild);
        let driver = Driver::new(PolicyView::open(&image).unwrap(), Instant::START.us());
        let mut driver = Driver { controller: driver.controller.searching(effort), ..driver };
        let mut told = Told::new(&driver.view);
        for event in &events {
            told.hear(event);
            driver.happen(event);
        }
        // Nothing is learned any more, of power, temperature or clocks.
        let quiet = Telemetry {
            level: NO_LEVEL, clocks_mhz: [0; 3], power_age: Age::MISSING,
            temperatures: [Temperature { mdeg_c: 40_000, age: Age::FRESH }, Temperature::MISSING],
            ..last
        };
        let mut found = None;
        // Decisions that take turns look at a level every other time.
        for _ in 0..2 * (2 * levels) + 60 {
            driver.happen(&Event::Wait(PERIOD_US));
            found = decision(&driver.give(&ToController::Telemetry(quiet)));
        }
        let found = found.unwrap();
        if found.mode != Mode::Run || found.reason == Reason::Idle {
            return Ok(());
        }
        let (best, runs) = driver.board(told.temp_cap, told.parks, |board| {
            let runs = board.candidate(driver.controller.level(), &found.sub_networks);
            (board.best_of_all(Margin::Plain), runs)
        });
        // What runs may keep what the rules miss; then it is left as it is.
        let kept = runs.is_some_and(|runs| runs.trouble == Trouble::NONE);
        let fits = kept || best.trouble == Trouble::NONE;
        prop_assert_eq!(found.reason != Reason::Infeasible, fits, "{:?}, {:?}", found, best);
        let cap_mw = driver.controller.power_cap_mw();
        prop_assert!(!fits || found.power_mw <= cap_mw, "{:?} over {}", found, cap_mw);
        // Without a cap no power is missing.
        let uncapped = cap_mw == NO_POWER_CAP && told.temp_cap == NO_TEMP_CAP;
        let missing = matches!(found.shortfall.what, Missing::Power | Missing::Temperature);
        prop_assert!(!(uncapped && missing), "{:?}", found);
    }

    /// Between two changes of the level lies the dwell, unless the old level is in trouble, or
    /// targets, caps or applications changed, or a failsafe came or went.
    #[test]
    fn without_danger_the_level_changes_no_faster_than_the_dwell(
        (levels, sub_networks, tables, seed, wild) in shape(),
        asked in prop::collection::vec(asked(), 1..=4),
        caps in limits(),
        events in prop::collection::vec(prop_oneof![
            1 => telemetry().prop_map(|m| {
                // Clocks that something holds are a danger of their own.
                let silent = Telemetry { level: NO_LEVEL, clocks_mhz: [0; 3], ..m };
                Event::Message(ToController::Telemetry(silent))
            }),
            1 => outcomes().prop_map(|m| Event::Message(ToController::Outcomes(m))),
            1 => Just(Event::Wait(PERIOD_US)),
        ], 40..160),
    ) {
        let image = policy(levels, sub_networks, tables, seed, wild);
        let mut driver = Driver::new(PolicyView::open(&image).unwrap(), Instant::START.us());
        let mut told = Told::new(&driver.view);
        let setup: Vec<_> = (0_u8..)
            .zip(&asked)
            .map(|(slot, targets)| {
                let table = targets.table % driver.view.tables();
                let change = Change::Set(Targets { table, ..*targets });
                Event::Message(ToController::Application(Application { at_us: 0, slot, change }))
            })
            .chain([Event::Message(ToController::Limits(caps))])
            .collect();
        for event in &setup {
            told.hear(event);
            driver.happen(event);
        }
        let (mut last, mut changed_at): (Option<Decision>, _) = (None, driver.now);
        let mut decisions_in_run = 41;
        // What was asked for is looked for without dwell until all levels were looked at.
        for _ in 0..40 {
            driver.happen(&Event::Wait(PERIOD_US));
            let quiet = common::heat_alone(40_000);
            let found = decision(&driver.give(&ToController::Telemetry(quiet)));
            let level = |decision: Option<Decision>| decision.map(|decision| decision.run_level);
            if level(found) != level(last) {
                changed_at = driver.now;
            }
            last = found;
        }
        for event in &events {
            let mut event = event.clone();
            if let Event::Message(ToController::Outcomes(outcomes)) = &mut event {
                // Requests run where the board was asked to be.
                outcomes.level = driver.controller.decision(driver.now).run_level;
            }
            let out = driver.happen(&event);
            for found in sent(&out) {
                decisions_in_run = if found.mode == Mode::Run { decisions_in_run + 1 } else { 0 };
                let before = last.replace(found);
                let Some(before) = before.filter(|b| b.run_level != found.run_level) else {
                    continue;
                };
                let rested = driver.now.since(changed_at).us() >= 500_000;
                changed_at = driver.now;
                // What comes after a failsafe is looked for as what was asked for.
                if rested || found.mode != Mode::Run || decisions_in_run <= 40 {
                    continue;
                }
                let (old, new) = driver.board(told.temp_cap, told.parks, |board| {
                    let judge = |level| board.judge(level, Margin::Plain).trouble;
                    (judge(before.run_level), judge(found.run_level))
                });
                prop_assert!(new.kinds() < old.kinds(), "{:?} {:?}: {:?} then {:?}", old, new, before, found);
            }
        }
    }

    /// From the moment telemetry is stale until it comes again the level stays, and then is the
    /// one with the least idle power or, where less power is predicted for it, still the same, whatever
    /// else is sent.
    #[test]
    fn blind_never_raises_the_level(
        (levels, sub_networks, tables, seed, wild) in shape(),
        before in prop::collection::vec(event(), 1..40),
        blind in prop::collection::vec(event(), 1..40),
    ) {
        let image = policy(levels, sub_networks, tables, seed, wild);
        let mut driver = Driver::new(PolicyView::open(&image).unwrap(), Instant::START.us());
        for event in &before {
            driver.happen(event);
        }
        driver.happen(&Event::Tick(0));
        let mut last = driver.controller.decision(driver.now);
        if last.run_level == NO_LEVEL {
            return Ok(());
        }
        // What is asked for differs from what was chosen while something holds a clock.
        let chosen = driver.controller.level();
        driver.happen(&Event::Tick(5 * PERIOD_US));
        for event in blind.iter().filter(|event| !is_telemetry(event)) {
            driver.happen(event);
            let now = driver.controller.decision(driver.now);
            let least = (0..levels as u8).map(|level| driver.idle_mw(level)).min().unwrap();
            prop_assert!(now.mode != Mode::Run, "{:?}", now);
            if now.mode == Mode::Hold {
                prop_assert_eq!(now.run_level, last.run_level);
                for (now, last) in now.sub_networks.into_iter().zip(last.sub_networks) {
                    // None where another application took the slot.
                    prop_assert!(now == last || now == NO_SUB_NETWORK);
                }
            } else {
                let stays = now.run_level == chosen;
                prop_assert!(stays || driver.idle_mw(now.run_level) == least, "{:?}", now);
            }
            last = now;
        }
    }

    /// On any board: where nothing was learned since, the power predicted in Safe is no more than
    /// before, and over the cap only where what stood was over it; but where heat shows that the tables
    /// are wrong, or is not read, it is that of the level with the least idle power.
    #[test]
    fn on_any_board_blind_never_raises_the_power_predicted(
        (levels, sub_networks, tables, seed, wild) in shape(),
        events in prop::collection::vec(event(), 1..60),
        (hotter, effort) in (
            prop::option::of(0_i32..4_000), prop_oneof![Just(0), Just(SEARCH), Just(u32::MAX)]
        ),
    ) {
        let image = policy(levels, sub_networks, tables, seed, wild);
        let driver = Driver::new(PolicyView::open(&image).unwrap(), Instant::START.us());
        let mut driver = Driver { controller: driver.controller.searching(effort), ..driver };
        let mut told = Told::new(&driver.view);
        for event in &events {
            told.hear(event);
            driver.happen(event);
        }
        let reading = |mdeg_c| ToController::Telemetry(common::heat_alone(mdeg_c));
        // The first may be answered by what was decided before something else was asked for.
        driver.happen(&Event::Wait(PERIOD_US));
        driver.give(&reading(40_000));
        driver.happen(&Event::Wait(PERIOD_US));
        let before = decision(&driver.give(&reading(40_000))).unwrap();
        if before.mode != Mode::Run {
            return Ok(());
        }
        let cap_mw = driver.controller.power_cap_mw();
        let after = if let Some(hotter) = hotter {
            // A cap may be beyond what can be read, or none.
            if told.temp_cap > 140_000 {
                return Ok(());
            }
            driver.happen(&Event::Wait(PERIOD_US));
            decision(&driver.give(&reading(told.temp_cap + hotter))).unwrap()
        } else {
            driver.happen(&Event::Tick(5 * PERIOD_US));
            decision(&driver.happen(&Event::Tick(20 * PERIOD_US))).unwrap()
        };
        prop_assert_eq!(after.mode, Mode::Safe);
        let (_, _, unread) = driver.knows();
        if hotter.is_some_and(|hotter| unread || hotter >= BEARABLE_MDEG_C) {
            let least = (0..levels as u8).map(|level| driver.idle_mw(level)).min().unwrap();
            prop_assert_eq!(driver.idle_mw(after.run_level), least);
            return Ok(());
        }
        prop_assert!(after.power_mw <= before.power_mw, "{:?} then {:?}", before, after);
        prop_assert!(after.power_mw <= cap_mw || before.power_mw > cap_mw);
    }

    /// On a board as boards are, neither does what it draws at most, with a request running, nor the
    /// mean that is predicted, too hot likewise; and that is over the cap only where no level fits, or,
    /// where the cap is lowered in Safe, neither that with the least idle power nor what stands.
    #[test]
    fn blind_never_raises_power(
        asked in prop::collection::vec(
            (10_000_u32..200_000, 30_000_u32..300_000, 7_000_u16..7_900, 0..3_usize), 1..=4
        ),
        cap_mw in prop_oneof![Just(NO_POWER_CAP), 3_000_u32..8_000],
        slowed in prop::collection::vec(0.7_f64..1.6, 1..20),
        (hot, parks) in any::<(bool, bool)>(),
        lowered in 3_000_u32..8_000,
    ) {
        let image = common::policy();
        let view = PolicyView::open(&image).unwrap();
        let mut bench = Bench::new(view, Instant::START);
        for (slot, (deadline_us, period_us, accuracy_floor_bp, objective)) in (0..).zip(asked) {
            let objectives = [Objective::LeastEnergy, Objective::BestAccuracy, Objective::LeastLatency];
            let objective = objectives[objective];
            let asked = Targets { objective, deadline_us, period_us, accuracy_floor_bp, ..common::targets() };
            bench.set(slot, asked);
        }
        bench.give(&ToController::Limits(Limits {
            at_us: 0,
            power_cap_mw: cap_mw,
            temp_cap_mdeg_c: 85_000,
            parking: parks,
        }));
        let mut last = bench.period();
        for slowed in slowed {
            bench.outcomes(0, 3, slowed);
            last = bench.period();
        }
        // Until the search has come round.
        for _ in 0..2 * view.levels() {
            last = bench.period();
        }
        for _ in 0..2 {
            let now = if hot {
                bench.wait_us(PERIOD_US);
                let message = common::telemetry(bench.now, 85_000 + BEARABLE_MDEG_C - 1);
                decision(&bench.give(&ToController::Telemetry(message))).unwrap()
            } else {
                let due = bench.controller.next_deadline().unwrap();
                decision(&bench.controller.step(due, Input::Tick)).unwrap()
            };
            let (before, after) = (busy_mw(&view, &last), busy_mw(&view, &now));
            prop_assert!(after <= before, "{:?} then {:?}", last, now);
            prop_assert!(now.power_mw <= last.power_mw, "{:?} then {:?}", last, now);
            if now.power_mw > cap_mw {
                let power = Power::default();
                let caps = PowerCaps::new(cap_mw, NO_POWER_CAP, NO_POWER_CAP);
                let board = Board::new(view, bench.controller.slots(), caps, &power, parks);
                let best = board.best_of_all(Margin::Plain);
                prop_assert!(best.trouble != Trouble::NONE, "{:?}, {:?}", now, best);
            }
            last = now;
        }
        prop_assert_eq!(last.mode, Mode::Safe);
        if hot {
            return Ok(());
        }
        // A cap that is lowered then is kept within a period, where either of the two levels keeps it: what is
        // asked for stays the same, so what stands is weighed as it was.
        bench.give(&ToController::Limits(Limits {
            at_us: 0,
            power_cap_mw: lowered,
            temp_cap_mdeg_c: 85_000,
            parking: parks,
        }));
        let due = bench.controller.next_deadline().unwrap();
        prop_assert_eq!(due.since(bench.now).us(), PERIOD_US);
        let now = decision(&bench.controller.step(due, Input::Tick)).unwrap();
        prop_assert!(now.power_mw <= last.power_mw, "{:?} then {:?}", last, now);
        prop_assert!(busy_mw(&view, &now) <= busy_mw(&view, &last), "{:?} then {:?}", last, now);
        let power = Power::default();
        let caps = PowerCaps::new(lowered, NO_POWER_CAP, NO_POWER_CAP);
        let board = Board::new(view, bench.controller.slots(), caps, &power, parks);
        let stood = board.candidate(last.run_level, &last.sub_networks).unwrap();
        let kept = [board.judge(0, Margin::Plain), stood].iter().any(|one| one.power_mw <= lowered);
        prop_assert!(!kept || now.power_mw <= lowered, "{:?} over {}", now, lowered);
    }

    /// Where the clock starts changes nothing but the stamps.
    #[test]
    fn the_wrap_of_the_clock_changes_nothing(
        (levels, sub_networks, tables, seed, wild) in shape(),
        events in prop::collection::vec(event(), 1..80),
    ) {
        let image = policy(levels, sub_networks, tables, seed, wild);
        let view = PolicyView::open(&image).unwrap();
        let mut drivers = [0, Instant::START.us(), u32::MAX / 2 - 1_000_000, u32::MAX]
            .map(|start| Driver::new(view, start));
        let plain = |decision: Decision| Decision { at_us: 0, digest: 0, ..decision };
        for event in &events {
            let sent = drivers.each_mut().map(|driver| {
                sent(&driver.happen(event)).map(plain).collect::<Vec<_>>()
            });
            prop_assert!(sent.iter().all(|decisions| *decisions == sent[0]), "{:?}", sent);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// The order of inputs of one instant changes nothing of what is learned; and nothing of what
    /// is decided, unless one of them was a danger that was decided about at once, before the rest
    /// was known: then it changes whether the dwell or the hysteresis keeps what was taken, and
    /// with what is drawn until then what the temperature leaves. By searches with a bound what is
    /// decided may be another: how far they have come is what is kept from before.
    ///
    /// Here outcomes and targets are those of different applications, both outcomes of one level, and
    /// no telemetry is among them; what holds otherwise is told in `order.rs`.
    #[test]
    fn the_order_of_inputs_of_one_instant_does_not_matter(
        (levels, sub_networks, tables, seed, wild) in shape(),
        before in prop::collection::vec(event(), 1..40),
        (messages, shuffled) in at_once().prop_flat_map(|messages| {
            (Just(messages.clone()), Just(messages).prop_shuffle())
        }),
        last in telemetry(),
    ) {
        let image = policy(levels, sub_networks, tables, seed, wild);
        let view = PolicyView::open(&image).unwrap();
        let mut found = Vec::new();
        for (order, effort) in [
            (&messages, u32::MAX), (&shuffled, u32::MAX), (&messages, SEARCH), (&shuffled, SEARCH)
        ] {
            let driver = Driver::new(view, Instant::START.us());
            let mut driver = Driver { controller: driver.controller.searching(effort), ..driver };
            for event in &before {
                driver.happen(event);
            }
            let mut at_once = false;
            for message in order {
                at_once |= sent(&driver.give(message)).count() > 0;
            }
            let learned: Vec<_> = driver
                .controller
                .seed()
                .into_iter()
                .filter_map(|part| match part {
                    // What was decided last is not learned.
                    SeedState::Application(state) => {
                        Some(SeedState::Application(ApplicationState { sub_network: 0, ..state }))
                    }
                    SeedState::Tail(_) => Some(part),
                    _ => None,
                })
                .collect();
            let mut answer = decision(&driver.give(&ToController::Telemetry(last))).unwrap();
            if at_once {
                // That stands until the period is over.
                driver.happen(&Event::Wait(PERIOD_US));
                answer = decision(&driver.give(&ToController::Telemetry(last))).unwrap();
            }
            found.push((learned, at_once, Decision { digest: 0, last_seq: 0, ..answer }));
        }
        let (pairs, _) = found.as_chunks();
        for (place, [(learned, once, ours), (other_learned, other_once, theirs)]) in
            pairs.iter().enumerate()
        {
            prop_assert_eq!(learned, other_learned);
            if place > 0 || *once || *other_once {
                prop_assert_eq!(ours.mode, theirs.mode);
            } else {
                prop_assert_eq!(ours, theirs);
            }
        }
    }
}
