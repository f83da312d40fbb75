//! Contention between applications: whether every request meets its deadline when requests are
//! served one after another, earliest deadline first, none interrupted.
//!
//! By the processor-demand test with the demand of each application bounded by a line (Devi 2003),
//! and blocking by a request that has begun (George, Rivierre and Spuri 1996). For each
//! application `k`, with `C` the guarded latencies, `D` the deadlines and `T` the periods:
//!
//! ```text
//! Σ over i with D_i ≤ D_k of C_i·(1 + (D_k − D_i)/T_i)  +  max over j with D_j > D_k of C_j  ≤  D_k
//! ```
//!
//! Between deadlines the left side grows with the utilisation, which is at most 1, so that the
//! deadlines are the only places to look at. It suffices for requests that are at least a period
//! apart; it does not for bursts.

use coshift_shared::units::MAX_APPLICATIONS;

use crate::application::Application;
use crate::demand::Load;
use crate::device::Slots;

/// A sub-network for each slot.
pub type Loads = [Option<Load>; MAX_APPLICATIONS];
/// One request, Q16.16.
const ONE_Q16: u32 = 1 << 16;

/// One application's place in the schedule.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    /// Its deadline, µs; 0 where the slot is empty.
    deadline_us: u32,
    /// Requests of each slot that are due by this deadline, Q16.16; 0 = it can only block.
    requests_q16: [u32; MAX_APPLICATIONS],
}

/// What does not depend on the level.
#[derive(Debug, Clone, Copy, Default)]
pub struct Schedule {
    rows: [Row; MAX_APPLICATIONS],
}

impl Schedule {
    /// The schedule of the applications there are.
    #[must_use]
    pub fn new(slots: &Slots) -> Self {
        let row = |own: &Application| {
            let deadline_us = own.targets.deadline_us;
            let mut requests_q16 = [0; MAX_APPLICATIONS];
            for (requests, other) in requests_q16.iter_mut().zip(slots) {
                let Some(other) = other else { continue };
                if other.targets.deadline_us == deadline_us {
                    *requests = ONE_Q16;
                } else if let Some(rest) = deadline_us.checked_sub(other.targets.deadline_us) {
                    *requests = other.demand().requests_q16(rest).saturating_add(ONE_Q16);
                }
            }
            Row { deadline_us, requests_q16 }
        };
        let mut rows = [Row::default(); MAX_APPLICATIONS];
        for (place, slot) in rows.iter_mut().zip(slots) {
            if let Some(own) = slot {
                *place = row(own);
            }
        }
        Self { rows }
    }

    /// The slots' deadlines, µs, with the time that each one's requests may need until then.
    pub fn times<'s>(&'s self, loads: &'s Loads) -> impl Iterator<Item = (u32, u32)> + 's {
        self.rows.iter().map(|row| (row.deadline_us, row.needed_us(loads)))
    }

    /// Whether nothing is late.
    #[must_use]
    pub fn keeps(&self, loads: &Loads) -> bool {
        self.times(loads).all(|(deadline_us, needed_us)| needed_us <= deadline_us)
    }

    /// The longest that a request of slot `own` may take, µs: so that it is in time itself, and
    /// so that it does not block one of the others for too long. The second value counts only
    /// the others that `outrank` it.
    #[must_use]
    pub fn room_us(&self, loads: &Loads, own: usize, outrank: u8) -> (u32, u32) {
        let mut others = *loads;
        if let Some(place) = others.get_mut(own) {
            *place = None;
        }
        let (mut all, mut high) = (u32::MAX, u32::MAX);
        let mut bit = 1_u8;
        for (slot, row) in (0..MAX_APPLICATIONS).zip(&self.rows) {
            let coefficient = row.requests_q16.get(own).copied().unwrap_or(0);
            let there = row.deadline_us > 0;
            if slot == own {
                let room = row.deadline_us.saturating_sub(row.needed_us(&others));
                (all, high) = (all.min(room), high.min(room));
            } else if there && coefficient <= ONE_Q16 {
                // One that would be late anyway is not helped by going without blocking alone.
                let room = row.deadline_us.saturating_sub(row.queued_us(&others));
                if room > 0 {
                    all = all.min(room);
                    if outrank & bit != 0 {
                        high = high.min(room);
                    }
                }
            }
            bit = bit.wrapping_shl(1);
        }
        (all, high)
    }
}

impl Row {
    /// Requests with deadlines up to this one.
    fn queued_us(&self, loads: &Loads) -> u32 {
        let mut queued = 0_u32;
        for (load, requests) in loads.iter().zip(self.requests_q16) {
            let Some(load) = load else { continue };
            queued = queued.saturating_add(if requests == ONE_Q16 {
                load.guarded_us
            } else {
                let time = u64::from(load.guarded_us).saturating_mul(u64::from(requests)) >> 16;
                u32::try_from(time).unwrap_or(u32::MAX)
            });
        }
        queued
    }

    /// The same with blocking.
    fn needed_us(&self, loads: &Loads) -> u32 {
        let mut blocking = 0_u32;
        for (load, requests) in loads.iter().zip(self.requests_q16) {
            if let (Some(load), 0) = (load, requests) {
                blocking = blocking.max(load.guarded_us);
            }
        }
        if self.deadline_us == 0 { 0 } else { self.queued_us(loads).saturating_add(blocking) }
    }
}
