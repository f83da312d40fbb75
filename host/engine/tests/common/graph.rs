//! A sub-network as a plain candle graph: convolutions of candle on copies of the weights'
//! prefixes, batch normalisation as it is written, nothing fused, nothing of the engine's kernels.

use candle_core::{D, Device, Result, Tensor};
use coshift_engine::family::Activation;
use coshift_engine::layout::{Kind, Layout, Unit};
use coshift_engine::train::network::{Statistics, Values};

fn tensor(data: &[f32], shape: &[usize]) -> Result<Tensor> {
    Tensor::from_slice(data, shape, &Device::Cpu)
}

fn parameter(layout: &Layout, values: &Values, index: usize) -> Result<Tensor> {
    tensor(&values[index], &layout.parameters[index].shape)
}

/// A channel a value.
fn channels(values: &[f32]) -> Result<Tensor> {
    tensor(values, &[1, values.len(), 1, 1])
}

fn activate(x: &Tensor, activation: Option<Activation>) -> Result<Tensor> {
    match activation {
        None => Ok(x.clone()),
        Some(Activation::Relu) => x.relu(),
        Some(Activation::HSwish) => x * ((x + 3.0)?.clamp(0.0, 6.0)? / 6.0)?,
    }
}

/// The depthwise kernel `[channels, 1, k, k]`: the centre of the larger one times the matrix of each
/// step, y = x·Mᵀ.
pub(crate) fn kernel(layout: &Layout, values: &Values, unit: &Unit) -> Result<Tensor> {
    let mut size = unit.full_kernel;
    let mut kernel = parameter(layout, values, unit.weight)?.narrow(0, 0, unit.outputs)?;
    for (smaller, matrix) in &unit.shrinks {
        let edge = (size - smaller) / 2;
        let centre = kernel.narrow(2, edge, *smaller)?.narrow(3, edge, *smaller)?;
        let flat = centre.contiguous()?.reshape((unit.outputs, smaller * smaller))?;
        let turned = parameter(layout, values, *matrix)?.t()?.contiguous()?;
        kernel = flat.matmul(&turned)?.reshape((unit.outputs, 1, *smaller, *smaller))?;
        size = *smaller;
    }
    kernel.contiguous()
}

/// Squeeze-excite on prefixes of its layers.
fn excite(layout: &Layout, values: &Values, unit: &Unit, x: &Tensor) -> Result<Tensor> {
    let Some(squeeze) = unit.squeeze else { return Ok(x.clone()) };
    let layer = |index: usize, outputs: usize, inputs: usize| {
        let weight = parameter(layout, values, index)?.narrow(0, 0, outputs)?;
        let weight = weight.narrow(1, 0, inputs)?.contiguous()?;
        Result::Ok((weight, channels(&values[index + 1][..outputs])?))
    };
    let means = x.mean_keepdim(D::Minus1)?.mean_keepdim(D::Minus2)?;
    let (weight, bias) = layer(squeeze.reduce, squeeze.middle, unit.outputs)?;
    let middle = means.conv2d(&weight, 0, 1, 1, 1)?.broadcast_add(&bias)?.relu()?;
    let (weight, bias) = layer(squeeze.expand, unit.outputs, squeeze.middle)?;
    let gate = middle.conv2d(&weight, 0, 1, 1, 1)?.broadcast_add(&bias)?;
    x.broadcast_mul(&((gate + 3.0)?.clamp(0.0, 6.0)? / 6.0)?)
}

/// The outputs `[1, channels, height, width]` of every unit, and the logits, of one image
/// `[side, side, channels]`.
pub(crate) fn run(
    layout: &Layout,
    units: &[Unit],
    values: &Values,
    statistics: &Statistics,
    image: &[f32],
) -> Result<(Vec<Tensor>, Vec<f32>)> {
    let family = layout.family();
    let side = units[0].side;
    let shape = [1, side, side, family.image_channels];
    let mut x = tensor(image, &shape)?.permute((0, 3, 1, 2))?.contiguous()?;
    let (mut outputs, mut shortcut) = (Vec::new(), x.clone());
    let mut norms = statistics.iter();
    for unit in units {
        if unit.pools {
            x = x.mean_keepdim(D::Minus1)?.mean_keepdim(D::Minus2)?;
        }
        if unit.opens_shortcut {
            shortcut = x.clone();
        }
        let mut y = match unit.kind {
            Kind::Depthwise => {
                let kernel = kernel(layout, values, unit)?;
                x.conv2d(&kernel, unit.kernel / 2, unit.stride, 1, unit.outputs)?
            }
            Kind::Dense | Kind::Pointwise => {
                let weight = parameter(layout, values, unit.weight)?;
                let weight = weight.narrow(0, 0, unit.outputs)?.narrow(1, 0, unit.inputs)?;
                x.conv2d(&weight.contiguous()?, unit.kernel / 2, unit.stride, 1, 1)?
            }
        };
        if let Some(norm) = unit.norm {
            let (mean, variance) = norms.next().expect("statistics of every unit");
            let gamma = channels(&values[norm][..unit.outputs])?;
            let beta = channels(&values[norm + 1][..unit.outputs])?;
            let deviation = (channels(variance)? + f64::from(family.bn_epsilon))?.sqrt()?;
            y = y.broadcast_sub(&channels(mean)?)?.broadcast_div(&deviation)?;
            y = y.broadcast_mul(&gamma)?.broadcast_add(&beta)?;
        }
        y = excite(layout, values, unit, &activate(&y, unit.activation)?)?;
        if unit.closes_shortcut {
            y = (y + &shortcut)?;
        }
        outputs.push(y.clone());
        x = y;
    }
    let weight = parameter(layout, values, layout.classifier())?;
    let bias = tensor(&values[layout.classifier() + 1], &[1, family.classes])?;
    let logits = (x.flatten_from(1)?.matmul(&weight.t()?.contiguous()?)? + bias)?;
    Ok((outputs, logits.flatten_all()?.to_vec1()?))
}

/// `[1, channels, height, width]` as `[pixels, channels]`.
pub(crate) fn pixels(y: &Tensor) -> Vec<f32> {
    let y = y.permute((0, 2, 3, 1)).unwrap().contiguous().unwrap();
    y.flatten_all().unwrap().to_vec1().unwrap()
}

/// The class with the largest logit.
pub(crate) fn top(logits: &[f32]) -> usize {
    let largest = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    largest.unwrap().0
}
