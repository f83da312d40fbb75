//! Random policies and targets.

use coshift_shared::policy::{Cell, Level, PolicyImage, Settle, TableImage};
use coshift_shared::to_controller::{Degrade, Objective, Targets};
use proptest::prelude::*;

/// A policy of random cells, where `wild` latencies and energies in no order at all; each table has
/// three sub-networks fewer than the one before.
pub fn policy(levels: usize, sub_networks: usize, tables: usize, seed: u64, wild: bool) -> Vec<u8> {
    image(levels, sub_networks, tables, seed, wild).to_bytes().unwrap()
}

/// GPU and memory clocks of [`grid`], kHz.
pub const GRID_GPU_KHZ: [u32; 8] =
    [100_000, 200_000, 300_000, 400_000, 500_000, 600_000, 700_000, 800_000];
pub const GRID_EMC_KHZ: [u32; 4] = [500_000, 1_000_000, 1_500_000, 2_000_000];

/// A full policy whose 32 levels are every pair of GPU and memory clock.
pub fn grid(seed: u64, wild: bool) -> Vec<u8> {
    let mut image = image(32, 16, 4, seed, wild);
    let pairs = GRID_GPU_KHZ.iter().flat_map(|gpu| GRID_EMC_KHZ.map(|emc| (*gpu, emc)));
    for (level, (gpu_khz, emc_khz)) in image.levels.iter_mut().zip(pairs) {
        (level.gpu_khz, level.emc_khz) = (gpu_khz, emc_khz);
    }
    image.to_bytes().unwrap()
}

fn image(levels: usize, sub_networks: usize, tables: usize, seed: u64, wild: bool) -> PolicyImage {
    let mut state = seed | 1;
    let mut random = move |most: u32| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as u32 % most
    };
    let mut cell = |sub: u32, level: u32| {
        if wild {
            return Cell { latency_us: 1 + random(60_000), energy_uj: 1 + random(200_000) };
        }
        let speed = 300 + 50 * level;
        let latency_us = (2_000 + 1_500 * sub) * 1_000 / speed + 2_000 + random(500);
        Cell { latency_us, energy_uj: latency_us * (speed + 1_000 + random(200)) / 400 }
    };
    let tables = (0..tables).map(|table| {
        let rows = sub_networks.saturating_sub(3 * table).max(1);
        let accuracies: Vec<u16> =
            (0..rows).map(|row| 7_000 + 100 * (row / 2 * 2) as u16).collect();
        TableImage::sample(&format!("net{table}"), &accuracies, levels as u32, &mut cell)
    });
    let tables = tables.collect();
    let level = |level: u32| Level {
        cpu_khz: 1,
        gpu_khz: 1 + level,
        emc_khz: 1,
        idle_mw: 2_000 + if wild { (level * 7_919) % 3_000 } else { 60 * level },
    };
    let gpu_us = if wild { 500 } else { 5_000 };
    PolicyImage {
        settle: Settle { cpu_us: 0, gpu_us, emc_us: 0 },
        park_level: Some((seed % levels as u64) as u8),
        ..PolicyImage::sample((0..levels as u32).map(level).collect(), tables)
    }
}

pub fn asked() -> impl Strategy<Value = Targets> {
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

/// What the shape of the policy is drawn from: levels, sub-networks, tables, seed, wild.
pub fn shape() -> impl Strategy<Value = (usize, usize, usize, u64, bool)> {
    (1_usize..=32, 1_usize..=16, 1_usize..=4, any::<u64>(), any::<bool>())
}
