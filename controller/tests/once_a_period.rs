//! Decisions are made once from one telemetry to the next.

mod common;

use common::{Bench, PERIOD_US, decision, policy, targets};
use coshift_shared::policy::PolicyView;
use coshift_shared::time::Instant;
use coshift_shared::units::NO_SUB_NETWORK;

/// What is asked for after a danger was answered is decided one telemetry later.
#[test]
fn what_is_asked_for_after_a_danger_was_answered_waits_a_period() {
    let image = policy();
    let mut bench = Bench::new(PolicyView::open(&image).unwrap(), Instant::START);
    bench.set(0, targets());
    bench.period();
    for _ in 0..20 {
        bench.outcomes(0, 2, 1.0);
        bench.period();
    }
    let answered = (0..20).find_map(|_| {
        bench.wait_us(PERIOD_US);
        let found = decision(&bench.outcomes(0, 2, 1.6));
        if found.is_none() {
            bench.telemetry();
        }
        found
    });
    let answered = answered.expect("a danger");
    bench.set(1, targets());
    let again = bench.telemetry();
    assert_eq!((again.run_level, again.reason), (answered.run_level, answered.reason));
    assert_eq!(again.sub_networks, answered.sub_networks);
    assert_eq!(again.sub_networks[1], NO_SUB_NETWORK);
    bench.wait_us(PERIOD_US);
    assert_ne!(bench.telemetry().sub_networks[1], NO_SUB_NETWORK);
}
