//! Seeds in the middle of a round, on full boards: how far a search has come is no part of a seed,
//! and must not show in what is decided after it.

mod common;

use common::random::{asked, policy};
use common::rest::{PERIODS, at_rest, cap, quiet, session};
use common::{Bench, PERIOD_US, decision, telemetry};
use coshift_controller::controller::SEARCH;
use coshift_shared::policy::PolicyView;
use coshift_shared::to_controller::{Seed, Targets, Telemetry, ToController};
use coshift_shared::to_host::{Decision, ToHost};
use coshift_shared::units::NO_POWER_CAP;
use proptest::prelude::*;

/// What happens to a full board.
#[derive(Debug, Clone)]
enum Event {
    /// A period later a telemetry, with this share of the power predicted, 0.1 %, from which it may
    /// be learned.
    Period(u32),
    Outcomes(u8, usize, f64),
    Set(u8, Targets),
    Cap(u32, bool),
    /// So many periods without anything.
    Silence(u32),
}

fn event() -> impl Strategy<Value = Event> {
    let caps = prop_oneof![1 => Just(NO_POWER_CAP), 2 => 2_000_u32..20_000];
    prop_oneof![
        10 => (700_u32..1_300).prop_map(Event::Period),
        4 => (0..4_u8, 1..=12_usize, 0.6_f64..2.0)
            .prop_map(|(slot, count, slowed)| Event::Outcomes(slot, count, slowed)),
        1 => (0..4_u8, asked()).prop_map(|(slot, targets)| Event::Set(slot, targets)),
        1 => (caps, any::<bool>()).prop_map(|(cap_mw, parks)| Event::Cap(cap_mw, parks)),
        1 => (1..30_u32).prop_map(Event::Silence),
    ]
}

/// Gives it to a board; the decision it is answered with.
fn happen(bench: &mut Bench<'_>, tables: u8, event: &Event) -> Option<Decision> {
    match event {
        Event::Period(permille) => {
            bench.wait_us(PERIOD_US);
            let standing = bench.controller.decision(bench.now);
            let power_mw = standing.power_mw / 1000 * permille;
            let message = Telemetry {
                level: standing.run_level,
                power_mw,
                ..telemetry(bench.now, bench.hottest_mdeg_c)
            };
            decision(&bench.give(&ToController::Telemetry(message)))
        }
        Event::Outcomes(slot, count, slowed) => {
            bench.wait_us(PERIOD_US / 4);
            decision(&bench.outcomes(*slot, *count, *slowed))
        }
        Event::Set(slot, targets) => {
            let table = targets.table % tables;
            decision(&bench.set(*slot, Targets { table, ..*targets }))
        }
        Event::Cap(cap_mw, parks) => {
            cap(bench, *cap_mw, *parks);
            None
        }
        Event::Silence(periods) => {
            bench.wait_us(periods * PERIOD_US);
            None
        }
    }
}

/// A new controller that was told the source's session and then, like the source, its state.
fn seeded<'p>(source: &mut Bench<'p>, view: PolicyView<'p>, parks: bool, effort: u32) -> Bench<'p> {
    let cap_mw = source.controller.power_cap_mw();
    let asked: Vec<_> =
        source.controller.slots().iter().flatten().map(|slot| slot.targets).collect();
    let mut copy = session(view, &asked, cap_mw, parks, effort);
    copy.now = source.now;
    copy.seq = source.seq + 1;
    // The caps are told to both: what asks for something else is no part of the state before.
    cap(source, cap_mw, parks);
    let parts = source.controller.seed();
    let count = u8::try_from(parts.len()).unwrap();
    for (part, state) in (0..).zip(&parts) {
        let seed = Seed { at_us: source.now.us(), part, parts: count, state: *state };
        for bench in [&mut *source, &mut copy] {
            let out = bench.give(&ToController::Seed(seed));
            assert!(!out.iter().any(|sent| matches!(sent, ToHost::Refused(_))), "{out:?}");
        }
    }
    copy.index = source.index;
    copy.hottest_mdeg_c = source.hottest_mdeg_c;
    copy
}

fn same(source: &Bench<'_>, copy: &Bench<'_>) -> Result<(), TestCaseError> {
    prop_assert_eq!(source.controller.digest(), copy.controller.digest());
    prop_assert_eq!(source.controller.decision(source.now), copy.controller.decision(copy.now));
    prop_assert_eq!(source.controller.level(), copy.controller.level());
    prop_assert_eq!(source.controller.seed(), copy.controller.seed());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever point of whatever round a seed is taken at: both who load it have one digest, and
    /// decide alike from then on.
    #[test]
    fn a_controller_seeded_in_mid_round_decides_like_its_source(
        (seed, wild) in (any::<u64>(), any::<bool>()),
        asked in prop::collection::vec(asked(), 4),
        cap_mw in prop_oneof![Just(NO_POWER_CAP), 2_000_u32..20_000],
        (parks, parks_now) in (any::<bool>(), any::<bool>()),
        effort in prop_oneof![Just(0), 1_u32..20_000, Just(SEARCH)],
        before in prop::collection::vec(event(), 0..40),
        after in prop::collection::vec(event(), 1..60),
    ) {
        let image = policy(32, 16, 4, seed, wild);
        let view = PolicyView::open(&image).unwrap();
        let mut source = session(view, &asked, cap_mw, parks, effort);
        for event in &before {
            happen(&mut source, view.tables(), event);
        }
        let mut copy = seeded(&mut source, view, parks_now, effort);
        same(&source, &copy)?;
        for event in &after {
            let (ours, theirs) = (
                happen(&mut source, view.tables(), event),
                happen(&mut copy, view.tables(), event),
            );
            prop_assert_eq!(ours, theirs);
            same(&source, &copy)?;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2))]

    /// At each decision of the first round and of the one after the dwell in turn: source and copy
    /// go on alike, and come to rest where they would have.
    #[test]
    fn every_point_of_a_round_can_be_handed_over(
        (seed, wild) in (any::<u64>(), any::<bool>()),
        asked in prop::collection::vec(asked(), 4),
        cap_mw in prop_oneof![Just(NO_POWER_CAP), 4_000_u32..20_000],
        effort in prop_oneof![Just(0), 1_u32..4_000],
    ) {
        let image = policy(32, 16, 4, seed, wild);
        let view = PolicyView::open(&image).unwrap();
        for point in 0..2 * 32 + 11 {
            let mut source = session(view, &asked, cap_mw, false, effort);
            for _ in 0..point {
                quiet(&mut source);
            }
            let mut copy = seeded(&mut source, view, false, effort);
            same(&source, &copy)?;
            for _ in 0..PERIODS {
                prop_assert_eq!(quiet(&mut source), quiet(&mut copy));
                same(&source, &copy)?;
            }
            let last = quiet(&mut source);
            at_rest(&source.controller, view, false, &last)?;
        }
    }
}
