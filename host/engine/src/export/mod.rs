//! One sub-network as a network of its own, for other runtimes.
//!
//! * [`layers`] — its layers, with the weights cut out of the shared ones
//! * [`onnx()`] — as ONNX, normalisations folded
//! * [`tensors`] — as safetensors, under the names of the published specialised networks
//! * [`proto`] — the part of protobuf that ONNX needs

pub mod layers;
pub mod onnx;
pub mod proto;
pub mod tensors;

pub use onnx::onnx;
pub use tensors::safetensors;
