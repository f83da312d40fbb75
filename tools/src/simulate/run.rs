//! What came of a stream.

use coshift_plant::board::Level;
use coshift_plant::machine::{Point, Trail};

use super::Request;

/// Window that power is averaged over before it is held against a cap, µs.
pub const WINDOW_US: u64 = 100_000;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It ran.
    Served {
        /// When it started, µs.
        start_us: u64,
        /// When it was done, µs.
        end_us: u64,
        /// Index of its sub-network.
        sub_network: usize,
        /// Clocks in force when it started.
        clocks: Level,
    },
    /// Too many waited: it never ran.
    Dropped {
        /// When, µs.
        at_us: u64,
    },
}

/// One request with its ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// The request.
    pub request: Request,
    /// How it ended.
    pub ending: Ending,
}

impl Record {
    /// Time from release to end, µs; `None` where it never ran.
    #[must_use]
    pub fn response_us(&self) -> Option<u64> {
        match self.ending {
            Ending::Served { end_us, .. } => Some(end_us - self.request.release_us),
            Ending::Dropped { .. } => None,
        }
    }

    /// Whether it was not done by its deadline.
    #[must_use]
    pub fn missed(&self) -> bool {
        self.response_us().is_none_or(|response_us| response_us > self.request.deadline_us)
    }
}

/// A whole run.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// All requests in the order of their release.
    pub records: Vec<Record>,
    /// End of the stream, µs. The board's trail goes on to the end of the last request where that
    /// is later.
    pub end_us: u64,
    /// Power, energy, clocks and temperature of the board.
    pub trail: Trail,
}

impl Run {
    /// Energy of the whole board (VDD_IN) between two times, J.
    #[must_use]
    pub fn energy_j(&self, from_us: u64, to_us: u64) -> f64 {
        self.trail.energy_j(from_us, to_us)
    }

    /// Mean power of the whole board between two times, W.
    #[must_use]
    pub fn mean_w(&self, from_us: u64, to_us: u64) -> f64 {
        self.trail.mean_w(from_us, to_us)
    }

    /// Highest power over windows of 100 ms from `from_us` on, W.
    #[must_use]
    pub fn peak_w(&self, from_us: u64, to_us: u64) -> f64 {
        let windows = self.trail.windows(from_us, to_us, WINDOW_US);
        windows.map(|(watt, _)| watt).fold(0.0, f64::max)
    }

    /// Time in windows of 100 ms from `from_us` on whose mean power is above a cap, s.
    #[must_use]
    pub fn over_cap_s(&self, cap_w: f64, from_us: u64, to_us: u64) -> f64 {
        let windows = self.trail.windows(from_us, to_us, WINDOW_US);
        windows.filter(|(watt, _)| *watt > cap_w).map(|(_, seconds)| seconds).sum()
    }

    /// Records of the requests that were released from `from_us` on and before `to_us`.
    pub fn released(&self, from_us: u64, to_us: u64) -> impl Iterator<Item = &Record> {
        let range = from_us..to_us;
        self.records.iter().filter(move |record| range.contains(&record.request.release_us))
    }

    /// How many of those missed their deadline or were dropped.
    #[must_use]
    pub fn missed(&self, from_us: u64, to_us: u64) -> usize {
        self.released(from_us, to_us).filter(|record| record.missed()).count()
    }

    /// Clocks and power over time: a point for every change.
    #[must_use]
    pub fn points(&self) -> &[Point] {
        self.trail.points()
    }
}
