//! The agent's time: microseconds since its start, never wrapping.
//!
//! On the wire stands [`Time::stamp`], the wrapping 32-bit stamp that starts at
//! [`Instant::START`]. Nothing in the library reads a clock: time is an argument, so that the same
//! code runs in real and in virtual time.

use coshift_shared::time::Instant;

/// A point of the agent's time, µs since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// The agent's start.
    pub const START: Self = Self(0);

    /// The time `us` microseconds after the start.
    #[must_use]
    pub const fn from_us(us: u64) -> Self {
        Self(us)
    }

    /// The time `ms` milliseconds after the start.
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms.saturating_mul(1000))
    }

    /// Microseconds since the start.
    #[must_use]
    pub const fn us(self) -> u64 {
        self.0
    }

    /// The time `us` microseconds later.
    #[must_use]
    pub const fn after_us(self, us: u64) -> Self {
        Self(self.0.saturating_add(us))
    }

    /// Microseconds passed since `earlier`; 0 where `earlier` is in fact later.
    #[must_use]
    pub const fn us_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The stamp on the wire: wrapping, from [`Instant::START`].
    #[must_use]
    pub const fn stamp(self) -> Instant {
        // Masked first, so that nothing but the wrapping 32 bits are dropped.
        Instant::from_us(Instant::START.us().wrapping_add((self.0 & u32::MAX as u64) as u32))
    }
}

#[cfg(test)]
mod tests {
    use coshift_shared::time::Instant;

    use super::Time;

    #[test]
    fn stamps_start_before_the_wrap_and_wrap() {
        assert_eq!(Time::START.stamp(), Instant::START);
        assert_eq!(Time::from_ms(5000).stamp(), Instant::from_us(0));
        let hours = Time::from_ms(1000 * 3600 * 30);
        assert_eq!(hours.after_us(7).stamp().since(hours.stamp()).us(), 7);
    }
}
