//! The operators of inference, over feature maps in blocks of 16 channels.
//!
//! A feature map is `[blocks][pixels]` of [`Lanes`]: every vector is whole and aligned, a channel
//! block of a map is contiguous, and a depthwise convolution never leaves its block. The last block
//! of a map may hold lanes beyond its channels; they are zero where anything reads them.
//!
//! Weights of a pointwise convolution are panels `[blocks of outputs][inputs]` of [`Lanes`]. A
//! prefix of inputs is a prefix of every panel and a prefix of outputs the first panels, so that a
//! sub-network uses the panels of the whole network in place.
//!
//! Every operator is one body over a `vector::Vector` of 16 lanes, compiled for each instruction
//! set and chosen by an [`Isa`], which exists only where the machine can run it.

#![allow(
    clippy::needless_range_loop,
    reason = "loops over constant ranges are unrolled, so that arrays of vectors stay in registers"
)]

mod depthwise;
mod fused;
mod gemv;
mod isa;
mod map;
mod pointwise;
mod stem;
mod vector;

pub(crate) use fused::{Fused, Source, fused, ring_lanes};
pub(crate) use gemv::{After, Gemv, gemv};
pub use isa::Isa;
pub(crate) use map::{Map, means, scale};
pub(crate) use pointwise::{Pointwise, Rows, pointwise};
pub(crate) use stem::{Stem, StemRows, padded_len, stem};

mod slices;
pub use slices::{
    Affine, DepthwiseShape, blocked, depthwise_map, panels, pointwise_map, pool_map, scale_map,
    stem_map, unblocked, vector_layer,
};

/// Channels of a block.
pub const LANES: usize = 16;

/// One pixel's channels of one block.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(64))]
pub struct Lanes(pub [f32; LANES]);

impl Lanes {
    /// All zero.
    pub const ZERO: Self = Self([0.0; LANES]);
}

/// The values of blocks, one after another.
#[must_use]
pub fn values(lanes: &[Lanes]) -> &[f32] {
    // SAFETY: `Lanes` is 16 `f32` in their order without padding, and any `f32` is aligned in it.
    unsafe { std::slice::from_raw_parts(lanes.as_ptr().cast(), lanes.len() * LANES) }
}

/// Blocks that hold this many channels.
#[must_use]
pub const fn blocks(channels: usize) -> usize {
    channels.div_ceil(LANES)
}

/// Values as blocks, the last one filled with zeros.
pub fn in_lanes(values: &[f32]) -> impl Iterator<Item = Lanes> + '_ {
    values.chunks(LANES).map(|chunk| {
        let mut lanes = Lanes::ZERO;
        lanes.0[..chunk.len()].copy_from_slice(chunk);
        lanes
    })
}
