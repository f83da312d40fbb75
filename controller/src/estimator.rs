//! How slow an application runs compared with its policy, and how much slower it may turn out.
//!
//! Slowdown `x` = measured ÷ expected latency, Q8.24 throughout. A clamped mean follows it; above
//! the mean the tail of the residuals is held by a threshold that 1/16 of them exceed and the mean
//! excess over it (peaks over threshold: a generalised-Pareto tail of fixed shape ξ = 1/4), and the
//! quantile is corrected by its own misses. Each line uses the values from before the step:
//!
//! ```text
//! r          = x − mean;   limit = 6·dev
//! margin     = threshold + correction·c·excess
//! beyond     = |r| > limit ? beyond + 1 : 0
//! fast       = beyond ≥ 3 ? 4 : max(fast − 1, 0)
//! mean      += fast > 0 ? r/2 : clamp(r, −limit, +limit)/16
//! r > threshold:  excess    = max(excess + (min(r − threshold, 16·excess) − excess)/16, dev/4)
//!                 threshold += 15/64·dev
//! otherwise:      threshold  = max(0, threshold − dev/64), and where the threshold was not exceeded
//!                 in 128 samples, threshold −= threshold/64, excess = max(excess − excess/64, dev/4)
//! r > margin:     correction = min(correction + (1 − a)/4, 4)
//! otherwise:      correction = max(correction − a/4, 1/2)
//! boost      = max(boost − boost/8, r − margin)
//! dev        = max(dev + (min(|r|, 8·dev) − dev)/32, 2·10⁻⁴)
//! beyond = 3: dev −= 3/8·dev, and where r > 0 and correction < 4:
//!             threshold = max(0, threshold − dev/2), excess = max(excess/8, dev/4)
//! guard      = mean + threshold + correction·c·excess + boost
//! ```
//!
//! with `a = 0.7·miss target` and `c = 3·((1/16 ÷ a)^¼ − 1)`, see [`Tail`]. The aim lies below the
//! target because a tracker that meets its target exactly is above it in half of all windows. A
//! threshold that 1/16 of the samples should exceed and 128 in a row did not (a chance of 2.6·10⁻⁴
//! for a true one) is left over from another regime: dev, in which it moves, may have become too
//! small to bring it down, and the mean excess changes only where the threshold is exceeded.
//! What lags behind a step is no tail: threshold, excess and correction are not learned while
//! `fast > 0`, and what the samples that made the step had changed is taken back (`beyond = 3`).
//! Without that each step of a few times `dev` inflates the guard by as much for hundreds of
//! samples.
//! Nothing is divided: shifts, and 64-bit products for `correction·c·excess`.

/// One in Q8.24.
pub const ONE_Q24: u32 = 1 << 24;
const ONE: i32 = 1 << 24;
/// Largest slowdown that is told apart: 16.
const MAX_Q24: i32 = 16 << 24;
/// 0.01: before anything was measured.
const START_DEVIATION_Q24: i32 = 167_772;
/// 0.02: before anything was measured.
const START_TAIL_Q24: i32 = 335_544;
/// 2·10⁻⁴: below the resolution of a sample on the wire (1/4096).
const LEAST_DEVIATION_Q24: i32 = 3_355;
/// Samples beyond the clamp that make a step.
const STEP_SAMPLES: u8 = 3;
/// Samples taken at half weight after a step.
const FAST_SAMPLES: u8 = 4;
/// Samples under the threshold after which it, and the mean excess, are taken for outdated.
const OUTDATED_SAMPLES: u8 = 128;
/// Bounds of the coverage correction: 1/2 and 4.
const LEAST_CORRECTION_Q24: i32 = ONE >> 1;
const MOST_CORRECTION_Q24: i32 = ONE << 2;
/// Least slowdown that a decision counts on: 1/256.
const LEAST_GUARD_Q24: i32 = 1 << 16;

/// Constants of the tail at one miss target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    /// Quantile beyond the threshold, in mean excesses: `c`, Q8.24.
    reach: i32,
    /// Change of the correction at a miss, `(1 − a)/4`, Q8.24.
    up: i32,
    /// Change of the correction at a sample under the margin, `a/4`, Q8.24.
    down: i32,
}

impl Tail {
    /// The constants at `miss_target_bp`, 0.01 %. A target of 0 counts as the least one above it;
    /// from 893 (`a` = 1/16) on the threshold alone is the margin.
    #[must_use]
    pub fn at(miss_target_bp: u16) -> Self {
        let target = u64::from(miss_target_bp.clamp(1, 10_000));
        // ratio = 1/16 ÷ (0.7·target/10⁴) = 6250 ÷ (7·target) ≤ 893, with 2⁵⁰ for one.
        let ratio = (6250_u64 << 50).checked_div(target.saturating_mul(7)).unwrap_or(0);
        // √ratio with 2²⁵ for one, then ⁴√ratio with 2²⁶, then with 2²⁴.
        let fourth = square_root(square_root(ratio) << 27) >> 2;
        let reach = fourth.saturating_sub(u64::from(ONE_Q24)).saturating_mul(3);
        // a/4 = 0.7·target/40,000 in Q8.24: target·293.6012.
        let down = target.saturating_mul(19_241_453) >> 16;
        let down = i32::try_from(down).unwrap_or(ONE >> 2);
        Self {
            reach: i32::try_from(reach).unwrap_or(i32::MAX),
            up: (ONE >> 2).saturating_sub(down),
            down,
        }
    }
}

/// Integer part of the square root, a bit at a time: it runs once a change of targets.
fn square_root(value: u64) -> u64 {
    let mut root = 0_u64;
    let mut bit = 1_u64 << 31;
    while bit != 0 {
        let trial = root | bit;
        if trial.saturating_mul(trial) <= value {
            root = trial;
        }
        bit >>= 1;
    }
    root
}

/// Estimator of one application's slowdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slowdown {
    mean: i32,
    deviation: i32,
    threshold: i32,
    excess: i32,
    correction: i32,
    boost: i32,
    beyond: u8,
    fast: u8,
    quiet: u8,
}

/// What a seed carries of a [`Slowdown`]; Q8.24.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Learned {
    /// Mean slowdown.
    pub mean_q24: u32,
    /// Mean absolute deviation.
    pub deviation_q24: u32,
    /// Residual that 1/16 of the samples exceed.
    pub threshold_q24: u32,
    /// Mean excess over the threshold.
    pub excess_q24: u32,
    /// Coverage correction.
    pub correction_q24: u32,
    /// What is left of the last burst.
    pub boost_q24: u32,
    /// Samples in a row beyond the clamp.
    pub beyond: u8,
    /// Samples left in fast mode.
    pub fast: u8,
    /// Samples since the threshold was exceeded, up to 128.
    pub quiet: u8,
}

impl Default for Slowdown {
    fn default() -> Self {
        Self {
            mean: ONE,
            deviation: START_DEVIATION_Q24,
            threshold: START_TAIL_Q24,
            excess: START_TAIL_Q24,
            correction: ONE,
            boost: 0,
            beyond: 0,
            fast: 0,
            quiet: 0,
        }
    }
}

impl Slowdown {
    /// Learns from one sample, Q8.24.
    pub fn observe(&mut self, sample_q24: u32, tail: &Tail) {
        let sample = i32::try_from(sample_q24).unwrap_or(MAX_Q24).min(MAX_Q24);
        let residual = sample.saturating_sub(self.mean);
        let over = residual.saturating_sub(self.margin(tail));
        if self.fast == 0 {
            self.follow_tail(residual, over, tail);
        }
        self.boost = self.boost.saturating_sub(self.boost >> 3).max(over);
        self.follow_mean(residual);
        if self.beyond == STEP_SAMPLES {
            self.forget_step(residual);
        }
    }

    /// Takes back what the samples that made a step have changed as if they were of the tail. Each
    /// of them grew the deviation by 7/32 of itself at most, the excess nearly twofold, and the
    /// threshold by 15/64 of the deviation there was. The misses stay
    /// counted; where they have brought the correction to its bound, steps come too often for the
    /// miss target to be forgotten.
    fn forget_step(&mut self, residual: i32) {
        let grown = (self.deviation >> 2).saturating_add(self.deviation >> 3);
        if residual > 0 && self.correction < MOST_CORRECTION_Q24 {
            self.threshold = self.threshold.saturating_sub(self.deviation >> 1).max(0);
            self.excess >>= 3;
        }
        self.deviation = self.deviation.saturating_sub(grown).max(LEAST_DEVIATION_Q24);
        self.excess = self.excess.max(self.deviation >> 2);
    }

    fn follow_mean(&mut self, residual: i32) {
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

    fn follow_tail(&mut self, residual: i32, over: i32, tail: &Tail) {
        let excess = residual.saturating_sub(self.threshold);
        if excess > 0 {
            let change =
                excess.min(self.excess.saturating_mul(16)).saturating_sub(self.excess) >> 4;
            self.excess = self.excess.saturating_add(change).max(self.deviation >> 2);
            self.threshold =
                self.threshold.saturating_add(self.deviation.saturating_mul(15) >> 6).min(MAX_Q24);
            self.quiet = 0;
        } else {
            self.threshold = self.threshold.saturating_sub(self.deviation >> 6).max(0);
            if self.quiet < OUTDATED_SAMPLES {
                self.quiet = self.quiet.saturating_add(1);
            } else {
                self.threshold = self.threshold.saturating_sub(self.threshold >> 6);
                self.excess = self.excess.saturating_sub(self.excess >> 6).max(self.deviation >> 2);
            }
        }
        self.correction = if over > 0 {
            self.correction.saturating_add(tail.up).min(MOST_CORRECTION_Q24)
        } else {
            self.correction.saturating_sub(tail.down).max(LEAST_CORRECTION_Q24)
        };
    }

    /// Margin over the mean, without the boost.
    fn margin(&self, tail: &Tail) -> i32 {
        let reach = product(self.correction, tail.reach);
        self.threshold.saturating_add(product(reach, self.excess))
    }

    /// Mean slowdown, Q8.24.
    #[must_use]
    pub fn mean_q24(&self) -> u32 {
        self.mean.unsigned_abs()
    }

    /// Slowdown that a decision counts on at the miss target of `tail`, Q8.24; at least 1/256.
    #[must_use]
    pub fn guard_q24(&self, tail: &Tail) -> u32 {
        self.mean
            .saturating_add(self.margin(tail))
            .saturating_add(self.boost)
            .max(LEAST_GUARD_Q24)
            .unsigned_abs()
    }

    /// Forgets what depends on the miss target: the correction and the boost.
    pub fn retarget(&mut self) {
        self.correction = ONE;
        self.boost = 0;
    }

    /// What a seed carries.
    #[must_use]
    pub fn learned(&self) -> Learned {
        Learned {
            mean_q24: self.mean.unsigned_abs(),
            deviation_q24: self.deviation.unsigned_abs(),
            threshold_q24: self.threshold.unsigned_abs(),
            excess_q24: self.excess.unsigned_abs(),
            correction_q24: self.correction.unsigned_abs(),
            boost_q24: self.boost.unsigned_abs(),
            beyond: self.beyond,
            fast: self.fast,
            quiet: self.quiet,
        }
    }

    /// The estimator of a seed; values out of range are brought into it.
    #[must_use]
    pub fn restore(learned: &Learned) -> Self {
        let bounded = |value: u32| i32::try_from(value).unwrap_or(MAX_Q24).min(MAX_Q24);
        Self {
            mean: bounded(learned.mean_q24),
            deviation: bounded(learned.deviation_q24).max(LEAST_DEVIATION_Q24),
            threshold: bounded(learned.threshold_q24),
            excess: bounded(learned.excess_q24),
            correction: bounded(learned.correction_q24)
                .clamp(LEAST_CORRECTION_Q24, MOST_CORRECTION_Q24),
            boost: bounded(learned.boost_q24),
            beyond: learned.beyond,
            fast: learned.fast.min(FAST_SAMPLES),
            quiet: learned.quiet.min(OUTDATED_SAMPLES),
        }
    }
}

/// Product of two values of Q8.24, saturating at [`MAX_Q24`].
fn product(a: i32, b: i32) -> i32 {
    let product = i64::from(a).saturating_mul(i64::from(b)) >> 24;
    i32::try_from(product).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Learned, MAX_Q24, ONE_Q24, Slowdown, Tail, square_root};

    fn q24(value: f64) -> u32 {
        (value * f64::from(ONE_Q24)) as u32
    }

    fn value(q24: u32) -> f64 {
        f64::from(q24) / f64::from(ONE_Q24)
    }

    fn noise(state: &mut u32) -> f64 {
        *state ^= *state << 13;
        *state ^= *state >> 17;
        *state ^= *state << 5;
        f64::from(*state) / f64::from(u32::MAX) - 0.5
    }

    #[test]
    fn constants_are_those_of_the_equations() {
        for target in 1..=10_000_u16 {
            let aim = 0.7 * f64::from(target) / 10_000.0;
            let reach = (3.0 * ((1.0 / 16.0 / aim).powf(0.25) - 1.0)).max(0.0);
            let tail = Tail::at(target);
            let near =
                |q24: i32, exact: f64| (f64::from(q24) / f64::from(ONE_Q24) - exact).abs() < 4e-7;
            assert!(near(tail.reach, reach), "{target}: {tail:?}, {reach}");
            assert!(near(tail.down, aim / 4.0), "{target}: {tail:?}");
            assert!(near(tail.up, (1.0 - aim) / 4.0), "{target}: {tail:?}");
        }
        assert_eq!(Tail::at(0), Tail::at(1));
        assert_eq!(Tail::at(u16::MAX), Tail::at(10_000));
    }

    #[test]
    fn square_roots_are_rounded_down() {
        for value in [0, 1, 2, 3, 4, 15, 16, 17, u64::from(u32::MAX), 1 << 62, u64::MAX] {
            let root = u128::from(square_root(value));
            assert!(root * root <= u128::from(value) && u128::from(value) < (root + 1).pow(2));
        }
    }

    /// The same mean in floating point.
    #[test]
    fn the_mean_follows_the_floating_point_law() {
        let tail = Tail::at(100);
        let mut ours = Slowdown::default();
        let (mut mean, mut dev, mut beyond, mut fast) = (1.0_f64, 0.01_f64, 0_u32, 0_u32);
        let mut state = 0x9E37_79B9_u32;
        for n in 0..20_000 {
            let x = if n / 700 % 2 == 0 { 1.0 } else { 1.3 } + 0.02 * noise(&mut state);
            ours.observe(q24(x), &tail);
            let r = x - mean;
            let limit = 6.0 * dev;
            beyond = if r.abs() > limit { beyond + 1 } else { 0 };
            fast = if beyond >= 3 { 4 } else { fast.saturating_sub(1) };
            mean += if fast > 0 { r / 2.0 } else { r.clamp(-limit, limit) / 16.0 };
            dev = (dev + (r.abs().min(8.0 * dev) - dev) / 32.0).max(2e-4);
            if beyond == 3 {
                dev = (dev * 0.625).max(2e-4);
            }
            // Shifts round down: 1/32 of a step may be lost at each of them.
            assert!((value(ours.mean_q24()) - mean).abs() < 2e-3, "sample {n}");
        }
    }

    #[test]
    fn a_stricter_target_guards_more() {
        let targets = [1000, 500, 100, 50, 10, 1];
        let tails = targets.map(Tail::at);
        let mut state = 7;
        let mut each = [Slowdown::default(); 6];
        for _ in 0..20_000 {
            let x = q24(1.0 + 0.02 * noise(&mut state).powi(3));
            for (slowdown, tail) in each.iter_mut().zip(&tails) {
                slowdown.observe(x, tail);
            }
        }
        let guards: std::vec::Vec<u32> =
            each.iter().zip(&tails).map(|(slowdown, tail)| slowdown.guard_q24(tail)).collect();
        assert!(guards.windows(2).all(|pair| pair[0] <= pair[1]), "{guards:?}");
        assert!(guards[0] < guards[4]);
    }

    #[test]
    fn a_single_outlier_hardly_moves_the_mean_and_raises_the_guard_for_a_while() {
        let tail = Tail::at(100);
        let mut slowdown = Slowdown::default();
        for _ in 0..400 {
            slowdown.observe(ONE_Q24, &tail);
        }
        let before = slowdown.guard_q24(&tail);
        slowdown.observe(q24(1.5), &tail);
        assert!(value(slowdown.mean_q24()) < 1.01);
        assert!(value(slowdown.guard_q24(&tail)) > 1.4, "{}", value(slowdown.guard_q24(&tail)));
        for _ in 0..400 {
            slowdown.observe(ONE_Q24, &tail);
        }
        assert!(slowdown.guard_q24(&tail) < before + ONE_Q24 / 20);
    }

    #[test]
    fn a_step_is_followed_within_seven_samples() {
        let tail = Tail::at(100);
        let mut slowdown = Slowdown::default();
        for _ in 0..100 {
            slowdown.observe(ONE_Q24, &tail);
        }
        for _ in 0..7 {
            slowdown.observe(q24(1.4), &tail);
        }
        assert!(value(slowdown.mean_q24()) > 1.37, "{}", value(slowdown.mean_q24()));
    }

    #[test]
    fn a_step_does_not_hold_the_guard_up() {
        let tail = Tail::at(10);
        let mut slowdown = Slowdown::default();
        let mut state = 3;
        let mut quiet = 0.0;
        for n in 0..2_000 {
            let regime = if n < 1_500 { 1.0 } else { 1.25 };
            slowdown.observe(q24(regime * (1.0 + 0.01 * noise(&mut state))), &tail);
            let over = value(slowdown.guard_q24(&tail)) / regime - 1.0;
            if n == 1_499 {
                quiet = over;
            }
            // Sixty requests into the new regime the guard is as near to it as to the old one; a
            // law that learns the step as tail stands at 1.5 then.
            assert!(n < 1_560 || over < quiet + 0.03, "sample {n}: {over}, {quiet}");
        }
    }

    #[test]
    fn a_step_is_forgotten_where_nothing_varies_any_more() {
        let tail = Tail::at(100);
        let mut slowdown = Slowdown::default();
        for n in 0..600 {
            slowdown.observe(if n < 300 { q24(1.6) } else { ONE_Q24 }, &tail);
        }
        assert!(value(slowdown.guard_q24(&tail)) < 1.02, "{}", value(slowdown.guard_q24(&tail)));
    }

    #[test]
    fn extreme_samples_never_leave_the_range() {
        for target in [1, 10, 100, 500, 10_000] {
            let tail = Tail::at(target);
            let mut slowdown = Slowdown::default();
            let mut state = 99_u32;
            for n in 0..200_000_u32 {
                let _advanced = noise(&mut state);
                let x = if n % 3 == 0 {
                    state
                } else if n % 7 < 3 {
                    u32::MAX
                } else {
                    n % 2
                };
                slowdown.observe(x, &tail);
                let Learned { mean_q24, threshold_q24, excess_q24, boost_q24, .. } =
                    slowdown.learned();
                for part in [mean_q24, threshold_q24, excess_q24, boost_q24] {
                    assert!(part <= MAX_Q24.unsigned_abs(), "{:?}", slowdown);
                }
                assert!(slowdown.guard_q24(&tail) >= slowdown.mean_q24());
                // A seed hands it over unchanged.
                assert_eq!(Slowdown::restore(&slowdown.learned()), slowdown);
            }
        }
    }
}
