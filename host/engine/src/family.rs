//! The OFA-MobileNetV3 family, described by data.
//!
//! A super-network is a stem convolution, one depthwise-separable block, stages of inverted
//! bottlenecks and a head. Elastic are the number of blocks of each stage, and the kernel and
//! expand ratio of each block. Sub-networks use the first blocks of a stage, the first channels of
//! a layer and the centre of a kernel, brought to the smaller size by learned matrices
//! (Cai et al., Once-for-All, ICLR 2020; geometry of `ofa/imagenet_classification/elastic_nn`).

use std::fmt::Debug;

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
    /// Height and width of the images of a sub-network that asks for no other, pixels.
    pub resolution: usize,
    /// Heights and widths that a sub-network may ask for, ascending, smaller or larger than
    /// `resolution`; none = only that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resolutions: Vec<usize>,
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
    /// Early exits, by ascending stage.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exits: Vec<Exit>,
}

/// An early exit: the mean over the pixels of a stage's last map and one layer to the classes. An
/// image whose largest softmax value is at least the threshold goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exit {
    /// Place of the stage that it follows, 0 the first.
    pub stage: usize,
    /// Least confidence, above 0 and at most 1.
    pub threshold: f32,
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
    /// Height and width of its images, pixels; `None` = the family's `resolution`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<usize>,
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

    /// The largest sub-network at the family's `resolution`.
    #[must_use]
    pub fn largest(&self) -> SubNet {
        self.uniform(|stage| stage.max_depth, self.max_kernel(), self.max_expand())
    }

    /// The largest sub-network at the finest resolution.
    #[must_use]
    pub fn finest(&self) -> SubNet {
        let side =
            self.resolutions.last().map_or(self.resolution, |side| *side.max(&self.resolution));
        self.at(self.largest(), side)
    }

    /// A sub-network at another resolution; the family's own is not named, so that equal ones are
    /// equal.
    #[must_use]
    pub fn at(&self, net: SubNet, side: usize) -> SubNet {
        SubNet { resolution: (side != self.resolution).then_some(side), ..net }
    }

    /// The smallest sub-network at the family's `resolution`.
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
            resolution: None,
        }
    }

    /// Height and width of a sub-network's images, pixels.
    #[must_use]
    pub fn side(&self, net: &SubNet) -> usize {
        net.resolution.unwrap_or(self.resolution)
    }

    /// Channels that squeeze-excite reduces `mid` channels to.
    #[must_use]
    pub fn squeezed(mid: usize) -> usize {
        Self::rounded((mid / 4) as f32)
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

/// Why a description is not one of a network that can run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {place} is {found}, expected {expected}")]
pub struct FamilyFault {
    /// The family.
    pub name: String,
    /// The field.
    pub place: String,
    /// What it is.
    pub found: String,
    /// What it should be.
    pub expected: String,
}

/// Largest size of anything a description may name: keeps products of two within a word. What all of
/// them together come to is checked by [`crate::layout::Layout::new`].
pub(crate) const MOST: usize = 1 << 14;

impl Family {
    pub(crate) fn fault(
        &self,
        place: impl Into<String>,
        found: impl Debug,
        expected: &str,
    ) -> FamilyFault {
        FamilyFault {
            name: self.name.clone(),
            place: place.into(),
            found: format!("{found:?}"),
            expected: expected.to_owned(),
        }
    }

    /// Checks the description.
    ///
    /// # Errors
    /// [`FamilyFault`] names the field.
    pub fn check(&self) -> Result<(), FamilyFault> {
        let sizes = [
            ("resolution", self.resolution),
            ("image_channels", self.image_channels),
            ("classes", self.classes),
            ("stem", self.stem),
            ("first", self.first),
            ("final_expand", self.final_expand),
            ("feature_mix", self.feature_mix),
        ];
        for (place, size) in sizes {
            if size == 0 || size > MOST {
                return Err(self.fault(place, size, "1 to 16384"));
            }
        }
        for (place, stride) in
            [("stem_stride", self.stem_stride), ("first_stride", self.first_stride)]
        {
            if !matches!(stride, 1 | 2) {
                return Err(self.fault(place, stride, "1 or 2"));
            }
        }
        let ascending = |sizes: &[usize]| sizes.windows(2).all(|pair| pair[0] < pair[1]);
        let odd = |size: &usize| size % 2 == 1 && *size <= 31;
        if self.kernels.is_empty() || !ascending(&self.kernels) || !self.kernels.iter().all(odd) {
            return Err(self.fault("kernels", &self.kernels, "odd sizes to 31, ascending"));
        }
        let expand = |ratio: &usize| (1..=64).contains(ratio);
        if self.expands.is_empty() || !ascending(&self.expands) || !self.expands.iter().all(expand)
        {
            return Err(self.fault("expands", &self.expands, "ratios of 1 to 64, ascending"));
        }
        let within = |side: &usize| (1..=MOST).contains(side);
        if !ascending(&self.resolutions) || !self.resolutions.iter().all(within) {
            let expected = "sizes of 1 to 16384, ascending";
            return Err(self.fault("resolutions", &self.resolutions, expected));
        }
        if !(self.bn_epsilon > 0.0 && self.bn_epsilon < 1.0) {
            return Err(self.fault("bn_epsilon", self.bn_epsilon, "above 0 and below 1"));
        }
        if self.stages.is_empty() || self.stages.len() > 64 {
            return Err(self.fault("stages", self.stages.len(), "1 to 64 stages"));
        }
        for (index, stage) in self.stages.iter().enumerate() {
            let place = |field: &str| format!("stages[{index}].{field}");
            if stage.channels == 0 || stage.channels > MOST {
                return Err(self.fault(place("channels"), stage.channels, "1 to 16384"));
            }
            if !matches!(stage.stride, 1 | 2) {
                return Err(self.fault(place("stride"), stage.stride, "1 or 2"));
            }
            // Without its first block a stage would not change the channels.
            if stage.min_depth == 0 || stage.min_depth > stage.max_depth || stage.max_depth > 64 {
                let depths = (stage.min_depth, stage.max_depth);
                return Err(self.fault(
                    place("min_depth, max_depth"),
                    depths,
                    "1 ≤ least ≤ largest ≤ 64",
                ));
            }
        }
        if !self.exits.windows(2).all(|pair| pair[0].stage < pair[1].stage) {
            let stages: Vec<_> = self.exits.iter().map(|exit| exit.stage).collect();
            return Err(self.fault("exits", stages, "ascending stages"));
        }
        for (index, exit) in self.exits.iter().enumerate() {
            if exit.stage >= self.stages.len() {
                let expected = format!("0 to {}", self.stages.len() - 1);
                return Err(self.fault(format!("exits[{index}].stage"), exit.stage, &expected));
            }
            if !(exit.threshold > 0.0 && exit.threshold <= 1.0) {
                let place = format!("exits[{index}].threshold");
                return Err(self.fault(place, exit.threshold, "above 0 and at most 1"));
            }
        }
        Ok(())
    }

    /// Checks that a sub-network is one of this family.
    ///
    /// # Errors
    /// [`FamilyFault`] names the list and what it should hold.
    pub fn check_net(&self, net: &SubNet) -> Result<(), FamilyFault> {
        let in_range =
            |(depth, stage): (&usize, &Stage)| (stage.min_depth..=stage.max_depth).contains(depth);
        let whole = net.depths.len() == self.stages.len();
        if !whole || !net.depths.iter().zip(&self.stages).all(in_range) {
            let expected = "one depth a stage, within its range";
            return Err(self.fault("depths of a sub-network", &net.depths, expected));
        }
        let lists =
            [("kernels", &net.kernels, &self.kernels), ("expands", &net.expands, &self.expands)];
        for (name, list, known) in lists {
            if list.len() != self.blocks() || !list.iter().all(|item| known.contains(item)) {
                let expected = format!("{} of {known:?}", self.blocks());
                return Err(self.fault(format!("{name} of a sub-network"), list, &expected));
            }
        }
        let side = self.side(net);
        if side != self.resolution && !self.resolutions.contains(&side) {
            let expected = format!("{} or one of {:?}", self.resolution, self.resolutions);
            return Err(self.fault("resolution of a sub-network", side, &expected));
        }
        Ok(())
    }
}

/// The member for 28×28 grey images, as JSON.
pub const COSHIFT_28: &str = include_str!("coshift-28.json");

/// Once-for-all MobileNetV3 for ImageNet, width 1.0 (`ofa_mbv3_d234_e346_k357_w1.0`), as JSON.
pub const OFA_10: &str = include_str!("ofa-mbv3-1.0.json");

/// Once-for-all MobileNetV3 for ImageNet, width 1.2 (`ofa_mbv3_d234_e346_k357_w1.2`), as JSON.
pub const OFA_12: &str = include_str!("ofa-mbv3-1.2.json");
