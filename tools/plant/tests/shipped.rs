//! The boards that come with the project.

mod common;

use common::{shipped, shipped_text};
use coshift_plant::Board;
use coshift_plant::board::{Mark, Network, varied};

const BOARDS: [&str; 3] = ["agx_xavier", "orin_nano", "xavier_nx"];

fn network<'a>(board: &'a Board, name: &str) -> &'a Network {
    board.network(name).unwrap_or_else(|| panic!("{}: no {name}", board.name))
}

#[test]
fn every_board_is_sound_and_carries_the_published_networks() {
    for name in BOARDS {
        let board = shipped(name);
        assert_eq!(board.name, name);
        for (name, count) in [("dynamic-ofa-6", 6), ("dynamic-ofa-7", 7)] {
            assert_eq!(network(&board, name).sub_networks.len(), count);
        }
        for entry in &board.provenance.entries {
            assert!(
                entry.mark == Mark::Assumed || !entry.sources.is_empty(),
                "{}: {:?} has no source",
                board.name,
                entry.fields
            );
        }
    }
}

#[test]
fn latency_falls_with_every_clock_and_rises_with_work() {
    for name in BOARDS {
        let board = shipped(name);
        for network in &board.networks {
            for sub in &network.sub_networks {
                for (index, slow) in board.levels.iter().enumerate() {
                    for fast in &board.levels[index..] {
                        let above = fast.cpu_khz >= slow.cpu_khz
                            && fast.gpu_khz >= slow.gpu_khz
                            && fast.emc_khz >= slow.emc_khz;
                        if above && fast != slow {
                            assert!(
                                board.latency_us(sub, fast) < board.latency_us(sub, slow),
                                "{} sub-network {}: {slow:?} to {fast:?}",
                                network.name,
                                sub.id
                            );
                        }
                    }
                }
            }
            for level in &board.levels {
                for pair in network.sub_networks.windows(2) {
                    assert!(
                        board.latency_us(&pair[0], level) < board.latency_us(&pair[1], level),
                        "{} at {level:?}: {} and {}",
                        network.name,
                        pair[0].id,
                        pair[1].id
                    );
                }
            }
        }
    }
}

#[test]
fn idle_and_busy_power_rise_with_the_clocks() {
    for name in BOARDS {
        let board = shipped(name);
        for (index, low) in board.levels.iter().enumerate() {
            for high in &board.levels[index + 1..] {
                if high.cpu_khz >= low.cpu_khz && high.emc_khz >= low.emc_khz {
                    assert!(board.idle_mw(low) < board.idle_mw(high), "{low:?} {high:?}");
                    let network = &board.networks[0];
                    assert!(board.busy_mw(network, low) < board.busy_mw(network, high));
                }
            }
        }
    }
}

/// Published latencies of the two sets on a Jetson Xavier NX, ms, and accuracies, %
/// (UoS-EEC/DynamicOFA at commit 349461f4, nets_6 and nets_7).
const PUBLISHED: [(&str, &[(f64, f64)]); 2] = [
    (
        "dynamic-ofa-6",
        &[
            (41.16, 74.202),
            (45.42, 74.968),
            (49.44, 76.134),
            (51.08, 77.540),
            (56.75, 78.346),
            (61.73, 79.030),
        ],
    ),
    (
        "dynamic-ofa-7",
        &[
            (37.53, 73.178),
            (41.49, 74.540),
            (45.36, 75.226),
            (47.32, 76.388),
            (48.14, 77.034),
            (51.32, 77.748),
            (59.10, 78.050),
        ],
    ),
];

#[test]
fn published_latencies_stand_at_the_highest_level() {
    let board = shipped("xavier_nx");
    let top = board.levels.last().expect("levels");
    for (name, figures) in PUBLISHED {
        for (sub, (ms, accuracy)) in network(&board, name).sub_networks.iter().zip(figures) {
            let modelled = f64::from(board.latency_us(sub, top)) / 1e3;
            assert!((modelled - ms).abs() <= 0.006, "{name} {}: {modelled} for {ms}", sub.id);
            assert!((sub.accuracy_pct - accuracy).abs() < 1e-9);
        }
    }
}

#[test]
fn xavier_nx_idles_as_measured() {
    let board = shipped("xavier_nx");
    let park = &board.levels[board.park_level.expect("a park level")];
    assert_eq!(park.gpu_khz, 114_750);
    // 2.42 W at 114.75 MHz; about 4.05 W with the GPU held at 0.9 to 1.0 GHz.
    assert!(board.idle_mw(park).abs_diff(2420) <= 1);
    let held: Vec<_> = board
        .levels
        .iter()
        .filter(|level| (900_000..=1_010_000).contains(&level.gpu_khz))
        .map(|level| board.idle_mw(level))
        .collect();
    assert!(held.len() == 3 && held.iter().all(|mw| mw.abs_diff(4050) <= 120), "{held:?}");
}

#[test]
fn xavier_nx_draws_busy_what_was_measured() {
    // Inception-v3 at concurrency 2, VDD_IN (LoudVA at commit 2b4b15ef); the fit error is 8.2 % at
    // the worst point, 701.25 MHz.
    let measured = [
        (114_750, 4.896),
        (306_000, 6.505),
        (510_000, 7.901),
        (701_250, 8.665),
        (905_250, 11.32),
        (1_007_250, 12.392),
        (1_109_250, 13.578),
    ];
    let board = shipped("xavier_nx");
    for (gpu_khz, watt) in measured {
        let level = board.levels.iter().find(|level| level.gpu_khz == gpu_khz).expect("a level");
        let busy = f64::from(board.busy_mw(network(&board, "dynamic-ofa-7"), level)) / 1e3;
        assert!((busy / watt - 1.0).abs() <= 0.083, "{gpu_khz} kHz: {busy} W for {watt} W");
    }
}

#[test]
fn whole_energy_has_its_least_between_the_lowest_and_the_highest_clock() {
    // As measured: Xavier NX between 701 and 905 MHz (P ÷ throughput).
    let board = shipped("xavier_nx");
    let network = network(&board, "dynamic-ofa-7");
    for sub in &network.sub_networks {
        let whole = |index: &usize| {
            let level = &board.levels[*index];
            u64::from(board.busy_mw(network, level)) * u64::from(board.latency_us(sub, level))
        };
        let best = (0..board.levels.len()).min_by_key(whole).expect("levels");
        let gpu_khz = board.levels[best].gpu_khz;
        assert!((701_250..=905_250).contains(&gpu_khz), "sub-network {}: {gpu_khz}", sub.id);
        let lowest = whole(&0) as f64 / whole(&best) as f64;
        assert!((1.9..=3.5).contains(&lowest), "lowest clock costs {lowest:.2} times the least");
    }
}

#[test]
fn a_network_is_added_as_the_decision_says() {
    let page = include_str!("../../../docs/decisions/0003-board-files.md");
    let example = page
        .split("```toml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .expect("the page shows a network");
    let text = format!("{}\n{example}", shipped_text("xavier_nx")).replacen(
        "[sources]\n",
        "[sources]\nmy-card = \"the model's card\"\n",
        1,
    );
    let board = Board::parse(&text, "with my-net").unwrap_or_else(|error| panic!("{error}"));
    let own = network(&board, "my-net");
    let tiles = board.tiles_for(own, 32_500.0);
    let factor = f64::from(tiles) / f64::from(own.tiles);
    let board = varied(&text, "with tiles", "network.my-net.tiles", factor)
        .unwrap_or_else(|error| panic!("{error}"));
    let own = network(&board, "my-net");
    assert_eq!(own.tiles, tiles);
    let top = board.levels.last().expect("levels");
    let [small, large] = &own.sub_networks[..] else { panic!("two sub-networks") };
    let (small, large) = (board.latency_us(small, top), board.latency_us(large, top));
    assert!((25_000..=40_000).contains(&large), "{large} µs");
    assert!(large >= 2 * small, "{small} to {large} µs");
}
