//! Microseconds from a free-running hardware counter.

use coshift_shared::time::Instant;

/// Counts of the hardware timer per microsecond: it runs at the board's 25 MHz.
pub const TICKS_PER_US: u32 = 25;

/// Turns readings of a 32-bit up-counter into wrapping microseconds.
///
/// The counter wraps every 171.8 s and microseconds every 71.6 min, at unrelated times; both are
/// handled by differences. A reading is needed at least once per wrap of the counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TickClock {
    /// Counter at the last reading.
    ticks: u32,
    /// Microseconds at the last reading.
    us: u32,
    /// Ticks since then that make no whole microsecond, 0 to 24.
    rest: u32,
}

impl TickClock {
    /// A clock that shows [`Instant::START`] at this reading of the counter.
    #[must_use]
    pub const fn start(ticks: u32) -> Self {
        Self { ticks, us: Instant::START.us(), rest: 0 }
    }

    /// Takes in a reading of the counter and gives the time, in wrapping microseconds.
    pub fn advance(&mut self, ticks: u32) -> u32 {
        let passed = ticks.wrapping_sub(self.ticks);
        self.ticks = ticks;
        let whole = passed.wrapping_div(TICKS_PER_US);
        // At most 24 + 24.
        let rest = self.rest.wrapping_add(passed.wrapping_rem(TICKS_PER_US));
        self.us = self.us.wrapping_add(whole).wrapping_add(rest.wrapping_div(TICKS_PER_US));
        self.rest = rest.wrapping_rem(TICKS_PER_US);
        self.us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_starts_near_the_wrap() {
        let mut clock = TickClock::start(7);
        assert_eq!(clock.advance(7), Instant::START.us());
        // Six seconds later the microseconds have wrapped.
        assert_eq!(clock.advance(7 + 6_000_000 * TICKS_PER_US), 1_000_000);
    }

    #[test]
    fn the_wrap_of_the_counter_is_not_seen() {
        let mut clock = TickClock::start(u32::MAX - 24);
        assert_eq!(clock.advance(u32::MAX), Instant::START.us());
        assert_eq!(clock.advance(0), Instant::START.us().wrapping_add(1));
    }

    #[test]
    fn fractions_are_kept_over_any_number_of_readings() {
        // 3 does not divide 25: every reading leaves a rest.
        let (mut often, mut once) = (TickClock::start(0), TickClock::start(0));
        let mut last = 0;
        for step in 1..=1_000_000_u32 {
            last = often.advance(step * 3);
        }
        assert_eq!(last, once.advance(3_000_000));
        assert_eq!(last.wrapping_sub(Instant::START.us()), 120_000);
    }

    #[test]
    fn the_longest_gap_between_readings_is_one_wrap_of_the_counter() {
        let mut clock = TickClock::start(0);
        let us = clock.advance(u32::MAX).wrapping_sub(Instant::START.us());
        assert_eq!(us, u32::MAX / TICKS_PER_US);
    }
}
