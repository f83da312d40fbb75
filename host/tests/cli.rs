//! The `coshift` command: errors are one line, in-process runs end with a summary, and the control
//! socket works while one goes on.

mod support;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use coshift_host::core::Decider;
use coshift_host::explain;
use coshift_host::frame_log::{self, Direction};
use coshift_host::report::{Report, ReportEvent};
use coshift_shared::to_host::Reason;

const APP: &str = "cam0=net-a,deadline=33ms,floor=74,rate=15";

/// A directory of its own with a policy in it, gone with the test.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let place = std::env::temp_dir().join(format!("coshift-cli-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&place).unwrap();
        std::fs::write(place.join("policy.bin"), support::image(1)).unwrap();
        Self(place)
    }

    fn at(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// `coshift run` with this place's policy and control socket.
    fn run(&self) -> Command {
        let mut command = coshift();
        command.args(["run", "--policy", &self.at("policy.bin")]);
        command.args(["--control", &self.at("agent.sock")]);
        command
    }

    /// A command for the agent of this place.
    fn ask(&self, arguments: &[&str]) -> Output {
        coshift().args(arguments).args(["--control", &self.at("agent.sock")]).output().unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

/// A child that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

fn coshift() -> Command {
    Command::new(env!("CARGO_BIN_EXE_coshift"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Asserts that the command fails with one line that contains `part`.
fn fails(command: &mut Command, code: i32, part: &str) {
    let output = command.output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("error: ") && said.contains(part), "{said}");
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
}

#[test]
fn wrong_arguments_are_one_line() {
    let place = Place::new("arguments");
    let run = |arguments: &[&str]| {
        let mut command = place.run();
        command.args(["--duration", "50ms"]).args(arguments);
        command
    };
    let local = ["--link", "in-process"];
    let with = |more: &[&str]| run(&[&local, more].concat());
    fails(&mut run(&[]), 2, "--link <LINK>");
    fails(&mut with(&["--speed", "9"]), 2, "--speed");
    fails(&mut run(&["--link", "tcp:1"]), 1, "--link: \"tcp:1\" is not a link");
    fails(&mut run(&["--link", "serial:/dev/nope@fast"]), 1, "bit rate: \"fast\"");
    fails(&mut run(&["--link", "serial:/dev/nope"]), 1, "serial:/dev/nope@1000000: No such file");
    fails(&mut with(&["--period", "50"]), 1, "--period: \"50\" is not a time from 20ms to 500ms");
    fails(&mut with(&["--period", "1s"]), 1, "--period");
    fails(&mut with(&["--power-cap", "12"]), 1, "--power-cap: \"12\" is not a power");
    fails(&mut with(&["--temp-cap", "85F"]), 1, "--temp-cap: \"85F\" is not a temperature");
    fails(&mut with(&["--noise", "x"]), 1, "--noise");
    fails(&mut with(&["--app", "cam0"]), 1, "--app: \"cam0\"");
    let bad = "cam0=net-a,deadline=0ms,rate=15";
    fails(&mut with(&["--app", bad]), 1, "--app cam0, deadline: \"0ms\" is not a time");
    let bad = "cam0=net-b,deadline=33ms,rate=15";
    let part = "--app cam0: unknown network \"net-b\"; the policy has net-a";
    fails(&mut with(&["--app", bad]), 1, part);
    fails(&mut with(&["--app", APP, "--app", APP]), 1, "two applications of this name");
    let slow = ["--app", APP, "--slowdown", "cam1=1.2"];
    fails(&mut with(&slow), 1, "--slowdown cam1: there is no --app");
    let five: Vec<_> = (0..5).map(|n| format!("c{n}=net-a,deadline=33ms,rate=1")).collect();
    let five: Vec<_> = five.iter().flat_map(|spec| ["--app", spec]).collect();
    fails(&mut with(&five), 1, "application c4: all 4 slots are in use, by c0, c1, c2, c3");
    let log = ["--log", &place.at("policy.bin")];
    fails(&mut with(&log), 1, "frame log");
    assert_eq!(std::fs::read(place.at("policy.bin")).unwrap(), support::image(1));
}

#[test]
fn a_bad_policy_is_named() {
    let place = Place::new("policy");
    let run = |policy: &str| {
        let mut command = coshift();
        command.args(["run", "--link", "in-process", "--duration", "50ms", "--policy", policy]);
        command.args(["--control", &place.at("agent.sock")]);
        command
    };
    fails(&mut run("/nope/policy.bin"), 1, "policy /nope/policy.bin: No such file");
    let mut bytes = support::image(1);
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(place.at("flipped.bin"), &bytes).unwrap();
    fails(&mut run(&place.at("flipped.bin")), 1, "flipped.bin: damaged: CRC");
    std::fs::write(place.at("cut.bin"), &bytes[..100]).unwrap();
    fails(&mut run(&place.at("cut.bin")), 1, "cut.bin: 100 bytes where the image should have");
    std::fs::write(place.at("text.bin"), [b'x'; 100]).unwrap();
    fails(&mut run(&place.at("text.bin")), 1, "no policy image");
    std::fs::write(place.at("huge.bin"), vec![0; 100_000]).unwrap();
    fails(&mut run(&place.at("huge.bin")), 1, "100000 bytes where an image has at most");
}

#[test]
fn every_command_has_help() {
    for arguments in [
        &["--help"][..],
        &["run", "--help"],
        &["status", "--help"],
        &["apps", "--help"],
        &["apps", "set", "--help"],
        &["apps", "list", "--help"],
        &["apps", "rm", "--help"],
    ] {
        let output = coshift().args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}");
        let help = text(&output.stdout);
        assert!(help.contains("Usage: coshift"), "{help}");
        // Every option and command says what it does: no line is only a flag.
        for line in help.lines().filter(|line| line.starts_with("      --")) {
            assert!(line.len() > 10, "{line}");
        }
    }
    let output = coshift().arg("--version").output().unwrap();
    assert!(text(&output.stdout).starts_with("coshift 0."));
}

#[test]
fn an_in_process_run_reports_each_period_and_the_end() {
    let place = Place::new("json");
    let log = place.at("frames.log");
    let output = place
        .run()
        .args(["--link", "in-process", "--app", APP, "--duration", "1s", "--json", "--log", &log])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let reports: Vec<Report> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (end, periods) = reports.split_last().unwrap();
    assert_eq!(end.event, ReportEvent::End);
    assert!(periods.len() >= 2);
    assert!(periods.iter().all(|report| report.event == ReportEvent::Period));
    assert_eq!(end.decider, Decider::InProcess);
    assert_eq!(end.sub_networks, [Some(2), None, None, None]);
    assert!(end.requests > 0);
    assert_eq!(end.to_mcu.unwrap().faults(), 0);
    let records = frame_log::read(std::fs::File::open(&log).unwrap()).unwrap();
    assert!(records.iter().any(|record| record.direction == Direction::ToTwin));
    assert!(records.iter().any(|record| record.direction == Direction::FromTwin));
    assert!(records.is_sorted_by_key(|record| record.at));
    assert!(!std::path::Path::new(&place.at("agent.sock")).exists());
}

#[test]
fn an_infeasible_target_is_served_and_says_what_is_missing() {
    let place = Place::new("infeasible");
    let app = "cam0=net-a,deadline=33ms,floor=99,rate=15";
    let output = place
        .run()
        .args(["--link", "in-process", "--app", app, "--duration", "300ms"])
        .output()
        .unwrap();
    assert!(output.status.success());
    let said = text(&output.stdout);
    assert!(said.contains("nothing keeps every promise: cam0 lacks 21.00 % accuracy"), "{said}");
    assert!(said.contains("end after"), "{said}");
}

#[test]
fn applications_change_while_the_agent_runs_and_a_signal_ends_it() {
    let place = Place::new("control");
    let child = place
        .run()
        .args(["--link", "in-process", "--app", APP, "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = Running(child);
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    let first: Report = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(first.applications.len(), 1);

    let status = place.ask(&["status"]);
    assert!(status.status.success(), "{}", text(&status.stderr));
    let said = text(&status.stdout);
    assert!(said.contains("decider: in-process") && said.contains("policy CRC"), "{said}");
    let reasons = [Reason::Start, Reason::Keep, Reason::LessPower, Reason::BetterSubNetwork];
    assert!(reasons.iter().any(|why| said.contains(explain::reason(*why))), "{said}");
    let status = place.ask(&["status", "--json"]);
    let report: Report = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(report.event, ReportEvent::Status);

    let set = place.ask(&["apps", "set", "cam1=net-a,deadline=100ms,rate=5"]);
    assert_eq!(text(&set.stdout), "application cam1 is set\n");
    let list = text(&place.ask(&["apps", "list"]).stdout);
    assert!(list.contains("cam0: net-a") && list.contains("cam1: net-a"), "{list}");
    // As many as there are slots, each with a sub-network, and no more.
    for name in ["cam2", "cam3"] {
        let set = place.ask(&["apps", "set", &format!("{name}=net-a,deadline=1s,rate=1")]);
        assert_eq!(text(&set.stdout), format!("application {name} is set\n"));
    }
    let full = place.ask(&["apps", "set", "cam4=net-a,deadline=1s,rate=1"]);
    assert_eq!(full.status.code(), Some(1));
    assert!(text(&full.stderr).contains("cam4"), "{}", text(&full.stderr));
    let served = lines.by_ref().map(|line| serde_json::from_str::<Report>(&line.unwrap()).unwrap());
    let most = served.take(200).map(|report| report.sub_networks.iter().flatten().count());
    assert!(most.into_iter().any(|served| served == 4), "four are never served");
    for name in ["cam2", "cam3"] {
        assert!(place.ask(&["apps", "rm", name]).status.success());
    }
    let removed = place.ask(&["apps", "rm", "cam0"]);
    assert_eq!(text(&removed.stdout), "application cam0 is removed\n");
    let again = place.ask(&["apps", "rm", "cam0"]);
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(text(&again.stderr), "error: no application \"cam0\"; there are cam1\n");
    let bad = place.ask(&["apps", "set", "cam1=net-a,deadline=33,rate=1"]);
    assert_eq!(bad.status.code(), Some(1));
    assert_eq!(text(&bad.stderr).lines().count(), 1);
    assert!(text(&bad.stderr).starts_with("error: apps set cam1, deadline: \"33\" is not a time"));

    let second = place.run().args(["--link", "in-process"]).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("another agent answers there"));

    let pid = child.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let last = lines.map(Result::unwrap).last().unwrap();
    let end: Report = serde_json::from_str(&last).unwrap();
    assert_eq!(end.event, ReportEvent::End);
    assert_eq!(end.applications.len(), 1);
    assert_eq!(end.applications[0].name, "cam1");
    assert!(child.0.wait().unwrap().success());
    let gone = place.ask(&["status"]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(text(&gone.stderr).contains("no agent answers at"));
}
