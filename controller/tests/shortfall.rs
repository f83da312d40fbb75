//! What is named as missing where nothing fits: right with and without caps, and in rounds that take
//! several periods.

mod common;

use common::random::{asked, policy};
use common::rest::{PERIODS, at_rest, board, cap, infeasible, quiet, session};
use common::{Bench, PERIOD_US, decision, telemetry};
use coshift_controller::controller::SEARCH;
use coshift_controller::demand::Margin;
use coshift_controller::device::Trouble;
use coshift_shared::policy::PolicyView;
use coshift_shared::to_controller::{Limits, Targets, Telemetry, ToController};
use coshift_shared::to_host::{Decision, Missing, Mode, Shortfall};
use coshift_shared::units::{Age, NO_POWER_CAP, NO_TEMP_CAP};
use proptest::prelude::*;

/// What is missing of accuracy or time by the policy alone, one application after the other: the
/// first in the order of `docs/control.md`.
fn alone(bench: &Bench<'_>, view: PolicyView<'_>) -> Option<Shortfall> {
    let slots =
        || (0..).zip(bench.controller.slots()).filter_map(|(slot, s)| Some((slot, s.as_ref()?)));
    for (slot, application) in slots() {
        let table = view.table(application.targets.table).unwrap();
        let best = table.sub_network(table.len() - 1).unwrap().accuracy_bp;
        let floor = application.targets.accuracy_floor_bp;
        if floor > best {
            let amount = u32::from(floor - best);
            return Some(Shortfall { what: Missing::Accuracy, slot, amount });
        }
    }
    for (slot, application) in slots() {
        let Targets { table, accuracy_floor_bp, deadline_us, .. } = application.targets;
        let table = view.table(table).unwrap();
        let guard = f64::from(application.guard_q24()) / f64::from(1 << 24);
        let at_floor = |sub: &u8| table.sub_network(*sub).unwrap().accuracy_bp >= accuracy_floor_bp;
        let fastest = (0..table.len())
            .filter(at_floor)
            .flat_map(|sub| (0..view.levels()).map(move |level| (sub, level)))
            .map(|(sub, level)| table.cell(sub, level).unwrap().latency_us)
            .min()
            .unwrap();
        let amount = (f64::from(fastest) * guard - f64::from(deadline_us)).round();
        if amount >= 1.0 {
            return Some(Shortfall { what: Missing::Time, slot, amount: amount as u32 });
        }
    }
    None
}

/// What is named by a decision of a board at rest that was told nothing but these applications and
/// a cap on power, or none.
fn named_rightly(
    bench: &Bench<'_>,
    view: PolicyView<'_>,
    parks: bool,
    found: &Decision,
) -> Result<(), TestCaseError> {
    prop_assert_eq!(infeasible(found), found.shortfall.what != Missing::Nothing, "{:?}", found);
    if !infeasible(found) {
        return Ok(());
    }
    let Shortfall { what, slot, amount } = found.shortfall;
    if let Some(expected) = alone(bench, view) {
        let near = amount.abs_diff(expected.amount) <= 1;
        prop_assert_eq!((what, slot), (expected.what, expected.slot), "{:?}", found);
        prop_assert!(near, "{:?}, not {:?}", found, expected);
        return Ok(());
    }
    // What fits but for the cap, and the least mean power of it.
    let uncapped = board(&bench.controller, view, parks, false, |board| {
        let all = (0..view.levels()).map(|level| board.judge(level, Margin::Plain));
        all.filter(|found| found.trouble == Trouble::NONE).map(|found| found.power_mw).min()
    });
    let cap_mw = bench.controller.power_cap_mw();
    match uncapped {
        Some(least_mw) => {
            prop_assert_eq!(what, Missing::Power, "{:?}", found);
            // More where it is the worst tenth of a second that is over the cap.
            prop_assert!(
                amount >= least_mw.saturating_sub(cap_mw).max(1),
                "{:?}, {}",
                found,
                least_mw
            );
        }
        None => {
            let level = bench.controller.level();
            let trouble = board(&bench.controller, view, parks, true, |board| {
                board.judge(level, Margin::Plain).trouble
            });
            let contended = [Missing::Time, Missing::Utilisation, Missing::Energy].contains(&what);
            // Nothing fits without the cap, and all that is wrong with the level is the cap.
            let over = what == Missing::Power && amount == trouble.over_cap_mw && amount > 0;
            prop_assert!(contended || over, "{:?}, {:?}", found, trouble);
        }
    }
    Ok(())
}

/// What a decision must not name under these caps.
fn sound(found: &Decision, power_cap_mw: u32, temp_cap: i32) -> Result<(), TestCaseError> {
    if found.mode != Mode::Run {
        return Ok(());
    }
    prop_assert_eq!(infeasible(found), found.shortfall.what != Missing::Nothing, "{:?}", found);
    let no_power = power_cap_mw != NO_POWER_CAP || found.shortfall.what != Missing::Power;
    let missing = matches!(found.shortfall.what, Missing::Power | Missing::Temperature);
    prop_assert!(!missing || found.shortfall.amount > 0, "{:?}", found);
    let no_heat = temp_cap != NO_TEMP_CAP || found.shortfall.what != Missing::Temperature;
    prop_assert!(no_power && no_heat, "{:?} under {} mW, {}", found, power_cap_mw, temp_cap);
    Ok(())
}

fn caps() -> impl Strategy<Value = u32> {
    prop_oneof![Just(NO_POWER_CAP), 2_000_u32..20_000]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// At rest, after rounds that took a period a level or one at once, what is named is what is
    /// missing by the policy's own figures, and a bounded search names what an unbounded one does; how
    /// much of it, where both came to rest at one level: of levels alike, as many as the hysteresis
    /// leaves may stand.
    #[test]
    fn what_is_missing_is_named_rightly_at_rest(
        (seed, wild, parks) in (any::<u64>(), any::<bool>(), any::<bool>()),
        asked in prop::collection::vec(asked(), 1..=4),
        cap_mw in caps(),
        effort in prop_oneof![Just(0), 1_u32..20_000, Just(SEARCH)],
        slowed in prop::collection::vec(0.6_f64..1.8, 4),
    ) {
        let image = policy(32, 16, 4, seed, wild);
        let view = PolicyView::open(&image).unwrap();
        let mut named = Vec::new();
        for effort in [effort, u32::MAX] {
            let mut bench = session(view, &asked, cap_mw, parks, effort);
            for _ in 0..5 {
                quiet(&mut bench);
            }
            for (slot, slowed) in (0..).zip(&slowed).take(asked.len()) {
                bench.outcomes(slot, 12, *slowed);
            }
            let found = (0..PERIODS).map(|_| quiet(&mut bench)).last().unwrap();
            named_rightly(&bench, view, parks, &found)?;
            at_rest(&bench.controller, view, parks, &found)?;
            let Shortfall { what, slot, amount } = found.shortfall;
            named.push((what, slot, bench.controller.level(), amount));
        }
        let [one, other] = [named[0], named[1]];
        prop_assert_eq!((one.0, one.1), (other.0, other.1));
        prop_assert!(one.2 != other.2 || one.3 == other.3, "{:?}, {:?}", one, other);
    }

    /// Applications and caps change in the middle of rounds: from the first time on that nothing is
    /// said to fit after a change, what is named is what is missing now.
    #[test]
    fn what_is_missing_is_named_rightly_the_first_time(
        (seed, wild, parks) in (any::<u64>(), any::<bool>(), any::<bool>()),
        asked in prop::collection::vec(asked(), 4),
        effort in prop_oneof![Just(0), 1_u32..20_000],
        changes in prop::collection::vec((0..4_u8, common::random::asked(), caps(), 1..40_usize), 2..6),
    ) {
        let image = policy(32, 16, 4, seed, wild);
        let view = PolicyView::open(&image).unwrap();
        let mut bench = session(view, &asked, 4_000, parks, effort);
        for (slot, targets, cap_mw, periods) in changes {
            if periods % 2 == 0 {
                bench.set(slot, Targets { table: targets.table % view.tables(), ..targets });
            } else {
                cap(&mut bench, cap_mw, parks);
            }
            for _ in 0..periods {
                let found = quiet(&mut bench);
                named_rightly(&bench, view, parks, &found)?;
            }
        }
    }

    /// In the middle of rounds, while caps come and go, requests slow down and the board warms up:
    /// power is missing only while there is a cap on power, temperature only while there is one on
    /// temperature; and what is infeasible always says what is missing.
    #[test]
    fn without_a_cap_it_is_never_named_as_missing(
        (seed, wild) in (any::<u64>(), any::<bool>()),
        asked in prop::collection::vec(asked(), 4),
        effort in prop_oneof![Just(0), 1_u32..20_000, Just(SEARCH)],
        events in prop::collection::vec(
            (1..40_usize, caps(), prop_oneof![Just(NO_TEMP_CAP), 45_000..90_000_i32], 40_000..88_000_i32,
             0..4_u8, 0.6_f64..2.5), 2..8),
    ) {
        let image = policy(32, 16, 4, seed, wild);
        let view = PolicyView::open(&image).unwrap();
        let mut bench = session(view, &asked, NO_POWER_CAP, false, effort);
        for (periods, power_cap_mw, temp_cap_mdeg_c, hottest, slot, slowed) in events {
            let at_us = bench.now.us();
            let limits = Limits { at_us, power_cap_mw, temp_cap_mdeg_c, parking: false };
            bench.give(&ToController::Limits(limits));
            for period in 0..periods {
                bench.wait_us(PERIOD_US);
                // What heat leaves goes up and down.
                let hottest = hottest - 9_000 * (period as i32 % 2);
                if let Some(found) = decision(&bench.outcomes(slot, 1, slowed)) {
                    sound(&found, power_cap_mw, temp_cap_mdeg_c)?;
                }
                let message = Telemetry { power_age: Age::MISSING, ..telemetry(bench.now, hottest) };
                let found = decision(&bench.give(&ToController::Telemetry(message))).unwrap();
                sound(&found, power_cap_mw, temp_cap_mdeg_c)?;
            }
        }
    }
}

/// A cap that goes, comes back and goes in mid-round, a level a decision: the periods in which power
/// is said to be missing are those of a cap, after a whole round under it.
#[test]
fn a_cap_that_comes_and_goes_in_mid_round() {
    let image = policy(32, 16, 4, 5, false);
    let view = PolicyView::open(&image).unwrap();
    let asked =
        |table| Targets { table, deadline_us: 90_000, period_us: 120_000, ..common::targets() };
    let all: Vec<_> = (0..4).map(asked).collect();
    let mut bench = session(view, &all, NO_POWER_CAP, false, 0);
    let rest = |bench: &mut Bench<'_>| (0..PERIODS).map(|_| quiet(bench)).last().unwrap();
    assert_eq!(rest(&mut bench).shortfall, Shortfall::NONE, "fits without a cap");
    cap(&mut bench, 2_500, false);
    let mut said = None;
    for period in 1..=PERIODS {
        let found = quiet(&mut bench);
        if infeasible(&found) {
            said.get_or_insert(period);
            assert_eq!(found.shortfall.what, Missing::Power, "{found:?}");
        }
    }
    assert_eq!(said, Some(32), "after a whole round, and not before");
    // Gone half a round long, which is not enough to find out what fits without it.
    cap(&mut bench, NO_POWER_CAP, false);
    for _ in 0..16 {
        assert_eq!(quiet(&mut bench).shortfall, Shortfall::NONE);
    }
    cap(&mut bench, 2_500, false);
    let said: Vec<_> = (0..40).map(|_| quiet(&mut bench).shortfall.what).collect();
    assert_eq!(said.iter().position(|what| *what == Missing::Power), Some(31));
    cap(&mut bench, NO_POWER_CAP, false);
    for _ in 0..PERIODS {
        assert_eq!(quiet(&mut bench).shortfall, Shortfall::NONE);
    }
}

/// Four applications that fit alone and together at the highest levels of the policy.
fn together(view: PolicyView<'_>, power_cap_mw: u32) -> Bench<'_> {
    let asked = |table| Targets {
        table,
        deadline_us: 60_000,
        period_us: 120_000,
        accuracy_floor_bp: 0,
        ..common::targets()
    };
    session(view, &[asked(0), asked(1), asked(2), asked(3)], power_cap_mw, false, 0)
}

/// Asks each for this deadline.
fn hurry(bench: &mut Bench<'_>, deadline_us: u32) {
    for slot in 0..4 {
        let targets = bench.controller.slots()[usize::from(slot)].as_ref().unwrap().targets;
        bench.set(slot, Targets { deadline_us, ..targets });
    }
}

/// What fitted but for the cap before other targets says nothing of what does not fit at all.
#[test]
fn what_fitted_before_a_change_of_targets_is_not_counted() {
    let image = policy(32, 16, 4, 5, false);
    let view = PolicyView::open(&image).unwrap();
    for point in 1..32 {
        let mut bench = together(view, 2_100);
        for _ in 0..point {
            quiet(&mut bench);
        }
        // Each is in time alone, together they are not.
        hurry(&mut bench, 5_000);
        for _ in 0..PERIODS {
            let found = quiet(&mut bench);
            assert!(!infeasible(&found) || found.shortfall.what == Missing::Time, "{found:?}");
        }
        let last = quiet(&mut bench);
        assert!(infeasible(&last), "{last:?}");
    }
}

/// Nor is temperature missing once it leaves enough for what fitted but for it, and requests became
/// too slow meanwhile.
#[test]
fn what_heat_left_too_little_for_is_not_counted_once_it_is_over() {
    let image = policy(32, 16, 4, 5, false);
    let view = PolicyView::open(&image).unwrap();
    let mut heat = 0;
    for point in 1..40 {
        let mut bench = together(view, NO_POWER_CAP);
        let at_us = bench.now.us();
        bench.give(&ToController::Limits(Limits {
            at_us,
            power_cap_mw: NO_POWER_CAP,
            temp_cap_mdeg_c: 85_000,
            parking: false,
        }));
        let reads = |bench: &mut Bench<'_>, hottest: i32| {
            bench.wait_us(PERIOD_US);
            // So much is drawn that the temperature belongs to.
            let message = Telemetry { power_mw: 2_000, ..telemetry(bench.now, hottest) };
            decision(&bench.give(&ToController::Telemetry(message))).unwrap()
        };
        for _ in 0..PERIODS {
            reads(&mut bench, 45_000);
        }
        hurry(&mut bench, 14_000);
        for _ in 0..point {
            let found = reads(&mut bench, 83_900);
            heat += u32::from(found.shortfall.what == Missing::Temperature);
        }
        for slot in 0..4 {
            bench.outcomes(slot, 12, 1.4);
        }
        let mut late = 0;
        for period in 0..PERIODS {
            let found = reads(&mut bench, [74_000, 64_000][period.min(1)]);
            sound(&found, NO_POWER_CAP, 85_000).unwrap();
            late += u32::from(found.shortfall.what == Missing::Time);
        }
        assert!(late > 0, "point {point}: the test needs requests that are late together");
    }
    assert!(heat > 0, "the test needs heat that leaves too little");
}
