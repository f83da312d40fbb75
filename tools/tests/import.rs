//! The command that reads PyTorch checkpoints.
#![cfg(feature = "engine")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use coshift_engine::tensors::TensorFile;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/engine/tests/fixtures").join(name)
}

fn import(from: &str, out: &Path, family: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coshift-tools"));
    command.arg("import").arg("--from").arg(fixture(from)).arg("--out").arg(out);
    command.args(family.iter().flat_map(|family| ["--family", family])).output().unwrap()
}

#[test]
fn both_generations_become_one_file() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let outs = ["first-generation", "second-generation"].map(|name| {
        let out = folder.join(format!("{name}.safetensors"));
        let output = import(&format!("{name}.pth"), &out, None);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.starts_with("92 tensors, "), "{said}");
        out
    });
    let [first, second] = outs.map(|out| std::fs::read(out).unwrap());
    assert_eq!(first, second);
    let file = TensorFile::read(&folder.join("first-generation.safetensors")).unwrap();
    file.tensor("blocks.3.conv.point_linear.bn.bn.running_var", &[8]).unwrap();
}

#[test]
fn what_cannot_be_imported_is_named() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for (from, out, family, want) in [
        ("make.py", "no.safetensors", None, "make.py: not a PyTorch checkpoint: begins with"),
        ("missing.pth", "no.safetensors", None, "missing.pth: "),
        ("values.pth", "no.pth", None, "no.pth: expected a name in .safetensors"),
        ("values.pth", "no.safetensors", Some("ofa"), "--family ofa: expected ofa-mbv3-1.0, "),
        (
            "first-generation.pth",
            "no.safetensors",
            Some("ofa-mbv3-1.0"),
            "tensor first_conv.conv.weight is F32 [8, 1, 3, 3], expected F32 [16, 3, 3, 3]",
        ),
    ] {
        let output = import(from, &folder.join(out), family);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(want), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(!folder.join(out).exists());
    }
}
