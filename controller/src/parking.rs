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

/// More than this is not counted on, mW: no board with so much to save parks.
const MOST_ABOVE_MW: u32 = u32::MAX / 1000;

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
        let settle_us = self.settle.between(&self.park, run);
        if settle_us == 0 {
            return Idle::awake(run.idle_mw);
        }
        let cost_us = u64::from(settle_us.saturating_add(WAKE_SLACK_US));
        let cost = cost_us.saturating_mul(u64::from(self.rate_q16)) >> 16;
        Idle::parked(self.park.idle_mw, run.idle_mw, u32::try_from(cost).unwrap_or(u32::MAX))
    }
}

/// What a board draws at one level with nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Idle {
    /// Without parking, mW.
    awake_mw: u32,
    /// So much of it is not drawn parked, mW; at most [`MOST_ABOVE_MW`].
    above_mw: u32,
    /// Time that parking costs, 0.1 %.
    cost_permille: u32,
    /// It parks where the utilisation is under this, 0.1 %.
    parks_under: u32,
}

impl Idle {
    /// Of a board that does not park.
    #[must_use]
    pub fn awake(idle_mw: u32) -> Self {
        Self { awake_mw: idle_mw, above_mw: 0, cost_permille: 0, parks_under: 0 }
    }

    /// Of one that draws `park_mw` parked, `awake_mw` otherwise, and has so much of its time taken
    /// by parking, 0.1 %.
    #[must_use]
    pub fn parked(park_mw: u32, awake_mw: u32, cost_permille: u32) -> Self {
        let above_mw = awake_mw.saturating_sub(park_mw);
        if above_mw > MOST_ABOVE_MW {
            return Self::awake(awake_mw);
        }
        let parks_under = 1000_u32.saturating_sub(cost_permille.saturating_mul(2));
        Self { awake_mw, above_mw, cost_permille, parks_under }
    }

    /// The mean with this utilisation (0.1 %), mW. Rises with the utilisation.
    #[must_use]
    pub fn mw(&self, utilisation_permille: u32) -> u32 {
        match self.unparked_mw(utilisation_permille) {
            Some(unparked_mw) => self.parked_mw().saturating_add(unparked_mw),
            None => self.awake_mw,
        }
    }

    /// Without parking, mW.
    #[must_use]
    pub fn awake_mw(&self) -> u32 {
        self.awake_mw
    }

    /// Parked all the time, mW.
    #[must_use]
    pub fn parked_mw(&self) -> u32 {
        self.awake_mw.saturating_sub(self.above_mw)
    }

    /// What is drawn beyond that with this utilisation (0.1 %), since it is not parked all the
    /// time, mW; `None` where it does not park.
    #[must_use]
    #[inline]
    pub fn unparked_mw(&self, utilisation_permille: u32) -> Option<u32> {
        if utilisation_permille >= self.parks_under {
            return None;
        }
        // Less than 1000, so that 32 bits are enough; their division is one instruction.
        let share_permille = utilisation_permille.saturating_add(self.cost_permille);
        self.above_mw.saturating_mul(share_permille).checked_div(1000)
    }
}
