//! Decisions are made once from one telemetry to the next.

mod common;

use common::{Bench, PERIOD_US, decision, policy, policy_of, targets};
use coshift_shared::policy::PolicyView;
use coshift_shared::time::Instant;
use coshift_shared::to_controller::{Seed, SeedState, Targets, ToController};
use coshift_shared::to_host::{Decision, Reason};
use coshift_shared::units::NO_SUB_NETWORK;

/// A board on which a danger was answered just now, telemetry being `apart_us` apart, and the answer.
fn after_a_danger(image: &[u8], apart_us: u32) -> (Bench<'_>, Decision) {
    after_a_danger_beside(image, apart_us, false)
}

/// The same, with another application where `beside`.
fn after_a_danger_beside(image: &[u8], apart_us: u32, beside: bool) -> (Bench<'_>, Decision) {
    let mut bench = Bench::new(PolicyView::open(image).unwrap(), Instant::START);
    bench.set(0, targets());
    if beside {
        // A request of the one may wait for one of the other.
        bench.set(0, Targets { deadline_us: 50_000, ..targets() });
        let seldom = Targets { deadline_us: 300_000, period_us: 3_000_000, ..targets() };
        bench.set(1, Targets { accuracy_floor_bp: 0, ..seldom });
    }
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
    for apart_us in [PERIOD_US, 2 * PERIOD_US - 1] {
        let (mut bench, answered) = after_a_danger(&image, apart_us);
        bench.set(1, targets());
        let again = bench.telemetry();
        assert_eq!((again.run_level, again.reason), (answered.run_level, answered.reason));
        assert_eq!(again.sub_networks, answered.sub_networks);
        assert_eq!(again.sub_networks[1], NO_SUB_NETWORK);
        bench.wait_us(PERIOD_US);
        assert_ne!(bench.telemetry().sub_networks[1], NO_SUB_NETWORK);
    }
}

/// Where telemetry comes seldom each is decided on, however often outcomes have something decided: the
/// same danger as above.
#[test]
fn telemetry_that_comes_seldom_is_decided_on() {
    let image = policy();
    let (mut bench, answered) = after_a_danger(&image, 2 * PERIOD_US);
    bench.set(1, targets());
    assert_eq!(answered.sub_networks[1], NO_SUB_NETWORK);
    assert_ne!(bench.telemetry().sub_networks[1], NO_SUB_NETWORK);
}

/// A decision that takes little leaves the next telemetry its own.
#[test]
fn a_cheap_answer_to_a_danger_takes_no_telemetrys_place() {
    let image = policy_of(&[1, 5]);
    let (mut bench, answered) = after_a_danger(&image, PERIOD_US);
    bench.set(1, targets());
    assert_eq!(answered.sub_networks[1], NO_SUB_NETWORK);
    assert_ne!(bench.telemetry().sub_networks[1], NO_SUB_NETWORK);
}

/// Another danger is answered a period after a cheap answer, and two after one for several applications,
/// which counts as dear.
#[test]
fn a_danger_soon_after_a_cheap_answer_is_answered_between_telemetries() {
    let image = policy_of(&[1, 5]);
    for beside in [false, true] {
        let (mut bench, first) = after_a_danger_beside(&image, PERIOD_US, beside);
        bench.telemetry();
        let mut answers = [1, 2].map(|_| {
            bench.wait_us(PERIOD_US);
            decision(&bench.outcomes(0, 2, 8.0)).is_some()
        });
        answers[1] |= answers[0];
        assert_eq!(answers, [!beside, true], "{first:?}");
    }
}

/// Gives a controller its own state as a seed.
fn seed(bench: &mut Bench<'_>) {
    let parts = bench.controller.seed();
    let count = u8::try_from(parts.len()).unwrap();
    for (part, state) in (0..).zip(&parts) {
        let at_us = bench.now.us();
        bench.give(&ToController::Seed(Seed { at_us, part, parts: count, state: *state }));
    }
}

/// What a seed told of stands for one telemetry, whatever happens, so that its work and that of a
/// decision are not of one period; the next telemetry decides, and so does the first where something
/// was asked for since, or that comes late.
#[test]
fn what_a_seed_told_of_stands_for_one_telemetry() {
    let image = policy();
    let limits = |bench: &mut Bench<'_>| bench.limit(30_000);
    let targets_of = |bench: &mut Bench<'_>| {
        bench.set(0, Targets { period_us: 66_701, ..targets() });
    };
    // What is asked for behind the seed, and the time from the seed to the next telemetry.
    type Ask<'a> = Option<&'a dyn Fn(&mut Bench<'_>)>;
    let cases: [(Ask<'_>, u32); 4] = [
        (None, PERIOD_US),
        (None, 2 * PERIOD_US),
        (Some(&targets_of), PERIOD_US),
        (Some(&|bench| drop(limits(bench))), PERIOD_US),
    ];
    for (asked, us) in cases {
        let mut bench = Bench::new(PolicyView::open(&image).unwrap(), Instant::START);
        bench.set(0, targets());
        for _ in 0..20 {
            bench.outcomes(0, 2, 1.0);
            bench.period();
        }
        let stands = bench.controller.level();
        seed(&mut bench);
        bench.wait_us(PERIOD_US / 2);
        // A danger, which is answered at once otherwise.
        assert_eq!(decision(&bench.outcomes(0, 12, 3.0)), None);
        if let Some(ask) = asked {
            ask(&mut bench);
        }
        bench.wait_us(us - PERIOD_US / 2);
        bench.telemetry();
        let decides = asked.is_some() || us >= 2 * PERIOD_US;
        assert_eq!(bench.controller.level() == stands, !decides);
        bench.wait_us(PERIOD_US);
        bench.telemetry();
        assert_ne!(bench.controller.level(), stands);
    }
}

/// Whether something was asked for that was not decided on yet.
fn is_asked(bench: &Bench<'_>) -> bool {
    let parts = bench.controller.seed();
    let dirty = parts.iter().find_map(|part| match part {
        SeedState::Sensors(state) => Some(state.dirty),
        _ => None,
    });
    dirty.expect("the sensors' part")
}

/// Targets told again, as before a seed, are not asked for again: what stands goes on.
#[test]
fn the_same_targets_again_change_nothing() {
    let image = policy();
    let mut bench = Bench::new(PolicyView::open(&image).unwrap(), Instant::START);
    bench.set(0, targets());
    for _ in 0..20 {
        bench.outcomes(0, 2, 1.0);
        bench.period();
    }
    let before = bench.period();
    bench.set(0, targets());
    assert!(!is_asked(&bench));
    let after = bench.period();
    assert_eq!((after.reason, after.run_level), (Reason::Keep, before.run_level));
    assert_eq!(after.sub_networks, before.sub_networks);
    // As others do.
    bench.set(0, Targets { accuracy_floor_bp: 7_700, ..targets() });
    assert!(is_asked(&bench));
    assert_eq!(bench.period().reason, Reason::TargetsChanged);
}
