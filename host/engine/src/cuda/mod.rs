//! Inference on NVIDIA GPUs.
//!
//! * [`launch`] — one launch of a kernel, as data
//! * [`tiles`] — how a layer is cut
//! * [`program`] — a sub-network as a list of launches
//! * [`written`] — what its launches leave
//! * [`compare`] — that against what the CPU's steps leave
//! * [`plain`] — launches between the tensors of candle graphs and blocks of channels
//! * [`operators`] — the operators of candle graphs as lists of launches
//! * `device` — running programs on a device (feature `cuda`)
//!
//! The kernels are CUDA C++ in `kernels/cuda`. All but `device` builds and is tested without a GPU and
//! without CUDA: a test compiles the kernels with the host's C++ compiler and runs programs on them.

pub mod compare;
#[cfg(feature = "cuda")]
pub mod device;
pub mod launch;
pub mod operators;
pub mod plain;
pub mod program;
pub mod tiles;
pub mod written;
