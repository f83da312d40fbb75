//! ALERT (Wan, Santriaji, Rogers, Hoffmann, Maire, Lu; USENIX ATC 2020, arXiv 1911.00119).
//!
//! One global slowdown ξ ~ N(μ, σ²) for all configurations, from a Kalman filter with an adaptive
//! process noise; a second filter for idle ÷ busy power; an exhaustive choice of network and power
//! setting per input. The equations and constants of the published version are from memory; its
//! structure and headline numbers were checked against the abstract. Here the power settings are the
//! board's levels, and the constraint on deadlines is `Pr[ξ·t ≤ T] ≥ 1 − miss target`, one of the
//! paper's variants. What it does when nothing fits is not known to us: here the fastest
//! configuration at the floor. It was made for one application; with several, each chooses for
//! itself and the highest of their levels is taken.
//!
//! Its steady gain with the published constants is near 1 and σ near 0.32: it trusts the last value
//! and keeps a large margin. `alert-tuned` has the process noise that fits quiet traces.

use coshift_shared::units::MAX_APPLICATIONS;

use super::{Done, Event, Manager, Orders, Seen, Setting, When};

/// Constants of the filters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Constants {
    /// Least process noise Q0.
    pub least_process: f64,
    /// Measurement noise R.
    pub measurement: f64,
    /// First Kalman gain.
    pub gain: f64,
    /// First variance.
    pub variance: f64,
    /// Weight of the past in the process noise, α.
    pub memory: f64,
}

impl Constants {
    /// As published (from memory).
    pub const PUBLISHED: Self =
        Self { least_process: 0.1, measurement: 1e-3, gain: 0.5, variance: 0.1, memory: 0.3 };
    /// A process noise for quiet traces; misses a target of 0.1 % manifold when regimes change.
    pub const TUNED: Self = Self { least_process: 1e-4, measurement: 1e-4, ..Self::PUBLISHED };
}

/// The filter of ξ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kalman {
    constants: Constants,
    /// μ.
    pub mean: f64,
    /// σ².
    pub variance: f64,
    gain: f64,
    process: f64,
    innovation: f64,
}

impl Kalman {
    /// A filter that knows nothing: μ = 1.
    #[must_use]
    pub fn new(constants: Constants) -> Self {
        Self {
            constants,
            mean: 1.0,
            variance: constants.variance,
            gain: constants.gain,
            process: constants.least_process,
            innovation: 0.0,
        }
    }

    /// Takes in measured ÷ profiled latency.
    pub fn take(&mut self, ratio: f64) {
        let Constants { least_process, measurement, memory, .. } = self.constants;
        // Q(n) of the innovation before, then K(n), μ(n), σ²(n).
        let noise = memory * self.process + (1.0 - memory) * (self.gain * self.innovation).powi(2);
        self.process = noise.max(least_process);
        let innovation = ratio - self.mean;
        let prior = (1.0 - self.gain) * self.variance + self.process;
        self.gain = prior / (prior + measurement);
        self.mean += self.gain * innovation;
        self.variance = prior;
        self.innovation = innovation;
    }

    /// Probability that ξ is at most `bound`.
    #[must_use]
    pub fn at_most(&self, bound: f64) -> f64 {
        normal_share((bound - self.mean) / self.variance.sqrt())
    }
}

/// Φ(z), by Abramowitz and Stegun 7.1.26: right to 1.5·10⁻⁷.
#[must_use]
fn normal_share(z: f64) -> f64 {
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let series = [0.254_829_592, -0.284_496_736, 1.421_413_741, -1.453_152_027, 1.061_405_429];
    let sum = series.iter().rev().fold(0.0, |sum, term| (sum + term) * t);
    let tail = 0.5 * sum * (-x * x).exp();
    if z >= 0.0 { 1.0 - tail } else { tail }
}

/// First variance and noises of the filter of the idle power ratio.
const IDLE_VARIANCE: f64 = 0.01;
const IDLE_PROCESS: f64 = 1e-4;
const IDLE_MEASUREMENT: f64 = 1e-3;

#[derive(Debug, Clone, Copy)]
struct State {
    slowdown: Kalman,
    /// φ and M.
    idle_ratio: f64,
    idle_variance: f64,
    level: usize,
    sub_network: usize,
    targets_at_us: u64,
}

/// The manager.
#[derive(Debug)]
pub struct Alert<'s> {
    setting: Setting<'s>,
    states: Vec<State>,
    accuracies: Vec<Vec<u16>>,
}

impl<'s> Alert<'s> {
    /// A manager that knows nothing.
    #[must_use]
    pub fn new(setting: Setting<'s>, constants: Constants) -> Self {
        let count = setting.applications().len();
        let state = State {
            slowdown: Kalman::new(constants),
            idle_ratio: 0.3,
            idle_variance: IDLE_VARIANCE,
            level: 0,
            sub_network: 0,
            targets_at_us: 0,
        };
        let accuracies = (0..count).map(|index| setting.accuracies_bp(index)).collect();
        let mut alert = Self { setting, states: vec![state; count], accuracies };
        for application in 0..count {
            alert.choose(application, 0);
        }
        alert
    }

    /// Busy power of a configuration, W.
    fn busy_w(&self, application: usize, sub_network: usize, level: usize) -> f64 {
        let setting = &self.setting;
        let beyond = setting.energy_uj(application, sub_network, level)
            / setting.latency_us(application, sub_network, level);
        setting.idle_w(level) + beyond
    }

    /// The configuration with the least energy that keeps deadline and floor.
    fn choose(&mut self, application: usize, now_us: u64) {
        let setting = self.setting;
        let spec = &setting.applications()[application];
        let targets = spec.targets_at(now_us);
        let state = self.states[application];
        let deadline = f64::from(targets.deadline_us);
        let accuracies = &self.accuracies[application];
        let highest = accuracies.iter().copied().max().unwrap_or(0);
        let floor = targets.floor_bp.min(highest);
        let mut best: Option<(f64, usize, usize)> = None;
        let mut fastest: Option<(f64, usize, usize)> = None;
        for (sub_network, accuracy) in accuracies.iter().enumerate() {
            if *accuracy < floor {
                continue;
            }
            for level in 0..setting.levels().len() {
                let profiled = setting.latency_us(application, sub_network, level);
                let place = (profiled, sub_network, level);
                if fastest.is_none_or(|known| place.0 < known.0) {
                    fastest = Some(place);
                }
                if state.slowdown.at_most(deadline / profiled) < 1.0 - spec.miss_target {
                    continue;
                }
                let expected = state.slowdown.mean * profiled;
                let busy = self.busy_w(application, sub_network, level);
                let energy =
                    busy * expected + state.idle_ratio * busy * (deadline - expected).max(0.0);
                if best.is_none_or(|known| energy < known.0) {
                    best = Some((energy, sub_network, level));
                }
            }
        }
        if let Some((_, sub_network, level)) = best.or(fastest) {
            let state = &mut self.states[application];
            (state.sub_network, state.level, state.targets_at_us) = (sub_network, level, now_us);
        }
    }

    fn done(&mut self, now_us: u64, done: Done) {
        let Some(level) = done.level else { return };
        let profiled = self.setting.latency_us(done.application, done.sub_network, level);
        let busy = self.busy_w(done.application, done.sub_network, level);
        let idle = self.setting.idle_w(level);
        let state = &mut self.states[done.application];
        state.slowdown.take(done.latency_us as f64 / profiled);
        let prior = state.idle_variance + IDLE_PROCESS;
        let gain = prior / (prior + IDLE_MEASUREMENT);
        state.idle_ratio += gain * (idle / busy - state.idle_ratio);
        state.idle_variance = (1.0 - gain) * prior;
        self.choose(done.application, now_us);
    }
}

impl Manager for Alert<'_> {
    fn next_us(&self) -> Option<u64> {
        None
    }

    fn take(&mut self, seen: &Seen<'_>, event: Event) {
        match event {
            Event::Done(done) => self.done(seen.now_us, done),
            Event::Targets { application } => self.choose(application, seen.now_us),
            _ => {}
        }
    }

    fn orders(&self) -> Orders {
        let level = self.states.iter().map(|state| state.level).max().unwrap_or(0);
        let mut sub_networks = [None; MAX_APPLICATIONS];
        for (place, state) in sub_networks.iter_mut().zip(&self.states) {
            *place = Some(state.sub_network);
        }
        let clocks = self.setting.levels()[level];
        Orders { clocks, when: When::BetweenRequests, park: None, waits: false, sub_networks }
    }
}

#[cfg(test)]
mod tests {
    use super::{Constants, Kalman, normal_share};

    #[test]
    fn the_filter_does_the_worked_example() {
        let mut filter = Kalman::new(Constants::PUBLISHED);
        // Q = max(0.1, 0.3·0.1 + 0.7·0) = 0.1; prior = 0.5·0.1 + 0.1 = 0.15; K = 0.15/0.151.
        filter.take(1.2);
        assert!((filter.gain - 0.15 / 0.151).abs() < 1e-12);
        assert!((filter.mean - (1.0 + 0.2 * 0.15 / 0.151)).abs() < 1e-12);
        assert!((filter.variance - 0.15).abs() < 1e-12);
        // Q = max(0.1, 0.03 + 0.7·(0.2·K)²) = 0.1; prior = (1 − K)·0.15 + 0.1.
        let (gain, mean) = (filter.gain, filter.mean);
        filter.take(1.2);
        let prior = (1.0 - gain) * 0.15 + 0.1;
        assert!((filter.gain - prior / (prior + 1e-3)).abs() < 1e-12);
        assert!((filter.mean - (mean + (1.2 - mean) * filter.gain)).abs() < 1e-12);
    }

    #[test]
    fn published_constants_trust_the_last_value_and_doubt_it() {
        let mut filter = Kalman::new(Constants::PUBLISHED);
        (0..100).for_each(|_| filter.take(1.1));
        assert!(filter.gain > 0.98, "{}", filter.gain);
        assert!((filter.variance.sqrt() - 0.32).abs() < 0.01, "{}", filter.variance.sqrt());
    }

    #[test]
    fn the_normal_distribution_is_that_of_tables() {
        for (z, share) in [(0.0, 0.5), (1.0, 0.841_344_7), (-1.96, 0.024_997_9), (3.0, 0.998_650_1)]
        {
            assert!((normal_share(z) - share).abs() < 1e-6, "{z}: {}", normal_share(z));
        }
    }
}
