//! schedutil, the CPU's governor of every Jetson.
//!
//! Source: Linux `kernel/sched/cpufreq_schedutil.c` of 5.8 to 5.10, which Jetson kernels are made
//! of. The next clock is the lowest of the table at or above `1.25·f_max·U/1024`; a change is
//! followed by none for 10 ms. Frequency invariance is on (arm64 Tegra).
//!
//! What is taken for granted here:
//!
//! * One core launches requests and sleeps while the GPU works (a runtime that spins until the GPU is
//!   done would keep its core busy and its clock high); the other cores of its policy are idle. So the policy's utilisation is that core's, and the rule that keeps a single-CPU policy
//!   from going down while busy does not apply: Tegra's policies have 2 or 4 cores.
//! * It looks at wake-ups, sleeps and scheduler ticks: every 4 ms (250 Hz), also while that core is
//!   idle. A tickless idle core would not tick; there the housekeeping on the policy's other cores
//!   does, and without it schedutil would keep a high clock while idle, at its own cost.
//! * No real-time, deadline or interrupt load, no uclamp, and no iowait boost: who waits for the
//!   GPU waits in no block device.
//! * `f_max` is the highest clock of the table, that is of the power mode. The kernel takes that of
//!   the chip; the product `f_max·U` is the same for either, a signal that starts from 0 climbs a
//!   little slower there.
//! * `util_est` is from memory: a task that runs counts with its utilisation, its utilisation when
//!   it last went to sleep, or the slow mean of the latter (a quarter a time, up at once), whichever
//!   is most.

use super::pelt::{CAPACITY, Pelt};

/// Least time between two changes, µs: the cap that Tegra's transition latency of 300 µs hits.
pub const RATE_LIMIT_US: u64 = 10_000;
/// Scheduler tick, µs.
pub const TICK_US: u64 = 4_000;
/// Shift of the slow mean of `util_est`: a quarter a time.
const MEAN_SHIFT: u32 = 2;
/// Differences below this (1 % of the capacity) do not move the slow mean.
const MEAN_MARGIN: u32 = CAPACITY / 100;

/// The governor of one policy.
#[derive(Debug, Clone)]
pub struct Schedutil {
    /// kHz, ascending, not empty.
    table: Vec<u32>,
    pelt: Pelt,
    /// Utilisation when the task last went to sleep, and its slow mean.
    slept_at: u32,
    mean: u32,
    /// What held since the last step: time, whether the core was busy, its clock.
    at_us: u64,
    busy: bool,
    in_force_khz: u32,
    next_tick_us: u64,
    changed_us: Option<u64>,
    khz: u32,
}

impl Schedutil {
    /// An idle governor at time 0 with these clocks (kHz, ascending), at the lowest.
    #[must_use]
    pub fn new(table: &[u32]) -> Self {
        let lowest = table.first().copied().unwrap_or(0);
        Self {
            table: table.to_vec(),
            pelt: Pelt::default(),
            slept_at: 0,
            mean: 0,
            at_us: 0,
            busy: false,
            in_force_khz: lowest,
            next_tick_us: TICK_US,
            changed_us: None,
            khz: lowest,
        }
    }

    /// When it looks next by itself, µs.
    #[must_use]
    pub fn next_us(&self) -> u64 {
        self.next_tick_us
    }

    /// Takes in what holds from `now_us` on and returns the clock that it asks for, kHz. To be
    /// called at every change of `busy` or `in_force_khz`, and when [`Schedutil::next_us`] says.
    pub fn step(&mut self, now_us: u64, busy: bool, in_force_khz: u32) -> u32 {
        let highest = self.table.last().copied().unwrap_or(0).max(1);
        let speed = (f64::from(self.in_force_khz) / f64::from(highest)).min(1.0);
        self.pelt.pass(now_us.saturating_sub(self.at_us), self.busy, speed);
        let switched = busy != self.busy;
        if switched && !busy {
            self.slept();
        }
        self.at_us = now_us;
        self.busy = busy;
        self.in_force_khz = in_force_khz;
        let ticked = now_us >= self.next_tick_us;
        if ticked {
            self.next_tick_us = (now_us / TICK_US + 1) * TICK_US;
        }
        if switched || ticked {
            self.look(now_us);
        }
        self.khz
    }

    /// Utilisation that the clock is chosen for, 0 to 1024.
    #[must_use]
    pub fn utilisation(&self) -> u32 {
        let now = self.pelt.utilisation();
        if self.busy { now.max(self.slept_at).max(self.mean) } else { now }
    }

    fn slept(&mut self) {
        self.slept_at = self.pelt.utilisation();
        if self.slept_at >= self.mean {
            self.mean = self.slept_at;
        } else if self.mean - self.slept_at > MEAN_MARGIN {
            self.mean -= (self.mean - self.slept_at) >> MEAN_SHIFT;
        }
    }

    fn look(&mut self, now_us: u64) {
        if self.changed_us.is_some_and(|changed| now_us.saturating_sub(changed) < RATE_LIMIT_US) {
            return;
        }
        let khz = next_clock(&self.table, self.utilisation());
        if khz != self.khz {
            self.khz = khz;
            self.changed_us = Some(now_us);
        }
    }
}

/// The lowest clock at or above `1.25·f_max·U/1024`, kHz; the highest where there is none.
#[must_use]
pub fn next_clock(table: &[u32], utilisation: u32) -> u32 {
    let highest = table.last().copied().unwrap_or(0);
    let raised = u64::from(highest) + u64::from(highest >> 2);
    let raw = raised * u64::from(utilisation) / u64::from(CAPACITY);
    table.iter().copied().find(|khz| u64::from(*khz) >= raw).unwrap_or(highest)
}

#[cfg(test)]
mod tests {
    use super::{RATE_LIMIT_US, Schedutil, next_clock};

    /// Orin Nano in MAXN_SUPER: 729.6 to 1728 MHz.
    fn table() -> Vec<u32> {
        (0..14).map(|step| 729_600 + 76_800 * step).collect()
    }

    /// Steps the governor as a board without settle times would; (time, clock) of every change.
    fn play(
        governor: &mut Schedutil,
        busy: impl Fn(u64) -> bool,
        from: u64,
        to: u64,
    ) -> Vec<(u64, u32)> {
        let mut changes = Vec::new();
        let mut khz = governor.khz;
        for now in from..to {
            let asked = governor.step(now, busy(now), khz);
            if asked != khz {
                khz = asked;
                changes.push((now, khz));
            }
        }
        changes
    }

    #[test]
    fn the_next_clock_leaves_a_quarter() {
        let table = table();
        // 1.25 x 1728 x U / 1024 MHz.
        assert_eq!(next_clock(&table, 0), 729_600);
        assert_eq!(next_clock(&table, 345), 729_600);
        assert_eq!(next_clock(&table, 346), 806_400);
        assert_eq!(next_clock(&table, 512), 1_113_600);
        assert_eq!(next_clock(&table, 819), 1_728_000);
        assert_eq!(next_clock(&table, 1024), 1_728_000);
    }

    #[test]
    fn a_busy_core_climbs_to_the_top_no_faster_than_the_rate_limit() {
        let mut governor = Schedutil::new(&table());
        let changes = play(&mut governor, |_| true, 0, 400_000);
        assert_eq!(changes.last().map(|(_, khz)| *khz), Some(1_728_000));
        assert!(changes.windows(2).all(|pair| pair[1].0 - pair[0].0 >= RATE_LIMIT_US));
        // The signal needs U = 346 to leave the lowest clock: 19.4 ms of work at 1728 MHz, 45.9 ms
        // at 729.6; the next tick is at 48 ms.
        assert_eq!(changes.first().map(|(at, _)| *at), Some(48_000));
    }

    #[test]
    fn a_short_burst_moves_nothing() {
        let mut governor = Schedutil::new(&table());
        let changes = play(&mut governor, |now| now % 40_000 < 4000, 0, 2_000_000);
        assert_eq!(changes, []);
    }

    #[test]
    fn the_clock_falls_after_the_work_with_the_signal() {
        let mut governor = Schedutil::new(&table());
        play(&mut governor, |_| true, 0, 1_000_000);
        let changes = play(&mut governor, |_| false, 1_000_000, 1_200_000);
        assert_eq!(changes.last().map(|(_, khz)| *khz), Some(729_600));
        // 1024 to 345: 1.57 half-lives of 32.8 ms.
        let last = changes.last().map_or(0, |(at, _)| *at);
        assert!((1_050_000..=1_064_000).contains(&last), "{last}");
    }

    #[test]
    fn a_known_task_wakes_up_at_the_clock_of_its_last_run() {
        let mut governor = Schedutil::new(&table());
        // Long runs with long pauses: the signal is gone each time, its estimate is not.
        let busy = |now: u64| now % 600_000 < 200_000;
        play(&mut governor, busy, 0, 600_000);
        assert!(governor.utilisation() < 10, "{}", governor.utilisation());
        governor.step(600_000, true, 729_600);
        assert!(governor.utilisation() > 900, "{}", governor.utilisation());
        assert_eq!(governor.khz, 1_728_000);
    }
}
