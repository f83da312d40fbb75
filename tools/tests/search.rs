//! The command that searches sub-networks.
#![cfg(feature = "engine")]

#[path = "../../host/engine/tests/common/need.rs"]
#[allow(dead_code, reason = "Python is not needed here")]
mod need;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use coshift_engine::family::SubNet;
use coshift_engine::levels::dynamic_ofa;
use serde_json::{Value, json};

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn search(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coshift-tools"));
    command.current_dir(project()).arg("search").args(args).output().unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_front_of_measured_sub_networks_by_a_boards_law() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("measured.json");
    // The published levels with their measured accuracies: two shapes are there twice, with the
    // accuracies of both measurements.
    let accuracies = [
        74.202, 74.968, 76.134, 77.540, 78.346, 79.030, 73.178, 74.540, 75.226, 76.388, 77.034,
        77.748, 78.050,
    ];
    let rows: Vec<Value> = dynamic_ofa()
        .iter()
        .zip(accuracies)
        .map(|(level, accuracy)| json!({"net": level.net, "accuracy_pct": accuracy}))
        .collect();
    std::fs::write(&path, serde_json::to_string(&rows).unwrap()).unwrap();
    let path = path.to_str().unwrap();
    let args = ["--measured", path, "--board", "boards/xavier_nx.toml", "--json"];
    let output = search(&args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = lines(&output);
    let (found, published): (Vec<_>, Vec<_>) =
        lines.iter().partition(|line| line["name"] == "found");
    assert_eq!(published.len(), 13);
    let figures = |line: &Value| {
        (line["latency_ms"].as_f64().unwrap(), line["accuracy_pct"].as_f64().unwrap())
    };
    assert!(found.len() >= 5, "{}", found.len());
    for pair in found.windows(2) {
        let ((slow_before, before), (slow, after)) = (figures(pair[0]), figures(pair[1]));
        assert!(slow_before < slow && before < after);
    }
    for line in published {
        let (latency, accuracy) = figures(line);
        assert!(line["found_latency_ms"].as_f64().unwrap() <= latency);
        assert!(line["found_accuracy_pct"].as_f64().unwrap() >= accuracy);
    }
    // A slower level, longer latencies.
    let slow = search(&[&args[..], &["--level", "0"]].concat());
    let slow = self::lines(&slow);
    assert!(figures(&slow[0]).0 > figures(&lines[0]).0);
}

/// A list of sub-networks that are the levels of `ofa-mbv3-1.2` in part, or not at all.
#[test]
fn how_many_levels_were_compared_is_said_and_none_is_a_failure() {
    let levels = dynamic_ofa();
    let table = |nets: &[SubNet]| {
        let row = |net| json!({"net": net, "accuracy_pct": 75.0});
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("some-{}.json", nets.len()));
        let rows: Vec<Value> = nets.iter().map(row).collect();
        std::fs::write(&path, serde_json::to_string(&rows).unwrap()).unwrap();
        let measured = ["--measured", path.to_str().unwrap(), "--board", "boards/xavier_nx.toml"];
        let output = search(&[&measured[..], &["--json"]].concat());
        let published = lines(&output).iter().filter(|line| line["name"] != "found").count();
        (output.status.success(), published, String::from_utf8(output.stderr).unwrap())
    };
    let some: Vec<_> = levels[..3].iter().map(|level| level.net.clone()).collect();
    let known = levels.iter().filter(|level| some.contains(&level.net)).count();
    assert!((3..13).contains(&known), "{known}");
    let (succeeded, published, said) = table(&some);
    assert!(succeeded && published == known, "{said}");
    assert!(said.ends_with(&format!("\n{known} of 13 published levels compared\n")), "{said}");
    assert_eq!(said.lines().count(), 13 - known + 1, "{said}");
    let other = SubNet { resolution: Some(224), ..some[0].clone() };
    let (succeeded, published, said) = table(&[other]);
    assert!(!succeeded && published == 0, "{said}");
    let want = "0 of 13 published levels compared\nerror: no published level is one that both sources know\n";
    assert!(said.ends_with(want), "{said}");
}

#[test]
fn the_shipped_model_is_a_table() {
    let output = search(&[
        "--family",
        "coshift-28",
        "--measured",
        "models/coshift-28/model.json",
        "--board",
        "boards/orin_nano.toml",
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.lines().count() > 2 && said.lines().all(|line| line.starts_with("found: ")));
    // It has no published levels: nothing to compare is no failure.
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_does_not_fit_is_named() {
    let (board, model) = ("boards/xavier_nx.toml", "models/coshift-28/model.json");
    let small = ["--family", "coshift-28", "--measured", model, "--board", board];
    let with = |more: &[&'static str]| [&small[..], more].concat();
    for (args, want) in [
        (with(&["--level", "99"]), "--level 99: boards/xavier_nx.toml has 0 to "),
        (with(&["--population", "2"]), "--population 2: expected 4 to 10000"),
        (vec!["--measured", model, "--board", board], "model.json: entry 0: "),
        (vec!["--measured", board, "--board", board], "expected a list of"),
        (vec!["--predictor", "no.safetensors", "--board", board], "no.safetensors: "),
        (vec!["--measured", model, "--blocks", "no.yaml"], "no.yaml: "),
    ] {
        let output = search(&args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(want), "{args:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn by_a_boards_law_the_front_is_nowhere_worse_than_the_published_levels() {
    let Some(predictor) = need::data("ofa/acc_predictor_mbv3.safetensors") else { return };
    let board = ["--board", "boards/xavier_nx.toml", "--json", "--predictor"];
    let from = [&board[..], &[predictor.to_str().unwrap(), "--seed"]].concat();
    // A quarter of the effort that the command has by itself.
    let [population, generations, climbs] =
        [["--population", "60"], ["--generations", "60"], ["--climbs", "100"]];
    let less = [population, generations, climbs, ["--populations", "2"], ["--rounds", "10"]];
    for seed in ["1", "2", "3", "4", "5"] {
        let output = search(&[&from[..], &[seed], less.as_flattened()].concat());
        // The command fails where a level is better than what was found.
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "seed {seed}: {said}");
        let published = lines(&output).into_iter().filter(|line| line["name"] != "found");
        assert_eq!(published.count(), 13);
    }
    // And it does fail: hardly any effort finds less than the levels.
    let [population, generations, climbs] =
        [["--population", "20"], ["--generations", "5"], ["--climbs", "0"]];
    let least = [population, generations, climbs, ["--populations", "1"], ["--rounds", "0"]];
    let output = search(&[&from[..], &["1"], least.as_flattened()].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("the front found is worse than nets_6.2"), "{said}");
}
