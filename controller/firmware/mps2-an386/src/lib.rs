//! What the images of the Arm MPS2 AN386 are made of.
//!
//! [`ticks`], [`indicator`] and [`blocks`] touch no register and are tested on the host. `board`,
//! which is there on the microcontroller only, holds every register access and all `unsafe` of the
//! package. The loop, the record over resets, stack guard and slots at boot are `coshift-firmware`'s,
//! as on every board; faults, logs and time are this board's own, since the emulator's tests want
//! exit codes, a second port and a counter that wraps.
#![cfg_attr(target_os = "none", no_std)]

pub mod blocks;
#[cfg(target_os = "none")]
pub mod board;
pub mod indicator;
pub mod ticks;
