//! What the images of the Arm MPS2 AN386 are made of.
//!
//! [`ticks`], [`record`], [`indicator`] and [`blocks`] touch no register and are tested on the host. `board`, which is there on
//! the microcontroller only, holds every register access and all `unsafe` of the package;
//! `policy` is the policy image compiled in.
#![cfg_attr(target_os = "none", no_std)]

pub mod blocks;
#[cfg(target_os = "none")]
pub mod board;
pub mod indicator;
#[cfg(target_os = "none")]
pub mod policy;
pub mod record;
pub mod ticks;
