//! `coshift-tools eval --corrupt` on the shipped model and its images.
#![cfg(feature = "engine")]

use std::path::Path;
use std::process::{Command, Output};

use coshift_engine::model::Model;
use serde_json::Value;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/coshift-28");

fn eval(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coshift-tools"));
    command.args(["eval", "--model", MODEL, "--data", MODEL, "--json"]);
    command.args(args).output().unwrap()
}

fn lines(args: &[&str]) -> Vec<Value> {
    let output = eval(args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn mean(lines: &[Value], key: &str) -> f64 {
    lines.iter().map(|line| line[key].as_f64().unwrap()).sum::<f64>() / lines.len() as f64
}

#[test]
fn adaptation_recovers_accuracy_on_images_of_little_contrast() {
    let model = Model::read(Path::new(MODEL)).unwrap();
    let found = lines(&["--corrupt", "contrast:4", "--adapt", "200"]);
    assert_eq!(found.len(), model.sub_networks.len());
    for line in &found {
        assert_eq!(line["corruption"], "contrast:4");
        assert_eq!(line["images"], 800);
        assert_eq!(line["adapted_from"], 200);
    }
    let (clean, worse) = (mean(&found, "clean_pct"), mean(&found, "corrupted_pct"));
    let adapted = mean(&found, "adapted_pct");
    assert!(worse < clean - 20.0, "{clean} {worse}");
    assert!(adapted > worse + 10.0 && adapted < clean, "{clean} {worse} {adapted}");
}

#[test]
fn the_seed_decides_the_noise_and_nothing_else() {
    let noise = |seed, threads| {
        lines(&["--corrupt", "noise:2", "--seed", seed, "--threads", threads, "--adapt", "500"])
    };
    let (one, two) = (noise("1", "1"), noise("2", "2"));
    assert_eq!(one, noise("1", "2"));
    assert!(one.iter().zip(&two).any(|(a, b)| a["corrupted_pct"] != b["corrupted_pct"]));
    assert!(one.iter().zip(&two).all(|(a, b)| a["clean_pct"] == b["clean_pct"]));
    assert!(lines(&["--corrupt", "blur:1"]).iter().all(|line| line["adapted_pct"].is_null()));
}

#[test]
fn arguments_that_do_not_fit_are_named() {
    for (args, words) in [
        (&["--corrupt", "fog"][..], "expected noise, blur or contrast"),
        (&["--corrupt", "noise:9"], "expected 1 to 5"),
        (&["--corrupt", "noise", "--adapt", "1000"], "fewer than the 1000 images"),
        (&["--corrupt", "noise", "--adapt", "0"], "expected at least 1"),
        (&["--adapt", "10"], "--corrupt"),
    ] {
        let output = eval(args);
        assert!(!output.status.success(), "{args:?}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(words), "{args:?}: {error}");
    }
}
