//! The blocked operators against candle's own, over random shapes, in every instruction set that
//! this machine has.

#[allow(dead_code, reason = "a part of it is enough")]
mod common;

use candle_core::{Device, Result, Tensor};
use common::close::assert_close;
use common::random::noise;
use coshift_engine::family::Activation;
use coshift_engine::kernels::blocked::{
    Affine, DepthwiseShape, Isa, Lanes, blocked, blocks, depthwise_map, in_lanes, panels,
    pointwise_map, pool_map, scale_map, stem_map, unblocked, vector_layer,
};
use coshift_engine::train::random::Random;

const ACTIVATIONS: [Option<Activation>; 3] =
    [None, Some(Activation::Relu), Some(Activation::HSwish)];

fn tensor(data: &[f32], shape: &[usize]) -> Tensor {
    Tensor::from_slice(data, shape, &Device::Cpu).unwrap()
}

fn flat(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

/// Scale and shift of `[1, channels, 1, 1]`, then the activation.
fn after(
    y: &Tensor,
    scale: &[f32],
    shift: &[f32],
    activation: Option<Activation>,
) -> Result<Tensor> {
    let shape = [1, scale.len(), 1, 1];
    let y = y.broadcast_mul(&tensor(scale, &shape))?.broadcast_add(&tensor(shift, &shape))?;
    match activation {
        None => Ok(y),
        Some(Activation::Relu) => y.relu(),
        Some(Activation::HSwish) => &y * ((&y + 3.0)?.clamp(0.0, 6.0)? / 6.0)?,
    }
}

/// `[1, channels, height, width]` as `[pixels, channels]`.
fn pixels(y: &Tensor) -> Result<Vec<f32>> {
    Ok(flat(&y.permute((0, 2, 3, 1))?.contiguous()?))
}

/// `[height, width, channels]` as `[1, channels, height, width]`.
fn planes(x: &[f32], height: usize, width: usize, channels: usize) -> Result<Tensor> {
    tensor(x, &[1, height, width, channels]).permute((0, 3, 1, 2))?.contiguous()
}

fn lanes(values: &[f32]) -> Vec<Lanes> {
    in_lanes(values).collect()
}

#[test]
fn pointwise_on_prefixes_equals_candle() -> Result<()> {
    let mut random = Random(21);
    for case in 0..120 {
        let (row, outputs) = (1 + random.below(70), 1 + random.below(120));
        let inputs = 1 + random.below(row);
        let count = 1 + random.below(if case % 10 == 0 { 2000 } else { 60 });
        let activation = ACTIVATIONS[case % 3];
        let x = noise(count * inputs, &mut random);
        let weight = noise(outputs * row, &mut random);
        let (scale, shift) = (noise(outputs, &mut random), noise(outputs, &mut random));
        let add = (case % 2 == 0).then(|| noise(count * outputs, &mut random));
        let used = tensor(&weight, &[outputs, row]).narrow(1, 0, inputs)?.contiguous()?;
        let used = used.reshape((outputs, inputs, 1, 1))?;
        let want = planes(&x, 1, count, inputs)?.conv2d(&used, 0, 1, 1, 1)?;
        let mut want = after(&want, &scale, &shift, activation)?;
        if let Some(add) = &add {
            want = (want + planes(add, 1, count, outputs)?)?;
        }
        for isa in Isa::available() {
            let mut y = vec![Lanes::ZERO; blocks(outputs) * count];
            let panels = panels(&weight, row, outputs);
            let (scale, shift) = (lanes(&scale), lanes(&shift));
            let affine = Affine { scale: &scale, shift: &shift, activation };
            let add = add.as_ref().map(|add| blocked(add, outputs));
            let x = blocked(&x, inputs);
            let sizes = (count, inputs);
            pointwise_map(isa, &x, sizes, (&panels, row), affine, add.as_deref(), &mut y);
            let what = format!("{isa} case {case}: {count}×{inputs} of {row} to {outputs}");
            assert_close(&unblocked(&y, outputs), &pixels(&want)?, &what);
        }
    }
    Ok(())
}

#[test]
fn depthwise_equals_candle() -> Result<()> {
    let mut random = Random(22);
    for case in 0..90 {
        let (kernel, stride) = ([3, 5, 7, 1, 9][case % 5], 1 + case / 5 % 2);
        let most = if case % 15 == 14 { 90 } else { 20 };
        let (height, width) = (1 + random.below(most), 1 + random.below(most));
        let channels = 1 + random.below(60);
        let activation = ACTIVATIONS[case % 3];
        let x = noise(height * width * channels, &mut random);
        let weight = noise(channels * kernel * kernel, &mut random);
        let (scale, shift) = (noise(channels, &mut random), noise(channels, &mut random));
        let plain = tensor(&weight, &[channels, 1, kernel, kernel]);
        let want =
            planes(&x, height, width, channels)?.conv2d(&plain, kernel / 2, stride, 1, channels)?;
        let want = after(&want, &scale, &shift, activation)?;
        let means = flat(&want.mean((2, 3))?);
        let taps = panels(&weight, kernel * kernel, channels);
        for isa in Isa::available() {
            let shape = DepthwiseShape { blocks: blocks(channels), height, width, kernel, stride };
            let out = height.div_ceil(stride) * width.div_ceil(stride);
            let mut y = vec![Lanes::ZERO; shape.blocks * out];
            let mut found = vec![Lanes::ZERO; shape.blocks];
            let (scale, shift) = (lanes(&scale), lanes(&shift));
            let affine = Affine { scale: &scale, shift: &shift, activation };
            let x = blocked(&x, channels);
            depthwise_map(isa, &x, shape, &taps, affine, &mut y, Some(&mut found));
            let what = format!("{isa} case {case}: {channels} channels, {shape:?}");
            assert_close(&unblocked(&y, channels), &pixels(&want)?, &what);
            assert_close(&unblocked(&found, channels), &means, &format!("{what}: means"));
        }
    }
    Ok(())
}

#[test]
fn the_first_convolution_equals_candle() -> Result<()> {
    let mut random = Random(23);
    for case in 0..40 {
        let (side, channels, stride) = (1 + random.below(60), 1 + random.below(4), 1 + case % 2);
        let outputs = 1 + random.below(40);
        let image = noise(side * side * channels, &mut random);
        let weight = noise(outputs * channels * 9, &mut random);
        let (scale, shift) = (noise(outputs, &mut random), noise(outputs, &mut random));
        let activation = ACTIVATIONS[case % 3];
        let plain = tensor(&weight, &[outputs, channels, 3, 3]);
        let want = planes(&image, side, side, channels)?.conv2d(&plain, 1, stride, 1, 1)?;
        let want = after(&want, &scale, &shift, activation)?;
        // Rows of the kernel, then its columns, channels innermost.
        let order = flat(&plain.permute((0, 2, 3, 1))?.contiguous()?);
        let panel = panels(&order, 9 * channels, outputs);
        for isa in Isa::available() {
            let out = side.div_ceil(stride);
            let mut y = vec![Lanes::ZERO; blocks(outputs) * out * out];
            let (scale, shift) = (lanes(&scale), lanes(&shift));
            let affine = Affine { scale: &scale, shift: &shift, activation };
            stem_map(isa, &image, (side, channels), stride, &panel, affine, &mut y);
            let what = format!("{isa} case {case}: side {side}, {channels} to {outputs}");
            assert_close(&unblocked(&y, outputs), &pixels(&want)?, &what);
        }
    }
    Ok(())
}

#[test]
fn squeeze_excite_and_pooling_equal_candle() -> Result<()> {
    let mut random = Random(24);
    for case in 0..60 {
        let (row, side) = (1 + random.below(90), 1 + random.below(12));
        let (channels, middle) = (1 + random.below(row), 1 + random.below(30));
        let x = noise(side * side * channels, &mut random);
        let (reduce, expand) = (noise(middle * row, &mut random), noise(row * middle, &mut random));
        let (reduce_bias, expand_bias) = (noise(middle, &mut random), noise(row, &mut random));
        let plain = planes(&x, side, side, channels)?;
        let means = plain.mean_keepdim((2, 3))?;
        let used = tensor(&reduce, &[middle, row, 1, 1]).narrow(1, 0, channels)?.contiguous()?;
        let bias = tensor(&reduce_bias, &[1, middle, 1, 1]);
        let hidden = (means.conv2d(&used, 0, 1, 1, 1)? + bias)?.relu()?;
        let used = tensor(&expand, &[row, middle, 1, 1]).narrow(0, 0, channels)?.contiguous()?;
        let bias = tensor(&expand_bias[..channels], &[1, channels, 1, 1]);
        let gate = ((hidden.conv2d(&used, 0, 1, 1, 1)? + bias)? + 3.0)?.clamp(0.0, 6.0)?;
        let want = pixels(&plain.broadcast_mul(&(gate / 6.0)?)?)?;
        for isa in Isa::available() {
            let mut map = blocked(&x, channels);
            let mut pooled = vec![Lanes::ZERO; blocks(channels)];
            pool_map(isa, &map, &mut pooled);
            assert_close(&unblocked(&pooled, channels), &flat(&means), &format!("{isa} {case}"));
            let mut hidden = vec![Lanes::ZERO; blocks(middle)];
            let (first, bias) = (panels(&reduce, row, middle), lanes(&reduce_bias));
            let relu = (Some(Activation::Relu), false);
            vector_layer(isa, (&pooled, channels), (&first, row), &bias, relu, &mut hidden);
            let mut gates = vec![Lanes::ZERO; blocks(channels)];
            let (second, bias) = (panels(&expand, middle, row), lanes(&expand_bias));
            vector_layer(
                isa,
                (&hidden, middle),
                (&second, middle),
                &bias,
                (None, true),
                &mut gates,
            );
            scale_map(isa, &mut map, &gates);
            let what = format!("{isa} case {case}: {channels} of {row}, {middle}");
            assert_close(&unblocked(&map, channels), &want, &what);
        }
    }
    Ok(())
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let isa = Isa::best();
    let zeros = |count: usize| vec![Lanes::ZERO; count];
    let one = zeros(1);
    let affine = Affine { scale: &one, shift: &one, activation: None };
    let fails = |work: &(dyn Fn() + std::panic::RefUnwindSafe)| {
        assert!(std::panic::catch_unwind(work).is_err());
    };
    fails(&|| {
        pointwise_map(isa, &zeros(3), (4, 16), (&zeros(16), 16), affine, None, &mut zeros(4));
    });
    fails(&|| {
        pointwise_map(isa, &zeros(4), (4, 16), (&zeros(15), 16), affine, None, &mut zeros(4));
    });
    fails(&|| {
        pointwise_map(isa, &zeros(4), (4, 17), (&zeros(16), 16), affine, None, &mut zeros(4));
    });
    let shape = DepthwiseShape { blocks: 1, height: 4, width: 4, kernel: 3, stride: 2 };
    fails(&|| depthwise_map(isa, &zeros(15), shape, &zeros(9), affine, &mut zeros(4), None));
    fails(&|| depthwise_map(isa, &zeros(16), shape, &zeros(8), affine, &mut zeros(4), None));
    fails(&|| depthwise_map(isa, &zeros(16), shape, &zeros(9), affine, &mut zeros(3), None));
}
