//! Forward and backward of one sub-network over the resident parameters.

use crate::kernels::squeeze::{self, Excited};
use crate::kernels::{depthwise, elementwise, pointwise};
use crate::layout::{Kind, Layout, Squeeze, Unit};

/// Values of all parameters, in the layout's order; gradients have the same shape.
pub type Values = Vec<Vec<f32>>;

/// Mean and variance of each normalised unit of a sub-network, in order.
pub type Statistics = Vec<(Vec<f32>, Vec<f32>)>;

/// Zeros in the shape of the layout's parameters.
#[must_use]
pub fn zeros(layout: &Layout) -> Values {
    layout.parameters.iter().map(|p| vec![0.0; p.shape.iter().product()]).collect()
}

/// What the backward pass needs of one unit.
#[derive(Debug)]
struct Kept {
    input: Vec<f32>,
    /// Output of the convolution.
    conv: Vec<f32>,
    mean: Vec<f32>,
    inverse: Vec<f32>,
    /// Depthwise: the kernel in use, `[taps, channels]`, and each stage of its shrinking.
    kernel: Vec<f32>,
    stages: Vec<Vec<f32>>,
    /// Squeeze-excite.
    excited: Option<Excited>,
    height: usize,
    width: usize,
}

/// A forward pass, with what the backward pass needs where it was one with batch statistics.
#[derive(Debug)]
pub struct Pass {
    kept: Vec<Kept>,
    head_input: Vec<f32>,
    batch: usize,
    /// `[batch, classes]`.
    pub logits: Vec<f32>,
    /// Batch statistics of the pass.
    pub statistics: Statistics,
}

/// Runs a sub-network. With `statistics` these normalise (inference), without them the batch's
/// own do (training).
#[must_use]
pub fn forward(
    layout: &Layout,
    units: &[Unit],
    values: &Values,
    images: &[f32],
    statistics: Option<&Statistics>,
) -> Pass {
    pass(layout, units, values, images, (statistics, statistics.is_none()))
}

/// Statistics of the images in a sub-network, each unit's after normalisation by those before it. Only
/// the maps of the unit at work are held, not those of every unit as by [`forward`].
#[must_use]
pub fn measured(layout: &Layout, units: &[Unit], values: &Values, images: &[f32]) -> Statistics {
    pass(layout, units, values, images, (None, false)).statistics
}

/// A forward pass; `keeps` what the backward pass needs.
fn pass(
    layout: &Layout,
    units: &[Unit],
    values: &Values,
    images: &[f32],
    (statistics, keeps): (Option<&Statistics>, bool),
) -> Pass {
    let family = layout.family();
    let side = units.first().map_or(family.resolution, |unit| unit.side);
    let (mut height, mut width) = (side, side);
    let batch = images.len() / (height * width * family.image_channels);
    let mut x = images.to_vec();
    let mut kept = Vec::with_capacity(units.len());
    let mut shortcut = Vec::new();
    let mut measured = Statistics::new();
    for unit in units {
        if unit.pools {
            let mut pooled = vec![0.0; batch * unit.inputs];
            pool(&x, height * width, unit.inputs, &mut pooled);
            x = pooled;
            (height, width) = (1, 1);
        }
        if unit.opens_shortcut {
            shortcut = x.clone();
        }
        let (in_height, in_width) = (height, width);
        (height, width) = (height.div_ceil(unit.stride), width.div_ceil(unit.stride));
        let mut conv = vec![0.0; batch * height * width * unit.outputs];
        let mut input = x;
        let (mut kernel, mut stages) = (Vec::new(), Vec::new());
        match unit.kind {
            Kind::Pointwise => {
                let weight = &values[unit.weight];
                pointwise::forward(&input, weight, unit.row, unit.inputs, unit.outputs, &mut conv);
            }
            Kind::Dense => {
                let row = unit.inputs * 9;
                let mut columns = vec![0.0; batch * height * width * row];
                let map = (in_height, in_width, unit.inputs);
                patches(&input, batch, map, unit.stride, &mut columns);
                input = columns;
                let weight = &values[unit.weight];
                pointwise::forward(&input, weight, row, row, unit.outputs, &mut conv);
            }
            Kind::Depthwise => {
                (kernel, stages) = shrink(unit, values);
                let shape = shape(unit, batch, in_height, in_width);
                depthwise::forward(&input, &kernel, shape, &mut conv);
            }
        }
        let mut out = vec![0.0; conv.len()];
        let (mut mean, mut inverse) = (Vec::new(), Vec::new());
        if let Some(norm) = unit.norm {
            let mut variance = vec![0.0; unit.outputs];
            mean = vec![0.0; unit.outputs];
            match statistics {
                Some(known) => (mean, variance) = known[measured.len()].clone(),
                None => elementwise::moments(&conv, &mut mean, &mut variance),
            }
            inverse = variance.iter().map(|v| 1.0 / (v + family.bn_epsilon).sqrt()).collect();
            let scale: Vec<f32> = values[norm].iter().zip(&inverse).map(|(g, i)| g * i).collect();
            let shift: Vec<f32> = (values[norm + 1].iter().zip(&mean).zip(&scale))
                .map(|((b, m), s)| b - m * s)
                .collect();
            elementwise::scale_shift(&conv, &scale, &shift, unit.activation, &mut out);
            measured.push((mean.clone(), variance));
        } else {
            let (one, zero) = (vec![1.0; unit.outputs], vec![0.0; unit.outputs]);
            elementwise::scale_shift(&conv, &one, &zero, unit.activation, &mut out);
        }
        let excited = unit.squeeze.map(|squeeze| {
            squeeze::forward(&squeeze_layers(unit, &squeeze, values), height * width, &mut out)
        });
        if unit.closes_shortcut {
            for (out, kept) in out.iter_mut().zip(&shortcut) {
                *out += kept;
            }
        }
        if keeps {
            let (height, width) = (in_height, in_width);
            kept.push(Kept { input, conv, mean, inverse, kernel, stages, excited, height, width });
        }
        x = out;
    }
    let classes = family.classes;
    let mut logits = vec![0.0; batch * classes];
    let (weight, bias) = (&values[layout.classifier()], &values[layout.classifier() + 1]);
    let features = family.feature_mix;
    pointwise::forward(&x, weight, features, features, classes, &mut logits);
    for row in logits.chunks_exact_mut(classes) {
        for (logit, bias) in row.iter_mut().zip(bias) {
            *logit += bias;
        }
    }
    Pass { kept, head_input: x, batch, logits, statistics: measured }
}

/// Adds the gradients of a loss to `gradients`, given that of the logits.
pub fn backward(
    layout: &Layout,
    units: &[Unit],
    values: &Values,
    pass: Pass,
    dlogits: &[f32],
    gradients: &mut Values,
) {
    let family = layout.family();
    let (classifier, features, classes) = (layout.classifier(), family.feature_mix, family.classes);
    let batch = pass.batch;
    pointwise::backward_weight(
        dlogits,
        &pass.head_input,
        features,
        features,
        classes,
        &mut gradients[classifier],
    );
    for row in dlogits.chunks_exact(classes) {
        for (sum, d) in gradients[classifier + 1].iter_mut().zip(row) {
            *sum += d;
        }
    }
    let mut d = vec![0.0; batch * features];
    pointwise::backward_input(dlogits, &values[classifier], features, features, classes, &mut d);
    let mut shortcut = Vec::new();
    let mut later_pools = false;
    for (unit, kept) in units.iter().zip(pass.kept).rev() {
        if later_pools {
            let pixels = kept.conv.len() / (batch * unit.outputs);
            d = unpool(&d, batch, pixels, unit.outputs);
        }
        later_pools = unit.pools;
        if unit.closes_shortcut {
            shortcut = d.clone();
        }
        if let (Some(squeeze), Some(excited)) = (unit.squeeze, &kept.excited) {
            let gradient =
                squeeze::backward(&squeeze_layers(unit, &squeeze, values), excited, &mut d);
            let indices = [squeeze.reduce, squeeze.reduce + 1, squeeze.expand, squeeze.expand + 1];
            let rows = [squeeze.reduce_row, 1, squeeze.expand_row, 1];
            let used = [unit.outputs, 1, squeeze.middle, 1];
            for (part, ((index, row), used)) in
                gradient.iter().zip(indices.iter().zip(rows).zip(used))
            {
                let sums = gradients[*index].chunks_exact_mut(row);
                for (sums, part) in sums.zip(part.chunks_exact(used)) {
                    sums.iter_mut().zip(part).for_each(|(sum, d)| *sum += d);
                }
            }
        }
        match (unit.norm, unit.activation) {
            (Some(norm), activation) => {
                let (head, tail) = gradients.split_at_mut(norm + 1);
                elementwise::norm_backward(
                    &kept.conv,
                    &kept.mean,
                    &kept.inverse,
                    &values[norm][..unit.outputs],
                    &values[norm + 1][..unit.outputs],
                    activation,
                    &mut d,
                    &mut head[norm],
                    &mut tail[0],
                );
            }
            (None, Some(activation)) => {
                elementwise::activation_backward(&kept.conv, activation, &mut d);
            }
            (None, None) => {}
        }
        let weight = unit.weight;
        match unit.kind {
            Kind::Pointwise => {
                let (row, inputs, outputs) = (unit.row, unit.inputs, unit.outputs);
                let gradient = &mut gradients[weight];
                pointwise::backward_weight(&d, &kept.input, row, inputs, outputs, gradient);
                let mut dx = vec![0.0; kept.input.len()];
                pointwise::backward_input(&d, &values[weight], row, inputs, outputs, &mut dx);
                d = dx;
            }
            // The stem: nothing stands before it.
            Kind::Dense => {
                let row = unit.inputs * 9;
                let gradient = &mut gradients[weight];
                pointwise::backward_weight(&d, &kept.input, row, row, unit.outputs, gradient);
            }
            Kind::Depthwise => {
                let shape = shape(unit, batch, kept.height, kept.width);
                let mut dx = vec![0.0; kept.input.len()];
                let mut dkernel = vec![0.0; kept.kernel.len()];
                let kernel = &kept.kernel;
                depthwise::backward(&d, &kept.input, kernel, shape, &mut dx, &mut dkernel);
                shrink_backward(unit, values, &kept.stages, &dkernel, gradients);
                d = dx;
            }
        }
        if unit.opens_shortcut {
            for (d, kept) in d.iter_mut().zip(&shortcut) {
                *d += kept;
            }
        }
    }
}

/// The layers of a squeeze-excite, cut to what the sub-network uses.
pub(crate) fn squeeze_layers<'a>(
    unit: &Unit,
    squeeze: &Squeeze,
    values: &'a Values,
) -> squeeze::Layers<'a> {
    squeeze::Layers {
        channels: unit.outputs,
        middle: squeeze.middle,
        reduce: &values[squeeze.reduce],
        reduce_bias: &values[squeeze.reduce + 1][..squeeze.middle],
        reduce_row: squeeze.reduce_row,
        expand: &values[squeeze.expand],
        expand_bias: &values[squeeze.expand + 1][..unit.outputs],
        expand_row: squeeze.expand_row,
    }
}

/// Shape of a depthwise unit.
pub(crate) fn shape(unit: &Unit, batch: usize, height: usize, width: usize) -> depthwise::Shape {
    let (channels, kernel, stride) = (unit.inputs, unit.kernel, unit.stride);
    depthwise::Shape { batch, height, width, channels, kernel, stride }
}

/// Means over the pixels of each image.
pub(crate) fn pool(x: &[f32], pixels: usize, channels: usize, out: &mut [f32]) {
    out.fill(0.0);
    for (x, out) in x.chunks_exact(pixels * channels).zip(out.chunks_exact_mut(channels)) {
        for row in x.chunks_exact(channels) {
            for (out, x) in out.iter_mut().zip(row) {
                *out += x / pixels as f32;
            }
        }
    }
}

fn unpool(d: &[f32], batch: usize, pixels: usize, channels: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(batch * pixels * channels);
    for row in d.chunks_exact(channels) {
        for _ in 0..pixels {
            out.extend(row.iter().map(|d| d / pixels as f32));
        }
    }
    out
}

/// The 3×3 neighbourhoods of every output pixel of maps of this height, width and channels, `[pixels,
/// channels·9]`, zero outside the image; channel by channel, as the weight stores them.
pub(crate) fn patches(
    x: &[f32],
    batch: usize,
    map: (usize, usize, usize),
    stride: usize,
    out: &mut [f32],
) {
    for (out, place) in out.iter_mut().zip(neighbours(batch, map, stride)) {
        *out = place.map_or(0.0, |place| x[place]);
    }
}

/// Where each value of [`patches`] is taken from, `None` outside the image.
pub(crate) fn neighbours(
    batch: usize,
    (height, width, channels): (usize, usize, usize),
    stride: usize,
) -> impl Iterator<Item = Option<usize>> {
    let (rows, columns) = (height.div_ceil(stride), width.div_ceil(stride));
    (0..batch * rows * columns).flat_map(move |pixel| {
        let (image, row) = (pixel / columns / rows, pixel / columns % rows);
        let column = pixel % columns;
        (0..channels * 9).map(move |value| {
            let (channel, tap) = (value / 9, value % 9);
            let y = (row * stride + tap / 3).wrapping_sub(1);
            let z = (column * stride + tap % 3).wrapping_sub(1);
            let inside = y < height && z < width;
            inside.then(|| ((image * height + y) * width + z) * channels + channel)
        })
    })
}

/// Places of the centre `small`×`small` taps in a `large`×`large` kernel.
pub(crate) fn centre(large: usize, small: usize) -> impl Iterator<Item = usize> {
    let margin = (large - small) / 2;
    (0..small * small).map(move |tap| (tap / small + margin) * large + tap % small + margin)
}

/// The kernel that a unit uses: the centre of the whole one, shrunk size by size
/// `y = x·Mᵀ` (once-for-all, `DynamicSeparableConv2d`). Returns it as `[taps, channels]`, with the
/// cropped input `[channels, taps]` of every shrinking.
pub(crate) fn shrink(unit: &Unit, values: &Values) -> (Vec<f32>, Vec<Vec<f32>>) {
    let channels = unit.outputs;
    let mut size = unit.full_kernel;
    let mut kernel = values[unit.weight][..channels * size * size].to_vec();
    let mut stages = Vec::new();
    for (small, matrix) in &unit.shrinks {
        let taps = small * small;
        let mut cropped = Vec::with_capacity(channels * taps);
        for row in kernel.chunks_exact(size * size) {
            cropped.extend(centre(size, *small).map(|tap| row[tap]));
        }
        let mut shrunk = vec![0.0; channels * taps];
        pointwise::forward(&cropped, &values[*matrix], taps, taps, taps, &mut shrunk);
        stages.push(cropped);
        (kernel, size) = (shrunk, *small);
    }
    (transposed(&kernel, channels, size * size), stages)
}

fn shrink_backward(
    unit: &Unit,
    values: &Values,
    stages: &[Vec<f32>],
    dkernel: &[f32],
    gradients: &mut Values,
) {
    let channels = unit.outputs;
    let mut d = transposed(dkernel, unit.kernel * unit.kernel, channels);
    let sizes: Vec<usize> = std::iter::once(unit.full_kernel)
        .chain(unit.shrinks.iter().map(|(size, _)| *size))
        .collect();
    for (stage, (small, matrix)) in unit.shrinks.iter().enumerate().rev() {
        let (large, taps) = (sizes[stage], small * small);
        pointwise::backward_weight(&d, &stages[stage], taps, taps, taps, &mut gradients[*matrix]);
        let mut dcropped = vec![0.0; channels * taps];
        pointwise::backward_input(&d, &values[*matrix], taps, taps, taps, &mut dcropped);
        d = vec![0.0; channels * large * large];
        for (row, cropped) in d.chunks_exact_mut(large * large).zip(dcropped.chunks_exact(taps)) {
            for (tap, value) in centre(large, *small).zip(cropped) {
                row[tap] = *value;
            }
        }
    }
    for (sum, d) in gradients[unit.weight].iter_mut().zip(&d) {
        *sum += d;
    }
}

/// `[rows, columns]` to `[columns, rows]`.
fn transposed(x: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(x.len());
    for column in 0..columns {
        out.extend((0..rows).map(|row| x[row * columns + column]));
    }
    out
}
