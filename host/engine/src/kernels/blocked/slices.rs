//! The operators over slices: every size is checked before a kernel runs.

use super::map::{Map, means, scale};
use super::{
    After, Fused, Gemv, Isa, LANES, Lanes, Pointwise, Rows, Source, Stem, StemRows, blocks, fused,
    gemv, padded_len, pointwise, ring_lanes, stem,
};
use crate::family::Activation;

/// Scale, shift and activation of an operator's outputs, `[blocks]` each.
#[derive(Debug, Clone, Copy)]
pub struct Affine<'a> {
    /// Factor of every channel.
    pub scale: &'a [Lanes],
    /// Summand of every channel.
    pub shift: &'a [Lanes],
    /// Activation.
    pub activation: Option<Activation>,
}

impl Affine<'_> {
    fn check(&self, blocks: usize) {
        assert!(self.scale.len() >= blocks, "scale: {} blocks of {blocks}", self.scale.len());
        assert!(self.shift.len() >= blocks, "shift: {} blocks of {blocks}", self.shift.len());
    }
}

/// Values `[pixels, channels]` as a map `[blocks][pixels]`.
#[must_use]
pub fn blocked(x: &[f32], channels: usize) -> Vec<Lanes> {
    let pixels = x.len() / channels;
    let mut map = vec![Lanes::ZERO; blocks(channels) * pixels];
    for (pixel, row) in x.chunks_exact(channels).enumerate() {
        for (block, values) in row.chunks(LANES).enumerate() {
            map[block * pixels + pixel].0[..values.len()].copy_from_slice(values);
        }
    }
    map
}

/// A map `[blocks][pixels]` as values `[pixels, channels]`.
#[must_use]
pub fn unblocked(map: &[Lanes], channels: usize) -> Vec<f32> {
    let pixels = map.len() / blocks(channels);
    let mut x = vec![0.0; pixels * channels];
    for (pixel, row) in x.chunks_exact_mut(channels).enumerate() {
        for (block, values) in row.chunks_mut(LANES).enumerate() {
            values.copy_from_slice(&map[block * pixels + pixel].0[..values.len()]);
        }
    }
    x
}

/// A weight `[outputs, row]` as panels `[blocks of outputs][row]`, its first `outputs` rows.
///
/// # Panics
/// If the weight has fewer rows.
#[must_use]
pub fn panels(weight: &[f32], row: usize, outputs: usize) -> Vec<Lanes> {
    assert!(weight.len() >= outputs * row, "weight: {} values", weight.len());
    let mut panels = vec![Lanes::ZERO; blocks(outputs) * row];
    for (output, weights) in weight.chunks_exact(row).take(outputs).enumerate() {
        let panel = &mut panels[output / LANES * row..][..row];
        panel.iter_mut().zip(weights).for_each(|(lanes, w)| lanes.0[output % LANES] = *w);
    }
    panels
}

/// Pointwise convolution of a map `[blocks][pixels]` with `inputs` channels by panels of rows `row`
/// long, of which the first `inputs` are used; then `affine`, then `add` where there is one.
///
/// # Panics
/// If a length does not fit.
pub fn pointwise_map(
    isa: Isa,
    x: &[Lanes],
    (pixels, inputs): (usize, usize),
    (weight, row): (&[Lanes], usize),
    affine: Affine<'_>,
    add: Option<&[Lanes]>,
    y: &mut [Lanes],
) {
    if pixels == 0 {
        return;
    }
    let out = y.len() / pixels;
    affine.check(out);
    assert!(y.len() == out * pixels, "y: {} of {out} blocks of {pixels}", y.len());
    assert!(
        inputs > 0 && x.len() >= blocks(inputs) * pixels,
        "x: {} of {inputs} × {pixels}",
        x.len()
    );
    assert!(
        inputs <= row && weight.len() >= out * row,
        "weight: {} of {out} × {row}",
        weight.len()
    );
    assert!(add.is_none_or(|add| add.len() >= y.len()), "add: fewer than {}", y.len());
    // SAFETY: the asserts show that every block of inputs, panel and block of outputs lies in its
    // slice; `y` is borrowed exclusively.
    unsafe {
        let args = Pointwise {
            x: x.as_ptr(),
            x_block: pixels,
            inputs,
            weight: weight.as_ptr(),
            row,
            blocks: out,
            scale: affine.scale.as_ptr(),
            shift: affine.shift.as_ptr(),
            activation: affine.activation,
            add: add.map_or(std::ptr::null(), <[Lanes]>::as_ptr),
            add_block: pixels,
            y: y.as_mut_ptr(),
            y_block: pixels,
            rows: Rows::flat(pixels),
            first: 0,
            last: pixels,
        };
        pointwise(isa, &args);
    }
}

/// Sizes of a depthwise convolution of one image, padding `kernel/2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DepthwiseShape {
    /// Blocks of channels.
    pub blocks: usize,
    /// Height in.
    pub height: usize,
    /// Width in.
    pub width: usize,
    /// Kernel, odd, at most 31.
    pub kernel: usize,
    /// Stride, 1 or 2.
    pub stride: usize,
}

impl DepthwiseShape {
    fn out(&self) -> usize {
        self.height.div_ceil(self.stride) * self.width.div_ceil(self.stride)
    }
}

/// Depthwise convolution of a map with weights `[blocks][kernel·kernel]`, then `affine`. `means`
/// receives those of the outputs where it is there.
///
/// # Panics
/// If a length does not fit.
pub fn depthwise_map(
    isa: Isa,
    x: &[Lanes],
    shape: DepthwiseShape,
    weight: &[Lanes],
    affine: Affine<'_>,
    y: &mut [Lanes],
    means: Option<&mut [Lanes]>,
) {
    let DepthwiseShape { blocks, height, width, kernel, stride } = shape;
    assert!(height > 0 && width > 0, "an empty map");
    assert!(kernel % 2 == 1 && kernel <= 31 && matches!(stride, 1 | 2), "{shape:?}");
    affine.check(blocks);
    assert!(x.len() >= blocks * height * width, "x: {} for {shape:?}", x.len());
    assert!(weight.len() >= blocks * kernel * kernel, "weight: {} for {shape:?}", weight.len());
    assert!(y.len() >= blocks * shape.out(), "y: {} for {shape:?}", y.len());
    assert!(means.as_ref().is_none_or(|means| means.len() >= blocks), "means: fewer than {blocks}");
    let mut ring = vec![Lanes::ZERO; ring_lanes(height, width, kernel, stride)];
    // SAFETY: the asserts show that every block lies in its slice, the ring has the length its
    // sizes ask for; what is written is borrowed exclusively.
    unsafe {
        let args = Fused {
            source: Source::Map { x: x.as_ptr() },
            blocks,
            height,
            width,
            kernel,
            stride,
            weight: weight.as_ptr(),
            scale: affine.scale.as_ptr(),
            shift: affine.shift.as_ptr(),
            activation: affine.activation,
            y: y.as_mut_ptr(),
            means: means.map_or(std::ptr::null_mut(), <[Lanes]>::as_mut_ptr),
            ring: ring.as_mut_ptr(),
        };
        fused(isa, &args);
    }
}

/// First convolution, dense 3×3 with padding 1 and `stride` 1 or 2, of an image
/// `[side, side, channels]` by panels `[blocks][9·channels]`: a row of the kernel after the other,
/// channels innermost.
///
/// # Panics
/// If a length does not fit.
pub fn stem_map(
    isa: Isa,
    image: &[f32],
    (side, channels): (usize, usize),
    stride: usize,
    weight: &[Lanes],
    affine: Affine<'_>,
    y: &mut [Lanes],
) {
    assert!(side > 0 && channels > 0 && matches!(stride, 1 | 2), "side {side}, stride {stride}");
    assert!(image.len() >= side * side * channels, "image: {} values", image.len());
    let out_side = side.div_ceil(stride);
    let out = y.len() / (out_side * out_side);
    assert!(y.len() == out * out_side * out_side, "y: {} for side {out_side}", y.len());
    assert!(weight.len() >= out * 9 * channels, "weight: {} for {out} blocks", weight.len());
    affine.check(out);
    let mut padded = vec![0.0; padded_len(side, channels)];
    pad(image, side, channels, &mut padded);
    // SAFETY: the asserts show that every block lies in its slice; the padded image has the length
    // its sizes ask for; `y` is borrowed exclusively.
    unsafe {
        let first = Stem {
            x: padded.as_ptr(),
            pitch: side + 2,
            channels,
            stride,
            weight: weight.as_ptr(),
            scale: affine.scale.as_ptr(),
            shift: affine.shift.as_ptr(),
            activation: affine.activation,
            y: y.as_mut_ptr(),
            y_block: out_side * out_side,
            rows: Rows { width: out_side, pitch: out_side, ring: out_side },
        };
        stem(isa, &StemRows { stem: first, blocks: out, rows: 0..out_side });
    }
}

/// An image `[side, side, channels]` between margins of one pixel; the margins are left as they
/// are.
fn pad(image: &[f32], side: usize, channels: usize, padded: &mut [f32]) {
    let (line, pitch) = (side * channels, (side + 2) * channels);
    for (row, values) in image.chunks_exact(line).take(side).enumerate() {
        padded[(row + 1) * pitch + channels..][..line].copy_from_slice(values);
    }
}

/// A layer on one vector of `inputs` channels: panels of rows `row` long, then the bias, then the
/// activation, or h-sigmoid where `gate` is set.
///
/// # Panics
/// If a length does not fit.
pub fn vector_layer(
    isa: Isa,
    (x, inputs): (&[Lanes], usize),
    (weight, row): (&[Lanes], usize),
    bias: &[Lanes],
    (activation, gate): (Option<Activation>, bool),
    y: &mut [Lanes],
) {
    let out = y.len();
    assert!(x.len() >= blocks(inputs) && inputs <= row, "x: {} for {inputs} inputs", x.len());
    assert!(weight.len() >= out * row, "weight: {} of {out} × {row}", weight.len());
    assert!(bias.len() >= out, "bias: {} of {out}", bias.len());
    // SAFETY: the asserts show that inputs, panels and bias lie in their slices; `y` is borrowed
    // exclusively.
    unsafe {
        let args = Gemv {
            x: x.as_ptr(),
            inputs,
            weight: weight.as_ptr(),
            row,
            blocks: out,
            bias: bias.as_ptr(),
            after: if gate { After::Gate } else { After::Activation(activation) },
            y: y.as_mut_ptr(),
        };
        gemv(isa, &args);
    }
}

/// Means of every block's pixels.
///
/// # Panics
/// If the map is not whole blocks.
pub fn pool_map(isa: Isa, map: &[Lanes], y: &mut [Lanes]) {
    let pixels = map.len() / y.len().max(1);
    assert!(pixels > 0 && map.len() == pixels * y.len(), "map: {} for {}", map.len(), y.len());
    let (blocks, values) = (y.len(), y.as_mut_ptr());
    // SAFETY: the assert shows that the blocks lie in the map, which is only read; `y` is borrowed
    // exclusively.
    unsafe { means(isa, &Map { map: map.as_ptr().cast_mut(), blocks, pixels, values, step: 1 }) }
}

/// Every block of a map times its factor.
///
/// # Panics
/// If the map is not whole blocks.
pub fn scale_map(isa: Isa, map: &mut [Lanes], factors: &[Lanes]) {
    let pixels = map.len() / factors.len().max(1);
    assert!(pixels * factors.len() == map.len(), "map: {} for {}", map.len(), factors.len());
    let (blocks, values) = (factors.len(), factors.as_ptr().cast_mut());
    // SAFETY: the assert shows that the blocks lie in the map, which is borrowed exclusively; the
    // factors are only read.
    unsafe { scale(isa, &Map { map: map.as_mut_ptr(), blocks, pixels, values, step: 1 }) }
}
