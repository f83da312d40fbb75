//! Every operator of inference, in every instruction set that this machine has, against plain loops
//! in `f64`; whole sub-networks against the training's forward pass. Needs no candle, so that it
//! runs where only the kernels are built: `cargo xtask test --aarch64` runs it emulated, for NEON.

mod common;

use common::close::assert_close;
use common::family;
use common::need::skipped;
use common::random::noise;
use coshift_engine::family::{Activation, COSHIFT_28, Family};
use coshift_engine::kernels::blocked::{
    Affine, DepthwiseShape, Isa, Lanes, blocked, blocks, depthwise_map, in_lanes, panels,
    pointwise_map, pool_map, scale_map, stem_map, unblocked, vector_layer,
};
use coshift_engine::layout::Layout;
use coshift_engine::model::Calibrated;
use coshift_engine::network::{Network, Workspace};
use coshift_engine::train::network::forward;
use coshift_engine::train::optimiser;
use coshift_engine::train::random::Random;
use coshift_engine::train::sandwich::sample;

const ACTIVATIONS: [Option<Activation>; 3] =
    [None, Some(Activation::Relu), Some(Activation::HSwish)];

fn lanes(values: &[f32]) -> Vec<Lanes> {
    in_lanes(values).collect()
}

/// h-sigmoid.
fn gate(z: f64) -> f64 {
    (z + 3.0).clamp(0.0, 6.0) / 6.0
}

fn activated(z: f64, activation: Option<Activation>) -> f64 {
    match activation {
        None => z,
        Some(Activation::Relu) => z.max(0.0),
        Some(Activation::HSwish) => z * gate(z),
    }
}

/// A map `[height, width, channels]`.
struct Image<'a> {
    x: &'a [f32],
    height: usize,
    width: usize,
    channels: usize,
}

impl Image<'_> {
    /// Output at a row and a column, kernel centred and zeros around: `weight(tap, channel)` of the
    /// channels in `from`.
    fn convolved(
        &self,
        (row, column): (usize, usize),
        kernel: usize,
        from: std::ops::Range<usize>,
        weight: impl Fn(usize, usize) -> f32,
    ) -> f64 {
        let mut sum = 0.0;
        for tap in 0..kernel * kernel {
            let y = (row + tap / kernel).wrapping_sub(kernel / 2);
            let x = (column + tap % kernel).wrapping_sub(kernel / 2);
            if y < self.height && x < self.width {
                for channel in from.clone() {
                    let value = self.x[(y * self.width + x) * self.channels + channel];
                    sum += f64::from(value) * f64::from(weight(tap, channel));
                }
            }
        }
        sum
    }
}

/// What every operator does to its sums.
struct After {
    scale: Vec<f32>,
    shift: Vec<f32>,
    activation: Option<Activation>,
}

impl After {
    fn random(channels: usize, case: usize, random: &mut Random) -> Self {
        let (scale, shift) = (noise(channels, random), noise(channels, random));
        Self { scale, shift, activation: ACTIVATIONS[case % 3] }
    }

    fn of(&self, channel: usize, sum: f64) -> f64 {
        let z = f64::from(self.scale[channel]) * sum + f64::from(self.shift[channel]);
        activated(z, self.activation)
    }

    fn with<T>(&self, work: impl FnOnce(Affine<'_>) -> T) -> T {
        let (scale, shift) = (lanes(&self.scale), lanes(&self.shift));
        work(Affine { scale: &scale, shift: &shift, activation: self.activation })
    }
}

#[test]
fn pointwise_equals_plain_loops() {
    let mut random = Random(31);
    for case in 0..60 {
        let (row, outputs) = (1 + random.below(70), 1 + random.below(70));
        let inputs = 1 + random.below(row);
        let count = 1 + random.below(if case % 10 == 0 { 400 } else { 40 });
        let (x, weight) = (noise(count * inputs, &mut random), noise(outputs * row, &mut random));
        let after = After::random(outputs, case, &mut random);
        let add = (case % 2 == 0).then(|| noise(count * outputs, &mut random));
        let mut want = Vec::new();
        for x in x.chunks_exact(inputs) {
            for (output, weight) in weight.chunks_exact(row).enumerate() {
                let products = x.iter().zip(weight).map(|(x, w)| f64::from(*x) * f64::from(*w));
                let added = add.as_ref().map_or(0.0, |add| f64::from(add[want.len()]));
                want.push(after.of(output, products.sum()) + added);
            }
        }
        for isa in Isa::available() {
            let mut y = vec![Lanes::ZERO; blocks(outputs) * count];
            let panels = panels(&weight, row, outputs);
            let add = add.as_ref().map(|add| blocked(add, outputs));
            let (x, sizes) = (blocked(&x, inputs), (count, inputs));
            after.with(|affine| {
                pointwise_map(isa, &x, sizes, (&panels, row), affine, add.as_deref(), &mut y);
            });
            let what = format!("{isa} case {case}: {count}×{inputs} of {row} to {outputs}");
            assert_close(&unblocked(&y, outputs), &want, &what);
        }
    }
}

#[test]
fn depthwise_equals_plain_loops() {
    let mut random = Random(32);
    for case in 0..60 {
        let (kernel, stride) = ([3, 5, 7, 1, 9][case % 5], 1 + case / 5 % 2);
        let most = if case % 15 == 14 { 60 } else { 16 };
        let (height, width) = (1 + random.below(most), 1 + random.below(most));
        let channels = 1 + random.below(40);
        let x = noise(height * width * channels, &mut random);
        let weight = noise(channels * kernel * kernel, &mut random);
        let after = After::random(channels, case, &mut random);
        let image = Image { x: &x, height, width, channels };
        let (mut want, mut means) = (Vec::new(), vec![0.0; channels]);
        let (rows, columns) = (height.div_ceil(stride), width.div_ceil(stride));
        for place in 0..rows * columns {
            let at = (place / columns * stride, place % columns * stride);
            for (channel, mean) in means.iter_mut().enumerate() {
                let weight = |tap, channel: usize| weight[channel * kernel * kernel + tap];
                let sum = image.convolved(at, kernel, channel..channel + 1, weight);
                let value = after.of(channel, sum);
                want.push(value);
                *mean += value / (rows * columns) as f64;
            }
        }
        let taps = panels(&weight, kernel * kernel, channels);
        for isa in Isa::available() {
            let shape = DepthwiseShape { blocks: blocks(channels), height, width, kernel, stride };
            let mut y = vec![Lanes::ZERO; shape.blocks * rows * columns];
            let mut found = vec![Lanes::ZERO; shape.blocks];
            let x = blocked(&x, channels);
            after.with(|affine| {
                depthwise_map(isa, &x, shape, &taps, affine, &mut y, Some(&mut found));
            });
            let what = format!("{isa} case {case}: {channels} channels, {shape:?}");
            assert_close(&unblocked(&y, channels), &want, &what);
            // Means of values of either sign may be far smaller than what they are means of.
            let top = want.iter().fold(0.0_f64, |top, w| top.max(w.abs()));
            for (found, mean) in unblocked(&found, channels).iter().zip(&means) {
                let off = (f64::from(*found) - mean).abs();
                assert!(off <= 1e-4 * top, "{what}: mean {found}, expected {mean}");
            }
        }
    }
}

#[test]
fn the_first_convolution_equals_plain_loops() {
    let mut random = Random(33);
    for case in 0..30 {
        let (side, channels, stride) = (1 + random.below(40), 1 + random.below(4), 1 + case % 2);
        let outputs = 1 + random.below(40);
        let x = noise(side * side * channels, &mut random);
        // Rows of the kernel, then its columns, channels innermost.
        let weight = noise(outputs * 9 * channels, &mut random);
        let after = After::random(outputs, case, &mut random);
        let image = Image { x: &x, height: side, width: side, channels };
        let out = side.div_ceil(stride);
        let mut want = Vec::new();
        for place in 0..out * out {
            let at = (place / out * stride, place % out * stride);
            for output in 0..outputs {
                let weight =
                    |tap, channel| weight[output * 9 * channels + tap * channels + channel];
                want.push(after.of(output, image.convolved(at, 3, 0..channels, weight)));
            }
        }
        let panel = panels(&weight, 9 * channels, outputs);
        for isa in Isa::available() {
            let mut y = vec![Lanes::ZERO; blocks(outputs) * out * out];
            after.with(|affine| {
                stem_map(isa, &x, (side, channels), stride, &panel, affine, &mut y);
            });
            let what = format!("{isa} case {case}: side {side}, {channels} to {outputs}");
            assert_close(&unblocked(&y, outputs), &want, &what);
        }
    }
}

#[test]
fn vector_layers_pooling_and_scaling_equal_plain_loops() {
    let mut random = Random(34);
    for case in 0..40 {
        let (row, outputs, pixels) =
            (1 + random.below(90), 1 + random.below(60), 1 + random.below(90));
        let inputs = 1 + random.below(row);
        let x = noise(pixels * inputs, &mut random);
        let (weight, bias) = (noise(outputs * row, &mut random), noise(outputs, &mut random));
        // The last is h-sigmoid, the gate of squeeze-excite.
        let (activation, gates) = [
            (None, false),
            (Some(Activation::Relu), false),
            (Some(Activation::HSwish), false),
            (None, true),
        ][case % 4];
        let mut means = vec![0.0; inputs];
        for x in x.chunks_exact(inputs) {
            means.iter_mut().zip(x).for_each(|(mean, x)| *mean += f64::from(*x) / pixels as f64);
        }
        let layer = |x: &[f64], output: usize| {
            let weight = &weight[output * row..][..inputs];
            let sum: f64 = x.iter().zip(weight).map(|(x, w)| x * f64::from(*w)).sum();
            let z = sum + f64::from(bias[output]);
            if gates { gate(z) } else { activated(z, activation) }
        };
        let want: Vec<f64> = (0..outputs).map(|output| layer(&means, output)).collect();
        let factors = noise(inputs, &mut random);
        let factor = |place: usize| f64::from(factors[place % inputs]);
        let scaled: Vec<f64> =
            x.iter().enumerate().map(|(place, x)| f64::from(*x) * factor(place)).collect();
        for isa in Isa::available() {
            let what = format!("{isa} case {case}: {pixels} of {inputs} of {row} to {outputs}");
            let mut map = blocked(&x, inputs);
            let mut pooled = vec![Lanes::ZERO; blocks(inputs)];
            pool_map(isa, &map, &mut pooled);
            assert_close(&unblocked(&pooled, inputs), &means, &format!("{what}: pooling"));
            let mut y = vec![Lanes::ZERO; blocks(outputs)];
            let panels = panels(&weight, row, outputs);
            let (vector, after) = ((&pooled[..], inputs), (activation, gates));
            vector_layer(isa, vector, (&panels, row), &lanes(&bias), after, &mut y);
            assert_close(&unblocked(&y, outputs), &want, &format!("{what}: layer"));
            scale_map(isa, &mut map, &lanes(&factors));
            assert_close(&unblocked(&map, inputs), &scaled, &format!("{what}: scaling"));
        }
    }
}

/// The published families at 64 pixels, where plain arithmetic is quick enough.
fn published(text: &str) -> Family {
    let family: Family = serde_json::from_str(text).unwrap();
    Family { resolution: 64, resolutions: vec![], ..family }
}

#[test]
fn whole_sub_networks_equal_the_forward_pass_of_training() {
    let mut random = Random(35);
    let families = [
        (family(), 12),
        (serde_json::from_str(COSHIFT_28).unwrap(), 12),
        (published(include_str!("../src/ofa-mbv3-1.0.json")), 3),
        (published(include_str!("../src/ofa-mbv3-1.2.json")), 1),
    ];
    for (family, count) in families {
        let layout = Layout::new(&family).unwrap();
        let mut values = optimiser::start(&layout, &mut random);
        values.iter_mut().flatten().for_each(|value| *value += 0.02 * random.normal());
        let pixels = family.resolution * family.resolution * family.image_channels;
        let known = noise(2 * pixels, &mut random);
        let mut nets = vec![family.smallest()];
        nets.extend((0..count).map(|_| sample(&family, &mut random)));
        let nets: Vec<Calibrated> = (nets.into_iter())
            .map(|net| {
                let statistics = forward(&layout, &layout.units(&net), &values, &known, None);
                Calibrated { statistics: statistics.statistics, net }
            })
            .collect();
        let x = noise(pixels, &mut random);
        for (index, Calibrated { net, statistics }) in nets.iter().enumerate() {
            let want = forward(&layout, &layout.units(net), &values, &x, Some(statistics)).logits;
            let want: Vec<f64> = want.into_iter().map(f64::from).collect();
            for isa in Isa::available() {
                let network = Network::new(layout.clone(), values.clone(), &nets[index..=index]);
                let network = network.unwrap().on(isa);
                let mut space = Workspace::default();
                let got = network.run(0, &x, &mut space).unwrap();
                assert_close(got, &want, &format!("{isa} {}: {net:?}", family.name));
            }
        }
    }
}

#[test]
fn this_machine_has_the_instruction_set_it_is_meant_to_test() {
    let found: Vec<String> = Isa::available().iter().map(Isa::to_string).collect();
    assert_eq!(found[0], "scalar");
    // Every 64-bit ARM core that Rust compiles for has it: without it nothing here tested it.
    assert_eq!(found.contains(&"NEON".to_owned()), cfg!(target_arch = "aarch64"), "{found:?}");
}

/// Says that an instruction set's kernels are not tested here, where the machine lacks it.
fn tested(name: &str, elsewhere: &str) {
    let available = Isa::available();
    if available.iter().any(|isa| isa.to_string() == name) {
        return;
    }
    skipped(format_args!("{name}: this machine lacks it, its kernels were not run{elsewhere}"));
}

#[test]
fn avx2_is_tested() {
    tested("AVX2", "");
}

#[test]
fn avx_512_is_tested() {
    tested("AVX-512", "");
}

#[test]
fn neon_is_tested() {
    tested("NEON", "; `cargo xtask test --aarch64` runs them emulated");
}
