//! conservative, a CPU governor.
//!
//! Source: Linux `drivers/cpufreq/cpufreq_conservative.c` (torvalds/linux at commit 033cdbbf): a load
//! above 80 % adds a step of 5 % of the highest clock to the wanted one, a load below 20 % takes one
//! away; the clock is the lowest of the table at or above what is wanted when it goes up, the highest
//! at or below when it goes down. `sampling_down_factor` 1. Further steps down for idle periods that
//! were slept through do not occur: an idle core is sampled here.

use super::sampling::Sampling;

/// Load above which the clock goes up, %.
pub const UP_THRESHOLD: u32 = 80;
/// Load below which it goes down, %.
pub const DOWN_THRESHOLD: u32 = 20;
/// Step, % of the highest clock.
pub const STEP_PCT: u32 = 5;

/// The governor of one policy.
#[derive(Debug, Clone)]
pub struct Conservative {
    /// kHz, ascending, not empty.
    table: Vec<u32>,
    sampling: Sampling,
    wanted: u32,
    khz: u32,
}

impl Conservative {
    /// An idle governor with these clocks (kHz, ascending), at the lowest.
    #[must_use]
    pub fn new(table: &[u32]) -> Self {
        let khz = table.first().copied().unwrap_or(0);
        Self { table: table.to_vec(), sampling: Sampling::new(), wanted: khz, khz }
    }

    /// When it looks next, µs.
    #[must_use]
    pub fn next_us(&self) -> u64 {
        self.sampling.next_us
    }

    /// Takes in what holds from `now_us` on and returns the clock that it asks for, kHz.
    pub fn step(&mut self, now_us: u64, busy: bool) -> u32 {
        let Some(load) = self.sampling.step(now_us, busy) else { return self.khz };
        let (Some(lowest), Some(highest)) = (self.table.first(), self.table.last()) else {
            return 0;
        };
        let step = highest * STEP_PCT / 100;
        if load > UP_THRESHOLD {
            self.wanted = (self.wanted + step).min(*highest);
            let up = self.table.iter().find(|khz| **khz >= self.wanted);
            self.khz = up.copied().unwrap_or(*highest);
        } else if load < DOWN_THRESHOLD {
            self.wanted = self.wanted.saturating_sub(step).max(*lowest);
            let down = self.table.iter().rev().find(|khz| **khz <= self.wanted);
            self.khz = down.copied().unwrap_or(*lowest);
        }
        self.khz
    }
}

#[cfg(test)]
mod tests {
    use super::Conservative;

    #[test]
    fn it_climbs_and_falls_in_steps_of_5_percent() {
        let mut governor = Conservative::new(&[1000, 1100, 1500, 2000]);
        let mut now = 0;
        let mut sample = |busy_ms: u64| {
            governor.step(now, true);
            governor.step(now + busy_ms * 1000, false);
            now += 10_000;
            governor.step(now, false)
        };
        // Wanted 1100, 1200, 1300: rounded up.
        assert_eq!([sample(9), sample(9), sample(9)], [1100, 1500, 1500]);
        // Between the thresholds nothing moves.
        assert_eq!([sample(8), sample(2), sample(5)], [1500, 1500, 1500]);
        // Wanted 1200, 1100, 1000: rounded down.
        assert_eq!([sample(1), sample(1), sample(1), sample(1)], [1100, 1100, 1000, 1000]);
    }
}
