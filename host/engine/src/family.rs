//! The OFA-MobileNetV3 family, described by data.
//!
//! A super-network is a stem convolution, one depthwise-separable block, stages of inverted
//! bottlenecks and a head. Elastic are the number of blocks of each stage, and the kernel and
//! expand ratio of each block. Sub-networks use the first blocks of a stage, the first channels of
//! a layer and the centre of a kernel, brought to the smaller size by learned matrices
//! (Cai et al., Once-for-All, ICLR 2020; geometry of `ofa/imagenet_classification/elastic_nn`).

use serde::{Deserialize, Serialize};

/// Activation of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// max(x, 0).
    Relu,
    /// x · min(max(x + 3, 0), 6) / 6.
    HSwish,
}

/// A super-network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Family {
    /// Name of the member.
    pub name: String,
    /// Height and width of an image at full resolution, pixels.
    pub resolution: usize,
    /// Channels of an image.
    pub image_channels: usize,
    /// Classes.
    pub classes: usize,
    /// Channels after the 3×3 stem.
    pub stem: usize,
    /// Stride of the stem.
    pub stem_stride: usize,
    /// Channels after the first, not elastic, block.
    pub first: usize,
    /// Stride of the first block.
    pub first_stride: usize,
    /// The stages.
    pub stages: Vec<Stage>,
    /// Kernel sizes, ascending.
    pub kernels: Vec<usize>,
    /// Expand ratios, ascending.
    pub expands: Vec<usize>,
    /// Channels of the 1×1 layer before pooling.
    pub final_expand: usize,
    /// Channels of the 1×1 layer after pooling.
    pub feature_mix: usize,
    /// ε of batch normalisation.
    pub bn_epsilon: f32,
}

/// A stage of inverted bottlenecks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Channels out of every block.
    pub channels: usize,
    /// Stride of its first block.
    pub stride: usize,
    /// Activation inside its blocks.
    pub activation: Activation,
    /// Whether its blocks have squeeze-excite.
    pub squeeze_excite: bool,
    /// Least number of blocks.
    pub min_depth: usize,
    /// Largest number of blocks.
    pub max_depth: usize,
}

/// One sub-network of a family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubNet {
    /// Blocks of each stage.
    pub depths: Vec<usize>,
    /// Kernel of every block that the family has, the inactive ones included.
    pub kernels: Vec<usize>,
    /// Expand ratio of every block that the family has, the inactive ones included.
    pub expands: Vec<usize>,
}

impl Family {
    /// Rounds channels as the family does: to a multiple of 8, never more than 10 % down
    /// (`make_divisible`).
    #[must_use]
    pub fn rounded(channels: f32) -> usize {
        let nearest = ((channels + 4.0) as usize / 8 * 8).max(8);
        if (nearest as f32) < 0.9 * channels { nearest + 8 } else { nearest }
    }

    /// Blocks of all stages, active or not.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.stages.iter().map(|stage| stage.max_depth).sum()
    }

    /// The largest sub-network.
    #[must_use]
    pub fn largest(&self) -> SubNet {
        self.uniform(|stage| stage.max_depth, self.max_kernel(), self.max_expand())
    }

    /// The smallest sub-network.
    #[must_use]
    pub fn smallest(&self) -> SubNet {
        let kernel = self.kernels.first().copied().unwrap_or(3);
        let expand = self.expands.first().copied().unwrap_or(1);
        self.uniform(|stage| stage.min_depth, kernel, expand)
    }

    /// A sub-network with one kernel and one expand ratio everywhere.
    pub fn uniform(&self, depth: impl Fn(&Stage) -> usize, kernel: usize, expand: usize) -> SubNet {
        SubNet {
            depths: self.stages.iter().map(depth).collect(),
            kernels: vec![kernel; self.blocks()],
            expands: vec![expand; self.blocks()],
        }
    }

    /// Largest kernel.
    #[must_use]
    pub fn max_kernel(&self) -> usize {
        self.kernels.last().copied().unwrap_or(3)
    }

    /// Largest expand ratio.
    #[must_use]
    pub fn max_expand(&self) -> usize {
        self.expands.last().copied().unwrap_or(1)
    }
}

/// The member for 28×28 grey images, as JSON.
pub const COSHIFT_28: &str = include_str!("coshift-28.json");
