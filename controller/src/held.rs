//! Clocks that something else holds: another tool, the power mode, throttling.
//!
//! A clock that stands below what was asked for, long after it had to settle, is capped there; one
//! that stands above has a floor there. Levels beyond such a bound are not chosen, because the
//! board would not run at them, and what is decided is judged by the level that it runs at.
//!
//! That the hold has ended would not be seen by asking for what the board has anyhow. So, where
//! the policy has one, a level is asked for that ends up as the chosen one because of the bounds:
//! as long as they hold it makes no difference, and afterwards the clock moves. Where the policy
//! has none, a bound is forgotten [`FORGET`] after it was seen last.
//!
//! ```text
//! asked c > achieved c  twice in a row  =>  high(c) = achieved c
//! asked c < achieved c  twice in a row  =>  low(c)  = achieved c
//! achieved c > high(c), achieved c < low(c), once  =>  no bound any more
//! level l can be reached  <=>  low(c) <= c(l) <= high(c) for CPU, GPU and memory
//! ```
//!
//! Readings come by telemetry and by outcomes, which name the level that requests ran at. Of a
//! board that may be parked a telemetry can find some clocks still at the park level while it wakes
//! up: such a clock says nothing there.

use coshift_shared::policy::{Level, PolicyView};
use coshift_shared::time::{Duration, Instant};
use coshift_shared::to_controller::{ClockState, Telemetry};
use coshift_shared::units::NO_LEVEL;

/// How long a bound is believed that nothing confirms.
pub const FORGET: Duration = Duration::from_ms(30_000);

/// CPU, GPU and memory clock, kHz.
type Clocks = [u32; 3];

const NO_LOW: Clocks = [0; 3];
const NO_HIGH: Clocks = [u32::MAX; 3];
/// Every level.
const ALL: u32 = u32::MAX;

/// What is known of clocks that something else holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    low: Clocks,
    high: Clocks,
    /// Levels within the bounds, a bit each; all where none is.
    reach: u32,
    /// When a clock last stood at a bound that it was asked to pass.
    pub(crate) seen_at: Instant,
    /// What the last reading of each clock was instead of what was asked for; 0 = nothing. No part
    /// of a seed: all who load one begin without.
    doubted: Clocks,
}

impl Default for Held {
    fn default() -> Self {
        Self { low: NO_LOW, high: NO_HIGH, reach: ALL, seen_at: Instant::START, doubted: NO_LOW }
    }
}

impl Held {
    /// Whether nothing is held.
    #[must_use]
    pub fn is_free(&self) -> bool {
        same(&self.low, &NO_LOW) && same(&self.high, &NO_HIGH)
    }

    /// Levels that can be reached, a bit each.
    #[must_use]
    pub fn reach(&self) -> u32 {
        self.reach
    }

    /// Whether a level can be reached.
    #[must_use]
    pub fn reaches(&self, level: u8) -> bool {
        reaches(self.reach, level)
    }

    /// Takes in the clocks achieved, long after `asked` had to be reached. `parks_at` is the level
    /// that the board may be parked at: a clock of it says nothing.
    pub fn hear(
        &mut self,
        now: Instant,
        asked: u8,
        achieved: Achieved<'_>,
        parks_at: u8,
        policy: &PolicyView<'_>,
    ) {
        let (Some(asked), Some(achieved)) = (clocks(policy, asked), achieved.clocks(policy)) else {
            return;
        };
        let parked = clocks(policy, parks_at).unwrap_or(NO_LOW);
        let before = (self.low, self.high);
        let bounds = self.low.iter_mut().zip(&mut self.high).zip(&mut self.doubted);
        let read = achieved.into_iter().zip(asked).zip(parked);
        for (((low, high), doubted), ((has, asked), parked)) in bounds.zip(read) {
            if has == parked && has != asked {
                continue;
            }
            // What is past a bound shows that the bound is gone.
            if has > *high {
                *high = u32::MAX;
            }
            if has < *low {
                *low = 0;
            }
            let bound = if has < asked {
                high
            } else if has > asked {
                low
            } else {
                *doubted = 0;
                continue;
            };
            if *bound == has || *doubted == has {
                *bound = has;
                *doubted = 0;
                self.seen_at = now;
            } else {
                *doubted = has;
            }
        }
        if !self.is_free() && now.since(self.seen_at) >= FORGET {
            (self.low, self.high) = (NO_LOW, NO_HIGH);
        }
        if before != (self.low, self.high) {
            self.reach = self.within(policy);
        }
    }

    /// A level other than `chosen` that ends up as it: what to ask for so that the end of the hold
    /// is seen. Of several the nearest.
    #[must_use]
    pub fn probe(&self, chosen: u8, policy: &PolicyView<'_>) -> Option<u8> {
        if self.is_free() {
            return None;
        }
        let goal = clocks(policy, chosen)?;
        let mut nearest: Option<(u32, u8)> = None;
        for level in 0..policy.levels() {
            if level == chosen {
                continue;
            }
            let asked = clocks(policy, level)?;
            if !same(&self.bounded(asked), &goal) {
                continue;
            }
            let apart = asked.into_iter().zip(goal).map(|(a, b)| a.abs_diff(b));
            let apart = apart.fold(0, u32::saturating_add);
            if nearest.is_none_or(|(least, _)| apart < least) {
                nearest = Some((apart, level));
            }
        }
        nearest.map(|(_, level)| level)
    }

    /// What these clocks end up as.
    #[inline(never)]
    fn bounded(&self, asked: Clocks) -> Clocks {
        let mut has = asked;
        for ((has, low), high) in has.iter_mut().zip(self.low).zip(self.high) {
            *has = (*has).max(low).min(high);
        }
        has
    }

    fn within(&self, policy: &PolicyView<'_>) -> u32 {
        let mut reach = 0;
        for index in 0..policy.levels() {
            let Some(asked) = clocks(policy, index) else { continue };
            if same(&self.bounded(asked), &asked) {
                reach |= bit(index);
            }
        }
        if reach == 0 { ALL } else { reach }
    }

    /// For a seed, with what is asked for.
    #[must_use]
    pub fn state(&self, asked_level: u8, asked_since: Instant) -> ClockState {
        ClockState {
            asked_level,
            asked_since_us: asked_since.us(),
            low_khz: self.low,
            high_khz: self.high,
            seen_us: self.seen_at.us(),
        }
    }

    /// From a seed.
    pub fn load(&mut self, state: &ClockState, policy: &PolicyView<'_>) {
        self.low = state.low_khz;
        self.high = state.high_khz;
        self.seen_at = Instant::from_us(state.seen_us);
        self.doubted = NO_LOW;
        self.reach = if self.is_free() { ALL } else { self.within(policy) };
    }
}

/// Three compares; `==` of arrays is a call that compares byte for byte.
fn same(one: &Clocks, other: &Clocks) -> bool {
    one.iter().zip(other).all(|(one, other)| one == other)
}

/// Whether a level is one of these.
#[must_use]
pub fn reaches(reach: u32, level: u8) -> bool {
    reach & bit(level) != 0
}

fn bit(level: u8) -> u32 {
    1_u32.checked_shl(u32::from(level)).unwrap_or(0)
}

/// The clocks of a level; one function, because its checks would be in the image five times.
#[inline(never)]
fn clocks(policy: &PolicyView<'_>, level: u8) -> Option<Clocks> {
    let Level { cpu_khz, gpu_khz, emc_khz, .. } = policy.level(level)?;
    Some([cpu_khz, gpu_khz, emc_khz])
}

/// What the board ran at.
#[derive(Debug, Clone, Copy)]
pub enum Achieved<'m> {
    /// By a telemetry: the clocks of the level it names, else those read back, as the policy spells
    /// them where it has them.
    Telemetry(&'m Telemetry),
    /// By an outcome: the level that a request ran at.
    Level(u8),
}

impl Achieved<'_> {
    fn clocks(self, policy: &PolicyView<'_>) -> Option<Clocks> {
        let message = match self {
            Self::Level(level) => return clocks(policy, level),
            Self::Telemetry(message) if message.level != NO_LEVEL => {
                return clocks(policy, message.level);
            }
            Self::Telemetry(message) => message,
        };
        let mut read = NO_LOW;
        for (khz, mhz) in read.iter_mut().zip(message.clocks_mhz) {
            if mhz == 0 {
                return None;
            }
            *khz = u32::from(mhz).saturating_mul(1000);
        }
        let rounded = read;
        for level in 0..policy.levels() {
            let listed = clocks(policy, level)?;
            for ((khz, listed), rounded) in read.iter_mut().zip(listed).zip(rounded) {
                // A readback is in whole MHz.
                if listed.abs_diff(rounded) < 1000 {
                    *khz = listed;
                }
            }
        }
        Some(read)
    }
}
