//! Published weights as a model: a checkpoint that PyTorch wrote, through `import` and `assemble` to
//! the logits that PyTorch computed; the 13 levels of Dynamic-OFA with their published statistics.
#![cfg(feature = "engine")]

#[path = "../../host/engine/tests/common/need.rs"]
#[allow(dead_code, reason = "no Python is needed here")]
mod need;
#[path = "../../host/engine/tests/onnx_graph/mod.rs"]
mod onnx_graph;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use coshift_engine::family::{Family, OFA_12, SubNet};
use coshift_engine::import::Checkpoint;
use coshift_engine::layout::Layout;
use coshift_engine::levels::dynamic_ofa;
use coshift_engine::model::{Calibrated, Loaded, Model};
use coshift_engine::network::{Network, Workspace};
use coshift_engine::tensors::{TensorFile, TensorWriter};
use coshift_engine::train::network::forward;
use coshift_engine::train::optimiser;
use coshift_engine::train::random::Random;
use coshift_tools::assemble::{AssembleArgs, assemble};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/engine/tests/fixtures").join(name)
}

fn tools(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_coshift-tools")).args(args).output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What a command that succeeds prints.
fn told(args: &[&str]) -> String {
    let output = tools(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// One line of error with these parts.
fn refused(args: &[&str], parts: &[&str]) {
    let output = tools(args);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{args:?}");
    assert_eq!(said.lines().count(), 1, "{said}");
    for part in parts {
        assert!(said.contains(part), "{part}: {said}");
    }
}

/// A folder of a test's own, empty, with the imported fixtures in it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("assemble-{name}"));
        if folder.exists() {
            std::fs::remove_dir_all(&folder).unwrap();
        }
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn with_fixtures(name: &str) -> Self {
        let place = Self::new(name);
        let family = fixture("published.json");
        for (name, family) in
            [("published", Some(text(&family))), ("published-a", None), ("published-b", None)]
        {
            let (from, out) = (fixture(&format!("{name}.pth")), place.path(name));
            let mut args = vec!["import", "--from", text(&from), "--out", &out];
            args.extend(family.iter().flat_map(|family| ["--family", family]));
            told(&args);
        }
        place
    }

    fn path(&self, name: &str) -> String {
        self.0.join(format!("{name}.safetensors")).to_str().unwrap().to_owned()
    }

    /// The command's arguments with other statistics than the fixtures'.
    fn args(&self, statistics: &[&str]) -> Vec<String> {
        let mut args = vec!["assemble".to_owned(), "--weights".into(), self.path("published")];
        args.extend(["--family".into(), text(&fixture("published.json")).into()]);
        args.extend(["--levels".into(), text(&fixture("published-levels.json")).into()]);
        args.extend(["--out".into(), text(&self.0.join("model")).into()]);
        if !statistics.is_empty() {
            args.push("--statistics".into());
            args.extend(statistics.iter().map(|&file| file.to_owned()));
        }
        args
    }

    fn own(&self) -> [String; 2] {
        ["a", "b"].map(|set| format!("{set}={}", self.path(&format!("published-{set}"))))
    }
}

fn same(got: &[f32], want: &[f32], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    let top = want.iter().fold(0.0_f32, |top, want| top.max(want.abs()));
    assert!(top > 0.0 && top.is_finite(), "{what}: {want:?}");
    for (got, want) in got.iter().zip(want) {
        // Not a comparison that NaN passes.
        assert!((got - want).abs() <= 1e-4 * top, "{what}: {got} where {want} goes");
    }
}

/// `[batch, channels, height, width]` as `[batch, height, width, channels]`.
fn channels_last(planes: &[f32], channels: usize, area: usize) -> Vec<f32> {
    let image = |image: &[f32]| -> Vec<f32> {
        (0..area)
            .flat_map(|at| (0..channels).map(move |c| c * area + at))
            .map(|k| image[k])
            .collect()
    };
    planes.chunks_exact(channels * area).flat_map(image).collect()
}

#[test]
fn a_checkpoint_becomes_a_model_that_says_what_pytorch_says() {
    let place = Place::with_fixtures("whole");
    let (own, folder) = (place.own(), place.0.join("model"));
    let args = place.args(&[&own[0], &own[1]]);
    let said = told(&args.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(said.starts_with("sub-network 0, a.0: "), "{said}");
    assert!(said.contains("published 61.50 %"), "{said}");

    let (network, model) = Network::load(&folder).unwrap();
    assert_eq!(model.published.as_deref(), Some("made up: the accuracies of a test"));
    let named: Vec<_> = (model.sub_networks.iter())
        .map(|sub| (sub.name.as_deref().unwrap(), sub.accuracy_pct, sub.images))
        .collect();
    assert_eq!(named, [("a.0", 61.5, 0), ("b.0", 63.0, 0), ("a.1", 64.25, 0)]);
    let card = std::fs::read_to_string(folder.join("CARD.md")).unwrap();
    assert!(card.contains("published.safetensors") && card.contains("nothing was"), "{card}");

    // Images and logits of PyTorch.
    let logits = Checkpoint::read_file(&fixture("published-logits.pth")).unwrap();
    let path = place.path("logits");
    logits.write(Path::new(&path)).unwrap();
    let file = TensorFile::read(Path::new(&path)).unwrap();
    let Loaded { layout, values, nets, .. } = Loaded::read(&folder).unwrap();
    let mut space = Workspace::default();
    for (index, (name, ..)) in named.iter().enumerate() {
        let side = layout.family().side(&nets[index].net);
        let planes = file.tensor(&format!("{name}.images"), &[2, 3, side, side]).unwrap();
        let want = file.tensor(&format!("{name}.logits"), &[2, 5]).unwrap();
        let images = channels_last(&planes, 3, side * side);
        same(network.run(index, &images, &mut space).unwrap(), &want, &format!("engine, {name}"));
        let units = layout.units(&nets[index].net);
        let plain = forward(&layout, &units, &values, &images, Some(&nets[index].statistics));
        same(&plain.logits, &want, &format!("plain forward pass, {name}"));
        let onnx = place.0.join("sub.onnx");
        let index = index.to_string();
        let export = ["export", "--model", text(&folder), "--sub-network", &index, "--out"];
        told(&[&export[..], &[text(&onnx)]].concat());
        let graph = onnx_graph::Model::read(&std::fs::read(&onnx).unwrap());
        let said = (graph.opset, graph.metadata["model_hash"].as_str());
        assert_eq!(said, (13, model.model_hash.as_str()));
        let (_, said) = graph.run((vec![2, 3, side, side], planes));
        same(&said, &want, &format!("ONNX, {name}"));
    }

    // What else takes a model folder.
    let bench = ["bench", "engine", "--rounds", "1", "--runs", "1", "--json", "--model"];
    let said = told(&[&bench[..], &[text(&folder)]].concat());
    assert_eq!(said.lines().count(), 3, "{said}");
    assert!(said.lines().nth(1).unwrap().contains("\"name\":\"b.0\",\"resolution\":16"), "{said}");
    let eval = ["eval", "--model", text(&folder)];
    refused(&eval, &["its accuracies are published ones", "16×16 pixels, 3 channel(s)"]);
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/coshift-28");
    refused(&[&eval[..], &["--data", text(&shipped)]].concat(), &["28×28", "16×16 with 3 channel"]);
}

/// A tensor in a spoilt file; `None` = it is not there.
type Spoilt = Option<(String, Vec<f32>)>;

/// A copy of the imported statistics of set `a` with a change in it.
fn changed(from: &str, to: &str, change: &dyn Fn(&str, Vec<f32>) -> Spoilt) {
    let file = TensorFile::read(Path::new(from)).unwrap();
    let checkpoint = Checkpoint::read_file(&fixture("published-a.pth")).unwrap();
    let mut out = TensorWriter::default();
    for (name, tensor) in &checkpoint.tensors {
        let values = file.tensor(name, &tensor.shape).unwrap();
        if let Some((name, values)) = change(name, values) {
            out.tensor(&name, &[values.len()], &values);
        }
    }
    out.write(Path::new(to)).unwrap();
}

#[test]
fn what_does_not_fit_is_named_and_leaves_nothing() {
    let place = Place::with_fixtures("wrong");
    let [a, b] = place.own();
    let model = place.0.join("model");
    let check = |args: &[String], parts: &[&str]| {
        refused(&args.iter().map(String::as_str).collect::<Vec<_>>(), parts);
        assert!(!model.exists(), "{parts:?}");
    };
    let with = |at: usize, value: &str| {
        let mut args = place.args(&[&a, &b]);
        value.clone_into(&mut args[at]);
        args
    };
    let swap = |set: &str, file: &str| format!("{set}={}", place.path(file));

    // Statistics that are missing, of another set, of another level, and spoilt.
    check(
        &place.args(&[]),
        &["no statistics for the 2 levels of a: --statistics a=FILE", "level0.first_conv.bn."],
    );
    check(&place.args(&[&a]), &["no statistics for the 1 levels of b: --statistics b=FILE"]);
    check(&place.args(&[&place.path("published-a")]), &["expected SET=FILE, the sets are a and b"]);
    check(&place.args(&[&a, &a, &b]), &["a has two files"]);
    check(
        &place.args(&[&swap("a", "published-b"), &b]),
        &["statistics of a.0", "published-b", "level0.", "is F32 [", "expected F32 ["],
    );
    let from = place.path("published-a");
    let spoilt = place.path("spoilt");
    let spoil = |change: &dyn Fn(&str, Vec<f32>) -> Spoilt| {
        changed(&from, &spoilt, change);
        place.args(&[&swap("a", "spoilt"), &b])
    };
    let last = "level1.blocks.4.mobile_inverted_conv.point_linear.bn.running_mean";
    check(
        &spoil(&|name, values| (name != last).then(|| (name.into(), values))),
        &["statistics of a.1", "spoilt.safetensors: no tensor", last],
    );
    let level = |name: &str| name.strip_prefix("level1.").map(|name| format!("level0.{name}"));
    check(
        &spoil(&|name, values| level(name).map(|name| (name, values))),
        &["statistics of a.0", "level0.", "is F32 [", "expected F32 ["],
    );
    // A deeper network's: everything is there, and more.
    let more = "level0.blocks.9.conv.point_linear.bn.running_var";
    check(
        &spoil(&|name, values| {
            let name = if name == "level1.first_conv.bn.running_var" { more } else { name };
            Some((name.into(), values))
        }),
        &["statistics of a.0", more, "of 3 blocks does not have: statistics of another one"],
    );
    for (part, value, want) in
        [("running_var", -1.0, "is no variance"), ("running_mean", f32::NAN, "is no number")]
    {
        let hit = format!("level0.first_conv.bn.{part}");
        check(
            &spoil(&|name, mut values| {
                values[0] = if name == hit { value } else { values[0] };
                Some((name.into(), values))
            }),
            &[&hit, want],
        );
    }

    // Weights of another family, of none, not imported.
    let other = place.path("other");
    told(&["import", "--from", text(&fixture("first-generation.pth")), "--out", &other]);
    check(
        &with(2, &other),
        &["not those of fixture", "tensor first_conv.conv.weight is F32 [8, 1, 3, 3]"],
    );
    check(&with(2, &from), &["not those of fixture", "no tensor first_conv.conv.weight"]);
    check(
        &with(2, text(&fixture("published.pth"))),
        &["expected a file that `import` wrote", "not a whole safetensors file"],
    );
    check(&with(4, "ofa-mbv3-1.0"), &["sub-networks of fixture, expected those of ofa-mbv3-1.0"]);

    // Levels.
    check(&with(6, "nets_6"), &["--levels nets_6: expected dynamic-ofa, dynamic-ofa-6"]);
    let levels = std::fs::read_to_string(fixture("published-levels.json")).unwrap();
    let list = place.0.join("levels.json");
    for (old, new, want) in [
        ("a.1", "a", "a level's name is \"a\", expected SET.NUMBER"),
        ("a.1", "a.0", "a.0 is there twice"),
        ("64.25", "164.25", "accuracy_pct is 164.25, expected 0 to 100"),
        ("[7, 5, 3, 7]", "[7, 5, 3, 9]", "a.1: fixture: kernels of a sub-network"),
        ("\"a.1\", \"accuracy_pct\": 64.25", "\"a.1\"", "missing field `accuracy_pct`"),
    ] {
        std::fs::write(&list, levels.replace(old, new)).unwrap();
        check(&with(6, text(&list)), &["levels.json", want]);
    }
}

/// Random images `[count, channels, side, side]` in a file, and as networks take them.
fn images(path: &str, [count, channels, side]: [usize; 3], seed: u64) -> Vec<f32> {
    let mut random = Random(seed);
    let planes: Vec<f32> = (0..count * channels * side * side).map(|_| random.normal()).collect();
    let mut file = TensorWriter::default();
    file.tensor("images", &[count, channels, side, side], &planes);
    file.write(Path::new(path)).unwrap();
    channels_last(&planes, channels, side * side)
}

/// A model folder of published weights, and a sub-network that it does not list.
fn assembled(place: &Place) -> (PathBuf, SubNet) {
    let own = place.own();
    let args = place.args(&[&own[0], &own[1]]);
    told(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let net = SubNet {
        depths: vec![2, 1],
        kernels: vec![5, 7, 3, 3],
        expands: vec![2, 4, 4, 2],
        resolution: Some(12),
    };
    (place.0.join("model"), net)
}

#[test]
fn any_sub_network_of_colour_images_is_calibrated_and_exported() {
    let place = Place::with_fixtures("calibrate");
    let (folder, net) = assembled(&place);
    let (file, out) = (place.path("images"), place.0.join("sub.onnx"));
    let known = images(&file, [40, 3, 12], 21);
    let described = serde_json::to_string(&net).unwrap();
    let export = ["export", "--model", text(&folder), "--sub-network", &described, "--out"];
    let said = told(&[&export[..], &[text(&out), "--calibrate", &file]].concat());
    assert!(said.starts_with("sub-network as described, calibrated on 40 images: "), "{said}");

    // The network recalibrated in memory.
    let Loaded { layout, values, nets, .. } = Loaded::read(&folder).unwrap();
    let units = layout.units(&net);
    let statistics = forward(&layout, &units, &values, &known, None).statistics;
    let calibrated = Calibrated { net, statistics };
    let network = Network::new(layout.clone(), values.clone(), &[calibrated]).unwrap();
    let seen = images(&place.path("others"), [3, 3, 12], 22);
    let want = network.run(0, &seen, &mut Workspace::default()).unwrap().to_vec();
    let graph = onnx_graph::Model::read(&std::fs::read(&out).unwrap());
    assert_eq!(graph.metadata["calibration_images"], "40");
    let planes = TensorFile::read(Path::new(&place.path("others"))).unwrap();
    let planes = planes.tensor("images", &[3, 3, 12, 12]).unwrap();
    let (_, said) = graph.run((vec![3, 3, 12, 12], planes));
    same(&said, &want, "ONNX");

    // One that the model lists keeps its own statistics, and the command says so.
    let known = serde_json::to_string(&nets[0].net).unwrap();
    for sub_network in ["0", &known] {
        let by = ["export", "--model", text(&folder), "--sub-network", sub_network, "--out"];
        let output = tools(&[&by[..], &[text(&out), "--calibrate", &file]].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        let want = "--calibrate is not used: sub-network 0 has statistics of its own\n";
        assert_eq!(said, want);
    }
}

#[test]
fn images_that_cannot_calibrate_are_named() {
    let place = Place::with_fixtures("uncalibrated");
    let (folder, net) = assembled(&place);
    let (file, out) = (place.path("images"), place.0.join("no.onnx"));
    let described = serde_json::to_string(&net).unwrap();
    let export = ["export", "--model", text(&folder), "--sub-network", &described, "--out"];
    let export = [&export[..], &[text(&out), "--calibrate", &file]].concat();
    let check = |parts: &[&str]| {
        refused(&export, &[&["--calibrate: ", &*file][..], parts].concat());
        assert!(!out.exists(), "{parts:?}");
    };
    check(&["No such file"]);
    for (shape, want) in [
        ([31, 3, 12], "31 images, expected at least 32"),
        ([40, 1, 12], "images is [40, 1, 12, 12], expected [count, 3, side, side] as fixture"),
        ([40, 3, 16], "images of 16×16 pixels, the sub-network takes 12×12"),
        ([40, 3, 14], "images of 14×14 pixels, fixture takes 16 or one of [12]"),
    ] {
        images(&file, shape, 23);
        check(&[want]);
    }
    let spoil = |name: &str, shape: &[usize], value: f32| {
        let mut values = vec![0.5; shape.iter().product()];
        values[3 * 144 + 1] = value;
        let mut writer = TensorWriter::default();
        writer.tensor(name, shape, &values);
        writer.write(Path::new(&file)).unwrap();
    };
    spoil("images", &[40, 3, 12, 12], f32::NAN);
    check(&["tensor images holds a value that is no number, in image 1"]);
    spoil("images", &[40, 3, 12, 12], f32::INFINITY);
    check(&["tensor images holds a value that is no number, in image 1"]);
    spoil("images", &[40, 432], 0.5);
    check(&["tensor images is [40, 432], expected [count, 3, side, side]"]);
    spoil("pictures", &[40, 3, 12, 12], 0.5);
    check(&["no tensor images"]);
    let output = tools(&[&export[..], &["--data", "."]].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("cannot be used with '--data"), "{said}");
    // Without them: what could be done.
    refused(&export[..export.len() - 2], &["not one of the model's 3, and so", "or --calibrate"]);
}

#[test]
fn levels_without_published_statistics_are_calibrated() {
    let place = Place::with_fixtures("calibrated-levels");
    let (own, folder) = (place.own(), place.0.join("model"));
    // Set b has one level, of 16 pixels.
    let (small, large) = (place.path("images-12"), place.path("images-16"));
    images(&small, [32, 3, 12], 24);
    let known = images(&large, [36, 3, 16], 25);
    let args = place.args(&[&own[0]]);
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let (small, large) = (small.as_str(), large.as_str());
    let with = |files: &[usize]| {
        let files: Vec<_> = files.iter().map(|at| [small, large][*at]).collect();
        [&args[..], &["--calibrate"], &files].concat()
    };
    refused(&with(&[0]), &["statistics of b.0", "no file of --calibrate has images of 16×16"]);
    refused(&with(&[1, 1]), &["both have images of 16×16 pixels"]);
    assert!(!folder.exists());
    told(&with(&[0, 1]));
    let Loaded { model, layout, values, nets } = Loaded::read(&folder).unwrap();
    assert_eq!(model.sub_networks[1].name.as_deref(), Some("b.0"));
    let units = layout.units(&nets[1].net);
    let want = forward(&layout, &units, &values, &known, None).statistics;
    for (found, want) in nets[1].statistics.iter().zip(&want) {
        same(&found.0, &want.0, "means");
        same(&found.1, &want.1, "variances");
    }
    // Those of the other set are the published ones.
    let all = place.args(&[&own[0], &own[1]]);
    let output = tools(
        &[&all.iter().map(String::as_str).collect::<Vec<_>>()[..], &["--calibrate", large]]
            .concat(),
    );
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, "--calibrate is not used: every set has statistics of its own\n");
    let published = Loaded::read(&folder).unwrap().nets;
    assert_eq!((&nets[0], &nets[2]), (&published[0], &published[2]));
    assert_ne!(nets[1], published[1]);
    // The card says which is which.
    told(&with(&[1]));
    let card = std::fs::read_to_string(folder.join("CARD.md")).unwrap();
    assert!(card.contains("No published statistics: b.0. "), "{card}");
    assert!(card.contains("| `images-16.safetensors` | `"), "{card}");
    assert!(card.contains("` | 36 | 16 |"), "{card}");
}

#[test]
fn the_published_levels_come_with_their_published_statistics() {
    let files = ["nets_6", "nets_7"]
        .map(|set| need::data(&format!("dynamic_ofa/{set}_bn_stats.safetensors")));
    let [Some(nets_6), Some(nets_7)] = files else { return };
    // Random weights: the published ones cannot be had.
    let place = Place::new("dynamic-ofa");
    let family: Family = serde_json::from_str(OFA_12).unwrap();
    let (layout, mut random) = (Layout::new(&family).unwrap(), Random(3));
    let mut weights = TensorWriter::default();
    weights.values(&layout, "", &optimiser::start(&layout, &mut random));
    let path = place.0.join("random.safetensors");
    weights.write(&path).unwrap();
    let out = place.0.join("model");
    let mut args = AssembleArgs {
        weights: path,
        family: None,
        levels: "dynamic-ofa".into(),
        statistics: vec![
            format!("nets_7={}", nets_7.display()),
            format!("nets_6={}", nets_6.display()),
        ],
        calibrate: vec![],
        out: out.clone(),
    };
    let model: Model = assemble(&args).unwrap();
    assert_eq!(model.sub_networks.len(), 13);
    let ends =
        [0, 12].map(|at| (&model.sub_networks[at].name, model.sub_networks[at].accuracy_pct));
    let name = |name: &str| Some(name.to_owned());
    assert_eq!(ends, [(&name("nets_7.0"), 73.178), (&name("nets_6.5"), 79.03)]);

    let Loaded { layout, values, nets, .. } = Loaded::read(&out).unwrap();
    let net = &nets[0];
    let side = layout.family().side(&net.net);
    let image: Vec<f32> = (0..3 * side * side).map(|_| random.normal()).collect();
    let units = layout.units(&net.net);
    let want = forward(&layout, &units, &values, &image, Some(&net.statistics)).logits;
    let network = Network::new(layout, values, &nets).unwrap();
    same(network.run(0, &image, &mut Workspace::default()).unwrap(), &want, "nets_7.0");

    // The file of the other set: most of its levels are other networks.
    args.levels = "dynamic-ofa-7".into();
    args.statistics = vec![text(&nets_6).into()];
    let said = format!("{:#}", assemble(&args).unwrap_err());
    assert!(said.contains("statistics of nets_7.1"), "{said}");

    // The program's own list has the accuracies of the publication.
    let mut levels = dynamic_ofa().into_iter();
    for set in ["nets_6", "nets_7"] {
        let text = std::fs::read_to_string(nets_6.with_file_name(format!("{set}.json"))).unwrap();
        let published: serde_json::Value = serde_json::from_str(&text).unwrap();
        for (number, level) in published["levels"].as_array().unwrap().iter().enumerate() {
            let own = levels.next().unwrap();
            assert_eq!(own.name, format!("{set}.{number}"));
            assert_eq!(Some(own.accuracy_pct), level["top1"].as_f64());
        }
    }
}
