//! Gradients of the operators of [`crate::candle_blocked`], by the kernels of training.
//!
//! Each function takes what its operator was given, maps `[images, pixels, channels]`, and the gradient
//! of its result, and gives those of the arguments in their order.

use crate::cuda::operators::{Depthwise, First, Pointwise, Pool, SqueezeExcite};
use crate::family::Activation;
use crate::kernels::{depthwise, elementwise, pointwise, squeeze};
use crate::train::network::{neighbours, patches};

/// Of a map, a weight, and scale and shift (of squeeze-excite: of its second layer).
pub(crate) type Gradients = [Vec<f32>; 3];

/// Backward through activation, scale and shift `[2, channels]`: the gradients of the convolution's
/// outputs `conv` and of scale and shift, given that of the result.
fn affine_backward(
    conv: &[f32],
    affine: &[f32],
    activation: Option<Activation>,
    dy: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    let channels = affine.len() / 2;
    let (scale, shift) = affine.split_at(channels);
    let mut d = dy.to_vec();
    if let Some(activation) = activation {
        let mut z = vec![0.0; conv.len()];
        elementwise::scale_shift(conv, scale, shift, None, &mut z);
        elementwise::activation_backward(&z, activation, &mut d);
    }
    let mut daffine = vec![0.0; affine.len()];
    let (dscale, dshift) = daffine.split_at_mut(channels);
    for (d, conv) in d.chunks_exact_mut(channels).zip(conv.chunks_exact(channels)) {
        for channel in 0..channels {
            dscale[channel] += d[channel] * conv[channel];
            dshift[channel] += d[channel];
            d[channel] *= scale[channel];
        }
    }
    (d, daffine)
}

/// Of `activation(scale · (x·Wᵀ) + shift)`; zero for the columns of the weight that are not used.
pub(crate) fn of_pointwise(
    sizes: &Pointwise,
    x: &[f32],
    weight: &[f32],
    affine: &[f32],
    dy: &[f32],
) -> Gradients {
    let Pointwise { inputs, row, outputs, activation, .. } = *sizes;
    let mut conv = vec![0.0; dy.len()];
    pointwise::forward(x, weight, row, inputs, outputs, &mut conv);
    let (d, daffine) = affine_backward(&conv, affine, activation, dy);
    let (mut dx, mut dweight) = (vec![0.0; x.len()], vec![0.0; weight.len()]);
    pointwise::backward_input(&d, weight, row, inputs, outputs, &mut dx);
    pointwise::backward_weight(&d, x, row, inputs, outputs, &mut dweight);
    [dx, dweight, daffine]
}

/// Of `activation(scale · (x ∗ w) + shift)`, channel by channel.
pub(crate) fn of_depthwise(
    sizes: &Depthwise,
    x: &[f32],
    weight: &[f32],
    affine: &[f32],
    dy: &[f32],
) -> Gradients {
    let Depthwise { images: batch, height, width, channels, kernel, stride, activation } = *sizes;
    let shape = depthwise::Shape { batch, height, width, channels, kernel, stride };
    let mut conv = vec![0.0; dy.len()];
    depthwise::forward(x, weight, shape, &mut conv);
    let (d, daffine) = affine_backward(&conv, affine, activation, dy);
    let (mut dx, mut dweight) = (vec![0.0; x.len()], vec![0.0; weight.len()]);
    depthwise::backward(&d, x, weight, shape, &mut dx, &mut dweight);
    [dx, dweight, daffine]
}

/// Of the first convolution.
pub(crate) fn of_first(
    sizes: &First,
    x: &[f32],
    weight: &[f32],
    affine: &[f32],
    dy: &[f32],
) -> Gradients {
    let First { images, side, channels, outputs, stride, activation } = *sizes;
    let (row, map) = (9 * channels, (side, side, channels));
    let mut columns = vec![0.0; dy.len() / outputs * row];
    patches(x, images, map, stride, &mut columns);
    let mut conv = vec![0.0; dy.len()];
    pointwise::forward(&columns, weight, row, row, outputs, &mut conv);
    let (d, daffine) = affine_backward(&conv, affine, activation, dy);
    let mut dweight = vec![0.0; weight.len()];
    pointwise::backward_weight(&d, &columns, row, row, outputs, &mut dweight);
    // The columns are of no use any more.
    pointwise::backward_input(&d, weight, row, row, outputs, &mut columns);
    let mut dx = vec![0.0; x.len()];
    for (place, d) in neighbours(images, map, stride).zip(columns) {
        if let Some(place) = place {
            dx[place] += d;
        }
    }
    [dx, dweight, daffine]
}

/// Of squeeze-excite, whose layers have their biases as last columns.
pub(crate) fn of_squeeze_excite(
    sizes: &SqueezeExcite,
    x: &[f32],
    reduce: &[f32],
    expand: &[f32],
    dy: &[f32],
) -> Gradients {
    let SqueezeExcite { pixels, channels, middle, .. } = *sizes;
    let bias = |layer: &[f32], inputs: usize| -> Vec<f32> {
        layer.chunks_exact(inputs + 1).map(|row| row[inputs]).collect()
    };
    let (reduce_bias, expand_bias) = (bias(reduce, channels), bias(expand, middle));
    let layers = squeeze::Layers {
        channels,
        middle,
        reduce,
        reduce_bias: &reduce_bias,
        reduce_row: channels + 1,
        expand,
        expand_bias: &expand_bias,
        expand_row: middle + 1,
    };
    let mut d = dy.to_vec();
    let excited = squeeze::forward(&layers, pixels, &mut x.to_vec());
    let [dreduce, dreduce_bias, dexpand, dexpand_bias] =
        squeeze::backward(&layers, &excited, &mut d);
    let with_bias = |weight: &[f32], inputs: usize, bias: &[f32]| -> Vec<f32> {
        let rows = weight.chunks_exact(inputs).zip(bias);
        rows.flat_map(|(row, bias)| row.iter().chain([bias])).copied().collect()
    };
    [d, with_bias(&dreduce, channels, &dreduce_bias), with_bias(&dexpand, middle, &dexpand_bias)]
}

/// Of the means over the pixels.
pub(crate) fn of_pool(sizes: &Pool, dy: &[f32]) -> Vec<f32> {
    let Pool { pixels, channels, .. } = *sizes;
    let rows = dy.chunks_exact(channels).flat_map(|row| std::iter::repeat_n(row, pixels));
    rows.flatten().map(|d| d / pixels as f32).collect()
}
