//! Random things that happen to the small board.

use coshift_shared::to_controller::Targets;
use coshift_shared::units::NO_POWER_CAP;
use proptest::prelude::*;

use super::{Bench, PERIOD_US, targets};

/// One random thing that happens to a controller. A temperature of `i32::MIN` is a reading that
/// nobody believes.
#[derive(Debug, Clone, Copy)]
pub enum Event {
    Outcomes { slot: u8, count: usize, slowed: f64 },
    Telemetry { hottest_mdeg_c: i32 },
    Targets { slot: u8, deadline_us: u32, floor: u16, period_us: u32 },
    Cap { power_mw: u32 },
    Silence { periods: u32 },
}

pub fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0_u8..4, 1_usize..=12, 0.5_f64..4.0)
            .prop_map(|(slot, count, slowed)| Event::Outcomes { slot, count, slowed }),
        4 => prop_oneof![9 => 30_000_i32..90_000, 1 => Just(i32::MIN)]
            .prop_map(|hottest_mdeg_c| Event::Telemetry { hottest_mdeg_c }),
        1 => (0_u8..4, 1_000_u32..200_000, 7_000_u16..8_000, 5_000_u32..500_000).prop_map(
            |(slot, deadline_us, floor, period_us)| Event::Targets {
                slot, deadline_us, floor, period_us
            }
        ),
        1 => prop_oneof![Just(NO_POWER_CAP), 0_u32..12_000].prop_map(|power_mw| Event::Cap { power_mw }),
        1 => (1_u32..40).prop_map(|periods| Event::Silence { periods }),
    ]
}

pub fn happen(bench: &mut Bench<'_>, event: Event) {
    match event {
        Event::Outcomes { slot, count, slowed } => {
            bench.outcomes(slot, count, slowed);
        }
        Event::Telemetry { hottest_mdeg_c } => {
            bench.hottest_mdeg_c = hottest_mdeg_c;
            bench.period();
        }
        Event::Targets { slot, deadline_us, floor, period_us } => {
            let asked = Targets { deadline_us, accuracy_floor_bp: floor, period_us, ..targets() };
            bench.set(slot, asked);
        }
        Event::Cap { power_mw } => {
            bench.limit(power_mw);
        }
        Event::Silence { periods } => bench.wait_us(periods * PERIOD_US),
    }
}
