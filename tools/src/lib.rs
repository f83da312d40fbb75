//! Offline tools.
#![forbid(unsafe_code)]

pub mod plan;
