//! Wrapping microseconds: [`Instant`] and [`Duration`].
//!
//! A `u32` of microseconds wraps after 71.6 minutes. Instants are compared by their wrapping
//! distance, so two of them are in order as long as they lie less than 35 minutes apart. Every
//! build starts its clock at [`Instant::START`], five seconds before the wrap, so that the wrap is
//! exercised by every run and not first by a user's.

/// A point of the agent's time, in microseconds, wrapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Instant(u32);

/// A span of time, in microseconds, at most half the wrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Duration(u32);

impl Instant {
    /// Where every clock starts: five seconds before the wrap.
    pub const START: Self = Self(u32::MAX - 5_000_000 + 1);

    /// The instant of a wire time stamp.
    #[must_use]
    pub const fn from_us(us: u32) -> Self {
        Self(us)
    }

    /// The wire time stamp.
    #[must_use]
    pub const fn us(self) -> u32 {
        self.0
    }

    /// Time passed since `earlier`; zero where `earlier` is in fact later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        let distance = self.0.wrapping_sub(earlier.0);
        if distance > Duration::MAX.0 { Duration::ZERO } else { Duration(distance) }
    }

    /// Whether `self` is at or after `other`.
    #[must_use]
    pub const fn reached(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0) <= Duration::MAX.0
    }

    /// The instant `span` later.
    #[must_use]
    pub const fn after(self, span: Duration) -> Self {
        Self(self.0.wrapping_add(span.0))
    }
}

impl Duration {
    /// No time.
    pub const ZERO: Self = Self(0);
    /// Half the wrap: 35.8 minutes.
    pub const MAX: Self = Self(u32::MAX / 2);

    /// A span of microseconds, capped at [`Duration::MAX`].
    #[must_use]
    pub const fn from_us(us: u32) -> Self {
        if us > Self::MAX.0 { Self::MAX } else { Self(us) }
    }

    /// A span of milliseconds, capped at [`Duration::MAX`].
    #[must_use]
    pub const fn from_ms(ms: u32) -> Self {
        Self::from_us(ms.saturating_mul(1000))
    }

    /// The span in microseconds.
    #[must_use]
    pub const fn us(self) -> u32 {
        self.0
    }

    /// `self` `count` times, capped at [`Duration::MAX`].
    #[must_use]
    pub const fn times(self, count: u32) -> Self {
        Self::from_us(self.0.saturating_mul(count))
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Instant};

    #[test]
    fn order_holds_across_the_wrap() {
        for start in [0, u32::MAX - 1, u32::MAX / 2, u32::MAX / 2 + 1, Instant::START.us()] {
            let early = Instant::from_us(start);
            let late = early.after(Duration::from_ms(10));
            assert!(late.reached(early), "{start}");
            assert!(!early.reached(late), "{start}");
            assert!(early.reached(early), "{start}");
            assert_eq!(late.since(early).us(), 10_000, "{start}");
            assert_eq!(early.since(late), Duration::ZERO, "{start}");
        }
    }

    #[test]
    fn the_clock_wraps_within_six_seconds_of_its_start() {
        let later = Instant::START.after(Duration::from_ms(6000));
        assert!(later.us() < Instant::START.us());
    }

    #[test]
    fn spans_saturate() {
        assert_eq!(Duration::from_us(u32::MAX), Duration::MAX);
        assert_eq!(Duration::from_ms(u32::MAX), Duration::MAX);
        assert_eq!(Duration::from_ms(50).times(u32::MAX), Duration::MAX);
    }
}
