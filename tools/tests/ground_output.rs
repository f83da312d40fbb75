//! What `coshift-tools simulate` prints and writes, as it is run.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// The fields of a row, as they are promised.
const FIELDS: [&str; 20] = [
    "scenario",
    "manager",
    "application",
    "seeds",
    "inferences",
    "energy_j",
    "energy_vs_oracle",
    "energy_above_idle_vs_oracle",
    "miss_rate",
    "miss_target",
    "p50_ms",
    "p99_ms",
    "accuracy_pct",
    "under_floor_share",
    "level_switches",
    "parks",
    "sub_network_switches",
    "over_power_s",
    "over_temp_s",
    "config_hash",
];
/// Of these, rates and energies: each has its confidence interval beside it.
const WITH_INTERVAL: [&str; 5] = [
    "energy_j",
    "energy_vs_oracle",
    "energy_above_idle_vs_oracle",
    "miss_rate",
    "under_floor_share",
];
/// A scenario of some seconds.
const SHORT: &str = r#"name = "short"
seed = 3
duration_s = 6.0
board = "BOARD"

[[application]]
name = "cam0"
network = "dynamic-ofa-7"
arrivals = { period_ms = 100.0 }
slowdown = { markov = "emc2133-mobilenet", from_s = 3.0 }
miss_target = 0.01

[[application.target]]
at_s = 0.0
deadline_ms = 80.0
accuracy_floor_pct = 76.0
objective = "least-energy"
"#;

/// A folder of its own for a test, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("coshift-output-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn scenario(&self, text: &str) -> PathBuf {
        let board = root().join("boards/xavier_nx.toml");
        let path = self.0.join("short.toml");
        fs::write(&path, text.replace("BOARD", board.to_str().unwrap())).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn simulate(scenario: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coshift-tools"));
    command.arg("simulate").arg("--scenario").arg(scenario).args(args);
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_row_has_the_promised_fields_and_no_others() {
    let folder = Folder::new("fields");
    let scenario = folder.scenario(SHORT);
    let args = ["--json", "--seeds", "3", "--manager", "coshift", "max", "oracle"];
    let lines = text(&simulate(&scenario, &args));
    let mut promised: BTreeSet<String> = FIELDS.map(str::to_owned).into();
    promised.extend(WITH_INTERVAL.map(|field| format!("{field}_ci95")));
    let rows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 3);
    for (row, manager) in rows.iter().zip(["coshift", "max", "oracle"]) {
        let found: BTreeSet<String> = row.as_object().unwrap().keys().cloned().collect();
        assert_eq!(found, promised);
        let number = |field: &str| row[field].as_f64().unwrap();
        let named = ["scenario", "manager", "application"].map(|field| row[field].as_str());
        assert_eq!(named, [Some("short"), Some(manager), Some("cam0")]);
        assert_eq!((row["seeds"].as_u64(), row["inferences"].as_u64()), (Some(3), Some(180)));
        assert_eq!(number("miss_target"), 0.01);
        assert!(number("energy_j") > 20.0 && number("energy_j_ci95") > 0.0, "{row}");
        assert_eq!(row["config_hash"].as_str().unwrap().len(), 16);
        for rate in ["miss_rate", "under_floor_share"] {
            assert!((0.0..=1.0).contains(&number(rate)), "{row}");
        }
    }
    assert_eq!(rows[2]["energy_vs_oracle"], 1.0);
    assert_eq!(rows[2]["energy_vs_oracle_ci95"], 0.0);
    // Beyond the idle power that both need, what is saved is a larger share.
    assert!(rows[1]["energy_above_idle_vs_oracle"].as_f64() > rows[1]["energy_vs_oracle"].as_f64());
}

#[test]
fn a_trace_has_every_request_and_adds_up_to_the_row() {
    let folder = Folder::new("trace");
    let scenario = folder.scenario(SHORT);
    let traces = folder.0.join("traces");
    let traces = traces.to_str().unwrap();
    let args = ["--json", "--seeds", "2", "--manager", "powersave", "--trace", traces];
    let row: Value = serde_json::from_str(&text(&simulate(&scenario, &args))).unwrap();
    let (mut requests, mut missed) = (0, 0);
    for seed in 0..2 {
        let path = Path::new(traces).join(format!("short-powersave-{seed}.csv"));
        let table = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut lines = table.lines();
        let columns: Vec<&str> = lines.next().unwrap().split(',').collect();
        let place = |name: &str| columns.iter().position(|column| *column == name).unwrap();
        for line in lines {
            let fields: Vec<&str> = line.split(',').collect();
            assert_eq!(fields.len(), columns.len(), "{line}");
            let number = |name: &str| fields[place(name)].parse::<f64>().ok();
            let late = number("end_us").is_none_or(|end| {
                end - number("release_us").unwrap() > number("deadline_us").unwrap()
            });
            assert_eq!(fields[place("missed")], if late { "1" } else { "0" }, "{line}");
            requests += 1;
            missed += u64::from(late);
        }
    }
    assert_eq!(row["inferences"].as_u64(), Some(requests));
    let rate = missed as f64 / requests as f64;
    assert!(rate > 0.5 && (row["miss_rate"].as_f64().unwrap() - rate).abs() < 1e-9, "{row} {rate}");
}

#[test]
fn what_is_wrong_is_said_in_one_line_and_fails() {
    let folder = Folder::new("wrong");
    for (from, to, expected) in [
        ("seed = 3", "seed = 3\nsped = 4", "short.toml:3: unknown field `sped`"),
        ("miss_target = 0.01", "miss_target = 0.7", "short.toml:11: application[0].miss_target"),
        ("deadline_ms = 80.0", "deadline_ms = \"x\"", "short.toml:15: "),
        ("BOARD", "no-board.toml", "short.toml:4: board: "),
    ] {
        let scenario = folder.scenario(&SHORT.replace(from, to));
        let output = simulate(&scenario, &["--json"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && output.stdout.is_empty(), "{said}");
        assert!(said.contains(expected), "{expected} is not in: {said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    }
    let scenario = folder.scenario(SHORT);
    for args in [["--manager", "nobody"], ["--miss-target", "0.9"], ["--seeds", "0"]] {
        assert!(!simulate(&scenario, &args).status.success(), "{args:?}");
    }
}

/// The block of `docs/scenarios.md` between a fence with this word and the next one.
fn documented(word: &str) -> String {
    let page = fs::read_to_string(root().join("docs/scenarios.md")).unwrap();
    let (_, rest) = page.split_once(&format!("```{word}\n")).expect(word);
    rest.split_once("\n```").expect("the end of a block").0.to_owned() + "\n"
}

/// Whether a line is a documented one, in which `…` stands for anything.
fn matches(line: &str, documented: &str) -> bool {
    let mut rest = line;
    let mut parts = documented.split('…').peekable();
    let Some(after) = parts.next().and_then(|first| rest.strip_prefix(first)) else { return false };
    rest = after;
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty()
}

#[cfg(unix)]
#[test]
fn the_documented_session_with_a_program_of_ones_own_is_what_happens() {
    let folder = Folder::new("session");
    let file = |name: &str| folder.0.join(name);
    fs::write(file("manager.sh"), documented("sh")).unwrap();
    let command = format!(
        "exec:tee {} | sh {} | tee {}",
        file("told").display(),
        file("manager.sh").display(),
        file("answered").display()
    );
    let scenario = root().join("scenarios/single-quiet.toml");
    let output = simulate(&scenario, &["--json", "--manager", &command, "oracle"]);
    let lines = text(&output);
    let row: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(row["inferences"].as_u64(), Some(1200), "{row}");
    assert!(row["energy_vs_oracle"].as_f64().unwrap() > 1.0, "{row}");
    let read = |name: &str| fs::read_to_string(file(name)).unwrap();
    let (told, answered) = (read("told"), read("answered"));
    let (mut told, mut answered) = (told.lines(), answered.lines());
    let session = documented("json");
    assert!(session.lines().count() >= 6, "{session}");
    for line in session.lines() {
        let (mark, documented) = line.split_at(2);
        let found = if mark == "> " { told.next() } else { answered.next() }.expect("a line");
        assert!(matches(found, documented), "documented: {documented}\nfound: {found}");
    }
}

#[test]
fn dots_stand_for_anything_and_nothing_else_does() {
    assert!(matches("{\"a\":1,\"b\":2}", "{\"a\":…}") && matches("{}", "{}"));
    assert!(matches("abcabc", "a…c") && matches("abc", "…b…"));
    assert!(!matches("abcd", "a…c") && !matches("abc", "abcd…") && !matches("abc", "b…"));
}
