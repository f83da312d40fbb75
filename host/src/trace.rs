//! What became of every request: one line of CSV each.
//!
//! | column | meaning |
//! |---|---|
//! | `end_us` | when it was over, µs since the agent's start |
//! | `application`, `request` | name; running number over all applications |
//! | `ending` | `served`, `dropped` (too many waited) or `failed` |
//! | `release_us`, `deadline_us` | when it was released; relative deadline |
//! | `missed` | 1 where it was late, dropped or failed |
//! | `start_us` | when its inference started on this machine |
//! | `sub_network`, `level` | what ran; the level is the achieved one, empty where the clocks were none of the list |
//! | `settled` | 1 where the clocks had settled at the start |
//! | `latency_us`, `response_us` | latency that counts; time from release to end, on a virtual board the board's |
//! | `wall_us` | time this machine inferred, 0 where it did not |
//! | `images`, `right` | images inferred; of these, images whose label was found |
//! | `early` | of the images inferred, those that left at an early exit |
//! | `adapted` | adaptations of the model before it ran |
//!
//! Columns from `start_us` on are empty for requests that were not served.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use crate::clock::Time;
use crate::engine::Ran;
use crate::queue::Request;

/// The columns.
pub const HEADER: &str = "end_us,application,request,ending,release_us,deadline_us,missed,start_us,\
                          sub_network,level,settled,latency_us,response_us,wall_us,images,right,\
                          early,adapted";

/// A request that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// When.
    pub at: Time,
    /// Name of the application.
    pub application: Arc<str>,
    /// Its slot.
    pub slot: u8,
    /// The request.
    pub request: Request,
    /// How it ended.
    pub ending: Ending,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Its inference ran to the end.
    Served {
        /// When the inference started.
        start: Time,
        /// Sub-network that ran.
        sub_network: u8,
        /// Level achieved at the start.
        level: Option<u8>,
        /// Whether the clocks had settled then.
        settled: bool,
        /// From release to end, µs.
        response_us: u64,
        /// Whether that is more than the deadline.
        missed: bool,
        /// What it came to.
        ran: Ran,
    },
    /// Too many requests of its application waited.
    Dropped,
    /// Its inference failed.
    Failed,
}

impl Finished {
    /// Whether it counts as a miss.
    #[must_use]
    pub fn missed(&self) -> bool {
        match self.ending {
            Ending::Served { missed, .. } => missed,
            Ending::Dropped | Ending::Failed => true,
        }
    }
}

impl std::fmt::Display for Finished {
    /// One line of the trace.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = match self.ending {
            Ending::Served { .. } => "served",
            Ending::Dropped => "dropped",
            Ending::Failed => "failed",
        };
        let Request { number, release, deadline } = self.request;
        let (at, application) = (self.at.us(), &self.application);
        let deadline_us = deadline.us_since(release);
        let (release_us, missed) = (release.us(), u8::from(self.missed()));
        write!(f, "{at},{application},{number},{word},{release_us},{deadline_us},{missed},")?;
        let Ending::Served { start, sub_network, level, settled, response_us, ran, .. } =
            self.ending
        else {
            return f.write_str(",,,,,,,,,,");
        };
        let Ran { latency_us, wall_us, images, right, early, adapted } = ran;
        let level = level.map_or_else(String::new, |level| level.to_string());
        let (start_us, settled) = (start.us(), u8::from(settled));
        write!(f, "{start_us},{sub_network},{level},{settled},")?;
        write!(f, "{latency_us},{response_us},{wall_us},{images},{right},{early},{}", adapted.times)
    }
}

/// A trace being written.
#[derive(Debug)]
pub struct TraceFile {
    out: BufWriter<File>,
}

impl TraceFile {
    /// Starts a trace in a new file; an existing one is not overwritten.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut out = BufWriter::new(File::create_new(path)?);
        writeln!(out, "{HEADER}")?;
        Ok(Self { out })
    }

    /// Appends a request.
    ///
    /// # Errors
    /// What writing says.
    pub fn record(&mut self, finished: &Finished) -> io::Result<()> {
        writeln!(self.out, "{finished}")
    }

    /// Hands everything to the system.
    ///
    /// # Errors
    /// What writing says.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::{Ending, Finished, HEADER};
    use crate::clock::Time;
    use crate::engine::{Adapted, Ran};
    use crate::queue::Request;

    fn finished(ending: Ending) -> Finished {
        let request =
            Request { number: 7, release: Time::from_us(1_000), deadline: Time::from_us(34_000) };
        Finished { at: Time::from_us(50_000), application: "cam0".into(), slot: 0, request, ending }
    }

    #[test]
    fn a_line_has_a_value_for_every_column() {
        let adapted = Adapted { times: 2, images: 100 };
        let (latency_us, wall_us) = (30_000, 4_000);
        let ran = Ran { latency_us, wall_us, images: 8, right: 7, early: 5, adapted };
        let served = finished(Ending::Served {
            start: Time::from_us(20_000),
            sub_network: 3,
            level: Some(9),
            settled: true,
            response_us: 49_000,
            missed: true,
            ran,
        });
        let line = served.to_string();
        assert_eq!(line, "50000,cam0,7,served,1000,33000,1,20000,3,9,1,30000,49000,4000,8,7,5,2");
        let columns = HEADER.split(',').count();
        for ending in [Ending::Dropped, Ending::Failed, served.ending] {
            assert_eq!(finished(ending).to_string().split(',').count(), columns, "{ending:?}");
        }
        assert!(finished(Ending::Dropped).missed());
    }
}
