//! What is asked of the board.

use super::SimulateError;

/// One request of an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// When it is released, µs.
    pub release_us: u64,
    /// How long after that it must be done, µs.
    pub deadline_us: u64,
    /// Accuracy floor in force, 0.01 %.
    pub floor_bp: u16,
}

/// The requests of one application and what slows them down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// Requests in the order of their release.
    pub requests: Vec<Request>,
    /// Slowdown from a time (µs) on, in thousandths, in the order of the times; 1000 before the
    /// first. Multiplies the latency of the requests that start from then on.
    pub slowdown: Vec<(u64, u32)>,
    /// End, µs: every request is released before it.
    pub end_us: u64,
}

impl Stream {
    /// Slowdown of a request that starts at this time, in thousandths.
    #[must_use]
    pub fn slowdown_at(&self, us: u64) -> u32 {
        let after = self.slowdown.partition_point(|(from_us, _)| *from_us <= us);
        let step = after.checked_sub(1).and_then(|index| self.slowdown.get(index));
        step.map_or(1000, |(_, permille)| *permille)
    }

    /// Whether the stream is in order.
    ///
    /// # Errors
    /// [`SimulateError::Stream`] names the first entry that is not.
    pub fn check(&self) -> Result<(), SimulateError> {
        let wrong = |field: String, problem: String| Err(SimulateError::Stream { field, problem });
        let mut before = 0;
        for (index, request) in self.requests.iter().enumerate() {
            let field = format!("requests[{index}].release_us");
            if request.release_us < before {
                let problem = format!("{before} or later goes, {} found", request.release_us);
                return wrong(field, problem);
            }
            if request.release_us >= self.end_us {
                let problem =
                    format!("before the end at {} goes, {} found", self.end_us, request.release_us);
                return wrong(field, problem);
            }
            before = request.release_us;
        }
        for (index, (from_us, permille)) in self.slowdown.iter().enumerate() {
            if *permille == 0 {
                return wrong(format!("slowdown[{index}]"), "above 0 goes, 0 found".into());
            }
            let earlier = index.checked_sub(1).and_then(|before| self.slowdown.get(before));
            if earlier.is_some_and(|(before, _)| before >= from_us) {
                let problem = format!("rising times go, {from_us} is not after the one before it");
                return wrong(format!("slowdown[{index}]"), problem);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Request, Stream};

    fn stream(releases: &[u64], slowdown: &[(u64, u32)]) -> Stream {
        let request = |release_us: &u64| Request {
            release_us: *release_us,
            deadline_us: 10_000,
            floor_bp: 0,
        };
        let requests = releases.iter().map(request).collect();
        Stream { requests, slowdown: slowdown.to_vec(), end_us: 100 }
    }

    #[test]
    fn slowdown_holds_from_its_time_on() {
        let stream = stream(&[], &[(10, 1300), (20, 900)]);
        let at: Vec<_> = [0, 9, 10, 19, 20, 90].map(|us| stream.slowdown_at(us)).into();
        assert_eq!(at, [1000, 1000, 1300, 1300, 900, 900]);
    }

    #[test]
    fn what_is_out_of_order_is_named() {
        assert_eq!(stream(&[0, 0, 99], &[(0, 1)]).check(), Ok(()));
        let cases = [
            (stream(&[0, 5, 4], &[]), "stream: requests[2].release_us: 5 or later goes, 4 found"),
            (
                stream(&[0, 100], &[]),
                "stream: requests[1].release_us: before the end at 100 goes, 100 found",
            ),
            (stream(&[], &[(0, 0)]), "stream: slowdown[0]: above 0 goes, 0 found"),
            (
                stream(&[], &[(5, 1000), (5, 1100)]),
                "stream: slowdown[1]: rising times go, 5 is not after the one before it",
            ),
        ];
        for (stream, expected) in cases {
            assert_eq!(stream.check().unwrap_err().to_string(), expected);
        }
    }
}
