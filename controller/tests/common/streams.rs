//! Any stream of messages, saturated values and seeds that no controller would make included.

use coshift_controller::controller::SEED_PARTS;
use coshift_shared::to_controller::{
    Application, ApplicationState, BIAS_LEVELS, BiasState, Change, ClockState, DeviceState, Limits,
    Outcomes, PowerState, SeedState, SensorState, TailState, Targets, Telemetry, Temperature,
    ToController,
};
use coshift_shared::to_host::{Mode, Reason, Shortfall};
use coshift_shared::units::{Age, NO_POWER_CAP, NO_TEMP_CAP};
use proptest::prelude::*;

use super::PERIOD_US;
use super::random::asked;

/// One thing that happens; times are added when it is given.
#[derive(Debug, Clone)]
pub enum Event {
    Message(ToController),
    /// All parts of a seed.
    Seed(Vec<SeedState>),
    /// The controller's own state comes back to it, or what it was when it was last kept.
    Kept,
    /// The controller's state is kept.
    Keep,
    /// Time passes, and is noticed.
    Tick(u32),
    /// Time passes.
    Wait(u32),
}

/// Any value, the ends of the range as often as all the rest.
fn edgy(usual: std::ops::Range<u32>) -> impl Strategy<Value = u32> {
    prop_oneof![4 => usual, 1 => Just(0), 1 => Just(u32::MAX), 1 => any::<u32>()]
}

fn edgy_i32(usual: std::ops::Range<i32>) -> impl Strategy<Value = i32> {
    prop_oneof![
        6 => usual, 1 => Just(0), 1 => Just(i32::MAX), 1 => Just(i32::MIN), 1 => any::<i32>()
    ]
}

fn age() -> impl Strategy<Value = Age> {
    prop_oneof![4 => Just(0), 1 => Just(254), 1 => Just(255), 1 => any::<u8>()].prop_map(Age)
}

fn targets() -> impl Strategy<Value = Targets> {
    let wild = (edgy(1..100_000), edgy(1..100_000), any::<u16>(), edgy(0..100_000));
    (asked(), wild, 0..4_u8).prop_map(|(asked, (deadline_us, period_us, miss, budget), odd)| {
        if odd > 0 {
            return asked;
        }
        let miss_target_bp = if miss > 40_000 { miss } else { miss % 10_001 };
        Targets { deadline_us, period_us, miss_target_bp, energy_budget_uj: budget, ..asked }
    })
}

pub fn telemetry() -> impl Strategy<Value = Telemetry> {
    let temperature =
        || (edgy_i32(35_000..84_000), age()).prop_map(|(mdeg_c, age)| Temperature { mdeg_c, age });
    (any::<u8>(), edgy(1_000..15_000), age(), any::<u16>(), age(), temperature(), temperature())
        .prop_map(|(level, power_mw, power_age, load, gpu_load_age, first, second)| Telemetry {
            at_us: 0,
            level: if level < 200 { level % 32 } else { level },
            clocks_mhz: [load; 3],
            power_mw,
            power_age,
            gpu_load_permille: load,
            gpu_load_age,
            temperatures: [first, second],
        })
}

pub fn outcomes() -> impl Strategy<Value = Outcomes> {
    let sample = prop_oneof![
        6 => 3_000_u16..9_000, 1 => Just(0), 1 => Just(1), 1 => Just(u16::MAX), 1 => any::<u16>()
    ];
    (0..5_u8, 0..17_u8, any::<u8>(), edgy(0..200), prop::collection::vec(sample, 0..=12)).prop_map(
        |(slot, sub_network, level, first_index, samples)| Outcomes {
            at_us: 0,
            slot,
            sub_network,
            level: level % 34,
            first_index,
            samples: samples.into_iter().map(u16::to_le_bytes).collect(),
            outcomes_total: first_index,
            misses_total: first_index,
        },
    )
}

pub fn limits() -> impl Strategy<Value = Limits> {
    let power = prop_oneof![3 => Just(NO_POWER_CAP), 3 => 2_000_u32..15_000, 1 => Just(0), 1 => Just(u32::MAX - 1)];
    let temp = prop_oneof![3 => Just(NO_TEMP_CAP), 3 => Just(85_000), 1 => Just(i32::MIN), 1 => any::<i32>()];
    (power, temp, any::<bool>()).prop_map(|(power_cap_mw, temp_cap_mdeg_c, parking)| Limits {
        at_us: 0,
        power_cap_mw,
        temp_cap_mdeg_c,
        parking,
    })
}

fn application() -> impl Strategy<Value = ToController> {
    let change = prop_oneof![5 => targets().prop_map(Change::Set), 1 => Just(Change::Remove)];
    (0..5_u8, change).prop_map(|(slot, change)| {
        ToController::Application(Application { at_us: 0, slot, change })
    })
}

pub fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => telemetry().prop_map(|m| Event::Message(ToController::Telemetry(m))),
        6 => outcomes().prop_map(|m| Event::Message(ToController::Outcomes(m))),
        3 => application().prop_map(Event::Message),
        1 => limits().prop_map(|m| Event::Message(ToController::Limits(m))),
        1 => (0..2_000_000_u32).prop_map(Event::Tick),
        12 => (0..3_u32).prop_map(|periods| Event::Wait(periods * PERIOD_US)),
        1 => (0..40_u32).prop_map(|periods| Event::Wait(periods * PERIOD_US)),
    ]
}

/// Any part of a seed, of every kind, saturated values among them.
fn part() -> impl Strategy<Value = SeedState> {
    prop_oneof![
        4 => application_part(),
        4 => tail_part(),
        4 => device_part(),
        4 => sensors_part(),
        4 => (any::<u16>(), edgy(0..8_000_000), edgy(0..8_000_000)).prop_map(|(common, settled, sure)| {
            let (common_q15, settled_q8, sure_q8) = (common, settled, sure);
            SeedState::Power(PowerState { common_q15, settled_q8, sure_q8 })
        }),
        4 => (any::<u8>(), any::<[u8; 2 * BIAS_LEVELS]>()).prop_map(|(first, bytes)| {
            let mut factors = [[0; 2]; BIAS_LEVELS];
            for (factor, pair) in factors.iter_mut().zip(bytes.as_chunks().0) {
                *factor = *pair;
            }
            SeedState::Bias(BiasState { first: if first < 200 { first % 33 } else { first }, factors })
        }),
        4 => clocks_part(),
        1 => Just(SeedState::Unused),
    ]
}

fn application_part() -> impl Strategy<Value = SeedState> {
    let q24 = || edgy(1 << 23..1 << 27);
    let counts = (edgy(0..200), any::<u32>(), any::<u32>());
    (0..5_u8, q24(), q24(), any::<[u8; 3]>(), counts).prop_map(
        |(slot, mean_q24, deviation_q24, [beyond, fast, sub_network], (next, outcomes, misses))| {
            SeedState::Application(ApplicationState {
                slot,
                mean_q24,
                deviation_q24,
                beyond,
                fast,
                next_index: next,
                outcomes,
                misses,
                sub_network,
            })
        },
    )
}

fn tail_part() -> impl Strategy<Value = SeedState> {
    let q24 = || edgy(0..1 << 26);
    (0..5_u8, q24(), q24(), q24(), q24(), any::<u8>()).prop_map(
        |(slot, threshold_q24, excess_q24, correction_q24, boost_q24, quiet)| {
            SeedState::Tail(TailState {
                slot,
                threshold_q24,
                excess_q24,
                correction_q24,
                boost_q24,
                quiet,
            })
        },
    )
}

fn device_part() -> impl Strategy<Value = SeedState> {
    let mode = prop_oneof![
        Just(Mode::Boot),
        Just(Mode::AwaitPolicy),
        Just(Mode::Run),
        Just(Mode::Hold),
        Just(Mode::Safe)
    ];
    let since = || edgy(0..4_000_000);
    let flags = any::<[bool; 2]>();
    (mode, flags, any::<u8>(), [since(), since(), since(), since()], edgy(1_000..15_000)).prop_map(
        |(mode, [too_hot, nominal], run_level, [hold, cool, level, extra], power_mw)| {
            SeedState::Device(DeviceState {
                mode,
                hold_since_us: hold,
                too_hot,
                nominal,
                nominal_since_us: cool,
                run_level: run_level % 40,
                level_since_us: level,
                extra_decision_us: extra,
                reason: if cool % 2 == 0 { Reason::Keep } else { Reason::Infeasible },
                shortfall: Shortfall::NONE,
                power_mw,
            })
        },
    )
}

fn sensors_part() -> impl Strategy<Value = SeedState> {
    let temperature = edgy_i32(35_000..84_000);
    (edgy(0..4_000_000), any::<u8>(), temperature, edgy(0..4_000_000), any::<bool>()).prop_map(
        |(telemetry_us, achieved_level, temp_mdeg_c, believed_us, dirty)| {
            SeedState::Sensors(SensorState {
                telemetry_us,
                achieved_level,
                temp_mdeg_c,
                believed_us,
                dirty,
            })
        },
    )
}

fn clocks_part() -> impl Strategy<Value = SeedState> {
    let clocks = || [edgy(1..2_000), edgy(1..2_000), edgy(1..2_000)];
    (any::<u8>(), any::<u32>(), clocks(), clocks(), any::<u32>()).prop_map(
        |(asked_level, asked_since_us, low_khz, high_khz, seen_us)| {
            SeedState::Clocks(ClockState {
                asked_level: asked_level % 40,
                asked_since_us,
                low_khz,
                high_khz,
                seen_us,
            })
        },
    )
}

/// A seed that no controller would make.
pub fn bad_seed() -> impl Strategy<Value = Event> {
    prop::collection::vec(part(), 1..=SEED_PARTS).prop_map(Event::Seed)
}

pub fn stamped(message: &ToController, at_us: u32) -> ToController {
    let mut message = message.clone();
    match &mut message {
        ToController::Telemetry(m) => m.at_us = at_us,
        ToController::Outcomes(m) => m.at_us = at_us,
        ToController::Application(m) => m.at_us = at_us,
        ToController::Limits(m) => m.at_us = at_us,
        ToController::Seed(m) => m.at_us = at_us,
        _ => {}
    }
    message
}

pub fn is_telemetry(event: &Event) -> bool {
    matches!(event, Event::Message(ToController::Telemetry(_)))
}

/// The state that a controller has, or had.
pub fn true_seed() -> impl Strategy<Value = Event> {
    prop_oneof![Just(Event::Keep), Just(Event::Kept)]
}

/// Messages of one instant of different kinds, or about different applications.
pub fn at_once() -> impl Strategy<Value = Vec<ToController>> {
    let set = |slot: u8| {
        targets().prop_map(move |targets| {
            let change = Change::Set(targets);
            ToController::Application(Application { at_us: 0, slot, change })
        })
    };
    let out = |slot: u8| {
        outcomes().prop_map(move |outcomes| Outcomes { slot, first_index: 1_000, ..outcomes })
    };
    // Slots 0 and 1 have outcomes, 2 and 3 new targets: the two kinds are about different ones.
    (out(0), out(1), set(2), set(3), limits(), any::<u8>()).prop_map(
        |(first, second, third, fourth, limits, some)| {
            // The board ran at one level: two that end a hold would contradict each other.
            let second = Outcomes { level: first.level, ..second };
            let (first, second) = (ToController::Outcomes(first), ToController::Outcomes(second));
            let all = [first, second, third, fourth, ToController::Limits(limits)];
            let kept = all.into_iter().enumerate();
            kept.filter(|(place, _)| some & (1 << place) != 0).map(|(_, message)| message).collect()
        },
    )
}
