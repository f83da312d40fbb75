//! Load of the launching core over sampling periods: what ondemand and conservative look at.

/// Time between two samples, µs: the transition delay of Jetson CPUs, 10 ms by memory.
pub(super) const SAMPLING_US: u64 = 10_000;

/// Busy time between two samples.
#[derive(Debug, Clone)]
pub(super) struct Sampling {
    at_us: u64,
    busy: bool,
    busy_us: u64,
    from_us: u64,
    pub(super) next_us: u64,
}

impl Sampling {
    pub(super) fn new() -> Self {
        Self { at_us: 0, busy: false, busy_us: 0, from_us: 0, next_us: SAMPLING_US }
    }

    /// Takes in what holds from `now_us` on; the load (%) where a sample is due.
    pub(super) fn step(&mut self, now_us: u64, busy: bool) -> Option<u32> {
        if self.busy {
            self.busy_us += now_us - self.at_us;
        }
        (self.at_us, self.busy) = (now_us, busy);
        if now_us < self.next_us {
            return None;
        }
        let load = self.busy_us * 100 / (now_us - self.from_us).max(1);
        (self.busy_us, self.from_us, self.next_us) = (0, now_us, now_us + SAMPLING_US);
        Some(u32::try_from(load.min(100)).unwrap_or(100))
    }
}
