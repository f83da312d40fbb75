//! The runtime manager of Dynamic-OFA (Lou et al.; UoS-EEC/DynamicOFA at commit 349461f4) over the
//! stock governors: the sub-network goes one down when the mean latency of the last window is above
//! the constraint, one up when it is below. No clocks, no accuracy floor, no hysteresis in the
//! public script. Its window is not known to us: 20 requests are assumed; the constraint is the
//! deadline.

use coshift_shared::units::MAX_APPLICATIONS;

use super::governed::of_board;
use super::{Event, Manager, Orders, Seen, Setting, When};
use crate::simulate::{ClockManager, Stock};

/// Requests of a window.
pub(super) const WINDOW: usize = 20;

/// The rule of one application.
#[derive(Debug, Clone, Default)]
struct Rule {
    sub_network: usize,
    sum_us: u64,
    count: usize,
}

impl Rule {
    /// Takes in a response; `last` is the largest sub-network.
    fn take(&mut self, response_us: u64, constraint_us: u64, last: usize) {
        self.sum_us += response_us;
        self.count += 1;
        if self.count < WINDOW {
            return;
        }
        let limit = constraint_us * WINDOW as u64;
        if self.sum_us > limit {
            self.sub_network = self.sub_network.saturating_sub(1);
        } else if self.sum_us < limit {
            self.sub_network = (self.sub_network + 1).min(last);
        }
        (self.sum_us, self.count) = (0, 0);
    }
}

/// The manager.
#[derive(Debug)]
pub struct DynamicOfa<'s> {
    setting: Setting<'s>,
    governors: Stock,
    rules: Vec<Rule>,
}

impl<'s> DynamicOfa<'s> {
    /// Starts with the best-fitting sub-networks.
    #[must_use]
    pub fn new(setting: Setting<'s>, governors: Stock) -> Self {
        let rule = |application: usize| {
            let floor = setting.applications()[application].targets_at(0).floor_bp;
            Rule { sub_network: setting.best_fitting(application, floor), ..Rule::default() }
        };
        let rules = (0..setting.applications().len()).map(rule).collect();
        Self { setting, governors, rules }
    }
}

impl Manager for DynamicOfa<'_> {
    fn next_us(&self) -> Option<u64> {
        self.governors.next_us()
    }

    fn take(&mut self, seen: &Seen<'_>, event: Event) {
        if let Event::Done(done) = event {
            let targets = self.setting.applications()[done.application].targets_at(seen.now_us);
            let last = self.setting.accuracies_bp(done.application).len() - 1;
            let deadline = u64::from(targets.deadline_us);
            self.rules[done.application].take(done.response_us, deadline, last);
        }
        self.governors.step(&of_board(seen));
    }

    fn orders(&self) -> Orders {
        let mut sub_networks = [None; MAX_APPLICATIONS];
        for (place, rule) in sub_networks.iter_mut().zip(&self.rules) {
            *place = Some(rule.sub_network);
        }
        let clocks = self.governors.asked();
        Orders { clocks, when: When::AtOnce, park: None, waits: false, sub_networks }
    }
}

#[cfg(test)]
mod tests {
    use super::{Rule, WINDOW};

    #[test]
    fn it_goes_one_down_above_the_constraint_and_one_up_below() {
        let mut rule = Rule { sub_network: 3, ..Rule::default() };
        let mut window = |response: u64| {
            (0..WINDOW).for_each(|_| rule.take(response, 50_000, 4));
            rule.sub_network
        };
        assert_eq!([window(50_001), window(60_000), window(50_000)], [2, 1, 1]);
        assert_eq!([window(40_000), window(1), window(1), window(1)], [2, 3, 4, 4]);
    }
}
