//! The laws against figures worked out by hand, on the minimal board and on published coefficients.

mod common;

use common::{minimal, shipped};
use coshift_plant::Board;
use coshift_plant::board::Level;
use coshift_plant::law::LatencyLaw;
use proptest::prelude::*;

fn board() -> Board {
    Board::parse(&minimal(), "minimal.toml").unwrap_or_else(|error| panic!("{error}"))
}

fn close(found: f64, expected: f64, within: f64) {
    assert!((found - expected).abs() <= within, "{found} for {expected}");
}

#[test]
fn explicit_coefficients_give_worked_latencies() {
    let board = board();
    let ladder = board.network("ladder").expect("a network");
    let [first, second] = &ladder.sub_networks[..] else { panic!("two sub-networks") };
    // 3000/510 + 1 ms; 3000/1000 ms + 1 ms x 1190.4/1420.8.
    assert_eq!(board.latency_us(first, &board.levels[1]), 6882);
    assert_eq!(board.latency_us(first, &board.levels[2]), 3838);
    // sqrt(3^2 + 4^2) ms + 2 ms x 1190.4/1420.8.
    assert_eq!(board.latency_us(second, &board.levels[2]), 6676);
}

#[test]
fn scaled_coefficients_follow_tiles_macs_bytes_and_blocks() {
    let board = board();
    let work = board.network("work").expect("a network");
    let [small, large] = &work.sub_networks[..] else { panic!("two sub-networks") };
    let top = &board.levels[2];
    // 100 tiles x 1 million MACs x 50 / 1000 MHz = 5 ms; 100 x 2 MB x 16 / 1600 MHz = 2 ms;
    // 10 blocks x 0.1 ms; p = 1 adds them up.
    assert_eq!(board.latency_us(small, top), 8000);
    // 20 + 4 + 2 ms.
    assert_eq!(board.latency_us(large, top), 26_000);
    // Twice the tiles: the launch part stays.
    let doubled = coshift_plant::board::varied(&minimal(), "m.toml", "network.work.tiles", 2.0)
        .expect("a sound board");
    let large = &doubled.network("work").expect("a network").sub_networks[1];
    assert_eq!(doubled.latency_us(large, top), 50_000);
}

#[test]
fn tiles_are_found_for_a_latency_at_the_highest_level() {
    let board = board();
    let work = board.network("work").expect("a network");
    // 240 µs a tile and 2 ms of launches: (32 - 2) / 0.24.
    assert_eq!(board.tiles_for(work, 32_000.0), 125);
    assert_eq!(board.tiles_for(work, 26_000.0), work.tiles);
    assert_eq!(board.tiles_for(work, 0.0), 1);
}

#[test]
fn energy_is_power_beyond_idle_times_latency() {
    let board = board();
    let ladder = board.network("ladder").expect("a network");
    let level = &board.levels[1];
    // Idle 2.196 + 1.951 x 0.51; busy 4.388 + 6.048 x 0.51 + 1.674 x 0.51^3.
    assert_eq!(board.idle_mw(level), 3191);
    assert_eq!(board.busy_mw(ladder, level), 7695);
    // 4.50352 W x 6882.35 µs.
    assert_eq!(board.energy_uj(ladder, &ladder.sub_networks[0], level), 30_995);
    // Half the activity, half of what is beyond idle.
    let work = board.network("work").expect("a network");
    assert_eq!(board.busy_mw(work, level), 5443);
}

#[test]
fn cpu_and_memory_clocks_change_power_by_their_terms() {
    let board = board();
    let ladder = board.network("ladder").expect("a network");
    let base = Level { cpu_khz: 1_190_400, gpu_khz: 510_000, emc_khz: 1_600_000 };
    // C(1.4208) - C(1.1904) = 0.25 x (1.4208 x 1.1139^2 - 1.1904 x 1.0395^2) = 0.1192 W,
    // a fifth of it while idle.
    let cpu = Level { cpu_khz: 1_420_800, ..base };
    close(board.power.idle_w(&cpu) - board.power.idle_w(&base), 0.0238, 5e-4);
    close(board.power.busy_w(&cpu, 1.0) - board.power.busy_w(&base, 1.0), 0.1192, 5e-4);
    // 0.2 GHz less memory clock: 0.12 W less while idle, what work adds (4.5035 W) 4 % less.
    let emc = Level { emc_khz: 1_400_000, ..base };
    close(board.power.idle_w(&base) - board.power.idle_w(&emc), 0.12, 1e-9);
    let added = |level| board.power.busy_w(level, 1.0) - board.power.idle_w(level);
    close(added(&emc) / added(&base), 0.96, 1e-9);
    assert_eq!(board.busy_mw(ladder, &base), 7695);
}

#[test]
fn low_voltage_has_a_floor() {
    let board = board();
    // Below (0.84 - 0.655) / 0.323 = 0.573 GHz the voltage stays: power goes with the clock.
    let at = |cpu_khz| board.power.idle_w(&Level { cpu_khz, gpu_khz: 510_000, emc_khz: 1_600_000 });
    close((at(500_000) - at(300_000)) / (at(300_000) - at(100_000)), 1.0, 1e-9);
}

#[test]
fn published_coefficients_meet_published_latencies() {
    // MobileNet on Orin Nano: a 3205, b 4725 MHz ms, c 0.78 ms, p 2.02, largest error 2.7 %
    // (latency-lab at commit 0970a90e, p50).
    let law = LatencyLaw {
        gpu_mhz_ms: 3205.0,
        emc_mhz_ms: 4725.0,
        cpu_ms: 0.78,
        cpu_ref_mhz: 1728.0,
        p: 2.02,
    };
    for (gpu_khz, emc_khz, ms) in [
        (306_000, 665_000, 13.133),
        (1_020_000, 665_000, 8.547),
        (306_000, 2_133_000, 11.619),
        (612_000, 2_133_000, 6.492),
        (1_020_000, 2_133_000, 4.745),
        (306_000, 3_199_000, 11.400),
        (1_020_000, 3_199_000, 4.226),
    ] {
        let us = law.us(&Level { cpu_khz: 1_728_000, gpu_khz, emc_khz });
        assert!((us / 1e3 / ms - 1.0).abs() <= 0.028, "{gpu_khz} {emc_khz}: {us} for {ms} ms");
    }
}

#[test]
fn a_large_exponent_takes_the_slower_of_both() {
    let law = LatencyLaw {
        gpu_mhz_ms: 4323.0,
        emc_mhz_ms: 14_055.0,
        cpu_ms: 0.0,
        cpu_ref_mhz: 1000.0,
        p: 100.0,
    };
    let level = Level { cpu_khz: 1_000_000, gpu_khz: 306_000, emc_khz: 3_199_000 };
    close(law.us(&level), 4323.0 / 306.0 * 1e3, 1e-6);
    let none = LatencyLaw { gpu_mhz_ms: 0.0, emc_mhz_ms: 0.0, cpu_ms: 1.5, ..law };
    close(none.us(&level), 1500.0, 1e-9);
}

#[test]
fn temperature_goes_to_the_steady_one_at_any_step() {
    let law = shipped("xavier_nx").thermal;
    // 10 W x 3.4 K/W above 25 degrees.
    close(law.steady_c(10.0, 25.0), 59.0, 1e-9);
    // 63.2 % of the way after one time constant, in one step or in many.
    let once = law.after(25.0, 10.0, 25.0, law.time_constant_s);
    close(once, 25.0 + 34.0 * (1.0 - (-1.0_f64).exp()), 1e-9);
    let many = (0..214).fold(25.0, |temp, _| law.after(temp, 10.0, 25.0, 1.0));
    close(many, once, 1e-9);
}

proptest! {
    #[test]
    fn more_clock_never_takes_longer(
        a in 0.0..1e5_f64, b in 0.0..1e5_f64, c in 0.001..50.0_f64, p in 1.0..100.0_f64,
        gpu_khz in 100_000..1_400_000_u32, emc_khz in 200_000..3_200_000_u32,
        cpu_khz in 100_000..2_300_000_u32, more in 1_000..500_000_u32,
    ) {
        let law = LatencyLaw {
            gpu_mhz_ms: a, emc_mhz_ms: b, cpu_ms: c, cpu_ref_mhz: 1420.8, p,
        };
        let base = Level { cpu_khz, gpu_khz, emc_khz };
        let slack = law.us(&base) * 1e-12;
        for faster in [
            Level { cpu_khz: cpu_khz + more, ..base },
            Level { gpu_khz: gpu_khz + more, ..base },
            Level { emc_khz: emc_khz + more, ..base },
        ] {
            prop_assert!(law.us(&faster) <= law.us(&base) + slack);
        }
        // Between the slower of GPU and memory, and both one after the other.
        let (gpu, emc) = (a / base.gpu_mhz() * 1e3, b / base.emc_mhz() * 1e3);
        let overlapped = law.us(&base) - law.cpu_us(&base);
        prop_assert!(overlapped >= gpu.max(emc) - slack && overlapped <= gpu + emc + slack);
    }
}
