//! The sensors: which temperatures are believed, for how long the last one stands, and
//! over-temperature.

use coshift_shared::time::{Duration, Instant};
use coshift_shared::to_controller::{Telemetry, Temperature};
use coshift_shared::units::{NO_LEVEL, NO_TEMP_CAP};

use super::{Controller, HOLD_PERIODS, Outputs, STALE_PERIODS, State};

/// How long a board runs on without a temperature, kept within what it drew at the last one, before
/// it is taken for too hot: what surrounds it may have changed.
pub const BLIND_TIME: Duration = Duration::from_ms(600_000);
/// Time at nominal temperature before an over-temperature is over.
pub const NOMINAL_TIME: Duration = Duration::from_ms(2000);
/// How far under its cap a temperature is nominal, m°C.
pub const NOMINAL_MARGIN_MDEG_C: i32 = 5_000;
/// How far over its cap a board that is too hot may be for the level of least power to be one that the
/// tables tell, m°C; beyond, or unread, it is the one with the least idle power.
pub const BEARABLE_MDEG_C: i32 = 2_000;
/// Temperatures a sensor of the board can really have, m°C; others are not believed.
const PLAUSIBLE_MDEG_C: core::ops::RangeInclusive<i32> = -40_000..=150_000;

/// Farthest that a temperature falls from one reading to the next, m°C: boards cool by some K a
/// second at most, and a sensor's noise is below 1 K.
const MOST_FALL_MDEG_C: i32 = 10_000;
/// Readings in a row that must agree before a sensor that fell further is believed again: fewer than
/// the periods for which the last believed one stands.
pub const AGREEING: u8 = 20;

/// Oldest reading that is believed: the least age that a telemetry cannot tell from a greater one is
/// 2.54 s.
pub(super) const OLDEST_READING: Duration = Duration::from_ms(2500);

/// What telemetry said last, and how far it is believed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sensors {
    pub(super) telemetry_at: Instant,
    pub(super) achieved_level: u8,
    /// Hottest believed reading; the last one where none came since.
    pub(super) hottest_mdeg_c: Option<i32>,
    /// When a reading was last believed.
    pub(super) believed_at: Instant,
    /// The temperature was not read for too long: the worst case counts.
    pub(super) blind: bool,
    /// A reading said that the board got cooler faster than boards do. No part of a seed: the next
    /// such reading is doubted again.
    pub(super) doubt: Option<Doubt>,
}

/// Readings that are not believed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doubt {
    /// The last one, m°C.
    last_mdeg_c: i32,
    /// How many before it each were no further than [`MOST_FALL_MDEG_C`] from the next.
    agreeing: u8,
}

impl Sensors {
    pub(super) fn unknown(now: Instant) -> Self {
        Self {
            telemetry_at: now,
            achieved_level: NO_LEVEL,
            hottest_mdeg_c: None,
            believed_at: now,
            blind: false,
            doubt: None,
        }
    }

    /// Takes in the temperatures; says whether one is believed. After a fall that no board makes
    /// between two readings none is until [`AGREEING`] in a row agree: such a sensor may tell
    /// anything. Hotter than the last one believed counts at once, believed or not. A reading after
    /// a time without any, in which the last one stood no longer, may be anything that can be.
    pub(super) fn hear(&mut self, now: Instant, message: &Telemetry, stands: Duration) -> bool {
        let Some(hottest) = message.temperatures.iter().filter_map(believed).max() else {
            return false;
        };
        let fell = |from: i32| hottest < from.saturating_sub(MOST_FALL_MDEG_C);
        let agreeing = match self.doubt {
            Some(Doubt { last_mdeg_c, agreeing }) => {
                let agrees = last_mdeg_c.abs_diff(hottest) <= MOST_FALL_MDEG_C.unsigned_abs();
                if agrees { agreeing.saturating_add(1) } else { 0 }
            }
            None if self.hottest_mdeg_c.is_some_and(fell)
                && now.since(self.believed_at) < stands =>
            {
                0
            }
            None => AGREEING,
        };
        if agreeing < AGREEING {
            self.doubt = Some(Doubt { last_mdeg_c: hottest, agreeing });
            self.hottest_mdeg_c = self.hottest_mdeg_c.max(Some(hottest));
            return false;
        }
        self.doubt = None;
        self.hottest_mdeg_c = Some(hottest);
        self.believed_at = now;
        true
    }
}

/// A temperature that is there, not too old, and that a sensor can have.
pub(super) fn believed(reading: &Temperature) -> Option<i32> {
    reading.age.us().filter(|us| *us <= OLDEST_READING.us())?;
    PLAUSIBLE_MDEG_C.contains(&reading.mdeg_c).then_some(reading.mdeg_c)
}

impl Controller<'_> {
    /// How long the last temperature read stands for the present one.
    pub(super) fn patience(&self) -> Duration {
        self.period.times(STALE_PERIODS.saturating_add(HOLD_PERIODS))
    }

    /// Enters and leaves over-temperature. Leaving needs the nominal temperature for a time, not
    /// just one reading under the cap. A board whose temperature nobody ever read, or not for
    /// [`BLIND_TIME`], is taken for too hot, as long as there is a cap; without one no reading is
    /// needed to leave.
    pub(super) fn watch_temperature(&mut self, now: Instant, out: &mut Outputs) {
        let cap = self.limits.temp_mdeg_c;
        let capped = cap != NO_TEMP_CAP;
        let unread_for = now.since(self.sensors.believed_at);
        let hottest = self.sensors.hottest_mdeg_c;
        let lost = if hottest.is_some() { unread_for >= BLIND_TIME } else { self.sensors.blind };
        if capped && (lost || hottest.is_some_and(|hottest| hottest >= cap)) {
            if !matches!(self.state, State::TooHot { .. } | State::Boot | State::AwaitPolicy) {
                self.enter(State::TooHot { nominal_since: None }, now, out);
            } else if let State::TooHot { nominal_since } = &mut self.state {
                *nominal_since = None;
            }
            return;
        }
        let State::TooHot { nominal_since } = &mut self.state else { return };
        let cool = cap.saturating_sub(NOMINAL_MARGIN_MDEG_C);
        let read = unread_for == Duration::ZERO && hottest.is_some_and(|hottest| hottest <= cool);
        if capped && !read {
            *nominal_since = None;
            return;
        }
        let since = *nominal_since.get_or_insert(now);
        if now.since(since) >= NOMINAL_TIME {
            self.dirty = true;
            self.enter(State::Run, now, out);
        }
    }

    /// Whether a board that is too hot is read, and not so hot that its tables or its cooling must be
    /// other than they were taken for.
    pub(super) fn heat_is_bearable(&self) -> bool {
        let most = self.limits.temp_mdeg_c.saturating_add(BEARABLE_MDEG_C);
        !self.sensors.blind && self.sensors.hottest_mdeg_c.is_some_and(|hottest| hottest < most)
    }
}
