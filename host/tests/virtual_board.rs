//! `coshift run --board virtual:… --model …`: real inference on a modelled board, and one clear line
//! for each thing that is wrong.
#![cfg(feature = "engine")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use coshift_host::report::{Report, ReportEvent};
use coshift_host::trace::HEADER;

const APP: &str = "cam0=coshift-28,deadline=60ms,floor=90,rate=20";

/// A folder of this test's own, gone with it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let place =
            std::env::temp_dir().join(format!("coshift-board-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&place).unwrap();
        Self(place)
    }

    /// A copy of the shipped model that can be spoilt.
    fn model(&self) -> PathBuf {
        let folder = self.0.join("model");
        std::fs::create_dir_all(&folder).unwrap();
        for entry in std::fs::read_dir(shipped()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                std::fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
            }
        }
        folder
    }

    fn run(&self, board: &str, model: &Path, app: &str, more: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coshift"));
        command.args(["run", "--link", "in-process", "--duration", "1s", "--app", app]);
        command.args(["--board", board]).arg("--model").arg(model);
        command.arg("--control").arg(self.0.join("agent.sock")).args(more);
        command.output().unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/coshift-28")
}

#[test]
fn requests_are_inferred_and_reported_under_their_own_names() {
    let place = Place::new("run");
    let trace = place.0.join("trace.csv");
    let more = ["--json", "--tiles-run", "4", "--trace", trace.to_str().unwrap()];
    let output = place.run("virtual:xavier_nx", &shipped(), APP, &more);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let reports: Vec<Report> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (end, periods) = reports.split_last().unwrap();
    assert_eq!(end.event, ReportEvent::End);
    assert!(periods.iter().all(|report| report.event == ReportEvent::Period));
    assert_eq!(end.board, "virtual:xavier_nx");
    assert_eq!(end.energy_source.as_deref(), Some("modelled"));
    // A second at the idle power of the least level at least.
    assert!(end.energy_mj.unwrap() > 2_000, "{:?}", end.energy_mj);
    let cam0 = &end.applications[0];
    assert_eq!(cam0.images, 4 * cam0.done);
    assert_eq!(cam0.tiles_run, Some(4));
    assert!(cam0.tiles.is_some_and(|tiles| tiles > 4), "{:?}", cam0.tiles);
    let accuracy = cam0.measured_accuracy_pct.unwrap();
    assert_eq!(accuracy, 100.0 * cam0.right as f64 / cam0.images as f64);
    // Far over chance (10 %): labels and images belong together.
    assert!(accuracy > 70.0, "{accuracy} %");
    assert!(cam0.wall_p50_us.is_some() && cam0.latency_p50_us.is_some());

    let text = std::fs::read_to_string(&trace).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some(HEADER));
    assert_eq!(lines.count() as u64, cam0.done);
}

#[test]
fn an_infeasible_deadline_names_what_is_missing_and_goes_on() {
    let place = Place::new("infeasible");
    let app = "cam0=coshift-28,deadline=2ms,floor=90,rate=20";
    let output = place.run("virtual:xavier_nx", &shipped(), app, &[]);
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("nothing keeps every promise: cam0 lacks"), "{text}");
    assert!(text.contains("requests"), "{text}");
}

/// Exit code 1, nothing on standard output, one line of error with these parts.
fn refused(output: &Output, parts: &[&str]) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(output.stdout.is_empty());
    let lines: Vec<_> = error.lines().collect();
    assert_eq!(lines.len(), 1, "{error}");
    for part in parts {
        assert!(lines[0].contains(part), "{part}: {error}");
    }
}

#[test]
fn what_is_wrong_is_one_clear_line() {
    let place = Place::new("wrong");
    let model = place.model();
    let run = |board: &str, more: &[&str]| place.run(board, &model, APP, more);
    refused(&run("virtual:tx2", &[]), &["unknown board \"tx2\"", "xavier_nx"]);

    // Images of another size.
    let images = place.0.join("images");
    std::fs::create_dir_all(&images).unwrap();
    let header = [0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 12, 0, 0, 0, 12];
    let idx = [&header[..], &[0; 144]].concat();
    std::fs::write(images.join("t10k-images-idx3-ubyte"), idx).unwrap();
    std::fs::write(images.join("t10k-labels-idx1-ubyte"), [0, 0, 8, 1, 0, 0, 0, 1, 3]).unwrap();
    let more = ["--images", images.to_str().unwrap()];
    refused(&run("virtual:xavier_nx", &more), &["images", "12×12", "28×28"]);

    let more = |option, value| run("virtual:xavier_nx", &[option, value]);
    refused(&more("--corrupt", "fog"), &["--corrupt", "\"fog\"", "noise, blur or contrast"]);
    refused(&more("--adapt", "31"), &["--adapt 31", "32 to 250"]);

    // A truncated weight file.
    let weights = model.join("weights.safetensors");
    let whole = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &whole[..whole.len() / 2]).unwrap();
    refused(&run("virtual:xavier_nx", &[]), &["weights.safetensors", "not a whole"]);

    // Other weights than the policy's.
    let mut other = whole;
    *other.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, &other).unwrap();
    refused(&run("virtual:xavier_nx", &[]), &["weights.safetensors", "its hash is"]);

    refused(&place.run("virtual:xavier_nx", Path::new("/no/such"), APP, &[]), &["/no/such"]);
}
