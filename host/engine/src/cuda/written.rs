//! What the launches of a program leave, for comparisons with another backend.

use super::launch::Place;
use crate::intermediate::Intermediate;
use crate::kernels::blocked::{LANES, blocks};

/// A tensor that a launch of a program writes: `[images][parts][blocks][pixels][16]`, whose parts make
/// the tensor together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Number of the launch in its program.
    pub launch: usize,
    /// Which tensor.
    pub what: Intermediate,
    /// Where it is.
    pub place: Place,
    /// Parts.
    pub parts: usize,
    /// Blocks of 16 channels.
    pub blocks: usize,
    /// Pixels.
    pub pixels: usize,
    /// What the sum of the parts is divided by.
    pub over: usize,
}

impl Written {
    /// Values of an image.
    #[must_use]
    pub fn step(&self) -> usize {
        self.parts * self.blocks * self.pixels * LANES
    }

    /// The tensor `[pixels, channels]` of an image.
    ///
    /// # Panics
    /// If there are not [`Self::step`] values, or more channels than blocks.
    #[must_use]
    pub fn tensor(&self, image: &[f32], channels: usize) -> Vec<f32> {
        let Self { parts, pixels, over, .. } = *self;
        assert_eq!(image.len(), self.step(), "{}", self.what);
        assert!(blocks(channels) <= self.blocks, "{}: {channels} channels", self.what);
        let part = image.len() / parts;
        let sum = |at: usize| image[at..].iter().step_by(part).sum::<f32>();
        places(pixels, channels).map(|at| sum(at) / over as f32).collect()
    }

    /// Puts a tensor `[pixels, channels]` in the place of an image's: the first part is all of it, and
    /// channels beyond the last are 0.
    ///
    /// # Panics
    /// As [`Self::tensor`].
    pub fn replace(&self, image: &mut [f32], tensor: &[f32], channels: usize) {
        assert_eq!(image.len(), self.step(), "{}", self.what);
        assert!(blocks(channels) <= self.blocks, "{}: {channels} channels", self.what);
        image.fill(0.0);
        for (at, value) in places(self.pixels, channels).zip(tensor) {
            image[at] = value * self.over as f32;
        }
    }
}

/// Where the values `[pixels, channels]` are in `[blocks][pixels][16]`.
fn places(pixels: usize, channels: usize) -> impl Iterator<Item = usize> {
    (0..pixels).flat_map(move |pixel| {
        (0..channels)
            .map(move |channel| (channel / LANES * pixels + pixel) * LANES + channel % LANES)
    })
}
