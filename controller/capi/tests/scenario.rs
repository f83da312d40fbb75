//! A C program, compiled and linked as its author would, and the same scenario in Rust: the bytes
//! they send are equal, so the decisions are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use coshift_controller::{Identity, Node};
use coshift_shared::kind::Kind;
use coshift_shared::policy::{Cell, Level, PolicyImage, PolicyView, TableImage};
use coshift_shared::protocol::VersionRange;
use coshift_shared::reader::{FrameReader, Received};
use coshift_shared::schema::FINGERPRINT;
use coshift_shared::session::Sender;
use coshift_shared::time::{Duration, Instant};
use coshift_shared::to_controller::{
    Application, Change, Degrade, Hello, Objective, Outcomes, Targets, Telemetry, Temperature,
    ToController,
};
use coshift_shared::to_host::{Decision, FaultCode, Mode, ResetCause, ToHost};
use coshift_shared::units::{Age, slowdown};

const PERIOD_US: u32 = 50_000;
const SESSION: u16 = 42;

/// A small board: four sub-networks at five levels.
fn policy() -> Vec<u8> {
    let latency_us = |sub: u32, level: u32| 30_000 * (sub + 2) / (level + 2);
    let accuracies = [7_000, 7_200, 7_400, 7_600];
    let table = TableImage::sample("camera", &accuracies, 5, |sub, level| Cell {
        latency_us: latency_us(sub, level),
        energy_uj: latency_us(sub, level) * (4 + level * level) / 2,
    });
    let levels = (0..5).map(|index| Level {
        cpu_khz: 1_190_400,
        gpu_khz: 200_000 * (index + 1),
        emc_khz: 1_600_000,
        idle_mw: 2_300 + 300 * index,
    });
    let image = PolicyImage::sample(levels.collect(), vec![table]);
    PolicyImage { temp_cap_mdeg_c: 85_000, park_level: Some(0), ..image }.to_bytes().unwrap()
}

/// One step of a script: when, and what is fed.
struct Step {
    local: Instant,
    bytes: Vec<u8>,
}

/// The agent's side, which reads the decisions of a node of its own to know what to report.
struct Agent<'p> {
    node: Node<'p>,
    sender: Sender,
    local: Instant,
    index: u32,
    steps: Vec<Step>,
    sent: Vec<Vec<u8>>,
    decisions: Vec<Decision>,
}

impl<'p> Agent<'p> {
    fn new(policy: &'p [u8]) -> Self {
        let identity = Identity {
            version: [0, 1, 0],
            boot_nonce: 0xB007,
            reset_cause: ResetCause::PowerOn,
            last_fault: FaultCode::None,
            fault_detail: 0,
        };
        Self {
            node: Node::new(Some(PolicyView::open(policy).unwrap()), identity),
            sender: Sender::default(),
            local: Instant::START,
            index: 0,
            steps: Vec::new(),
            sent: Vec::new(),
            decisions: Vec::new(),
        }
    }

    /// Feeds bytes, polls, and notes both what went in and what came out.
    fn step(&mut self, bytes: Vec<u8>) {
        let mut sent = Vec::new();
        for byte in &bytes {
            self.node.feed(*byte, self.local, &mut |frame| sent.extend_from_slice(frame.bytes()));
        }
        // A decision takes a few slices, one a poll.
        for _ in 0..16 {
            self.node.poll(self.local, &mut |frame| sent.extend_from_slice(frame.bytes()));
            if !self.node.next_poll().is_some_and(|due| self.local.reached(due)) {
                break;
            }
        }
        self.decisions.extend(messages(&sent).into_iter().filter_map(|message| match message {
            ToHost::Decision(decision) => Some(decision),
            _ => None,
        }));
        self.steps.push(Step { local: self.local, bytes });
        self.sent.push(sent);
    }

    fn give(&mut self, message: &ToController) {
        let frame = self.sender.to_controller(message).unwrap().1;
        self.step(frame.bytes().to_vec());
    }

    fn pass(&mut self, us: u32) {
        self.local = self.local.after(Duration::from_us(us));
    }

    fn greet(&mut self) {
        self.sender.open(SESSION);
        self.sender.settle(VersionRange::OURS.current);
        self.give(&ToController::Hello(Hello {
            at_us: self.local.us(),
            protocol_min: VersionRange::OURS.min,
            protocol_current: VersionRange::OURS.current,
            schema: FINGERPRINT,
            policy_crc: 0,
            version: [0, 1, 0],
            boot_nonce: 77,
            period_us: PERIOD_US,
        }));
    }

    fn set(&mut self, deadline_us: u32, accuracy_floor_bp: u16) {
        let targets = Targets {
            table: 0,
            objective: Objective::LeastEnergy,
            deadline_us,
            period_us: 100_000,
            accuracy_floor_bp,
            miss_target_bp: 100,
            priority: 1,
            degrade: Degrade::Accuracy,
            energy_budget_uj: 0,
        };
        let at_us = self.local.us();
        self.give(&ToController::Application(Application {
            at_us,
            slot: 0,
            change: Change::Set(targets),
        }));
    }

    /// A control period in which three inferences took `slowed` times as long as expected.
    fn period(&mut self, slowed: f64) {
        self.pass(PERIOD_US);
        let standing = self.node.controller().decision(self.local);
        self.give(&ToController::Telemetry(Telemetry {
            at_us: self.local.us(),
            level: standing.run_level,
            clocks_mhz: [1190, 600, 1600],
            power_mw: 6_000,
            power_age: Age::FRESH,
            gpu_load_permille: 500,
            gpu_load_age: Age::FRESH,
            temperatures: [Temperature { mdeg_c: 45_000, age: Age::FRESH }, Temperature::MISSING],
        }));
        let sample = slowdown::to_wire((slowed * 100_000.0) as u32, 100_000);
        self.give(&ToController::Outcomes(Outcomes {
            at_us: self.local.us(),
            slot: 0,
            sub_network: standing.sub_networks[0],
            level: standing.run_level,
            first_index: self.index,
            samples: [sample; 3].into_iter().collect(),
            outcomes_total: self.index + 3,
            misses_total: 0,
        }));
        self.index += 3;
    }
}

fn messages(bytes: &[u8]) -> Vec<ToHost> {
    let mut reader = FrameReader::new();
    let mut messages = Vec::new();
    for byte in bytes {
        match reader.feed(*byte) {
            Received::Nothing => {}
            Received::Fault(fault) => panic!("a broken frame: {fault:?}"),
            Received::Packet(header, body) => {
                let kind = Kind::from_byte(header.kind).unwrap();
                messages.push(ToHost::decode(kind, body).unwrap());
            }
        }
    }
    messages
}

/// Announcing, hello, targets, a quiet time, a neighbour, garbage, silence, another deadline.
fn play(agent: &mut Agent<'_>) {
    agent.step(Vec::new());
    agent.pass(100_000);
    agent.step(Vec::new());
    agent.greet();
    agent.set(60_000, 7_200);
    (0..30).for_each(|_| agent.period(1.0));
    (0..30).for_each(|_| agent.period(1.7));
    agent.step((0..=255).rev().collect());
    (0..20).for_each(|_| agent.period(1.1));
    // Five periods without the agent, then as many again: Hold, then Safe.
    for _ in 0..30 {
        agent.pass(PERIOD_US);
        agent.step(Vec::new());
    }
    agent.set(90_000, 7_600);
    (0..30).for_each(|_| agent.period(1.0));
}

/// Builds the static library as a user would and gives its path.
fn library() -> PathBuf {
    // The target directory of this test's own build: `tmp` is right below it.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--offline", "--package", "coshift-capi", "--lib"])
        .arg("--target-dir")
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    target.join("debug/libcoshift_capi.a")
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_c_program_takes_the_decisions_of_the_rust_node() {
    let image = policy();
    let mut agent = Agent::new(&image);
    play(&mut agent);
    let script: Vec<u8> = agent
        .steps
        .iter()
        .flat_map(|step| {
            let length = (step.bytes.len() as u16).to_le_bytes();
            [&step.local.us().to_le_bytes()[..], &length, &step.bytes].concat()
        })
        .collect();
    let expected: Vec<u8> = agent
        .sent
        .iter()
        .flat_map(|sent| [&(sent.len() as u16).to_le_bytes()[..], sent].concat())
        .collect();

    // A scenario in which nothing is decided would show nothing.
    let level = |index: usize| agent.decisions[index].run_level;
    assert!(agent.decisions.len() > 110, "{}", agent.decisions.len());
    assert!(agent.decisions[35..60].iter().any(|decision| decision.run_level > level(25)));
    for mode in [Mode::Run, Mode::Hold, Mode::Safe] {
        assert!(agent.decisions.iter().any(|decision| decision.mode == mode), "{mode:?}");
    }

    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("capi-scenario");
    fs::create_dir_all(&folder).unwrap();
    let file = |name: &str| folder.join(name);
    fs::write(file("policy.bin"), &image).unwrap();
    fs::write(file("script.bin"), &script).unwrap();
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    run(Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1", "-I"])
        .arg(package.join("include"))
        .arg(package.join("tests/c/scenario.c"))
        .arg(library())
        .args(["-lpthread", "-ldl", "-lm", "-o"])
        .arg(file("scenario")));
    let told = run(Command::new(file("scenario")).args([
        file("policy.bin"),
        file("script.bin"),
        file("output.bin"),
    ]));

    let output = fs::read(file("output.bin")).unwrap();
    let differs = output.iter().zip(&expected).position(|(is, should)| is != should);
    assert_eq!((differs, output.len()), (None, expected.len()), "first byte that differs");
    let digest = agent.node.controller().digest();
    assert_eq!(told, format!("mode 3 session {SESSION} digest {digest} dropped 0 unanswered 0\n"));
}
