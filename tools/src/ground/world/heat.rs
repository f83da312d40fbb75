//! What the board does against heat by itself: the kernel's step_wise governor on the GPU clock.
//!
//! Every second (passive polling of the hottest zone): at or above the trip point one clock of the
//! table less may be used, below it (by 2 K, so that it does not chatter) one more.

/// Polling, µs.
pub(super) const POLL_US: u64 = 1_000_000;
/// How far below the trip point clocks are given back, K.
const GIVE_BACK_K: f64 = 2.0;

/// Throttling by heat.
#[derive(Debug, Clone)]
pub(super) struct Heat {
    table: Vec<u32>,
    trip_c: f64,
    /// Clocks taken away.
    taken: usize,
    pub(super) next_us: u64,
}

impl Heat {
    /// `table` are the GPU clocks, kHz, ascending.
    pub(super) fn new(table: &[u32], trip_c: f64) -> Self {
        Self { table: table.to_vec(), trip_c, taken: 0, next_us: POLL_US }
    }

    pub(super) fn poll(&mut self, now_us: u64, temp_c: f64) {
        self.next_us = now_us + POLL_US;
        if temp_c >= self.trip_c {
            self.taken = (self.taken + 1).min(self.table.len().saturating_sub(1));
        } else if temp_c < self.trip_c - GIVE_BACK_K {
            self.taken = self.taken.saturating_sub(1);
        }
    }

    /// Highest GPU clock left, kHz.
    pub(super) fn highest_khz(&self) -> u32 {
        let place = self.table.len().saturating_sub(1 + self.taken);
        self.table.get(place).copied().unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::Heat;

    #[test]
    fn clocks_go_and_come_back_one_a_second() {
        let mut heat = Heat::new(&[100, 200, 300], 95.0);
        assert_eq!(heat.highest_khz(), 300);
        heat.poll(1_000_000, 95.0);
        assert_eq!((heat.highest_khz(), heat.next_us), (200, 2_000_000));
        heat.poll(2_000_000, 94.0);
        assert_eq!(heat.highest_khz(), 200);
        for _ in 0..3 {
            heat.poll(3_000_000, 99.0);
        }
        assert_eq!(heat.highest_khz(), 100);
        heat.poll(4_000_000, 92.0);
        assert_eq!(heat.highest_khz(), 200);
    }
}
