//! What a board draws with nothing to do when it parks between requests.
//!
//! A parked board idles at the park level, but for the time that requests run and for what each of
//! them costs in changes: the settle window on the way down, and the slack by which the agent wakes
//! it too early, both at the run level's idle power (the window on the way up is the park level's).
//! With `u` the utilisation, `r` the requests a µs and `c = settle + slack`:
//!
//! ```text
//! idle = park + (run − park)·(u + r·c)      where 1 − u > 2·r·c, else run
//! ```
//!
//! The condition is the agent's own: it parks where the mean gap `(1 − u)/r` is longer than two
//! changes.

use coshift_shared::policy::{Level, PolicyView, Settle};

use crate::device::Slots;

/// How much earlier than its clocks need the agent wakes a board, µs.
const WAKE_SLACK_US: u32 = 2_000;

/// Parking, as the policy and the applications have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parking {
    park: Level,
    settle: Settle,
    /// Requests of all applications, 0.1 % of the time per µs that each takes, Q16.
    rate_q16: u32,
}

impl Parking {
    /// Parking of these applications; `None` where the policy has no park level.
    #[must_use]
    pub fn new(policy: &PolicyView<'_>, slots: &Slots) -> Option<Self> {
        let park = policy.level(policy.park_level()?)?;
        let mut rate_q16 = 0_u32;
        for application in slots.iter().flatten() {
            let rate = (1000_u32 << 16).checked_div(application.targets.period_us);
            rate_q16 = rate_q16.saturating_add(rate.unwrap_or(u32::MAX));
        }
        Some(Self { park, settle: policy.settle(), rate_q16 })
    }

    /// Mean power with nothing to do, mW, of a board at `run` with this utilisation (0.1 %). Rises
    /// with the utilisation.
    #[must_use]
    pub fn idle_mw(&self, run: &Level, utilisation_permille: u32) -> u32 {
        let above_mw = run.idle_mw.saturating_sub(self.park.idle_mw);
        let settle_us = self.settle.between(&self.park, run);
        if above_mw == 0 || settle_us == 0 {
            return run.idle_mw;
        }
        let cost_us = u64::from(settle_us.saturating_add(WAKE_SLACK_US));
        let cost = cost_us.saturating_mul(u64::from(self.rate_q16)) >> 16;
        let cost_permille = u32::try_from(cost).unwrap_or(u32::MAX);
        let free_permille = 1000_u32.saturating_sub(utilisation_permille);
        if free_permille <= cost_permille.saturating_mul(2) {
            return run.idle_mw;
        }
        let share_permille = utilisation_permille.saturating_add(cost_permille);
        let above_mw = u64::from(above_mw).saturating_mul(u64::from(share_permille)) / 1000;
        self.park.idle_mw.saturating_add(u32::try_from(above_mw).unwrap_or(u32::MAX))
    }
}
