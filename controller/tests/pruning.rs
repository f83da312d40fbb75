//! The search for a level, which passes over levels that cannot win and keeps picks between
//! decisions, against judging every level afresh with nothing kept.

mod common;

use coshift_controller::application::Application;
use coshift_controller::demand::Margin;
use coshift_controller::device::{Board, Candidate, PowerCaps, Slots, Trouble};
use coshift_controller::power::Power;
use coshift_shared::policy::{
    Cell, Level, PolicyImage, PolicyView, Settle, SubNetwork, TableImage,
};
use coshift_shared::to_controller::{Degrade, Objective, Outcomes, Targets};
use coshift_shared::units::{NO_POWER_CAP, NO_TEMP_CAP, slowdown};
use proptest::prelude::*;

/// A policy of random cells: latencies and energies in no order at all.
fn policy(levels: usize, sub_networks: usize, tables: usize, seed: u64, wild: bool) -> Vec<u8> {
    let mut state = seed | 1;
    let mut random = move |most: u32| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as u32 % most
    };
    let mut cell = |sub: usize, level: usize| {
        if wild {
            return Cell { latency_us: 1 + random(60_000), energy_uj: 1 + random(200_000) };
        }
        let speed = 300 + 50 * level as u32;
        let latency_us = (2_000 + 1_500 * sub as u32) * 1_000 / speed + 2_000 + random(500);
        Cell { latency_us, energy_uj: latency_us * (speed + 1_000 + random(200)) / 400 }
    };
    let table = |name: usize, cell: &mut dyn FnMut(usize, usize) -> Cell| TableImage {
        name: format!("net{name}"),
        sub_networks: (0..sub_networks)
            .map(|index| SubNetwork {
                id: index as u32,
                model_hash: 0,
                accuracy_bp: 7_000 + 100 * (index / 2 * 2) as u16,
                exit_threshold: u16::MAX,
            })
            .collect(),
        cells: (0..sub_networks)
            .map(|sub| (0..levels).map(|level| cell(sub, level)).collect())
            .collect(),
    };
    let tables = (0..tables).map(|name| table(name, &mut cell)).collect();
    let idle: Vec<u32> = (0..levels)
        .map(|level| 2_000 + if wild { (level as u32 * 7_919) % 3_000 } else { 60 * level as u32 })
        .collect();
    PolicyImage {
        sequence: 1,
        board: "test".into(),
        runtime: "none".into(),
        precision_bits: 32,
        batch: 1,
        settle: Settle { cpu_us: 0, gpu_us: if wild { 500 } else { 5_000 }, emc_us: 0 },
        power_cap_mw: NO_POWER_CAP,
        temp_cap_mdeg_c: NO_TEMP_CAP,
        utilisation_permille: 900,
        park_level: Some((seed % levels as u64) as u8),
        levels: (0..levels)
            .map(|level| Level {
                cpu_khz: 1,
                gpu_khz: 1 + level as u32,
                emc_khz: 1,
                idle_mw: idle[level],
            })
            .collect(),
        tables,
    }
    .to_bytes()
    .unwrap()
}

fn asked() -> impl Strategy<Value = Targets> {
    (
        (0..4_u8, 0..3_u8, 0..3_u8, 0..4_u8),
        3_000_u32..150_000,
        5_000_u32..300_000,
        prop_oneof![Just(0_u16), 6_900_u16..8_800],
        prop_oneof![Just(0_u32), 1_000_u32..200_000],
        prop_oneof![Just(500_u16), Just(100), Just(10)],
    )
        .prop_map(
            |(
                (table, objective, degrade, priority),
                deadline_us,
                period_us,
                floor,
                budget,
                miss,
            )| {
                Targets {
                    table,
                    objective: [
                        Objective::LeastEnergy,
                        Objective::BestAccuracy,
                        Objective::LeastLatency,
                    ][usize::from(objective)],
                    deadline_us,
                    period_us,
                    accuracy_floor_bp: floor,
                    miss_target_bp: miss,
                    priority,
                    degrade: [Degrade::Accuracy, Degrade::Deadline, Degrade::Energy]
                        [usize::from(degrade)],
                    energy_budget_uj: budget,
                }
            },
        )
}

/// Slots that have taken in some outcomes, one after another.
fn learned(view: &PolicyView<'_>, asked: &[Targets], samples: &[f64]) -> Slots {
    let mut slots: Slots = [None; 4];
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
    let mut fresh: Slots = [None; 4];
    for (place, slot) in fresh.iter_mut().zip(slots) {
        *place = slot.map(|old| {
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

/// What the shape of the policy is drawn from: levels, sub-networks, tables, seed, wild.
fn shape() -> impl Strategy<Value = (usize, usize, usize, u64, bool)> {
    (1_usize..=32, 1_usize..=16, 1_usize..=4, any::<u64>(), any::<bool>())
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
                power.learn(level, measured, 6_000);
            }
        }
        let caps = PowerCaps { plain_mw: cap_mw, reserve_mw: cap_mw - cap_mw / 256 };
        for margin in [Margin::Plain, Margin::Reserve] {
            let found = Board::new(view, &slots, caps, &power, parks).best(margin);
            let expected = Board::new(view, &fresh, caps, &power, parks).best_of_all(margin);
            compare(&found, &expected)?;
        }
    }
}
