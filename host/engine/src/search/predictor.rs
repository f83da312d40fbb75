//! The published accuracy predictor of once-for-all (`acc_predictor.pth`, as safetensors): a
//! perceptron of three hidden layers over which kernel and expand ratio each block has and which
//! size the images (`ofa/nas/accuracy_predictor`).
//!
//! What it says of the published levels of Dynamic-OFA is 4.5 to 6.9 points above what was
//! measured, in the right order.

use std::path::Path;

use super::{Source, SourceFault};
use crate::family::{Family, SubNet};
use crate::tensors::{FileFault, TensorFile};

/// Sizes of images that it was trained on: 112 to 224 pixels in steps of 16.
const SMALLEST: usize = 112;
const STEP: usize = 16;
const SIDES: usize = 8;

const HIDDEN: usize = 400;

/// The predictor for one family.
#[derive(Debug, Clone)]
pub struct Predictor {
    family: Family,
    /// `[inputs, outputs]`, `[outputs]`.
    layers: Vec<(Vec<f32>, Vec<f32>)>,
}

impl Predictor {
    /// Reads the tensors `0`, `2`, `4`, `6` with `weight` and `bias` for a family of 20 blocks with
    /// three kernels and three expand ratios.
    ///
    /// # Errors
    /// [`FileFault`]: the file, or a family that it was not made for.
    pub fn read(path: &Path, family: &Family) -> Result<Self, FileFault> {
        let file = TensorFile::read(path)?;
        let blocks = family.blocks();
        if (blocks, family.kernels.len(), family.expands.len()) != (20, 3, 3) {
            return Err(FileFault::Content {
                path: file.path().to_owned(),
                why: format!(
                    "it knows 20 blocks, 3 kernels and 3 expand ratios, {} has {blocks}, {} and {}",
                    family.name,
                    family.kernels.len(),
                    family.expands.len()
                ),
            });
        }
        let sizes = [6 * blocks + SIDES, HIDDEN, HIDDEN, HIDDEN, 1];
        let layer = |(place, pair): (usize, &[usize])| {
            let name = 2 * place;
            let weight = file.tensor(&format!("{name}.weight"), &[pair[1], pair[0]])?;
            // Column by column, so that inputs of 0, which are most, cost nothing.
            let columns = (0..pair[0]).flat_map(|input| weight.iter().skip(input).step_by(pair[0]));
            Ok((columns.copied().collect(), file.tensor(&format!("{name}.bias"), &[pair[1]])?))
        };
        let layers = sizes.windows(2).enumerate().map(layer).collect::<Result<_, FileFault>>()?;
        Ok(Self { family: family.clone(), layers })
    }

    /// One of three for the kernel and the expand ratio of each block in use, one of eight for the
    /// size of the images.
    fn features(&self, net: &SubNet) -> Option<Vec<f32>> {
        let mut features = vec![0.0; 6 * self.family.blocks() + SIDES];
        let (kernels, rest) = features.split_at_mut(3 * self.family.blocks());
        let (expands, sides) = rest.split_at_mut(3 * self.family.blocks());
        let mut first = 0;
        for (stage, depth) in self.family.stages.iter().zip(&net.depths) {
            for block in first..first + depth {
                let place = |known: &[usize], of: usize| known.iter().position(|k| *k == of);
                kernels[3 * block + place(&self.family.kernels, net.kernels[block])?] = 1.0;
                expands[3 * block + place(&self.family.expands, net.expands[block])?] = 1.0;
            }
            first += stage.max_depth;
        }
        let side = self.family.side(net);
        if !self.knows_side(side) {
            return None;
        }
        sides[(side - SMALLEST) / STEP] = 1.0;
        Some(features)
    }
}

impl Source for Predictor {
    fn of(&self, net: &SubNet) -> Result<f64, SourceFault> {
        let mut x = self.features(net).ok_or_else(|| {
            let side = self.family.side(net);
            SourceFault(format!("the predictor knows no images of {side} pixels"))
        })?;
        for (place, (weight, bias)) in self.layers.iter().enumerate() {
            let mut y = bias.clone();
            for (x, column) in x.iter().zip(weight.chunks_exact(bias.len())) {
                if *x != 0.0 {
                    y.iter_mut().zip(column).for_each(|(y, weight)| *y += x * weight);
                }
            }
            if place + 1 < self.layers.len() {
                y.iter_mut().for_each(|y| *y = y.max(0.0));
            }
            x = y;
        }
        Ok(100.0 * f64::from(x.first().copied().unwrap_or(f32::NAN)))
    }

    fn knows_side(&self, side: usize) -> bool {
        side >= SMALLEST
            && (side - SMALLEST).is_multiple_of(STEP)
            && (side - SMALLEST) / STEP < SIDES
    }
}
