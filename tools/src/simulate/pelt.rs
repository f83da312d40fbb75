//! Per-entity load tracking: how much of a CPU's capacity was used of late.
//!
//! Time counts in periods of 1024 µs; what was used a period ago counts `y` times as much, with
//! `y^32 = 0.5`. The result is invariant to the clock: while the CPU runs at `f`, the signal's time
//! runs at `f/f_max`, so that a task that takes twice as long at half the clock leaves the same
//! mark. When the CPU falls idle the signal's time catches up. (Linux has it so since 5.1; that and
//! the lost idle time of a saturated signal are from memory.)

/// Utilisation of a CPU that is never idle at its highest clock.
pub const CAPACITY: u32 = 1024;
/// Length of a period, µs.
pub const PERIOD_US: f64 = 1024.0;
/// Periods in which the signal halves.
pub const HALF_LIFE_PERIODS: f64 = 32.0;
/// What the sum of a CPU that was always busy comes to (`LOAD_AVG_MAX`).
pub const MAX_SUM: f64 = 47_742.0;

/// The signal of one CPU.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pelt {
    /// µs that were used, weighted.
    sum: f64,
    /// µs of the period that is not over.
    begun_us: f64,
    /// µs by which the signal's time is behind.
    behind_us: f64,
}

impl Pelt {
    /// Utilisation, 0 to [`CAPACITY`].
    #[must_use]
    pub fn utilisation(&self) -> u32 {
        let share = self.sum / (MAX_SUM - PERIOD_US + self.begun_us);
        // 0 to 1024: not negative, and cut here.
        ((share * f64::from(CAPACITY)) as u32).min(CAPACITY)
    }

    /// Lets `us` pass with the CPU busy or not, at `speed` = `f/f_max`, 0 to 1.
    pub fn pass(&mut self, us: u64, busy: bool, speed: f64) {
        let us = us as f64;
        if busy {
            self.accumulate(us * speed, true);
            self.behind_us += us * (1.0 - speed);
            return;
        }
        let behind_us = std::mem::take(&mut self.behind_us);
        // A CPU that had no idle time at all has none to catch up with.
        if self.sum < MAX_SUM - PERIOD_US {
            self.accumulate(behind_us, false);
        }
        self.accumulate(us, false);
    }

    fn accumulate(&mut self, us: f64, busy: bool) {
        let y = 0.5_f64.powf(HALF_LIFE_PERIODS.recip());
        let periods = ((self.begun_us + us) / PERIOD_US).floor();
        let rest_us = self.begun_us + us - periods * PERIOD_US;
        let used = if periods == 0.0 {
            us
        } else {
            // The rest of the first period, whole periods in between, the begun one.
            let between = PERIOD_US * y * (1.0 - y.powf(periods - 1.0)) / (1.0 - y);
            (PERIOD_US - self.begun_us) * y.powf(periods) + between + rest_us
        };
        self.sum = self.sum * y.powf(periods) + if busy { used } else { 0.0 };
        self.begun_us = rest_us;
    }
}

#[cfg(test)]
mod tests {
    use super::{CAPACITY, Pelt};

    fn near(found: u32, expected: u32, within: u32) {
        assert!(found.abs_diff(expected) <= within, "{found} for {expected}");
    }

    #[test]
    fn it_halves_in_32_periods_and_rises_alike() {
        let mut pelt = Pelt::default();
        pelt.pass(32 * 1024, true, 1.0);
        near(pelt.utilisation(), CAPACITY / 2, 4);
        pelt.pass(10_000_000, true, 1.0);
        assert_eq!(pelt.utilisation(), CAPACITY);
        pelt.pass(32 * 1024, false, 1.0);
        near(pelt.utilisation(), CAPACITY / 2, 4);
        pelt.pass(32 * 1024, false, 1.0);
        near(pelt.utilisation(), CAPACITY / 4, 4);
    }

    #[test]
    fn the_step_of_the_time_does_not_matter() {
        let (mut fine, mut coarse) = (Pelt::default(), Pelt::default());
        for turn in 0..20 {
            let busy = turn % 3 == 0;
            coarse.pass(7001, busy, 0.5);
            (0..7001).for_each(|_| fine.pass(1, busy, 0.5));
            near(fine.utilisation(), coarse.utilisation(), 1);
        }
    }

    #[test]
    fn periodic_work_leaves_the_same_mark_at_any_clock() {
        // 2 ms of work at the highest clock in every 10 ms, and the same work at half of it.
        let mean = |busy_us: u64, speed: f64| {
            let mut pelt = Pelt::default();
            let mut sum = 0;
            for turn in 0..100 {
                pelt.pass(busy_us, true, speed);
                pelt.pass(10_000 - busy_us, false, speed);
                sum += if turn >= 50 { pelt.utilisation() } else { 0 };
            }
            sum / 50
        };
        let (fast, slow) = (mean(2000, 1.0), mean(4000, 0.5));
        near(fast, 190, 25);
        near(slow, fast, 12);
    }

    #[test]
    fn an_always_busy_cpu_saturates_at_any_clock_but_later() {
        let mut pelt = Pelt::default();
        pelt.pass(64 * 1024, true, 0.5);
        near(pelt.utilisation(), CAPACITY / 2, 4);
        pelt.pass(10_000_000, true, 0.5);
        assert_eq!(pelt.utilisation(), CAPACITY);
        // Nothing to catch up with: it only decays for the time that it is idle.
        pelt.pass(32 * 1024, false, 0.5);
        near(pelt.utilisation(), CAPACITY / 2, 4);
    }
}
