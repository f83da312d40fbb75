//! A virtual board without a model of its own: it does what the policy says.
//!
//! Clocks reach what was asked for after the settle time of the policy. Power is the level's idle
//! power plus the energy of the inferences since the last reading. Temperature follows power with
//! one thermal resistance and one time constant; both are assumed, typical of a fanless module,
//! and only there so that a temperature cap can be tried out.

use coshift_shared::policy::{Level, PolicyView, Settle};

use super::{Achieved, Platform, PlatformFault, Reading, Readings};
use crate::cells::Cells;
use crate::clock::Time;
use crate::engine::Job;

/// The power sensor converts once in this time, µs.
const POWER_EVERY_US: u64 = 20_000;
/// Assumed ambient temperature, °C.
const AMBIENT_DEG_C: f64 = 25.0;
/// Assumed thermal resistance to ambient, K/W.
const RESISTANCE_K_PER_W: f64 = 3.0;
/// Assumed thermal time constant, s.
const TIME_CONSTANT_S: f64 = 60.0;

/// A board that follows its policy.
#[derive(Debug, Clone)]
pub struct ScriptedPlatform {
    cells: Cells,
    levels: Vec<Level>,
    settle: Settle,
    /// Level before the last change, level asked for, end of the settle window.
    from: u8,
    asked: u8,
    settled_at: Time,
    /// Since the power sensor last converted.
    window_from: Time,
    energy_uj: u64,
    busy_us: u64,
    power: Reading<u32>,
    load: Reading<u16>,
    temp_deg_c: f64,
}

impl ScriptedPlatform {
    /// A board of this policy at level `start`, idle and at ambient temperature.
    #[must_use]
    pub fn new(policy: &PolicyView<'_>, start: u8) -> Self {
        let levels: Vec<_> = (0..policy.levels()).filter_map(|level| policy.level(level)).collect();
        let start = start.min(policy.levels().saturating_sub(1));
        let idle_mw = levels.get(usize::from(start)).map_or(0, |level| level.idle_mw);
        Self {
            cells: Cells::of_policy(policy),
            levels,
            settle: policy.settle(),
            from: start,
            asked: start,
            settled_at: Time::START,
            window_from: Time::START,
            energy_uj: 0,
            busy_us: 0,
            power: Reading { value: idle_mw, at: Time::START },
            load: Reading { value: 0, at: Time::START },
            temp_deg_c: AMBIENT_DEG_C,
        }
    }

    fn level(&self, index: u8) -> Option<&Level> {
        self.levels.get(usize::from(index))
    }

    fn convert(&mut self, now: Time) {
        let window_us = now.us_since(self.window_from);
        if window_us < POWER_EVERY_US {
            return;
        }
        let idle_mw = self.level(self.asked).map_or(0, |level| level.idle_mw);
        // µJ / µs = W.
        let busy_mw = self.energy_uj.saturating_mul(1000) / window_us;
        let power_mw = idle_mw.saturating_add(u32::try_from(busy_mw).unwrap_or(u32::MAX));
        let load = (self.busy_us.saturating_mul(1000) / window_us).min(1000);
        let target = AMBIENT_DEG_C + RESISTANCE_K_PER_W * f64::from(power_mw) / 1000.0;
        let seconds = window_us as f64 / 1e6;
        self.temp_deg_c += (target - self.temp_deg_c) * (1.0 - (-seconds / TIME_CONSTANT_S).exp());
        self.power = Reading { value: power_mw, at: now };
        self.load = Reading { value: u16::try_from(load).unwrap_or(1000), at: now };
        self.window_from = now;
        self.energy_uj = 0;
        self.busy_us = 0;
    }
}

impl Platform for ScriptedPlatform {
    fn apply(&mut self, level: u8, now: Time) -> Result<(), PlatformFault> {
        let from = self.achieved(now).level.unwrap_or(self.asked);
        let (Some(old), Some(new)) = (self.level(from), self.level(level)) else {
            return Err(PlatformFault {
                what: format!("level {level}"),
                why: format!("the board has levels 0 to {}", self.levels.len().saturating_sub(1)),
            });
        };
        let settle_us = u64::from(self.settle.between(old, new));
        self.from = from;
        self.asked = level;
        self.settled_at = now.after_us(settle_us);
        Ok(())
    }

    fn achieved(&mut self, now: Time) -> Achieved {
        let settled = now >= self.settled_at;
        let left_us = u32::try_from(self.settled_at.us_since(now)).unwrap_or(u32::MAX);
        Achieved {
            level: Some(if settled { self.asked } else { self.from }),
            settled,
            next: (!settled).then_some((self.asked, left_us)),
        }
    }

    fn read(&mut self, now: Time) -> Readings {
        self.convert(now);
        let level = self.achieved(now).level;
        let clocks = level.and_then(|level| self.level(level)).copied();
        let mhz = |khz: u32| u16::try_from((khz + 500) / 1000).unwrap_or(u16::MAX);
        let temperature = Reading {
            // Far inside the range of i32.
            value: (self.temp_deg_c * 1000.0).round() as i32,
            at: self.power.at,
        };
        Readings {
            level,
            clocks_mhz: clocks.map_or([0; 3], |l| [mhz(l.cpu_khz), mhz(l.gpu_khz), mhz(l.emc_khz)]),
            power_mw: Some(self.power),
            gpu_load_permille: Some(self.load),
            temperatures_mdeg_c: [Some(temperature), None],
        }
    }

    fn worked(&mut self, job: &Job, latency_us: u32, _now: Time) {
        let cell = job.level.and_then(|level| self.cells.get(job.table, level, job.sub_network));
        // The policy's energy, times the slowdown.
        let energy_uj = cell.map_or(0, |cell| {
            u64::from(cell.energy_uj) * u64::from(latency_us) / u64::from(cell.latency_us.max(1))
        });
        self.energy_uj = self.energy_uj.saturating_add(energy_uj);
        self.busy_us = self.busy_us.saturating_add(u64::from(latency_us));
    }

    fn describe(&self) -> String {
        "scripted".into()
    }
}
