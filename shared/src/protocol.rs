//! Versions of the protocol and how the two sides settle on one.
//!
//! A side names the range it speaks, `MIN..=CURRENT`, in Hello and Welcome, whose own layout never
//! changes. Both then send in the highest version that both ranges hold. Ranges that do not meet:
//! each side reports both ranges and holds; the agent decides by its twin.
//!
//! To change the protocol: append variants and kinds only, raise [`CURRENT`], add a golden file
//! for the new version beside the old ones, and raise [`MIN`] only when an old version is dropped.

/// Oldest version this build understands.
pub const MIN: u8 = 1;
/// Version this build speaks when the other side does too.
pub const CURRENT: u8 = 1;

/// A range of protocol versions, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionRange {
    /// Oldest version understood.
    pub min: u8,
    /// Newest version understood.
    pub current: u8,
}

impl VersionRange {
    /// What this build speaks.
    pub const OURS: Self = Self { min: MIN, current: CURRENT };

    /// The version to speak with a side of range `other`; `None` where the ranges do not meet.
    #[must_use]
    pub fn settle(self, other: Self) -> Option<u8> {
        let newest = self.current.min(other.current);
        let oldest = self.min.max(other.min);
        (newest >= oldest).then_some(newest)
    }

    /// Whether `version` lies in the range.
    #[must_use]
    pub fn holds(self, version: u8) -> bool {
        (self.min..=self.current).contains(&version)
    }
}

#[cfg(test)]
mod tests {
    use super::VersionRange;

    fn range(min: u8, current: u8) -> VersionRange {
        VersionRange { min, current }
    }

    #[test]
    fn settles_on_the_newest_common_version() {
        assert_eq!(range(1, 3).settle(range(2, 5)), Some(3));
        assert_eq!(range(2, 5).settle(range(1, 3)), Some(3));
        assert_eq!(range(1, 1).settle(range(1, 1)), Some(1));
    }

    #[test]
    fn ranges_that_do_not_meet_settle_on_nothing() {
        assert_eq!(range(1, 2).settle(range(3, 4)), None);
        assert_eq!(range(3, 4).settle(range(1, 2)), None);
    }
}
