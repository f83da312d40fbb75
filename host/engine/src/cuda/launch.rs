//! One launch of a kernel, as data: what a driver and the emulation on the host both run.

use crate::family::Activation;
use crate::kernels::blocked::{LANES, blocks};

/// Memory that kernels read and write, each an array of `f32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// The weights that all sub-networks share.
    Weights,
    /// Folded normalisations of one sub-network.
    Own,
    /// Images, feature maps and logits.
    Arena,
    /// A tensor of a candle graph: an operator's arguments in their order, then its result.
    Tensor(u8),
}

/// Tensors that an operator of a candle graph has at most.
pub const TENSORS: usize = 4;

/// A place in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Which memory.
    pub space: Space,
    /// Values before it.
    pub at: usize,
}

/// Addresses of the memories; those that no launch uses are 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bases {
    /// Of [`Space::Weights`].
    pub weights: u64,
    /// Of [`Space::Own`].
    pub own: u64,
    /// Of [`Space::Arena`].
    pub arena: u64,
    /// Of each [`Space::Tensor`].
    pub tensors: [u64; TENSORS],
}

impl Bases {
    fn address(&self, Place { space, at }: Place) -> u64 {
        let base = match space {
            Space::Weights => self.weights,
            Space::Own => self.own,
            Space::Arena => self.arena,
            Space::Tensor(number) => self.tensors[usize::from(number)],
        };
        base + (at * size_of::<f32>()) as u64
    }
}

/// One launch. Blocks of threads have one dimension, shared memory is static.
#[derive(Debug, Clone, PartialEq)]
pub struct Launch {
    /// Name of the kernel.
    pub kernel: &'static str,
    /// Blocks of threads.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub threads: u32,
    /// The kernel's argument: first its pointers, `None` for a null pointer.
    pub pointers: Vec<Option<Place>>,
    /// Then its numbers.
    pub numbers: Vec<i32>,
    /// What it writes, where that is a map or a vector.
    pub output: Option<Place>,
}

impl Launch {
    /// The kernel's one argument, a C structure of pointers and then of 32-bit numbers.
    #[must_use]
    pub fn argument(&self, bases: &Bases) -> Vec<u64> {
        let pointer = |place: &Option<Place>| place.map_or(0, |place| bases.address(place));
        let mut words: Vec<u64> = self.pointers.iter().map(pointer).collect();
        for pair in self.numbers.chunks(2) {
            let mut bytes = [0; 8];
            for (bytes, number) in bytes.chunks_exact_mut(4).zip(pair) {
                bytes.copy_from_slice(&number.to_ne_bytes());
            }
            words.push(u64::from_ne_bytes(bytes));
        }
        words
    }
}

/// What a kernel does to its sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// An activation, or none.
    Activation(Option<Activation>),
    /// h-sigmoid: the factors of squeeze-excite.
    Gate,
}

impl After {
    /// As `common.cuh` numbers them.
    fn code(self) -> i32 {
        match self {
            Self::Activation(None) => 0,
            Self::Activation(Some(Activation::Relu)) => 1,
            Self::Activation(Some(Activation::HSwish)) => 2,
            Self::Gate => 3,
        }
    }
}

/// A size as a kernel's number. Sizes of a family are far below the limit ([`crate::family`]).
pub(super) fn number(size: usize) -> i32 {
    i32::try_from(size).expect("a size below 2³¹")
}

pub(super) fn count(size: usize) -> u32 {
    u32::try_from(size).expect("a size below 2³²")
}

/// Scale and shift of each output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Folded {
    /// Factors, `[blocks][16]`.
    pub scale: Place,
    /// Summands, `[blocks][16]`.
    pub shift: Place,
}

/// The first convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stem {
    /// `[images][side][side][channels]`.
    pub x: Place,
    /// Panels of rows of 9 · channels.
    pub weight: Place,
    /// Scale and shift.
    pub folded: Folded,
    /// `[images][blocks][out side²][16]`.
    pub y: Place,
    /// Images.
    pub images: usize,
    /// Height and width of an image.
    pub side: usize,
    /// Channels of an image.
    pub channels: usize,
    /// Channels of the output.
    pub outputs: usize,
    /// 1 or 2.
    pub stride: usize,
    /// Activation.
    pub activation: Option<Activation>,
}

/// Threads of every kernel but the pointwise ones.
pub(super) const THREADS: usize = 256;

impl Stem {
    /// Its launch.
    #[must_use]
    pub fn launch(&self) -> Launch {
        let Self { x, weight, folded, y, images, side, channels, outputs, stride, .. } = *self;
        let pixels = side.div_ceil(stride).pow(2);
        Launch {
            kernel: "stem",
            grid: [pixels.div_ceil(THREADS / 4), blocks(outputs), images].map(count),
            threads: THREADS as u32,
            pointers: [x, weight, folded.scale, folded.shift, y].map(Some).to_vec(),
            numbers: vec![
                number(side),
                number(channels),
                number(stride),
                After::Activation(self.activation).code(),
            ],
            output: Some(y),
        }
    }
}

/// A pointwise convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pointwise {
    /// `[images][input blocks][pixels][16]`.
    pub x: Place,
    /// Panels.
    pub weight: Place,
    /// Length of a panel.
    pub row: usize,
    /// Scale and shift.
    pub folded: Folded,
    /// `[images][input blocks][16]`: factors of the inputs.
    pub gates: Option<Place>,
    /// A map like the output, added after the activation.
    pub add: Option<Place>,
    /// `[images][output blocks][pixels][16]`.
    pub y: Option<Place>,
    /// `[images][tiles of pixels][output blocks][16]`: sums over the pixels of a tile.
    pub sums: Option<Place>,
    /// Images.
    pub images: usize,
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the output.
    pub outputs: usize,
    /// Pixels of the map.
    pub pixels: usize,
    /// Activation.
    pub activation: Option<Activation>,
}

/// How a pointwise kernel cuts its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// Name of the kernel.
    pub kernel: &'static str,
    /// Outputs of a block of threads.
    pub outputs: usize,
    /// Pixels of a block of threads.
    pub pixels: usize,
    /// Slices of the inputs.
    pub slices: usize,
    /// Threads of a block.
    pub threads: usize,
}

impl Tile {
    /// Tiles of a map of so many pixels.
    #[must_use]
    pub fn over(&self, pixels: usize) -> usize {
        pixels.div_ceil(self.pixels)
    }
}

impl Pointwise {
    /// Its launch, cut into these tiles.
    #[must_use]
    pub fn launch(&self, tile: &Tile) -> Launch {
        let Self { x, weight, row, folded, gates, add, y, sums, .. } = *self;
        let tiles = blocks(self.outputs).div_ceil(tile.outputs / LANES);
        Launch {
            kernel: tile.kernel,
            grid: [tile.over(self.pixels), tiles, self.images].map(count),
            threads: count(tile.threads),
            pointers: vec![
                Some(x),
                Some(weight),
                Some(folded.scale),
                Some(folded.shift),
                gates,
                add,
                y,
                sums,
            ],
            numbers: vec![
                number(self.inputs),
                number(row),
                number(self.outputs),
                number(self.pixels),
                After::Activation(self.activation).code(),
            ],
            output: y,
        }
    }
}

/// A depthwise convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depthwise {
    /// `[images][blocks][height · width][16]`.
    pub x: Place,
    /// `[blocks][kernel²][16]`.
    pub weight: Place,
    /// Scale and shift.
    pub folded: Folded,
    /// `[images][blocks][out height · out width][16]`.
    pub y: Place,
    /// `[images][bands][blocks][16]`: sums over the pixels of a band.
    pub sums: Option<Place>,
    /// Images.
    pub images: usize,
    /// Channels.
    pub channels: usize,
    /// Height of the input.
    pub height: usize,
    /// Width of the input.
    pub width: usize,
    /// Odd.
    pub kernel: usize,
    /// 1 or 2.
    pub stride: usize,
    /// Activation.
    pub activation: Option<Activation>,
}

/// How a depthwise kernel cuts its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bands {
    /// Neighbouring outputs of a thread: 1 or 4.
    pub outputs: usize,
    /// Output rows of a block of threads.
    pub rows: usize,
}

impl Depthwise {
    /// Its launch, cut into these bands. Kernels other than 3, 5 and 7 have one output a thread.
    #[must_use]
    pub fn launch(&self, bands: Bands) -> Launch {
        let Self { x, weight, folded, y, sums, images, channels, height, width, .. } = *self;
        let kernel = match (self.kernel, self.stride, bands.outputs) {
            (3, 1, 1) => "depthwise_3_1_1",
            (3, 1, 4) => "depthwise_3_1_4",
            (3, 2, 1) => "depthwise_3_2_1",
            (3, 2, 4) => "depthwise_3_2_4",
            (5, 1, 1) => "depthwise_5_1_1",
            (5, 1, 4) => "depthwise_5_1_4",
            (5, 2, 1) => "depthwise_5_2_1",
            (5, 2, 4) => "depthwise_5_2_4",
            (7, 1, 1) => "depthwise_7_1_1",
            (7, 1, 4) => "depthwise_7_1_4",
            (7, 2, 1) => "depthwise_7_2_1",
            (7, 2, 4) => "depthwise_7_2_4",
            _ => "depthwise_any",
        };
        let [scale, shift] = [folded.scale, folded.shift].map(Some);
        let out_rows = height.div_ceil(self.stride);
        Launch {
            kernel,
            grid: [out_rows.div_ceil(bands.rows), blocks(channels), images].map(count),
            threads: THREADS as u32,
            pointers: vec![Some(x), Some(weight), scale, shift, Some(y), sums],
            numbers: vec![
                number(height),
                number(width),
                number(self.kernel),
                number(self.stride),
                number(bands.rows),
                After::Activation(self.activation).code(),
            ],
            output: Some(y),
        }
    }
}

/// A pointwise convolution and the depthwise one that alone reads its map, for small maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fused {
    /// `[images][input blocks][side²][16]`.
    pub x: Place,
    /// Panels of the first.
    pub weight: Place,
    /// Length of a panel.
    pub row: usize,
    /// Scale and shift of the first.
    pub folded: Folded,
    /// Of the second, `[blocks][kernel²][16]`.
    pub taps: Place,
    /// Scale and shift of the second.
    pub tap_folded: Folded,
    /// `[images][blocks][out side²][16]`.
    pub y: Place,
    /// `[images][blocks][16]`: sums over all pixels.
    pub sums: Option<Place>,
    /// Images.
    pub images: usize,
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the output and of the map between.
    pub outputs: usize,
    /// Height and width of the input and of the map between.
    pub side: usize,
    /// Odd.
    pub kernel: usize,
    /// 1 or 2.
    pub stride: usize,
    /// Activation of both.
    pub activation: Option<Activation>,
}

/// A kernel for [`Fused`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole {
    /// Name of the kernel.
    pub kernel: &'static str,
    /// Pixels that the map between may have.
    pub pixels: usize,
    /// Slices of the inputs.
    pub slices: usize,
    /// Threads of a block.
    pub threads: usize,
}

impl Fused {
    /// Its launch.
    ///
    /// # Panics
    /// If the map is larger than the kernel takes.
    #[must_use]
    pub fn launch(&self, whole: &Whole) -> Launch {
        let Self { x, weight, folded, taps, tap_folded, y, sums, side, .. } = *self;
        assert!(side * side <= whole.pixels, "{side}² pixels for {}", whole.kernel);
        let mut pointers = [x, weight, folded.scale, folded.shift, taps].map(Some).to_vec();
        pointers.extend([Some(tap_folded.scale), Some(tap_folded.shift), Some(y), sums]);
        Launch {
            kernel: whole.kernel,
            grid: [1, blocks(self.outputs), self.images].map(count),
            threads: count(whole.threads),
            pointers,
            numbers: vec![
                number(self.inputs),
                number(self.row),
                number(self.outputs),
                number(side),
                number(self.kernel),
                number(self.stride),
                After::Activation(self.activation).code(),
            ],
            output: Some(y),
        }
    }
}

/// A layer on one vector an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vector {
    /// `[images][parts][input blocks][16]`.
    pub x: Place,
    /// Parts that make the vector together.
    pub parts: usize,
    /// What their sum is divided by.
    pub pixels: usize,
    /// Panels.
    pub weight: Place,
    /// Length of a panel.
    pub row: usize,
    /// `[output blocks][16]`.
    pub bias: Option<Place>,
    /// `[images][output blocks][16]`.
    pub y: Place,
    /// Images.
    pub images: usize,
    /// Values of the vector.
    pub inputs: usize,
    /// Values of the output.
    pub outputs: usize,
    /// What follows the sum.
    pub after: After,
}

impl Vector {
    /// Its launch.
    #[must_use]
    pub fn launch(&self) -> Launch {
        let Self { x, weight, bias, y, images, .. } = *self;
        // Several images read the weights together.
        let (kernel, together) = if images > 1 { ("vector_4", 4) } else { ("vector_1", 1) };
        Launch {
            kernel,
            grid: [blocks(self.outputs), images.div_ceil(together), 1].map(count),
            threads: THREADS as u32,
            pointers: vec![Some(x), Some(weight), bias, Some(y)],
            numbers: vec![
                number(self.inputs),
                number(self.row),
                number(self.parts),
                number(self.pixels),
                number(images),
                self.after.code(),
            ],
            output: Some(y),
        }
    }
}

/// Every kernel that a launch may name.
pub const KERNELS: &[&str] = &[
    "stem",
    "pointwise_64x64x1",
    "pointwise_64x128x1",
    "pointwise_32x64x2",
    "pointwise_32x32x4",
    "pointwise_16x16x8",
    "depthwise_3_1_1",
    "depthwise_3_1_4",
    "depthwise_3_2_1",
    "depthwise_3_2_4",
    "depthwise_5_1_1",
    "depthwise_5_1_4",
    "depthwise_5_2_1",
    "depthwise_5_2_4",
    "depthwise_7_1_1",
    "depthwise_7_1_4",
    "depthwise_7_2_1",
    "depthwise_7_2_4",
    "depthwise_any",
    "fused_64",
    "fused_256",
    "vector_1",
    "vector_4",
    "to_blocks",
    "from_blocks",
    "means",
    "scale",
];
