//! Exported sub-networks against the engine's own forward pass.

mod common;
mod onnx_graph;

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use common::close::assert_close;
use common::need::python;
use coshift_engine::export::layers::layers;
use coshift_engine::export::{onnx, safetensors};
use coshift_engine::family::{Family, OFA_10, SubNet};
use coshift_engine::layout::Layout;
use coshift_engine::model::Calibrated;
use coshift_engine::tensors::TensorFile;
use coshift_engine::train::network::{Values, forward};
use coshift_engine::train::optimiser;
use coshift_engine::train::random::Random;
use coshift_engine::train::sandwich::sample;
use onnx_graph::{Array, Model};

/// A family with random values, away from where training starts.
struct Case {
    layout: Layout,
    values: Values,
    random: Random,
}

impl Case {
    fn new(family: &Family) -> Self {
        let (layout, mut random) = (Layout::new(family).unwrap(), Random(31));
        let mut values = optimiser::start(&layout, &mut random);
        values.iter_mut().flatten().for_each(|value| *value += 0.05 * random.normal());
        Self { layout, values, random }
    }

    fn images(&mut self, net: &SubNet, count: usize) -> Vec<f32> {
        let family = self.layout.family();
        let length = family.side(net).pow(2) * family.image_channels;
        (0..count * length).map(|_| self.random.normal()).collect()
    }

    fn calibrated(&mut self, net: SubNet) -> Calibrated {
        let (images, units) = (self.images(&net, 4), self.layout.units(&net));
        let statistics = forward(&self.layout, &units, &self.values, &images, None).statistics;
        Calibrated { net, statistics }
    }

    fn logits(&self, calibrated: &Calibrated, images: &[f32]) -> Vec<f32> {
        let units = self.layout.units(&calibrated.net);
        forward(&self.layout, &units, &self.values, images, Some(&calibrated.statistics)).logits
    }
}

/// `[batch, height, width, channels]` as `[batch, channels, height, width]`.
fn channels_first(images: &[f32], side: usize, channels: usize) -> Array {
    let area = side * side;
    let mut planes = Vec::with_capacity(images.len());
    for image in images.chunks_exact(area * channels) {
        for channel in 0..channels {
            planes.extend(image.iter().skip(channel).step_by(channels));
        }
    }
    (vec![images.len() / (area * channels), channels, side, side], planes)
}

fn same(got: &[f32], want: &[f32], what: &str) {
    assert!(want.iter().any(|want| *want != 0.0), "{what}: nothing but zeros");
    assert_close(got, want, what);
}

/// The small family with an image of its own size for each sub-network, and squeeze-excite.
fn small() -> Family {
    Family { resolutions: vec![6, 7, 8], image_channels: 2, ..common::family() }
}

#[test]
fn an_onnx_file_says_what_the_engine_computes() {
    let family = small();
    let mut case = Case::new(&family);
    let mut nets = vec![family.largest(), family.smallest()];
    nets.extend((0..20).map(|at| {
        let resolution = Some(6 + at % 3);
        SubNet { resolution, ..sample(&family, &mut case.random) }
    }));
    for net in nets {
        let calibrated = case.calibrated(net);
        let net = &calibrated.net;
        let bytes = onnx(&case.layout, &case.values, &calibrated, &[("model_hash", "0")]).unwrap();
        let model = Model::read(&bytes);
        let side = family.side(net);
        assert_eq!(model.opset, 13);
        assert_eq!(model.inputs, [("images".to_owned(), vec![0, 2, side, side])]);
        assert_eq!(model.outputs, [("logits".to_owned(), vec![0, 4])]);
        assert_eq!(model.metadata["model_hash"], "0");
        let read: SubNet = serde_json::from_str(&model.metadata["sub_network"]).unwrap();
        assert_eq!(&read, net);
        // Folded: no operator of its own, and one bias a channel, as the engine counts parameters.
        assert!(model.nodes.iter().all(|node| node.operator != "BatchNormalization"));
        let held: usize = model.tensors.values().map(|(_, values)| values.len()).sum();
        assert_eq!(held as u64, case.layout.cost(net).1, "{net:?}");
        for name in model.tensors.keys() {
            let used = |node: &onnx_graph::Node| node.inputs.contains(name);
            assert_eq!(model.nodes.iter().filter(|node| used(node)).count(), 1, "{name}");
        }
        let images = case.images(net, 3);
        let (shape, logits) = model.run(channels_first(&images, side, 2));
        assert_eq!(shape, [3, 4]);
        same(&logits, &case.logits(&calibrated, &images), &format!("{net:?}"));
    }
}

#[test]
fn a_foreign_sub_network_is_refused() {
    let mut case = Case::new(&small());
    let mut calibrated = case.calibrated(small().largest());
    calibrated.net.kernels[0] = 9;
    for fault in [
        onnx(&case.layout, &case.values, &calibrated, &[]).unwrap_err(),
        safetensors(&case.layout, &case.values, &calibrated).unwrap_err(),
        layers(&case.layout, &case.values, &calibrated).unwrap_err(),
    ] {
        assert!(fault.to_string().contains("kernels of a sub-network"), "{fault}");
    }
}

/// A sub-network of its own, of the tensors of a file alone: the weights replace those of the ONNX
/// file with its normalisations taken apart again.
#[test]
fn tensors_in_a_file_are_those_of_the_published_specialised_networks() {
    let family = small();
    let mut case = Case::new(&family);
    for at in 0..10 {
        let net = sample(&family, &mut case.random);
        let calibrated = case.calibrated(net);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("export-{at}.safetensors"));
        safetensors(&case.layout, &case.values, &calibrated).unwrap().write(&path).unwrap();
        let file = TensorFile::read(&path).unwrap();
        let read: SubNet = serde_json::from_str(&file.metadata("sub_network").unwrap()).unwrap();
        assert_eq!(read, calibrated.net);
        let read: Family = serde_json::from_str(&file.metadata("family").unwrap()).unwrap();
        assert_eq!(read, family);
        let bytes = onnx(&case.layout, &case.values, &calibrated, &[]).unwrap();
        let mut model = Model::read(&bytes);
        let mut renamed = HashMap::new();
        for (name, (shape, _)) in &model.tensors {
            let (layer, part) = name.rsplit_once('.').unwrap();
            let value = |part: &str| file.tensor(&format!("{layer}.{part}"), &shape[..1]).unwrap();
            let whole = layer.starts_with("classifier") || layer.contains(".se.");
            let values = if whole {
                file.tensor(name, shape).unwrap()
            } else if layer == "feature_mix_layer" {
                file.tensor("feature_mix_layer.conv.weight", shape).unwrap()
            } else {
                let (scale, variance) = (value("bn.weight"), value("bn.running_var"));
                let scale: Vec<f32> = scale
                    .iter()
                    .zip(&variance)
                    .map(|(scale, variance)| scale / (variance + family.bn_epsilon).sqrt())
                    .collect();
                if part == "weight" {
                    let mut weight = file.tensor(&format!("{layer}.conv.weight"), shape).unwrap();
                    let row = weight.len() / shape[0];
                    for (row, scale) in weight.chunks_exact_mut(row).zip(&scale) {
                        row.iter_mut().for_each(|weight| *weight *= scale);
                    }
                    weight
                } else {
                    let (shift, mean) = (value("bn.bias"), value("bn.running_mean"));
                    let channel = |c: usize| shift[c] - mean[c] * scale[c];
                    (0..shift.len()).map(channel).collect()
                }
            };
            renamed.insert(name.clone(), (shape.clone(), values));
        }
        model.tensors = renamed;
        let images = case.images(&calibrated.net, 2);
        let side = family.side(&calibrated.net);
        let (_, logits) = model.run(channels_first(&images, side, 2));
        same(&logits, &case.logits(&calibrated, &images), &format!("{:?}", calibrated.net));
    }
}

#[test]
fn a_published_sub_network_is_exported_at_its_resolution() {
    let family: Family = serde_json::from_str(OFA_10).unwrap();
    let mut case = Case::new(&family);
    let net = SubNet { resolution: Some(128), ..family.smallest() };
    let calibrated = case.calibrated(net);
    let images = case.images(&calibrated.net, 1);
    let bytes = onnx(&case.layout, &case.values, &calibrated, &[]).unwrap();
    let (_, logits) = Model::read(&bytes).run(channels_first(&images, 128, 3));
    same(&logits, &case.logits(&calibrated, &images), "w1.0, smallest at 128");
}

const SCRIPT: &str = "
import sys, numpy, onnxruntime
model, images, logits, shape = sys.argv[1:]
session = onnxruntime.InferenceSession(model, providers=['CPUExecutionProvider'])
x = numpy.fromfile(images, dtype='<f4').reshape([int(s) for s in shape.split(',')])
session.run(['logits'], {'images': x})[0].astype('<f4').tofile(logits)
";

#[test]
fn onnx_runtime_gives_the_same_logits() {
    let Some(python) = python("numpy, onnxruntime") else { return };
    let ofa: Family = serde_json::from_str(OFA_10).unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut cases = vec![];
    let mut random = Random(32);
    for (index, family) in [small(), ofa].into_iter().enumerate() {
        let sides = if index == 0 { [6, 7, 8] } else { [128, 180, 224] };
        let mut nets = vec![family.largest(), family.smallest()];
        nets.extend(sides.map(|side| {
            let resolution = Some(side);
            SubNet { resolution, ..sample(&family, &mut random) }
        }));
        cases.push((Case::new(&family), nets));
    }
    for (mut case, nets) in cases {
        for net in nets {
            let calibrated = case.calibrated(net);
            let images = case.images(&calibrated.net, 2);
            let family = case.layout.family();
            let side = family.side(&calibrated.net);
            let (shape, planes) = channels_first(&images, side, family.image_channels);
            let [model, input, output] =
                ["onnx", "images", "logits"].map(|end| folder.join(format!("peer.{end}")));
            let bytes = onnx(&case.layout, &case.values, &calibrated, &[]).unwrap();
            std::fs::write(&model, bytes).unwrap();
            let raw: Vec<u8> = planes.iter().flat_map(|value| value.to_le_bytes()).collect();
            std::fs::write(&input, raw).unwrap();
            let shape: Vec<String> = shape.iter().map(usize::to_string).collect();
            let mut run = Command::new(&python);
            run.args(["-c", SCRIPT]).args([&model, &input, &output]).arg(shape.join(","));
            let said = run.output().unwrap();
            assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
            let logits: Vec<f32> = std::fs::read(&output)
                .unwrap()
                .chunks_exact(4)
                .map(|four| f32::from_le_bytes(four.try_into().unwrap()))
                .collect();
            let want = case.logits(&calibrated, &images);
            same(&logits, &want, &format!("{} {:?}", family.name, calibrated.net));
        }
    }
}
