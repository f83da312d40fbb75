//! A small member of the family with every kind of layer.

#[allow(dead_code, reason = "as below")]
pub(crate) mod close;
#[allow(dead_code, reason = "as below")]
pub(crate) mod emulated;
#[cfg(feature = "candle")]
#[allow(dead_code, reason = "not every test binary uses all of it")]
pub(crate) mod graph;
#[allow(dead_code, reason = "as above")]
pub(crate) mod need;
#[cfg(feature = "candle-cuda")]
#[allow(dead_code, reason = "as above")]
pub(crate) mod operators;
#[allow(dead_code, reason = "as above")]
pub(crate) mod published;
#[allow(dead_code, reason = "as above")]
pub(crate) mod random;

use coshift_engine::family::{Activation, Family, Stage};

/// Shortcuts, both activations, squeeze-excite, kernels 3, 5, 7.
pub(crate) fn family() -> Family {
    let stage = |channels, stride, squeeze_excite, max_depth| Stage {
        channels,
        stride,
        activation: Activation::HSwish,
        squeeze_excite,
        min_depth: 1,
        max_depth,
    };
    Family {
        name: "test".into(),
        resolution: 8,
        resolutions: vec![],
        image_channels: 1,
        classes: 4,
        stem: 8,
        stem_stride: 1,
        first: 8,
        first_stride: 1,
        stages: vec![stage(8, 1, false, 2), stage(16, 2, true, 2)],
        kernels: vec![3, 5, 7],
        expands: vec![1, 2],
        final_expand: 16,
        feature_mix: 16,
        bn_epsilon: 1e-3,
        exits: vec![],
    }
}
