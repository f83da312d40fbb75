//! PI control of latency by the clocks, in the manner of POET (Imes et al.): what remains of it where
//! its Kalman filter and linear program are left out. A feedback of our own making, as a baseline for
//! control without a guard: proportional and integral on the logarithm of the speed, towards 90 % of
//! the deadline. The sub-network is the least accurate one at the floor. With several applications
//! the highest speed counts.

use coshift_shared::units::MAX_APPLICATIONS;

use super::{Event, Manager, Orders, Seen, Setting, When};

/// Share of the deadline that is aimed at.
pub(super) const SETPOINT: f64 = 0.9;
/// Proportional gain.
pub(super) const PROPORTIONAL: f64 = 0.3;
/// Integral gain.
pub(super) const INTEGRAL: f64 = 0.15;

/// The controller of one application.
#[derive(Debug, Clone, Copy)]
struct Loop {
    /// ln of the speed, relative to the slowest level.
    speed: f64,
    before: f64,
}

impl Loop {
    fn take(&mut self, response_us: f64, deadline_us: f64, most: f64) {
        let error = response_us / (SETPOINT * deadline_us) - 1.0;
        let change = PROPORTIONAL * (error - self.before) + INTEGRAL * error;
        self.speed = (self.speed + change).clamp(0.0, most);
        self.before = error;
    }
}

/// The manager.
#[derive(Debug)]
pub struct Pi<'s> {
    setting: Setting<'s>,
    loops: Vec<Loop>,
    /// `speeds[application][level]`: ln of the speed of the smallest sub-network.
    speeds: Vec<Vec<f64>>,
    sub_networks: [Option<usize>; MAX_APPLICATIONS],
    level: usize,
}

impl<'s> Pi<'s> {
    /// Starts at the fastest level.
    #[must_use]
    pub fn new(setting: Setting<'s>) -> Self {
        let of = |application: usize| -> Vec<f64> {
            let latency = |level| setting.latency_us(application, 0, level);
            let slowest = (0..setting.levels().len()).map(latency).fold(0.0, f64::max);
            (0..setting.levels().len()).map(|level| (slowest / latency(level)).ln()).collect()
        };
        let speeds: Vec<Vec<f64>> = (0..setting.applications().len()).map(of).collect();
        let top = |speeds: &Vec<f64>| speeds.iter().copied().fold(0.0, f64::max);
        let loops = speeds.iter().map(|speeds| Loop { speed: top(speeds), before: 0.0 }).collect();
        let level = setting.levels().len() - 1;
        let mut pi = Self { setting, loops, speeds, sub_networks: [None; MAX_APPLICATIONS], level };
        for application in 0..pi.loops.len() {
            pi.retarget(application, 0);
        }
        pi
    }

    fn retarget(&mut self, application: usize, now_us: u64) {
        let targets = self.setting.applications()[application].targets_at(now_us);
        let chosen = self.setting.best_fitting(application, targets.floor_bp);
        self.sub_networks[application] = Some(chosen);
    }

    /// The level with the least busy power that is fast enough for everyone.
    fn settle(&mut self) {
        let busy_w = |level: usize| {
            let sub_network = self.sub_networks[0].unwrap_or(0);
            let latency = self.setting.latency_us(0, sub_network, level);
            self.setting.idle_w(level) + self.setting.energy_uj(0, sub_network, level) / latency
        };
        let fast = |level: &usize| {
            self.loops
                .iter()
                .zip(&self.speeds)
                .all(|(control, speeds)| speeds[*level] >= control.speed - 1e-9)
        };
        let levels = (0..self.setting.levels().len()).filter(fast);
        let least = levels.min_by(|a, b| busy_w(*a).total_cmp(&busy_w(*b)));
        self.level = least.unwrap_or(self.setting.levels().len() - 1);
    }
}

impl Manager for Pi<'_> {
    fn next_us(&self) -> Option<u64> {
        None
    }

    fn take(&mut self, seen: &Seen<'_>, event: Event) {
        match event {
            Event::Targets { application } => self.retarget(application, seen.now_us),
            Event::Done(done) => {
                let targets = self.setting.applications()[done.application].targets_at(seen.now_us);
                let most = self.speeds[done.application].iter().copied().fold(0.0, f64::max);
                let deadline = f64::from(targets.deadline_us);
                self.loops[done.application].take(done.response_us as f64, deadline, most);
                self.settle();
            }
            _ => {}
        }
    }

    fn orders(&self) -> Orders {
        let clocks = self.setting.levels()[self.level];
        let sub_networks = self.sub_networks;
        Orders { clocks, when: When::BetweenRequests, park: None, waits: false, sub_networks }
    }
}

#[cfg(test)]
mod tests {
    use super::{INTEGRAL, Loop, PROPORTIONAL};

    #[test]
    fn it_does_the_worked_example_and_settles_at_the_setpoint() {
        let mut control = Loop { speed: 1.0, before: 0.0 };
        // 90 ms of 100 ms is the setpoint; 99 ms is 10 % over it.
        control.take(99_000.0, 100_000.0, 3.0);
        assert!((control.speed - (1.0 + (PROPORTIONAL + INTEGRAL) * 0.1)).abs() < 1e-9);
        // A plant of 180 ms at speed e^0: the setpoint is reached at ln 2.
        let mut control = Loop { speed: 3.0, before: 0.0 };
        for _ in 0..200 {
            let response = 180_000.0 / control.speed.exp();
            control.take(response, 100_000.0, 3.0);
        }
        assert!((control.speed - 2.0_f64.ln()).abs() < 1e-3, "{}", control.speed);
    }
}
