//! The coefficients in the board files against the measurements they come from.
//!
//! The measurements lie beside the project and are no part of it; without them these tests are
//! skipped and say so.

mod common;

use common::{measured, number, shipped, text};
use coshift_plant::board::Level;
use coshift_plant::fit::board_power::{PowerPoint, PowerSpan};
use coshift_plant::fit::{self, FitError, LatencyPoint};
use coshift_plant::law::LatencyLaw;

type Row = Vec<(String, String)>;

fn at_concurrency<'a>(rows: &'a [Row], concurrency: &'a str) -> impl Iterator<Item = &'a Row> {
    rows.iter().filter(move |row| text(row, "concurrency") == concurrency)
}

fn near(found: f64, in_file: f64, within: f64) {
    assert!((found - in_file).abs() <= within, "fitted {found}, in the file {in_file}");
}

#[test]
fn busy_power_of_both_xaviers_is_the_fit() {
    for (name, mape_pct, max_pct) in [("xavier_nx", 2.35, 8.3), ("agx_xavier", 2.35, 7.2)] {
        let Some(rows) = measured(&format!("{name}/inception_v3_by_gpu_clock.csv")) else { return };
        let board = shipped(name);
        let (law, emc_mhz) = (board.power, board.power.at_emc_ghz * 1e3);
        let points: Vec<_> = at_concurrency(&rows, "2")
            .map(|row| PowerPoint {
                gpu_mhz: number(row, "gpu_hz") / 1e6,
                emc_mhz,
                watt: number(row, "vdd_in_w"),
                group: Some(0),
            })
            .collect();
        let [low, top] = [points[0], points[points.len() - 1]].map(|point| point.gpu_mhz);
        let span = PowerSpan { gpu_mhz: [low, top], emc_mhz: [emc_mhz; 2] };
        let found = fit::board_power(&points, 1, span);
        for (found, in_file) in found.busy.iter().zip(law.busy) {
            near(*found, in_file, 0.003);
        }
        assert!(found.error.mape_pct <= mape_pct && found.error.max_pct <= max_pct, "{found:?}");
        if name == "agx_xavier" {
            // Its idle power is the default for a board of which only busy power is known.
            for (found, in_file) in found.idle.iter().zip(law.idle) {
                near(*found, in_file, 0.003);
            }
        }

        // What the board file gives at its own levels, judged on the same points.
        let pairs: Vec<_> = points
            .iter()
            .map(|point| {
                let near = |level: &&Level| (level.gpu_mhz() - point.gpu_mhz).abs() < 1e-3;
                let level = board.levels.iter().find(near).expect("a level at every clock");
                (law.busy_w(level, 1.0), point.watt)
            })
            .collect();
        let error = FitError::of(&pairs);
        assert!(error.mape_pct <= mape_pct && error.max_pct <= max_pct, "{name}: {error:?}");
    }
}

#[test]
fn the_shape_of_the_latency_law_is_that_of_inception_on_both_xaviers() {
    for (name, ratio, share) in [("xavier_nx", 0.38, 0.14), ("agx_xavier", 0.24, 0.17)] {
        let Some(rows) = measured(&format!("{name}/inception_v3_by_gpu_clock.csv")) else { return };
        let points: Vec<_> = at_concurrency(&rows, "1")
            .map(|row| (number(row, "gpu_hz") / 1e6, number(row, "latency_ms")))
            .collect();
        let ([a, c], error) =
            fit::latency_by_gpu_clock(&points, 2.02, ratio).expect("enough points");
        assert!(error.mape_pct <= 0.8, "{name}: {error:?}");
        let top = points.iter().map(|(mhz, _)| *mhz).fold(0.0, f64::max);
        let whole = a / top * (1.0 + ratio.powf(2.02)).powf(1.0 / 2.02) + c;
        near(c / whole, share, 0.005);

        // The same share and ratio stand in the file.
        let board = shipped(name);
        let level = board.levels.last().expect("levels");
        let law = &board.network("dynamic-ofa-7").expect("a network").sub_networks[0].latency;
        near(law.cpu_us(level) / law.us(level), share, 1e-9);
        let parts = law.emc_mhz_ms / level.emc_mhz() / (law.gpu_mhz_ms / level.gpu_mhz());
        near(parts, ratio, 1e-9);
    }
}

#[test]
fn the_shape_of_the_latency_law_is_that_of_mobilenet_on_orin_nano() {
    let Some(rows) = measured("orin_nano/latency_by_gpu_emc.csv") else { return };
    let law = LatencyLaw {
        gpu_mhz_ms: 3205.0,
        emc_mhz_ms: 4725.0,
        cpu_ms: 0.78,
        cpu_ref_mhz: 1728.0,
        p: 2.02,
    };
    let pairs: Vec<_> = rows
        .iter()
        .filter(|row| text(row, "net") == "mobilenet")
        .map(|row| {
            let khz = |column| (number(row, column) * 1e3) as u32;
            let level =
                Level { cpu_khz: 1_728_000, gpu_khz: khz("gpu_mhz"), emc_khz: khz("emc_mhz") };
            (law.us(&level), number(row, "p50_us"))
        })
        .collect();
    assert_eq!(pairs.len(), 24);
    let error = FitError::of(&pairs);
    // The tool finds the same law.
    let point = |row: &Row| LatencyPoint {
        cpu_mhz: 1728.0,
        gpu_mhz: number(row, "gpu_mhz"),
        emc_mhz: number(row, "emc_mhz"),
        ms: number(row, "p50_us") / 1e3,
    };
    let of_net = rows.iter().filter(|row| text(row, "net") == "mobilenet");
    let points: Vec<_> = of_net.map(point).collect();
    let tool = fit::latency(&points, 1728.0).expect("enough points");
    let ms = |law: &LatencyLaw, point: &LatencyPoint| {
        law.ms_at(point.cpu_mhz, point.gpu_mhz, point.emc_mhz)
    };
    for point in &points {
        near(ms(&tool, point) / ms(&law, point), 1.0, 0.01);
    }
    assert!(error.mape_pct <= 0.8 && error.max_pct <= 2.9, "{error:?}");

    let board = shipped("orin_nano");
    let top = board.levels.last().expect("levels");
    let own = &board.network("dynamic-ofa-7").expect("a network").sub_networks[0].latency;
    near(own.cpu_us(top) / own.us(top), law.cpu_us(top) / law.us(top), 0.005);
    near(own.emc_mhz_ms / own.gpu_mhz_ms, law.emc_mhz_ms / law.gpu_mhz_ms, 0.01);
}

#[test]
fn power_of_orin_nano_is_the_fit_over_memory_clock_and_utilisation() {
    let Some(rows) = measured("orin_nano/power_by_workload.csv") else { return };
    let points: Vec<_> = rows
        .iter()
        .filter_map(|row| {
            let emc = text(row, "label").strip_prefix("emc")?.split('_').next()?;
            let ghz = emc.parse::<f64>().ok()? / 1e3;
            // Below 665.6 MHz nothing is saved: no level has it.
            (ghz > 0.6).then(|| {
                let (above, share) = (ghz - 3.199, number(row, "gpu_util_pct") / 100.0);
                ([1.0, above, share, share * above], number(row, "vdd_in_mw") / 1e3)
            })
        })
        .collect();
    assert_eq!(points.len(), 18);
    let [idle, idle_emc, added, added_emc] =
        fit::relative_least_squares(&points).expect("enough points");
    let law = shipped("orin_nano").power;
    near(idle_emc, law.idle_emc, 0.001);
    near(added_emc / added, law.busy_emc, 0.001);
    // The CPU clock of the file's fit, the GPU clock of the measurements, the highest memory clock.
    let level = Level { cpu_khz: 1_728_000, gpu_khz: 1_017_000, emc_khz: 3_199_000 };
    near(idle, law.idle_w(&level), 0.005);
    near(idle + added, law.busy_w(&level, 1.0), 0.02);
    let pairs: Vec<_> = points
        .iter()
        .map(|(row, watt)| {
            let [_, above, share, both] = row;
            (idle + idle_emc * above + added * share + added_emc * both, *watt)
        })
        .collect();
    let error = FitError::of(&pairs);
    assert!(error.mape_pct <= 2.7 && error.max_pct <= 7.3, "{error:?}");
}

#[test]
fn the_energy_of_inception_on_xavier_nx_is_met_by_the_laws() {
    // P ÷ throughput at concurrency 2: power from the file's law, throughput as measured.
    let Some(rows) = measured("xavier_nx/inception_v3_by_gpu_clock.csv") else { return };
    let board = shipped("xavier_nx");
    let mut joule = Vec::new();
    for row in at_concurrency(&rows, "2") {
        let khz = (number(row, "gpu_hz") / 1e3).round() as u32;
        let level = board.levels.iter().find(|level| level.gpu_khz == khz).expect("a level");
        let modelled = board.power.busy_w(level, 1.0) / number(row, "throughput_per_s");
        joule.push((modelled, number(row, "energy_per_inference_j")));
    }
    assert_eq!(joule.len(), 15);
    assert!(FitError::of(&joule).max_pct <= 8.3);
    // Flat between 700 and 960 MHz, so the place of the least is not compared; what the ends cost
    // more than the least is.
    let over_least = |of: fn(&(f64, f64)) -> f64, index: usize| {
        let least = joule.iter().map(of).fold(f64::INFINITY, f64::min);
        of(&joule[index]) / least
    };
    for (index, within) in [(0, 0.2), (joule.len() - 1, 0.06)] {
        near(over_least(|pair| pair.0, index), over_least(|pair| pair.1, index), within);
    }
}
