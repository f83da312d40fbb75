//! Request streams on a virtual board in virtual time, under the governors of today's boards.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use coshift_plant::Board;
//! use coshift_tools::simulate::{Choice, Request, Stream, governed};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let board = Board::load(Path::new("boards/xavier_nx.toml"))?;
//! let network = board.network("dynamic-ofa-7").ok_or("no such network")?;
//! let camera = (0..150).map(|n| Request {
//!     release_us: n * 66_667,
//!     deadline_us: 60_000,
//!     floor_bp: 7500,
//! });
//! let stream = Stream { requests: camera.collect(), slowdown: vec![], end_us: 10_000_000 };
//! let run = governed(&board, network, &stream, Choice::BestFitting, 0.02, 1)?;
//! println!("{} J, {} missed", run.energy_j(0, run.end_us), run.missed(0, run.end_us));
//! # Ok(())
//! # }
//! ```
//!
//! Three things are kept apart: the board ([`coshift_plant::machine`]), what sets its clocks
//! ([`ClockManager`]; the stock governors are [`Stock`], made of [`schedutil`] and [`podgov`]), and
//! what chooses the sub-network ([`Choice`]). [`serve()`] puts them together.

mod choice;
pub mod conservative;
mod error;
mod manager;
mod noise;
pub mod ondemand;
pub mod pelt;
pub mod podgov;
mod run;
mod sampling;
pub mod schedutil;
mod serve;
pub mod simple_ondemand;
mod stream;
#[cfg(test)]
mod tests_common;

pub use choice::{Choice, accuracy_bp};
pub use error::SimulateError;
pub use manager::{ClockManager, Held, Seen, Stock};
pub use noise::factors;
pub use run::{Ending, Record, Run, WINDOW_US};
pub use serve::{MAX_WAITING, serve};
pub use stream::{Request, Stream};

use coshift_plant::Board;
use coshift_plant::board::Network;

/// A stream under what a board comes with: schedutil for the CPU, nvhost_podgov for the GPU, the
/// memory clock fixed at the highest of the board's levels.
///
/// Both governors start idle, at the lowest clocks of the board's tables. `noise` is the standard
/// deviation of the latencies, relative; equal arguments give equal runs, and a request has the
/// same noise whatever the choice.
///
/// # Errors
/// [`SimulateError`] where the board has no `[clocks]`, the stream is not in order or the noise is
/// not 0 to 0.5.
pub fn governed(
    board: &Board,
    network: &Network,
    stream: &Stream,
    choice: Choice,
    noise: f64,
    seed: u64,
) -> Result<Run, SimulateError> {
    let factors = factors(stream.requests.len(), noise, seed)?;
    let mut stock = Stock::new(board)?;
    serve(board, network, stream, &mut stock, &mut |request| choice.of(network, request), &factors)
}
