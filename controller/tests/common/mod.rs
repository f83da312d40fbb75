//! A small board and a clock for the tests of the controller.

#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test file uses its own part")]

pub mod boards;
pub mod clocks;
pub mod events;
pub mod published;
pub mod random;
pub mod rest;
pub mod streams;

use coshift_controller::{Controller, Input, Outputs};
use coshift_shared::policy::{Cell, Level, PolicyImage, TableImage};
use coshift_shared::time::{Duration, Instant};
use coshift_shared::to_controller::{
    Application, Change, Degrade, Limits, Objective, Outcomes, Targets, Telemetry, Temperature,
    ToController,
};
use coshift_shared::to_host::{Decision, ToHost};
use coshift_shared::units::{Age, NO_LEVEL, NO_TEMP_CAP, slowdown};

/// Control period of the tests, µs.
pub const PERIOD_US: u32 = 50_000;

/// GPU clocks of the board, MHz.
pub const GPU_MHZ: [u32; 6] = [115, 306, 510, 701, 905, 1109];
/// Accuracy, 0.01 %, and work of the sub-networks.
pub const SUB_NETWORKS: [(u16, f64); 4] =
    [(7300, 4_000.0), (7500, 7_000.0), (7700, 11_000.0), (7800, 16_000.0)];

/// Latency of a sub-network, µs.
pub fn latency_us(sub_network: usize, level: usize) -> u32 {
    (SUB_NETWORKS[sub_network].1 / f64::from(GPU_MHZ[level]) * 1000.0 + 4_000.0) as u32
}

/// Idle power of a level, mW.
pub fn idle_mw(level: usize) -> u32 {
    let ghz = f64::from(GPU_MHZ[level]) / 1000.0;
    (2_300.0 + 1_500.0 * ghz) as u32
}

/// Mean power with nothing to do of a board that parks between requests of one application, mW:
/// at the park level, but for the requests and for a settle window (5 ms) and a slack (2 ms) each.
/// `slack` (a share of the time) moves the edge from which on the board parks: integers round there.
pub fn parked_mw(level: usize, utilisation: f64, period_us: f64, slack: f64) -> f64 {
    let (park, run) = (f64::from(idle_mw(0)), f64::from(idle_mw(level)));
    let changes = if level == 0 { 0.0 } else { 7_000.0 / period_us };
    if 1.0 - utilisation + slack > 2.0 * changes {
        park + (run - park) * (utilisation + changes)
    } else {
        run
    }
}

/// Energy of a request beyond idle, µJ.
pub fn energy_uj(sub_network: usize, level: usize) -> u32 {
    let ghz = f64::from(GPU_MHZ[level]) / 1000.0;
    let busy_mw = 4_300.0 + 6_000.0 * ghz + 1_700.0 * ghz.powi(3);
    ((busy_mw - f64::from(idle_mw(level))) * f64::from(latency_us(sub_network, level)) / 1000.0)
        as u32
}

/// Power over the worst 100 ms of one application, mW; `slack` as in [`parked_mw`].
pub fn peak_mw(sub_network: usize, level: usize, period_us: f64, slack: f64) -> f64 {
    let window_us = 100_000.0_f64;
    let latency = f64::from(latency_us(sub_network, level));
    let whole = (window_us / period_us).floor();
    let part = ((window_us - whole * period_us) / latency).min(1.0);
    let crest = ((whole + part) * period_us / window_us).max(1.0);
    let busy = latency / period_us * crest;
    let work = f64::from(energy_uj(sub_network, level)) / period_us * 1000.0 * crest;
    parked_mw(level, busy.min(1.0), period_us, slack) + work / busy.max(1.0)
}

/// An image of these levels and tables, without caps.
pub fn image(levels: Vec<Level>, tables: Vec<TableImage>, park_level: Option<u8>) -> PolicyImage {
    PolicyImage { park_level, ..PolicyImage::sample(levels, tables) }
}

/// The image of the board: two equal tables.
pub fn policy() -> Vec<u8> {
    policy_of(&[0, 1, 2, 3, 4, 5])
}

/// The same of these levels alone.
pub fn policy_of(levels: &[usize]) -> Vec<u8> {
    let accuracies = SUB_NETWORKS.map(|(accuracy_bp, _)| accuracy_bp);
    let table = |name: &str| {
        TableImage::sample(name, &accuracies, levels.len() as u32, |sub, level| {
            let (sub, level) = (sub as usize, levels[level as usize]);
            Cell { latency_us: latency_us(sub, level), energy_uj: energy_uj(sub, level) }
        })
    };
    let level = |level: usize| Level {
        cpu_khz: 1_190_400,
        gpu_khz: GPU_MHZ[level] * 1000,
        emc_khz: 1_600_000,
        idle_mw: idle_mw(level),
    };
    PolicyImage {
        temp_cap_mdeg_c: 85_000,
        ..image(
            levels.iter().copied().map(level).collect(),
            vec![table("first"), table("second")],
            Some(0),
        )
    }
    .to_bytes()
    .unwrap()
}

/// Targets of a camera that any level but the lowest ones can serve.
pub fn targets() -> Targets {
    Targets {
        table: 0,
        objective: Objective::LeastEnergy,
        deadline_us: 30_000,
        period_us: 66_700,
        accuracy_floor_bp: 7_500,
        miss_target_bp: 100,
        priority: 1,
        degrade: Degrade::Accuracy,
        energy_budget_uj: 0,
    }
}

/// Gives a message to a controller, and the ticks that end the decision it asks for.
pub fn step(
    controller: &mut Controller<'_>,
    now: Instant,
    message: &ToController,
    seq: u16,
) -> Outputs {
    let mut out = controller.step(now, Input::Message { message, seq });
    while controller.is_deciding() {
        assert!(controller.next_deadline().is_some_and(|due| now.reached(due)), "a tick is due");
        out.extend(controller.step(now, Input::Tick));
    }
    out
}

/// A controller in a session, with the agent's clock.
pub struct Bench<'p> {
    pub controller: Controller<'p>,
    pub now: Instant,
    pub seq: u16,
    pub index: [u32; 4],
    pub hottest_mdeg_c: i32,
}

impl<'p> Bench<'p> {
    pub fn new(policy: coshift_shared::policy::PolicyView<'p>, start: Instant) -> Self {
        let mut controller = Controller::new(Some(policy));
        controller.start_session(start, PERIOD_US, 7);
        Self { controller, now: start, seq: 0, index: [0; 4], hottest_mdeg_c: 45_000 }
    }

    /// Gives a message to the controller at the current instant.
    pub fn give(&mut self, message: &ToController) -> Outputs {
        self.seq = self.seq.wrapping_add(1);
        step(&mut self.controller, self.now, message, self.seq)
    }

    pub fn wait_us(&mut self, us: u32) {
        self.now = self.now.after(Duration::from_us(us));
    }

    pub fn set(&mut self, slot: u8, targets: Targets) -> Outputs {
        let at_us = self.now.us();
        self.give(&ToController::Application(Application {
            at_us,
            slot,
            change: Change::Set(targets),
        }))
    }

    pub fn limit(&mut self, power_cap_mw: u32) -> Outputs {
        let at_us = self.now.us();
        self.give(&ToController::Limits(Limits {
            at_us,
            power_cap_mw,
            temp_cap_mdeg_c: NO_TEMP_CAP,
            parking: true,
        }))
    }

    /// One control period: telemetry, and the decision that answers it.
    pub fn period(&mut self) -> Decision {
        self.wait_us(PERIOD_US);
        self.telemetry()
    }

    pub fn telemetry(&mut self) -> Decision {
        let message = telemetry(self.now, self.hottest_mdeg_c);
        decision(&self.give(&ToController::Telemetry(message))).expect("telemetry is answered")
    }

    /// Outcomes of one slot, all of the same slowdown.
    pub fn outcomes(&mut self, slot: u8, count: usize, slowed: f64) -> Outputs {
        let standing = self.controller.decision(self.now);
        let sample = slowdown::to_wire((slowed * 100_000.0) as u32, 100_000);
        let first_index = self.index[usize::from(slot)];
        let message = Outcomes {
            at_us: self.now.us(),
            slot,
            sub_network: standing.sub_networks[usize::from(slot)],
            level: standing.run_level,
            first_index,
            samples: std::iter::repeat_n(sample, count).collect(),
            outcomes_total: first_index + count as u32,
            misses_total: 0,
        };
        self.index[usize::from(slot)] += count as u32;
        self.give(&ToController::Outcomes(message))
    }
}

/// A telemetry that says nothing of clocks.
pub fn telemetry(now: Instant, hottest_mdeg_c: i32) -> Telemetry {
    Telemetry {
        at_us: now.us(),
        level: NO_LEVEL,
        clocks_mhz: [0; 3],
        power_mw: 6_000,
        power_age: Age::FRESH,
        gpu_load_permille: 500,
        gpu_load_age: Age::FRESH,
        temperatures: [
            Temperature { mdeg_c: hottest_mdeg_c, age: Age::FRESH },
            Temperature::MISSING,
        ],
    }
}

/// A telemetry that says nothing but how hot it is.
pub fn heat_alone(hottest_mdeg_c: i32) -> Telemetry {
    Telemetry {
        power_age: Age::MISSING,
        gpu_load_age: Age::MISSING,
        ..telemetry(Instant::START, hottest_mdeg_c)
    }
}

/// The decision that ends a step.
pub fn decision(outputs: &Outputs) -> Option<Decision> {
    outputs.iter().rev().find_map(|output| match output {
        ToHost::Decision(decision) => Some(*decision),
        _ => None,
    })
}
