//! Decisions are made once from one telemetry to the next.

mod common;

use common::{Bench, PERIOD_US, decision, policy, targets};
use coshift_shared::policy::PolicyView;
use coshift_shared::time::Instant;
use coshift_shared::to_host::Decision;
use coshift_shared::units::NO_SUB_NETWORK;

/// A board on which a danger was answered just now, telemetry being `apart_us` apart, and the answer.
fn after_a_danger(image: &[u8], apart_us: u32) -> (Bench<'_>, Decision) {
    let mut bench = Bench::new(PolicyView::open(image).unwrap(), Instant::START);
    bench.set(0, targets());
    bench.period();
    for _ in 0..20 {
        bench.outcomes(0, 2, 1.0);
        bench.period();
    }
    let answered = (0..20).find_map(|_| {
        bench.wait_us(apart_us);
        let found = decision(&bench.outcomes(0, 2, 1.6));
        if found.is_none() {
            bench.telemetry();
        }
        found
    });
    (bench, answered.expect("a danger"))
}

/// What is asked for after a danger was answered is decided one telemetry later.
#[test]
fn what_is_asked_for_after_a_danger_was_answered_waits_a_period() {
    let image = policy();
    let (mut bench, answered) = after_a_danger(&image, PERIOD_US);
    bench.set(1, targets());
    let again = bench.telemetry();
    assert_eq!((again.run_level, again.reason), (answered.run_level, answered.reason));
    assert_eq!(again.sub_networks, answered.sub_networks);
    assert_eq!(again.sub_networks[1], NO_SUB_NETWORK);
    bench.wait_us(PERIOD_US);
    assert_ne!(bench.telemetry().sub_networks[1], NO_SUB_NETWORK);
}

/// Where telemetry comes seldom each is decided on, however often outcomes have something decided.
#[test]
fn telemetry_that_comes_seldom_is_decided_on() {
    let image = policy();
    let (mut bench, answered) = after_a_danger(&image, 2 * PERIOD_US);
    bench.set(1, targets());
    assert_eq!(answered.sub_networks[1], NO_SUB_NETWORK);
    assert_ne!(bench.telemetry().sub_networks[1], NO_SUB_NETWORK);
}
