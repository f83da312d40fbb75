//! Board files and the laws of latency and power.
#![forbid(unsafe_code)]
