//! Dynamic super-networks: one resident set of weights, many sub-networks.
//!
//! * [`adapt`] — normalisation re-calibrated from images without labels
//! * [`calibration`] — images that normalisation is calibrated on
//! * [`corrupt`] — images made worse on purpose
//! * [`cuda`] — inference on NVIDIA GPUs
//! * [`export`] — a sub-network for other runtimes
//! * [`family`] — the OFA-MobileNetV3 family, described by data
//! * [`layout`] — the layers of a super-network and what a sub-network uses of them
//! * [`levels`] — published sub-networks and their accuracies
//! * [`images`] — labelled images in IDX files
//! * [`import`] — PyTorch checkpoints
//! * [`intermediate`] — the tensors between layers, by which backends are compared
//! * [`kernels`] — the operators, as functions over slices
//! * `candle_ops` — the same operators in candle graphs, with gradients (feature `candle`)
//! * `candle_blocked` — the operators of inference, and whole sub-networks, in candle graphs (as above)
//! * `candle_cuda` — the operators of inference in candle graphs on a GPU (feature `candle-cuda`)
//! * [`tensors`] — tensors in files
//! * [`model`] — what a model folder says about itself
//! * [`network`] — inference: resident weights, a sub-network by its index
//! * [`resample`] — images at the resolution of a sub-network
//! * [`search`] — the sub-networks worth having
//! * [`statistics`] — published statistics of normalisation
//! * [`train`] — forward and backward over the kernels, optimiser, sandwich steps

pub mod adapt;
pub mod calibration;
#[cfg(feature = "candle")]
pub mod candle_blocked;
#[cfg(feature = "candle-cuda")]
pub mod candle_cuda;
#[cfg(feature = "candle")]
mod candle_gradients;
#[cfg(feature = "candle")]
pub mod candle_ops;
pub mod corrupt;
pub mod cuda;
mod exec;
pub mod export;
pub mod family;
pub mod images;
pub mod import;
pub mod intermediate;
pub mod kernels;
pub mod layout;
pub mod levels;
pub mod model;
pub mod network;
pub mod resample;
pub mod search;
pub mod statistics;
pub mod tensors;
pub mod train;
