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

/// A sub-network for each slot.
pub type Loads = [Option<Load>; MAX_APPLICATIONS];
/// Times are told apart up to here, 537 s, so that those of all slots can be added and taken away
/// again; a deadline beyond it counts as one just below.
const MOST_US: u32 = 1 << 29;
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
    pub fn new(slots: &[Option<Application>]) -> Self {
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
            Row { deadline_us: deadline_us.min(MOST_US.saturating_sub(1)), requests_q16 }
        };
        let mut rows = [Row::default(); MAX_APPLICATIONS];
        for (place, slot) in rows.iter_mut().zip(slots) {
            if let Some(own) = slot {
                *place = row(own);
            }
        }
        Self { rows }
    }

    /// What the schedule makes of these sub-networks; `shared` where there are several.
    pub fn times(&self, loads: &Loads, shared: bool, times: &mut Times) {
        for (guarded_us, load) in times.guarded_us.iter_mut().zip(loads) {
            *guarded_us = load.as_ref().map_or(0, |load| load.guarded_us.min(MOST_US));
        }
        if !shared {
            times.queued_us = times.guarded_us;
            return;
        }
        let places = times.queued_us.iter_mut().zip(&mut times.blocking_us);
        for (row, (queued_us, blocking_us)) in self.rows.iter().zip(places) {
            (*queued_us, *blocking_us) = (0, 0);
            if row.deadline_us == 0 {
                continue;
            }
            for (guarded_us, requests) in times.guarded_us.iter().zip(&row.requests_q16) {
                if *requests == 0 {
                    *blocking_us = (*guarded_us).max(*blocking_us);
                } else {
                    // Four of at most MOST_US.
                    *queued_us = queued_us.wrapping_add(time_us(*guarded_us, *requests));
                }
            }
        }
    }

    /// The times when slot `own` takes `new_us`.
    pub fn change(&self, times: &mut Times, own: usize, new_us: u32) {
        let new_us = new_us.min(MOST_US);
        let Some(place) = times.guarded_us.get_mut(own) else { return };
        let old_us = core::mem::replace(place, new_us);
        let places = times.queued_us.iter_mut().zip(&mut times.blocking_us);
        for (row, (queued_us, blocking_us)) in self.rows.iter().zip(places) {
            match row.requests_q16.get(own).copied().unwrap_or(0) {
                0 => {
                    *blocking_us = 0;
                    for (guarded_us, requests) in times.guarded_us.iter().zip(&row.requests_q16) {
                        if *requests == 0 {
                            *blocking_us = (*guarded_us).max(*blocking_us);
                        }
                    }
                }
                requests => {
                    let others = queued_us.saturating_sub(time_us(old_us, requests));
                    *queued_us = others.wrapping_add(time_us(new_us, requests));
                }
            }
        }
    }

    /// Time over the deadline of each slot, µs.
    pub fn late_us<'s>(&'s self, times: &'s Times) -> impl Iterator<Item = u32> + 's {
        let needed = times.queued_us.iter().zip(&times.blocking_us);
        self.rows.iter().zip(needed).map(|(row, (queued_us, blocking_us))| {
            if row.deadline_us == 0 {
                return 0;
            }
            queued_us.saturating_add(*blocking_us).saturating_sub(row.deadline_us)
        })
    }

    /// Whether nothing is late.
    #[must_use]
    pub fn keeps(&self, times: &Times) -> bool {
        self.late_us(times).all(|late_us| late_us == 0)
    }

    /// The longest that a request of slot `own` may take, µs: so that it is in time itself, and
    /// so that it neither blocks one of the others for too long nor, where its deadline is the
    /// earlier one, comes before it too often. The second value counts only the others that
    /// `outrank` it. `own_us` is what it takes in `times`.
    #[must_use]
    pub fn room_us(&self, times: &Times, own: usize, own_us: u32, outrank: u8) -> (u32, u32) {
        let (mut all, mut high) = (u32::MAX, u32::MAX);
        let (mut bit, mut slot) = (1_u8, 0_usize);
        let pairs = times.queued_us.into_iter().zip(times.blocking_us);
        for (row, (queued_us, blocking_us)) in self.rows.iter().zip(pairs) {
            if row.deadline_us > 0 {
                let requests = row.requests_q16.get(own).copied().unwrap_or(0);
                let others = match requests {
                    // It is what blocks.
                    0 => queued_us,
                    requests => {
                        let own_us = time_us(own_us, requests);
                        queued_us.saturating_sub(own_us).saturating_add(blocking_us)
                    }
                };
                let rest_us = row.deadline_us.saturating_sub(others);
                let mut room =
                    if requests > ONE_Q16 { each_us(rest_us, requests) } else { rest_us };
                // Cut off, it may be less than what is in time as it is.
                let in_time = queued_us.saturating_add(blocking_us) <= row.deadline_us;
                if in_time && requests > ONE_Q16 {
                    room = room.max(own_us);
                }
                let is_own = slot == own;
                // One that would be late anyway is not helped by what this one does alone.
                if is_own || room > 0 {
                    all = all.min(room);
                    if is_own || outrank & bit != 0 {
                        high = high.min(room);
                    }
                }
            }
            (bit, slot) = (bit.wrapping_shl(1), slot.wrapping_add(1));
        }
        (all, high)
    }
}

/// Time that requests may need, a slot each.
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    /// The slot's request, µs; 0 where there is none.
    guarded_us: [u32; MAX_APPLICATIONS],
    /// Requests with deadlines up to the slot's own, µs.
    queued_us: [u32; MAX_APPLICATIONS],
    /// The longest request with a later deadline, µs.
    blocking_us: [u32; MAX_APPLICATIONS],
}

/// Time of `requests` (Q16.16) that take `guarded_us` each, at most [`MOST_US`], as is
/// `guarded_us`.
fn time_us(guarded_us: u32, requests: u32) -> u32 {
    if requests == ONE_Q16 {
        return guarded_us;
    }
    let time = u64::from(guarded_us).wrapping_mul(u64::from(requests)) >> 16;
    u32::try_from(time).unwrap_or(MOST_US).min(MOST_US)
}

/// What each of `requests` (Q16.16) may take where all together may take `us`, less than 2³⁰; rounded
/// down, by at most a share of `us` ÷ 2³⁰ more than that, so that 32 bits do.
fn each_us(us: u32, requests: u32) -> u32 {
    let shift = 16_u32.saturating_sub(us.leading_zeros());
    let parts = requests.wrapping_shr(shift).saturating_add(1);
    us.wrapping_shr(shift).wrapping_shl(16).checked_div(parts).unwrap_or(0)
}
