//! The kernels against the plain candle graph, and their gradients against differences.

#[allow(dead_code, reason = "a part of it is enough")]
mod common;

use candle_core::{Device, Result, Tensor, Var};
use common::close;
use coshift_engine::candle_ops::{depthwise, pointwise};
use coshift_engine::train::random::Random;

fn noise(shape: &[usize], random: &mut Random) -> Result<Tensor> {
    let count = shape.iter().product();
    let data: Vec<f32> = (0..count).map(|_| random.normal()).collect();
    Tensor::from_vec(data, shape, &Device::Cpu)
}

/// Shapes and values.
fn assert_close(a: &Tensor, b: &Tensor, what: &str) {
    assert_eq!(a.dims(), b.dims(), "{what}");
    let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    close::assert_close(&flat(a), &flat(b), what);
}

/// The same convolution by candle: one group a channel, `[batch, channels, height, width]`.
fn plain_depthwise(x: &Tensor, weight: &Tensor, stride: usize) -> Result<Tensor> {
    let (taps, channels) = weight.dims2()?;
    let kernel = taps.isqrt();
    let weight = weight.t()?.reshape((channels, 1, kernel, kernel))?.contiguous()?;
    let x = x.permute((0, 3, 1, 2))?.contiguous()?;
    let y = x.conv2d(&weight, kernel / 2, stride, 1, channels)?;
    y.permute((0, 2, 3, 1))?.contiguous()
}

#[test]
fn depthwise_equals_the_plain_graph() -> Result<()> {
    let mut random = Random(5);
    for case in 0..60 {
        let (kernel, stride) = ([3, 5, 7][case % 3], 1 + case / 3 % 2);
        let (height, width) = (1 + random.below(14), 1 + random.below(14));
        let channels = 1 + random.below(40);
        let x = noise(&[1 + random.below(3), height, width, channels], &mut random)?;
        let weight = noise(&[kernel * kernel, channels], &mut random)?;
        let what = format!("case {case}: {:?}, kernel {kernel}, stride {stride}", x.dims());
        assert_close(
            &depthwise(&x, &weight, stride)?,
            &plain_depthwise(&x, &weight, stride)?,
            &what,
        );
    }
    Ok(())
}

/// The same convolution as a sum over taps, of operators whose gradients candle has for every
/// stride (its grouped convolution has none).
fn by_taps(x: &Tensor, weight: &Tensor, stride: usize) -> Result<Tensor> {
    let (taps, _) = weight.dims2()?;
    let (_, height, width, _) = x.dims4()?;
    let kernel = taps.isqrt();
    let margin = kernel / 2;
    let padded = x.pad_with_zeros(1, margin, margin)?.pad_with_zeros(2, margin, margin)?;
    let mut sum = x.zeros_like()?;
    for tap in 0..taps {
        let part = padded.narrow(1, tap / kernel, height)?.narrow(2, tap % kernel, width)?;
        sum = (sum + part.broadcast_mul(&weight.narrow(0, tap, 1)?.flatten_all()?)?)?;
    }
    let every = |length: usize| {
        let places: Vec<u32> = (0..length as u32).step_by(stride).collect();
        Tensor::new(places, &Device::Cpu)
    };
    sum.index_select(&every(height)?, 1)?.index_select(&every(width)?, 2)
}

#[test]
fn depthwise_gradients_equal_the_plain_graphs() -> Result<()> {
    let mut random = Random(6);
    for case in 0..24 {
        let (kernel, stride) = ([3, 5, 7][case % 3], 1 + case / 3 % 2);
        let channels = 1 + random.below(6);
        let shape = [2, kernel + random.below(6), kernel + random.below(6), channels];
        let x = Var::from_tensor(&noise(&shape, &mut random)?)?;
        let weight = Var::from_tensor(&noise(&[kernel * kernel, channels], &mut random)?)?;
        let ours = depthwise(&x, &weight, stride)?;
        let mask = noise(ours.dims(), &mut random)?;
        let ours = (ours * &mask)?.sum_all()?.backward()?;
        let plain = (by_taps(&x, &weight, stride)? * &mask)?.sum_all()?.backward()?;
        for (name, var) in [("x", &x), ("weight", &weight)] {
            let what = format!("case {case}: gradient of {name}, kernel {kernel}, stride {stride}");
            assert_close(ours.get(var).unwrap(), plain.get(var).unwrap(), &what);
        }
    }
    Ok(())
}

#[test]
fn pointwise_on_a_prefix_equals_the_plain_graph_and_its_gradients() -> Result<()> {
    let mut random = Random(7);
    for case in 0..30 {
        let (row, outputs) = (1 + random.below(50), 1 + random.below(50));
        let inputs = 1 + random.below(row);
        let x = Var::from_tensor(&noise(&[2, 1 + random.below(9), 3, inputs], &mut random)?)?;
        let weight = Var::from_tensor(&noise(&[outputs, row], &mut random)?)?;
        let ours = pointwise(&x, &weight)?;
        let used = weight.narrow(1, 0, inputs)?.contiguous()?.t()?;
        let plain = x.flatten(0, 2)?.matmul(&used)?.reshape(ours.dims())?;
        assert_close(&ours, &plain, &format!("case {case}"));
        let mask = noise(ours.dims(), &mut random)?;
        let ours = (ours * &mask)?.sum_all()?.backward()?;
        let plain = (plain * &mask)?.sum_all()?.backward()?;
        for (name, var) in [("x", &x), ("weight", &weight)] {
            let what = format!("case {case}: gradient of {name}");
            assert_close(ours.get(var).unwrap(), plain.get(var).unwrap(), &what);
        }
    }
    Ok(())
}

#[test]
fn wrong_shapes_are_named() -> Result<()> {
    let mut random = Random(8);
    let x = noise(&[1, 4, 4, 8], &mut random)?;
    let error = |result: Result<Tensor>| result.unwrap_err().to_string();
    let even = noise(&[16, 8], &mut random)?;
    assert!(error(depthwise(&x, &even, 1)).contains("odd k"));
    let other = noise(&[9, 7], &mut random)?;
    assert!(error(depthwise(&x, &other, 1)).contains("[k·k, 8]"));
    let fits = noise(&[9, 8], &mut random)?;
    assert!(error(depthwise(&x, &fits, 3)).contains("stride 3"));
    let narrow = noise(&[5, 7], &mut random)?;
    assert!(error(pointwise(&x, &narrow)).contains("at most 7"));
    Ok(())
}
