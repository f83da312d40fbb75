//! Parts of seeds that no controller would make.

use coshift_shared::to_controller::{
    ApplicationState, BIAS_LEVELS, BiasState, ClockState, DeviceState, PowerState, SeedState,
    SensorState, TailState,
};
use coshift_shared::to_host::{Missing, Mode, Reason, Shortfall};

use super::Bytes;

/// Most parts of one seed: a few more than a controller makes.
const MOST_PARTS: u8 = 20;

/// A seed of parts of any kind.
pub(super) fn drawn(bytes: &mut Bytes<'_>) -> Vec<SeedState> {
    (0..bytes.u8() % MOST_PARTS).map(|_| part(bytes)).collect()
}

fn part(bytes: &mut Bytes<'_>) -> SeedState {
    match bytes.u8() % 8 {
        0 => SeedState::Application(ApplicationState {
            slot: bytes.u8() % 5,
            mean_q24: wide(bytes),
            deviation_q24: wide(bytes),
            beyond: bytes.u8(),
            fast: bytes.u8(),
            next_index: wide(bytes),
            outcomes: bytes.u32(),
            misses: bytes.u32(),
            sub_network: bytes.u8() % 20,
        }),
        1 => SeedState::Tail(TailState {
            slot: bytes.u8() % 5,
            threshold_q24: wide(bytes),
            excess_q24: wide(bytes),
            correction_q24: wide(bytes),
            boost_q24: wide(bytes),
            quiet: bytes.u8(),
        }),
        2 => SeedState::Device(DeviceState {
            mode: [Mode::Boot, Mode::AwaitPolicy, Mode::Run, Mode::Hold, Mode::Safe]
                [usize::from(bytes.u8() % 5)],
            hold_since_us: wide(bytes),
            too_hot: flag(bytes),
            nominal: flag(bytes),
            nominal_since_us: wide(bytes),
            run_level: bytes.u8() % 40,
            level_since_us: wide(bytes),
            extra_decision_us: wide(bytes),
            reason: if flag(bytes) { Reason::Infeasible } else { Reason::Keep },
            shortfall: Shortfall {
                what: if flag(bytes) { Missing::Time } else { Missing::Power },
                slot: bytes.u8(),
                amount: bytes.u32(),
            },
            power_mw: wide(bytes),
        }),
        3 => SeedState::Sensors(SensorState {
            telemetry_us: wide(bytes),
            achieved_level: bytes.u8(),
            temp_mdeg_c: i32::from_le_bytes(wide(bytes).to_le_bytes()),
            believed_us: wide(bytes),
            dirty: flag(bytes),
        }),
        4 => SeedState::Power(PowerState {
            common_q15: bytes.u16(),
            settled_q8: wide(bytes),
            sure_q8: wide(bytes),
        }),
        5 => {
            let first = bytes.u8() % 40;
            let mut factors = [[0; 2]; BIAS_LEVELS];
            factors.iter_mut().for_each(|factor| *factor = bytes.u16().to_le_bytes());
            SeedState::Bias(BiasState { first, factors })
        }
        6 => SeedState::Clocks(ClockState {
            asked_level: bytes.u8() % 40,
            asked_since_us: wide(bytes),
            low_khz: [wide(bytes), wide(bytes), wide(bytes)],
            high_khz: [wide(bytes), wide(bytes), wide(bytes)],
            seen_us: wide(bytes),
        }),
        _ => SeedState::Unused,
    }
}

/// A number of any size, as often a small one as a large one.
fn wide(bytes: &mut Bytes<'_>) -> u32 {
    let shift = bytes.u8() % 33;
    if shift == 32 { u32::MAX } else { bytes.u32() >> shift }
}

fn flag(bytes: &mut Bytes<'_>) -> bool {
    bytes.u8() % 2 == 1
}
