//! Which sub-network serves a request where nobody shifts it at run time.

use coshift_plant::board::{Network, SubNetwork};

use super::Request;

/// A choice made by hand, by the targets alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Always the most accurate sub-network.
    Largest,
    /// The least accurate sub-network that meets the accuracy floor in force, so that it changes
    /// with the floor; the most accurate one where none meets it. What a careful user picks.
    BestFitting,
}

impl Choice {
    /// Index of the sub-network that serves a request.
    #[must_use]
    pub fn of(self, network: &Network, request: &Request) -> usize {
        let last = network.sub_networks.len().saturating_sub(1);
        let meets = |sub: &SubNetwork| accuracy_bp(sub) >= request.floor_bp;
        match self {
            Self::Largest => last,
            // Sub-networks are sorted by accuracy.
            Self::BestFitting => network.sub_networks.iter().position(meets).unwrap_or(last),
        }
    }
}

/// Accuracy as in a policy image, 0.01 %.
#[must_use]
pub fn accuracy_bp(sub_network: &SubNetwork) -> u16 {
    // 0 to 100 % in every checked board.
    (sub_network.accuracy_pct * 100.0).round() as u16
}

#[cfg(test)]
mod tests {
    use coshift_plant::Board;

    use super::super::tests_common::shipped;
    use super::{Choice, Request};

    #[test]
    fn the_best_fitting_one_is_the_least_accurate_above_the_floor() {
        let board: Board = shipped("xavier_nx");
        let network = board.network("dynamic-ofa-7").expect("a network");
        let at = |choice: Choice, floor_bp| {
            choice.of(network, &Request { release_us: 0, deadline_us: 0, floor_bp })
        };
        // 73.178, 74.54, 75.226, 76.388, 77.034, 77.748, 78.05 %.
        let cases = [(0, 0), (7318, 0), (7319, 1), (7454, 1), (7500, 2), (7805, 6), (7806, 6)];
        for (floor_bp, expected) in cases {
            assert_eq!(at(Choice::BestFitting, floor_bp), expected, "floor {floor_bp}");
            assert_eq!(at(Choice::Largest, floor_bp), 6);
        }
    }
}
