//! Images that normalisation is calibrated on, without labels and of any number of channels, in a
//! safetensors file.

use std::path::Path;

use crate::adapt;
use crate::family::{Family, SubNet};
use crate::layout::Layout;
use crate::model::Calibrated;
use crate::tensors::{FileFault, TensorFile};
use crate::train::network::Values;

/// Name of the tensor, `f32` `[count, channels, height, width]`.
pub const TENSOR: &str = "images";

/// Fewest images: statistics of less are far from those of all.
pub const LEAST: usize = 32;

/// Images as a network takes them: already normalised as in its training.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// Height and width, pixels.
    pub side: usize,
    /// Number of images.
    pub count: usize,
    /// [`crate::tensors::hash`] of the file.
    pub hash: u64,
    path: String,
    /// `[count, height, width, channels]`.
    values: Vec<f32>,
}

impl Calibration {
    /// Reads a file's tensor [`TENSOR`]: at least [`LEAST`] images, square, of the family's channels,
    /// finite values. Whether they are normalised cannot be told.
    ///
    /// # Errors
    /// [`FileFault`] names the file and what does not fit.
    pub fn read(path: &Path, family: &Family) -> Result<Self, FileFault> {
        let file = TensorFile::read(path)?;
        let path = file.path().to_owned();
        let shape = file.shape(TENSOR)?;
        let channels = family.image_channels;
        let (count, side) = match shape[..] {
            [count, found, height, width] if found == channels && height == width => (count, width),
            _ => {
                return Err(FileFault::Shape {
                    path,
                    tensor: TENSOR.into(),
                    found: format!("{shape:?}"),
                    expected: format!(
                        "[count, {channels}, side, side] as {} takes it",
                        family.name
                    ),
                });
            }
        };
        let content = |why: String| FileFault::Content { path: path.clone(), why };
        if count < LEAST {
            return Err(content(format!("{count} images, expected at least {LEAST}")));
        }
        if side != family.resolution && !family.resolutions.contains(&side) {
            let name = &family.name;
            let known = (family.resolution, &family.resolutions);
            return Err(content(format!(
                "images of {side}×{side} pixels, {name} takes {} or one of {:?}",
                known.0, known.1
            )));
        }
        let planes = file.tensor(TENSOR, &shape)?;
        if let Some(at) = planes.iter().position(|value| !value.is_finite()) {
            let image = at / (channels * side * side);
            let why = format!("tensor {TENSOR} holds a value that is no number, in image {image}");
            return Err(content(why));
        }
        let hash = file.hash();
        let values = channels_last(&planes, channels, side * side);
        Ok(Self { side, count, hash, path, values })
    }

    /// The file's name.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// A sub-network with the statistics of these images alone ([`adapt::calibrated`]).
    ///
    /// # Errors
    /// [`FileFault::Content`] where it takes images of another size.
    ///
    /// # Panics
    /// If the values are not in the shape of the layout, or the sub-network is not one of it.
    pub fn of(
        &self,
        layout: &Layout,
        values: &Values,
        net: &SubNet,
    ) -> Result<Calibrated, FileFault> {
        let (wanted, side) = (layout.family().side(net), self.side);
        if side != wanted {
            let why =
                format!("images of {side}×{side} pixels, the sub-network takes {wanted}×{wanted}");
            return Err(FileFault::Content { path: self.path.clone(), why });
        }
        Ok(adapt::calibrated(layout, values, net, &self.values))
    }
}

/// `[count, channels, pixels]` as `[count, pixels, channels]`.
fn channels_last(planes: &[f32], channels: usize, pixels: usize) -> Vec<f32> {
    let mut values = Vec::with_capacity(planes.len());
    for image in planes.chunks_exact(channels * pixels) {
        for pixel in 0..pixels {
            values.extend(image.iter().skip(pixel).step_by(pixels));
        }
    }
    values
}
