//! The agent: runs the inferences, applies the clocks, and asks a controller what to run.
//!
//! * [`core`] — the agent's core: link, twin, who decides; events in, actions out
//! * [`runtime`] — requests, engine and board around the core; still without threads
//! * [`service`] — `coshift run`: threads, ports and the control socket around the runtime
//! * [`simulation`] — the same runtime in virtual time
//! * [`engine`], [`platform`], [`link`] — what can be exchanged
//! * [`report`], [`control`] — what the agent says, in JSON; the control socket
//! * [`boards`], [`cells`] — virtual boards and what they take for what
//! * [`frame_log`], [`trace`] — files: every frame; every request
//! * [`inputs`], [`spec`] — quantities and specifications as people write them
#![forbid(unsafe_code)]

pub mod arrivals;
pub mod boards;
pub mod cells;
pub mod clock;
pub mod control;
pub mod core;
pub mod engine;
pub mod explain;
pub mod frame_log;
pub mod inputs;
pub mod link;
pub mod notice;
pub mod platform;
pub mod policy_file;
pub mod quantiles;
pub mod queue;
pub mod report;
pub mod runtime;
pub mod service;
pub mod simulation;
pub mod spec;
pub mod trace;

/// Version of the agent: major, minor, patch.
pub const VERSION: [u8; 3] = version();

// Evaluated by the compiler only.
const fn version() -> [u8; 3] {
    [
        number(env!("CARGO_PKG_VERSION_MAJOR")),
        number(env!("CARGO_PKG_VERSION_MINOR")),
        number(env!("CARGO_PKG_VERSION_PATCH")),
    ]
}

const fn number(text: &str) -> u8 {
    let bytes = text.as_bytes();
    let mut value = 0;
    let mut place = 0;
    while place < bytes.len() {
        value = value * 10 + (bytes[place] - b'0');
        place += 1;
    }
    value
}
