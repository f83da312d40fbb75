//! The caps on power that levels are held against.

use coshift_shared::units::NO_POWER_CAP;

/// Caps on power, mW.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PowerCaps {
    /// On the mean power of the level there is.
    pub plain_mw: u32,
    /// On the mean power of levels to be changed to without need.
    pub reserve_mw: u32,
    /// On the power over any [`crate::demand::CAP_WINDOW_US`], of the level there is.
    pub peak_mw: u32,
    /// The same of levels to be changed to without need.
    pub peak_reserve_mw: u32,
}

impl PowerCaps {
    /// No cap.
    pub const NONE: Self = Self {
        plain_mw: NO_POWER_CAP,
        reserve_mw: NO_POWER_CAP,
        peak_mw: NO_POWER_CAP,
        peak_reserve_mw: NO_POWER_CAP,
    };

    /// What `power_mw` and the temperature, on a plain level and with its reserve, leave. What is
    /// drawn for a tenth of a second moves no temperature: there the mean counts.
    #[must_use]
    pub fn new(power_mw: u32, thermal_mw: u32, thermal_reserve_mw: u32) -> Self {
        let less = |parts: u32| match power_mw {
            NO_POWER_CAP => NO_POWER_CAP,
            power_mw => power_mw.saturating_sub((power_mw >> 8).saturating_mul(parts)),
        };
        // 1/256 of the cap, so that noise at its edge does not make the level go to and fro; and
        // 1/256 because single requests vary around the mean, which a mean over many does not.
        let reserve_mw = less(1);
        Self {
            plain_mw: power_mw.min(thermal_mw),
            reserve_mw: reserve_mw.min(thermal_reserve_mw),
            peak_mw: less(1),
            peak_reserve_mw: less(2),
        }
    }
}
