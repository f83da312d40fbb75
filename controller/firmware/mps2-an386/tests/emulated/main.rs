//! Images under the emulator: the board's parts, and the firmware at the level of frames.
//!
//! Needs the images and the emulator; `cargo xtask test` builds the one and installs the other.

mod bringup;
mod emulator;
mod firmware;
