//! `coshift-tools bench engine` on the shipped model.
#![cfg(feature = "engine")]

#[path = "../../host/engine/tests/common/need.rs"]
#[allow(dead_code, reason = "measured data are not needed here")]
mod need;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use coshift_engine::model::Model;

fn bench(args: &[&str]) -> std::process::Output {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/coshift-28");
    let mut command = Command::new(env!("CARGO_BIN_EXE_coshift-tools"));
    command.args(["bench", "engine", "--model", model, "--rounds", "2", "--runs", "2"]);
    command.args(args).output().unwrap()
}

#[test]
fn every_sub_network_has_its_line() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../models/coshift-28"));
    let model = Model::read(folder).unwrap();
    for args in [&["--json"][..], &["--json", "--threads", "2", "--batch", "3"]] {
        let out = bench(args);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let text = String::from_utf8(out.stdout).unwrap();
        assert_eq!(text.lines().count(), model.sub_networks.len());
        for (line, sub) in text.lines().zip(&model.sub_networks) {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(row["index"], sub.index);
            assert_eq!(row["macs"], sub.macs);
            let number = |key: &str| row[key].as_f64().unwrap_or_else(|| panic!("{key}: {line}"));
            assert!(number("cpu_ms_min") > 0.0);
            assert!(number("cpu_ms_min") <= number("cpu_ms_p50"));
            assert!(number("cpu_ms_p50") <= number("cpu_ms_p99"));
            assert!(number("first_inference_over_steady") > 0.0);
            assert!(number("switch_ns_p99") > 0.0);
            // At least the weights of the sub-network itself.
            assert!(number("resident_bytes") > 4.0 * sub.params as f64);
        }
    }
}

#[test]
fn goals_that_are_missed_fail_the_command() {
    let out = bench(&["--json", "--require"]);
    // Two rounds beside other work may miss a goal; then each is a line, and the last says how many.
    let said = String::from_utf8(out.stderr).unwrap();
    let goals = ["switch, 99 %, ns: ", "first inference over the others: ", "resident: "];
    let lines: Vec<_> =
        said.lines().filter(|line| goals.iter().any(|goal| line.starts_with(goal))).collect();
    assert_eq!(out.status.success(), lines.is_empty(), "{said}");
    if let Some(count) = Some(lines.len()).filter(|count| *count > 0) {
        let last = said.lines().last().unwrap();
        assert_eq!(last, format!("error: --require: {count} goals missed"));
    }
    assert!(!lines.iter().any(|line| line.starts_with("resident")), "{said}");
    // The figures come first, whatever they are.
    assert!(String::from_utf8(out.stdout).unwrap().lines().count() > 2);
    let out = bench(&["--require", "--profile", "0"]);
    assert!(!out.status.success());
}

#[test]
fn a_profile_names_every_step() {
    let out = bench(&["--profile", "0"]);
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(text.contains("depthwise") && text.contains("image 28²"), "{text}");
    let out = bench(&["--profile", "99"]);
    assert!(!out.status.success());
    let text = String::from_utf8(out.stderr).unwrap();
    assert!(text.starts_with("error: --profile: sub-network 99, expected 0 to"), "{text}");
}

#[test]
fn arguments_that_measure_nothing_are_named() {
    for (flag, words) in
        [("--threads", "--threads"), ("--batch", "--batch"), ("--runs", "--rounds, --runs")]
    {
        let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/coshift-28");
        let mut command = Command::new(env!("CARGO_BIN_EXE_coshift-tools"));
        let out = command.args(["bench", "engine", "--model", model, flag, "0"]).output().unwrap();
        assert!(!out.status.success());
        let text = String::from_utf8(out.stderr).unwrap();
        assert_eq!(text, format!("error: {words}: at least 1\n"));
    }
}

#[test]
fn a_device_that_is_not_there_is_named() {
    let out = bench(&["--device", "cuda", "--json"]);
    // With CUDA built in and a GPU there it is a run like any other.
    if !(cfg!(feature = "cuda") && out.status.success()) {
        assert!(!out.status.success());
        let text = String::from_utf8(out.stderr).unwrap();
        assert!(text.starts_with("error: --device cuda: "), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        let built = ["this program is built without CUDA", "no CUDA driver", "no CUDA device"];
        let expected = if cfg!(feature = "cuda") { &built[1..] } else { &built[..1] };
        assert!(expected.iter().any(|words| text.contains(words)), "{text}");
        assert!(out.stdout.is_empty());
    }
    let out = bench(&["--check"]);
    assert!(!out.status.success());
    assert_eq!(String::from_utf8(out.stderr).unwrap(), "error: --check: with --device cuda only\n");
}

#[test]
fn peers_that_are_not_there_are_named() {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/coshift-28");
    for (python, words) in
        [("/no/such/python", "does not start"), ("false", "the Python has ended")]
    {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coshift-tools"));
        command.args(["bench", "engine", "--peers", "--model", model]);
        let out = command.env("COSHIFT_PYTHON", python).output().unwrap();
        assert!(!out.status.success());
        let text = String::from_utf8(out.stderr).unwrap();
        let error = text.lines().last().unwrap();
        assert!(error.starts_with("error: --peers: ") && error.contains(words), "{text}");
    }
}

#[test]
fn packages_that_are_missing_are_named_before_anything_is_measured() {
    if need::python("json").is_none() {
        return;
    }
    // A Python that has a numpy of a folder of its own, and nothing else.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-without-onnx");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("numpy.py"), "").unwrap();
    let python = folder.join("python");
    let real = std::env::var("COSHIFT_PYTHON").unwrap_or_else(|_| "python3".into());
    // -S: without the packages of the machine.
    let script = format!("#!/bin/sh\nPYTHONPATH='{}' exec '{real}' -S \"$@\"\n", folder.display());
    std::fs::write(&python, script).unwrap();
    std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_coshift-tools"));
    // A model that is not there: what looked at it first would name it.
    command.args(["bench", "engine", "--peers", "--model", "/no/such/model"]);
    let out = command.env("COSHIFT_PYTHON", &python).output().unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    assert!(!out.status.success());
    assert!(out.stdout.is_empty(), "{}", String::from_utf8_lossy(&out.stdout));
    let text = String::from_utf8(out.stderr).unwrap();
    let expected = format!(
        "error: --peers: {} has no onnxruntime and no onnx: `pip install numpy onnx onnxruntime \
         torch`, or COSHIFT_PYTHON names another Python\n",
        python.display()
    );
    assert_eq!(text, expected);
}

#[test]
fn peers_agree_with_the_engine() {
    if need::python("numpy, onnxruntime").is_none() {
        return;
    }
    let out = bench(&["--json", "--peers"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    for line in String::from_utf8(out.stdout).unwrap().lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let peer = &row["peers"][0];
        assert!(peer["runtime"].as_str().unwrap().starts_with("ONNX Runtime "), "{line}");
        assert!(peer["outputs_off"].as_f64().unwrap() <= 1e-4, "{line}");
        let ratio = peer["ms_p50"].as_f64().unwrap() / row["cpu_ms_p50"].as_f64().unwrap();
        assert!((peer["times_engine"].as_f64().unwrap() / ratio - 1.0).abs() < 1e-9, "{line}");
    }
}
