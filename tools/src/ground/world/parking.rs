//! When the agent parks the board between requests.
//!
//! As the agent does it where every release is known: parked when the next release is far enough
//! for two changes of clocks with their slack, and woken one change with its slack before it. Where
//! a release is not known, the board is parked at once if the mean wait for the next request is
//! 45 ms or more, and woken by the request, which waits until its clocks are in force.

use coshift_plant::board::{Level, Settle};

/// How much earlier than its clocks need the board is woken, µs: what a timer may be late by.
pub const WAKE_SLACK_US: u64 = 2_000;
/// Mean wait from which parking pays where the next release is not known, µs.
pub const UNKNOWN_GAP_US: f64 = 45_000.0;

/// Settle time of a change of clocks, µs: the longest of those that change.
#[must_use]
pub fn settle_us(settle: &Settle, from: &Level, to: &Level) -> u64 {
    let knobs = [
        (from.cpu_khz != to.cpu_khz, settle.cpu_us),
        (from.gpu_khz != to.gpu_khz, settle.gpu_us),
        (from.emc_khz != to.emc_khz, settle.emc_us),
    ];
    let longest = knobs.into_iter().filter(|(changes, _)| *changes).map(|(_, us)| us).max();
    u64::from(longest.unwrap_or(0))
}

/// What is known of the next requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Outlook {
    /// The earliest release that is known, µs.
    pub(super) known_us: Option<u64>,
    /// Mean wait for a request whose release is not known, µs.
    pub(super) unknown_us: Option<f64>,
}

impl Outlook {
    /// When a board parked at `park` has to be asked for `run`; `None` = when a request comes.
    pub(super) fn wake_us(&self, wake: u64) -> Option<u64> {
        self.known_us.map(|release| release.saturating_sub(wake))
    }

    /// Whether an idle board should be at its park clocks.
    pub(super) fn parks(&self, now_us: u64, wake: u64, parked: bool) -> bool {
        if self.unknown_us.is_some_and(|mean| mean < UNKNOWN_GAP_US) {
            return false;
        }
        match self.wake_us(wake) {
            Some(at) if parked => now_us < at,
            Some(at) => now_us + wake < at,
            None => self.unknown_us.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use coshift_plant::board::{Level, Settle};

    use super::{Outlook, settle_us};

    #[test]
    fn the_slowest_knob_counts() {
        let settle = Settle { cpu_us: 1000, gpu_us: 5000, emc_us: 8000 };
        let at = |cpu_khz, gpu_khz, emc_khz| Level { cpu_khz, gpu_khz, emc_khz };
        assert_eq!(settle_us(&settle, &at(1, 1, 1), &at(1, 1, 1)), 0);
        assert_eq!(settle_us(&settle, &at(1, 1, 1), &at(2, 1, 1)), 1000);
        assert_eq!(settle_us(&settle, &at(1, 1, 1), &at(2, 2, 1)), 5000);
        assert_eq!(settle_us(&settle, &at(1, 1, 1), &at(1, 2, 2)), 8000);
    }

    #[test]
    fn a_known_release_is_waited_for_and_an_unknown_one_must_be_far_on_average() {
        let known = Outlook { known_us: Some(100_000), unknown_us: None };
        assert!(known.parks(85_999, 7_000, false));
        assert!(!known.parks(86_000, 7_000, false));
        assert!(known.parks(92_999, 7_000, true));
        assert!(!known.parks(93_000, 7_000, true));
        let unknown = |mean| Outlook { known_us: None, unknown_us: Some(mean) };
        assert!(unknown(45_000.0).parks(0, 7_000, false));
        assert!(!unknown(44_000.0).parks(0, 7_000, false));
        // Both: the known one is not slept through.
        let both = Outlook { known_us: Some(10_000), unknown_us: Some(90_000.0) };
        assert!(!both.parks(0, 7_000, false));
    }
}
