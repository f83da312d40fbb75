//! Offline tools.
#![forbid(unsafe_code)]

#[cfg(feature = "engine")]
pub mod eval;
#[cfg(feature = "engine")]
pub mod fashion;
#[cfg(feature = "engine")]
pub mod pack;
#[cfg(feature = "engine")]
pub mod train;
