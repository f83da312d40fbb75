//! Which readings of the telemetry are not believed, told once and not twenty times a second.
//!
//! It changes no decision: what stands in for a reading that is missing is settled where the
//! reading is used.

use coshift_shared::time::Instant;
use coshift_shared::to_controller::Telemetry;
use coshift_shared::to_host::{SensorSet, TraceEvent};

use super::sensors::{OLDEST_READING, believed};
use super::{Controller, Outputs};

/// Telemetries after which a reading that came back is told, and before which none is told twice.
const WINDOW: u8 = 20;

/// More than any board of this kind can be supplied with, mW. What a decision predicts is no bound: it
/// is a mean, and of what runs from now on.
const MOST_POWER_MW: u32 = 250_000;

/// What the readings were like, a bit each as in [`SensorSet`].
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Doubts {
    /// Was there at least once, in whatever session: a sensor that a board does not have is not
    /// missed.
    seen: SensorSet,
    /// Told as not believed.
    told: SensorSet,
    /// Not believed at least once in this window.
    window: SensorSet,
    /// Telemetries left of the window.
    left: u8,
}

impl Doubts {
    /// Takes in the readings that are there and those that are believed; gives what is to be told,
    /// if anything is.
    fn hear(&mut self, there: SensorSet, believed: SensorSet) -> Option<SensorSet> {
        self.seen = self.seen.with(there);
        let doubted = self.seen.without(believed);
        self.window = self.window.with(doubted);
        let told = self.told;
        self.told = self.told.with(doubted);
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            self.told = self.window;
            (self.left, self.window) = (WINDOW, doubted);
        }
        (self.told != told).then_some(self.told)
    }

    /// The same of a new session, in which nothing was told yet.
    pub(super) fn anew(self) -> Self {
        Self { seen: self.seen, ..Self::default() }
    }

    /// What was told last.
    pub(super) fn told(&self) -> SensorSet {
        self.told
    }
}

impl Controller<'_> {
    /// Tells where a reading is not believed any more, or is again. `read`: whether a temperature was
    /// believed beside those that came before.
    #[inline(never)]
    pub(super) fn doubt(
        &mut self,
        now: Instant,
        message: &Telemetry,
        read: bool,
        out: &mut Outputs,
    ) {
        let (mut there, mut sound) = (SensorSet::NONE, SensorSet::NONE);
        let mut hear = |sensor: SensorSet, is_there: bool, is_sound: bool| {
            if is_there {
                there = there.with(sensor);
            }
            if is_there && is_sound {
                sound = sound.with(sensor);
            }
        };
        for (sensor, reading) in SensorSet::TEMPERATURES.into_iter().zip(&message.temperatures) {
            // A fall that no board makes is one of the hottest zone, and counts for all.
            hear(sensor, reading.age.us().is_some(), read && believed(reading).is_some());
        }
        let recent = |us: u32| us <= OLDEST_READING.us();
        let possible = (1..=MOST_POWER_MW).contains(&message.power_mw);
        let age = message.power_age.us();
        hear(SensorSet::POWER, age.is_some(), possible && age.is_some_and(recent));
        let age = message.gpu_load_age.us();
        let possible = message.gpu_load_permille <= 1000;
        hear(SensorSet::GPU_LOAD, age.is_some(), possible && age.is_some_and(recent));
        if let Some(told) = self.doubts.hear(there, sound) {
            self.trace(now, TraceEvent::ReadingsDoubted, u32::from(told.bits()), out);
        }
    }
}
