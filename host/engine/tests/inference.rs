//! Inference against the training's forward pass, and what it says to bad files and calls.

mod common;

use std::path::{Path, PathBuf};

use common::close::assert_close;
use common::family;
use coshift_engine::family::{COSHIFT_28, Family, SubNet};
use coshift_engine::intermediate::Intermediate;
use coshift_engine::layout::{Layout, MOST_MACS};
use coshift_engine::model::{Calibrated, Model, SubNetwork, blocks, write_weights};
use coshift_engine::network::{MOST_ARENA, Network, RunFault, Workspace};
use coshift_engine::train::network::{Values, forward};
use coshift_engine::train::optimiser;
use coshift_engine::train::random::Random;
use coshift_engine::train::sandwich::sample;

/// Random values with every scale, shift and transform away from its start.
fn values(layout: &Layout, random: &mut Random) -> Values {
    let mut values = optimiser::start(layout, random);
    values.iter_mut().flatten().for_each(|value| *value += 0.05 * random.normal());
    values
}

fn images(family: &Family, count: usize, random: &mut Random) -> Vec<f32> {
    (0..count * family.resolution * family.resolution).map(|_| random.normal()).collect()
}

fn calibrated(layout: &Layout, values: &Values, net: &SubNet, images: &[f32]) -> Calibrated {
    let statistics = forward(layout, &layout.units(net), values, images, None).statistics;
    Calibrated { net: net.clone(), statistics }
}

#[test]
fn inference_equals_the_forward_pass_of_training() {
    for family in [family(), serde_json::from_str(COSHIFT_28).unwrap()] {
        let layout = Layout::new(&family).unwrap();
        let mut random = Random(11);
        let values = values(&layout, &mut random);
        let known = images(&family, 16, &mut random);
        let mut nets = vec![family.largest(), family.smallest()];
        nets.extend((0..10).map(|_| sample(&family, &mut random)));
        let nets: Vec<_> =
            nets.iter().map(|net| calibrated(&layout, &values, net, &known)).collect();
        let network = Network::new(layout.clone(), values.clone(), &nets).unwrap();
        let mut space = Workspace::default();
        let x = images(&family, 5, &mut random);
        network.run(1, &x, &mut space).unwrap();
        let bytes = space.bytes();
        for (index, Calibrated { net, statistics }) in nets.iter().enumerate() {
            let want = forward(&layout, &layout.units(net), &values, &x, Some(statistics)).logits;
            let got = network.run(index, &x, &mut space).unwrap();
            assert_close(got, &want, &format!("{net:?}"));
            // A single image alone gives its row of the batch.
            let alone = network.run(index, &x[..network.image_len()], &mut space).unwrap();
            assert_close(alone, &want[..family.classes], &format!("{net:?} alone"));
        }
        assert_eq!(space.bytes(), bytes, "a switch allocated");
    }
}

/// The same blocks at several sizes of images: as many folded values, larger and smaller maps.
#[test]
fn maps_are_those_of_the_sub_network_that_ran() {
    let family = Family { resolutions: vec![6, 7, 8], ..family() };
    let layout = Layout::new(&family).unwrap();
    let mut random = Random(14);
    let values = values(&layout, &mut random);
    let nets = [6, 8, 7].map(|side| {
        let net = SubNet { resolution: Some(side), ..family.largest() };
        common::random::calibrated(&layout, &values, &net, 8, &mut random)
    });
    let network = Network::new(layout.clone(), values.clone(), &nets).unwrap();
    let mut space = Workspace::default();
    for (index, net) in nets.iter().enumerate() {
        let image = common::random::noise(network.image_len_of(index).unwrap(), &mut random);
        let units = layout.units(&net.net);
        let tensors = network.intermediates(index, &image, &mut space).unwrap();
        let maps = tensors.iter().filter_map(|(what, map)| match what {
            Intermediate::Map(unit) => Some((&units[*unit], map)),
            _ => None,
        });
        assert_eq!(maps.clone().count(), units.len());
        for (unit, map) in maps.clone() {
            assert_eq!(map.len(), unit.outputs * unit.out_side().pow(2), "{:?}", net.net);
        }
        // The last map is what the classifier reads.
        let (weight, bias) = (&values[layout.classifier()], &values[layout.classifier() + 1]);
        let (_, features) = maps.clone().next_back().unwrap();
        let logits = weight.chunks_exact(features.len()).zip(bias).map(|(row, bias)| {
            row.iter().zip(features).map(|(weight, x)| weight * x).sum::<f32>() + bias
        });
        let logits: Vec<f32> = logits.collect();
        assert_eq!(tensors.last().unwrap().0, Intermediate::Logits);
        assert_close(&tensors.last().unwrap().1, &logits, "logits, by themselves");
        assert_close(network.run(index, &image, &mut space).unwrap(), &logits, "logits");
    }
    // More than one image, and no such sub-network.
    let two = vec![0.0; 2 * 36];
    let fault = network.intermediates(0, &two, &mut space).unwrap_err();
    assert_eq!(fault, RunFault::Images { found: 72, expected: 36 });
    let fault = network.intermediates(3, &two, &mut space).unwrap_err();
    assert_eq!(fault, RunFault::Index { index: 3, last: 2 });
}

#[test]
fn bad_calls_are_named() {
    let layout = Layout::new(&family()).unwrap();
    let mut random = Random(12);
    let values = values(&layout, &mut random);
    let known = images(&family(), 8, &mut random);
    let nets = [calibrated(&layout, &values, &family().largest(), &known)];
    let network = Network::new(layout.clone(), values.clone(), &nets).unwrap();
    let mut space = Workspace::default();
    let index = network.run(1, &known, &mut space).unwrap_err();
    assert_eq!(index, RunFault::Index { index: 1, last: 0 });
    assert_eq!(index.to_string(), "sub-network 1: the model has 0 to 0");
    // A switch to one that is not there leaves the one before.
    assert_eq!(network.select(0), Ok(()));
    assert_eq!(network.select(1), Err(RunFault::Index { index: 1, last: 0 }));
    assert_eq!(network.selected(), 0);
    let selected = network.run_selected(&known, &mut space).unwrap().to_vec();
    assert_eq!(network.run(0, &known, &mut space).unwrap(), selected);
    for found in [0, 63, 65] {
        let fault = network.run(0, &known[..found], &mut space).unwrap_err();
        assert_eq!(fault, RunFault::Images { found, expected: 64 });
    }
    let mut foreign = family().largest();
    foreign.kernels[0] = 9;
    let nets = [Calibrated { net: foreign, statistics: nets[0].statistics.clone() }];
    let fault = Network::new(layout, values, &nets).unwrap_err().to_string();
    assert!(fault.contains("kernels of a sub-network"), "{fault}");
}

/// What `body` panics with.
fn panics(body: impl FnOnce() + std::panic::UnwindSafe) -> String {
    let payload = std::panic::catch_unwind(body).expect_err("it should have panicked");
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or_default().to_owned()
}

/// Kernels read as many values as the layout says: a network of fewer must not be.
#[test]
fn values_and_statistics_of_another_shape_make_no_network() {
    let layout = Layout::new(&family()).unwrap();
    let mut random = Random(15);
    let values = values(&layout, &mut random);
    let known = images(&family(), 8, &mut random);
    let whole = calibrated(&layout, &values, &family().largest(), &known);
    let network = Network::new(layout.clone(), values.clone(), std::slice::from_ref(&whole));
    let network = std::panic::AssertUnwindSafe(network.unwrap());
    type Spoil = fn(&mut Vec<(Vec<f32>, Vec<f32>)>);
    let statistics: [Spoil; 5] = [
        |statistics| _ = statistics[3].0.pop(),
        |statistics| _ = statistics[3].1.pop(),
        |statistics| statistics[3].1.push(1.0),
        |statistics| drop(statistics.pop()),
        |statistics| statistics.push((vec![], vec![])),
    ];
    for spoil in statistics {
        let mut net = whole.clone();
        spoil(&mut net.statistics);
        let (other, same) = (values.clone(), net.clone());
        let said = panics(|| drop(Network::new(layout.clone(), other, &[net])));
        assert!(said.contains("means and variances of a sub-network's statistics"), "{said}");
        let said = panics(|| drop(network.recalibrated(&values, &[same])));
        assert!(said.contains("means and variances of a sub-network's statistics"), "{said}");
    }
    // The last value of each parameter in turn: weights, scales, shifts, biases, matrices.
    for (index, parameter) in layout.parameters.iter().enumerate() {
        let mut other = values.clone();
        other[index].pop();
        let (same, net) = (other.clone(), [whole.clone()]);
        let said = panics(|| drop(Network::new(layout.clone(), other, &net)));
        assert!(said.contains(&format!("values of {}", parameter.name)), "{said}");
        let said = panics(|| drop(network.recalibrated(&same, std::slice::from_ref(&whole))));
        assert!(said.contains(&format!("values of {}", parameter.name)), "{said}");
    }
    let (mut other, net) = (values.clone(), [whole.clone()]);
    other.pop();
    let said = panics(|| drop(Network::new(layout.clone(), other, &net)));
    assert!(said.contains("number of parameters"), "{said}");
    // A layout that says less than its family.
    let (mut short, mut other) = (layout.clone(), values.clone());
    let bias = layout.classifier() + 1;
    short.parameters[bias].shape = vec![1];
    other[bias].truncate(1);
    let said = panics(|| drop(Network::new(short, other, &net)));
    assert!(said.contains("parameters of another family"), "{said}");
}

/// A model folder of the small family with random weights.
fn folder(name: &str, nets: &[SubNet]) -> (PathBuf, Model) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let layout = Layout::new(&family()).unwrap();
    let mut random = Random(13);
    let values = values(&layout, &mut random);
    let known = images(&family(), 8, &mut random);
    let nets: Vec<_> = nets.iter().map(|net| calibrated(&layout, &values, net, &known)).collect();
    let hash = write_weights(&folder.join("w.safetensors"), &layout, &values, &nets).unwrap();
    let sub_networks = nets
        .iter()
        .enumerate()
        .map(|(index, calibrated)| {
            let (net, accuracy_pct) = (calibrated.net.clone(), 50.0 + index as f64);
            let (macs, params) = layout.cost(&net);
            let blocks = blocks(&net);
            let (images, shipped_accuracy_pct) = (8, None);
            SubNetwork {
                index,
                name: None,
                net,
                macs,
                params,
                blocks,
                accuracy_pct,
                images,
                shipped_accuracy_pct,
            }
        })
        .collect();
    let model = Model {
        family: family(),
        weights: "w.safetensors".into(),
        model_hash: format!("{hash:016x}"),
        published: None,
        sub_networks,
    };
    model.write(&folder).unwrap();
    (folder, model)
}

#[test]
fn a_model_comes_back_from_its_folder() {
    let nets = [family().smallest(), family().largest()];
    let (folder, model) = folder("comes-back", &nets);
    let (network, read) = Network::load(&folder).unwrap();
    assert_eq!(read, model);
    assert_eq!(network.len(), 2);
    let mut random = Random(13);
    let layout = Layout::new(&family()).unwrap();
    let values = values(&layout, &mut random);
    let known = images(&family(), 8, &mut random);
    let mut space = Workspace::default();
    for (index, net) in nets.iter().enumerate() {
        let want = Network::new(
            layout.clone(),
            values.clone(),
            &[calibrated(&layout, &values, net, &known)],
        )
        .unwrap();
        let want = want.run(0, &known, &mut Workspace::default()).unwrap().to_vec();
        assert_eq!(network.run(index, &known, &mut space).unwrap(), want, "bit for bit");
    }
}

#[test]
fn bad_files_are_named() {
    let nets = [family().smallest(), family().largest()];
    let (folder, model) = folder("bad-files", &nets);
    let weights = folder.join("w.safetensors");
    let whole = std::fs::read(&weights).unwrap();
    let fault = || Network::load(&folder).unwrap_err().to_string();
    let assert_named = |words: &[&str]| {
        let fault = fault();
        for word in words {
            assert!(fault.contains(word), "{fault}: no {word}");
        }
    };
    for length in [0, 7, 100, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&weights, &whole[..length]).unwrap();
        assert_named(&["w.safetensors", "not a whole safetensors file"]);
    }
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, &flipped).unwrap();
    assert_named(&["w.safetensors", "hash", "model.json"]);
    std::fs::remove_file(&weights).unwrap();
    assert_named(&["w.safetensors", "No such file"]);

    // A file of another family, with the hash of that file: a tensor has another shape.
    let other = Family { feature_mix: 24, ..family() };
    let layout = Layout::new(&other).unwrap();
    let mut random = Random(1);
    let values = values(&layout, &mut random);
    let known = images(&other, 8, &mut random);
    let nets: Vec<_> = nets.iter().map(|net| calibrated(&layout, &values, net, &known)).collect();
    let hash = write_weights(&weights, &layout, &values, &nets).unwrap();
    let model = Model { model_hash: format!("{hash:016x}"), ..model };
    model.write(&folder).unwrap();
    assert_named(&["w.safetensors", "feature_mix_layer.conv.weight", "[24, 16", "[16, 16"]);
    // Statistics of fewer sub-networks than described.
    let layout = Layout::new(&family()).unwrap();
    let values = optimiser::start(&layout, &mut random);
    let nets = [calibrated(&layout, &values, &family().smallest(), &known)];
    let hash = write_weights(&weights, &layout, &values, &nets).unwrap();
    let mut model = Model { model_hash: format!("{hash:016x}"), ..model };
    model.write(&folder).unwrap();
    assert_named(&["w.safetensors", "no tensor sub_network.1.norm.0"]);

    // Descriptions that do not hold are neither written nor read.
    model.sub_networks[1].macs += 1;
    assert!(model.write(&folder).unwrap_err().to_string().contains("macs"));
    std::fs::write(folder.join("model.json"), serde_json::to_string(&model).unwrap()).unwrap();
    assert_named(&["model.json", "sub_networks[1]", "macs"]);
    model.sub_networks[1].macs -= 1;
    for (spoil, words) in [
        ("../w.safetensors", ["weights", "file name"]),
        ("w.safetensors", ["sub_networks[0]", "expected 0"]),
    ] {
        model.weights = spoil.into();
        model.sub_networks[0].index = 5;
        std::fs::write(folder.join("model.json"), serde_json::to_string(&model).unwrap()).unwrap();
        assert_named(&["model.json", words[0], words[1]]);
    }
    std::fs::write(folder.join("model.json"), "{").unwrap();
    assert_named(&["model.json", "not a model description"]);
    std::fs::remove_file(folder.join("model.json")).unwrap();
    assert_named(&["model.json", "No such file"]);
}

#[test]
fn descriptions_that_cannot_run_are_refused() {
    type Spoil = fn(&mut Family);
    let cases: [(Spoil, &str); 12] = [
        (|family| family.resolutions = vec![16, 8], "resolutions"),
        (|family| family.resolutions = vec![0, 8], "resolutions"),
        (|family| family.resolutions = vec![8, 16_385], "resolutions"),
        (large, "multiply-accumulates of the largest sub-network is "),
        (|family| family.stages[0].min_depth = 0, "stages[0].min_depth"),
        (|family| family.stages[0].stride = 3, "stages[0].stride"),
        (|family| family.stages.clear(), "stages"),
        (|family| family.kernels = vec![3, 4], "kernels"),
        (|family| family.kernels = vec![5, 3], "kernels"),
        (|family| family.expands.clear(), "expands"),
        (|family| family.classes = 0, "classes"),
        (|family| family.bn_epsilon = f32::NAN, "bn_epsilon"),
    ];
    for (spoil, place) in cases {
        let mut family = family();
        spoil(&mut family);
        let fault = Layout::new(&family).unwrap_err().to_string();
        assert!(fault.starts_with("test: ") && fault.contains(place), "{fault}: no {place}");
    }
}

/// Every size as large as it may be, in four blocks: their multiply-accumulates are beyond 64 bits.
fn large(family: &mut Family) {
    let most = 1 << 14;
    for stage in &mut family.stages {
        (stage.channels, stage.stride, stage.max_depth) = (most, 1, 2);
    }
    (family.resolution, family.stem, family.first, family.expands) = (most, most, most, vec![64]);
}

/// The largest description of a kind that is taken is one whose costs are counted; the next is refused.
#[test]
fn costs_that_are_taken_can_be_counted() {
    for side in [1 << 14, 28] {
        let made = |channels: usize| {
            let mut family = family();
            large(&mut family);
            (family.resolution, family.stem, family.first) = (side, channels, channels);
            family.stages.iter_mut().for_each(|stage| stage.channels = channels);
            Layout::new(&family)
        };
        let powers: Vec<usize> = (3..=14).map(|power| 1 << power).collect();
        let taken: Vec<_> = powers.iter().map_while(|channels| made(*channels).ok()).collect();
        let layout = taken.last().unwrap();
        let largest = layout.family().largest();
        let (macs, _) = layout.cost(&largest);
        assert!(macs <= MOST_MACS && layout.traffic_bytes(&largest) < 1 << 60, "{macs}");
        assert!(macs > if side == 28 { 1 << 40 } else { MOST_MACS / 8 }, "{macs}");
        // 28 pixels are few enough for all.
        assert_eq!(taken.len() < powers.len(), side > 28);
        assert!(powers[taken.len()..].iter().all(|channels| made(*channels).is_err()));
    }
    // A larger size of images than the usual one counts.
    let mut family = family();
    large(&mut family);
    family.resolution = 1;
    Layout::new(&family).unwrap();
    family.resolutions = vec![1, 1 << 14];
    let fault = Layout::new(&family).unwrap_err().to_string();
    assert!(fault.contains("expected at most 2^53"), "{fault}");
}

/// A description in a model folder is checked before its costs are.
#[test]
fn a_model_too_large_to_count_is_named() {
    let (folder, mut model) = folder("too-large", &[family().largest()]);
    large(&mut model.family);
    model.sub_networks[0].net = model.family.largest();
    let text = serde_json::to_string(&model).unwrap();
    std::fs::write(folder.join("model.json"), text).unwrap();
    let fault = Network::load(&folder).unwrap_err().to_string();
    let want = "model.json: test: multiply-accumulates of the largest sub-network is ";
    assert!(fault.contains(want), "{fault}");
}

/// Few weights and little work, and maps that no machine has room for.
#[test]
fn maps_too_large_for_a_machine_are_named() {
    let at = |side: usize| {
        let family = Family { resolutions: vec![side], ..family() };
        let layout = Layout::new(&family).unwrap();
        let mut random = Random(14);
        let values = values(&layout, &mut random);
        let known = images(&family, 8, &mut random);
        let mut calibrated = calibrated(&layout, &values, &family.smallest(), &known);
        calibrated.net.resolution = Some(side);
        Network::new(layout, values, &[calibrated])
    };
    let fault = at(1 << 14).unwrap_err();
    assert_eq!(fault.place, "bytes of feature maps");
    assert_eq!(fault.expected, format!("at most {MOST_ARENA}"));
    assert!(fault.found.parse::<usize>().unwrap() > 16 * MOST_ARENA, "{fault}");
    let network = at(1 << 10).unwrap();
    let mut space = Workspace::default();
    space.reserve(&network, 1);
    assert!(space.bytes() < MOST_ARENA, "{}", space.bytes());
}
