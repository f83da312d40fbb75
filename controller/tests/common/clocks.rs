//! A board whose GPU and memory clocks something else may hold.

use coshift_shared::policy::{Cell, Level, PolicyView, SubNetwork, TableImage};
use coshift_shared::time::Instant;
use coshift_shared::to_controller::{Outcomes, Telemetry, ToController};
use coshift_shared::to_host::Decision;
use coshift_shared::units::{Age, NO_LEVEL, slowdown};
use proptest::prelude::*;

use super::{Bench, PERIOD_US};

pub const GPU_KHZ: [u32; 4] = [306_000, 510_000, 701_000, 905_000];
pub const EMC_KHZ: [u32; 3] = [665_600, 2_133_000, 3_199_000];
const WORK: [f64; 3] = [4_000.0, 7_000.0, 11_000.0];

fn latency_us(sub: usize, level: &Level) -> u32 {
    let (gpu, emc) = (f64::from(level.gpu_khz) / 1e6, f64::from(level.emc_khz) / 1e6);
    (WORK[sub] * (1.0 / gpu + 1.0 / emc)) as u32
}

/// Bounds on one clock: none, a cap, a floor, or both at once.
pub fn bounds(clocks: &'static [u32]) -> impl Strategy<Value = (u32, u32)> {
    let count = clocks.len();
    prop_oneof![
        1 => Just((0, u32::MAX)),
        2 => (0..count).prop_map(|at| (0, clocks[at])),
        1 => (0..count).prop_map(|at| (clocks[at], u32::MAX)),
        1 => (0..count).prop_map(|at| (clocks[at], clocks[at])),
    ]
}

/// Every pair of GPU and memory clock, but for those that `leave_out` names.
pub fn policy(leave_out: &[u8]) -> Vec<u8> {
    image(leave_out, None)
}

/// The same of a board that parks at its lowest clocks.
pub fn parking_policy() -> Vec<u8> {
    image(&[], Some(0))
}

fn image(leave_out: &[u8], park_level: Option<u8>) -> Vec<u8> {
    let mut levels = Vec::new();
    for (index, (gpu_khz, emc_khz)) in
        (0_u8..).zip(GPU_KHZ.iter().flat_map(|gpu| EMC_KHZ.map(|emc| (*gpu, emc))))
    {
        if !leave_out.contains(&index) {
            let ghz = f64::from(gpu_khz) / 1e6 + f64::from(emc_khz) / 8e6;
            let idle_mw = (2_000.0 + 1_500.0 * ghz) as u32;
            levels.push(Level { cpu_khz: 1_190_400, gpu_khz, emc_khz, idle_mw });
        }
    }
    let cell = |sub: usize, level: &Level| {
        let latency_us = latency_us(sub, level);
        let ghz = f64::from(level.gpu_khz) / 1e6 + f64::from(level.emc_khz) / 8e6;
        let busy_mw = 3_000.0 + 6_000.0 * ghz + 1_500.0 * ghz.powi(3);
        Cell { latency_us, energy_uj: (busy_mw * f64::from(latency_us) / 1e3) as u32 }
    };
    let row = |sub: usize| SubNetwork {
        id: sub as u32,
        model_hash: 0,
        accuracy_bp: 7_300 + 200 * sub as u16,
        exit_threshold: u16::MAX,
    };
    let subs = 0..WORK.len();
    let cells = subs.clone().map(|sub| levels.iter().map(|level| cell(sub, level)).collect());
    let table = TableImage {
        name: "first".into(),
        cells: cells.collect(),
        sub_networks: subs.map(row).collect(),
    };
    super::image(levels, vec![table], park_level).to_bytes().unwrap()
}

/// A board whose clocks something else keeps within bounds.
pub struct Board<'p> {
    pub bench: Bench<'p>,
    pub view: PolicyView<'p>,
    pub asked: u8,
    pub low: [u32; 3],
    pub high: [u32; 3],
}

impl<'p> Board<'p> {
    pub fn new(view: PolicyView<'p>) -> Self {
        let bench = Bench::new(view, Instant::START);
        Self { bench, view, asked: NO_LEVEL, low: [0; 3], high: [u32::MAX; 3] }
    }

    pub fn hold_memory(&mut self, khz: u32) {
        (self.low[2], self.high[2]) = (khz, khz);
    }

    pub fn free(&mut self) {
        (self.low, self.high) = ([0; 3], [u32::MAX; 3]);
    }

    pub fn clocks(&self) -> Option<[u32; 3]> {
        let level = self.view.level(self.asked)?;
        let mut clocks = [level.cpu_khz, level.gpu_khz, level.emc_khz];
        for ((clock, low), high) in clocks.iter_mut().zip(self.low).zip(self.high) {
            *clock = (*clock).max(low).min(high);
        }
        Some(clocks)
    }

    pub fn runs_at(&self) -> Option<u8> {
        let has = self.clocks()?;
        (0..self.view.levels()).find(|level| {
            let level = self.view.level(*level).unwrap();
            [level.cpu_khz, level.gpu_khz, level.emc_khz] == has
        })
    }

    /// A request runs where the board is.
    pub fn request(&mut self) {
        let standing = self.bench.controller.decision(self.bench.now);
        let message = Outcomes {
            at_us: self.bench.now.us(),
            slot: 0,
            sub_network: standing.sub_networks[0],
            level: self.runs_at().unwrap_or(NO_LEVEL),
            first_index: self.bench.index[0],
            samples: std::iter::once(slowdown::to_wire(100_000, 100_000)).collect(),
            outcomes_total: self.bench.index[0] + 1,
            misses_total: 0,
        };
        self.bench.index[0] += 1;
        self.bench.give(&ToController::Outcomes(message));
    }

    pub fn period(&mut self) -> Decision {
        self.bench.wait_us(PERIOD_US);
        let message = Telemetry {
            level: self.runs_at().unwrap_or(NO_LEVEL),
            clocks_mhz: self.clocks().map_or([0; 3], |clocks| {
                clocks.map(|khz| u16::try_from((khz + 500) / 1000).unwrap())
            }),
            power_age: Age::MISSING,
            ..super::telemetry(self.bench.now, 45_000)
        };
        let out = self.bench.give(&ToController::Telemetry(message));
        let decision = super::decision(&out).expect("telemetry is answered");
        self.asked = decision.run_level;
        decision
    }

    pub fn periods(&mut self, count: usize) -> Decision {
        (0..count).map(|_| self.period()).last().unwrap()
    }

    /// Latency of a request, µs.
    pub fn latency_us(&self, decision: &Decision) -> u32 {
        let [cpu_khz, gpu_khz, emc_khz] = self.clocks().unwrap();
        let level = Level { cpu_khz, gpu_khz, emc_khz, idle_mw: 0 };
        latency_us(usize::from(decision.sub_networks[0]), &level)
    }
}
