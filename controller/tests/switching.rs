//! How often the level changes, and what it is allowed to be, over random inputs.

mod common;

use common::{Bench, PERIOD_US, policy, targets};
use coshift_shared::policy::PolicyView;
use coshift_shared::time::Instant;
use coshift_shared::to_controller::{Degrade, Limits, Objective, Targets, Telemetry, ToController};
use coshift_shared::to_host::{Decision, Missing, Mode, Reason};
use coshift_shared::units::{Age, NO_POWER_CAP};
use proptest::prelude::*;

/// Periods in a dwell of 500 ms.
const DWELL_PERIODS: u32 = 500_000 / PERIOD_US;

/// Reasons that no danger is behind.
fn at_leisure(reason: Reason) -> bool {
    matches!(reason, Reason::LessPower | Reason::BetterObjective)
}

fn telemetry(bench: &mut Bench<'_>, level: u8, power_mw: u32, temp_mdeg_c: i32) -> Decision {
    bench.wait_us(PERIOD_US);
    let message = Telemetry {
        level,
        power_mw,
        power_age: Age::FRESH,
        ..common::telemetry(bench.now, temp_mdeg_c)
    };
    common::decision(&bench.give(&ToController::Telemetry(message))).expect("an answer")
}

/// Caps on power and temperature; no parking, so that the bias of power is learned.
fn limit(bench: &mut Bench<'_>, power_cap_mw: u32) {
    let at_us = bench.now.us();
    let limits = Limits { at_us, power_cap_mw, temp_cap_mdeg_c: 85_000, parking: false };
    bench.give(&ToController::Limits(limits));
}

/// What one control period brings.
#[derive(Debug, Clone, Copy)]
struct Period {
    slowed: [f64; 2],
    power: f64,
    temp_mdeg_c: i32,
}

fn period() -> impl Strategy<Value = Period> {
    (prop::array::uniform2(0.7_f64..1.8), 0.3_f64..3.0, 40_000_i32..84_000)
        .prop_map(|(slowed, power, temp_mdeg_c)| Period { slowed, power, temp_mdeg_c })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Two changes that no danger asked for, and a change out of danger and one back that nothing
    /// asked for, lie a dwell apart; whatever slowdown, power and temperature do.
    #[test]
    fn the_level_does_not_go_to_and_fro_faster_than_the_dwell(
        periods in prop::collection::vec(period(), 60..160),
        two in any::<bool>(),
        cap_mw in prop_oneof![Just(NO_POWER_CAP), 3_500_u32..8_000],
        objective in prop_oneof![
            Just(Objective::LeastEnergy), Just(Objective::BestAccuracy), Just(Objective::LeastLatency)
        ],
    ) {
        let image = policy();
        let mut bench = Bench::new(PolicyView::open(&image).unwrap(), Instant::START);
        bench.set(0, Targets { objective, ..targets() });
        if two {
            bench.set(1, Targets { table: 1, deadline_us: 80_000, period_us: 120_000, ..targets() });
        }
        limit(&mut bench, cap_mw);
        let mut last = bench.period();
        let mut since = 0;
        for (n, now) in (1_u32..).zip(periods) {
            for (slot, slowed) in (0_u8..=u8::from(two)).zip(now.slowed) {
                let out = bench.outcomes(slot, 1, slowed);
                if let Some(decision) = common::decision(&out) {
                    // Between two telemetries only danger changes anything.
                    prop_assert!(decision.run_level == last.run_level || !at_leisure(decision.reason));
                    // Still at the instant of the telemetry before.
                    since = if decision.run_level == last.run_level { since } else { n - 1 };
                    last = decision;
                }
            }
            let power_mw = (f64::from(last.power_mw) * now.power) as u32;
            let decision = telemetry(&mut bench, last.run_level, power_mw, now.temp_mdeg_c);
            if decision.run_level != last.run_level {
                let rested = n - since >= DWELL_PERIODS;
                prop_assert!(rested || !at_leisure(decision.reason), "{:?} after {:?}", decision, last);
                since = n;
            }
            last = decision;
        }
    }

    /// At the edge of a cap noise alone makes no more than one change a dwell.
    #[test]
    fn noise_at_the_edge_of_a_cap_does_not_make_it_oscillate(
        noise in prop::collection::vec((0.99_f64..1.01, 0.97_f64..1.03), 400),
        cap_mw in 3_500_u32..8_000,
    ) {
        let image = policy();
        let mut bench = Bench::new(PolicyView::open(&image).unwrap(), Instant::START);
        bench.set(0, targets());
        limit(&mut bench, cap_mw);
        let mut level = bench.period().run_level;
        let mut changes = 0;
        for (n, (slowed, power)) in (0_u32..).zip(noise) {
            bench.outcomes(0, 1, slowed);
            let now = bench.controller.decision(bench.now);
            let power_mw = (f64::from(now.power_mw) * power) as u32;
            let decision = telemetry(&mut bench, now.run_level, power_mw, 50_000);
            changes += u32::from(n >= 200 && decision.run_level != level);
            level = decision.run_level;
        }
        // 200 periods are 10 s, 20 dwells.
        prop_assert!(changes <= 4, "{} changes in 10 s", changes);
    }

    /// Power stays under the cap whenever any level keeps every promise under it.
    #[test]
    fn predicted_power_is_under_the_cap_whenever_anything_fits(
        periods in prop::collection::vec(period(), 1..60),
        cap_mw in 3_000_u32..9_000,
        degrade in prop_oneof![Just(Degrade::Accuracy), Just(Degrade::Deadline), Just(Degrade::Energy)],
    ) {
        let image = policy();
        let mut bench = Bench::new(PolicyView::open(&image).unwrap(), Instant::START);
        bench.set(0, Targets { degrade, ..targets() });
        limit(&mut bench, cap_mw);
        for now in periods {
            bench.outcomes(0, 1, now.slowed[0]);
            let level = bench.controller.decision(bench.now).run_level;
            let decision = telemetry(&mut bench, level, 5_000, now.temp_mdeg_c);
            let kept = decision.shortfall.what == Missing::Nothing;
            prop_assert!(!kept || decision.power_mw <= cap_mw, "{:?}", decision);
        }
    }
}

#[test]
fn a_temperature_on_its_way_to_the_cap_takes_power_back_before_it_is_there() {
    let image = policy();
    let mut bench = Bench::new(PolicyView::open(&image).unwrap(), Instant::START);
    // Needs the highest levels; gives up accuracy where it must.
    let fast = Targets { deadline_us: 12_500, period_us: 16_000, ..targets() };
    bench.set(0, fast);
    let mut last = bench.period();
    assert_eq!(last.shortfall.what, Missing::Nothing);
    let free = last;
    // A board of 8 K/W and 60 s: faster and hotter than any that was fitted.
    let (mut temp, mut hottest) = (70.0_f64, 0.0_f64);
    let mut limited = false;
    for _ in 0..20_000 {
        let drawn = last.power_mw;
        temp += (30.0 + 8.0 * f64::from(drawn) / 1000.0 - temp) * 0.05 / 60.0;
        hottest = hottest.max(temp);
        last = telemetry(&mut bench, last.run_level, drawn, (temp * 1000.0) as i32);
        assert_eq!(last.mode, Mode::Run, "{temp}");
        limited |= last.power_mw < free.power_mw;
        if last.shortfall.what != Missing::Nothing {
            assert_eq!(last.shortfall.what, Missing::Temperature, "{last:?}");
        }
    }
    assert!(limited && hottest < 85.0 && hottest > 80.0, "{hottest}");
}
