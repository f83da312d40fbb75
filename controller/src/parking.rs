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

    /// What is idle at `run`.
    #[must_use]
    pub fn idle(&self, run: &Level) -> Idle {
        let above_mw = run.idle_mw.saturating_sub(self.park.idle_mw);
        let settle_us = self.settle.between(&self.park, run);
        if above_mw == 0 || settle_us == 0 {
            return Idle::awake(run.idle_mw);
        }
        let cost_us = u64::from(settle_us.saturating_add(WAKE_SLACK_US));
        let cost = cost_us.saturating_mul(u64::from(self.rate_q16)) >> 16;
        let cost_permille = u32::try_from(cost).unwrap_or(u32::MAX);
        Idle { least_mw: self.park.idle_mw, above_mw, cost_permille }
    }
}

/// Power of a board at one level with nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Idle {
    /// Parked, or where that is never worth it, at the level.
    least_mw: u32,
    /// So much more at the level.
    above_mw: u32,
    /// Time that parking costs, 0.1 %.
    cost_permille: u32,
}

impl Idle {
    /// Of a board that does not park.
    #[must_use]
    pub fn awake(idle_mw: u32) -> Self {
        Self { least_mw: idle_mw, above_mw: 0, cost_permille: 0 }
    }

    /// Its mean with this utilisation (0.1 %), mW. Rises with the utilisation.
    #[must_use]
    pub fn mw(&self, utilisation_permille: u32) -> u32 {
        if self.above_mw == 0 {
            return self.least_mw;
        }
        let free_permille = 1000_u32.saturating_sub(utilisation_permille);
        if free_permille <= self.cost_permille.saturating_mul(2) {
            return self.least_mw.saturating_add(self.above_mw);
        }
        let share_permille = utilisation_permille.saturating_add(self.cost_permille);
        // In 32 bits, whose division is an instruction; a board of four kilowatts does not park.
        let above_mw = self.above_mw.saturating_mul(share_permille).checked_div(1000).unwrap_or(0);
        self.least_mw.saturating_add(above_mw)
    }
}
