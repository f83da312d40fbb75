//! How slow an application runs compared with its policy.
//!
//! Slowdown `x` = measured ÷ expected latency, Q8.24 throughout. Two running values follow it,
//! each update using the values from before it:
//!
//! ```text
//! r      = x − mean;   limit = 6·dev
//! beyond = |r| > limit ? beyond + 1 : 0
//! fast   = beyond ≥ 3 ? 4 : max(fast − 1, 0)
//! mean  += fast > 0 ? r/2 : clamp(r, −limit, +limit)/16
//! dev    = max(dev + (min(|r|, 8·dev) − dev)/32, 2·10⁻⁴)
//! guard  = mean + 4·dev
//! ```
//!
//! The mean ignores single outliers (clamp) and follows a step within four samples (fast mode).
//! `dev` is the mean absolute deviation; 4·dev is 3.2 standard deviations of a normal
//! distribution. The guard is a plain margin, not calibrated to a miss target: latencies of real
//! boards have heavier tails.

/// One in Q8.24.
pub const ONE_Q24: u32 = 1 << 24;
/// Largest slowdown that is told apart: 16.
const MAX_Q24: i32 = 16 << 24;
/// 0.01: before anything was measured.
const START_DEVIATION_Q24: i32 = 167_772;
/// 2·10⁻⁴: below the resolution of a sample on the wire (1/4096).
const LEAST_DEVIATION_Q24: i32 = 3_355;
/// Samples beyond the clamp that make a step.
const STEP_SAMPLES: u8 = 3;
/// Samples taken at half weight after a step.
const FAST_SAMPLES: u8 = 4;
/// Margin of the guard, in deviations.
const GUARD_DEVIATIONS: i32 = 4;

/// Estimator of one application's slowdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slowdown {
    mean: i32,
    deviation: i32,
    beyond: u8,
    fast: u8,
}

impl Default for Slowdown {
    fn default() -> Self {
        Self { mean: 1 << 24, deviation: START_DEVIATION_Q24, beyond: 0, fast: 0 }
    }
}

impl Slowdown {
    /// Learns from one sample, Q8.24.
    pub fn observe(&mut self, sample_q24: u32) {
        let sample = i32::try_from(sample_q24).unwrap_or(MAX_Q24).min(MAX_Q24);
        let residual = sample.saturating_sub(self.mean);
        let limit = self.deviation.saturating_mul(6);
        let size = residual.saturating_abs();
        self.beyond = if size > limit { self.beyond.saturating_add(1) } else { 0 };
        self.fast =
            if self.beyond >= STEP_SAMPLES { FAST_SAMPLES } else { self.fast.saturating_sub(1) };
        let step = if self.fast > 0 {
            residual >> 1
        } else {
            residual.max(limit.saturating_neg()).min(limit) >> 4
        };
        self.mean = self.mean.saturating_add(step).max(0);
        let change = size.min(self.deviation.saturating_mul(8)).saturating_sub(self.deviation) >> 5;
        self.deviation = self.deviation.saturating_add(change).max(LEAST_DEVIATION_Q24);
    }

    /// Mean slowdown, Q8.24.
    #[must_use]
    pub fn mean_q24(&self) -> u32 {
        self.mean.unsigned_abs()
    }

    /// Mean absolute deviation, Q8.24.
    #[must_use]
    pub fn deviation_q24(&self) -> u32 {
        self.deviation.unsigned_abs()
    }

    /// Slowdown that a decision counts on, Q8.24; at least 1/256.
    #[must_use]
    pub fn guard_q24(&self) -> u32 {
        let margin = self.deviation.saturating_mul(GUARD_DEVIATIONS);
        self.mean.saturating_add(margin).max(1 << 16).unsigned_abs()
    }

    /// Samples in a row beyond the clamp, and samples left in fast mode.
    #[must_use]
    pub fn step_state(&self) -> (u8, u8) {
        (self.beyond, self.fast)
    }

    /// The estimator of a seed; values out of range are brought into it.
    #[must_use]
    pub fn restore(mean_q24: u32, deviation_q24: u32, beyond: u8, fast: u8) -> Self {
        let bounded = |value: u32| i32::try_from(value).unwrap_or(MAX_Q24).min(MAX_Q24);
        Self {
            mean: bounded(mean_q24),
            deviation: bounded(deviation_q24).max(LEAST_DEVIATION_Q24),
            beyond,
            fast: fast.min(FAST_SAMPLES),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ONE_Q24, Slowdown};

    fn q24(value: f64) -> u32 {
        (value * f64::from(ONE_Q24)) as u32
    }

    fn value(q24: u32) -> f64 {
        f64::from(q24) / f64::from(ONE_Q24)
    }

    /// The same law in floating point.
    struct Reference {
        mean: f64,
        dev: f64,
        beyond: u32,
        fast: u32,
    }

    impl Reference {
        fn observe(&mut self, x: f64) {
            let r = x - self.mean;
            let limit = 6.0 * self.dev;
            self.beyond = if r.abs() > limit { self.beyond + 1 } else { 0 };
            self.fast = if self.beyond >= 3 { 4 } else { self.fast.saturating_sub(1) };
            self.mean += if self.fast > 0 { r / 2.0 } else { r.clamp(-limit, limit) / 16.0 };
            self.dev = (self.dev + (r.abs().min(8.0 * self.dev) - self.dev) / 32.0).max(2e-4);
        }
    }

    #[test]
    fn follows_the_floating_point_law() {
        let mut ours = Slowdown::default();
        let mut reference = Reference { mean: 1.0, dev: 0.01, beyond: 0, fast: 0 };
        let mut state = 0x9E37_79B9_u32;
        for n in 0..20_000 {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            let noise = f64::from(state) / f64::from(u32::MAX) - 0.5;
            let x = if n / 700 % 2 == 0 { 1.0 } else { 1.3 } + 0.02 * noise;
            ours.observe(q24(x));
            reference.observe(x);
            // Shifts round down: 1/32 of a step may be lost at each of them.
            assert!((value(ours.mean_q24()) - reference.mean).abs() < 2e-3, "sample {n}");
        }
    }

    #[test]
    fn a_single_outlier_hardly_moves_the_mean() {
        let mut slowdown = Slowdown::default();
        for _ in 0..100 {
            slowdown.observe(ONE_Q24);
        }
        slowdown.observe(q24(8.0));
        assert!(value(slowdown.mean_q24()) < 1.01);
    }

    #[test]
    fn a_step_is_followed_within_seven_samples() {
        let mut slowdown = Slowdown::default();
        for _ in 0..100 {
            slowdown.observe(ONE_Q24);
        }
        for _ in 0..7 {
            slowdown.observe(q24(1.4));
        }
        assert!(value(slowdown.mean_q24()) > 1.37, "{}", value(slowdown.mean_q24()));
    }

    #[test]
    fn extreme_samples_never_leave_the_range() {
        let mut slowdown = Slowdown::default();
        for n in 0..100_000_u32 {
            slowdown.observe(if n % 7 < 3 { u32::MAX } else { n % 2 });
            assert!(slowdown.mean_q24() <= 16 << 24);
            assert!(slowdown.guard_q24() >= slowdown.mean_q24());
        }
    }
}
