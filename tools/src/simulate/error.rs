//! Why there is no simulation.

use std::fmt;

/// Why a simulation did not start.
#[derive(Debug, Clone, PartialEq)]
pub enum SimulateError {
    /// The board file has no `[clocks]`.
    NoClocks {
        /// Name of the board.
        board: String,
    },
    /// The stream is not in order.
    Stream {
        /// Path of the entry: `requests[3].release_us`.
        field: String,
        /// What is wrong and what is expected.
        problem: String,
    },
    /// The standard deviation of the noise is out of its range.
    Noise(f64),
    /// Not one factor for each request.
    Factors {
        /// Requests of the stream.
        requests: usize,
        /// Factors given.
        factors: usize,
    },
    /// A sub-network was chosen that the network does not have.
    SubNetwork {
        /// Name of the network.
        network: String,
        /// Index that was chosen.
        chosen: usize,
        /// Sub-networks it has.
        count: usize,
    },
}

impl fmt::Display for SimulateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoClocks { board } => write!(
                f,
                "board {board}: no [clocks], the kernel's governors need the clocks that they \
                 choose from"
            ),
            Self::Stream { field, problem } => write!(f, "stream: {field}: {problem}"),
            Self::Noise(found) => write!(f, "noise: 0 to 0.5 goes, {found} found"),
            Self::Factors { requests, factors } => {
                write!(f, "one factor for each request goes: {requests}, {factors} found")
            }
            Self::SubNetwork { network, chosen, count } => write!(
                f,
                "network {network}: sub-network 0 to {} goes, {chosen} chosen",
                count.saturating_sub(1)
            ),
        }
    }
}

impl std::error::Error for SimulateError {}
