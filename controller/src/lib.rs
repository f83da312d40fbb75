//! The decisions of Coshift: which sub-network each application runs and at which clocks.
//!
//! A pure state machine without clock, I/O, allocation, floating point or panic path:
//! [`Controller::step`] takes one input and the agent's time stamp and returns the messages to send.
//! [`Node`] puts the session layer around it: bytes in, frames out; the firmware runs it, and so
//! does the agent as its twin and as its in-process controller.
//!
//! * [`estimator`] — slowdown of each application: its mean, and a tail calibrated to its miss target
//! * [`application`] — targets and state of one application
//! * [`demand`] — what it demands of the board; its sub-network at a given level
//! * [`schedule`] — contention between applications
//! * [`power`] — power as measured, and the temperature it leads to
//! * [`device`] — the level: all applications, utilisation, caps
//! * [`allowance`] — what the caps on power leave one of them
//! * [`held`] — clocks that something else holds
//! * [`parking`] — what an idle board draws that parks between requests
//! * [`controller`] — modes, time, the order of things
//! * [`digest`] — what two controllers compare to know that they took in the same
//! * [`node`] — sessions and frames
//! * [`store`] — two slots for policies, and the upload into the one that is not in use
//!
//! The decision law, with equations, units and limits, is described in `docs/control.md`.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation,
        clippy::float_arithmetic
    )
)]

#[cfg(test)]
extern crate std;

pub mod allowance;
pub mod application;
pub mod column;
pub mod controller;
pub mod demand;
pub mod device;
pub mod digest;
pub mod estimator;
pub mod held;
pub mod kept;
pub mod node;
pub mod parking;
pub mod power;
pub mod schedule;
pub mod store;

pub use controller::{Controller, Input, Outputs};
pub use node::{Identity, Node};
