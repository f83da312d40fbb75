//! The command that writes sub-networks for other runtimes, on the shipped model.
#![cfg(feature = "engine")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use coshift_engine::model::Loaded;
use coshift_engine::tensors::TensorFile;

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
