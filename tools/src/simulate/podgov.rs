//! nvhost_podgov ("pod scaling"), the GPU's governor of every Jetson.
//!
//! Source: OE4T/linux-nv-oot at commit 4985c76, `drivers/devfreq/governor_pod_scaling.c`, polled
//! every 25 ms by nvgpu. Each poll takes the share of the time in which the GPU was busy, averages
//! the cycles it used, and moves the clock unless it moved within the block window: by a third of
//! the highest clock when nearly saturated, otherwise by how far the average is off its target.
//! Idle time pulls the clock down slowly.
//!
//! A board that powers its GPU down when idle for long also clears the averages and goes to the
//! lowest clock; that does not happen here: a runtime that serves a stream keeps the GPU powered.
//!
//! # How near it is to a board
//!
//! Published for Orin Nano with its stock governor (dankang21/jetson-latency-lab): a MobileNetV2 at
//! 100 Hz has the GPU at 510 MHz for 98.7 % of the time, at 6.33 ms instead of the 3.88 ms of
//! back-to-back runs. Simulated with the latency law of that network (the test
//! `a_100_hz_mobilenet_stays_where_it_was_measured`): at 510 MHz from 0.7 to 0.8 s on and for good,
//! 98.6 % to 98.9 % of a minute. The clock is met. The share of the others is that of the start here
//! and so depends on the length of the run; where theirs came from is not said.
//!
//! The latency is not met: 7.2 ms with the CPU held at 1344 MHz, 7.9 ms under schedutil, which
//! leaves it at 729.6 MHz. That is the law's and not the governor's: the grid it was fitted to has
//! 7.20 ms at 510 MHz and 4.23 ms at the highest clocks, where back-to-back runs took 3.88 ms, so
//! that the two were measured in different settings, which are not recorded. The ratios are 1.63
//! there and 1.70 in the grid.
//!
//! Polls are at 25 ms, 50 ms and so on, without jitter: a stream whose period is a multiple of 25 ms
//! always meets them at the same point, and the clock can go round in a fixed cycle.

/// Time between two polls, µs.
pub const POLL_US: u64 = 25_000;
/// No change so soon after a change, µs.
pub const BLOCK_WINDOW_US: u64 = 50_000;
/// Busy share from which the GPU counts as saturated, 0.1 %.
pub const LOAD_MAX: i64 = 900;
/// Busy share that is aimed at, 0.1 %.
pub const LOAD_TARGET: i64 = 700;
/// Strength of the pull to the target, %.
pub const BIAS: i64 = 80;
/// Weight of the past in both averages, against 1 for now.
pub const SMOOTH: i64 = 10;
/// Weight of the wanted clock against its average, of 10.
pub const DAMP: i64 = 7;
/// [`DAMP`] when saturated.
const DAMP_SATURATED: i64 = 10;

/// The governor.
#[derive(Debug, Clone)]
pub struct Podgov {
    /// kHz, ascending, not empty.
    table: Vec<u32>,
    block_window_us: u64,
    khz: u32,
    /// Average of the cycles used, kHz.
    used: i64,
    /// Average of the wanted clocks, kHz.
    wanted: i64,
    changed_us: Option<u64>,
}

impl Podgov {
    /// An idle governor with these clocks (kHz, ascending), at the lowest.
    #[must_use]
    pub fn new(table: &[u32]) -> Self {
        Self::with_block_window(table, BLOCK_WINDOW_US)
    }

    /// The same with another block window, µs.
    #[must_use]
    pub fn with_block_window(table: &[u32], block_window_us: u64) -> Self {
        Self {
            table: table.to_vec(),
            block_window_us,
            khz: table.first().copied().unwrap_or(0),
            used: 0,
            wanted: 0,
            changed_us: None,
        }
    }

    /// Clock that it asks for, kHz.
    #[must_use]
    pub fn khz(&self) -> u32 {
        self.khz
    }

    /// One poll: the GPU was busy for `busy_us` of the last `total_us` (above 0). Returns the clock
    /// that it asks for, kHz.
    pub fn poll(&mut self, now_us: u64, busy_us: u64, total_us: u64) -> u32 {
        let (Some(lowest), Some(highest)) = (self.table.first(), self.table.last()) else {
            return self.khz;
        };
        let (lowest, highest) = (i64::from(*lowest), i64::from(*highest));
        let now = i64::from(self.khz);
        // Both far inside the range of i64.
        let (total, busy) = (total_us.max(1) as i64, busy_us.min(total_us) as i64);
        let load = 1000 * busy / total;
        self.used = (self.used * SMOOTH + now * busy / total) / (SMOOTH + 1);
        let busyness = 1000 * self.used / now.max(1);
        let blocked = |changed: u64| now_us.saturating_sub(changed) < self.block_window_us;
        if self.changed_us.is_some_and(blocked) {
            return self.khz;
        }
        let (boost, damp) = if load > LOAD_MAX {
            (highest / 3, DAMP_SATURATED)
        } else {
            let pull = (busyness - LOAD_TARGET) * BIAS * now / (100 * LOAD_TARGET);
            (pull.min(highest / 3), DAMP)
        };
        let clock = now + boost;
        self.wanted = (self.wanted * SMOOTH + clock) / (SMOOTH + 1);
        let damped = (damp * clock + (10 - damp) * self.wanted) / 10;
        let clamped = damped.clamp(lowest, highest);
        let up = self.table.iter().copied().find(|khz| i64::from(*khz) >= clamped);
        if let Some(khz) = up.filter(|khz| *khz != self.khz) {
            self.khz = khz;
            self.changed_us = Some(now_us);
        }
        self.khz
    }
}

#[cfg(test)]
mod tests {
    use super::{POLL_US, Podgov};
    use crate::simulate::tests_common::shipped;

    fn table(board: &str) -> Vec<u32> {
        shipped(board).clocks.expect("tables").gpu_khz
    }

    /// Polls under a load that depends on the clock, in thousandths; (ms, MHz rounded down) of every
    /// change, the first poll at `from_ms`.
    fn changes(
        governor: &mut Podgov,
        from_ms: u64,
        polls: u64,
        load: impl Fn(u32) -> u64,
    ) -> Vec<(u64, u32)> {
        let mut changes = Vec::new();
        for poll in 0..polls {
            let (now_us, before) = (from_ms * 1000 + poll * POLL_US, governor.khz());
            let busy_us = POLL_US * load(before) / 1000;
            let khz = governor.poll(now_us, busy_us, POLL_US);
            if khz != before {
                changes.push((now_us / 1000, khz / 1000));
            }
        }
        changes
    }

    #[test]
    fn a_saturating_load_climbs_in_thirds() {
        let mut nx = Podgov::new(&table("xavier_nx"));
        assert_eq!(changes(&mut nx, 0, 40, |_| 1000), [(0, 510), (50, 905), (100, 1109)]);
        let mut orin = Podgov::new(&table("orin_nano"));
        assert_eq!(changes(&mut orin, 0, 40, |_| 1000), [(0, 714), (50, 1020)]);
    }

    #[test]
    fn without_the_block_window_it_climbs_faster() {
        let mut nx = Podgov::with_block_window(&table("xavier_nx"), 0);
        assert_eq!(changes(&mut nx, 0, 40, |_| 1000), [(0, 510), (25, 905), (50, 1109)]);
    }

    #[test]
    fn after_the_load_the_clock_falls_slowly() {
        let mut orin = Podgov::new(&table("orin_nano"));
        changes(&mut orin, 0, 400, |_| 1000);
        let down = changes(&mut orin, 10_000, 100, |_| 0);
        assert!(down.windows(2).all(|pair| pair[1].1 < pair[0].1), "{down:?}");
        let (ms, mhz) = *down.last().expect("changes");
        assert_eq!(mhz, 306);
        // About 600 ms.
        assert!((10_575..=10_650).contains(&ms), "{down:?}");

        let mut nx = Podgov::new(&table("xavier_nx"));
        changes(&mut nx, 0, 400, |_| 1000);
        let down = changes(&mut nx, 10_000, 100, |_| 0);
        let (ms, mhz) = *down.last().expect("changes");
        assert_eq!(mhz, 114);
        // About 1.0 s.
        assert!((10_950..=11_075).contains(&ms), "{down:?}");
    }

    #[test]
    fn a_load_of_63_percent_at_510_mhz_stays_there() {
        let load = |khz: u32| (630 * 510_000 / u64::from(khz)).min(1000);
        let table = table("orin_nano");
        let mut governor = Podgov::new(&table);
        let climb = changes(&mut governor, 0, 400, load);
        assert_eq!(governor.khz(), 510_000, "{climb:?}");
        assert!(climb.iter().all(|(ms, _)| *ms < 1000), "{climb:?}");
        // And from above.
        changes(&mut governor, 10_000, 400, |_| 1000);
        assert_eq!(governor.khz(), 1_020_000);
        changes(&mut governor, 20_000, 400, load);
        assert_eq!(governor.khz(), 510_000);
    }

    #[test]
    fn a_short_burst_runs_at_low_clocks() {
        // 20 ms of work in every second reach no poll as saturated.
        let mut nx = Podgov::new(&table("xavier_nx"));
        for poll in 0..400 {
            let busy_us = if poll % 40 == 0 { 20_000 } else { 0 };
            assert_eq!(nx.poll(poll * POLL_US, busy_us, POLL_US), 114_750);
        }
    }
}
