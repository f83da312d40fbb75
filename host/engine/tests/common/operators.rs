//! Calls of the operators of candle graphs with random sizes.

use candle_core::{Result, Tensor};
use coshift_engine::candle_blocked as ops;
use coshift_engine::cuda::operators::{
    Depthwise, First, Launches, Operator, Pointwise, Pool, SqueezeExcite, TooLarge,
};
use coshift_engine::family::Activation;
use coshift_engine::train::random::Random;

/// An operator with its sizes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Call {
    Pointwise(Pointwise),
    Depthwise(Depthwise),
    First(First),
    SqueezeExcite(SqueezeExcite),
    Pool(Pool),
}

/// Their number.
pub(crate) const KINDS: usize = 5;

impl Call {
    /// Kind `case % KINDS`.
    pub(crate) fn random(case: usize, random: &mut Random) -> Self {
        let activation = [None, Some(Activation::Relu), Some(Activation::HSwish)];
        let (turn, images) = (case / KINDS, 1 + random.below(3));
        let (stride, activation) = (1 + turn % 2, activation[turn % 3]);
        // Few sizes are large: what is emulated is slow.
        let most = if turn % 5 == 4 { 130 } else { 40 };
        let (channels, outputs) = (1 + random.below(most), 1 + random.below(most));
        let side = 1 + random.below(if turn % 5 == 3 { 30 } else { 10 });
        let (height, width) = (side, 1 + random.below(12));
        let pixels = height * width;
        match case % KINDS {
            0 => Self::Pointwise(Pointwise {
                images,
                pixels,
                inputs: channels,
                row: channels + random.below(20),
                outputs,
                activation,
            }),
            1 => Self::Depthwise(Depthwise {
                images,
                height,
                width,
                channels,
                kernel: [3, 5, 7, 1, 9][turn % 5],
                stride,
                activation,
            }),
            2 => {
                let channels = 1 + random.below(4);
                Self::First(First { images, side, channels, outputs, stride, activation })
            }
            3 => Self::SqueezeExcite(SqueezeExcite { images, pixels, channels, middle: outputs }),
            _ => Self::Pool(Pool { images, pixels, channels }),
        }
    }

    /// Shapes of the arguments.
    pub(crate) fn shapes(&self) -> Vec<Vec<usize>> {
        match *self {
            Self::Pointwise(Pointwise { images, pixels, inputs, row, outputs, .. }) => {
                vec![vec![images, 1, pixels, inputs], vec![outputs, row], vec![2, outputs]]
            }
            Self::Depthwise(Depthwise { images, height, width, channels, kernel, .. }) => vec![
                vec![images, height, width, channels],
                vec![kernel * kernel, channels],
                vec![2, channels],
            ],
            Self::First(First { images, side, channels, outputs, .. }) => vec![
                vec![images, side, side, channels],
                vec![outputs, channels, 3, 3],
                vec![2, outputs],
            ],
            Self::SqueezeExcite(SqueezeExcite { images, pixels, channels, middle }) => vec![
                vec![images, pixels, 1, channels],
                vec![middle, channels + 1],
                vec![channels, middle + 1],
            ],
            Self::Pool(Pool { images, pixels, channels }) => {
                vec![vec![images, 1, pixels, channels]]
            }
        }
    }

    /// By candle, wherever the tensors are.
    pub(crate) fn run(&self, arguments: &[Tensor]) -> Result<Tensor> {
        match (self, arguments) {
            (Self::Pointwise(sizes), [x, a, b]) => ops::pointwise(x, a, b, sizes.activation),
            (Self::Depthwise(sizes), [x, a, b]) => {
                ops::depthwise(x, a, b, sizes.stride, sizes.activation)
            }
            (Self::First(sizes), [x, a, b]) => ops::first(x, a, b, sizes.stride, sizes.activation),
            (Self::SqueezeExcite(_), [x, a, b]) => ops::squeeze_excite(x, a, b),
            (Self::Pool(_), [x]) => ops::pool(x),
            (call, arguments) => panic!("{call:?} with {} arguments", arguments.len()),
        }
    }

    /// As launches.
    pub(crate) fn launches(
        &self,
        multiprocessors: usize,
    ) -> std::result::Result<Launches, TooLarge> {
        match self {
            Self::Pointwise(sizes) => sizes.launches(multiprocessors),
            Self::Depthwise(sizes) => sizes.launches(multiprocessors),
            Self::First(sizes) => sizes.launches(multiprocessors),
            Self::SqueezeExcite(sizes) => sizes.launches(multiprocessors),
            Self::Pool(sizes) => sizes.launches(multiprocessors),
        }
    }
}
