//! simple_ondemand, a devfreq governor (GPU).
//!
//! Source: Linux `drivers/devfreq/governor_simpleondemand.c` (at commit 0d2cd91b): busy more than 90 %
//! of the time goes to the highest clock, more than 85 % keeps the clock, otherwise the clock is
//! what would be busy 88 % of the time (90 less half of the 5 % between), rounded up to the table.

/// Busy share above which the highest clock is taken, %.
pub const UP_THRESHOLD: u64 = 90;
/// Width of the band below it in which the clock is kept, %.
pub const DOWN_DIFFERENTIAL: u64 = 5;

/// The governor.
#[derive(Debug, Clone)]
pub struct SimpleOndemand {
    /// kHz, ascending, not empty.
    table: Vec<u32>,
    khz: u32,
}

impl SimpleOndemand {
    /// An idle governor with these clocks (kHz, ascending), at the lowest.
    #[must_use]
    pub fn new(table: &[u32]) -> Self {
        Self { table: table.to_vec(), khz: table.first().copied().unwrap_or(0) }
    }

    /// One poll: busy for `busy_us` of the last `total_us`. Returns the clock it asks for, kHz.
    pub fn poll(&mut self, busy_us: u64, total_us: u64) -> u32 {
        let highest = self.table.last().copied().unwrap_or(0);
        let (busy, total) = (busy_us.min(total_us), total_us.max(1));
        if busy * 100 > total * UP_THRESHOLD {
            self.khz = highest;
        } else if busy * 100 <= total * (UP_THRESHOLD - DOWN_DIFFERENTIAL) {
            let used = u64::from(self.khz) * busy / total;
            let wanted = used * 100 / (UP_THRESHOLD - DOWN_DIFFERENTIAL / 2);
            let up = self.table.iter().find(|khz| u64::from(**khz) >= wanted);
            self.khz = up.copied().unwrap_or(highest);
        }
        self.khz
    }
}

#[cfg(test)]
mod tests {
    use super::SimpleOndemand;

    #[test]
    fn it_goes_to_the_top_keeps_and_follows_the_use() {
        let mut governor = SimpleOndemand::new(&[200, 400, 600, 800, 1000]);
        assert_eq!(governor.poll(91, 100), 1000);
        assert_eq!(governor.poll(86, 100), 1000);
        // 1000 · 0.5 · 100 / 88 = 568.
        assert_eq!(governor.poll(50, 100), 600);
        // 600 · 0.85 · 100 / 88 = 579.
        assert_eq!(governor.poll(85, 100), 600);
        assert_eq!(governor.poll(0, 100), 200);
    }
}
