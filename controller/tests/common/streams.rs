//! Any stream of messages, saturated values and seeds that no controller would make included.

use coshift_shared::to_controller::{
    Application, ApplicationState, Change, DeviceState, Limits, Outcomes, Targets, Telemetry,
    Temperature, ToController,
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
    Seed(ApplicationState, DeviceState),
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

/// A seed that no controller would make: of one application, and of the level.
pub fn bad_seed() -> impl Strategy<Value = Event> {
    let mode = prop_oneof![Just(Mode::Run), Just(Mode::Hold), Just(Mode::Safe)];
    (0..4_u8, any::<u32>(), any::<u8>(), any::<u8>(), mode, any::<bool>()).prop_map(
        |(slot, value, sub_network, run_level, mode, some)| {
            let application = ApplicationState {
                slot,
                mean_q24: value,
                deviation_q24: value,
                beyond: sub_network,
                fast: sub_network,
                next_index: value,
                outcomes: value,
                misses: value,
                sub_network,
            };
            let device = DeviceState {
                mode,
                hold_since_us: value,
                too_hot: some,
                nominal: some,
                nominal_since_us: value,
                run_level: run_level % 40,
                level_since_us: value,
                extra_decision_us: value,
                reason: Reason::Keep,
                shortfall: Shortfall::NONE,
                power_mw: value,
            };
            Event::Seed(application, device)
        },
    )
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
