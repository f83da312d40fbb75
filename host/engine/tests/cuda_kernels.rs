//! The CUDA kernels, compiled for the host, against the kernels of the CPU over random shapes; and
//! kernels with a fault, which must not pass.

#[allow(dead_code, reason = "not every test binary uses all of it")]
#[path = "common/emulated.rs"]
mod emulated;

use coshift_engine::cuda::launch::{
    After, Bands, Depthwise, Folded, Fused, KERNELS, Launch, Place, Pointwise, Stem, Tile, Vector,
};
use coshift_engine::cuda::tiles::{TILES, WHOLES};
use coshift_engine::family::Activation;
use coshift_engine::kernels::blocked::{
    Affine, DepthwiseShape, Isa, Lanes, blocked, blocks, depthwise_map, in_lanes, panels,
    pointwise_map, scale_map, stem_map, values, vector_layer,
};
use coshift_engine::train::random::Random;
use emulated::{Emulated, Memory};

const ACTIVATIONS: [Option<Activation>; 3] =
    [None, Some(Activation::Relu), Some(Activation::HSwish)];

fn noise(count: usize, random: &mut Random) -> Vec<f32> {
    (0..count).map(|_| random.normal()).collect()
}

fn lanes(values: &[f32]) -> Vec<Lanes> {
    in_lanes(values).collect()
}

/// Scale and shift of a layer's outputs.
struct Folds {
    scale: Vec<Lanes>,
    shift: Vec<Lanes>,
}

impl Folds {
    fn random(outputs: usize, random: &mut Random) -> Self {
        Self { scale: lanes(&noise(outputs, random)), shift: lanes(&noise(outputs, random)) }
    }

    /// With an activation, as the kernels of the CPU take them.
    fn affine(&self, activation: Option<Activation>) -> Affine<'_> {
        Affine { scale: &self.scale, shift: &self.shift, activation }
    }

    fn put(&self, memory: &mut Memory) -> Folded {
        Folded { scale: memory.put(&self.scale), shift: memory.put(&self.shift) }
    }
}

/// What a launch has to write: a map and its sums, where it has them.
fn written(
    y: Option<(Place, Vec<Lanes>)>,
    sums: Option<Place>,
    all_sums: Vec<Lanes>,
) -> Vec<(Place, Vec<Lanes>)> {
    y.into_iter().chain(sums.map(|place| (place, all_sums))).collect()
}

/// max|a − b| ≤ 1e-4 · max|b|; NaN never passes.
fn close(found: &[Lanes], wanted: &[Lanes], what: &str) -> Result<(), String> {
    let (a, b) = (values(found), values(wanted));
    assert_eq!(a.len(), b.len(), "{what}");
    let top = b.iter().fold(1e-6_f32, |top, b| top.max(b.abs()));
    match a.iter().zip(b).position(|(a, b)| (a - b).abs() > 1e-4 * top || !(a - b).is_finite()) {
        None => Ok(()),
        Some(at) => Err(format!("{what}: {} in place of {} at {at}", a[at], b[at])),
    }
}

/// Runs a launch and compares what it wrote, and that it wrote nowhere else.
fn check(
    kernels: &Emulated,
    memory: &mut Memory,
    launch: &Launch,
    wanted: &[(Place, Vec<Lanes>)],
    (what, seed): (&str, u64),
) -> Result<(), String> {
    let before = memory.arena.clone();
    kernels.run(launch, memory, seed).map_err(|fault| format!("{what}: {fault}"))?;
    for (place, wanted) in wanted {
        close(memory.at(*place, wanted.len()), wanted, what)?;
    }
    let may_write = |at: usize| {
        wanted
            .iter()
            .any(|(place, lanes)| (place.at / 16..place.at / 16 + lanes.len()).contains(&at))
    };
    let same = |a: &Lanes, b: &Lanes| a.0.map(f32::to_bits) == b.0.map(f32::to_bits);
    for (at, (after, before)) in memory.arena.iter().zip(&before).enumerate() {
        if !may_write(at) && !same(after, before) {
            return Err(format!("{what}: writes at {at}, which is not its own"));
        }
    }
    Ok(())
}

/// Sums of a map `[blocks][pixels]` over each run of pixels: `[runs][blocks]`.
fn sums(map: &[Lanes], pixels: usize, run: usize) -> Vec<Lanes> {
    let mut all = Vec::new();
    for start in (0..pixels).step_by(run) {
        for block in map.chunks_exact(pixels) {
            let mut sum = Lanes::ZERO;
            for lanes in &block[start..pixels.min(start + run)] {
                sum.0.iter_mut().zip(lanes.0).for_each(|(sum, value)| *sum += value);
            }
            all.push(sum);
        }
    }
    all
}

fn pointwise(kernels: &Emulated, cases: std::ops::Range<usize>) -> Result<(), String> {
    for case in cases {
        let mut random = Random(100 + case as u64);
        let tile: &Tile = &TILES[case % TILES.len()];
        let (inputs, outputs) = (1 + random.below(150), 1 + random.below(150));
        let row = inputs + random.below(40);
        let pixels = 1 + random.below(if case % 10 == 0 { 400 } else { 70 });
        let (images, activation) = (1 + random.below(3), ACTIVATIONS[case % 3]);
        let (gated, added, summed, kept) =
            (case % 2 == 0, case % 3 == 0, case % 4 < 2, case % 4 > 0);
        let weight = panels(&noise(outputs * row, &mut random), row, outputs);
        let folds = Folds::random(outputs, &mut random);
        let affine = folds.affine(activation);
        let (mut xs, mut gates, mut adds) = (Vec::new(), Vec::new(), Vec::new());
        let (mut ys, mut all_sums) = (Vec::new(), Vec::new());
        for _ in 0..images {
            let x = blocked(&noise(pixels * inputs, &mut random), inputs);
            let gate = lanes(&noise(inputs, &mut random));
            let add = blocked(&noise(pixels * outputs, &mut random), outputs);
            let mut scaled = x.clone();
            if gated {
                scale_map(Isa::best(), &mut scaled, &gate);
            }
            let mut y = vec![Lanes::ZERO; blocks(outputs) * pixels];
            let sizes = (pixels, inputs);
            let plus = added.then_some(&add[..]);
            pointwise_map(Isa::best(), &scaled, sizes, (&weight, row), affine, plus, &mut y);
            all_sums.extend(sums(&y, pixels, tile.pixels));
            xs.extend(x);
            gates.extend(gate);
            adds.extend(add);
            ys.extend(y);
        }
        // What lies beyond the inputs must not matter.
        for (block, map) in xs.chunks_exact_mut(pixels).enumerate() {
            let first = block % blocks(inputs) * 16;
            let beyond = inputs.saturating_sub(first).min(16);
            map.iter_mut().for_each(|lanes| lanes.0[beyond..].fill(7.0));
        }
        let mut memory = Memory::default();
        let layer = Pointwise {
            x: memory.put(&xs),
            weight: memory.put(&weight),
            row,
            folded: folds.put(&mut memory),
            gates: gated.then(|| memory.put(&gates)),
            add: added.then(|| memory.put(&adds)),
            y: kept.then(|| memory.room(ys.len())),
            sums: summed.then(|| memory.room(all_sums.len())),
            images,
            inputs,
            outputs,
            pixels,
            activation,
        };
        let wanted = written(layer.y.map(|y| (y, ys)), layer.sums, all_sums);
        let what = format!(
            "{} case {case}: {images} × {pixels} × {inputs} of {row} to {outputs}",
            tile.kernel
        );
        check(kernels, &mut memory, &layer.launch(tile), &wanted, (&what, case as u64))?;
    }
    Ok(())
}

fn depthwise(kernels: &Emulated, cases: std::ops::Range<usize>) -> Result<(), String> {
    for case in cases {
        let mut random = Random(200 + case as u64);
        let (kernel, stride) = ([3, 5, 7, 1, 9][case % 5], 1 + case / 5 % 2);
        let most = if case % 15 == 14 { 60 } else { 20 };
        let (height, width) = (1 + random.below(most), 1 + random.below(most));
        let (channels, images) = (1 + random.below(60), 1 + random.below(3));
        let (out_height, out_width) = (height.div_ceil(stride), width.div_ceil(stride));
        let bands = Bands { outputs: [1, 4][case / 10 % 2], rows: 1 + random.below(out_height) };
        let activation = ACTIVATIONS[case % 3];
        let weight =
            panels(&noise(channels * kernel * kernel, &mut random), kernel * kernel, channels);
        let folds = Folds::random(channels, &mut random);
        let affine = folds.affine(activation);
        let shape = DepthwiseShape { blocks: blocks(channels), height, width, kernel, stride };
        let (mut xs, mut ys, mut all_sums) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..images {
            let x = blocked(&noise(height * width * channels, &mut random), channels);
            let mut y = vec![Lanes::ZERO; shape.blocks * out_height * out_width];
            depthwise_map(Isa::best(), &x, shape, &weight, affine, &mut y, None);
            all_sums.extend(sums(&y, out_height * out_width, bands.rows * out_width));
            xs.extend(x);
            ys.extend(y);
        }
        let mut memory = Memory::default();
        let layer = Depthwise {
            x: memory.put(&xs),
            weight: memory.put(&weight),
            folded: folds.put(&mut memory),
            y: memory.room(ys.len()),
            sums: (case % 2 == 0).then(|| memory.room(all_sums.len())),
            images,
            channels,
            height,
            width,
            kernel,
            stride,
            activation,
        };
        let wanted = written(Some((layer.y, ys)), layer.sums, all_sums);
        let launch = layer.launch(bands);
        let what = format!(
            "{} case {case}: {images} × {channels} × {height}×{width}, {kernel}²/{stride}, {bands:?}",
            launch.kernel
        );
        check(kernels, &mut memory, &launch, &wanted, (&what, case as u64))?;
    }
    Ok(())
}

fn fused(kernels: &Emulated, cases: std::ops::Range<usize>) -> Result<(), String> {
    for case in cases {
        let mut random = Random(500 + case as u64);
        let whole = &WHOLES[case % WHOLES.len()];
        let side = 1 + random.below(whole.pixels.isqrt());
        let (inputs, outputs) = (1 + random.below(90), 1 + random.below(40));
        let (row, images) = (inputs + random.below(20), 1 + random.below(3));
        let (kernel, stride) = ([3, 5, 7, 9][case / 2 % 4], 1 + case / 8 % 2);
        let (area, out) = (side * side, side.div_ceil(stride).pow(2));
        let activation = ACTIVATIONS[case % 3];
        let weight = panels(&noise(outputs * row, &mut random), row, outputs);
        let taps = panels(&noise(outputs * kernel * kernel, &mut random), kernel * kernel, outputs);
        let [folds, tap_folds] = [0; 2].map(|_| Folds::random(outputs, &mut random));
        let (affine, tap_affine) = (folds.affine(activation), tap_folds.affine(activation));
        let shape =
            DepthwiseShape { blocks: blocks(outputs), height: side, width: side, kernel, stride };
        let (mut xs, mut ys, mut all_sums) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..images {
            let x = blocked(&noise(area * inputs, &mut random), inputs);
            let mut wide = vec![Lanes::ZERO; blocks(outputs) * area];
            let panels = (&weight[..], row);
            pointwise_map(Isa::best(), &x, (area, inputs), panels, affine, None, &mut wide);
            let mut y = vec![Lanes::ZERO; blocks(outputs) * out];
            depthwise_map(Isa::best(), &wide, shape, &taps, tap_affine, &mut y, None);
            all_sums.extend(sums(&y, out, out));
            xs.extend(x);
            ys.extend(y);
        }
        let mut memory = Memory::default();
        let layer = Fused {
            x: memory.put(&xs),
            weight: memory.put(&weight),
            row,
            folded: folds.put(&mut memory),
            taps: memory.put(&taps),
            tap_folded: tap_folds.put(&mut memory),
            y: memory.room(ys.len()),
            sums: (case % 2 == 0 || case % 3 == 0).then(|| memory.room(all_sums.len())),
            images,
            inputs,
            outputs,
            side,
            kernel,
            stride,
            activation,
        };
        let wanted = written(Some((layer.y, ys)), layer.sums, all_sums);
        let what = format!(
            "{} case {case}: {images} × {side}² × {inputs} of {row} to {outputs}, {kernel}²/{stride}",
            whole.kernel
        );
        check(kernels, &mut memory, &layer.launch(whole), &wanted, (&what, case as u64))?;
    }
    Ok(())
}

fn stem(kernels: &Emulated, cases: std::ops::Range<usize>) -> Result<(), String> {
    for case in cases {
        let mut random = Random(300 + case as u64);
        let (side, channels, stride) = (1 + random.below(40), 1 + random.below(4), 1 + case % 2);
        let (outputs, images) = (1 + random.below(40), 1 + random.below(3));
        let activation = ACTIVATIONS[case % 3];
        let row = 9 * channels;
        let weight = panels(&noise(outputs * row, &mut random), row, outputs);
        let folds = Folds::random(outputs, &mut random);
        let affine = folds.affine(activation);
        let len = side * side * channels;
        let xs = noise(images * len, &mut random);
        let mut ys = Vec::new();
        for x in xs.chunks_exact(len) {
            let mut y = vec![Lanes::ZERO; blocks(outputs) * side.div_ceil(stride).pow(2)];
            stem_map(Isa::best(), x, (side, channels), stride, &weight, affine, &mut y);
            ys.extend(y);
        }
        let mut memory = Memory::default();
        let layer = Stem {
            x: memory.put(&lanes(&xs)),
            weight: memory.put(&weight),
            folded: folds.put(&mut memory),
            y: memory.room(ys.len()),
            images,
            side,
            channels,
            outputs,
            stride,
            activation,
        };
        let what =
            format!("stem case {case}: {images} × {side}² × {channels} to {outputs}/{stride}");
        let launch = layer.launch();
        check(kernels, &mut memory, &launch, &[(layer.y, ys)], (&what, case as u64))?;
    }
    Ok(())
}

fn vector(kernels: &Emulated, cases: std::ops::Range<usize>) -> Result<(), String> {
    for case in cases {
        let mut random = Random(400 + case as u64);
        let (inputs, outputs) = (1 + random.below(300), 1 + random.below(60));
        let (row, parts) = (inputs + random.below(30), 1 + random.below(5));
        let (pixels, images) = (1 + random.below(50), [1, 1, 2, 4, 5][case % 5]);
        let after = match case % 4 {
            0 => After::Gate,
            other => After::Activation(ACTIVATIONS[other - 1]),
        };
        let weight = panels(&noise(outputs * row, &mut random), row, outputs);
        let bias = if case % 3 == 0 { vec![0.0; outputs] } else { noise(outputs, &mut random) };
        let bias = lanes(&bias);
        let (mut xs, mut ys) = (Vec::new(), Vec::new());
        for _ in 0..images {
            let mut sum = vec![0.0; inputs];
            for _ in 0..parts {
                let part = noise(inputs, &mut random);
                sum.iter_mut().zip(&part).for_each(|(sum, part)| *sum += part);
                xs.extend(lanes(&part));
            }
            sum.iter_mut().for_each(|sum| *sum /= pixels as f32);
            let mut y = vec![Lanes::ZERO; blocks(outputs)];
            let kind = match after {
                After::Gate => (None, true),
                After::Activation(activation) => (activation, false),
            };
            vector_layer(Isa::best(), (&lanes(&sum), inputs), (&weight, row), &bias, kind, &mut y);
            ys.extend(y);
        }
        let mut memory = Memory::default();
        let layer = Vector {
            x: memory.put(&xs),
            parts,
            pixels,
            weight: memory.put(&weight),
            row,
            bias: (case % 3 > 0).then(|| memory.put(&bias)),
            y: memory.room(ys.len()),
            images,
            inputs,
            outputs,
            after,
        };
        let launch = layer.launch();
        let what =
            format!("{} case {case}: {images} × {inputs} of {row} to {outputs}", launch.kernel);
        check(kernels, &mut memory, &launch, &[(layer.y, ys)], (&what, case as u64))?;
    }
    Ok(())
}

#[test]
fn pointwise_equals_the_cpu() {
    pointwise(Emulated::kernels(), 0..120).unwrap();
}

#[test]
fn depthwise_equals_the_cpu() {
    depthwise(Emulated::kernels(), 0..120).unwrap();
}

#[test]
fn two_layers_at_once_equal_the_cpu() {
    fused(Emulated::kernels(), 0..64).unwrap();
}

#[test]
fn the_first_convolution_equals_the_cpu() {
    stem(Emulated::kernels(), 0..40).unwrap();
}

#[test]
fn vector_layers_equal_the_cpu() {
    vector(Emulated::kernels(), 0..80).unwrap();
}

type Check = fn(&Emulated, std::ops::Range<usize>) -> Result<(), String>;

/// What a kernel could have wrong: file, what stands there, what stands there then, who must notice.
const MUTANTS: [(&str, &str, &str, Check); 16] = [
    // A barrier before the tiles are read, and before they are overwritten.
    (
        "pointwise.cuh",
        "            __syncthreads();\n            const int ahead",
        "            const int ahead",
        pointwise,
    ),
    // Copies that are read one round before they are waited for.
    ("pointwise.cuh", "wait<STAGES - 2>()", "wait<STAGES - 1>()", pointwise),
    // The parts of the slices go where tiles are still read.
    (
        "pointwise.cuh",
        "            __syncthreads();\n#pragma unroll\n            for (int j = 0; j < P; j++) {\n                shared.parts",
        "#pragma unroll\n            for (int j = 0; j < P; j++) {\n                shared.parts",
        pointwise,
    ),
    // The parts are added up before they are there.
    (
        "pointwise.cuh",
        "            __syncthreads();\n            // Each slice finishes",
        "            // Each slice finishes",
        pointwise,
    ),
    // The sums go where parts are still read.
    (
        "pointwise.cuh",
        "        if (a.sums) {\n            __syncthreads();",
        "        if (a.sums) {",
        pointwise,
    ),
    // The sub-network's inputs taken for the length of a panel.
    ("pointwise.cuh", "* a.row + input)", "* a.inputs + input)", pointwise),
    // Weights behind the sub-network's.
    ("pointwise.cuh", "input < a.inputs && first", "input < a.row && first", pointwise),
    ("pointwise.cuh", "at >= a.pixels", "at > a.pixels", pointwise),
    ("depthwise.cuh", "left + j < a.width;", "left + j <= a.width;", depthwise),
    ("stem.cuh", "column >= a.side", "column > a.side", stem),
    // Rows that are added up before they are written.
    (
        "common.cuh",
        "        __syncthreads();\n        if (row < half)",
        "        if (row < half)",
        depthwise,
    ),
    // The map between two layers goes where tiles are still read, or is read before it is there.
    (
        "fused.cuh",
        "            __syncthreads();\n#pragma unroll\n            for (int j = 0; j < P; j++) {\n                const int pixel",
        "#pragma unroll\n            for (int j = 0; j < P; j++) {\n                const int pixel",
        fused,
    ),
    (
        "fused.cuh",
        "            __syncthreads();\n        }\n        const int out_side",
        "        }\n        const int out_side",
        fused,
    ),
    (
        "fused.cuh",
        "            // The rows go where the map was.\n            __syncthreads();\n",
        "",
        fused,
    ),
    ("fused.cuh", "min(a.kernel, a.side - left)", "min(a.kernel, a.side + 1 - left)", fused),
    // The sums of one image overwritten by those of the next.
    (
        "vector.cuh",
        "            if (n > 0) {\n                __syncthreads();\n            }\n",
        "",
        vector,
    ),
];

#[test]
fn kernels_with_a_fault_do_not_pass() {
    for (file, from, to, check) in MUTANTS {
        let mutant = Emulated::mutant(file, from, to);
        let outcome = check(&mutant, 0..40);
        assert!(outcome.is_err(), "{file} passes without\n{from}");
        println!("{file}: {}", outcome.unwrap_err());
    }
}

/// Vectors that give the right values, from places where a device traps.
#[test]
fn vectors_that_are_not_aligned_are_a_fault() {
    let aligned = "const float4 w = load4(weight + long(input) * LANES);";
    let shifted = "const float *at = weight + long(input) * LANES; const float4 next = load4(at + 1); \
                   const float4 w = make_float4(at[0], next.x, next.y, next.z);";
    let mutant = Emulated::mutant("vector.cuh", aligned, shifted);
    let outcome = vector(&mutant, 0..4).unwrap_err();
    assert!(outcome.ends_with("fault 7 of emulation.h"), "{outcome}");
    // The same where it is written.
    let (aligned, shifted) = ("store4(a.y + (map", "store4(a.y + 1 + (map");
    let mutant = Emulated::mutant("stem.cuh", aligned, shifted);
    let outcome = stem(&mutant, 0..4).unwrap_err();
    assert!(outcome.ends_with("fault 7 of emulation.h"), "{outcome}");
    // And from shared memory.
    let (aligned, shifted) = ("PITCH = LANES + 4", "PITCH = LANES + 5");
    let mutant = Emulated::mutant("common.cuh", aligned, shifted);
    let outcome = pointwise(&mutant, 0..4).unwrap_err();
    assert!(outcome.ends_with("fault 7 of emulation.h"), "{outcome}");
}

/// A place in memory that is no multiple of four values.
#[test]
fn a_place_that_is_not_aligned_is_a_fault() {
    let mut memory = Memory::default();
    let weight = memory.put(&[Lanes::ZERO; 16]);
    let layer = Vector {
        x: memory.put(&[Lanes::ZERO]),
        parts: 1,
        pixels: 1,
        weight: Place { at: weight.at + 1, ..weight },
        row: 8,
        bias: None,
        y: memory.room(1),
        images: 1,
        inputs: 8,
        outputs: 16,
        after: After::Gate,
    };
    for round in 0..2 {
        let outcome = Emulated::kernels().run(&layer.launch(), &mut memory, round).unwrap_err();
        assert!(outcome.ends_with("fault 7 of emulation.h"), "{outcome}");
    }
    // Its threads start anew.
    Emulated::kernels().run(&Vector { weight, ..layer }.launch(), &mut memory, 2).unwrap();
}

#[test]
fn every_kernel_that_a_launch_may_name_is_there() {
    for kernel in KERNELS {
        let launch = Launch {
            kernel,
            grid: [0, 1, 1],
            threads: 32,
            pointers: vec![],
            numbers: vec![],
            output: None,
        };
        Emulated::kernels().run(&launch, &mut Memory::default(), 1).unwrap();
    }
    let tiles = TILES.iter().map(|tile| tile.kernel);
    for kernel in tiles.chain(WHOLES.iter().map(|whole| whole.kernel)) {
        assert!(KERNELS.contains(&kernel), "{kernel}");
    }
}
