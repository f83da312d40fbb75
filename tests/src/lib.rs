//! Scenarios written once against a rig.
#![forbid(unsafe_code)]
