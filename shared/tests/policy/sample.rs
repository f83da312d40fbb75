//! Policy images to try things with.

use coshift_shared::policy::{
    Cell, Level, MAX_SETTLE_US, MAX_VALUE, PolicyImage, Settle, SubNetwork, TableImage,
};
use coshift_shared::units::{
    MAX_APPLICATIONS, MAX_LEVELS, MAX_SUB_NETWORKS, NO_POWER_CAP, NO_TEMP_CAP,
};
use proptest::prelude::*;

/// Two levels, one table of two sub-networks.
pub(crate) fn small() -> PolicyImage {
    let level = |gpu_khz, emc_khz, idle_mw| Level { cpu_khz: 1_190_400, gpu_khz, emc_khz, idle_mw };
    let sub_network = |id, accuracy_bp, exit_threshold| SubNetwork {
        id,
        model_hash: 0x0123_4567_89ab_cdef,
        accuracy_bp,
        exit_threshold,
    };
    let cell = |latency_us, energy_uj| Cell { latency_us, energy_uj };
    PolicyImage {
        sequence: 3,
        board: "orin".into(),
        runtime: "candle".into(),
        precision_bits: 32,
        batch: 1,
        settle: Settle { cpu_us: 1000, gpu_us: 5000, emc_us: 8000 },
        power_cap_mw: NO_POWER_CAP,
        temp_cap_mdeg_c: 85_000,
        utilisation_permille: 900,
        resistance_50mk_w: 68,
        park_level: Some(0),
        levels: vec![level(114_750, 1_331_200, 2400), level(1_109_250, 1_600_000, 4050)],
        tables: vec![TableImage {
            name: "net".into(),
            sub_networks: vec![sub_network(7, 7012, u16::MAX), sub_network(9, 9250, 49_151)],
            cells: vec![
                vec![cell(40_000, 90_000), cell(10_000, 60_000)],
                vec![cell(80_000, 200_000), cell(20_000, 130_000)],
            ],
        }],
    }
}

/// As many levels, tables and sub-networks as there can be, all values at their maxima.
pub(crate) fn largest() -> PolicyImage {
    let levels = (0..MAX_LEVELS as u32).map(|place| Level {
        cpu_khz: u32::MAX,
        gpu_khz: u32::MAX,
        emc_khz: u32::MAX - MAX_LEVELS as u32 + place,
        idle_mw: MAX_VALUE,
    });
    let sub_network = SubNetwork {
        id: u32::MAX,
        model_hash: u64::MAX,
        accuracy_bp: 10_000,
        exit_threshold: u16::MAX,
    };
    let cell = Cell { latency_us: MAX_VALUE, energy_uj: MAX_VALUE };
    let tables = (0..MAX_APPLICATIONS).map(|table| TableImage {
        name: format!("sixteen-bytes--{table}"),
        sub_networks: vec![sub_network; MAX_SUB_NETWORKS],
        cells: vec![vec![cell; MAX_LEVELS]; MAX_SUB_NETWORKS],
    });
    PolicyImage {
        sequence: u32::MAX,
        board: "a-board-of-16-by".into(),
        runtime: "eight-by".into(),
        precision_bits: u8::MAX,
        batch: u8::MAX,
        settle: Settle { cpu_us: MAX_SETTLE_US, gpu_us: MAX_SETTLE_US, emc_us: MAX_SETTLE_US },
        power_cap_mw: NO_POWER_CAP,
        temp_cap_mdeg_c: NO_TEMP_CAP,
        utilisation_permille: 1000,
        resistance_50mk_w: u8::MAX,
        park_level: Some(MAX_LEVELS as u8 - 1),
        levels: levels.collect(),
        tables: tables.collect(),
    }
}

fn levels() -> impl Strategy<Value = Vec<Level>> {
    let clocks = (1..5_u32, 1..5_u32, 1..5_u32);
    prop::collection::btree_map(clocks, 0..=MAX_VALUE, 1..=MAX_LEVELS).prop_map(|levels| {
        let level =
            |((gpu_khz, emc_khz, cpu_khz), idle_mw)| Level { cpu_khz, gpu_khz, emc_khz, idle_mw };
        levels.into_iter().map(level).collect()
    })
}

fn table(levels: usize) -> impl Strategy<Value = TableImage> {
    let sub_network = (any::<u32>(), any::<u64>(), 0..=10_000_u16, any::<u16>());
    let cell = (1..=MAX_VALUE, 1..=MAX_VALUE)
        .prop_map(|(latency_us, energy_uj)| Cell { latency_us, energy_uj });
    let row = prop::collection::vec(cell, levels);
    prop::collection::vec((sub_network, row), 1..=MAX_SUB_NETWORKS).prop_map(|mut rows| {
        rows.sort_by_key(|((_, _, accuracy_bp, _), _)| *accuracy_bp);
        let (sub_networks, cells) = rows
            .into_iter()
            .map(|((id, model_hash, accuracy_bp, exit_threshold), row)| {
                (SubNetwork { id, model_hash, accuracy_bp, exit_threshold }, row)
            })
            .unzip();
        TableImage { name: String::new(), sub_networks, cells }
    })
}

/// Any sound image.
pub(crate) fn image() -> impl Strategy<Value = PolicyImage> {
    let device = (
        any::<u32>(),
        "[!-~]{1,16}",
        "[!-~]{1,8}",
        (1..=u8::MAX, 1..=u8::MAX),
        prop::array::uniform3(0..=MAX_SETTLE_US),
        (any::<u32>(), any::<i32>(), 1..=1000_u16, any::<u8>()),
        prop::option::of(any::<prop::sample::Index>()),
    );
    let tables = levels().prop_flat_map(|levels| {
        let table = (table(levels.len()), "[!-~]{1,15}");
        (Just(levels), prop::collection::vec(table, 1..=MAX_APPLICATIONS))
    });
    (device, tables).prop_map(|(device, (levels, tables))| {
        let (sequence, board, runtime, (precision_bits, batch), settle, caps, park) = device;
        let [cpu_us, gpu_us, emc_us] = settle;
        let (power_cap_mw, temp_cap_mdeg_c, utilisation_permille, resistance_50mk_w) = caps;
        let named = tables.into_iter().enumerate().map(|(place, (table, name))| {
            // Names of tables differ.
            TableImage { name: format!("{place}{name}"), ..table }
        });
        PolicyImage {
            sequence,
            board,
            runtime,
            precision_bits,
            batch,
            settle: Settle { cpu_us, gpu_us, emc_us },
            power_cap_mw,
            temp_cap_mdeg_c,
            utilisation_permille,
            resistance_50mk_w,
            park_level: park.map(|index| index.index(levels.len()) as u8),
            tables: named.collect(),
            levels,
        }
    })
}
