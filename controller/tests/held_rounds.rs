//! Clocks that something else begins to hold, or lets go, in the middle of a round: what was looked
//! at before says nothing of the levels that are within reach now.

mod common;

use common::clocks::{Board, bounds};
use common::random::{GRID_EMC_KHZ, GRID_GPU_KHZ, asked, grid};
use common::rest::{at_rest, infeasible, session};
use coshift_controller::controller::SEARCH;
use coshift_controller::demand::Margin;
use coshift_controller::device::Trouble;
use coshift_controller::held::FORGET;
use coshift_shared::policy::PolicyView;
use coshift_shared::to_controller::Targets;
use coshift_shared::to_host::{Decision, Mode};
use coshift_shared::units::{NO_LEVEL, NO_POWER_CAP};
use proptest::prelude::*;

/// Periods until a hold is known and the search has come to rest: that each of four bounds is found
/// (a round that may change the level with every decision, and the longest request) and the level
/// of all is.
const SETTLED: usize = 400;
const FORGOTTEN: usize = (FORGET.us() / common::PERIOD_US) as usize;

/// A period, and what holds for every decision: its level can be had, and "infeasible" is said only
/// of what can be had.
fn period(board: &mut Board<'_>) -> Result<Decision, TestCaseError> {
    let found = board.period();
    let controller = &board.bench.controller;
    prop_assert_eq!(found.mode, Mode::Run);
    prop_assert!(controller.held().reaches(controller.level()), "{:?}", found);
    if infeasible(&found) {
        let best = common::rest::board(controller, board.view, false, true, |board| {
            board.best_of_all(Margin::Plain)
        });
        prop_assert!(best.trouble != Trouble::NONE, "{:?}, {:?}", found, best);
    }
    Ok(found)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(25))]

    /// However far the round has come when a hold begins and when it ends, the board ends up at the
    /// best level of those that can be had, and knows which those are.
    #[test]
    fn a_hold_in_mid_round_ends_at_the_best_level_in_reach(
        (seed, wild) in (any::<u64>(), any::<bool>()),
        asked in prop::collection::vec(asked(), 4),
        cap_mw in prop_oneof![Just(NO_POWER_CAP), 3_000_u32..15_000],
        effort in prop_oneof![Just(0), 1_u32..20_000, Just(SEARCH)],
        before in 0..50_usize,
        (gpu, emc) in (bounds(&GRID_GPU_KHZ), bounds(&GRID_EMC_KHZ)),
        meanwhile in prop_oneof![1 => 0..60_usize, 1 => Just(SETTLED)],
        soon in any::<bool>(),
    ) {
        let image = grid(seed, wild);
        let view = PolicyView::open(&image).unwrap();
        // Requests that are over soon let a hold be noticed within a round.
        let limited = |targets: &Targets| Targets {
            deadline_us: if soon { targets.deadline_us.min(40_000) } else { targets.deadline_us },
            ..*targets
        };
        let asked: Vec<_> = asked.iter().map(limited).collect();
        let bench = session(view, &asked, cap_mw, false, effort);
        let mut held =
            Board { bench, view, asked: NO_LEVEL, low: [0; 3], high: [u32::MAX; 3] };
        for _ in 0..before {
            period(&mut held)?;
        }
        (held.low, held.high) = ([0, gpu.0, emc.0], [u32::MAX, gpu.1, emc.1]);
        for _ in 0..meanwhile {
            period(&mut held)?;
        }
        if meanwhile == SETTLED {
            let found = period(&mut held)?;
            prop_assert_eq!(held.runs_at(), Some(held.bench.controller.level()));
            at_rest(&held.bench.controller, view, false, &found)?;
        }
        held.free();
        for _ in 0..FORGOTTEN + SETTLED {
            period(&mut held)?;
        }
        let found = period(&mut held)?;
        prop_assert!(held.bench.controller.held().is_free(), "{:?}", held.bench.controller.held());
        at_rest(&held.bench.controller, view, false, &found)?;
    }
}

/// A level a decision; under the hold nothing is in time, and each round passes over what is out of
/// reach at once. Whenever it is let go in a round: what was passed over then is looked at now, and
/// nothing is said to fit nowhere before.
#[test]
fn a_release_at_any_point_of_a_round_begins_a_new_one() {
    let image = grid(5, false);
    let view = PolicyView::open(&image).unwrap();
    // In time from the fifth of eight GPU clocks on.
    let asked = Targets {
        deadline_us: 10_000,
        period_us: 100_000,
        accuracy_floor_bp: 7_500,
        ..common::targets()
    };
    for point in 0..16 {
        let bench = session(view, &[asked], NO_POWER_CAP, false, 0);
        let mut held = Board { bench, view, asked: NO_LEVEL, low: [0; 3], high: [u32::MAX; 3] };
        let before = (0..60).map(|_| period(&mut held).unwrap()).last().unwrap();
        assert!(!infeasible(&before) && view.level(before.run_level).unwrap().gpu_khz > 400_000);
        held.high[1] = GRID_GPU_KHZ[2];
        for _ in 0..60 + point {
            period(&mut held).unwrap();
        }
        assert!(infeasible(&period(&mut held).unwrap()), "the test needs a hold that nothing fits");
        held.free();
        for _ in 0..100 {
            period(&mut held).unwrap();
        }
        let after = period(&mut held).unwrap();
        assert!(
            held.bench.controller.held().is_free() && !infeasible(&after),
            "{point}: {after:?}"
        );
    }
}
