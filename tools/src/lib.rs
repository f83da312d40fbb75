//! Offline tools.
#![forbid(unsafe_code)]

#[cfg(feature = "engine")]
pub mod fashion;
#[cfg(feature = "engine")]
pub mod train;
