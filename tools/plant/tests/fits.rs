//! Fits against measured grids and against made-up laws with noise and outliers.

mod common;

use common::{measured, number, text};
use coshift_plant::fit::board_power::{PowerPoint, PowerSpan};
use coshift_plant::fit::{
    FitError, LatencyPoint, board_power, calibration_points, latency, latency_error,
};
use coshift_plant::law::LatencyLaw;

const CPU_MHZ: f64 = 1500.0;
const GPU: [f64; 8] = [306.0, 408.0, 510.0, 612.0, 714.0, 816.0, 918.0, 1020.0];
const EMC: [f64; 3] = [665.0, 2133.0, 3199.0];

/// Indices of the calibration points among `points`.
fn chosen(points: &[LatencyPoint], count: usize) -> Vec<usize> {
    let clocks: Vec<_> =
        points.iter().map(|point| [point.cpu_mhz, point.gpu_mhz, point.emc_mhz]).collect();
    calibration_points(&clocks, count)
}

fn fitted(points: &[LatencyPoint]) -> LatencyLaw {
    latency(points, CPU_MHZ).expect("sound points")
}

/// Fit to `count` points, errors on the others.
fn calibrated(points: &[LatencyPoint], count: usize) -> FitError {
    let at = chosen(points, count);
    let picked = |is_chosen: bool| -> Vec<_> {
        let wanted = (0..points.len()).filter(|index| at.contains(index) == is_chosen);
        wanted.map(|index| points[index]).collect()
    };
    latency_error(&fitted(&picked(true)), &picked(false))
}

fn orin_nano(net: &str) -> Option<Vec<LatencyPoint>> {
    let rows = measured("orin_nano/latency_by_gpu_emc.csv")?;
    let of_net = rows.iter().filter(|row| text(row, "net") == net);
    let point = |row: &Vec<(String, String)>| LatencyPoint {
        cpu_mhz: CPU_MHZ,
        gpu_mhz: number(row, "gpu_mhz"),
        emc_mhz: number(row, "emc_mhz"),
        ms: number(row, "p50_us") / 1e3,
    };
    Some(of_net.map(point).collect())
}

#[test]
fn six_points_tell_the_other_eighteen_of_orin_nano() {
    for (net, mape_pct) in [("proxy", 1.5), ("vit", 1.5), ("mobilenet", 1.5), ("cproxyv2", 6.5)] {
        let Some(points) = orin_nano(net) else { return };
        assert_eq!(points.len(), 24);
        let error = calibrated(&points, 6);
        assert!(error.mape_pct <= mape_pct, "{net}: {error:?}");
        // A fit that does not look at the memory clock is far off.
        let blind: Vec<_> =
            points.iter().map(|point| LatencyPoint { emc_mhz: 1600.0, ..*point }).collect();
        let error = latency_error(&fitted(&blind), &blind);
        assert!(error.mape_pct > 10.0, "{net} without the memory clock: {error:?}");
    }
}

#[test]
fn all_points_of_orin_nano_are_met() {
    for (net, mape_pct) in [("proxy", 0.8), ("vit", 0.8), ("mobilenet", 0.8), ("cproxyv2", 2.4)] {
        let Some(points) = orin_nano(net) else { return };
        let error = latency_error(&fitted(&points), &points);
        assert!(error.mape_pct <= mape_pct, "{net}: {error:?}");
    }
}

/// Numbers that look random, the same at every run (xorshift).
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn gauss(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().max(1e-12).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// Networks bound by GPU, by memory and by both, that overlap them little or much.
fn made_up() -> Vec<LatencyLaw> {
    let mut laws = Vec::new();
    for (gpu_mhz_ms, emc_mhz_ms) in [(12_000.0, 6000.0), (6000.0, 12_000.0), (3000.0, 24_000.0)] {
        for (p, cpu_ms) in [(1.3, 0.2), (2.2, 2.0), (5.0, 0.5), (19.0, 1.0)] {
            laws.push(LatencyLaw { gpu_mhz_ms, emc_mhz_ms, cpu_ms, cpu_ref_mhz: CPU_MHZ, p });
        }
    }
    laws
}

/// A law's latencies on a grid, without error.
fn exact(law: &LatencyLaw, cpu: &[f64], emc: &[f64]) -> Vec<LatencyPoint> {
    let mut points = Vec::new();
    for &cpu_mhz in cpu {
        for gpu_mhz in GPU {
            points.extend(emc.iter().map(|&emc_mhz| {
                let ms = law.ms_at(cpu_mhz, gpu_mhz, emc_mhz);
                LatencyPoint { cpu_mhz, gpu_mhz, emc_mhz, ms }
            }));
        }
    }
    points
}

/// The same with Gaussian noise, and some points far too slow.
fn disturbed(
    exact: &[LatencyPoint],
    noise: f64,
    outliers: f64,
    random: &mut Random,
) -> Vec<LatencyPoint> {
    let mut disturb = |point: &LatencyPoint| {
        let mut ms = point.ms * (1.0 + noise * random.gauss());
        if random.uniform() < outliers {
            ms *= 1.3 + random.uniform();
        }
        LatencyPoint { ms, ..*point }
    };
    exact.iter().map(&mut disturb).collect()
}

#[test]
fn made_up_laws_are_found_in_spite_of_noise_and_outliers() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut spoilt = 0;
    for law in made_up() {
        let truth = exact(&law, &[CPU_MHZ], &EMC);
        let seen = disturbed(&truth, 0.01, 0.1, &mut random);
        let found = latency_error(&fitted(&seen), &truth);
        assert!(found.mape_pct <= 1.0, "{law:?}: {found:?}");
        let worst = seen.iter().zip(&truth).map(|(seen, truth)| seen.ms / truth.ms);
        spoilt += usize::from(worst.fold(0.0, f64::max) > 1.3);
    }
    assert!(spoilt >= 8, "only {spoilt} of 12 grids had an outlier");
}

#[test]
fn six_points_of_a_noisy_grid_tell_the_rest() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for law in made_up() {
        let truth = exact(&law, &[CPU_MHZ], &EMC);
        let seen = disturbed(&truth, 0.005, 0.0, &mut random);
        let error = calibrated(&seen, 6);
        assert!(error.mape_pct <= 1.5, "{law:?}: {error:?}");
        // GPU-bound networks hardly notice the memory clock; the others cannot do without.
        if law.emc_mhz_ms > law.gpu_mhz_ms {
            let blind: Vec<_> =
                seen.iter().map(|point| LatencyPoint { emc_mhz: 1600.0, ..*point }).collect();
            assert!(calibrated(&blind, 6).mape_pct > 10.0, "{law:?} without the memory clock");
        }
    }
}

#[test]
fn one_spoilt_point_of_eight_is_found_out() {
    let mut off = Vec::new();
    for law in made_up().into_iter().step_by(3) {
        let truth = exact(&law, &[CPU_MHZ], &EMC);
        let at = chosen(&truth, 8);
        for spoilt in &at {
            let points: Vec<_> = at
                .iter()
                .map(|index| {
                    let factor = if index == spoilt { 1.6 } else { 1.0 };
                    LatencyPoint { ms: factor * truth[*index].ms, ..truth[*index] }
                })
                .collect();
            off.push(latency_error(&fitted(&points), &truth).mape_pct);
        }
    }
    off.sort_by(f64::total_cmp);
    let good = off.iter().filter(|mape_pct| **mape_pct <= 2.0).count();
    assert!(good * 10 >= off.len() * 9 && off.len() == 32, "{good} of {}: {off:?}", off.len());
}

#[test]
fn a_missing_memory_axis_leaves_a_law_that_holds_at_the_other_clocks() {
    let mut random = Random(0x1234_5678_9abc_def1);
    for law in made_up() {
        let truth = exact(&law, &[CPU_MHZ], &[1600.0]);
        let seen = disturbed(&truth, 0.005, 0.0, &mut random);
        let error = latency_error(&fitted(&seen), &truth);
        assert!(error.mape_pct <= 1.0, "{law:?}: {error:?}");
        // Where GPU and memory part are equal a large p has a knee between the points.
        let error = calibrated(&seen, 4);
        assert!(error.mape_pct <= 3.5, "{law:?}: {error:?}");
    }
}

#[test]
fn a_cpu_axis_tells_the_launch_part() {
    for law in made_up() {
        let truth = exact(&law, &[730.0, 1344.0, 1728.0], &EMC);
        let found = fitted(&truth);
        assert!((found.cpu_ms / law.cpu_ms - 1.0).abs() <= 0.05, "{law:?}: {found:?}");
        assert!(latency_error(&found, &truth).max_pct <= 0.2, "{law:?}");
    }
}

#[test]
fn what_is_no_measurement_gives_nothing() {
    let point = LatencyPoint { cpu_mhz: 1e3, gpu_mhz: 1e3, emc_mhz: 1e3, ms: 1.0 };
    assert_eq!(latency(&[], 1e3), None);
    for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(latency(&[point, LatencyPoint { ms: wrong, ..point }], 1e3), None);
        assert_eq!(latency(&[LatencyPoint { gpu_mhz: wrong, ..point }], 1e3), None);
    }
    assert_eq!(latency(&[point], 0.0), None);
}

const SPAN: PowerSpan = PowerSpan { gpu_mhz: [306.0, 1020.0], emc_mhz: [665.0, 3199.0] };

/// Idle 3 + 2 f + 0.5 Δ, added by work (2 + 5 f + 3 f³)(1 + 0.2 Δ) × activity.
fn watt(gpu_mhz: f64, emc_mhz: f64, activity: f64) -> f64 {
    let (gpu, above) = (gpu_mhz / 1e3, (emc_mhz - 3199.0) / 1e3);
    let added = (2.0 + 5.0 * gpu + 3.0 * gpu.powi(3)) * (1.0 + 0.2 * above);
    3.0 + 2.0 * gpu + 0.5 * above + activity * added
}

fn powers(groups: &[Option<(usize, f64)>], emc: &[f64]) -> Vec<PowerPoint> {
    let mut points = Vec::new();
    for gpu_mhz in GPU {
        for &emc_mhz in emc {
            points.extend(groups.iter().map(|group| PowerPoint {
                gpu_mhz,
                emc_mhz,
                watt: watt(gpu_mhz, emc_mhz, group.map_or(0.0, |(_, activity)| activity)),
                group: group.map(|(group, _)| group),
            }));
        }
    }
    points
}

#[test]
fn power_terms_are_found_again_where_all_was_measured() {
    let points = powers(&[None, Some((0, 1.0)), Some((1, 0.7))], &EMC);
    let fit = board_power(&points, 2, SPAN);
    let found = [
        (fit.idle[0], 3.0),
        (fit.idle[1], 2.0),
        (fit.busy[0], 5.0),
        (fit.busy[1], 7.0),
        (fit.busy[2], 3.0),
        (fit.idle_emc, 0.5),
        (fit.busy_emc, 0.2),
        (fit.activity[1], 0.7),
    ];
    for (found, put) in found {
        assert!((found / put - 1.0).abs() <= 0.02, "{found} for {put}");
    }
    assert!(fit.idle_measured && fit.busy_measured && fit.emc_measured);
    assert!(fit.error.max_pct <= 0.1, "{:?}", fit.error);
}

#[test]
fn outliers_do_not_bend_the_power_law() {
    let mut points = powers(&[Some((0, 1.0))], &[3199.0]);
    points.extend(powers(&[Some((0, 1.0))], &[3199.0]));
    let clean = points.clone();
    points[3].watt *= 1.6;
    points[12].watt *= 0.5;
    let fit = board_power(&points, 1, SPAN);
    for point in clean {
        let gpu = point.gpu_mhz / 1e3;
        let busy = fit.busy[0] + fit.busy[1] * gpu + fit.busy[2] * gpu.powi(3);
        assert!((busy / point.watt - 1.0).abs() <= 0.01, "{busy} for {point:?}");
    }
    assert!(!fit.emc_measured && !fit.idle_measured);
}

#[test]
fn any_few_powers_give_a_law_that_a_board_can_have() {
    let all = powers(&[Some((0, 1.0))], &EMC);
    for points in [&all[..0], &all[..1], &all[..4], &all[20..]] {
        let fit = board_power(points, 1, SPAN);
        for gpu_mhz in GPU {
            let gpu = gpu_mhz / 1e3;
            let below = (EMC[0] - EMC[2]) / 1e3;
            let idle = fit.idle[0] + fit.idle[1] * gpu;
            let busy = fit.busy[0] + fit.busy[1] * gpu + fit.busy[2] * gpu.powi(3);
            assert!(idle + fit.idle_emc * below > 0.0 && busy > idle, "{gpu_mhz}: {fit:?}");
            assert!(1.0 + fit.busy_emc * below > 0.0, "{fit:?}");
        }
        assert_eq!(fit.busy_measured, !points.is_empty());
    }
}
