//! Sentinels and fixed-point conversions of quantities on the wire.
//!
//! Units stand in the fields' names (`latency_us`, `power_mw`, `temp_mdeg_c`, `accuracy_bp` in
//! 0.01 %). What remains is here.

/// A level that is not one of the board's list: more than 3 % off every tuple. Shown, not learned
/// from.
pub const NO_LEVEL: u8 = 255;
/// No sub-network: the application slot is empty, or its application came after what stands was
/// decided.
pub const NO_SUB_NETWORK: u8 = 255;
/// Most applications at once.
pub const MAX_APPLICATIONS: usize = 4;
/// Most levels of a policy.
pub const MAX_LEVELS: usize = 32;
/// Most sub-networks of one application table.
pub const MAX_SUB_NETWORKS: usize = 16;
/// A cap that does not bind (power, mW).
pub const NO_POWER_CAP: u32 = u32::MAX;
/// A cap that does not bind (temperature, m°C).
pub const NO_TEMP_CAP: i32 = i32::MAX;

/// Age of a reading in steps of 10 ms; [`Age::MISSING`] where there is no reading.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    postcard_schema::Schema,
)]
pub struct Age(pub u8);

impl Age {
    /// Taken within the last 10 ms.
    pub const FRESH: Self = Self(0);
    /// No valid reading.
    pub const MISSING: Self = Self(255);

    /// The age of a reading taken `us` microseconds ago, saturating at 2.54 s.
    #[must_use]
    pub fn from_us(us: u32) -> Self {
        Self(u8::try_from(us.checked_div(10_000).unwrap_or(0)).unwrap_or(254).min(254))
    }

    /// The age in microseconds; `None` where the reading is missing.
    #[must_use]
    pub fn us(self) -> Option<u32> {
        (self.0 != 255).then(|| u32::from(self.0).saturating_mul(10_000))
    }
}

/// A slowdown on the wire: measured ÷ expected latency in Q4.12, little-endian byte pair.
/// Zero means "not to be learned from" (settle window, level 255).
pub mod slowdown {
    /// Bytes of "not to be learned from".
    pub const NOT_LEARNED: [u8; 2] = [0, 0];

    /// `measured_us ÷ expected_us` in Q4.12, rounded to nearest, saturating at 15.9998; never 0,
    /// so that it cannot be mistaken for [`NOT_LEARNED`]. An `expected_us` of 0 gives
    /// [`NOT_LEARNED`].
    #[must_use]
    pub fn to_wire(measured_us: u32, expected_us: u32) -> [u8; 2] {
        let scaled = (u64::from(measured_us) << 12).saturating_add(u64::from(expected_us >> 1));
        match scaled.checked_div(u64::from(expected_us)) {
            None => NOT_LEARNED,
            Some(ratio) => u16::try_from(ratio).unwrap_or(u16::MAX).max(1).to_le_bytes(),
        }
    }

    /// The slowdown in Q8.24; `None` where the sample is not to be learned from.
    #[must_use]
    pub fn from_wire(sample: [u8; 2]) -> Option<u32> {
        let ratio = u16::from_le_bytes(sample);
        (ratio != 0).then(|| u32::from(ratio) << 12)
    }
}

#[cfg(test)]
mod tests {
    use super::{Age, slowdown};

    #[test]
    fn slowdown_rounds_and_saturates() {
        assert_eq!(slowdown::to_wire(1000, 1000), 4096_u16.to_le_bytes());
        assert_eq!(slowdown::to_wire(3, 2), 6144_u16.to_le_bytes());
        assert_eq!(slowdown::to_wire(u32::MAX, 1), u16::MAX.to_le_bytes());
        assert_eq!(slowdown::to_wire(0, 1000), 1_u16.to_le_bytes());
        assert_eq!(slowdown::to_wire(1000, 0), slowdown::NOT_LEARNED);
    }

    #[test]
    fn slowdown_is_the_nearest_one() {
        for (measured_us, expected_us, nearest) in [
            // 2730.67, 1365.33, 2.5 and 3.5 (a half goes up), 1 and 65535 at the ends.
            (2, 3, 2731),
            (1, 3, 1365),
            (5, 8192, 3),
            (7, 8192, 4),
            (1, 8193, 1),
            (1, 1_000_000, 1),
            (65_535, 4096, 65_535),
            (65_536, 4096, 65_535),
            (u32::MAX, u32::MAX, 4096),
            (u32::MAX - 1, u32::MAX, 4096),
        ] {
            let wire = slowdown::to_wire(measured_us, expected_us);
            assert_eq!(u16::from_le_bytes(wire), nearest, "{measured_us} of {expected_us}");
        }
    }

    #[test]
    fn slowdown_of_one_is_one_in_q8_24() {
        assert_eq!(slowdown::from_wire(slowdown::to_wire(777, 777)), Some(1 << 24));
        assert_eq!(slowdown::from_wire(slowdown::NOT_LEARNED), None);
    }

    #[test]
    fn ages_saturate_below_missing() {
        assert_eq!(Age::from_us(0), Age::FRESH);
        assert_eq!((Age::from_us(9_999), Age::from_us(10_000)), (Age::FRESH, Age(1)));
        assert_eq!(Age::from_us(50_000), Age(5));
        assert_eq!((Age::from_us(2_539_999), Age::from_us(2_540_000)), (Age(253), Age(254)));
        // 255 steps are old, not missing.
        assert_eq!(Age::from_us(2_550_000), Age(254));
        assert_eq!(Age::from_us(u32::MAX), Age(254));
        assert_eq!(Age::MISSING.us(), None);
        assert_eq!(Age(5).us(), Some(50_000));
    }
}
