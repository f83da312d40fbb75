//! Offline tools.
#![forbid(unsafe_code)]
