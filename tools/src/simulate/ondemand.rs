//! ondemand, a CPU governor.
//!
//! Source: Linux `drivers/cpufreq/cpufreq_ondemand.c` (raspberrypi/linux at commit 207602c9): a load
//! above 80 % goes to the highest clock at once; otherwise the clock is `f_min + load·(f_max −
//! f_min)/100`, rounded to the nearest of the table. `sampling_down_factor` 1, `powersave_bias` 0,
//! `io_is_busy` 0. With micro-accounting the threshold is 95 %; Tegra kernels have it, which is from
//! memory, as is the sampling period. As with schedutil, one core launches and the others are idle.

use super::sampling::Sampling;

/// Load above which the highest clock is taken, %.
pub const UP_THRESHOLD: u32 = 95;

/// The governor of one policy.
#[derive(Debug, Clone)]
pub struct Ondemand {
    /// kHz, ascending, not empty.
    table: Vec<u32>,
    sampling: Sampling,
    khz: u32,
}

impl Ondemand {
    /// An idle governor with these clocks (kHz, ascending), at the lowest.
    #[must_use]
    pub fn new(table: &[u32]) -> Self {
        let khz = table.first().copied().unwrap_or(0);
        Self { table: table.to_vec(), sampling: Sampling::new(), khz }
    }

    /// When it looks next, µs.
    #[must_use]
    pub fn next_us(&self) -> u64 {
        self.sampling.next_us
    }

    /// Takes in what holds from `now_us` on and returns the clock that it asks for, kHz.
    pub fn step(&mut self, now_us: u64, busy: bool) -> u32 {
        if let Some(load) = self.sampling.step(now_us, busy) {
            self.khz = clock(&self.table, load);
        }
        self.khz
    }
}

/// The clock for a load, %.
fn clock(table: &[u32], load: u32) -> u32 {
    let (Some(lowest), Some(highest)) = (table.first(), table.last()) else { return 0 };
    if load > UP_THRESHOLD {
        return *highest;
    }
    let wanted = u64::from(*lowest) + u64::from(load) * u64::from(highest - lowest) / 100;
    let off = |khz: &&u32| u64::from(**khz).abs_diff(wanted);
    table.iter().min_by_key(off).copied().unwrap_or(*lowest)
}

#[cfg(test)]
mod tests {
    use super::{Ondemand, clock};

    #[test]
    fn the_clock_is_in_proportion_and_the_highest_when_saturated() {
        let table = [1000, 1200, 1400, 2000];
        // 1000 + 0.3·1000 = 1300: 1200 is as near as 1400 and comes first.
        let cases = [(0, 1000), (30, 1200), (31, 1400), (60, 1400), (80, 2000), (96, 2000)];
        for (load, expected) in cases {
            assert_eq!(clock(&table, load), expected, "{load} %");
        }
    }

    #[test]
    fn it_samples_every_10_ms() {
        let mut governor = Ondemand::new(&[1000, 2000]);
        assert_eq!(governor.step(0, true), 1000);
        assert_eq!(governor.step(9_999, true), 1000);
        assert_eq!(governor.step(10_000, false), 2000);
        // 6 of 10 ms: 1600, rounded to 2000; 4 of 10 ms: 1400, rounded to 1000.
        governor.step(14_000, true);
        assert_eq!(governor.step(20_000, false), 2000);
        governor.step(26_000, true);
        assert_eq!(governor.step(30_000, false), 1000);
    }
}
