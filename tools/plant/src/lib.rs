//! Model of a board: what simulations, virtual boards and policies are computed from.
//!
//! A board file (TOML, [`board`]) lists the useful tuples of clocks, the coefficients of the laws
//! of latency, power and temperature ([`law`]) and the networks with their sub-networks; every
//! number in it says whether it was measured, fitted, assumed or specified, and by which source
//! ([`board::Provenance`]). [`fit`] holds the least squares that the fitted ones come from,
//! [`policy`] turns a board into the policy image that a controller decides by, [`machine`] runs
//! requests on it in virtual time.
#![forbid(unsafe_code)]

pub mod board;
pub mod fit;
pub mod law;
pub mod machine;
pub mod policy;

pub use board::{Board, BoardError};
