//! What the board's monitors show: the INA3221 of Jetson boards, its zones, the GPU's load.
//!
//! * Power: a new value every 7 ms (a scan of three channels, shunt and bus, 1.1 ms each), the mean
//!   since the one before, off by about 0.5 % a reading, in steps of 40 mW (8 mA at 5 V).
//! * Temperature: in steps of 0.5 °C.
//! * GPU load: since the last reading.
//!
//! Steps and scan time are from data sheets by memory; the noise is assumed.

use coshift_host::clock::Time;
use coshift_host::platform::{Reading, Readings};
use coshift_plant::board::Level;
use coshift_plant::machine::Machine;

use super::super::random::Random;
use super::super::scenario::{Loss, Sensor};

/// Time of one scan, µs.
pub(super) const SCAN_US: u64 = 7_000;
/// Step of the power sensor, mW.
pub(super) const STEP_MW: f64 = 40.0;
/// Noise of one power reading, relative.
pub(super) const POWER_NOISE: f64 = 0.005;
/// Step of the zones, m°C.
pub(super) const STEP_MDEG: f64 = 500.0;

/// The monitors.
#[derive(Debug, Clone)]
pub(super) struct Sensors {
    random: Random,
    losses: Vec<Loss>,
    levels: Vec<Level>,
    /// Scan of the last power reading and what it gave.
    scan: u64,
    power_mw: u32,
    /// When the load was last read, and the GPU's busy time then.
    load_from: (u64, u64),
    load: Reading<u16>,
}

impl Sensors {
    pub(super) fn new(seed: u64, losses: &[Loss], levels: &[Level]) -> Self {
        Self {
            random: Random::new(seed, "sensors"),
            losses: losses.to_vec(),
            levels: levels.to_vec(),
            scan: 0,
            power_mw: 0,
            load_from: (0, 0),
            load: Reading { value: 0, at: Time::START },
        }
    }

    pub(super) fn read(&mut self, machine: &Machine) -> Readings {
        let now = machine.now_us();
        let scan = now / SCAN_US;
        if scan > self.scan {
            let trail = machine.trail();
            let mean_mw = trail.mean_w((scan - 1) * SCAN_US, scan * SCAN_US) * 1e3;
            let noisy = mean_mw * (1.0 + POWER_NOISE * self.random.normal());
            self.power_mw = ((noisy / STEP_MW).round() * STEP_MW) as u32;
            self.scan = scan;
        }
        let (from, busy) = self.load_from;
        if now >= from + SCAN_US {
            let load = (machine.gpu_busy_us() - busy) * 1000 / (now - from);
            let value = u16::try_from(load).unwrap_or(1000).min(1000);
            self.load = Reading { value, at: Time::from_us(now) };
            self.load_from = (now, machine.gpu_busy_us());
        }
        let gone = |sensor: Sensor| {
            let at =
                |loss: &Loss| loss.sensor == sensor && (loss.from_us..loss.to_us).contains(&now);
            self.losses.iter().any(at)
        };
        let clocks = machine.clocks();
        let mhz = |khz: u32| u16::try_from((khz + 500) / 1000).unwrap_or(u16::MAX);
        let level = self.levels.iter().position(|level| *level == clocks);
        let zone = (machine.trail().temp_at(now) * 1e3 / STEP_MDEG).round() * STEP_MDEG;
        let power = Reading { value: self.power_mw, at: Time::from_us(self.scan * SCAN_US) };
        let zone = Reading { value: zone as i32, at: Time::from_us(now) };
        Readings {
            level: level.and_then(|level| u8::try_from(level).ok()),
            clocks_mhz: [mhz(clocks.cpu_khz), mhz(clocks.gpu_khz), mhz(clocks.emc_khz)],
            power_mw: (scan > 0 && !gone(Sensor::Power)).then_some(power),
            gpu_load_permille: (!gone(Sensor::GpuLoad)).then_some(self.load),
            temperatures_mdeg_c: [(!gone(Sensor::Temperature)).then_some(zone), None],
        }
    }
}
