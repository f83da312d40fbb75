//! The operators of candle graphs as lists of launches.
//!
//! Their tensors are maps `[images, pixels, channels]` and weights as they are trained; each operator
//! puts them into blocks, in memory of its own, and its result back.

use super::launch::{self, After, Folded, Launch, Place, Space};
use super::plain::{FromBlocks, Means, Scale, ToBlocks};
use super::tiles;
use crate::family::Activation;
use crate::kernels::blocked::{LANES, blocks};

/// `activation(scale · (x·Wᵀ) + shift)`: map, weight `[outputs, row]`, scale and shift `[2, outputs]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pointwise {
    /// Images.
    pub images: usize,
    /// Pixels of a map.
    pub pixels: usize,
    /// Channels of the map.
    pub inputs: usize,
    /// Columns of the weight, of which the first `inputs` are used.
    pub row: usize,
    /// Channels of the result.
    pub outputs: usize,
    /// Activation.
    pub activation: Option<Activation>,
}

/// `activation(scale · (x ∗ w) + shift)`, channel by channel: map, weight `[kernel², channels]`, scale
/// and shift `[2, channels]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depthwise {
    /// Images.
    pub images: usize,
    /// Height of a map.
    pub height: usize,
    /// Width of a map.
    pub width: usize,
    /// Channels.
    pub channels: usize,
    /// Odd.
    pub kernel: usize,
    /// 1 or 2.
    pub stride: usize,
    /// Activation.
    pub activation: Option<Activation>,
}

/// The first convolution: images, weight `[outputs, channels, 3, 3]`, scale and shift `[2, outputs]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct First {
    /// Images.
    pub images: usize,
    /// Height and width of an image.
    pub side: usize,
    /// Channels of an image.
    pub channels: usize,
    /// Channels of the result.
    pub outputs: usize,
    /// 1 or 2.
    pub stride: usize,
    /// Activation.
    pub activation: Option<Activation>,
}

/// Squeeze-excite: map, weights `[middle, channels + 1]` and `[channels, middle + 1]` with the biases
/// as last columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SqueezeExcite {
    /// Images.
    pub images: usize,
    /// Pixels of a map.
    pub pixels: usize,
    /// Channels.
    pub channels: usize,
    /// Values between the two layers.
    pub middle: usize,
}

/// Means over the pixels of a map: `[images, channels]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// Images.
    pub images: usize,
    /// Pixels of a map.
    pub pixels: usize,
    /// Channels.
    pub channels: usize,
}

/// The launches of an operator. Arguments and result are [`Space::Tensor`] in their order, memory of
/// its own is [`Space::Arena`].
#[derive(Debug, Clone, PartialEq)]
pub struct Launches {
    /// In their order; each may read what those before it wrote.
    pub launches: Vec<Launch>,
    /// Values of [`Space::Arena`].
    pub scratch: usize,
    /// Values of the result.
    pub output: usize,
}

/// A size that no launch can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{found} {what} where at most {most} go")]
pub struct TooLarge {
    /// What is too large.
    pub what: &'static str,
    /// How large it is.
    pub found: usize,
    /// How large it may be.
    pub most: usize,
}

/// Blocks that the second and third size of a grid may have.
const GRID: usize = 65_535;

/// `maps` and weights by pixels or rows, and channels.
fn fits(images: usize, maps: &[(usize, usize)]) -> Result<(), TooLarge> {
    let limit = |what, found, most| {
        if found <= most { Ok(()) } else { Err(TooLarge { what, found, most }) }
    };
    limit("images", images, GRID)?;
    for (pixels, channels) in maps {
        limit("channels", *channels, GRID * LANES)?;
        let values = pixels.saturating_mul(blocks(*channels) * LANES);
        limit("values of one map or weight", values, i32::MAX as usize)?;
    }
    Ok(())
}

/// What becomes launches. Sizes are not 0.
pub trait Operator {
    /// The launches on a device with so many multiprocessors.
    ///
    /// # Errors
    /// [`TooLarge`]: more than 65,535 images or blocks of channels, or a weight or the map of an image
    /// with 2³¹ values.
    fn launches(&self, multiprocessors: usize) -> Result<Launches, TooLarge>;
}

impl Operator for Pointwise {
    fn launches(&self, multiprocessors: usize) -> Result<Launches, TooLarge> {
        let Self { images, pixels, inputs, row, outputs, activation } = *self;
        fits(images, &[(pixels, inputs), (pixels, outputs), (row, outputs)])?;
        let mut build = Build::default();
        let layer = launch::Pointwise {
            x: build.blocked(0, images, pixels, inputs),
            weight: build.panels(1, outputs, row, inputs),
            row: inputs,
            folded: build.folded(outputs),
            gates: None,
            add: None,
            y: Some(build.map(images, pixels, outputs)),
            sums: None,
            images,
            inputs,
            outputs,
            pixels,
            activation,
        };
        build.launches.push(layer.launch(tiles::for_pointwise(&layer, multiprocessors)));
        Ok(build.result(images, pixels, outputs))
    }
}

impl Operator for Depthwise {
    fn launches(&self, multiprocessors: usize) -> Result<Launches, TooLarge> {
        let Self { images, height, width, channels, kernel, stride, activation } = *self;
        fits(images, &[(height.saturating_mul(width), channels), (kernel * kernel, channels)])?;
        let mut build = Build::default();
        let pixels = height.div_ceil(stride) * width.div_ceil(stride);
        let layer = launch::Depthwise {
            x: build.blocked(0, images, height * width, channels),
            weight: build.blocked(1, 1, kernel * kernel, channels),
            folded: build.folded(channels),
            y: build.map(images, pixels, channels),
            sums: None,
            images,
            channels,
            height,
            width,
            kernel,
            stride,
            activation,
        };
        build.launches.push(layer.launch(tiles::for_depthwise(&layer, multiprocessors)));
        Ok(build.result(images, pixels, channels))
    }
}

impl Operator for First {
    fn launches(&self, _multiprocessors: usize) -> Result<Launches, TooLarge> {
        let Self { images, side, channels, outputs, stride, activation } = *self;
        let (area, row) = (side.saturating_mul(side), channels.saturating_mul(9));
        fits(images, &[(area, channels), (area, outputs), (row, outputs)])?;
        let mut build = Build::default();
        let weight = build.map(1, row, outputs);
        build.launches.push(ToBlocks::dense(tensor(1), weight, outputs, channels).launch());
        let pixels = side.div_ceil(stride).pow(2);
        let layer = launch::Stem {
            // Read value by value, where it lies.
            x: tensor(0),
            weight,
            folded: build.folded(outputs),
            y: build.map(images, pixels, outputs),
            images,
            side,
            channels,
            outputs,
            stride,
            activation,
        };
        build.launches.push(layer.launch());
        Ok(build.result(images, pixels, outputs))
    }
}

impl Operator for SqueezeExcite {
    fn launches(&self, _multiprocessors: usize) -> Result<Launches, TooLarge> {
        let Self { images, pixels, channels, middle } = *self;
        fits(images, &[(pixels, channels), (channels + 1, middle), (middle + 1, channels)])?;
        let mut build = Build::default();
        let (x, means) = (tensor(0), build.map(images, 1, channels));
        let row = blocks(channels) * LANES;
        let pool = Means { x, y: means, images, pixels, channels, row };
        build.launches.push(pool.launch());
        let relu = After::Activation(Some(Activation::Relu));
        let squeezed = build.vector(means, 1, images, (channels, middle), relu);
        let gates = build.vector(squeezed, 2, images, (middle, channels), After::Gate);
        let scale = Scale { x, gates, y: tensor(3), images, pixels, channels };
        build.launches.push(scale.launch());
        Ok(build.done(images * pixels * channels))
    }
}

impl Operator for Pool {
    fn launches(&self, _multiprocessors: usize) -> Result<Launches, TooLarge> {
        let Self { images, pixels, channels } = *self;
        fits(images, &[(pixels, channels)])?;
        let mut build = Build::default();
        let (x, y) = (tensor(0), tensor(1));
        build.launches.push(Means { x, y, images, pixels, channels, row: channels }.launch());
        Ok(build.done(images * channels))
    }
}

fn tensor(number: u8) -> Place {
    Place { space: Space::Tensor(number), at: 0 }
}

#[derive(Debug, Default)]
struct Build {
    launches: Vec<Launch>,
    scratch: usize,
}

impl Build {
    /// Room for a map in blocks, with a gap behind it that nothing writes to.
    fn map(&mut self, images: usize, pixels: usize, channels: usize) -> Place {
        let at = self.scratch;
        self.scratch += (images * blocks(channels) * LANES * pixels).next_multiple_of(64) + 64;
        Place { space: Space::Arena, at }
    }

    /// An argument `[images, pixels, channels]` in blocks.
    fn blocked(&mut self, argument: u8, images: usize, pixels: usize, channels: usize) -> Place {
        let to = self.map(images, pixels, channels);
        let map = ToBlocks::map(tensor(argument), to, images, pixels, channels);
        self.launches.push(map.launch());
        to
    }

    /// The first `inputs` columns of a weight as panels.
    fn panels(&mut self, argument: u8, outputs: usize, row: usize, inputs: usize) -> Place {
        let to = self.map(1, inputs, outputs);
        let panels = ToBlocks::panels(tensor(argument), to, outputs, row, inputs);
        self.launches.push(panels.launch());
        to
    }

    /// Scale and shift, the third argument.
    fn folded(&mut self, channels: usize) -> Folded {
        let scale = self.blocked(2, 2, 1, channels);
        let shift = Place { at: scale.at + blocks(channels) * LANES, ..scale };
        Folded { scale, shift }
    }

    /// A layer on a vector, its bias the last column of the weight.
    fn vector(
        &mut self,
        x: Place,
        argument: u8,
        images: usize,
        (inputs, outputs): (usize, usize),
        after: After,
    ) -> Place {
        let weight = self.panels(argument, outputs, inputs + 1, inputs);
        let bias = self.map(1, 1, outputs);
        let last = Place { at: inputs, ..tensor(argument) };
        self.launches.push(ToBlocks::panels(last, bias, outputs, inputs + 1, 1).launch());
        let y = self.map(images, 1, outputs);
        let layer = launch::Vector {
            x,
            parts: 1,
            pixels: 1,
            weight,
            row: inputs,
            bias: Some(bias),
            y,
            images,
            inputs,
            outputs,
            after,
        };
        self.launches.push(layer.launch());
        y
    }

    /// The last launch's map goes to the fourth tensor.
    fn result(mut self, images: usize, pixels: usize, channels: usize) -> Launches {
        let y = tensor(3);
        if let Some(x) = self.launches.last().and_then(|launch| launch.output) {
            self.launches.push(FromBlocks { x, y, images, pixels, channels }.launch());
        }
        self.done(images * pixels * channels)
    }

    fn done(self, output: usize) -> Launches {
        Launches { launches: self.launches, scratch: self.scratch, output }
    }
}
