//! Serves a scenario on a virtual board, under any manager.
//!
//! The agent's part is here and the same for all managers: requests wait in a queue for each
//! application (at most four, the oldest is dropped and counts as missed), are served one after the
//! other, earliest deadline first; the board is parked between them where the manager allows it. The
//! plant's part: clocks settle, other tools pin them, heat takes the GPU clock down.

mod heat;
pub mod parking;
mod run;
mod score;
mod sensors;

pub use run::{Ending, Record, Run, WorldError, run};
pub use score::{Score, score};
