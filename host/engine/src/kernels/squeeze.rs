//! Squeeze-excite over `[batch, pixels, channels]`, forward and backward.
//!
//! `y = x · h(E·relu(R·m + r) + e)`, `m` the means of a channel's pixels,
//! `h(z) = min(max(z + 3, 0), 6)/6` (Howard et al., Searching for MobileNetV3, ICCV 2019).

use super::pointwise;

/// The two layers, as prefixes of larger ones.
#[derive(Debug, Clone, Copy)]
pub struct Layers<'a> {
    /// Channels that are scaled.
    pub channels: usize,
    /// Channels between the layers.
    pub middle: usize,
    /// `[middle, channels]`, rows `reduce_row` apart.
    pub reduce: &'a [f32],
    /// `[middle]`.
    pub reduce_bias: &'a [f32],
    /// Distance of the rows of `reduce`.
    pub reduce_row: usize,
    /// `[channels, middle]`, rows `expand_row` apart.
    pub expand: &'a [f32],
    /// `[channels]`.
    pub expand_bias: &'a [f32],
    /// Distance of the rows of `expand`.
    pub expand_row: usize,
}

/// What the backward pass needs.
#[derive(Debug, Clone)]
pub struct Excited {
    pixels: usize,
    input: Vec<f32>,
    means: Vec<f32>,
    /// After its relu.
    middle: Vec<f32>,
    /// Before the h-sigmoid.
    raw: Vec<f32>,
}

fn gate(z: f32) -> f32 {
    (z + 3.0).clamp(0.0, 6.0) / 6.0
}

/// Scales `x` in place; `pixels` a feature map.
///
/// # Panics
/// If `x` or the layers are not of one shape.
pub fn forward(layers: &Layers<'_>, pixels: usize, x: &mut [f32]) -> Excited {
    let (channels, mid) = (layers.channels, layers.middle);
    let batch = x.len() / (pixels * channels);
    let mut means = vec![0.0; batch * channels];
    for (x, means) in x.chunks_exact(pixels * channels).zip(means.chunks_exact_mut(channels)) {
        for row in x.chunks_exact(channels) {
            means.iter_mut().zip(row).for_each(|(mean, x)| *mean += x);
        }
        means.iter_mut().for_each(|mean| *mean /= pixels as f32);
    }
    let mut middle = vec![0.0; batch * mid];
    pointwise::forward(&means, layers.reduce, layers.reduce_row, channels, mid, &mut middle);
    for row in middle.chunks_exact_mut(mid) {
        row.iter_mut().zip(layers.reduce_bias).for_each(|(m, bias)| *m = (*m + bias).max(0.0));
    }
    let mut raw = vec![0.0; batch * channels];
    pointwise::forward(&middle, layers.expand, layers.expand_row, mid, channels, &mut raw);
    for row in raw.chunks_exact_mut(channels) {
        row.iter_mut().zip(layers.expand_bias).for_each(|(z, bias)| *z += bias);
    }
    let input = x.to_vec();
    for (x, raw) in x.chunks_exact_mut(pixels * channels).zip(raw.chunks_exact(channels)) {
        for row in x.chunks_exact_mut(channels) {
            row.iter_mut().zip(raw).for_each(|(x, z)| *x *= gate(*z));
        }
    }
    Excited { pixels, input, means, middle, raw }
}

/// `d` holds the gradient of the output and receives that of the input. Gives the gradients of the
/// reducing weight and bias and the expanding weight and bias, without gaps between rows.
///
/// # Panics
/// If `d` is not of the shape of the forward pass.
pub fn backward(layers: &Layers<'_>, excited: &Excited, d: &mut [f32]) -> [Vec<f32>; 4] {
    let Excited { pixels, input, means, middle, raw } = excited;
    let (channels, mid) = (layers.channels, layers.middle);
    let mut draw = vec![0.0; raw.len()];
    let images = d.chunks_exact_mut(pixels * channels).zip(input.chunks_exact(pixels * channels));
    for (image, (d, input)) in images.enumerate() {
        let raw = &raw[image * channels..][..channels];
        let draw = &mut draw[image * channels..][..channels];
        for (d, x) in d.chunks_exact_mut(channels).zip(input.chunks_exact(channels)) {
            for c in 0..channels {
                draw[c] += d[c] * x[c];
                d[c] *= gate(raw[c]);
            }
        }
        for (draw, z) in draw.iter_mut().zip(raw) {
            *draw *= if z.abs() < 3.0 { 1.0 / 6.0 } else { 0.0 };
        }
    }
    let mut dexpand = vec![0.0; channels * mid];
    pointwise::backward_weight(&draw, middle, mid, mid, channels, &mut dexpand);
    let mut dmiddle = vec![0.0; middle.len()];
    let (expand, row) = (layers.expand, layers.expand_row);
    pointwise::backward_input(&draw, expand, row, mid, channels, &mut dmiddle);
    for (d, m) in dmiddle.iter_mut().zip(middle) {
        *d = if *m > 0.0 { *d } else { 0.0 };
    }
    let mut dreduce = vec![0.0; mid * channels];
    pointwise::backward_weight(&dmiddle, means, channels, channels, mid, &mut dreduce);
    let mut dmeans = vec![0.0; means.len()];
    let (reduce, row) = (layers.reduce, layers.reduce_row);
    pointwise::backward_input(&dmiddle, reduce, row, channels, mid, &mut dmeans);
    for (d, dmeans) in d.chunks_exact_mut(pixels * channels).zip(dmeans.chunks_exact(channels)) {
        for d in d.chunks_exact_mut(channels) {
            d.iter_mut().zip(dmeans).for_each(|(d, dmean)| *d += dmean / *pixels as f32);
        }
    }
    [dreduce, sums(&dmiddle, mid), dexpand, sums(&draw, channels)]
}

/// Sums over the rows.
fn sums(x: &[f32], columns: usize) -> Vec<f32> {
    let mut sums = vec![0.0; columns];
    for row in x.chunks_exact(columns) {
        sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
    }
    sums
}
