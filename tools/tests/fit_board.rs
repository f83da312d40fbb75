//! `coshift-tools fit-board`, as it is run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use coshift_plant::Board;
use coshift_plant::board::Mark;
use coshift_plant::law::LatencyLaw;
use coshift_plant::policy::first_image;

/// A folder of its own for a test, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("coshift-fit-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn fit_board(args: &[&dyn AsRef<std::ffi::OsStr>]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coshift-tools"));
    command.arg("fit-board").args(args.iter().map(|arg| arg.as_ref()));
    command.output().unwrap()
}

/// Name, mean and largest error of every network, from `--json`.
fn errors(output: &Output) -> Vec<(String, f64, f64)> {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let number = |net: &serde_json::Value, key: &str| net[key].as_f64().unwrap();
    let nets = json["nets"].as_array().unwrap().iter();
    nets.map(|net| {
        let name = net["net"].as_str().unwrap().to_owned();
        (name, number(net, "mape_pct"), number(net, "max_pct"))
    })
    .collect()
}

/// A ladder of three networks and one without an accuracy, with their laws.
fn made_up() -> [(&'static str, &'static str, LatencyLaw); 4] {
    let law = |gpu_mhz_ms, emc_mhz_ms, cpu_ms, p| LatencyLaw {
        gpu_mhz_ms,
        emc_mhz_ms,
        cpu_ms,
        cpu_ref_mhz: 1728.0,
        p,
    };
    [
        ("Large", "78.5", law(12_000.0, 24_000.0, 1.5, 2.5)),
        ("small", "71.2", law(3000.0, 6000.0, 0.8, 2.0)),
        ("Depth Net (FP16)", "", law(6000.0, 20_000.0, 1.0, 6.0)),
        ("middle", "75", law(6000.0, 14_000.0, 1.1, 3.0)),
    ]
}

/// A grid of the made-up laws, 0.5 % noise and one row in 17 twice as slow.
fn grid(cpu: &[f64], emc: &[f64]) -> String {
    let mut text = String::from("net,gpu_mhz,emc_mhz,cpu_mhz,note,accuracy_pct,p50_us\n");
    let mut row = 0_u32;
    for (name, accuracy, law) in made_up() {
        for cpu in cpu {
            for gpu in [306.0, 408.0, 510.0, 612.0, 714.0, 816.0, 918.0, 1020.0] {
                for emc in emc {
                    row += 1;
                    let noise = 1.0 + 0.005 * f64::from(row * 7919 % 200) / 100.0 - 0.005;
                    let spoilt = if row.is_multiple_of(17) { 2.0 } else { 1.0 };
                    let us = 1e3 * law.ms_at(*cpu, gpu, *emc) * noise * spoilt;
                    text += &format!("\"{name}\",{gpu},{emc},{cpu},x,{accuracy},{us:.1}\n");
                }
            }
        }
    }
    text
}

fn powers() -> String {
    let mut text = String::from("gpu_mhz,emc_mhz,power_mw,net\n");
    for gpu in [306.0_f64, 612.0, 1020.0] {
        for emc in [665.6, 3199.0] {
            let (ghz, above) = (gpu / 1e3, (emc - 3199.0) / 1e3);
            let idle = 2.0 + 2.0 * ghz + 0.3 * above;
            text += &format!("{gpu},{emc},{},idle\n", 1e3 * idle);
            for (net, activity) in [("small", 1.0), ("Depth Net (FP16)", 0.6)] {
                let added = (1.0 + 6.0 * ghz + 2.0 * ghz.powi(3)) * (1.0 + 0.15 * above);
                text += &format!("{gpu},{emc},{},{net}\n", 1e3 * (idle + activity * added));
            }
        }
    }
    text
}

const CPU: [f64; 2] = [729.6, 1728.0];
const EMC: [f64; 3] = [665.6, 2133.0, 3199.0];

#[test]
fn a_fitted_board_holds_the_laws_and_can_be_simulated() {
    let folder = Folder::new("whole");
    let (latency, power) =
        (folder.file("l.csv", &grid(&CPU, &EMC)), folder.file("p.csv", &powers()));
    let out = folder.0.join("My Board.toml");
    let output =
        fit_board(&[&"--latency", &latency, &"--power", &power, &"--out", &out, &"--json"]);
    let names: Vec<_> = errors(&output).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, made_up().map(|(name, ..)| name));
    // Outliers count among the points that all of the fit is judged on: 1 in 17 is 50 % off.
    assert!(errors(&output).iter().all(|(_, mape, max)| *mape < 4.0 && *max > 40.0));

    let board = Board::load(&out).unwrap();
    assert_eq!(board.name, "my-board");
    assert_eq!(board.network_names(), ["depth-net-fp16", "ladder"]);
    let ladder = board.network("ladder").unwrap();
    let accuracies: Vec<_> = ladder.sub_networks.iter().map(|sub| sub.accuracy_pct).collect();
    assert_eq!(accuracies, [71.2, 75.0, 78.5]);
    let laws = [("ladder", 0, 1), ("ladder", 1, 3), ("ladder", 2, 0), ("depth-net-fp16", 0, 2)];
    for (network, sub, made) in laws {
        let sub = &board.network(network).unwrap().sub_networks[sub];
        for level in &board.levels {
            let (cpu, gpu, emc) = (level.cpu_mhz(), level.gpu_mhz(), level.emc_mhz());
            let truth = made_up()[made].2.ms_at(cpu, gpu, emc);
            let found = f64::from(board.latency_us(sub, level)) / 1e3;
            assert!((found / truth - 1.0).abs() <= 0.015, "{network}: {found} for {truth} ms");
        }
    }
    // 48 tuples do not fit: the ends stay.
    assert!((16..=32).contains(&board.levels.len()));
    let (first, last) = (board.levels[0], board.levels.last().unwrap());
    assert_eq!(first.order(), (306_000, 665_600, 729_600));
    assert_eq!(last.order(), (1_020_000, 3_199_000, 1_728_000));
    assert_eq!(board.clocks.as_ref().unwrap().gpu_khz.len(), 8);
    assert_eq!(board.park_level, Some(0));
    // Idle 2 + 2 f, busy 3 + 8 f + 2 f³ W at the highest clocks.
    assert!(board.idle_mw(last).abs_diff(4040) <= 40, "{}", board.idle_mw(last));
    assert!(board.busy_mw(ladder, last).abs_diff(13_282) <= 130, "{}", board.busy_mw(ladder, last));
    assert!((board.network("depth-net-fp16").unwrap().activity - 0.6).abs() <= 0.01);
    for (field, mark) in [
        ("levels.gpu_mhz", Mark::Specified),
        ("network.ladder.sub_network.law.gpu_mhz_ms", Mark::Fitted),
        ("network.ladder.sub_network.accuracy_pct", Mark::Measured),
        ("network.depth-net-fp16.sub_network.accuracy_pct", Mark::Assumed),
        ("network.depth-net-fp16.activity", Mark::Fitted),
        ("network.ladder.latency.cpu_ref_mhz", Mark::Specified),
        ("power.idle.base_w", Mark::Fitted),
        ("power.emc.busy_share_per_ghz", Mark::Fitted),
        ("power.cpu.w_per_ghz_v2", Mark::Assumed),
        ("settle.gpu_ms", Mark::Assumed),
        ("thermal.resistance_k_per_w", Mark::Assumed),
    ] {
        assert_eq!(board.provenance.of(field).map(|entry| entry.mark), Some(mark), "{field}");
    }
    assert!(first_image(&board).unwrap().tables.len() == 2);

    let scenario = "name = \"fitted\"\nseed = 1\nduration_s = 5\nboard = \"My Board.toml\"\n\
                    cpu_floor = true\n[[application]]\nname = \"cam0\"\nnetwork = \"ladder\"\n\
                    arrivals = { period_ms = 100 }\nmiss_target = 0.01\n[[application.target]]\n\
                    at_s = 0.0\ndeadline_ms = 80.0\naccuracy_floor_pct = 74.0\n\
                    objective = \"least-energy\"\n";
    let scenario = folder.file("s.toml", scenario);
    let managers = ["coshift", "schedutil-podgov", "max"];
    let mut simulate = Command::new(env!("CARGO_BIN_EXE_coshift-tools"));
    simulate.arg("simulate").arg("--scenario").arg(scenario).args(["--json", "--seeds", "1"]);
    let output = simulate.arg("--manager").args(managers).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (line, manager) in lines.iter().zip(managers) {
        assert_eq!(line["manager"], manager);
        assert!(line["inferences"].as_u64().unwrap() >= 49, "{line}");
        assert!(line["energy_j"].as_f64().unwrap() > 5.0, "{line}");
    }
    assert_eq!(lines.len(), managers.len());
}

#[test]
fn latencies_alone_without_any_axis_but_the_gpu_are_enough() {
    let folder = Folder::new("bare");
    let mut text = String::from("net,gpu_mhz,p50_us\n");
    for gpu in [200.0, 400.0, 600.0, 800.0, 1000.0] {
        text += &format!("only,{gpu},{}\n", 1e3 * (9000.0 / gpu + 2.0));
    }
    let latency = folder.file("l.csv", &text);
    let out = folder.0.join("b.toml");
    let output = fit_board(&[&"--latency", &latency, &"--points", &"4", &"--out", &out, &"--json"]);
    let errors = errors(&output);
    assert!(errors.len() == 1 && errors[0].1 <= 1.0, "{errors:?}");
    let board = Board::load(&out).unwrap();
    first_image(&board).unwrap();
    assert_eq!(board.levels.len(), 5);
    for field in [
        "levels.cpu_mhz",
        "levels.emc_mhz",
        "network.only.sub_network.law.emc_mhz_ms",
        "network.only.latency.cpu_ref_mhz",
        "power.idle.base_w",
        "power.busy.base_w",
        "power.emc.idle_w_per_ghz",
    ] {
        let mark = board.provenance.of(field).map(|entry| entry.mark);
        assert_eq!(mark, Some(Mark::Assumed), "{field}");
    }
    // Every reader of the results is told.
    assert!(board.notes.iter().any(|note| note.contains("No power was measured")));
}

#[test]
fn calibration_points_are_judged_on_the_others() {
    let folder = Folder::new("points");
    let latency = folder.file("l.csv", &grid(&[1728.0], &EMC));
    let out = folder.0.join("b.toml");
    let fit = |points: &str| {
        fit_board(&[&"--latency", &latency, &"--points", &points, &"--out", &out, &"--json"])
    };
    assert_eq!(errors(&fit("12")), errors(&fit("12")));
    let board = Board::load(&out).unwrap();
    for (network, sub, made) in [("ladder", 0, 1), ("ladder", 1, 3), ("ladder", 2, 0)] {
        let sub = &board.network(network).unwrap().sub_networks[sub];
        let pairs = board.levels.iter().map(|level| {
            let (cpu, gpu, emc) = (level.cpu_mhz(), level.gpu_mhz(), level.emc_mhz());
            (sub.latency.us(level) / (1e3 * made_up()[made].2.ms_at(cpu, gpu, emc)) - 1.0).abs()
        });
        let mean = pairs.sum::<f64>() / board.levels.len() as f64;
        assert!(mean <= 0.015, "{network}: {mean}");
    }
}

#[test]
fn six_points_are_enough_on_orin_nano() {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let data = std::env::var_os("COSHIFT_DATA").map_or_else(beside, PathBuf::from);
    let latency = data.join("orin_nano/latency_by_gpu_emc.csv");
    if !latency.exists() {
        println!("SKIPPED: {} (measured data beside the project)", latency.display());
        return;
    }
    let folder = Folder::new("nano");
    let out = folder.0.join("nano.toml");
    let output = fit_board(&[&"--latency", &latency, &"--points", &"6", &"--out", &out, &"--json"]);
    let errors = errors(&output);
    assert_eq!(errors.len(), 4);
    for (net, mape_pct, _) in errors {
        let most = if net == "cproxyv2" { 6.5 } else { 1.5 };
        assert!(mape_pct > 0.1 && mape_pct <= most, "{net}: {mape_pct}");
    }
    first_image(&Board::load(&out).unwrap()).unwrap();
}

#[test]
fn bad_input_is_named_in_one_line_and_nothing_is_written() {
    let folder = Folder::new("bad");
    let good = folder.file("good.csv", &grid(&[1728.0], &EMC));
    let out = folder.file("out.toml", "what was there before");
    let head = "net,gpu_mhz,emc_mhz,p50_us\na,306,665,9000\n";
    let cases = [
        (format!("{head}a,408,665,quick\n"), ":3: column 4 (p50_us): a number 1 to 1000000000"),
        (format!("{head}a,408,665,-7\n"), ":3: column 4 (p50_us)"),
        (format!("{head}a,,665,7000\n"), ":3: column 2 (gpu_mhz)"),
        (format!("{head}a,408\n"), ":3: column 3 (emc_mhz): 4 fields as in the header go, 2"),
        ("net,emc_mhz,p50_us\na,1,2\n".into(), ":1: column \"gpu_mhz\" goes"),
        (String::new(), ":1: a header and rows go"),
        (head.into(), "net a: 3 points or more go, 1 found"),
    ];
    for (text, said) in cases {
        let latency = folder.file("bad.csv", &text);
        refused(&fit_board(&[&"--latency", &latency, &"--out", &out]), "bad.csv", said);
    }
    let power = folder.file("bad.csv", "gpu_mhz,power_mw\n306,4000\n408,lots\n");
    let output = fit_board(&[&"--latency", &good, &"--power", &power, &"--out", &out]);
    refused(&output, "bad.csv", ":3: column 2 (power_mw)");
    fs::write(folder.0.join("bad.csv"), b"net,gpu_mhz\n\xff\xfe\n").unwrap();
    let bad = folder.0.join("bad.csv");
    refused(&fit_board(&[&"--latency", &bad, &"--out", &out]), "bad.csv", ":2: text in UTF-8");
    let missing = folder.0.join("missing.csv");
    let output = fit_board(&[&"--latency", &missing, &"--out", &out]);
    refused(&output, "missing.csv", "cannot be read");
    for (points, said) in [("24", "none is left to judge on"), ("2", "3 or more go")] {
        let output = fit_board(&[&"--latency", &good, &"--points", &points, &"--out", &out]);
        refused(&output, "--points", said);
    }
    refused(&fit_board(&[&"--latency", &good, &"--out", &good]), "--out", "this one is read");
    let nowhere = folder.0.join("no/such/board.toml");
    let output = fit_board(&[&"--latency", &good, &"--out", &nowhere]);
    refused(&output, "board.toml", "cannot be written");
    // Neither touched nor joined by half a file.
    assert_eq!(fs::read_to_string(&out).unwrap(), "what was there before");
    assert_eq!(fs::read_to_string(&good).unwrap(), grid(&[1728.0], &EMC));
    let mut left: Vec<_> =
        fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["bad.csv", "good.csv", "out.toml"]);
}

fn refused(output: &Output, names: &str, said: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && output.stdout.is_empty(), "{error}");
    assert!(error.contains(names) && error.contains(said), "{said} is not in: {error}");
    assert!(error.starts_with("error: ") && error.trim_end().lines().count() == 1, "{error}");
}
