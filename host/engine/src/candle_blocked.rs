//! The operators of inference in candle graphs, and whole sub-networks as one operator.
//!
//! For mixing with layers of candle's own and for tests. Tensors are `f32` on the CPU or, with the
//! feature `candle-cuda`, on an NVIDIA GPU; feature maps are `[batch, height, width, channels]`. Every
//! operator copies its map into blocks of channels and back, which a whole sub-network does not
//! ([`sub_network`]; `candle_cuda::Resident` on a GPU). They have gradients on the CPU, but for a whole
//! sub-network: its statistics are folded into its weights.

use std::sync::{Arc, Mutex, PoisonError};

#[cfg(feature = "candle-cuda")]
use candle_core::CudaStorage;
use candle_core::{
    CpuStorage, CustomOp1, CustomOp3, Layout, Result, Shape, Tensor, WithDType, bail,
};

#[cfg(feature = "candle-cuda")]
use crate::candle_cuda;
use crate::candle_gradients::{self as gradients, Gradients};
use crate::candle_ops::{check_stride, depthwise_kernel, pointwise_weight, values};
use crate::cuda::operators::{self, Operator};
use crate::family::Activation;
use crate::kernels::blocked::{
    Affine, DepthwiseShape, Isa, Lanes, blocked, blocks, depthwise_map, in_lanes, panels,
    pointwise_map, pool_map, scale_map, stem_map, unblocked, vector_layer,
};
use crate::network::{Network, Workspace};

/// `activation(scale · (x·Wᵀ) + shift)` of `x` `[batch, height, width, inputs]`, `weight`
/// `[outputs, row]` with `row ≥ inputs`, of which the first columns are used in place, and `affine`
/// `[2, outputs]`: scale and shift.
///
/// # Errors
/// Where the shapes do not fit, a tensor is empty, not of `f32` or not where the others are; on a GPU,
/// where a size is beyond a launch ([`operators::TooLarge`]), and its own faults.
pub fn pointwise(
    x: &Tensor,
    weight: &Tensor,
    affine: &Tensor,
    activation: Option<Activation>,
) -> Result<Tensor> {
    run(x, weight, affine, Pointwise { activation })
}

/// `activation(scale · (x ∗ w) + shift)`, channel by channel: `x` `[batch, height, width, channels]`,
/// `weight` `[kernel·kernel, channels]`, `affine` `[2, channels]`, padding `kernel/2`.
///
/// # Errors
/// As [`pointwise`]; an even kernel, one beyond 31, a stride other than 1 and 2.
pub fn depthwise(
    x: &Tensor,
    weight: &Tensor,
    affine: &Tensor,
    stride: usize,
    activation: Option<Activation>,
) -> Result<Tensor> {
    run(x, weight, affine, Depthwise { stride, activation })
}

/// The first convolution, dense 3×3 with padding 1: `x` `[batch, side, side, channels]`, `weight`
/// `[outputs, channels, 3, 3]`, `affine` `[2, outputs]`.
///
/// # Errors
/// As [`pointwise`]; images that are not square, a stride other than 1 and 2.
pub fn first(
    x: &Tensor,
    weight: &Tensor,
    affine: &Tensor,
    stride: usize,
    activation: Option<Activation>,
) -> Result<Tensor> {
    run(x, weight, affine, First { stride, activation })
}

/// Squeeze-excite: every channel of `x` `[batch, height, width, channels]` times
/// h-sigmoid(E·relu(R·means + r) + e), with `reduce` `[middle, channels + 1]` and `expand`
/// `[channels, middle + 1]`, the biases r and e in their last columns.
///
/// # Errors
/// As [`pointwise`].
pub fn squeeze_excite(x: &Tensor, reduce: &Tensor, expand: &Tensor) -> Result<Tensor> {
    run(x, reduce, expand, SqueezeExcite)
}

/// Means over the pixels: `[batch, height, width, channels]` to `[batch, channels]`.
///
/// # Errors
/// As [`pointwise`].
pub fn pool(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Pool)
}

/// Sub-network `index` of a network as one operator: images `[batch, height, width, channels]` to
/// logits `[batch, classes]`, by the executor and on the threads of the workspace.
///
/// # Errors
/// Images of another size, no such sub-network, a tensor that is not on the CPU or not of `f32`. For a
/// GPU the weights have to be there already: `candle_cuda::Resident`. Backward through it is an error.
pub fn sub_network(
    images: &Tensor,
    network: &Arc<Network>,
    index: usize,
    space: &Arc<Mutex<Workspace>>,
) -> Result<Tensor> {
    let op = SubNetwork { network: Arc::clone(network), index, space: Arc::clone(space) };
    images.contiguous()?.apply_op1(op)
}

fn run(x: &Tensor, a: &Tensor, b: &Tensor, op: impl Blocked) -> Result<Tensor> {
    x.contiguous()?.apply_op3(&a.contiguous()?, &b.contiguous()?, Wrapped(op))
}

/// Sizes of a map that has some.
pub(crate) fn map(x: &Shape, name: &str) -> Result<[usize; 4]> {
    let (batch, height, width, channels) = x.dims4()?;
    filled(x, name)?;
    Ok([batch, height, width, channels])
}

fn filled(x: &Shape, name: &str) -> Result<()> {
    if x.elem_count() == 0 {
        bail!("{name}: an empty tensor {x:?}");
    }
    Ok(())
}

fn check_affine(affine: &Shape, channels: usize, name: &str) -> Result<()> {
    if affine.dims() != [2, channels] {
        bail!("{name}: affine {affine:?} where [2, {channels}] goes");
    }
    Ok(())
}

/// Largest kernel of a depthwise operator.
const MOST_KERNEL: usize = 31;

/// Scale and shift of so many channels, in blocks.
fn folds(affine: &[f32], channels: usize) -> [Vec<Lanes>; 2] {
    [0, 1].map(|row| in_lanes(&affine[row * channels..][..channels]).collect())
}

/// Runs `body` on the map of every image and gives the results, maps of `out` pixels and channels, one
/// after the other.
fn each(
    x: &[f32],
    image: usize,
    (pixels, channels): (usize, usize),
    mut body: impl FnMut(&[f32], &mut [Lanes]),
) -> Vec<f32> {
    let mut y = vec![Lanes::ZERO; blocks(channels) * pixels];
    let mut all = Vec::with_capacity(x.len() / image * pixels * channels);
    for x in x.chunks_exact(image) {
        body(x, &mut y);
        all.extend(unblocked(&y, channels));
    }
    all
}

/// An operator on a map and two tensors.
trait Blocked: Send + Sync + 'static {
    const NAME: &'static str;
    type Sizes: Operator;

    /// Sizes of the arguments that fit each other, and the shape of the result.
    fn sizes(&self, x: &Shape, a: &Shape, b: &Shape) -> Result<(Self::Sizes, Shape)>;

    /// The result.
    fn on_cpu(&self, sizes: &Self::Sizes, x: &[f32], a: &[f32], b: &[f32]) -> Vec<f32>;

    /// Gradients of map, weight and the third argument, given the result's.
    fn backward(sizes: &Self::Sizes, x: &[f32], a: &[f32], b: &[f32], dy: &[f32]) -> Gradients;
}

/// The values of a tensor that a gradient is computed of.
fn read(x: &Tensor, name: &str) -> Result<Vec<f32>> {
    if !x.device().is_cpu() {
        bail!("{name}: gradients are computed on the CPU only, a tensor is on {:?}", x.device());
    }
    x.flatten_all()?.to_vec1()
}

struct Wrapped<T>(T);

impl<T: Blocked> CustomOp3 for Wrapped<T> {
    fn name(&self) -> &'static str {
        T::NAME
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (sizes, shape) = self.0.sizes(x_layout.shape(), a_layout.shape(), b_layout.shape())?;
        let x = values(x, x_layout, T::NAME)?;
        let (a, b) = (values(a, a_layout, T::NAME)?, values(b, b_layout, T::NAME)?);
        Ok((f32::to_cpu_storage_owned(self.0.on_cpu(&sizes, x, a, b)), shape))
    }

    #[cfg(feature = "candle-cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        a: &CudaStorage,
        a_layout: &Layout,
        b: &CudaStorage,
        b_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (sizes, shape) = self.0.sizes(x_layout.shape(), a_layout.shape(), b_layout.shape())?;
        let arguments = [(x, x_layout), (a, a_layout), (b, b_layout)];
        Ok((candle_cuda::run(T::NAME, &sizes, &arguments)?, shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        a: &Tensor,
        b: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (sizes, _) = self.0.sizes(x.shape(), a.shape(), b.shape())?;
        let read = |tensor| read(tensor, T::NAME);
        let [dx, da, db] = T::backward(&sizes, &read(x)?, &read(a)?, &read(b)?, &read(dy)?);
        let give = |d: Vec<f32>, like: &Tensor| Tensor::from_vec(d, like.shape(), like.device());
        Ok((Some(give(dx, x)?), Some(give(da, a)?), Some(give(db, b)?)))
    }
}

struct Pointwise {
    activation: Option<Activation>,
}

impl Blocked for Pointwise {
    const NAME: &'static str = "coshift-blocked-pointwise";
    type Sizes = operators::Pointwise;

    fn sizes(&self, x: &Shape, weight: &Shape, affine: &Shape) -> Result<(Self::Sizes, Shape)> {
        let [images, height, width, inputs] = map(x, Self::NAME)?;
        let (outputs, row) = pointwise_weight(Self::NAME, weight, inputs)?;
        filled(weight, Self::NAME)?;
        check_affine(affine, outputs, Self::NAME)?;
        let (pixels, activation) = (height * width, self.activation);
        let sizes = operators::Pointwise { images, pixels, inputs, row, outputs, activation };
        Ok((sizes, Shape::from((images, height, width, outputs))))
    }

    fn on_cpu(&self, sizes: &Self::Sizes, x: &[f32], weight: &[f32], affine: &[f32]) -> Vec<f32> {
        let operators::Pointwise { pixels, inputs, row, outputs, activation, .. } = *sizes;
        let weight = panels(weight, row, outputs);
        let [scale, shift] = folds(affine, outputs);
        let affine = Affine { scale: &scale, shift: &shift, activation };
        let isa = Isa::best();
        each(x, pixels * inputs, (pixels, outputs), |x, y| {
            let x = blocked(x, inputs);
            pointwise_map(isa, &x, (pixels, inputs), (&weight, row), affine, None, y);
        })
    }

    fn backward(sizes: &Self::Sizes, x: &[f32], a: &[f32], b: &[f32], dy: &[f32]) -> Gradients {
        gradients::of_pointwise(sizes, x, a, b, dy)
    }
}

struct Depthwise {
    stride: usize,
    activation: Option<Activation>,
}

impl Blocked for Depthwise {
    const NAME: &'static str = "coshift-blocked-depthwise";
    type Sizes = operators::Depthwise;

    fn sizes(&self, x: &Shape, weight: &Shape, affine: &Shape) -> Result<(Self::Sizes, Shape)> {
        let [images, height, width, channels] = map(x, Self::NAME)?;
        let stride = self.stride;
        let kernel = depthwise_kernel(Self::NAME, weight, channels, stride)?;
        if kernel > MOST_KERNEL {
            bail!("{}: kernel {kernel} where at most {MOST_KERNEL} goes", Self::NAME);
        }
        check_affine(affine, channels, Self::NAME)?;
        let activation = self.activation;
        let sizes =
            operators::Depthwise { images, height, width, channels, kernel, stride, activation };
        let out = (images, height.div_ceil(stride), width.div_ceil(stride), channels);
        Ok((sizes, Shape::from(out)))
    }

    fn on_cpu(&self, sizes: &Self::Sizes, x: &[f32], rows: &[f32], affine: &[f32]) -> Vec<f32> {
        let operators::Depthwise { height, width, channels, kernel, stride, activation, .. } =
            *sizes;
        let (taps, count) = (kernel * kernel, blocks(channels));
        let mut weight = vec![Lanes::ZERO; count * taps];
        for (tap, row) in rows.chunks_exact(channels).enumerate() {
            for (block, lanes) in in_lanes(row).enumerate() {
                weight[block * taps + tap] = lanes;
            }
        }
        let [scale, shift] = folds(affine, channels);
        let affine = Affine { scale: &scale, shift: &shift, activation };
        let shape = DepthwiseShape { blocks: count, height, width, kernel, stride };
        let out = height.div_ceil(stride) * width.div_ceil(stride);
        let isa = Isa::best();
        each(x, height * width * channels, (out, channels), |x, y| {
            depthwise_map(isa, &blocked(x, channels), shape, &weight, affine, y, None);
        })
    }

    fn backward(sizes: &Self::Sizes, x: &[f32], a: &[f32], b: &[f32], dy: &[f32]) -> Gradients {
        gradients::of_depthwise(sizes, x, a, b, dy)
    }
}

struct First {
    stride: usize,
    activation: Option<Activation>,
}

impl Blocked for First {
    const NAME: &'static str = "coshift-blocked-first";
    type Sizes = operators::First;

    fn sizes(&self, x: &Shape, weight: &Shape, affine: &Shape) -> Result<(Self::Sizes, Shape)> {
        let [images, side, width, channels] = map(x, Self::NAME)?;
        let &[outputs, inputs, 3, 3] = weight.dims() else {
            bail!("{}: weight {weight:?} where 3×3 goes", Self::NAME);
        };
        if side != width || inputs != channels {
            bail!("{}: {inputs} channels of {side}×{width} where {channels}, square", Self::NAME);
        }
        filled(weight, Self::NAME)?;
        check_stride(Self::NAME, self.stride)?;
        check_affine(affine, outputs, Self::NAME)?;
        let Self { stride, activation } = *self;
        let sizes = operators::First { images, side, channels, outputs, stride, activation };
        let out = side.div_ceil(stride);
        Ok((sizes, Shape::from((images, out, out, outputs))))
    }

    fn on_cpu(&self, sizes: &Self::Sizes, x: &[f32], weight: &[f32], affine: &[f32]) -> Vec<f32> {
        let operators::First { side, channels, outputs, stride, activation, .. } = *sizes;
        // From [channels][taps] to [taps][channels].
        let row = 9 * channels;
        let turned: Vec<f32> = weight
            .chunks_exact(row)
            .flat_map(|full| (0..row).map(|i| full[i % channels * 9 + i / channels]))
            .collect();
        let weight = panels(&turned, row, outputs);
        let [scale, shift] = folds(affine, outputs);
        let affine = Affine { scale: &scale, shift: &shift, activation };
        let (isa, out) = (Isa::best(), side.div_ceil(stride));
        each(x, side * side * channels, (out * out, outputs), |x, y| {
            stem_map(isa, x, (side, channels), stride, &weight, affine, y);
        })
    }

    fn backward(sizes: &Self::Sizes, x: &[f32], a: &[f32], b: &[f32], dy: &[f32]) -> Gradients {
        gradients::of_first(sizes, x, a, b, dy)
    }
}

struct SqueezeExcite;

impl Blocked for SqueezeExcite {
    const NAME: &'static str = "coshift-blocked-squeeze-excite";
    type Sizes = operators::SqueezeExcite;

    fn sizes(&self, x: &Shape, reduce: &Shape, expand: &Shape) -> Result<(Self::Sizes, Shape)> {
        let [images, height, width, channels] = map(x, Self::NAME)?;
        let (middle, _) = reduce.dims2()?;
        for (found, outputs, inputs) in [(reduce, middle, channels), (expand, channels, middle)] {
            if found.dims() != [outputs, inputs + 1] {
                let name = Self::NAME;
                bail!("{name}: weight {found:?} where [{outputs}, {}] goes", inputs + 1);
            }
        }
        filled(reduce, Self::NAME)?;
        let pixels = height * width;
        Ok((operators::SqueezeExcite { images, pixels, channels, middle }, x.clone()))
    }

    fn on_cpu(&self, sizes: &Self::Sizes, x: &[f32], reduce: &[f32], expand: &[f32]) -> Vec<f32> {
        let operators::SqueezeExcite { pixels, channels, middle, .. } = *sizes;
        let layer = |rows: &[f32], outputs: usize, inputs: usize| {
            let bias: Vec<f32> = rows.iter().skip(inputs).step_by(inputs + 1).copied().collect();
            (panels(rows, inputs + 1, outputs), in_lanes(&bias).collect::<Vec<_>>())
        };
        let (reduce, expand) = (layer(reduce, middle, channels), layer(expand, channels, middle));
        let isa = Isa::best();
        let mut means = vec![Lanes::ZERO; blocks(channels)];
        let mut gates = vec![Lanes::ZERO; blocks(channels)];
        let mut squeezed = vec![Lanes::ZERO; blocks(middle)];
        each(x, pixels * channels, (pixels, channels), |x, y| {
            y.copy_from_slice(&blocked(x, channels));
            pool_map(isa, y, &mut means);
            let (weight, bias) = (&reduce.0[..], &reduce.1[..]);
            let relu = (Some(Activation::Relu), false);
            vector_layer(
                isa,
                (&means, channels),
                (weight, channels + 1),
                bias,
                relu,
                &mut squeezed,
            );
            let (weight, bias) = (&expand.0[..], &expand.1[..]);
            let gate = (None, true);
            vector_layer(isa, (&squeezed, middle), (weight, middle + 1), bias, gate, &mut gates);
            scale_map(isa, y, &gates);
        })
    }

    fn backward(sizes: &Self::Sizes, x: &[f32], a: &[f32], b: &[f32], dy: &[f32]) -> Gradients {
        gradients::of_squeeze_excite(sizes, x, a, b, dy)
    }
}

struct Pool;

impl Pool {
    fn sizes(&self, x: &Shape) -> Result<(operators::Pool, Shape)> {
        let [images, height, width, channels] = map(x, self.name())?;
        let sizes = operators::Pool { images, pixels: height * width, channels };
        Ok((sizes, Shape::from((images, channels))))
    }
}

impl CustomOp1 for Pool {
    fn name(&self) -> &'static str {
        "coshift-blocked-pool"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (operators::Pool { pixels, channels, .. }, shape) = self.sizes(layout.shape())?;
        let x = values(x, layout, self.name())?;
        let isa = Isa::best();
        let y = each(x, pixels * channels, (1, channels), |x, y| {
            pool_map(isa, &blocked(x, channels), y);
        });
        Ok((f32::to_cpu_storage_owned(y), shape))
    }

    #[cfg(feature = "candle-cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let (sizes, shape) = self.sizes(layout.shape())?;
        Ok((candle_cuda::run(self.name(), &sizes, &[(x, layout)])?, shape))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let (sizes, _) = self.sizes(x.shape())?;
        let dx = gradients::of_pool(&sizes, &read(dy, self.name())?);
        Tensor::from_vec(dx, x.shape(), x.device()).map(Some)
    }
}

/// The number of images, where they are what a sub-network takes.
pub(crate) fn check_images(
    images: &Shape,
    network: &Network,
    index: usize,
    name: &str,
) -> Result<usize> {
    let [batch, height, width, channels] = map(images, name)?;
    let expected = network.image_len_of(index);
    if height != width
        || channels != network.layout().family().image_channels
        || expected.is_some_and(|len| len != height * width * channels)
    {
        let expected = expected.unwrap_or_default();
        bail!("{name}: images {images:?}, expected {expected} values each, square");
    }
    Ok(batch)
}

struct SubNetwork {
    network: Arc<Network>,
    index: usize,
    space: Arc<Mutex<Workspace>>,
}

impl CustomOp1 for SubNetwork {
    fn name(&self) -> &'static str {
        "coshift-sub-network"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let batch = check_images(layout.shape(), &self.network, self.index, self.name())?;
        let x = values(x, layout, self.name())?;
        let mut space = self.space.lock().unwrap_or_else(PoisonError::into_inner);
        let logits = self
            .network
            .run(self.index, x, &mut space)
            .map_err(|fault| candle_core::Error::Msg(fault.to_string()))?;
        let classes = logits.len() / batch;
        Ok((f32::to_cpu_storage_owned(logits.to_vec()), Shape::from((batch, classes))))
    }

    #[cfg(feature = "candle-cuda")]
    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        bail!("{}: its weights are on the CPU; on a GPU run candle_cuda::Resident", self.name());
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, _dy: &Tensor) -> Result<Option<Tensor>> {
        bail!("{}: a whole sub-network has no gradients; the single operators have", self.name());
    }
}
