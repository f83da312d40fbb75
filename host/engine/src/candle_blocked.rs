//! The operators of inference in candle graphs, and whole sub-networks as one operator.
//!
//! For mixing with layers of candle's own and for tests. Tensors are `f32` on the CPU, feature maps
//! `[batch, height, width, channels]`; every operator copies its map into blocks of channels and back,
//! which the executor behind [`sub_network`] does not. They have no gradients: those of
//! [`crate::candle_ops`] have.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{
    CpuStorage, CustomOp1, CustomOp3, Layout, Result, Shape, Tensor, WithDType, bail,
};

use crate::candle_ops::values;
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
/// Where the shapes do not fit or a tensor is neither on the CPU nor of `f32`.
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
    x.contiguous()?.apply_op1_no_bwd(&Pool)
}

/// Sub-network `index` of a network as one operator: images `[batch, height, width, channels]` to
/// logits `[batch, classes]`, by the executor and on the threads of the workspace.
///
/// # Errors
/// Images of another size, no such sub-network, a tensor that is neither on the CPU nor of `f32`.
pub fn sub_network(
    images: &Tensor,
    network: &Arc<Network>,
    index: usize,
    space: &Arc<Mutex<Workspace>>,
) -> Result<Tensor> {
    let op = SubNetwork { network: Arc::clone(network), index, space: Arc::clone(space) };
    images.contiguous()?.apply_op1_no_bwd(&op)
}

fn run(x: &Tensor, a: &Tensor, b: &Tensor, op: impl CustomOp3) -> Result<Tensor> {
    x.contiguous()?.apply_op3_no_bwd(&a.contiguous()?, &b.contiguous()?, &op)
}

type Arg<'a> = (&'a CpuStorage, &'a Layout);

/// Values and sizes of a map that has some.
fn map<'a>((x, layout): Arg<'a>, name: &str) -> Result<(&'a [f32], [usize; 4])> {
    let (batch, height, width, channels) = layout.shape().dims4()?;
    if layout.shape().elem_count() == 0 {
        bail!("{name}: an empty map {:?}", layout.shape());
    }
    Ok((values(x, layout, name)?, [batch, height, width, channels]))
}

/// Scale and shift of so many channels, in blocks.
fn folds((x, layout): Arg<'_>, channels: usize, name: &str) -> Result<[Vec<Lanes>; 2]> {
    if layout.shape().dims() != [2, channels] {
        bail!("{name}: affine {:?} where [2, {channels}] goes", layout.shape());
    }
    let values = values(x, layout, name)?;
    Ok([0, 1].map(|row| in_lanes(&values[row * channels..][..channels]).collect()))
}

/// Runs `body` on the map of every image and puts the results, maps of `out` pixels and channels,
/// one after the other.
fn each(
    x: &[f32],
    image: usize,
    (pixels, channels): (usize, usize),
    mut body: impl FnMut(&[f32], &mut [Lanes]),
) -> CpuStorage {
    let mut y = vec![Lanes::ZERO; blocks(channels) * pixels];
    let mut all = Vec::with_capacity(x.len() / image * pixels * channels);
    for x in x.chunks_exact(image) {
        body(x, &mut y);
        all.extend(unblocked(&y, channels));
    }
    f32::to_cpu_storage_owned(all)
}

struct Pointwise {
    activation: Option<Activation>,
}

impl CustomOp3 for Pointwise {
    fn name(&self) -> &'static str {
        "coshift-blocked-pointwise"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        affine: &CpuStorage,
        affine_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, [batch, height, width, inputs]) = map((x, x_layout), self.name())?;
        let (outputs, row) = weight_layout.shape().dims2()?;
        if inputs > row {
            bail!("{}: {inputs} channels where at most {row} go", self.name());
        }
        let weight = panels(values(weight, weight_layout, self.name())?, row, outputs);
        let [scale, shift] = folds((affine, affine_layout), outputs, self.name())?;
        let affine = Affine { scale: &scale, shift: &shift, activation: self.activation };
        let (isa, pixels) = (Isa::best(), height * width);
        let y = each(x, pixels * inputs, (pixels, outputs), |x, y| {
            let x = blocked(x, inputs);
            pointwise_map(isa, &x, (pixels, inputs), (&weight, row), affine, None, y);
        });
        Ok((y, Shape::from((batch, height, width, outputs))))
    }
}

struct Depthwise {
    stride: usize,
    activation: Option<Activation>,
}

impl CustomOp3 for Depthwise {
    fn name(&self) -> &'static str {
        "coshift-blocked-depthwise"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        affine: &CpuStorage,
        affine_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, [batch, height, width, channels]) = map((x, x_layout), self.name())?;
        let (taps, weight_channels) = weight_layout.shape().dims2()?;
        let (kernel, stride) = (taps.isqrt(), self.stride);
        let odd = kernel * kernel == taps && kernel % 2 == 1 && kernel <= 31;
        if !odd || weight_channels != channels {
            let name = self.name();
            bail!("{name}: weight [{taps}, {weight_channels}] where [k·k, {channels}] goes, odd k");
        }
        check_stride(self.name(), stride)?;
        let (rows, count) = (values(weight, weight_layout, self.name())?, blocks(channels));
        let mut weight = vec![Lanes::ZERO; count * taps];
        for (tap, row) in rows.chunks_exact(channels).enumerate() {
            for (block, lanes) in in_lanes(row).enumerate() {
                weight[block * taps + tap] = lanes;
            }
        }
        let [scale, shift] = folds((affine, affine_layout), channels, self.name())?;
        let affine = Affine { scale: &scale, shift: &shift, activation: self.activation };
        let shape = DepthwiseShape { blocks: count, height, width, kernel, stride };
        let (out_height, out_width) = (height.div_ceil(stride), width.div_ceil(stride));
        let isa = Isa::best();
        let y = each(x, height * width * channels, (out_height * out_width, channels), |x, y| {
            depthwise_map(isa, &blocked(x, channels), shape, &weight, affine, y, None);
        });
        Ok((y, Shape::from((batch, out_height, out_width, channels))))
    }
}

fn check_stride(name: &str, stride: usize) -> Result<()> {
    if !matches!(stride, 1 | 2) {
        bail!("{name}: stride {stride} where 1 or 2 goes");
    }
    Ok(())
}

struct First {
    stride: usize,
    activation: Option<Activation>,
}

impl CustomOp3 for First {
    fn name(&self) -> &'static str {
        "coshift-blocked-first"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        affine: &CpuStorage,
        affine_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, [batch, side, width, channels]) = map((x, x_layout), self.name())?;
        let &[outputs, inputs, 3, 3] = weight_layout.shape().dims() else {
            bail!("{}: weight {:?} where 3×3 goes", self.name(), weight_layout.shape());
        };
        if side != width || inputs != channels {
            bail!("{}: {inputs} channels of {side}×{width} where {channels}, square", self.name());
        }
        check_stride(self.name(), self.stride)?;
        // From [channels][taps] to [taps][channels].
        let row = 9 * channels;
        let turned: Vec<f32> = values(weight, weight_layout, self.name())?
            .chunks_exact(row)
            .flat_map(|full| (0..row).map(|i| full[i % channels * 9 + i / channels]))
            .collect();
        let weight = panels(&turned, row, outputs);
        let [scale, shift] = folds((affine, affine_layout), outputs, self.name())?;
        let affine = Affine { scale: &scale, shift: &shift, activation: self.activation };
        let (isa, out) = (Isa::best(), side.div_ceil(self.stride));
        let y = each(x, side * side * channels, (out * out, outputs), |x, y| {
            stem_map(isa, x, (side, channels), self.stride, &weight, affine, y);
        });
        Ok((y, Shape::from((batch, out, out, outputs))))
    }
}

struct SqueezeExcite;

impl CustomOp3 for SqueezeExcite {
    fn name(&self) -> &'static str {
        "coshift-blocked-squeeze-excite"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        reduce: &CpuStorage,
        reduce_layout: &Layout,
        expand: &CpuStorage,
        expand_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, [.., channels]) = map((x, x_layout), self.name())?;
        let (middle, _) = reduce_layout.shape().dims2()?;
        let layer = |(weight, layout): Arg<'_>, outputs: usize, inputs: usize| {
            if layout.shape().dims() != [outputs, inputs + 1] {
                let (name, found) = (self.name(), layout.shape());
                bail!("{name}: weight {found:?} where [{outputs}, {}] goes", inputs + 1);
            }
            let rows = values(weight, layout, self.name())?;
            let bias: Vec<f32> = rows.iter().skip(inputs).step_by(inputs + 1).copied().collect();
            Ok((panels(rows, inputs + 1, outputs), in_lanes(&bias).collect::<Vec<_>>()))
        };
        let reduce = layer((reduce, reduce_layout), middle, channels)?;
        let expand = layer((expand, expand_layout), channels, middle)?;
        let (isa, pixels) = (Isa::best(), x_layout.shape().elem_count() / channels);
        let pixels = pixels / x_layout.shape().dims()[0];
        let mut means = vec![Lanes::ZERO; blocks(channels)];
        let mut gates = vec![Lanes::ZERO; blocks(channels)];
        let mut squeezed = vec![Lanes::ZERO; blocks(middle)];
        let y = each(x, pixels * channels, (pixels, channels), |x, y| {
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
        });
        Ok((y, x_layout.shape().clone()))
    }
}

struct Pool;

impl CustomOp1 for Pool {
    fn name(&self) -> &'static str {
        "coshift-blocked-pool"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (x, [batch, height, width, channels]) = map((x, layout), self.name())?;
        let isa = Isa::best();
        let y = each(x, height * width * channels, (1, channels), |x, y| {
            pool_map(isa, &blocked(x, channels), y);
        });
        Ok((y, Shape::from((batch, channels))))
    }
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
        let (x, [batch, height, width, channels]) = map((x, layout), self.name())?;
        let expected = self.network.image_len_of(self.index);
        let known = self.network.layout().family().image_channels;
        if height != width
            || channels != known
            || expected.is_some_and(|len| len != height * width * channels)
        {
            let shape = layout.shape();
            bail!("{}: images {shape:?}, expected {expected:?} values each", self.name());
        }
        let mut space = self.space.lock().unwrap_or_else(PoisonError::into_inner);
        let logits = self
            .network
            .run(self.index, x, &mut space)
            .map_err(|fault| candle_core::Error::Msg(fault.to_string()))?;
        let classes = logits.len() / batch;
        Ok((f32::to_cpu_storage_owned(logits.to_vec()), Shape::from((batch, classes))))
    }
}
