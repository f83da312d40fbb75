//! Which sub-networks are worth having: the front of accuracy against latency.
//!
//! * [`evolve`] — the search
//! * [`predictor`] — accuracy, by the published predictor of once-for-all
//! * [`blocks`] — latency, by a table of measured blocks

pub mod blocks;
pub mod evolve;
pub mod predictor;

pub use evolve::{Scored, Settings, front, search};

use crate::family::SubNet;

/// Why a source cannot say what a sub-network reaches.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SourceFault(pub String);

/// A source of accuracy or of latency.
pub trait Source {
    /// What a sub-network reaches: top-1 accuracy, %, or latency, ms.
    ///
    /// # Errors
    /// [`SourceFault`] where it says nothing about this sub-network.
    fn of(&self, net: &SubNet) -> Result<f64, SourceFault>;

    /// Whether it says something about images of this side, pixels.
    fn knows_side(&self, side: usize) -> bool;
}
