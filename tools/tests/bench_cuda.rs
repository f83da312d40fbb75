//! `coshift-tools bench engine --device cuda` over a driver that is emulated on the host: what the
//! command runs on a GPU, without one. Its times are not a GPU's and are only looked at for being there.

#[path = "../../host/engine/tests/common/host_compiler.rs"]
mod host_compiler;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use coshift_engine::model::Model;

const ENGINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../host/engine");
const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/coshift-28");

/// A folder with the emulated driver, its kernels compiled from the sources of a folder, and what the
/// driver is told.
struct Driver(PathBuf, Vec<(&'static str, &'static str)>);

impl Driver {
    fn compiled(sources: &Path) -> Self {
        Self(host_compiler::driver(Path::new(ENGINE), sources), Vec::new())
    }

    fn faulty(file: &str, from: &str, to: &str) -> Self {
        let sources = Path::new(ENGINE).join("src/kernels/cuda");
        let sources = host_compiler::faulty(&sources, file, from, to);
        let driver = Self::compiled(&sources);
        std::fs::remove_dir_all(sources).unwrap();
        driver
    }

    fn bench(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coshift-tools"));
        command.args(["bench", "engine", "--device", "cuda", "--model", MODEL]).args(args);
        command.env("LD_LIBRARY_PATH", &self.0).envs(self.1.clone()).output().unwrap()
    }

    /// Lines of JSON that the command writes where it succeeds.
    fn lines(&self, args: &[&str]) -> Vec<serde_json::Value> {
        let out = self.bench(args);
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        let text = String::from_utf8(out.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What the command says where it fails, in its one line.
    fn fault(&self, args: &[&str]) -> String {
        let out = self.bench(args);
        let text = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(1), "{args:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{args:?}: {text}");
        text
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn every_sub_network_is_compared_and_measured() {
    let mut driver = Driver::compiled(&Path::new(ENGINE).join("src/kernels/cuda"));
    let known = Model::read(Path::new(MODEL)).unwrap().sub_networks;
    // As many multiprocessors as an Orin and an H200 have, which want other tiles.
    for (batch, random, processors) in [("1", 4, "16"), ("3", 0, "132")] {
        driver.1 = vec![("COSHIFT_EMULATED_MULTIPROCESSORS", processors)];
        let count = random.to_string();
        let args = ["--check", "--json", "--batch", batch, "--random", &count];
        let lines = driver.lines(&args);
        assert_eq!(lines.len(), known.len() + random);
        let families: Vec<_> = lines.iter().map(|line| line["family"].as_str().unwrap()).collect();
        if random > 0 {
            // One of each ImageNet family, at a resolution of its own; two more of the model's.
            let others = &families[known.len()..];
            assert_eq!(others, ["ofa-mbv3-1.2", "ofa-mbv3-1.0", "coshift-28", "coshift-28"]);
            assert!(lines[known.len()]["resolution"].as_u64().unwrap() >= 128);
        }
        for (place, line) in lines.iter().enumerate() {
            let number = |key: &str| line[key].as_f64().unwrap_or_else(|| panic!("{key}: {line}"));
            assert_eq!(line["device"], "the host, emulated");
            assert_eq!(number("batch").to_string(), batch);
            assert_eq!(line["same_top"], true, "{line}");
            assert!(number("outputs_off") <= 1e-4 && number("tensors_off") <= 1e-4, "{line}");
            // Rounding is not the CPU's: an exact 0 everywhere would be the CPU compared with itself.
            assert!(number("tensors_off") > 0.0, "{line}");
            assert!(number("tensors") >= 10.0 * number("batch"), "{line}");
            if let Some(sub) = known.get(place) {
                assert_eq!((&line["index"], &line["macs"]), (&sub.index.into(), &sub.macs.into()));
            }
        }
    }

    let lines = driver.lines(&["--json", "--rounds", "2", "--runs", "2"]);
    assert_eq!(lines.len(), known.len());
    for (line, sub) in lines.iter().zip(&known) {
        let number = |key: &str| line[key].as_f64().unwrap_or_else(|| panic!("{key}: {line}"));
        assert_eq!((&line["index"], &line["macs"]), (&sub.index.into(), &sub.macs.into()));
        assert!(number("outputs_off") <= 1e-4, "{line}");
        assert!(number("graph_ms_min") > 0.0, "{line}");
        assert!(number("graph_ms_min") <= number("graph_ms_p50"), "{line}");
        assert!(number("call_ms_p50") <= number("call_ms_p99"), "{line}");
        assert!(number("switch_ns_p99") > 0.0 && number("gmac_per_s") > 0.0, "{line}");
        assert!(number("first_inference_over_steady") > 0.0, "{line}");
        assert!(number("kernels") > 10.0, "{line}");
        assert!(number("resident_bytes") > 4.0 * sub.params as f64, "{line}");
    }

    // For people: the device, the names of the columns, a line for each.
    let out = driver.bench(&["--rounds", "1", "--runs", "1"]);
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(
        text.starts_with("the host, emulated, 132 multiprocessors, batch 1\n index "),
        "{text}"
    );
    assert_eq!(text.lines().count(), 2 + known.len(), "{text}");
    let out = driver.bench(&["--check", "--random", "0"]);
    let text = String::from_utf8(out.stdout).unwrap();
    let all = format!("{} sub-networks: outputs at most ", known.len());
    assert!(text.starts_with(&all) && text.lines().count() == 1, "{text}");
}

#[test]
fn a_wrong_kernel_fails_the_command() {
    // Means that are too large by a hundredth: the logits show it.
    let driver = Driver::faulty("vector.cuh", "1.0f / float(a.pixels)", "1.01f / float(a.pixels)");
    for args in [&["--check", "--random", "0"][..], &["--rounds", "1", "--runs", "1"]] {
        let text = driver.fault(args);
        let expected = "error: coshift-28, sub-network 0: outputs on the GPU are ";
        assert!(text.starts_with(expected), "{text}");
    }
    // One value of a map, too little to be seen there.
    let driver = Driver::faulty(
        "depthwise.cuh",
        "const float4 out = finished(sums[r], scale, shift, a.activation);",
        "float4 out = finished(sums[r], scale, shift, a.activation);
         out.x += row + column + r + block + quarter == 0 ? 0.01f : 0.0f;",
    );
    let text = driver.fault(&["--check", "--random", "0"]);
    assert!(text.starts_with("error: coshift-28, sub-network "), "{text}");
    assert!(text.contains(", launch ") && text.contains("(depthwise_"), "{text}");
}
