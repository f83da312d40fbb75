//! Boards at rest: a level a decision leads where a search of all levels at once does, also where
//! the board parks, and after any number of periods.

mod common;

use common::random::{asked, policy};
use common::rest::{PERIODS, at_rest, board, infeasible, quiet, session, worth};
use coshift_controller::controller::SEARCH;
use coshift_controller::demand::Margin;
use coshift_shared::policy::PolicyView;
use coshift_shared::to_controller::Targets;
use coshift_shared::units::NO_POWER_CAP;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// With parking and without, under a cap and without: at rest the bounded search stands where
    /// the unbounded one does, or where neither level is worth a change to the other; and that once
    /// more after a change of targets and of what requests take, which is looked for by rounds that
    /// begin after a dwell.
    #[test]
    fn the_level_at_rest_is_that_of_an_unbounded_search(
        (seed, wild, parks) in (any::<u64>(), any::<bool>(), any::<bool>()),
        asked in prop::collection::vec(asked(), 4),
        cap_mw in prop_oneof![Just(NO_POWER_CAP), 2_000_u32..20_000],
        effort in prop_oneof![Just(0), 1_u32..20_000, Just(SEARCH)],
        (slot, again) in (0..4_u8, asked()),
        slowed in prop::collection::vec(0.6_f64..1.8, 4),
    ) {
        let image = policy(32, 16, 4, seed, wild);
        let view = PolicyView::open(&image).unwrap();
        let mut both = [effort, u32::MAX].map(|effort| session(view, &asked, cap_mw, parks, effort));
        for change in 0..3 {
            for bench in &mut both {
                match change {
                    0 => {}
                    1 => {
                        bench.set(slot, Targets { table: again.table % view.tables(), ..again });
                    }
                    // Nothing is asked for: if all is kept, the search waits for the dwell.
                    _ => {
                        for (slot, slowed) in (0..).zip(&slowed) {
                            bench.outcomes(slot, 12, *slowed);
                        }
                    }
                }
            }
            let mut last = Vec::new();
            for bench in &mut both {
                let found = (0..PERIODS).map(|_| quiet(bench)).last().unwrap();
                at_rest(&bench.controller, view, parks, &found)?;
                last.push(found);
            }
            let (bounded, whole) = (last[0], last[1]);
            prop_assert_eq!(infeasible(&bounded), infeasible(&whole));
            prop_assert_eq!(bounded.shortfall.what, whole.shortfall.what);
            let [ours, theirs] = board(&both[0].controller, view, parks, true, |board| {
                [bounded, whole].map(|found| board.judge(found.run_level, Margin::Plain))
            });
            prop_assert_eq!(ours.trouble, theirs.trouble);
            // By the margin that a change needs.
            let reserve = board(&both[0].controller, view, parks, true, |board| {
                board.judge(whole.run_level, Margin::Reserve)
            });
            let same = bounded.run_level == whole.run_level;
            prop_assert!(same || infeasible(&whole) || !worth(&ours, &reserve), "{:?} {:?}", ours, reserve);
        }
    }
}
