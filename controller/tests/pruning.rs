//! The search for a level, which passes over levels that cannot win and keeps picks between
//! decisions, against judging every level afresh with nothing kept.

mod common;

use common::random::{asked, policy, shape};
use coshift_controller::application::Application;
use coshift_controller::demand::Margin;
use coshift_controller::device::{Board, Candidate, PowerCaps, Slots, Trouble};
use coshift_controller::power::Power;
use coshift_shared::policy::PolicyView;
use coshift_shared::to_controller::{Outcomes, Targets};
use coshift_shared::units::{NO_POWER_CAP, slowdown};
use proptest::prelude::*;

/// Slots that have taken in some outcomes, one after another.
fn learned(view: &PolicyView<'_>, asked: &[Targets], samples: &[f64]) -> Slots {
    let mut slots: Slots = [const { None }; 4];
    for (slot, targets) in slots.iter_mut().zip(asked) {
        let table = targets.table % view.tables();
        *slot = Some(Application::new(Targets { table, ..*targets }, view));
    }
    for (index, x) in samples.iter().enumerate() {
        let Some(application) = &mut slots[index % asked.len()] else { continue };
        application.take_in(
            &Outcomes {
                at_us: 0,
                slot: 0,
                sub_network: 0,
                level: 0,
                first_index: application.next_index,
                samples: std::iter::once(slowdown::to_wire((x * 1e5) as u32, 100_000)).collect(),
                outcomes_total: 0,
                misses_total: 0,
            },
            view,
        );
    }
    slots
}

/// The same slots with everything that is kept between decisions worked out anew.
fn afresh(view: &PolicyView<'_>, slots: &Slots) -> Slots {
    let mut fresh: Slots = [const { None }; 4];
    for (place, slot) in fresh.iter_mut().zip(slots) {
        *place = slot.as_ref().map(|old| {
            let mut new = Application::new(old.targets, view);
            new.load(&old.state(0), view);
            new.load_tail(&old.tail_state(0), view);
            new
        });
    }
    fresh
}

fn compare(found: &Candidate, expected: &Candidate) -> Result<(), TestCaseError> {
    let parts = |c: &Candidate| (c.level, c.trouble, c.wishes, c.power_mw, c.sub_networks);
    prop_assert_eq!(parts(found), parts(expected));
    if expected.trouble != Trouble::NONE {
        prop_assert_eq!(found.uncapped_mw, expected.uncapped_mw);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn the_pruned_search_finds_what_the_whole_one_finds(
        (levels, sub_networks, tables, seed, wild) in shape(),
        asked in prop::collection::vec(asked(), 1..=4),
        samples in prop::collection::vec(0.6_f64..2.5, 0..40),
        cap_mw in prop_oneof![2 => Just(NO_POWER_CAP), 3 => 2_000_u32..20_000],
        biases in prop::collection::vec((0..32_u8, 2_000_u32..12_000), 0..20),
        parks in any::<bool>(),
    ) {
        let image = policy(levels, sub_networks, tables, seed, wild);
        let view = PolicyView::open(&image).unwrap();
        let slots = learned(&view, &asked, &samples);
        let fresh = afresh(&view, &slots);
        let mut power = Power::default();
        for (level, measured) in biases {
            for _ in 0..50 {
                power.learn(level, measured, 6_000, NO_POWER_CAP);
            }
        }
        let caps = PowerCaps::new(cap_mw, NO_POWER_CAP, NO_POWER_CAP);
        for margin in [Margin::Plain, Margin::Reserve] {
            let found = Board::new(view, &slots, caps, &power, parks).best(margin);
            let expected = Board::new(view, &fresh, caps, &power, parks).best_of_all(margin);
            compare(&found, &expected)?;
        }
    }
}
