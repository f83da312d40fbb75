//! What a machine drew, and at which clocks.

use crate::board::Level;
use crate::law::ThermalLaw;

/// Start of a stretch of constant power and clocks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// When it starts, µs.
    pub from_us: u64,
    /// Clocks from then on.
    pub clocks: Level,
    /// Board input power from then on, W.
    pub power_w: f64,
    /// Energy of the whole board from time 0 up to then, J.
    pub energy_j: f64,
    /// Temperature then, °C.
    pub temp_c: f64,
}

/// Power, energy, clocks and temperature of a run: a point for every change. The energy in between
/// is a straight line.
#[derive(Debug, Clone, PartialEq)]
pub struct Trail {
    thermal: ThermalLaw,
    /// Never empty; the first one is at time 0.
    points: Vec<Point>,
    end_us: u64,
}

impl Trail {
    pub(super) fn new(thermal: ThermalLaw, clocks: Level) -> Self {
        let temp_c = thermal.ambient_c;
        let first = Point { from_us: 0, clocks, power_w: 0.0, energy_j: 0.0, temp_c };
        Self { thermal, points: vec![first], end_us: 0 }
    }

    /// Adds a stretch up to `until_us`.
    pub(super) fn extend(&mut self, until_us: u64, power_w: f64, clocks: Level) {
        let from_us = self.end_us;
        let last = *self.last();
        if last.power_w != power_w || last.clocks != clocks {
            let (energy_j, temp_c) = (self.energy_at(from_us), self.temp_at(from_us));
            if last.from_us == from_us {
                self.points.pop();
            }
            self.points.push(Point { from_us, clocks, power_w, energy_j, temp_c });
        }
        self.end_us = until_us;
    }

    fn last(&self) -> &Point {
        self.stretch(self.end_us)
    }

    /// The stretch that a time is in; the last one from the end on.
    fn stretch(&self, at_us: u64) -> &Point {
        let after = self.points.partition_point(|point| point.from_us <= at_us);
        // The first point is at 0, so that one is always at or before any time.
        &self.points[after.saturating_sub(1)]
    }

    /// Every change, in order.
    #[must_use]
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// End of the run, µs.
    #[must_use]
    pub fn end_us(&self) -> u64 {
        self.end_us
    }

    /// Clocks at a time.
    #[must_use]
    pub fn clocks_at(&self, at_us: u64) -> Level {
        self.stretch(at_us).clocks
    }

    /// Energy of the whole board from time 0 to a time, J; from the end on all of it.
    #[must_use]
    pub fn energy_at(&self, at_us: u64) -> f64 {
        let at_us = at_us.min(self.end_us);
        let point = self.stretch(at_us);
        point.energy_j + point.power_w * seconds(point.from_us, at_us)
    }

    /// Energy of the whole board between two times, J.
    #[must_use]
    pub fn energy_j(&self, from_us: u64, to_us: u64) -> f64 {
        self.energy_at(to_us) - self.energy_at(from_us)
    }

    /// Temperature at a time, °C; from the end on that at the end.
    #[must_use]
    pub fn temp_at(&self, at_us: u64) -> f64 {
        let at_us = at_us.min(self.end_us);
        let point = self.stretch(at_us);
        let passed = seconds(point.from_us, at_us);
        self.thermal.after(point.temp_c, point.power_w, self.thermal.ambient_c, passed)
    }

    /// Mean power between two times, W; 0 where nothing of the run is between them.
    #[must_use]
    pub fn mean_w(&self, from_us: u64, to_us: u64) -> f64 {
        let to_us = to_us.min(self.end_us);
        if to_us <= from_us {
            return 0.0;
        }
        self.energy_j(from_us, to_us) / seconds(from_us, to_us)
    }

    /// Mean power (W) over windows of `window_us`, one after the other, with the length of each in
    /// s. The last one ends with the run or at `to_us` and may be shorter.
    pub fn windows(
        &self,
        from_us: u64,
        to_us: u64,
        window_us: u64,
    ) -> impl Iterator<Item = (f64, f64)> + '_ {
        let to_us = to_us.min(self.end_us);
        let mut start = from_us;
        std::iter::from_fn(move || {
            if start >= to_us {
                return None;
            }
            let end = start.saturating_add(window_us.max(1)).min(to_us);
            let window = (self.mean_w(start, end), seconds(start, end));
            start = end;
            Some(window)
        })
    }
}

fn seconds(from_us: u64, to_us: u64) -> f64 {
    (to_us - from_us) as f64 / 1e6
}
