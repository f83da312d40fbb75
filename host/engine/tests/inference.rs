//! Inference against the training's forward pass, and what it says to bad files and calls.

mod common;

use std::path::{Path, PathBuf};

use common::family;
use coshift_engine::family::{COSHIFT_28, Family, SubNet};
use coshift_engine::layout::Layout;
use coshift_engine::model::{Calibrated, Model, SubNetwork, blocks, write_weights};
use coshift_engine::network::{Network, RunFault, Workspace};
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
            let top = want.iter().fold(0.0_f32, |top, w| top.max(w.abs()));
            let off = got.iter().zip(&want).fold(0.0_f32, |off, (g, w)| off.max((g - w).abs()));
            assert!(off <= 1e-4 * top, "{net:?}: off by {off}, largest logit {top}");
            // A single image alone gives its row of the batch.
            let alone = network.run(index, &x[..network.image_len()], &mut space).unwrap();
            let off = alone.iter().zip(&want).fold(0.0_f32, |off, (g, w)| off.max((g - w).abs()));
            assert!(off <= 1e-4 * top, "{net:?} alone: off by {off}, largest logit {top}");
        }
        assert_eq!(space.bytes(), bytes, "a switch allocated");
    }
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
    let cases: [(Spoil, &str); 9] = [
        (|family| family.resolutions = vec![8, 16], "resolutions"),
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
