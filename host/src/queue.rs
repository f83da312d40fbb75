//! Requests: released periodically, served earliest deadline first.

use std::collections::VecDeque;

use crate::clock::Time;

/// Requests of one application that may wait; the oldest is dropped when another comes.
pub const MAX_WAITING: usize = 4;

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Running number, over all applications.
    pub number: u64,
    /// When it was released.
    pub release: Time,
    /// When it must be done.
    pub deadline: Time,
}

/// The requests of one application.
#[derive(Debug, Clone)]
pub struct Source {
    period_us: u32,
    deadline_us: u32,
    /// Release times are `start + n·period`, so that they do not drift.
    start: Time,
    released: u64,
    waiting: VecDeque<Request>,
    /// Requests dropped because too many waited.
    pub dropped: u64,
}

impl Source {
    /// Requests every `period_us` from `start` on.
    #[must_use]
    pub fn new(start: Time, period_us: u32, deadline_us: u32) -> Self {
        Self {
            period_us: period_us.max(1),
            deadline_us,
            start,
            released: 0,
            waiting: VecDeque::new(),
            dropped: 0,
        }
    }

    /// Other targets from the next release on.
    pub fn change(&mut self, period_us: u32, deadline_us: u32) {
        self.deadline_us = deadline_us;
        if self.period_us != period_us {
            self.start = self.next_release();
            self.released = 0;
            self.period_us = period_us.max(1);
        }
    }

    /// When the next request is released.
    #[must_use]
    pub fn next_release(&self) -> Time {
        self.start.after_us(self.released.saturating_mul(u64::from(self.period_us)))
    }

    /// Releases what is due; `number` gives the running numbers. Returns how many; requests that
    /// are dropped for them go to `dropped`.
    pub fn release(&mut self, now: Time, number: &mut u64, dropped: &mut Vec<Request>) -> u64 {
        let mut count = 0;
        while self.next_release() <= now {
            let release = self.next_release();
            self.released += 1;
            *number += 1;
            count += 1;
            if self.waiting.len() == MAX_WAITING {
                dropped.extend(self.waiting.pop_front());
                self.dropped += 1;
            }
            let deadline = release.after_us(u64::from(self.deadline_us));
            self.waiting.push_back(Request { number: *number, release, deadline });
        }
        count
    }

    /// The request that waits longest.
    #[must_use]
    pub fn first(&self) -> Option<&Request> {
        self.waiting.front()
    }

    /// Takes the request that waits longest.
    pub fn take(&mut self) -> Option<Request> {
        self.waiting.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_WAITING, Source};
    use crate::clock::Time;

    #[test]
    fn releases_do_not_drift_and_overload_is_dropped() {
        let (mut number, mut dropped) = (0, Vec::new());
        let mut source = Source::new(Time::from_us(5), 66_667, 33_000);
        assert_eq!(source.release(Time::from_us(4), &mut number, &mut dropped), 0);
        assert_eq!(source.release(Time::from_us(5), &mut number, &mut dropped), 1);
        let first = *source.first().unwrap();
        assert_eq!(first.deadline.us_since(first.release), 33_000);
        assert_eq!(source.release(Time::from_us(5 + 10 * 66_667), &mut number, &mut dropped), 10);
        assert_eq!(source.dropped, 11 - MAX_WAITING as u64);
        assert!(dropped.iter().map(|request| request.number).eq(1..=7));
        assert_eq!(source.first().unwrap().number, 8);
        assert_eq!(source.next_release(), Time::from_us(5 + 11 * 66_667));
    }

    #[test]
    fn a_new_rate_starts_at_the_next_release() {
        let (mut number, mut dropped) = (0, Vec::new());
        let mut source = Source::new(Time::START, 100_000, 50_000);
        source.release(Time::START, &mut number, &mut dropped);
        source.change(10_000, 5_000);
        assert_eq!(source.next_release(), Time::from_us(100_000));
        source.release(Time::from_us(100_000), &mut number, &mut dropped);
        assert_eq!(source.next_release(), Time::from_us(110_000));
    }
}
