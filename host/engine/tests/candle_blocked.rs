//! The operators of inference in candle graphs against the plain graph of candle's own: whole
//! sub-networks map by map, shapes that do not fit, and a sub-network as one operator between layers of
//! candle's.

mod common;

use std::sync::{Arc, Mutex};

use candle_core::{Device, Tensor};
use common::close::assert_close;
use common::random::{any, calibrated, noise, values};
use common::{family, graph};
use coshift_engine::candle_blocked as ops;
use coshift_engine::family::{Family, OFA_10, OFA_12};
use coshift_engine::layout::{Kind, Layout, Unit};
use coshift_engine::network::{Network, Workspace};
use coshift_engine::train::network::{Statistics, Values};
use coshift_engine::train::random::Random;

fn tensor(data: &[f32], shape: &[usize]) -> Tensor {
    Tensor::from_slice(data, shape, &Device::Cpu).unwrap()
}

fn list(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

/// Scale and shift of a unit, `[2, outputs]`.
fn affine(layout: &Layout, values: &Values, unit: &Unit, norms: &mut Norms<'_>) -> Tensor {
    let (mut scale, mut shift) = (vec![1.0; unit.outputs], vec![0.0; unit.outputs]);
    if let Some(norm) = unit.norm {
        let (mean, variance) = norms.next().unwrap();
        for channel in 0..unit.outputs {
            let deviation = (variance[channel] + layout.family().bn_epsilon).sqrt();
            scale[channel] = values[norm][channel] / deviation;
            shift[channel] = values[norm + 1][channel] - mean[channel] * scale[channel];
        }
    }
    tensor(&[scale, shift].concat(), &[2, unit.outputs])
}

type Norms<'a> = std::slice::Iter<'a, (Vec<f32>, Vec<f32>)>;

/// A layer of squeeze-excite with its bias as last column.
fn with_bias(
    weight: &[f32],
    row: usize,
    (outputs, inputs): (usize, usize),
    bias: &[f32],
) -> Tensor {
    let rows = weight.chunks_exact(row).zip(bias).take(outputs);
    let all: Vec<f32> =
        rows.flat_map(|(row, bias)| row[..inputs].iter().chain([bias])).copied().collect();
    tensor(&all, &[outputs, inputs + 1])
}

/// The output of every unit, one operator after the other, of one image.
fn by_operators(
    layout: &Layout,
    units: &[Unit],
    values: &Values,
    statistics: &Statistics,
    image: &[f32],
) -> Vec<Tensor> {
    let (side, channels) = (units[0].side, layout.family().image_channels);
    let mut x = tensor(image, &[1, side, side, channels]);
    let (mut outputs, mut shortcut) = (Vec::new(), x.clone());
    let mut norms = statistics.iter();
    for unit in units {
        if unit.pools {
            x = ops::pool(&x).unwrap().reshape((1, 1, 1, unit.inputs)).unwrap();
        }
        if unit.opens_shortcut {
            shortcut = x.clone();
        }
        let affine = affine(layout, values, unit, &mut norms);
        let weight = &values[unit.weight];
        x = match unit.kind {
            Kind::Dense => {
                let shape = [unit.outputs, unit.inputs, 3, 3];
                ops::first(&x, &tensor(weight, &shape), &affine, unit.stride, unit.activation)
            }
            Kind::Pointwise => {
                let rows = tensor(&weight[..unit.outputs * unit.row], &[unit.outputs, unit.row]);
                ops::pointwise(&x, &rows, &affine, unit.activation)
            }
            Kind::Depthwise => {
                let kernel = list(&graph::kernel(layout, values, unit).unwrap());
                let taps = unit.kernel * unit.kernel;
                let rows = tensor(&kernel, &[unit.outputs, taps]).t().unwrap();
                ops::depthwise(&x, &rows, &affine, unit.stride, unit.activation)
            }
        }
        .unwrap();
        if let Some(squeeze) = unit.squeeze {
            let (middle, outputs) = (squeeze.middle, unit.outputs);
            let layer = |index: usize, row, sizes| {
                with_bias(&values[index], row, sizes, &values[index + 1])
            };
            let reduce = layer(squeeze.reduce, squeeze.reduce_row, (middle, outputs));
            let expand = layer(squeeze.expand, squeeze.expand_row, (outputs, middle));
            x = ops::squeeze_excite(&x, &reduce, &expand).unwrap();
        }
        if unit.closes_shortcut {
            x = (x + &shortcut).unwrap();
        }
        outputs.push(x.clone());
    }
    outputs
}

#[test]
fn every_map_equals_the_plain_graph() {
    let mut random = Random(51);
    let published = |json: &str| serde_json::from_str::<Family>(json).unwrap();
    for (mut family, sides, count) in
        [(family(), [8], 12), (published(OFA_10), [40], 4), (published(OFA_12), [36], 4)]
    {
        if family.image_channels == 3 {
            family.resolutions = sides.to_vec();
        }
        let layout = Layout::new(&family).unwrap();
        let values = values(&layout, &mut random);
        for _ in 0..count {
            let net = any(&family, &sides, &mut random);
            let net = calibrated(&layout, &values, &net, 12, &mut random);
            let units = layout.units(&net.net);
            let image = noise(sides[0] * sides[0] * family.image_channels, &mut random);
            let statistics = &net.statistics;
            let (want, _) = graph::run(&layout, &units, &values, statistics, &image).unwrap();
            let found = by_operators(&layout, &units, &values, statistics, &image);
            for (place, (found, want)) in found.iter().zip(&want).enumerate() {
                let found = found.permute((0, 3, 1, 2)).unwrap();
                assert_eq!(found.dims(), want.dims());
                let what = format!("{}, unit {place}", family.name);
                assert_close(&list(&found), &list(want), &what);
            }
        }
    }
}

#[test]
fn a_sub_network_is_an_operator_between_layers() {
    let (family, mut random) = (family(), Random(52));
    let layout = Layout::new(&family).unwrap();
    let values = values(&layout, &mut random);
    let nets: Vec<_> = (0..2)
        .map(|_| {
            let net = any(&family, &[8], &mut random);
            calibrated(&layout, &values, &net, 12, &mut random)
        })
        .collect();
    let network = Arc::new(Network::new(layout, values, &nets).unwrap());
    let space = Arc::new(Mutex::new(Workspace::default()));
    let images = noise(3 * 64, &mut random);
    let x = tensor(&images, &[3, 8, 8, 1]);
    for index in 0..2 {
        // Halved before, softmax after, both candle's.
        let logits = ops::sub_network(&(&x * 0.5).unwrap(), &network, index, &space).unwrap();
        assert_eq!(logits.dims(), [3, 4]);
        let exp = logits.exp().unwrap();
        let shares = exp.broadcast_div(&exp.sum_keepdim(1).unwrap()).unwrap();
        let halves: Vec<f32> = images.iter().map(|x| 0.5 * x).collect();
        let mut own = Workspace::default();
        let want = network.run(index, &halves, &mut own).unwrap();
        assert_eq!(list(&logits), want);
        let sum: f32 = list(&shares).iter().sum();
        assert!((sum - 3.0).abs() < 1e-5);
    }
    let fault = ops::sub_network(&x, &network, 7, &space).unwrap_err().to_string();
    assert!(fault.contains("sub-network 7: the model has 0 to 1"), "{fault}");
    let wide = tensor(&images, &[3, 4, 16, 1]);
    assert!(ops::sub_network(&wide, &network, 0, &space).is_err());
}

#[test]
fn shapes_that_do_not_fit_are_named() {
    let x = tensor(&[0.5; 2 * 4 * 4 * 3], &[2, 4, 4, 3]);
    let affine = tensor(&[1.0; 10], &[2, 5]);
    let said = |result: candle_core::Result<Tensor>| result.unwrap_err().to_string();
    let narrow = tensor(&[0.1; 10], &[5, 2]);
    assert!(said(ops::pointwise(&x, &narrow, &affine, None)).contains("at most 2"));
    let rows = tensor(&[0.1; 12], &[4, 3]);
    assert!(said(ops::pointwise(&x, &rows, &affine, None)).contains("[2, 4]"));
    let even = tensor(&[0.1; 12], &[4, 3]);
    let three = tensor(&[1.0; 6], &[2, 3]);
    assert!(said(ops::depthwise(&x, &even, &three, 1, None)).contains("odd k"));
    let nine = tensor(&[0.1; 27], &[9, 3]);
    assert!(said(ops::depthwise(&x, &nine, &three, 3, None)).contains("stride 3"));
    let dense = tensor(&[0.1; 5 * 27], &[5, 3, 3, 3]);
    assert!(said(ops::first(&x, &nine, &affine, 1, None)).contains("3×3"));
    let long = tensor(&[0.5; 2 * 2 * 8 * 3], &[2, 2, 8, 3]);
    assert!(said(ops::first(&long, &dense, &affine, 1, None)).contains("square"));
    let layer = tensor(&[0.1; 8], &[2, 4]);
    assert!(said(ops::squeeze_excite(&x, &layer, &layer)).contains("[3, 3]"));
    let whole = Tensor::zeros((2, 4, 4, 3), candle_core::DType::F64, &Device::Cpu).unwrap();
    assert!(said(ops::pool(&whole)).contains("f32"));
}
