//! The command that writes sub-networks for other runtimes, on the shipped model.
#![cfg(feature = "engine")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use coshift_engine::family::{Exit, SubNet};
use coshift_engine::images::{Half, ImageSet};
use coshift_engine::layout::Layout;
use coshift_engine::model::{Loaded, write_weights};
use coshift_engine::tensors::TensorFile;
use coshift_tools::train::{calibrate, split};

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/coshift-28")
}

fn export(sub_network: &str, out: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coshift-tools"));
    command.arg("export").arg("--model").arg(model());
    command.args(["--sub-network", sub_network]).arg("--out").arg(out).output().unwrap()
}

#[test]
fn every_shipped_sub_network_is_exported() {
    let Loaded { model, layout, .. } = Loaded::read(&model()).unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for sub in &model.sub_networks {
        let (onnx, tensors) = (folder.join("sub.onnx"), folder.join("sub.safetensors"));
        for out in [&onnx, &tensors] {
            let output = export(&sub.index.to_string(), out);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        let file = TensorFile::read(&tensors).unwrap();
        assert_eq!(file.metadata("model_hash").unwrap(), model.model_hash);
        assert_eq!(file.metadata("index").unwrap(), sub.index.to_string());
        let shape = [layout.family().stem, 1, 3, 3];
        file.tensor("blocks.0.conv.depth_conv.conv.weight", &shape).unwrap();
        // Weights as f32, and little beside them.
        let bytes = std::fs::metadata(&onnx).unwrap().len();
        let weights = 4 * sub.params;
        assert!((weights..weights + 20_000).contains(&bytes), "{bytes} for {weights}");
    }
}

#[test]
fn a_sub_network_that_the_model_does_not_have_is_calibrated_and_exported() {
    let Loaded { model, layout, values, nets } = Loaded::read(&model()).unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("export-described");
    std::fs::create_dir_all(&folder).unwrap();
    // The shipped test images in the place of training images.
    let mut images = ImageSet::read(&self::model(), Half::Test).unwrap();
    images.split_off(600);
    images.write(&folder, Half::Train).unwrap();
    let mut net = model.family.largest();
    net.kernels[0] = model.family.kernels[0];
    let described = |net: &SubNet| serde_json::to_string(net).unwrap();
    let run = |net: &str, out: &Path, data: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coshift-tools"));
        command.arg("export").arg("--model").arg(self::model()).args(["--sub-network", net]);
        command.arg("--data").arg(data).arg("--out").arg(out).output().unwrap()
    };
    let out = folder.join("described.safetensors");
    let output = run(&described(&net), &out, &folder);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with("sub-network as described, calibrated on 500 images: "), "{said}");
    let file = TensorFile::read(&out).unwrap();
    assert_eq!(file.metadata("calibration_images").unwrap(), "500");
    assert_eq!(file.metadata("sub_network").unwrap(), described(&net));
    // 540 images stay of 600 where some are kept aside, as for `pack`: two whole batches.
    let statistics = calibrate(&layout, &net, &values, &split(images).0);
    for (at, unit) in [(0, "first_conv"), (2, "blocks.0.conv.point_linear")] {
        let (mean, variance) = &statistics[at];
        let part = |part: &str| file.tensor(&format!("{unit}.bn.{part}"), &[mean.len()]).unwrap();
        assert_eq!((&part("running_mean"), &part("running_var")), (mean, variance), "{unit}");
    }
    // One that the model has, described: the model's own, without images.
    let (by_index, by_shape) = (folder.join("index.onnx"), folder.join("shape.onnx"));
    assert!(export("1", &by_index).status.success());
    let nowhere = Path::new("/nonexistent");
    assert!(run(&described(&nets[1].net), &by_shape, nowhere).status.success());
    assert_eq!(std::fs::read(by_index).unwrap(), std::fs::read(by_shape).unwrap());
    // What is missing or wrong.
    let gone = folder.join("no.onnx");
    let refused = |net: &str, want: &str| {
        let output = run(net, &gone, nowhere);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(want), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(!gone.exists());
    };
    refused(
        &described(&net),
        "not one of the model's 10, and so calibrated on the images of --data",
    );
    refused("{\"depths\":[1]}", "--sub-network {\"depths\":[1]}: expected an index or {");
    net.kernels[0] = 9;
    refused(&described(&net), "--sub-network: coshift-28: kernels of a sub-network");
}

#[test]
fn what_cannot_be_exported_is_named() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for (sub_network, out, want) in [
        ("99", "no.onnx", "error: --sub-network 99: the model has 0 to "),
        ("0", "no.pth", "expected a name in .onnx or .safetensors"),
        ("0", "missing-folder/no.onnx", "missing-folder/no.onnx: "),
    ] {
        let output = export(sub_network, &folder.join(out));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(want), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(!folder.join(out).exists());
    }
}

/// The shipped model with an early exit after its second stage.
fn with_an_exit(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let Loaded { mut model, mut values, nets, .. } = Loaded::read(&self::model()).unwrap();
    model.family.exits = vec![Exit { stage: 1, threshold: 0.8 }];
    let layout = Layout::new(&model.family).unwrap();
    for parameter in &layout.parameters[values.len()..] {
        values.push(vec![0.0; parameter.shape.iter().product()]);
    }
    for sub in &mut model.sub_networks {
        (sub.macs, sub.params) = layout.cost(&sub.net);
    }
    let hash = write_weights(&folder.join(&model.weights), &layout, &values, &nets).unwrap();
    model.model_hash = format!("{hash:016x}");
    model.write(&folder).unwrap();
    folder
}

#[test]
fn early_exits_that_a_file_lacks_are_named() {
    let folder = with_an_exit("export-exits");
    for name in ["sub.onnx", "sub.safetensors"] {
        let (out, plain) = (folder.join(name), folder.join("plain").with_extension("onnx"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_coshift-tools"));
        command.arg("export").arg("--model").arg(&folder).args(["--sub-network", "0"]);
        let output = command.arg("--out").arg(&out).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && out.exists(), "{said}");
        let want = "without the early exits of coshift-28 after stages 1: in the file every image \
                    goes to the end\n";
        assert_eq!(said, want);
        // Of a family without any there is nothing to be said.
        assert_eq!(export("0", &plain).stderr, b"");
    }
}
