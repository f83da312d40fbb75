//! Gradients of the operators of inference in candle graphs, against those of candle's own plain graph.

#[allow(dead_code, reason = "a part of it is enough")]
mod common;

use candle_core::{D, DType, Device, Result, Tensor, Var};
use common::{close, family, random};
use coshift_engine::candle_blocked as ops;
use coshift_engine::family::Activation;
use coshift_engine::layout::Layout;
use coshift_engine::network::{Network, Workspace};
use coshift_engine::train::random::Random;
use std::sync::{Arc, Mutex};

const ACTIVATIONS: [Option<Activation>; 3] =
    [None, Some(Activation::Relu), Some(Activation::HSwish)];

fn var(shape: &[usize], random: &mut Random) -> Result<Var> {
    let data: Vec<f32> = (0..shape.iter().product()).map(|_| random.normal()).collect();
    Var::from_tensor(&Tensor::from_vec(data, shape, &Device::Cpu)?)
}

/// Values and gradients of every variable, for a random gradient of the result.
fn assert_equal(ours: &Tensor, plain: &Tensor, vars: &[&Var], what: &str) -> Result<()> {
    let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(ours.dims(), plain.dims(), "{what}");
    close::assert_close(&flat(ours), &flat(plain), what);
    let mask = var(ours.dims(), &mut Random(91))?;
    let ours = (ours * mask.as_tensor())?.sum_all()?.backward()?;
    let plain = (plain * mask.as_tensor())?.sum_all()?.backward()?;
    for (number, var) in vars.iter().enumerate() {
        let (ours, plain) = (ours.get(var).unwrap(), plain.get(var).unwrap());
        assert_eq!(ours.dims(), var.dims(), "{what}");
        assert_eq!(ours.dtype(), DType::F32);
        close::assert_close(&flat(ours), &flat(plain), &format!("{what}: variable {number}"));
    }
    Ok(())
}

fn h_sigmoid(x: &Tensor) -> Result<Tensor> {
    (x + 3.0)?.clamp(0.0, 6.0)? / 6.0
}

/// Scale, shift and activation of the last axis.
fn finished(x: &Tensor, affine: &Tensor, activation: Option<Activation>) -> Result<Tensor> {
    let rows = |row| affine.narrow(0, row, 1)?.flatten_all();
    let z = x.broadcast_mul(&rows(0)?)?.broadcast_add(&rows(1)?)?;
    match activation {
        None => Ok(z),
        Some(Activation::Relu) => z.relu(),
        Some(Activation::HSwish) => &z * h_sigmoid(&z)?,
    }
}

/// Sum over the taps of an odd kernel, padded by half of it: what `tap` makes of the pixels below it.
fn by_taps(
    x: &Tensor,
    kernel: usize,
    stride: usize,
    tap: impl Fn(usize, &Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let (_, height, width, _) = x.dims4()?;
    let margin = kernel / 2;
    let padded = x.pad_with_zeros(1, margin, margin)?.pad_with_zeros(2, margin, margin)?;
    let every = |start: usize, length: usize| {
        let places = (start..start + length).step_by(stride);
        Tensor::new(places.map(|place| place as u32).collect::<Vec<_>>(), &Device::Cpu)
    };
    let parts = (0..kernel * kernel).map(|number| {
        let rows = padded.index_select(&every(number / kernel, height)?, 1)?;
        tap(number, &rows.index_select(&every(number % kernel, width)?, 2)?)
    });
    let parts = parts.collect::<Result<Vec<_>>>()?;
    parts[1..].iter().try_fold(parts[0].clone(), |sum, part| sum + part)
}

/// `x·Wᵀ` on the last axis.
fn product(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let mut dims = x.dims().to_vec();
    let inputs = dims.pop().unwrap();
    dims.push(weight.dim(0)?);
    x.reshape(((), inputs))?.matmul(&weight.t()?.contiguous()?)?.reshape(dims)
}

fn plain_pointwise(
    x: &Tensor,
    weight: &Tensor,
    affine: &Tensor,
    activation: Option<Activation>,
) -> Result<Tensor> {
    let used = weight.narrow(1, 0, x.dim(D::Minus1)?)?.contiguous()?;
    finished(&product(x, &used)?, affine, activation)
}

fn plain_depthwise(
    x: &Tensor,
    weight: &Tensor,
    affine: &Tensor,
    stride: usize,
    activation: Option<Activation>,
) -> Result<Tensor> {
    let kernel = weight.dim(0)?.isqrt();
    let conv = by_taps(x, kernel, stride, |tap, x| {
        x.broadcast_mul(&weight.narrow(0, tap, 1)?.flatten_all()?)
    })?;
    finished(&conv, affine, activation)
}

fn plain_first(
    x: &Tensor,
    weight: &Tensor,
    affine: &Tensor,
    stride: usize,
    activation: Option<Activation>,
) -> Result<Tensor> {
    let conv = by_taps(x, 3, stride, |tap, x| {
        let weight = weight.narrow(2, tap / 3, 1)?.narrow(3, tap % 3, 1)?;
        product(&x.contiguous()?, &weight.squeeze(3)?.squeeze(2)?.contiguous()?)
    })?;
    finished(&conv, affine, activation)
}

fn plain_squeeze_excite(x: &Tensor, reduce: &Tensor, expand: &Tensor) -> Result<Tensor> {
    let layer = |x: &Tensor, weight: &Tensor| {
        let inputs = x.dim(1)?;
        let bias = weight.narrow(1, inputs, 1)?.flatten_all()?;
        product(x, &weight.narrow(1, 0, inputs)?.contiguous()?)?.broadcast_add(&bias)
    };
    let means = x.mean(2)?.mean(1)?;
    let gates = h_sigmoid(&layer(&layer(&means, reduce)?.relu()?, expand)?)?;
    x.broadcast_mul(&gates.unsqueeze(1)?.unsqueeze(1)?)
}

#[test]
fn operators_have_the_plain_graph_s_gradients() -> Result<()> {
    let mut random = Random(92);
    for case in 0..36 {
        let (activation, stride) = (ACTIVATIONS[case % 3], 1 + case / 3 % 2);
        let (channels, outputs) = (1 + random.below(34), 1 + random.below(34));
        let (height, width) = (1 + random.below(8), 1 + random.below(8));
        let x = var(&[2, height, width, channels], &mut random)?;
        let affine = var(&[2, outputs], &mut random)?;
        let what = |name: &str| format!("case {case}, {name}: {:?} to {outputs}", x.dims());

        let weight = var(&[outputs, channels + random.below(9)], &mut random)?;
        let ours = ops::pointwise(&x, &weight, &affine, activation)?;
        let plain = plain_pointwise(&x, &weight, &affine, activation)?;
        assert_equal(&ours, &plain, &[&x, &weight, &affine], &what("pointwise"))?;

        let kernel = [3, 5, 7][case / 6 % 3];
        let (weight, own) =
            (var(&[kernel * kernel, channels], &mut random)?, var(&[2, channels], &mut random)?);
        let ours = ops::depthwise(&x, &weight, &own, stride, activation)?;
        let plain = plain_depthwise(&x, &weight, &own, stride, activation)?;
        assert_equal(&ours, &plain, &[&x, &weight, &own], &what("depthwise"))?;

        let image = var(&[2, height, height, 1 + case % 3], &mut random)?;
        let weight = var(&[outputs, 1 + case % 3, 3, 3], &mut random)?;
        let ours = ops::first(&image, &weight, &affine, stride, activation)?;
        let plain = plain_first(&image, &weight, &affine, stride, activation)?;
        assert_equal(&ours, &plain, &[&image, &weight, &affine], &what("first"))?;

        let reduce = var(&[outputs, channels + 1], &mut random)?;
        let expand = var(&[channels, outputs + 1], &mut random)?;
        let ours = ops::squeeze_excite(&x, &reduce, &expand)?;
        let plain = plain_squeeze_excite(&x, &reduce, &expand)?;
        assert_equal(&ours, &plain, &[&x, &reduce, &expand], &what("squeeze-excite"))?;

        assert_equal(&ops::pool(&x)?, &x.mean(2)?.mean(1)?, &[&x], &what("pool"))?;
    }
    Ok(())
}

/// Operators and layers of candle's own in turn; `plain`: candle's own alone.
fn mixed(vars: &[Var], images: &Tensor, plain: bool) -> Result<Tensor> {
    let [stem, a, taps, b, reduce, expand, weight, c] =
        [0, 1, 2, 3, 4, 5, 6, 7].map(|at| &vars[at]);
    let swish = Some(Activation::HSwish);
    let x = (images * 0.5)?;
    let x = if plain {
        plain_first(&x, stem, a, 2, swish)?
    } else {
        ops::first(&x, stem, a, 2, swish)?
    };
    let x = (&x + x.tanh()?)?;
    let x = if plain {
        let y = plain_depthwise(&x, taps, b, 1, swish)?;
        plain_pointwise(&plain_squeeze_excite(&y, reduce, expand)?, weight, c, None)?
    } else {
        let y = ops::depthwise(&x, taps, b, 1, swish)?;
        ops::pointwise(&ops::squeeze_excite(&y, reduce, expand)?, weight, c, None)?
    };
    if plain { x.mean(2)?.mean(1) } else { ops::pool(&x) }
}

#[test]
fn a_mixed_graph_can_be_trained() -> Result<()> {
    let mut random = Random(93);
    let shapes: [&[usize]; 8] =
        [&[20, 3, 3, 3], &[2, 20], &[25, 20], &[2, 20], &[6, 21], &[20, 7], &[4, 20], &[2, 4]];
    let vars = shapes.map(|shape| var(shape, &mut random));
    let vars = vars.into_iter().collect::<Result<Vec<_>>>()?;
    for var in &vars {
        var.set(&(var.as_tensor() * 0.3)?)?;
    }
    let images = var(&[8, 9, 9, 3], &mut random)?.as_detached_tensor();
    let wanted = var(&[8, 4], &mut random)?.as_detached_tensor();
    let (ours, plain) = (mixed(&vars, &images, false)?, mixed(&vars, &images, true)?);
    assert_equal(&ours, &plain, &vars.iter().collect::<Vec<_>>(), "mixed")?;
    let loss = || (mixed(&vars, &images, false)? - &wanted)?.sqr()?.mean_all();
    let before = loss()?.to_scalar::<f32>()?;
    for _ in 0..40 {
        let gradients = loss()?.backward()?;
        for var in &vars {
            var.set(&(var.as_tensor() - (gradients.get(var).unwrap() * 0.1)?)?)?;
        }
    }
    let after = loss()?.to_scalar::<f32>()?;
    assert!(after < 0.8 * before, "{before} to {after}");
    Ok(())
}

#[test]
fn what_has_no_gradients_says_so() -> Result<()> {
    let (family, mut random) = (family(), Random(94));
    let layout = Layout::new(&family).unwrap();
    let values = random::values(&layout, &mut random);
    let net = random::any(&family, &[8], &mut random);
    let net = random::calibrated(&layout, &values, &net, 12, &mut random);
    let network = Arc::new(Network::new(layout, values, &[net]).unwrap());
    let space = Arc::new(Mutex::new(Workspace::default()));
    let images = var(&[2, 8, 8, 1], &mut random)?;
    let logits = ops::sub_network(&images, &network, 0, &space)?;
    let fault = logits.sum_all()?.backward().map(|_| ()).unwrap_err().to_string();
    assert!(fault.contains("coshift-sub-network") && fault.contains("no gradients"), "{fault}");
    Ok(())
}
