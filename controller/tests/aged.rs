//! Things that lie further back than half of the clock's range.

mod common;

use common::{Bench, PERIOD_US, policy, targets};
use coshift_shared::policy::PolicyView;
use coshift_shared::time::Instant;
use coshift_shared::to_controller::{Limits, Targets, Telemetry, Temperature, ToController};
use coshift_shared::to_host::{Decision, Mode, Reason};
use coshift_shared::units::{Age, NO_POWER_CAP};

/// Periods of 50 ms in a minute.
const MINUTE: u32 = 60_000_000 / PERIOD_US;

fn told(bench: &mut Bench<'_>, mdeg_c: Option<i32>) -> Decision {
    bench.wait_us(PERIOD_US);
    let temperatures = match mdeg_c {
        Some(mdeg_c) => [Temperature { mdeg_c, age: Age::FRESH }, Temperature::MISSING],
        None => [Temperature::MISSING; 2],
    };
    let message = Telemetry { temperatures, ..common::telemetry(bench.now, 40_000) };
    common::decision(&bench.give(&ToController::Telemetry(message))).expect("an answer")
}

/// A sensor that died stays dead for an hour and a half, over the clock's wrap.
#[test]
fn a_temperature_lost_for_long_is_not_taken_for_a_new_one() {
    let image = policy();
    let mut bench = Bench::new(PolicyView::open(&image).unwrap(), Instant::START);
    bench.set(0, targets());
    let at_us = bench.now.us();
    bench.give(&ToController::Limits(Limits {
        at_us,
        power_cap_mw: NO_POWER_CAP,
        temp_cap_mdeg_c: 85_000,
        parking: false,
    }));
    assert_eq!(told(&mut bench, Some(50_000)).mode, Mode::Run);
    let mut lost = None;
    for period in 0..90 * MINUTE {
        let mode = told(&mut bench, None).mode;
        if mode == Mode::Safe {
            lost.get_or_insert(period);
        }
        assert!(lost.is_none() || mode == Mode::Safe, "after {} min", period / MINUTE);
    }
    assert_eq!(lost.map(|period| (period + 1) / MINUTE), Some(10));
    // It is over once the sensor is back, and says nominal for two seconds.
    let modes: Vec<_> = (0..60).map(|_| told(&mut bench, Some(50_000)).mode).collect();
    assert_eq!((modes[0], modes[59]), (Mode::Safe, Mode::Run));
}

/// A level that stood for 40 minutes is left for a cheaper one as soon as one is.
#[test]
fn a_level_that_stood_for_long_is_left_when_another_needs_less() {
    let image = policy();
    let mut bench = Bench::new(PolicyView::open(&image).unwrap(), Instant::START);
    bench.set(0, Targets { period_us: 100_000, ..targets() });
    for _ in 0..4 {
        bench.outcomes(0, 12, 1.6);
        told(&mut bench, Some(40_000));
    }
    for _ in 0..40 {
        told(&mut bench, Some(40_000));
    }
    let slow = told(&mut bench, Some(40_000));
    for _ in 0..40 * MINUTE {
        assert_eq!(told(&mut bench, Some(40_000)).run_level, slow.run_level);
    }
    let mut last = slow;
    for _ in 0..60 {
        bench.outcomes(0, 12, 0.9);
        last = told(&mut bench, Some(40_000));
        if last.run_level < slow.run_level {
            break;
        }
    }
    assert!(last.run_level < slow.run_level, "{last:?}");
    assert_eq!(last.reason, Reason::LessPower);
}
