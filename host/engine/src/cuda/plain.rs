//! Launches between the tensors of candle graphs, maps `[images][pixels][channels]` and weights as
//! they are trained, and blocks of 16 channels.

use super::launch::{Launch, Place, THREADS, count, number};
use crate::kernels::blocked::{LANES, blocks};

fn launch(kernel: &'static str, grid: [usize; 3], places: &[Place], numbers: &[usize]) -> Launch {
    Launch {
        kernel,
        grid: grid.map(count),
        threads: THREADS as u32,
        pointers: places.iter().copied().map(Some).collect(),
        numbers: numbers.iter().copied().map(number).collect(),
        output: places.last().copied(),
    }
}

/// Into blocks: value of image `i`, channel `c`, pixel `p` is `x[i · image_step + c · channel_step +
/// p / inner · outer_step + p % inner · inner_step]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToBlocks {
    /// Where the first value is.
    pub x: Place,
    /// `[images][blocks][pixels][16]`; channels beyond the last are zero.
    pub y: Place,
    /// Images.
    pub images: usize,
    /// Values between an image and the next.
    pub image_step: usize,
    /// Channels.
    pub channels: usize,
    /// Values between a channel and the next.
    pub channel_step: usize,
    /// Pixels of a map; inputs of a weight.
    pub pixels: usize,
    /// Neighbours in groups of so many.
    pub inner: usize,
    /// Values between a group and the next.
    pub outer_step: usize,
    /// Values between the neighbours of a group.
    pub inner_step: usize,
}

impl ToBlocks {
    /// Of maps `[images][pixels][channels]`; also of scale and shift, `[2][1][channels]`, and of the
    /// taps of a depthwise kernel, `[1][taps][channels]`.
    #[must_use]
    pub fn map(x: Place, y: Place, images: usize, pixels: usize, channels: usize) -> Self {
        Self {
            x,
            y,
            images,
            image_step: pixels * channels,
            channels,
            channel_step: 1,
            pixels,
            inner: 1,
            outer_step: channels,
            inner_step: 0,
        }
    }

    /// Of the first `inputs` columns of a weight `[outputs][row]`: panels.
    #[must_use]
    pub fn panels(x: Place, y: Place, outputs: usize, row: usize, inputs: usize) -> Self {
        Self {
            x,
            y,
            images: 1,
            image_step: 0,
            channels: outputs,
            channel_step: row,
            pixels: inputs,
            inner: 1,
            outer_step: 1,
            inner_step: 0,
        }
    }

    /// Of a dense 3×3 weight `[outputs][channels][9]`: panels, taps before channels.
    #[must_use]
    pub fn dense(x: Place, y: Place, outputs: usize, channels: usize) -> Self {
        Self {
            inner: channels,
            outer_step: 1,
            inner_step: 9,
            ..Self::panels(x, y, outputs, 9 * channels, 9 * channels)
        }
    }

    /// Its launch.
    #[must_use]
    pub fn launch(&self) -> Launch {
        let Self { x, y, images, image_step, channels, channel_step, pixels, .. } = *self;
        let values = (pixels * LANES).div_ceil(THREADS);
        let (inner, steps) = (self.inner, [self.outer_step, self.inner_step]);
        let numbers = [image_step, channels, channel_step, pixels, inner, steps[0], steps[1]];
        launch("to_blocks", [values, blocks(channels), images], &[x, y], &numbers)
    }
}

/// Out of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FromBlocks {
    /// `[images][blocks][pixels][16]`.
    pub x: Place,
    /// `[images][pixels][channels]`.
    pub y: Place,
    /// Images.
    pub images: usize,
    /// Pixels of a map.
    pub pixels: usize,
    /// Channels.
    pub channels: usize,
}

impl FromBlocks {
    /// Its launch.
    #[must_use]
    pub fn launch(&self) -> Launch {
        let Self { x, y, images, pixels, channels } = *self;
        let values = (pixels * channels).div_ceil(THREADS);
        launch("from_blocks", [values, 1, images], &[x, y], &[pixels, channels])
    }
}

/// Means over the pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Means {
    /// `[images][pixels][channels]`.
    pub x: Place,
    /// `[images][row]`; zero from `channels` on.
    pub y: Place,
    /// Images.
    pub images: usize,
    /// Pixels of a map.
    pub pixels: usize,
    /// Channels.
    pub channels: usize,
    /// At least the channels, at most those of their blocks.
    pub row: usize,
}

impl Means {
    /// Its launch.
    #[must_use]
    pub fn launch(&self) -> Launch {
        let Self { x, y, images, pixels, channels, row } = *self;
        launch("means", [blocks(channels), 1, images], &[x, y], &[pixels, channels, row])
    }
}

/// Every channel times its factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// `[images][pixels][channels]`.
    pub x: Place,
    /// `[images][blocks][16]`.
    pub gates: Place,
    /// Like `x`.
    pub y: Place,
    /// Images.
    pub images: usize,
    /// Pixels of a map.
    pub pixels: usize,
    /// Channels.
    pub channels: usize,
}

impl Scale {
    /// Its launch.
    #[must_use]
    pub fn launch(&self) -> Launch {
        let Self { x, gates, y, images, pixels, channels } = *self;
        let values = (pixels * channels).div_ceil(THREADS);
        launch("scale", [values, 1, images], &[x, gates, y], &[pixels, channels])
    }
}
