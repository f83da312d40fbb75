//! The operators, as functions over slices.
//!
//! Feature maps are `[batch, height, width, channels]` (channels contiguous), so that a pointwise
//! convolution is one matrix product and every other inner loop runs over contiguous channels.

pub mod blocked;
pub mod depthwise;
pub mod elementwise;
pub mod pointwise;
pub mod simd;
pub mod squeeze;
