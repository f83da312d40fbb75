//! From which readings of power something is learned: those younger than a control period.

mod common;

use common::{Bench, policy, targets, telemetry};
use coshift_shared::policy::PolicyView;
use coshift_shared::time::Instant;
use coshift_shared::to_controller::{Limits, SeedState, Telemetry, ToController};
use coshift_shared::units::{Age, NO_POWER_CAP, NO_TEMP_CAP};

/// Telemetries with a reading.
const READINGS: u32 = 20;

/// What is learned of power from readings of this age that are 1.3 times what is predicted, at the
/// level decided and after the dwell, or without any: all that a seed says of it, and the same before them. Last
/// what is decided then.
fn learned(period_us: u32, age: Option<Age>) -> ([Vec<SeedState>; 2], u32) {
    let image = policy();
    let mut bench = Bench::new(PolicyView::open(&image).unwrap(), Instant::START);
    bench.controller.start_session(bench.now, period_us, 7);
    bench.set(0, targets());
    bench.give(&ToController::Limits(Limits {
        at_us: bench.now.us(),
        power_cap_mw: NO_POWER_CAP,
        temp_cap_mdeg_c: NO_TEMP_CAP,
        parking: false,
    }));
    let mut power_mw = 0;
    let mut hear = |bench: &mut Bench<'_>, age: Option<Age>| {
        bench.wait_us(period_us);
        let told = bench.controller.decision(bench.now);
        let message = Telemetry {
            level: told.run_level,
            power_mw: age.map_or(0, |_| told.power_mw * 13 / 10),
            power_age: age.unwrap_or(Age::MISSING),
            ..telemetry(bench.now, 45_000)
        };
        let out = bench.give(&ToController::Telemetry(message));
        power_mw = common::decision(&out).expect("an answer").power_mw;
    };
    let known = |bench: &Bench<'_>| {
        let parts = bench.controller.seed().into_iter();
        parts.filter(|p| matches!(p, SeedState::Power(_) | SeedState::Bias(_))).collect()
    };
    // A dwell, with the shortest period too.
    for _ in 0..=30 {
        hear(&mut bench, None);
    }
    let before: Vec<SeedState> = known(&bench);
    for _ in 0..READINGS {
        hear(&mut bench, age);
    }
    ([before, known(&bench)], power_mw)
}

/// The common factor, Pf and Ps in 1/256 mW, and the factors of the levels.
fn parts(known: &[SeedState]) -> (u16, u32, u32, Vec<[u8; 2]>) {
    let mut factors = Vec::new();
    let mut found = (0, 0, 0);
    for part in known {
        match part {
            SeedState::Power(state) => {
                found = (state.common_q15, state.settled_q8, state.sure_q8);
            }
            SeedState::Bias(state) => factors.extend(state.factors),
            _ => {}
        }
    }
    (found.0, found.1, found.2, factors)
}

/// Of every age there is on the wire, for control periods that are some of its steps and that are not:
/// a reading as old as the period or older changes neither the factors nor what the temperature belongs
/// to, which then follow what was predicted, as where there is no reading; a younger one changes both.
#[test]
fn only_readings_younger_than_a_control_period_are_learned_from() {
    for period_us in [20_000, 50_000, 55_000, 500_000] {
        let ([before, missing], power_mw) = learned(period_us, None);
        assert_eq!((parts(&before).0, parts(&before).3), (parts(&missing).0, parts(&missing).3));
        let (mut fresh, mut stale) = (0, 0);
        for age in (0..=u8::MAX).map(Age) {
            let ([_, known], found_mw) = learned(period_us, Some(age));
            if age.us().is_some_and(|us| us < period_us) {
                fresh += 1;
                let (common, settled, sure, factors) = parts(&known);
                let none = parts(&missing);
                assert!(common > none.0 && factors != none.3, "{period_us} {age:?} {known:?}");
                assert!(settled > none.1 && sure > none.2, "{period_us} {age:?} {known:?}");
                assert!(found_mw > power_mw, "{period_us} {age:?}");
            } else {
                stale += 1;
                assert_eq!((&known, found_mw), (&missing, power_mw), "{period_us} {age:?}");
            }
        }
        assert_eq!((fresh, stale), (period_us.div_ceil(10_000), 256 - period_us.div_ceil(10_000)));
    }
}
